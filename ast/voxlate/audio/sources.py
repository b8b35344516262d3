"""Open paths, bytes and file objects as seekable binary files that FFmpeg can read."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, TypeAlias

from voxlate.bundled import find_bundled
from voxlate.errors import AudioError

AudioSource: TypeAlias = str | os.PathLike[str] | bytes | BinaryIO

OPEN_REASONS: dict[type[Exception], str] = {
    FileNotFoundError: "no such file",
    IsADirectoryError: "is a directory, expected an audio or video file",
    PermissionError: "no permission to read it",
}


class NamelessFile:
    """A file without a name, because FFmpeg would trust a wrong suffix more than the contents."""

    def __init__(self, file: BinaryIO) -> None:
        self.read, self.seek, self.tell = file.read, file.seek, file.tell


@contextmanager
def open_source(source: AudioSource) -> Iterator[BinaryIO]:
    """Yield a path, bytes or file object as a seekable file. AudioError, without the input's name, if that fails."""
    if isinstance(source, bytes):
        yield _seekable(io.BytesIO(source))
    elif isinstance(source, (str, os.PathLike)):
        try:
            file = find_bundled(source).open("rb")  # errors inside `with` are not errors of opening
        except (OSError, ValueError) as error:
            raise AudioError(OPEN_REASONS.get(type(error), f"cannot be opened: {error}")) from error
        with file:
            yield _seekable(file)
    elif not hasattr(source, "read"):
        raise AudioError("not an input; expected a path, bytes or a binary file")
    else:
        yield _seekable(source)


def _seekable(file: BinaryIO) -> BinaryIO:
    """Return the file, or an in-memory copy if FFmpeg could not read the file itself."""
    try:
        if not file.seekable():
            file = io.BytesIO(file.read())
        file.seek(0, os.SEEK_END)
        size = file.tell()
        file.seek(0)
        tag = file.read(10)
        if not isinstance(tag, bytes):
            raise AudioError("a file opened as text; open it with mode 'rb'")
        # Tag sizes use seven bits per byte. A wrong size past the end would hide the entire file.
        if tag.startswith(b"ID3") and len(tag) == 10 and size < sum(b << 7 * i for i, b in enumerate(tag[:5:-1])):
            file = io.BytesIO(file.read())
    except (OSError, ValueError) as error:  # ValueError: the file is closed
        raise AudioError(f"cannot be read: {error}") from error
    if size == 0:
        raise AudioError("empty file (0 bytes)")
    return file
