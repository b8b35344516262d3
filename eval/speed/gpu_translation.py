"""Stages of `gpu.py` that translate: parity, speed next to transformers, latency of a single clip."""

import gc
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from transformers import AutoFeatureExtractor, SpeechEncoderDecoderModel

from speed.card_run import TO, CardRun, audio_seconds
from voxlate import Translator
from voxlate.manifest.reading import read_manifest
from voxlate.search_options import SearchOptions
from voxlate.tokenizer import Tokenizer

_MAX_LENGTH = 20  # a random model rarely ends a hypothesis
_DEMO = Path(__file__).resolve().parents[2] / "recipes" / "demo"
Waveforms = list[np.ndarray[Any, Any]]


def options(beam_size: int) -> SearchOptions:
    """Return the search options of all measurements."""
    return SearchOptions(beam_size=beam_size, max_length=_MAX_LENGTH, max_repeats=None)


def texts(translator: Translator, inputs: Sequence[Any], to: str, search: SearchOptions) -> list[str]:
    """Return the translations of whole inputs."""
    results: dict[int, Any] = dict(translator.stream(list(inputs), to=to, options=search, whole=True))
    return [results[index].text for index in range(len(inputs))]


def parity_with_cpu(run: CardRun) -> dict[str, Any]:
    """Compare the texts of the demo's model in float32 on the device and on the CPU, and in the default precision."""
    manifest = run.arguments.parity_data or _DEMO / "clips" / "clips.jsonl"
    clips: list[Any] = [utterance.audio for utterance in read_manifest(manifest)]
    clips += run.waveforms[: run.amounts.parity_clips]
    found: dict[str, list[str]] = {}
    for device, dtype in (("cpu", "float32"), (str(run.device), "float32"), (str(run.device), "bfloat16")):
        translator = Translator(_DEMO / "model", device=device, dtype=dtype)
        name = f"{torch.device(device).type}, {dtype}"
        found[name] = [text for to in ("de", "en", "fr") for text in texts(translator, clips, to, SearchOptions())]
    [reference, *others] = found if len(found) > 2 else [*found, *found][:3]  # on a CPU, both names are the same
    differing = {name: sum(a != b for a, b in zip(found[reference], found[name], strict=True)) for name in others}
    return {"texts": len(found[reference]), "differing from CPU": differing}


def parity_with_transformers(run: CardRun) -> dict[str, Any]:
    """Compare the tokens of the random model in float32 with those of transformers, by their pieces."""
    waveforms = run.waveforms[: run.amounts.parity_clips]
    translator = Translator(run.model(), device=str(run.device), dtype="float32")
    own = texts(translator, waveforms, TO, options(5))
    del translator
    other = TransformersSide(run, torch.float32)
    theirs = other.translate(waveforms, batch_size=1, beam_size=5)
    return {"clips": len(waveforms), "differing": sum(a != b for a, b in zip(own, theirs, strict=True))}


def translation(run: CardRun) -> dict[str, Any]:
    """Measure voxlate on arrays: at several batch sizes with beam 5, and with beam 1."""
    measured: dict[str, Any] = {}
    for size in run.amounts.batch_sizes:
        translator = _load(run, run.model(), size)
        for beam in (5, 1) if size is None else (5,):
            measured[_name(size, beam)] = _measure_voxlate(run, translator, size, beam)
    return measured


def other_sizes(run: CardRun) -> dict[str, Any]:
    """Measure voxlate with random models of other published sizes."""
    return {size: _measure_voxlate(run, _load(run, run.model(size), None), None, 5) for size in run.amounts.sizes}


def transformers_translation(run: CardRun) -> dict[str, Any]:
    """Measure transformers in bfloat16 on the same arrays, sorted by length; with its best batch size also beam 1."""
    side = TransformersSide(run, torch.bfloat16)
    runs: dict[str, Any] = {}
    for size in run.amounts.transformers_batch_sizes:
        if not runs or run.seconds_left() > 90:  # for training
            runs[_name(size, 5)] = side.measure(size, 5)
    best = max(runs, key=lambda name: runs[name]["speed"])
    runs[f"{best}, beam 1"] = side.measure(runs[best]["batch_size"], 1)
    own, beam = run.results.get("translation", {}), {5: runs[best]["speed"], 1: runs[f"{best}, beam 1"]["speed"]}
    ratios = {name: own[name]["speed"] / beam[own[name]["beam_size"]] for name in own if "speed" in own[name]}
    return {**runs, "voxlate is as fast, times": ratios}


