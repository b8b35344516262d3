"""Batches of segments from many inputs, for models whose results come from one forward pass."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from voxlate.audio.decoded_audio import DecodedAudio
from voxlate.audio.segmentation import Span
from voxlate.decoding.schedule import AudioSegment, encoder_batches
from voxlate.errors import AudioError, OptionError
from voxlate.hardware import without_cudnn_attention
from voxlate.progress import AudioProgress

_BATCH_SIZES = {"cpu": 16, "cuda": 64}  # segments, by type of device
_WINDOW_BATCHES = 4  # batches that are read before the first is computed, so that similar lengths share a batch

_FIRST_WINDOW = 4  # segments of a recording, so that its first results come soon
_RECORDING_SECONDS = 60.0

SegmentResult = TypeVar("SegmentResult")


def choose_batch_size(batch_size: int | None, device: str, defaults: Mapping[str, int] = _BATCH_SIZES) -> int:
    """Return the batch size given, else the default for the type of device. OptionError if it is below 1."""
    if batch_size is not None and (not isinstance(batch_size, int) or batch_size < 1):
        raise OptionError({"batch_size": f"is {batch_size!r}, expected 1 or more"})
    return batch_size or defaults.get(device, defaults["cpu"])


def compute_segments(
    inputs: Iterable[DecodedAudio | AudioError],
    compute: Callable[[Sequence[AudioSegment]], Sequence[SegmentResult]],
    batch_size: int,
    *,
    spans: Callable[[int, DecodedAudio], Iterable[Span]],
    progress: Callable[[float, float], None] | None = None,
    on_result: Callable[[AudioSegment, SegmentResult], None] | None = None,
) -> Iterator[tuple[int, DecodedAudio | AudioError, dict[Span, SegmentResult]]]:
    """Yield each input's index, audio (or error) and the results of its segments, in the order of the inputs.

    `compute` returns a result for each segment of a batch. Batches are sorted by length. `spans` chooses the segments
    of an input, given its index and audio. `progress` is called with the seconds of audio that are done and read so
    far, `on_result` with each result as soon as it is computed.
    """
    report = AudioProgress(progress)
    unfinished: list[tuple[int, DecodedAudio | AudioError, list[Span]]] = []
    waiting: list[AudioSegment] = []
    results: dict[tuple[int, Span], SegmentResult] = {}
    window = full_window = batch_size * _WINDOW_BATCHES

    def compute_waiting() -> None:
        for batch in encoder_batches(sorted(waiting, key=lambda segment: segment.seconds), batch_size):
            with without_cudnn_attention():
                computed = compute(batch)
            for segment, result in zip(batch, computed, strict=True):
                results[segment.index, segment.span] = result
                if on_result is not None:
                    on_result(segment, result)
            report.add(done=sum(segment.seconds for segment in batch))
        waiting.clear()

    def finish() -> Iterator[tuple[int, DecodedAudio | AudioError, dict[Span, SegmentResult]]]:
        for index, audio, chosen in unfinished:
            yield index, audio, {span: results.pop((index, span)) for span in chosen}
        unfinished.clear()

    for index, audio in enumerate(inputs):
        chosen: list[Span] = []
        if isinstance(audio, DecodedAudio):
            report.add(read=audio.seconds)
            seconds = 0.0
            if index == 0 and audio.seconds > _RECORDING_SECONDS:
                window = min(_FIRST_WINDOW, full_window)
            for span in spans(index, audio):
                chosen.append(span)
                waiting.append(AudioSegment(index, span, audio))
                seconds += waiting[-1].seconds
                if len(waiting) >= window:
                    compute_waiting()
                    window = min(4 * window, full_window)
                    yield from finish()
            report.add(done=audio.seconds - seconds)
        unfinished.append((index, audio, chosen))
        if not waiting:
            yield from finish()
    compute_waiting()
    yield from finish()
