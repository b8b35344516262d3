"""transformers' side of `translation.py`. Prints seconds, peak memory and texts as one JSON line.

    python eval/speed/translation_transformers.py MODEL CLIPS --to de [--tuned] [--max-length 20]

By default, as on the published model cards, the `automatic-speech-recognition` pipeline translates one clip after
another in float32. With `--tuned`, `generate` translates batches of clips of similar length in bfloat16. The clips are
decoded before timing starts. SeamlessM4T, which that pipeline does not take, is run in batches of one for it.
"""

import argparse
import json
import resource
import time
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from transformers import (
    AutoFeatureExtractor,
    AutoTokenizer,
    SeamlessM4Tv2ForSpeechToText,
    SpeechEncoderDecoderModel,
    pipeline,
)

from voxlate.audio.loading import load_audio


def as_on_the_model_card(arguments: argparse.Namespace, waveforms: list[Any], settings: dict[str, Any]) -> list[str]:
    """Translate clip by clip with the pipeline."""
    return [
        arguments.pipe({"raw": waveform, "sampling_rate": 16_000}, generate_kwargs=settings)["text"]
        for waveform in waveforms
    ]


def tuned(arguments: argparse.Namespace, waveforms: list[Any], settings: dict[str, Any]) -> list[str]:
    """Translate batches sorted by length."""
    order = np.argsort([-len(waveform) for waveform in waveforms], kind="stable").tolist()
    texts = [""] * len(waveforms)
    for first in range(0, len(order), arguments.batch_size):
        own = order[first : first + arguments.batch_size]
        inputs = arguments.extractor(
            [waveforms[index] for index in own],
            sampling_rate=16_000,
            padding=True,
            return_attention_mask=True,
            return_tensors="pt",
        ).to(arguments.device)
        name = arguments.network.main_input_name if arguments.is_seamless else "input_values"
        features = inputs[name].to(arguments.network.dtype)
        ids = arguments.network.generate(
            **{name: features}, attention_mask=inputs["attention_mask"], **settings, **prefix(arguments, len(own))
        )
        decoded = arguments.tokenizer.batch_decode(ids, skip_special_tokens=True)
        for index, text in zip(own, decoded, strict=True):
            texts[index] = text
    return texts


def prefix(arguments: argparse.Namespace, clips: int) -> dict[str, Any]:
    """Return what tells SeamlessM4T the target language, for a batch of clips."""
    if not arguments.is_seamless:
        return {}
    return {"decoder_input_ids": torch.full((clips, 1), arguments.tag_id, device=arguments.device)}


def main() -> None:
    """Load the model, warm up, translate, and print the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("clips", type=Path)
    parser.add_argument("--to", default="de")
    parser.add_argument("--tuned", action="store_true")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--beam-size", type=int, default=5)
    parser.add_argument("--max-length", type=int, default=20)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    config = json.loads((arguments.model / "config.json").read_text())
    arguments.is_seamless = config["model_type"] == "seamless_m4t_v2"
    arguments.tag_id = json.loads((arguments.model / "languages.json").read_text())["targets"][arguments.to]
    settings = {
        "num_beams": arguments.beam_size,
        "max_length": arguments.max_length,
        "early_stopping": True,
        "length_penalty": 1.0,
        "forced_eos_token_id": config["eos_token_id"],
        "max_new_tokens": None,
    }
    started = time.perf_counter()
    arguments.extractor = AutoFeatureExtractor.from_pretrained(arguments.model)
    arguments.tokenizer = AutoTokenizer.from_pretrained(arguments.model)
    precision = torch.bfloat16 if arguments.tuned else torch.float32
    network_class = SeamlessM4Tv2ForSpeechToText if arguments.is_seamless else SpeechEncoderDecoderModel
    network = cast("Any", network_class.from_pretrained(arguments.model, dtype=precision))
    arguments.network = network.eval().to(arguments.device)
    if not arguments.is_seamless:
        settings["forced_bos_token_id"] = arguments.tag_id
        arguments.pipe = pipeline(
            "automatic-speech-recognition",
            model=arguments.network,
            tokenizer=arguments.tokenizer,
            feature_extractor=arguments.extractor,
            device=arguments.device,
        )
    elif not arguments.tuned:
        arguments.batch_size = 1
    loaded = time.perf_counter()
    waveforms = [load_audio(clip).waveform for clip in sorted(arguments.clips.iterdir())]
    translate = tuned if arguments.tuned or arguments.is_seamless else as_on_the_model_card
    with torch.inference_mode():
        translate(arguments, waveforms[:2], settings)
        warm = time.perf_counter()
        texts = translate(arguments, waveforms, settings)
    seconds = time.perf_counter() - warm
    audio = sum(len(waveform) for waveform in waveforms) / 16_000
    measured = {"seconds": seconds, "speed": audio / seconds, "load_seconds": loaded - started}
    peak_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps({**measured, "peak_gib": peak_gib, "texts": texts}))


if __name__ == "__main__":
    main()
