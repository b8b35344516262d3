"""Which language is spoken in each audio input."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from voxlate.data.audio import SAMPLE_RATE_HZ, AudioSource
from voxlate.data.batching import collate_waveforms
from voxlate.decoding.inputs import find_inputs
from voxlate.decoding.sound import Sound, read_ahead
from voxlate.errors import AudioError, VoxlateError
from voxlate.hardware import choose_device, choose_dtype
from voxlate.languages import find_language
from voxlate.manifest import read_manifest
from voxlate.models.hub import find_model
from voxlate.models.identifier import load_identifier
from voxlate.models.weights import weight_files, weights_sha256

_MAX_SECONDS = 30.0  # of speech that is listened to


@dataclass(frozen=True)
class Identified:
    """The most probable language of an input, and the probabilities of all, by code. None where nothing is said."""

    language: str | None
    probabilities: Mapping[str, float]


class Identifier:
    """A loaded language identifier. `device` and `dtype` as in `voxlate identify`."""

    def __init__(self, model: str | Path, *, device: str = "auto", dtype: str = "auto") -> None:
        folder = find_model(model)
        place = choose_device(device)
        weight_bytes = sum(path.stat().st_size for path in weight_files(folder))
        self.name = str(model)
        self.model = load_identifier(folder, device=place, dtype=choose_dtype(dtype, place, weight_bytes))
        self._folder = folder

    def stream(
        self, inputs: Iterable[AudioSource | np.ndarray], candidates: Sequence[str] | None = None
    ) -> Iterator[tuple[int, Identified | AudioError]]:
        """Yield each input's index and language, in their order; only `candidates` are considered, by default all."""
        for index, sound in enumerate(read_ahead(inputs)):
            yield index, sound if isinstance(sound, AudioError) else self._identify(sound, candidates)

    def recipe(self) -> dict[str, object]:
        """Return what an answer depends on, besides the audio."""
        return {"identifier": self.name, "identifier_sha256": weights_sha256(self._folder)}

    @torch.inference_mode()
    def _identify(self, sound: Sound, candidates: Sequence[str] | None) -> Identified:
        """Listen to the first pieces of speech, and weigh what each says by its length."""
        names = self.model.languages
        heard, weights = [], []
        left = round(_MAX_SECONDS * SAMPLE_RATE_HZ)
        for start, end in sound.spans:
            if left <= 0:
                break
            waveform_T = torch.from_numpy(sound.waveform_T[slice(start, min(end, start + left))])
            batch = collate_waveforms([waveform_T], normalize=self.model.encoder.normalize_waveform)
            heard.append(self.model(*batch)[0].cpu().exp())
            weights.append(len(waveform_T))
            left -= len(waveform_T)
        if not heard:
            return Identified(None, {})
        shares = torch.tensor(weights, dtype=torch.float32) / sum(weights)
        probabilities_L = (torch.stack(heard) * shares[:, None]).sum(0)
        found = {
            name: float(probability)
            for name, probability in zip(names, probabilities_L, strict=True)
            if name is not None and (candidates is None or name in candidates)
        }
        if not found:
            raise VoxlateError(f"{self.name} knows none of {', '.join(candidates or ())}; it knows {self.known()}")
        total = sum(found.values()) or 1.0
        best = max(found, key=lambda name: found[name])
        return Identified(best, {name: value / total for name, value in found.items()})

    def known(self) -> str:
        """Return the languages it can tell, with commas."""
        return ", ".join(name for name in self.model.languages if name is not None)


def print_languages(audio: Sequence[str], identifier: Identifier) -> int:
    """Print a line of tab-separated name, language and probability for each input; return the exit code."""
    console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    inputs = find_inputs(audio)
    failures: list[AudioError] = [*inputs.failed]
    paths = [item.path for item in inputs.found if item.path is not None]
    if len(paths) != len(inputs.found):
        raise VoxlateError("voxlate identify takes files and folders; '-' is for voxlate translate")
    for index, found in identifier.stream(paths):
        if isinstance(found, AudioError):
            failures.append(found)
        elif found.language is None:
            print(f"{inputs.found[index].name}\t\t", flush=True)
        else:
            print(
                f"{inputs.found[index].name}\t{found.language}\t{found.probabilities[found.language]:.3f}", flush=True
            )
    for error in failures:
        console.print(f"error: {error}", style="red")
    return 1 if failures else 0


def print_accuracy(manifests: Sequence[Path], identifier: Identifier) -> int:
    """Print how often each language of manifests is told right, and what is taken for what; return the exit code."""
    rows = [row for manifest in manifests for row in read_manifest(manifest)]
    unnamed = next((row.id for row in rows if row.source_language is None), None)
    if unnamed is not None:
        raise VoxlateError(f"{unnamed} has no source_language; expected one for each clip")
    sources = (row.audio if isinstance(row.audio, Path) else row.audio.read() for row in rows)
    counts: dict[str, Counter[str]] = {}
    failed = 0
    for index, found in identifier.stream(sources):
        language = str(rows[index].source_language)
        failed += isinstance(found, AudioError)
        # What cannot be read, and silence, is told wrong: a test set loses nothing.
        said = "error" if isinstance(found, AudioError) else found.language or "silence"
        counts.setdefault(language, Counter())[said] += 1
    table = Table("language", "clips", "accuracy", "taken for", box=None, pad_edge=False)
    for language, said in sorted(counts.items()):
        others = ", ".join(f"{name} {count}" for name, count in said.most_common() if name != language)
        total = sum(said.values())
        table.add_row(find_language(language).name, str(total), f"{said[language] / total:.1%}", others)
    shares = [said[language] / sum(said.values()) for language, said in counts.items()]
    table.add_row("mean", str(len(rows)), f"{sum(shares) / len(shares):.1%}", "")
    Console(highlight=False, markup=False).print(table)
    return 1 if failed else 0
