"""Transcribe audio inputs with a CTC head, which also gives the times of words.

Shape letters: B segments, S frames, V labels.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, overload

import torch

from voxlate.audio.decoded_audio import DecodedAudio
from voxlate.audio.loading import SAMPLE_RATE_HZ
from voxlate.audio.prefetch import read_ahead
from voxlate.audio.python_inputs import AudioInput, check_is_several, is_list
from voxlate.audio.segmentation import Span
from voxlate.audio.tracks import AudioTrack
from voxlate.checkpoints.ctc_models import CtcCheckpoint, load_ctc_checkpoint
from voxlate.checkpoints.hub import find_model
from voxlate.checkpoints.weights import weight_files
from voxlate.data.batching import collate_waveforms
from voxlate.decoding.ctc_best_path import AlignedWord, best_path
from voxlate.decoding.pending_transcripts import PendingTranscripts
from voxlate.decoding.recipes import ModelFiles, runtime_recipe, software_recipe
from voxlate.decoding.results import Candidate, Recipe, Segment, Translation, Word, result_or_raise
from voxlate.decoding.schedule import AudioSegment
from voxlate.decoding.segment_batches import choose_batch_size, compute_segments
from voxlate.decoding.segment_journal import ResumableSegments
from voxlate.decoding.segmenting import (
    CTC_CLIP_SECONDS,
    DEFAULT_SEGMENTATION,
    SegmentationOptions,
    Segmenter,
    empty_result_note,
    left_out,
)
from voxlate.errors import AudioError, VoxlateError, check_type
from voxlate.hardware import INT8, choose_device, choose_dtype
from voxlate.models.fast_path import install_fast_path
from voxlate.models.precision import nan_scores_error


class Transcriber:
    """A loaded model that transcribes speech in the language that its CTC head was trained on.

    - `model`: a folder, Hub id or id@revision of a model with a CTC head.
    - `device`: auto, cpu, cuda, cuda:1, …
    - `dtype`: auto, float32, bfloat16 or float16.
    - `batch_size`: maximum number of segments per batch, 16 by default, 64 on a GPU. It does not change results.

    VoxlateError if the model cannot be found or loaded, or an argument is wrong.

        transcriber = Transcriber("facebook/wav2vec2-base-960h")
        for word in transcriber.transcribe("talk.mp3").segments[0].words:
            print(word.start, word.end, word.text)
    """

    def __init__(
        self, model: str | Path, *, device: str = "auto", dtype: str = "auto", batch_size: int | None = None
    ) -> None:
        self._device = choose_device(device)
        self._batch_size = choose_batch_size(batch_size, self._device.type)
        folder = find_model(model)
        weight_bytes = sum(path.stat().st_size for path in weight_files(folder))
        if dtype == INT8:
            raise VoxlateError("dtype int8 is for translation; expected auto, float32, bfloat16 or float16")
        precision = choose_dtype(dtype, self._device, weight_bytes)
        checkpoint = load_ctc_checkpoint(folder, device=self._device, dtype=precision)
        self.model, self.checkpoint = checkpoint.model, checkpoint
        install_fast_path(self.model)
        self._dtype = str(precision).removeprefix("torch.")
        self._files = ModelFiles(str(model), folder, adapter=folder)

    @overload
    def transcribe(
        self,
        audio: list[Any] | tuple[Any, ...],
        *,
        language: str | None = None,
        segmentation: SegmentationOptions = DEFAULT_SEGMENTATION,
        sampling_rate: int = SAMPLE_RATE_HZ,
        audio_track: AudioTrack | None = None,
    ) -> list[Translation]: ...

    @overload
    def transcribe(
        self,
        audio: AudioInput,
        *,
        language: str | None = None,
        segmentation: SegmentationOptions = DEFAULT_SEGMENTATION,
        sampling_rate: int = SAMPLE_RATE_HZ,
        audio_track: AudioTrack | None = None,
    ) -> Translation: ...

    def transcribe(
        self,
        audio: AudioInput | list[Any] | tuple[Any, ...],
        *,
        language: str | None = None,
        segmentation: SegmentationOptions = DEFAULT_SEGMENTATION,
        sampling_rate: int = SAMPLE_RATE_HZ,
        audio_track: AudioTrack | None = None,
    ) -> Translation | list[Translation]:
        """Transcribe one input, or each input of a list. For inputs and arguments see `stream`.

        AudioError if an input cannot be read. `stream` yields it instead, and continues with the other inputs.
        """
        inputs: Any = audio if is_list(audio) else [audio]
        stream = self.stream(
            inputs, language=language, segmentation=segmentation, sampling_rate=sampling_rate, audio_track=audio_track
        )
        results = [result_or_raise(result) for _, result in stream]
        return results if is_list(audio) else results[0]

    def stream(
        self,
        inputs: Iterable[AudioInput],
        *,
        language: str | None = None,
        progress: Callable[[float, float], None] | None = None,
        segmentation: SegmentationOptions = DEFAULT_SEGMENTATION,
        sampling_rate: int = SAMPLE_RATE_HZ,
        audio_track: AudioTrack | None = None,
        on_segment: Callable[[int, None, Segment], None] | None = None,
        resume: ResumableSegments | None = None,
        num_workers: int | None = 0,
    ) -> Iterator[tuple[int, Translation | AudioError]]:
        """Transcribe many inputs; yield the index and the result of each, in order.

        - `inputs`: paths, bytes, binary files, arrays or tensors of shape (T,) or (1, T), or audio dicts of `datasets`.
          They are read when they are needed.
        - `language`: the spoken language. It is recorded, and determines whether spaces join segments (without it,
          their script does).
        - `progress`: called with the seconds of audio that are transcribed and read so far.
        - `segmentation`: how the inputs are cut into segments.
        - `sampling_rate`: sampling rate of arrays and tensors, in Hz.
        - `audio_track`: which track to read from files with several, by number (from 1) or language.
        - `num_workers`: number of processes that decode files; 0 for a thread, None for as many as are needed.
        - `on_segment`: called with the index of an input, None and the next segment, when it is done.
        - `resume`: keeps what is done of inputs, and knows what an interrupted run has done.

        An input that cannot be read yields an AudioError.
        """
        check_is_several(inputs)
        check_type("segmentation", segmentation, SegmentationOptions)
        audio = read_ahead(
            inputs,
            sampling_rate=sampling_rate,
            audio_track=audio_track,
            speech=segmentation.speech,
            num_workers=num_workers,
        )
        pending = PendingTranscripts(Segmenter(segmentation, CTC_CLIP_SECONDS), on_segment, resume)
        recipe = Recipe(partial(_recipe, self._files, self._dtype, self._device.type, audio_track))
        for index, decoded, _ in compute_segments(
            audio,
            partial(transcribe_batch, self.checkpoint),
            self._batch_size,
            spans=pending.unknown_spans,
            progress=progress,
            on_result=pending.add,
        ):
            if isinstance(decoded, AudioError):
                yield index, decoded
                continue
            yield index, transcript(decoded, pending.pop(index), language, segmentation, recipe)

    def recipe(self) -> dict[str, object]:
        """Return what a transcript depends on besides the audio."""
        return _recipe(self._files, self._dtype, self._device.type)


def transcript(
    audio: DecodedAudio,
    segments: Mapping[Span, Segment],
    language: str | None,
    segmentation: SegmentationOptions,
    recipe: Recipe,
) -> Translation:
    """Assemble the transcript of an input from its segments."""
    return Translation(
        audio.name,
        audio.end_seconds,
        None,
        tuple(segments.values()),
        language,
        audio.warnings,
        notes=audio.notes if segments else (*audio.notes, empty_result_note(audio.speech, segmentation)),
        left_out=left_out(audio, [*segments]),
        recipe=recipe,
    )


@torch.inference_mode()
def transcribe_batch(checkpoint: CtcCheckpoint, segments: Sequence[AudioSegment]) -> list[Segment]:
    """Transcribe segments in one batch; return each with its words. VoxlateError if the scores are NaN."""
    model, labels = checkpoint.model, checkpoint.labels
    waveforms = [segment.waveform() for segment in segments]
    log_probs_BSV, lengths_B = model(*collate_waveforms(waveforms, normalize=model.encoder.normalize_waveform))
    if log_probs_BSV.isnan().any():
        raise nan_scores_error(model.dtype)
    frame_samples = model.encoder.frame_samples
    return [
        _to_segment(segment, best_path(log_probs_SV[:length], labels), labels.separator, frame_samples)
        for segment, log_probs_SV, length in zip(segments, log_probs_BSV.cpu(), lengths_B.tolist(), strict=True)
    ]


def _to_segment(segment: AudioSegment, aligned: Sequence[AlignedWord], separator: str, frame_samples: int) -> Segment:
    """Return a segment of a transcript, with frames converted to times by `frame_samples`, the samples per frame."""
    first, last = segment.span
    seconds = segment.audio.clock.seconds
    words = tuple(
        Word(
            word.text,
            seconds(first + word.first_frame * frame_samples),
            seconds(min(last, first + (word.last_frame + 1) * frame_samples)),
        )
        for word in aligned
    )
    score = sum(word.log_prob for word in aligned) / max(1, len(aligned))
    text = separator.join(word.text for word in words)
    return Segment(seconds(first), seconds(last), (Candidate(text, score),), words)


def _recipe(files: ModelFiles, dtype: str, device: str, audio_track: AudioTrack | None = None) -> dict[str, object]:
    track = {} if audio_track is None else {"audio_track": audio_track}
    return {**software_recipe(), **files.recipe, **runtime_recipe(dtype, device), **track}
