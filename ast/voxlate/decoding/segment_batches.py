"""Batches of segments from many inputs, for models whose results come from one forward pass."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from voxlate.audio.prefetch import DecodedAudio
from voxlate.audio.segmentation import Span
from voxlate.decoding.schedule import AudioSegment, encoder_batches
from voxlate.errors import AudioError, VoxlateError
from voxlate.hardware import without_cudnn_attention
from voxlate.progress import AudioProgress

_BATCH_SIZES = {"cpu": 16, "cuda": 64}
_WINDOW_BATCHES = 4  # batches that are read before the first is computed, so that similar lengths share a batch

SegmentResult = TypeVar("SegmentResult")


def choose_batch_size(batch_size: int | None, device: str) -> int:
    """Return the batch size given, else the default for the type of device. VoxlateError if it is below 1."""
    if batch_size is not None and batch_size < 1:
        raise VoxlateError(f"batch_size is {batch_size}, expected 1 or more")
    return batch_size or _BATCH_SIZES.get(device, _BATCH_SIZES["cpu"])


def compute_segments(
    inputs: Iterable[DecodedAudio | AudioError],
    compute: Callable[[Sequence[AudioSegment]], Sequence[SegmentResult]],
    batch_size: int,
    *,
    spans: Callable[[DecodedAudio], Iterable[Span]],
    progress: Callable[[float, float], None] | None = None,
) -> Iterator[tuple[int, DecodedAudio | AudioError, dict[Span, SegmentResult]]]:
    """Yield each input's index, audio (or error) and the results of its segments, in the order of the inputs.

    `compute` returns a result for each segment of a batch. Batches are sorted by length. `spans` chooses the segments
    of an input. `progress` is called with the seconds of audio that are done and read so far.
    """
    report = AudioProgress(progress)
    window: list[tuple[int, DecodedAudio | AudioError]] = []
    segments: list[AudioSegment] = []

    def compute_window() -> Iterator[tuple[int, DecodedAudio | AudioError, dict[Span, SegmentResult]]]:
        results: dict[tuple[int, Span], SegmentResult] = {}
        ordered = sorted(segments, key=lambda segment: segment.seconds)
        for batch in encoder_batches(ordered, batch_size):
            with without_cudnn_attention():
                computed = compute(batch)
            for segment, result in zip(batch, computed, strict=True):
                results[segment.index, segment.span] = result
            report.add(done=sum(segment.seconds for segment in batch))
        for index, audio in window:
            spans_of_input = [segment.span for segment in segments if segment.index == index]
            yield index, audio, {span: results[index, span] for span in spans_of_input}
        window.clear()
        segments.clear()

    for index, audio in enumerate(inputs):
        window.append((index, audio))
        if isinstance(audio, DecodedAudio):
            new_segments = [AudioSegment(index, span, audio) for span in spans(audio)]
            segments += new_segments
            report.add(done=audio.seconds - sum(segment.seconds for segment in new_segments), read=audio.seconds)
        if len(segments) >= batch_size * _WINDOW_BATCHES:
            yield from compute_window()
    yield from compute_window()
