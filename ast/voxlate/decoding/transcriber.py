"""From audio inputs to transcripts with the times of their words, by a CTC head."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
import transformers

import voxlate
from voxlate.audio.loading import AudioSource, decoder_fingerprint
from voxlate.audio.prefetch import DecodedAudio, Span, read_ahead
from voxlate.audio.tracks import AudioTrack
from voxlate.checkpoints.ctc_models import load_transcriber
from voxlate.checkpoints.hub import find_model, hub_revision
from voxlate.checkpoints.weights import adapter_recipe, weight_files, weights_sha256
from voxlate.data.batching import collate_waveforms
from voxlate.decoding.ctc_best_path import best_path
from voxlate.decoding.results import Candidate, Segment, Translation, Word
from voxlate.errors import AudioError, VoxlateError
from voxlate.hardware import choose_device, choose_dtype
from voxlate.models.precision import not_numbers
from voxlate.provenance import settings_sha256, source_commit


class Transcriber:
    """A loaded model that writes down what is said. `device` and `dtype` as in `voxlate transcribe`."""

    def __init__(self, model: str | Path, *, device: str = "auto", dtype: str = "auto") -> None:
        self._device = choose_device(device)
        folder = find_model(model)
        weight_bytes = sum(path.stat().st_size for path in weight_files(folder))
        if dtype == "int8":
            raise VoxlateError("dtype int8 is for translation; expected auto, float32, bfloat16 or float16")
        self.name = str(model)
        self.model = load_transcriber(
            folder, device=self._device, dtype=choose_dtype(dtype, self._device, weight_bytes)
        )

    def stream(
        self,
        inputs: Iterable[AudioSource | np.ndarray],
        *,
        language: str | None = None,
        progress: Callable[[float, float], None] | None = None,
        audio_track: AudioTrack | None = None,
    ) -> Iterator[tuple[int, Translation | AudioError]]:
        """Transcribe many inputs; yield each one's index and result, in their order.

        `language` is recorded and decides how segments are joined; without it, their script does. `progress` gets the
        seconds transcribed and the seconds read so far.
        `audio_track` is the number, from 1, or the language of the track to take of files that have several.
        """
        seconds = 0.0
        for index, sound in enumerate(read_ahead(inputs, audio_track=audio_track)):
            if isinstance(sound, AudioError):
                yield index, sound
                continue
            if progress is not None:
                progress(seconds, seconds + sound.seconds)
            segments = tuple(self._segment(sound, span) for span in sound.spans)
            seconds += sound.seconds
            if progress is not None:
                progress(seconds, seconds)
            yield (
                index,
                Translation(sound.name, sound.end_seconds, None, segments, language, sound.warnings, notes=sound.notes),
            )

    def recipe(self) -> dict[str, object]:
        """Return what a transcript depends on, besides the audio."""
        return {
            "voxlate": voxlate.__version__,
            "commit": source_commit(),
            "model": self.name,
            "revision": hub_revision(self.model.folder),
            "weights_sha256": weights_sha256(self.model.folder),
            **adapter_recipe(self.model.folder),
            "settings_sha256": settings_sha256(self.model.folder),
            "dtype": str(self.model.dtype).removeprefix("torch."),
            "device": self._device.type,
            "audio_decoder": decoder_fingerprint(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        }

    @torch.inference_mode()
    def _segment(self, sound: DecodedAudio, span: Span) -> Segment:
        encoder = self.model.encoder
        waveform_T = torch.from_numpy(sound.waveform_T[slice(*span)])
        log_probs_BSV, _ = self.model(*collate_waveforms([waveform_T], normalize=encoder.normalize_waveform))
        if log_probs_BSV.isnan().any():
            raise not_numbers(self.model.dtype)
        labels = self.model.labels
        found = best_path(log_probs_BSV[0], labels)
        first, last = span
        seconds = sound.clock.seconds
        words = tuple(
            Word(
                word.text,
                seconds(first + word.first_frame * encoder.frame_samples),
                seconds(min(last, first + (word.last_frame + 1) * encoder.frame_samples)),
            )
            for word in found
        )
        score = sum(word.log_prob for word in found) / max(1, len(found))
        text = labels.separator.join(word.text for word in words)
        return Segment(seconds(first), seconds(last), (Candidate(text, score),), words)
