"""The duration that a media file's header announces, to tell a whole file from a truncated one."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, BinaryIO

from voxlate.data.undecodable import frame_hertz

if TYPE_CHECKING:
    from voxlate.data.frames import Media

# Demuxers whose stream duration is what the header says and not a guess from the bit rate.
HEADER_DURATION = {"aiff", "ape", "au", "flac", "mov,mp4,m4a,3gp,3g2,mj2", "nistsphere", "tta", "wv"}


def announced_seconds(file: BinaryIO, media: Media) -> float:
    """Find how long the file's header promises the sound to be; 0 where it promises nothing and FFmpeg only estimates.

    Ogg, AAC and MPEG streams announce nothing. AVI, CAF and Wave64 do, but FFmpeg hides it when the file is cut.
    """
    kind, stream = media.kind, media.stream
    seconds = float((stream.duration or 0) * (stream.time_base or 0))
    if kind == "wav":
        return _wav_header_seconds(file)
    if kind == "mp3":
        return min(seconds, _mp3_header_seconds(file, media.first_byte))
    if kind == "matroska,webm":  # the header's duration covers the video too
        clock = re.match(r"(\d+):(\d+):(\d+\.?\d*)", stream.metadata.get("DURATION", ""))
        end = float(clock[1]) * 3600 + float(clock[2]) * 60 + float(clock[3]) if clock else 0.0
        return max(0.0, end - media.start_seconds)  # FFmpeg writes the end of the track, mkvmerge its length
    return seconds if kind in HEADER_DURATION else 0.0


def _wav_header_seconds(file: BinaryIO) -> float:
    """Divide the bytes of sound that a WAV header announces by its bytes a second; 0 where none are missing."""
    file.seek(12)
    bytes_per_second = 0
    while len(header := file.read(8)) == 8:
        start, size = file.tell(), int.from_bytes(header[4:], "little")
        if header.startswith(b"fmt "):
            bytes_per_second = int.from_bytes(file.read(12)[8:], "little")
        if header.startswith(b"data"):
            file.seek(0, os.SEEK_END)
            # Programs that write to a pipe leave 0 or a number near the largest possible.
            missing = file.tell() - start < size < 0x7FFF0000
            return size / bytes_per_second if missing and bytes_per_second else 0.0
        file.seek(start + size + size % 2)
    return 0.0


def _mp3_header_seconds(file: BinaryIO, first_byte: int) -> float:
    """Read the number of frames in a Xing or Info header, which is the frame ahead of the first sound."""
    file.seek(max(first_byte - 3_000, 0))
    header = rb"(\xff[\xe2-\xff].).(?:.{9}|.{17}|.{32})(?:Xing|Info)...[\x01\x03\x05\x07\x09\x0b\x0d\x0f](.{4})"
    match = re.search(header, file.read(min(first_byte, 3_000)), re.DOTALL)
    rate = 0 if match is None else frame_hertz(match[1])
    if match is None or rate == 0:
        return 0.0
    frame_samples = 1152 if rate >= 32_000 else 576  # MPEG-1; MPEG-2 and 2.5
    return int.from_bytes(match[2], "big") * frame_samples / rate
