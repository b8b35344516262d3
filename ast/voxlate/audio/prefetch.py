"""Decode inputs ahead of the model, in another thread or in processes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from functools import partial

from voxlate.audio.decoded_audio import Decodable, DecodedAudio, decode_input
from voxlate.audio.decoding_pool import DecodingPool
from voxlate.audio.loading import SAMPLE_RATE_HZ
from voxlate.audio.speech_detection import DEFAULT_SPEECH_OPTIONS, SpeechOptions
from voxlate.audio.tracks import AudioTrack
from voxlate.errors import AudioError

AHEAD_SECONDS = 600.0  # of decoded audio that may wait for the caller, for the thread or for each process


def read_ahead(
    inputs: Iterable[Decodable],
    seconds: float = AHEAD_SECONDS,
    *,
    sampling_rate: int = SAMPLE_RATE_HZ,
    audio_track: AudioTrack | None = None,
    speech: SpeechOptions = DEFAULT_SPEECH_OPTIONS,
    fill_gaps: bool = True,
    num_workers: int | None = 0,
) -> Iterator[DecodedAudio | AudioError]:
    """Decode inputs in order, ahead of the caller, and yield each one's audio or error.

    `sampling_rate` is that of arrays and tensors, `audio_track` the track of files, and `fill_gaps` replaces missing
    parts by silence, as for `load_audio`. `speech` are the options of speech detection.

    Decoding and detection run in a daemon thread, so an interruption does not wait for a long file. `num_workers` is
    the number of processes that do so instead for files, regular ones and bytes. With None, the thread begins, and as
    many processes as the caller would otherwise wait for take over, from three cores on; one core is the caller's.

    At most `seconds` of decoded audio wait for the caller, for the thread or for each process; what is being decoded
    comes on top.
    """
    decode = partial(
        decode_input, sampling_rate=sampling_rate, audio_track=audio_track, speech=speech, fill_gaps=fill_gaps
    )
    waiting: deque[Future[DecodedAudio | AudioError]] = deque()
    with DecodingPool(decode, seconds, num_workers) as pool:
        for item in inputs:
            waiting.append(pool.submit(item))
            while waiting[0].done() or len(waiting) > pool.max_inputs:
                yield pool.take(waiting.popleft())
                if not waiting:
                    break
        while waiting:
            yield pool.take(waiting.popleft())