def latency(run: CardRun) -> dict[str, Any]:
    """Measure the milliseconds of a single clip of 5 s, loaded and warm."""
    translator = Translator(run.model(), device=str(run.device))
    waveform = np.resize(run.waveforms[0], 5 * 16_000)
    results = {}
    for beam in (5, 1):
        milliseconds = []
        for number in range(run.amounts.latency_runs + 3):
            started = time.perf_counter()
            translator.translate(waveform, to=TO, options=options(beam))
            if number >= 3:
                milliseconds.append(1000 * (time.perf_counter() - started))
        ordered = sorted(milliseconds)
        results[f"beam {beam}"] = {"median_ms": statistics.median(ordered), "slowest_ms": ordered[-1]}
    return results


def _name(batch_size: int | None, beam_size: int) -> str:
    return f"batch {batch_size or 'default'}, beam {beam_size}"


def _load(run: CardRun, model: Path, batch_size: int | None) -> Translator:
    return Translator(model, device=str(run.device), batch_size=batch_size, dtype="bfloat16")


def _measure_voxlate(run: CardRun, translator: Translator, batch_size: int | None, beam_size: int) -> dict[str, Any]:
    run.reset_peak_memory()
    texts(translator, run.waveforms[: max(2, len(run.waveforms) // 4)], TO, options(beam_size))  # warm up
    started = time.perf_counter()
    translated = texts(translator, run.waveforms, TO, options(beam_size))
    seconds = time.perf_counter() - started
    assert len(translated) == len(run.waveforms)
    return {
        "beam_size": beam_size,
        "batch_size": batch_size,
        "seconds": seconds,
        "speed": audio_seconds(run.waveforms) / seconds,
        "peak_gib": run.peak_gibibytes(),
    }


class TransformersSide:
    """The same model in transformers: `generate` on batches of clips sorted by length."""

    def __init__(self, run: CardRun, dtype: torch.dtype) -> None:
        gc.collect()
        run.reset_peak_memory()
        self._run, self._dtype = run, dtype
        self._extractor = AutoFeatureExtractor.from_pretrained(run.model())
        self._tokenizer = Tokenizer(run.vocabulary)
        network = cast("Any", SpeechEncoderDecoderModel.from_pretrained(run.model(), dtype=dtype))
        self._network = network.eval().to(run.device)

    @torch.inference_mode()
    def translate(self, waveforms: Waveforms, *, batch_size: int, beam_size: int) -> list[str]:
        """Return the texts of the clips."""
        order = np.argsort([-len(waveform_T) for waveform_T in waveforms], kind="stable").tolist()
        translated = [""] * len(waveforms)
        for first in range(0, len(order), batch_size):
            batch = order[first : first + batch_size]
            inputs = self._extractor(
                [waveforms[index] for index in batch],
                sampling_rate=16_000,
                padding=True,
                return_attention_mask=True,
                return_tensors="pt",
            ).to(self._run.device)
            ids = self._network.generate(
                input_values=inputs["input_values"].to(self._dtype),
                attention_mask=inputs["attention_mask"],
                num_beams=beam_size,
                max_length=_MAX_LENGTH,
                early_stopping=True,
                length_penalty=1.0,
                forced_bos_token_id=self._tokenizer.tag_id("de_DE"),
            )
            for index, row in zip(batch, ids.tolist(), strict=True):
                translated[index] = self._tokenizer.decode(row)
        return translated

    def measure(self, batch_size: int, beam_size: int) -> dict[str, Any]:
        """Return the speed, or why there is none."""
        self._run.reset_peak_memory()
        waveforms = self._run.waveforms
        try:
            self.translate(waveforms[:batch_size], batch_size=batch_size, beam_size=beam_size)  # warm up
            started = time.perf_counter()
            self.translate(waveforms, batch_size=batch_size, beam_size=beam_size)
        except torch.OutOfMemoryError:
            return {"batch_size": batch_size, "beam_size": beam_size, "speed": 0.0, "error": "out of memory"}
        seconds = time.perf_counter() - started
        return {
            "batch_size": batch_size,
            "beam_size": beam_size,
            "seconds": seconds,
            "speed": audio_seconds(waveforms) / seconds,
            "peak_gib": self._run.peak_gibibytes(),
        }
