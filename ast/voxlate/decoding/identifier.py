"""Which language is spoken in each audio input."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console

from voxlate.audio.loading import SAMPLE_RATE_HZ, AudioSource
from voxlate.audio.prefetch import DecodedAudio, read_ahead
from voxlate.audio.tracks import AudioTrack
from voxlate.checkpoints.hub import find_model, hub_revision
from voxlate.checkpoints.identifier_files import load_identifier
from voxlate.checkpoints.weights import adapter_recipe, weight_files, weights_sha256
from voxlate.data.batching import collate_waveforms
from voxlate.decoding.inputs import find_inputs
from voxlate.decoding.writers import message_line, one_cell
from voxlate.errors import AudioError, VoxlateError
from voxlate.hardware import INT8, choose_device, choose_dtype
from voxlate.models.precision import not_numbers
from voxlate.progress import Pace, lines
from voxlate.provenance import settings_sha256

_MAX_SECONDS = 30.0  # of speech that is listened to


@dataclass(frozen=True)
class Identified:
    """The most probable language of an input, and the probabilities of all, by code. None where nothing is said.

    `warnings` tell of sound that is lost, `notes` of choices that were made.
    """

    language: str | None
    probabilities: Mapping[str, float]
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class Identifier:
    """A loaded language identifier. `device` and `dtype` as in `voxlate identify`."""

    def __init__(self, model: str | Path, *, device: str = "auto", dtype: str = "auto") -> None:
        if dtype == INT8:
            raise VoxlateError("dtype int8 is for translation; expected auto, float32, bfloat16 or float16")
        folder = find_model(model)
        place = choose_device(device)
        weight_bytes = sum(path.stat().st_size for path in weight_files(folder))
        self.name = str(model)
        self.model = load_identifier(folder, device=place, dtype=choose_dtype(dtype, place, weight_bytes))
        self._folder = folder

    def stream(
        self, inputs: Iterable[AudioSource | np.ndarray], *, audio_track: AudioTrack | None = None
    ) -> Iterator[tuple[int, Identified | AudioError]]:
        """Yield each input's index and language, in their order; of `audio_track` in files that have several."""
        for index, sound in enumerate(read_ahead(inputs, audio_track=audio_track, whole=True)):
            yield index, sound if isinstance(sound, AudioError) else self._identify(sound)

    def recipe(self) -> dict[str, object]:
        """Return what an answer depends on, besides the audio."""
        adapter = {f"identifier_{name}": value for name, value in adapter_recipe(self._folder).items()}
        return {
            "identifier": self.name,
            "identifier_revision": hub_revision(self._folder),
            "identifier_sha256": weights_sha256(self._folder),
            **adapter,
            "identifier_settings_sha256": settings_sha256(self._folder),
            "identifier_dtype": str(self.model.classifier.weight.dtype).removeprefix("torch."),
            "identifier_device": self.model.classifier.weight.device.type,
        }

    @torch.inference_mode()
    def _identify(self, sound: DecodedAudio) -> Identified:
        """Listen to the first pieces of speech, and weigh what each says by its length."""
        heard, samples = [], []
        left = round(_MAX_SECONDS * SAMPLE_RATE_HZ)
        for start, end in sound.spans:
            waveform_T = torch.from_numpy(sound.waveform_T[slice(start, min(end, start + left))])
            batch = collate_waveforms([waveform_T], normalize=self.model.encoder.normalize_waveform)
            log_probs_L = self.model(*batch)[0].cpu()
            if log_probs_L.isnan().any():
                raise not_numbers(self.model.classifier.weight.dtype)
            heard.append(log_probs_L.exp() * len(waveform_T))
            samples.append(len(waveform_T))
            left -= len(waveform_T)
            if left <= 0:
                break
        if not heard:
            return Identified(None, {}, sound.warnings, sound.notes)
        probabilities_L = torch.stack(heard).sum(0) / sum(samples)
        found: dict[str, float] = {}
        for name, probability in zip(self.model.languages, probabilities_L.tolist(), strict=True):
            if name is not None:  # several labels may mean one language, such as zho and cmn
                found[name] = found.get(name, 0.0) + probability
        return Identified(max(found, key=lambda name: found[name]), found, sound.warnings, sound.notes)


def print_languages(audio: Sequence[str], identifier: Identifier, audio_track: AudioTrack | None = None) -> int:
    """Print a line of tab-separated name, language and probability for each input; return the exit code."""
    console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    inputs = find_inputs(audio)
    failures: list[AudioError] = [*inputs.failed]
    paths = [item.path for item in inputs.found if item.path is not None]
    if len(paths) != len(inputs.found):
        raise VoxlateError("voxlate identify takes files and folders; '-' is for voxlate translate")
    pace = Pace([], f"0 of {len(paths)} inputs identified")
    with lines(console, pace):
        for number, (index, found) in enumerate(identifier.stream(paths, audio_track=audio_track), start=1):
            pace.state = f"{number} of {len(paths)} inputs identified"
            if isinstance(found, AudioError):
                failures.append(found)
                continue
            name = inputs.found[index].name
            for note in found.notes:
                console.print(message_line(f"note: {name}: {note}"))
            language = found.language or ""
            probability = f"{found.probabilities[language]:.3f}" if language else ""
            print(f"{one_cell(name)}\t{language}\t{probability}", flush=True)
    for error in failures:
        console.print(f"error: {message_line(str(error))}", style="red")
    return 1 if failures else 0
