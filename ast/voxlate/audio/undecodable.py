"""Classify undecodable bytes of a media file: lost sound, or tags, padding and garbage."""

from __future__ import annotations

import re

_HEADER = re.compile(rb"\xff[\xe2-\xff]..", re.DOTALL)
_INFO = re.compile(rb"\xff[\xe2-\xff]..(?:.{9}|.{17}|.{32})(?:Xing|Info)", re.DOTALL)
# Bit rates of MPEG audio in kbit/s, by version (is it MPEG-1?) and layer.
_LAYER_1 = (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448)
_LAYER_2 = (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384)
_LAYER_3 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_LOW_LAYER_1 = (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256)
_LOW_LAYERS = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_BIT_RATES = {
    (True, 1): _LAYER_1, (True, 2): _LAYER_2, (True, 3): _LAYER_3,
    (False, 1): _LOW_LAYER_1, (False, 2): _LOW_LAYERS, (False, 3): _LOW_LAYERS,
}  # fmt: skip


def frame_bytes(content: bytes, start: int = 0) -> int:
    """Return the size of the MPEG audio frame whose header begins at `start`; 0 if there is none."""
    header = content[start : start + 4]
    if not _HEADER.match(header):
        return 0
    is_first, layer = header[1] >> 3 & 3 == 3, 4 - (header[1] >> 1 & 3)
    hz, rate_index = frame_hertz(header), header[2] >> 4
    if hz == 0 or layer == 4 or rate_index in (0, 15):
        return 0
    rate = 1_000 * _BIT_RATES[is_first, layer][rate_index]
    padding = header[2] >> 1 & 1
    if layer == 1:
        return (12 * rate // hz + padding) * 4
    return (144 if layer == 2 or is_first else 72) * rate // hz + padding


def frame_hertz(header: bytes) -> int:
    """Return the sample rate of an MPEG audio header; 0 if it is not one."""
    version, index = header[1] >> 3 & 3, header[2] >> 2 & 3
    halvings = {3: 0, 2: 1, 0: 2}.get(version)  # MPEG-1, 2 and 2.5
    return 0 if halvings is None or index == 3 else (44_100, 48_000, 32_000)[index] >> halvings


def is_info_frame(content: bytes, start: int = 0) -> bool:
    """Return whether the MPEG audio frame at `start` is a Xing or Info header, which contains no sound."""
    return _INFO.match(content, start) is not None


def tag_bytes(content: bytes, start: int = 0) -> int:
    """Return the size of the ID3, APE or Lyrics3 tag that begins at `start`, even if it ends later; 0 if none does."""
    head = content[start : start + 32]
    if head.startswith(b"ID3") and len(head) >= 10 and max(head[6:10]) < 0x80:
        return sum(byte << 7 * index for index, byte in enumerate(head[9:5:-1])) + (20 if head[5] & 0x10 else 10)
    if head.startswith(b"TAG+"):
        return 227
    if head.startswith(b"TAG"):
        return 128
    if head.startswith(b"APETAGEX") and len(head) == 32:
        is_header = head[23] & 0x20  # its size excludes the header itself
        return 32 + (int.from_bytes(head[12:16], "little") if is_header else 0)
    if head.startswith(b"LYRICSBEGIN"):
        ends = [end + 9 for mark in (b"LYRICS200", b"LYRICSEND") if (end := content.find(mark, start)) >= 0]
        return min(ends, default=0) - start if ends else 0
    return 0


def leading_tags(content: bytes) -> int:
    """Return the size of leading tags, including zeros around them; 0 if there is no tag."""
    position = tags = 0
    while position < len(content):
        zeros = len(content[position:]) - len(content[position:].lstrip(b"\0"))
        tag = tag_bytes(content, position + zeros)
        position += zeros + tag
        tags += tag
        if tag == 0:
            break
    return position if tags else 0


def last_frame(content: bytes, start: int) -> int | None:
    """Return the start of the MPEG audio frame that ends with the content, from `start` on; None if there is none."""
    for match in re.compile(rb"\xff[\xe2-\xff]").finditer(content, start):
        if match.start() + frame_bytes(content, match.start()) == len(content):
            return match.start()
    return None


def holds_sound(content: bytes, kind: str) -> bool:
    """Return whether undecodable bytes contain a frame of sound; `kind` is the demuxer: mp3, aac, ac3 or eac3."""
    if kind == "mp3":
        starts = (match.start() for match in re.finditer(rb"\xff[\xe2-\xff]", content))
        return any(_is_frame(content, start, frame_bytes(content, start)) for start in starts)
    if kind == "aac":
        starts = (match.start() for match in re.finditer(rb"\xff[\xf0\xf1\xf8\xf9]", content))
        return any(_is_frame(content, start, _adts_bytes(content, start)) for start in starts)
    return b"\x0b\x77" in content


def _adts_bytes(content: bytes, start: int) -> int:
    header = content[start : start + 6]
    size = (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5 if len(header) == 6 else 0
    return size if size > 7 else 0


def _is_frame(content: bytes, start: int, size: int) -> bool:
    """Return whether a frame starts the content, ends it, or is followed by another header of its kind."""
    follower = content[start + size : start + size + 2]
    return size > 0 and (start == 0 or start + size == len(content) or follower == content[start : start + 2])
