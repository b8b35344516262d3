"""Pages and links of Ogg files.

FFmpeg stops where rate or channels change between links, and does not report missing pages.
"""

from __future__ import annotations

import io
import os
import zlib
from collections.abc import Iterator
from typing import BinaryIO, cast

_SEARCHED_BYTES = 1 << 16
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def find_links(file: BinaryIO) -> list[BinaryIO]:
    """Return each link of a chained file as a file; an empty list for a file with a single link.

    A link starts with the first page of a stream that follows other pages.
    """
    starts: list[int] = []
    in_headers = False
    for position, header in _pages(file):
        is_first = bool(header[5] & 2)
        if is_first and not in_headers:
            starts.append(position)
        in_headers = is_first
    if len(starts) < 2:
        return []
    ends = [*starts[1:], file.seek(0, os.SEEK_END)]
    return [cast("BinaryIO", FileRange(file, start, end)) for start, end in zip(starts, ends, strict=True)]


def has_lost_pages(file: BinaryIO) -> bool:
    """Return whether FFmpeg skips audio because pages are damaged or missing between others."""
    numbers: dict[bytes, int] = {}
    for _, header in _pages(file):
        serial, number = header[14:18], int.from_bytes(header[18:22], "little")
        follows = header[5] & 2 or serial not in numbers or number <= numbers[serial] + 1
        numbers[serial] = number
        if not follows or _is_damaged(file, header):
            return True
    return False


def begins_damaged(file: BinaryIO) -> bool:
    """Return whether a page up to the first sound of a stream is damaged: FFmpeg counts time from the next page."""
    begun: set[bytes] = set()
    for _, header in _pages(file):
        serial, granule = header[14:18], header[6:14]
        if header[5] & 2:
            begun.discard(serial)
        if serial not in begun and _is_damaged(file, header):
            return True
        if any(granule):
            begun.add(serial)
    return False


def _is_damaged(file: BinaryIO, header: bytes) -> bool:
    """Return whether a page differs from its checksum; the file is positioned after its header."""
    page = header[:22] + bytes(4) + header[26:] + file.read(sum(header[27:]))
    return _checksum(page) != int.from_bytes(header[22:26], "little")


def _pages(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield the position of each page, and its header with the segment table; the file is then positioned after it."""
    position = searched = 0
    while True:
        file.seek(position)
        header = file.read(27)
        if len(header) == 27 and header.startswith(b"OggS\0"):
            header += file.read(header[26])
            yield position, header
            searched = position + len(header)  # if this page is truncated, the next one starts within its stated length
            position = searched + sum(header[27:])
            continue
        file.seek(searched)
        block = file.read(_SEARCHED_BYTES)
        if len(block) < 5:
            return
        offset = block.find(b"OggS\0")
        position = searched + (offset if offset >= 0 else len(block) - 4)
        searched = position + 1 if offset >= 0 else position


def _checksum(page: bytes) -> int:
    """Return Ogg's CRC: zlib's with reversed bits and without its initial and final inversion."""
    reflected = zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{reflected:032b}"[::-1], 2)


class FileRange(io.RawIOBase):
    """Bytes `start` to `end` of a file as a file. The file itself stays open."""

    def __init__(self, file: BinaryIO, start: int, end: int) -> None:
        super().__init__()
        self._file, self._start, self._end, self._position = file, start, end, 0

    def read(self, size: int | None = -1, /) -> bytes:
        """Return up to `size` bytes."""
        remaining = max(0, self._end - self._start - self._position)
        self._file.seek(self._start + self._position)
        content = self._file.read(remaining if size is None or size < 0 else min(size, remaining))
        self._position += len(content)
        return content

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Set the position within the range."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._end - self._start}[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        """Return the position within the range."""
        return self._position

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True
