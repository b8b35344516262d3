"""voxlate's side of `translation.py`. Prints seconds, texts and the time of each part as one JSON line.

python eval/speed/translation_voxlate.py MODEL CLIPS --to de [--dtype bfloat16] [--max-length 20] [--shortlist]
"""

import argparse
import json
import resource
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from voxlate.models.cpu.malloc import ask_for_huge_pages

ask_for_huge_pages()  # as the command line does, before torch is imported
# ruff: noqa: E402
import torch

from voxlate import Translator
from voxlate.decoding import schedule, search_step
from voxlate.decoding.command_streams import bound_freed_memory, keep_freed_memory
from voxlate.decoding.search_step import SearchStep
from voxlate.search_options import SearchOptions


class TranslationTimer:
    """Measures the seconds of each part of a translation by wrapping its functions. Parts may contain others."""

    def __init__(self, translator: Translator) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        model: Any = translator.checkpoint.model
        self._wrap(model, "encode", "encoder and adapter")
        self._wrap(model.decoder, "cross_attention_cache", "cross-attention keys and values")
        self._wrap(model.decoder, "step", "decoder")
        self._wrap(search_step, "top_k_ids", "output layer")
        self._wrap(SearchStep, "__call__", "search step, with decoder and output layer")
        self._wrap(schedule.AudioSegment, "waveform", "copies of the waveform")

    def _wrap(self, owner: Any, name: str, part: str) -> None:
        inner: Callable[..., Any] = getattr(owner, name)

        def timed(*arguments: Any, **options: Any) -> Any:
            started = time.perf_counter()
            result = inner(*arguments, **options)
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            self.seconds[part] += time.perf_counter() - started
            return result

        setattr(owner, name, timed)


def main() -> None:
    """Load the model, warm up, translate, and print the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("clips", type=Path)
    parser.add_argument("--to", default="de")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--beam-size", type=int, default=5)
    parser.add_argument("--max-length", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--shortlist", action="store_true")
    parser.add_argument("--profile", action="store_true", help="measure the time of each part, which slows down a GPU")
    arguments = parser.parse_args()
    clips = sorted(arguments.clips.iterdir())
    options = SearchOptions(beam_size=arguments.beam_size, max_length=arguments.max_length, max_repeats=None)
    started = time.perf_counter()
    freed = keep_freed_memory(arguments.device)  # as the command does
    translator = Translator(
        arguments.model,
        dtype=arguments.dtype,
        device=arguments.device,
        batch_size=arguments.batch_size,
        shortlist=arguments.shortlist,
    )
    loaded = time.perf_counter()
    stream = partial(
        translator.stream, to=arguments.to, options=options, whole=True, progress=bound_freed_memory(freed)
    )
    list(stream(clips[:2]))
    warm = time.perf_counter()
    timer = TranslationTimer(translator) if arguments.profile else None
    results: dict[int, Any] = dict(stream(clips))
    seconds = time.perf_counter() - warm
    audio = sum(result.seconds for result in results.values())
    print(
        json.dumps(
            {
                "seconds": seconds,
                "speed": audio / seconds,
                "load_seconds": loaded - started,
                "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
                "texts": [results[index].text for index in range(len(clips))],
                "parts": dict(timer.seconds) if timer else {},
            }
        )
    )


if __name__ == "__main__":
    main()
