"""Write waveforms as 16 kHz FLAC files."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
from av.audio.stream import AudioStream

from voxlate.audio.resampling import SAMPLE_RATE_HZ, Waveform
from voxlate.files import atomic_file


def write_flac(path: Path, waveform_T: Waveform) -> None:
    """Write a mono waveform, float32 of shape (T,) at 16 kHz, atomically with 16 bits per sample."""
    samples_1T = np.clip(np.rint(waveform_T * 32768.0), -32768, 32767).astype(np.int16)[None]
    with atomic_file(path, durable=False) as part, av.open(str(part), "w", format="flac") as output:
        stream = output.add_stream("flac", SAMPLE_RATE_HZ)
        assert isinstance(stream, AudioStream)
        stream.format, stream.layout = av.AudioFormat("s16"), av.AudioLayout("mono")
        for start in range(0, samples_1T.shape[1], SAMPLE_RATE_HZ):
            block_1T = np.ascontiguousarray(samples_1T[:, start : start + SAMPLE_RATE_HZ])
            frame = av.AudioFrame.from_ndarray(block_1T, "s16", "mono")
            frame.sample_rate, frame.pts = SAMPLE_RATE_HZ, start
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
