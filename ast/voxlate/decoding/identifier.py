"""Identify the languages spoken in audio inputs.

Shape letters: L languages.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, overload

import torch
from torch import Tensor

from voxlate.audio.decoded_audio import DecodedAudio
from voxlate.audio.loading import SAMPLE_RATE_HZ
from voxlate.audio.prefetch import read_ahead
from voxlate.audio.python_inputs import AudioInput, check_is_several, is_list
from voxlate.audio.segmentation import Span
from voxlate.audio.speech_detection import DEFAULT_SPEECH_OPTIONS, SpeechOptions
from voxlate.audio.tracks import AudioTrack
from voxlate.checkpoints.hub import find_model
from voxlate.checkpoints.identifier_files import load_identifier
from voxlate.checkpoints.weights import weight_files
from voxlate.data.batching import collate_waveforms
from voxlate.decoding.recipes import ModelFiles
from voxlate.decoding.results import Recipe, result_or_raise
from voxlate.decoding.schedule import AudioSegment
from voxlate.decoding.segment_batches import choose_batch_size, compute_segments
from voxlate.decoding.segmenting import CTC_CLIP_SECONDS, SegmentationOptions, Segmenter, empty_result_note
from voxlate.errors import AudioError, VoxlateError
from voxlate.hardware import INT8, choose_device, choose_dtype
from voxlate.models.fast_path import install_fast_path
from voxlate.models.precision import nan_scores_error

_MAX_SECONDS = 30.0  # of speech from the beginning of an input


@dataclass(frozen=True)
class Identification:
    """The code of the most probable language of an input (None for silence), and the probability of each language.

    `warnings`, `notes` and `recipe` are as in `Translation`.
    """

    language: str | None
    probabilities: Mapping[str, float]
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    recipe: Mapping[str, object] = field(default_factory=Recipe, repr=False, compare=False)


class Identifier:
    """A loaded model that identifies the language spoken.

    - `model`: a folder written by `voxlate train-identifier`, or a folder, Hub id or id@revision of a
      …ForSequenceClassification model whose labels are languages.
    - `device`: auto, cpu, cuda, cuda:1, …
    - `dtype`: auto, float32, bfloat16 or float16.
    - `batch_size`: maximum number of segments per batch, 16 by default, 64 on a GPU. It does not change results.

    VoxlateError if the model cannot be found or loaded, or an argument is wrong.

        identifier = Identifier("facebook/mms-lid-126")
        print(identifier.identify("talk.mp3").language)
    """

    def __init__(
        self, model: str | Path, *, device: str = "auto", dtype: str = "auto", batch_size: int | None = None
    ) -> None:
        if dtype == INT8:
            raise VoxlateError("dtype int8 is for translation; expected auto, float32, bfloat16 or float16")
        folder = find_model(model)
        self._device = choose_device(device)
        self._batch_size = choose_batch_size(batch_size, self._device.type)
        weight_bytes = sum(path.stat().st_size for path in weight_files(folder))
        precision = choose_dtype(dtype, self._device, weight_bytes)
        self.model = load_identifier(folder, device=self._device, dtype=precision)
        install_fast_path(self.model)
        self._dtype = str(precision).removeprefix("torch.")
        self._files = ModelFiles(str(model), folder, adapter=folder)

    @overload
    def identify(
        self,
        audio: list[Any] | tuple[Any, ...],
        *,
        sampling_rate: int = SAMPLE_RATE_HZ,
        audio_track: AudioTrack | None = None,
    ) -> list[Identification]: ...

    @overload
    def identify(
        self, audio: AudioInput, *, sampling_rate: int = SAMPLE_RATE_HZ, audio_track: AudioTrack | None = None
    ) -> Identification: ...

    def identify(
        self,
        audio: AudioInput | list[Any] | tuple[Any, ...],
        *,
        sampling_rate: int = SAMPLE_RATE_HZ,
        audio_track: AudioTrack | None = None,
    ) -> Identification | list[Identification]:
        """Identify the language of one input, or of each input of a list. For inputs and arguments see `stream`.

        AudioError if an input cannot be read. `stream` yields it instead, and continues with the other inputs.
        """
        inputs: Any = audio if is_list(audio) else [audio]
        stream = self.stream(inputs, sampling_rate=sampling_rate, audio_track=audio_track)
        results = [result_or_raise(result) for _, result in stream]
        return results if is_list(audio) else results[0]

    def stream(
        self,
        inputs: Iterable[AudioInput | DecodedAudio],
        *,
        sampling_rate: int = SAMPLE_RATE_HZ,
        audio_track: AudioTrack | None = None,
        speech: SpeechOptions = DEFAULT_SPEECH_OPTIONS,
        num_workers: int | None = 0,
    ) -> Iterator[tuple[int, Identification | AudioError]]:
        """Identify the languages of many inputs; yield the index and the result of each, in order.

        - `inputs`: paths, bytes, binary files, arrays or tensors of shape (T,) or (1, T), or audio dicts of `datasets`.
          They are read when they are needed, and their first 30 s of speech are used.
        - `sampling_rate`: sampling rate of arrays and tensors, in Hz.
        - `audio_track`: which track to read from files with several, by number (from 1) or language.
        - `num_workers`: number of processes that decode files; 0 for a thread, None for as many as are needed.
        - `speech`: options of speech detection. Audio without speech has no language.

        An input that cannot be read yields an AudioError.
        """
        check_is_several(inputs)
        audio = read_ahead(
            inputs,
            sampling_rate=sampling_rate,
            audio_track=audio_track,
            speech=speech,
            fill_gaps=False,
            num_workers=num_workers,
        )
        segmenter = Segmenter(SegmentationOptions(vad=speech.vad), CTC_CLIP_SECONDS)

        def first_spans(_: int, decoded: DecodedAudio) -> Iterator[Span]:
            """Yield the first segments of an input, up to 30 s in total."""
            remaining = round(_MAX_SECONDS * SAMPLE_RATE_HZ)
            for start, end in segmenter.segments(decoded, whole=True):
                if remaining > 0:
                    yield start, min(end, start + remaining)
                    remaining -= end - start

        recipe = Recipe(partial(_recipe, self._files, self._dtype, self._device.type))
        for index, decoded, probabilities in compute_segments(
            audio, self._probabilities, self._batch_size, spans=first_spans
        ):
            if isinstance(decoded, AudioError):
                yield index, decoded
                continue
            by_language = self._mean(probabilities)
            notes = decoded.notes
            if not probabilities:
                notes = (*notes, empty_result_note(decoded.speech, SegmentationOptions(vad=speech.vad)))
            language = max(by_language, key=lambda code: by_language[code]) if by_language else None
            yield index, Identification(language, by_language, decoded.warnings, notes, recipe)

    def recipe(self) -> dict[str, object]:
        """Return what an identification depends on besides the audio."""
        return _recipe(self._files, self._dtype, self._device.type)

    @torch.inference_mode()
    def _probabilities(self, segments: Sequence[AudioSegment]) -> list[Tensor]:
        """Return the probabilities of all labels, (L,), for each segment."""
        waveforms = [segment.waveform() for segment in segments]
        normalize = self.model.encoder.normalize_waveform
        log_probs_BL = self.model(*collate_waveforms(waveforms, normalize=normalize)).cpu()
        if log_probs_BL.isnan().any():
            raise nan_scores_error(self.model.classifier.weight.dtype)
        return list(log_probs_BL.exp())

    def _mean(self, probabilities: Mapping[Span, Tensor]) -> dict[str, float]:
        """Return the probability of each language: the mean over segments, weighted by their lengths."""
        if not probabilities:
            return {}
        weighted = [probabilities_L * (end - start) for (start, end), probabilities_L in probabilities.items()]
        mean_L = torch.stack(weighted).sum(0) / sum(end - start for start, end in probabilities)
        by_language: dict[str, float] = {}
        for language, probability in zip(self.model.languages, mean_L.tolist(), strict=True):
            if language is not None:  # several labels may denote one language, such as zho and cmn
                by_language[language] = by_language.get(language, 0.0) + probability
        return by_language


def _recipe(files: ModelFiles, dtype: str, device: str) -> dict[str, object]:
    """Return the recipe under names that do not collide with those of a translator."""
    names = {"model": "identifier", "weights_sha256": "identifier_sha256"}
    recipe = {names.get(name, f"identifier_{name}"): value for name, value in files.recipe.items()}
    return {**recipe, "identifier_dtype": dtype, "identifier_device": device}
