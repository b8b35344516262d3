"""Transcribe inputs that come and go, in batches of segments of several of them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from voxlate.audio.decoded_audio import DecodedAudio
from voxlate.checkpoints.ctc_models import CtcCheckpoint
from voxlate.decoding.fair_turns import FairTurns
from voxlate.decoding.pending_transcripts import PendingTranscripts
from voxlate.decoding.results import Recipe, Segment, Translation
from voxlate.decoding.schedule import AudioSegment, encoder_batches
from voxlate.decoding.segment_batches import choose_batch_size
from voxlate.decoding.segmenting import CTC_CLIP_SECONDS, SegmentationOptions, Segmenter
from voxlate.decoding.transcriber import transcribe_batch, transcript
from voxlate.hardware import without_cudnn_attention

_BATCH_SECONDS = 60.0  # of audio that is transcribed at once, which a new input has to wait for


@dataclass
class _Pending:
    """An input that is being transcribed. `unfinished` counts its segments that were cut and are not done."""

    audio: DecodedAudio
    language: str | None
    unfinished: int = 0
    has_all_spans: bool = False


class LiveTranscription:
    """The CTC model of `checkpoint` at work on inputs that join and leave at any time, and take turns.

    `on_segment` is called with the index of an input, None and its segments in order, as soon as they are done.
    """

    def __init__(
        self,
        checkpoint: CtcCheckpoint,
        segmentation: SegmentationOptions,
        on_segment: Callable[[int, None, Segment], None] | None = None,
    ) -> None:
        self._checkpoint, self._segmentation = checkpoint, segmentation
        self._batch_size = choose_batch_size(None, checkpoint.model.device.type)
        self._transcripts = PendingTranscripts(Segmenter(segmentation, CTC_CLIP_SECONDS), on_segment)
        self._turns = FairTurns()
        self._pending: dict[int, _Pending] = {}

    def __len__(self) -> int:
        """Return the number of unfinished transcripts."""
        return len(self._pending)

    def join(self, index: int, audio: DecodedAudio, language: str | None) -> Iterator[tuple[int, Translation]]:
        """Add an input in a language, which is only recorded; yield its transcript if there is no speech in it."""
        self._pending[index] = _Pending(audio, language)
        self._turns.add(index, self._cut(index, self._pending[index]))
        yield from self._finish_if_complete(index)

    def advance(self) -> Iterator[tuple[int, Translation]]:
        """Transcribe a batch of segments; yield what is complete."""
        taken = sorted(self._turns.take(self._batch_size, _BATCH_SECONDS), key=lambda segment: segment.seconds)
        for batch in encoder_batches(taken, self._batch_size):
            with without_cudnn_attention():
                found = transcribe_batch(self._checkpoint, batch)
            for segment, transcribed in zip(batch, found, strict=True):
                self._transcripts.add(segment, transcribed)
                self._pending[segment.index].unfinished -= 1
                yield from self._finish_if_complete(segment.index)

    def drop(self, index: int) -> None:
        """Remove an input."""
        self._pending.pop(index, None)
        self._turns.drop(index)
        self._transcripts.drop(index)

    def _cut(self, index: int, pending: _Pending) -> Iterator[AudioSegment]:
        for span in self._transcripts.unknown_spans(index, pending.audio):
            pending.unfinished += 1
            yield AudioSegment(index, span, pending.audio)
        pending.has_all_spans = True

    def _finish_if_complete(self, index: int) -> Iterator[tuple[int, Translation]]:
        pending = self._pending[index]
        if pending.has_all_spans and pending.unfinished == 0:
            del self._pending[index]
            segments = self._transcripts.pop(index)
            yield index, transcript(pending.audio, segments, pending.language, self._segmentation, Recipe())
