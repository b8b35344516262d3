"""The duration stated in a media file's header, to detect truncated files."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, BinaryIO, Literal

from voxlate.audio.undecodable import frame_hertz

if TYPE_CHECKING:
    from voxlate.audio.frames import Media

# Demuxers whose stream duration comes from the header, not from an estimate by bit rate.
HEADER_DURATION = {"aiff", "ape", "au", "flac", "mov,mp4,m4a,3gp,3g2,mj2", "nistsphere", "tta", "wv"}
UNKNOWN_BYTES = 0x7FFF0000  # programs that write to a pipe leave 0 or a number near the maximum
_AVI_HEADER_BYTES = 1 << 18


def stated_seconds(file: BinaryIO, media: Media) -> float:
    """Return the duration stated in the file's header; 0 if it states none and FFmpeg only estimates.

    Ogg, AAC and MPEG streams state none.
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
    # For truncated AVI, CAF and Wave64 files FFmpeg does not report the stated duration.
    if kind == "avi":
        return _avi_header_seconds(file, list(media.container.streams.audio).index(stream))
    if kind in ("caf", "w64"):
        return media.seconds * _stated_share(file, kind)
    return seconds if kind in HEADER_DURATION else 0.0


def _avi_header_seconds(file: BinaryIO, track: int) -> float:
    """Read the length of an audio track, numbered from 0, in the header of an AVI; 0 if no bytes are missing."""
    end = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(_AVI_HEADER_BYTES)
    tracks = re.findall(rb"strh.{4}auds.{16}(.{4})(.{4}).{4}(.{4})", head, re.DOTALL)
    missing = end < int.from_bytes(head[4:8], "little") < UNKNOWN_BYTES
    if not missing or track >= len(tracks):
        return 0.0
    scale, rate, length = (int.from_bytes(number, "little") for number in tracks[track])
    return length * scale / rate if rate else 0.0


def _stated_share(file: BinaryIO, kind: str) -> float:
    """Divide the bytes of sound stated in a CAF or Wave64 header by those present; 0 if none are missing."""
    end = file.seek(0, os.SEEK_END)
    if kind == "caf":
        start, size = _find_chunk(file, end, first=8, id_bytes=4, order="big")
        start, size = start + 4, size - 4  # a count of edits
    else:
        start, size = _find_chunk(file, end, first=40, id_bytes=16, order="little")
        size -= 24  # the chunk's own header
    present = end - start
    return size / present if 0 < present < size < 1 << 62 else 0.0  # -1 is written to a pipe


def _find_chunk(
    file: BinaryIO, end: int, *, first: int, id_bytes: int, order: Literal["little", "big"]
) -> tuple[int, int]:
    """Return the start of the first data chunk's contents and its stated size; (end, 0) if there is none."""
    position = first
    while position < end:
        file.seek(position)
        header = file.read(id_bytes + 8)
        size = int.from_bytes(header[id_bytes:], order)
        if header.startswith(b"data"):
            return position + len(header), size
        # Wave64 sizes include the header, and its chunks start at multiples of 8.
        position += max(len(header) + size if id_bytes == 4 else size + -size % 8, len(header), 1)
    return end, 0


def _wav_header_seconds(file: BinaryIO) -> float:
    """Divide the bytes of sound stated in a WAV header by its byte rate; 0 if none are missing."""
    file.seek(12)
    bytes_per_second = 0
    while len(header := file.read(8)) == 8:
        start, size = file.tell(), int.from_bytes(header[4:], "little")
        if header.startswith(b"fmt "):
            bytes_per_second = int.from_bytes(file.read(12)[8:], "little")
        if header.startswith(b"data"):
            file.seek(0, os.SEEK_END)
            missing = file.tell() - start < size < UNKNOWN_BYTES
            return size / bytes_per_second if missing and bytes_per_second else 0.0
        file.seek(start + size + size % 2)
    return 0.0


def _mp3_header_seconds(file: BinaryIO, first_byte: int) -> float:
    """Return the duration stated in a Xing or Info header, which is the frame before the first sound."""
    file.seek(max(first_byte - 3_000, 0))
    header = rb"(\xff[\xe2-\xff].).(?:.{9}|.{17}|.{32})(?:Xing|Info)...[\x01\x03\x05\x07\x09\x0b\x0d\x0f](.{4})"
    match = re.search(header, file.read(min(first_byte, 3_000)), re.DOTALL)
    rate = 0 if match is None else frame_hertz(match[1])
    if match is None or rate == 0:
        return 0.0
    frame_samples = 1152 if rate >= 32_000 else 576  # MPEG-1; MPEG-2 and 2.5
    return int.from_bytes(match[2], "big") * frame_samples / rate
