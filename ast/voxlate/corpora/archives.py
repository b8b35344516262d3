"""Tar archives read once from their beginning to their end, with every check that the format has.

Python's own reader takes a damaged header for the end of the archive, and compares no checksum of what it unpacks as a
stream. Here both are errors that name the file, the damage and the place.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, cast

from voxlate.errors import VoxlateError

MOST_TABLE_BYTES = 2 << 30  # of a table of text when it is unpacked; the largest of Common Voice has a quarter of it
MOST_CLIP_BYTES = 64 << 20
_MOST_EXTRA_BYTES = 1 << 20  # of a header's long name or pax fields
_MOST_PADDING_BYTES = 64 << 20  # after the end mark
_COPIED_BYTES = 1 << 20  # at once
_EXTRA = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)


@dataclass(frozen=True)
class Member:
    """A regular file of an archive, to be read before the next one is asked for."""

    archive: Path
    name: str
    size: int  # bytes
    file: BinaryIO

    def check_size(self, most: int) -> None:
        """Raise VoxlateError if this is larger than it can be: an archive of some MB can hold terabytes of zeros."""
        if self.size > most:
            raise VoxlateError(
                f"{self.archive}: {self.name} has {self.size:,} bytes when unpacked, expected at most {most:,}; "
                "is it a bomb? nothing of it was read"
            )

    def read(self, most: int) -> bytes:
        """Return the contents; VoxlateError where they are damaged, or of more than `most` bytes."""
        self.check_size(most)
        return self.file.read()

    def copy(self, output: Path, most: int) -> None:
        """Write the contents to a file, piece by piece; VoxlateError as for `read`."""
        self.check_size(most)
        with output.open("wb") as file:
            while piece := self.file.read(_COPIED_BYTES):
                file.write(piece)


def read_members(archive: Path) -> Iterator[Member]:
    """Yield the regular files of a .tar, plain or compressed by gzip, bzip2 or xz, in its order.

    VoxlateError names a header whose checksum is wrong, contents whose checksum is, and an archive that ends too early
    or continues after its end mark. What was yielded before may be damaged, too: it is to be trusted only once the last
    member was asked for.
    """
    with archive.open("rb") as packed, closing(_Unpacked(archive, packed)) as unpacked:
        try:
            with tarfile.open(fileobj=cast("BinaryIO", unpacked), mode="r|", tarinfo=_StrictInfo) as tar:
                while (info := tar.next()) is not None:
                    cast("Any", tar).members.clear()  # it would grow with the archive
                    if info.isreg():
                        found: Any = tar.extractfile(info)
                        file = io.BufferedReader(_MemberFile(unpacked, found), _COPIED_BYTES)
                        yield Member(archive, info.name, info.size, cast("BinaryIO", file))
                _check_end(unpacked, tar.fileobj)
        except tarfile.TarError as error:
            unpacked.fail(str(error), tar_offset=getattr(error, "offset", None))


def _check_end(unpacked: _Unpacked, file: Any) -> None:
    """Read what follows the end mark: nothing but zeros, as far as the end of the compressed file."""
    left = _MOST_PADDING_BYTES
    while piece := file.read(1 << 16):
        left -= len(piece)
        if piece.strip(b"\0") or left < 0:
            unpacked.fail("more than padding after the mark of its end: a block of zeros lies where a file began")


class _DamagedHeader(tarfile.TarError):
    """Not a HeaderError, for which tarfile would end without a word."""

    def __init__(self, reason: str, offset: int) -> None:
        super().__init__(reason)
        self.offset = offset


class _StrictInfo(tarfile.TarInfo):
    """A header of an archive, which must be whole."""

    @classmethod
    def fromtarfile(cls, tarfile_: tarfile.TarFile) -> _StrictInfo:
        offset = tarfile_.offset
        try:
            return super().fromtarfile(tarfile_)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise  # the mark of the end
        except tarfile.HeaderError as error:
            reason = "ends without the mark of its end" if str(error) in ("empty header", "truncated header") else error
            raise _DamagedHeader(f"header of a file: {reason}", offset) from None

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _StrictInfo:
        info = super().frombuf(buf, encoding, errors)
        if info.size < 0 or (info.size > _MOST_EXTRA_BYTES and info.type in _EXTRA):  # read into memory by tarfile
            raise tarfile.HeaderError(f"says that it has {info.size:,} bytes")
        return info


class _Unpacked:
    """The unpacked bytes of a file, compressed or not. VoxlateError where that fails."""

    def __init__(self, path: Path, packed: BinaryIO) -> None:
        self._path, self._packed = path, packed
        magic = packed.read(6)
        if not magic:
            raise VoxlateError(f"{path}: empty file (0 bytes); fetch it again")
        packed.seek(0)
        self._file: Any = packed
        for start, opened in ((b"\x1f\x8b", gzip.open), (b"BZh", bz2.open), (b"\xfd7zXZ\0", lzma.open)):
            if magic.startswith(start):
                self._file = opened(packed)

    def read(self, size: int) -> bytes:
        """Return that many bytes, fewer at the end."""
        try:
            return cast("bytes", self._file.read(size))
        except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            self.fail(str(error))

    def close(self) -> None:
        if self._file is not self._packed:
            self._file.close()

    def fail(self, reason: str, tar_offset: int | None = None) -> NoReturn:
        """Raise a VoxlateError that says where, in the unpacked bytes if that is known."""
        if tar_offset is None:
            place = f"before byte {self._packed.tell():,}"
        else:
            place = f"at byte {tar_offset:,}{'' if self._file is self._packed else ' of what it unpacks to'}"
        raise VoxlateError(f"{self._path}: damaged {place} ({reason}); fetch it again") from None


class _MemberFile(io.RawIOBase):
    """A member's contents, whose damage is a VoxlateError."""

    def __init__(self, unpacked: _Unpacked, file: BinaryIO) -> None:
        self._unpacked, self._file = unpacked, file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            piece = self._file.read(len(buffer))
        except tarfile.TarError as error:
            self._unpacked.fail(str(error))
        buffer[: len(piece)] = piece
        return len(piece)
