"""Read tar archives as a stream, and verify everything that the format allows to verify.

Python's tarfile treats a damaged header as the end of the archive, and does not verify the checksum of a compressed
stream. Here both are errors that name the file, the damage and its position.
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

MAX_TABLE_BYTES = 2 << 30  # of an uncompressed table; the largest one in Common Voice has a quarter of that
MAX_CLIP_BYTES = 64 << 20
_MAX_EXTRA_BYTES = 1 << 20  # of a header's long name or pax fields
_MAX_PADDING_BYTES = 64 << 20  # after the end marker
_CHUNK_BYTES = 1 << 20
_EXTRA = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)


@dataclass(frozen=True)
class ArchiveMember:
    """A regular file of an archive. It must be read before the next one is requested."""

    archive: Path
    name: str
    size: int  # bytes
    file: BinaryIO

    def check_size(self, max_bytes: int) -> None:
        """Raise VoxlateError if the file is implausibly large: a small archive can expand to terabytes of zeros."""
        if self.size > max_bytes:
            raise VoxlateError(
                f"{self.archive}: {self.name} has {self.size:,} bytes uncompressed, expected at most {max_bytes:,}; "
                "it may be a decompression bomb and was not read"
            )

    def read(self, max_bytes: int) -> bytes:
        """Return the contents. VoxlateError if they are damaged or have more than `max_bytes` bytes."""
        self.check_size(max_bytes)
        return self.file.read()

    def copy(self, output: Path, max_bytes: int) -> None:
        """Write the contents to a file in chunks. VoxlateError as for `read`."""
        self.check_size(max_bytes)
        with output.open("wb") as file:
            while chunk := self.file.read(_CHUNK_BYTES):
                file.write(chunk)


def read_members(archive: Path) -> Iterator[ArchiveMember]:
    """Yield the regular files of a .tar in order, uncompressed or compressed with gzip, bzip2 or xz.

    Files yielded before an error may be damaged too. Trust them only after the iterator is exhausted.

    Raises:
        VoxlateError: A header or the contents have a wrong checksum, or the archive ends too early or continues after
            its end marker.
    """
    with archive.open("rb") as packed, closing(DecompressedStream(archive, packed)) as unpacked:
        try:
            with tarfile.open(fileobj=cast("BinaryIO", unpacked), mode="r|", tarinfo=StrictHeader) as tar:
                while (info := tar.next()) is not None:
                    cast("Any", tar).members.clear()  # otherwise it grows with the archive
                    if info.isreg():
                        contents: Any = tar.extractfile(info)
                        file = io.BufferedReader(MemberStream(unpacked, contents), _CHUNK_BYTES)
                        yield ArchiveMember(archive, info.name, info.size, cast("BinaryIO", file))
                _check_end(unpacked, tar.fileobj)
        except tarfile.TarError as error:
            unpacked.fail(str(error), tar_offset=getattr(error, "offset", None))


def _check_end(unpacked: DecompressedStream, file: Any) -> None:
    """Read to the end of the compressed file. VoxlateError if anything but zeros follows the end marker."""
    remaining = _MAX_PADDING_BYTES
    while chunk := file.read(1 << 16):
        remaining -= len(chunk)
        if chunk.strip(b"\0") or remaining < 0:
            unpacked.fail("data after its end marker: a block of zeros has replaced a header")


class DamagedHeaderError(tarfile.TarError):
    """A damaged header. It is not a HeaderError, which tarfile treats as the end of the archive."""

    def __init__(self, reason: str, offset: int) -> None:
        super().__init__(reason)
        self.offset = offset


class StrictHeader(tarfile.TarInfo):
    """A header that raises DamagedHeaderError if it is damaged, rather than ending the archive silently."""

    @classmethod
    def fromtarfile(cls, tarfile_: tarfile.TarFile) -> StrictHeader:
        offset = tarfile_.offset
        try:
            return super().fromtarfile(tarfile_)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise  # the end marker
        except tarfile.HeaderError as error:
            reason = "ends without an end marker" if str(error) in ("empty header", "truncated header") else error
            raise DamagedHeaderError(f"header of a file: {reason}", offset) from None

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> StrictHeader:
        info = super().frombuf(buf, encoding, errors)
        if info.size < 0 or (info.size > _MAX_EXTRA_BYTES and info.type in _EXTRA):  # read into memory by tarfile
            raise tarfile.HeaderError(f"states a size of {info.size:,} bytes")
        return info


class DecompressedStream:
    """The decompressed bytes of a file, which may be uncompressed. VoxlateError if decompression fails."""

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
        """Return `size` bytes, or fewer at the end."""
        try:
            return cast("bytes", self._file.read(size))
        except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            self.fail(str(error))

    def close(self) -> None:
        """Close the decompressor. The file itself stays open."""
        if self._file is not self._packed:
            self._file.close()

    def fail(self, reason: str, tar_offset: int | None = None) -> NoReturn:
        """Raise a VoxlateError that names the position, in the decompressed bytes if it is known."""
        if tar_offset is None:
            position = f"before byte {self._packed.tell():,}"
        else:
            position = f"at byte {tar_offset:,}{'' if self._file is self._packed else ' of the decompressed data'}"
        raise VoxlateError(f"{self._path}: damaged {position} ({reason}); fetch it again") from None


class MemberStream(io.RawIOBase):
    """The contents of a file in an archive. Damage raises a VoxlateError."""

    def __init__(self, unpacked: DecompressedStream, file: BinaryIO) -> None:
        self._unpacked, self._file = unpacked, file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            chunk = self._file.read(len(buffer))
        except tarfile.TarError as error:
            self._unpacked.fail(str(error))
        buffer[: len(chunk)] = chunk
        return len(chunk)
