"""Send objects between processes of one machine: large arrays in shared memory, temporary files as open files.

Shared memory is a file without a name, whose descriptor travels with the message. It disappears with the last process
that has it open, so nothing is left over even if both processes are killed, and no other process has to clean up.
"""

from __future__ import annotations

import io
import os
import pickle
import socket
import struct
import sys
from functools import partial
from typing import Any

from voxlate.files import ScratchFile

_LENGTH = struct.Struct("!Q")
_SHARED_BYTES = 65_536  # of a buffer from which it is sent in shared memory
_MAX_FILES = 16  # of a message


def send(connection: socket.socket, message: object) -> None:
    """Send an object that can be pickled. OSError if the other process has ended, or shared memory has run out."""
    files: list[ScratchFile] = []
    buffers: list[memoryview] = []
    pickled = io.BytesIO()
    _Pickler(pickled, files, buffers).dump(message)
    if buffers:
        files.append(_shared_memory(buffers))
    payload = pickle.dumps(([len(buffer) for buffer in buffers], pickled.getbuffer().tobytes()))
    socket.send_fds(connection, [_LENGTH.pack(len(payload))], [file.fileno() for file in files])
    connection.sendall(payload)


def receive(connection: socket.socket) -> Any:
    """Receive an object. EOFError if the other process has ended."""
    start, descriptors, _, _ = socket.recv_fds(connection, _LENGTH.size, _MAX_FILES)
    files = [ScratchFile(descriptor) for descriptor in descriptors]
    [length] = _LENGTH.unpack(start + _read(connection, _LENGTH.size - len(start)))
    sizes, pickled = pickle.loads(_read(connection, length))  # noqa: S301 (the other process runs this program)
    buffers, position = [], 0
    for size in sizes:  # copied, since a mapping would keep a descriptor open for each clip
        buffers.append(files[-1].read(position, size))
        position += size
    return _Unpickler(io.BytesIO(pickled), files, buffers).load()


class _Pickler(pickle.Pickler):
    """Collects the temporary files and the large buffers of an object instead of pickling them."""

    def __init__(self, target: io.BytesIO, files: list[ScratchFile], buffers: list[memoryview]) -> None:
        # A method of this object would be a cycle, which keeps the buffers until the next garbage collection.
        super().__init__(target, protocol=5, buffer_callback=partial(_is_in_band, buffers))
        self._files = files

    def persistent_id(self, item: object) -> int | None:
        """Return the position of a temporary file in the message."""
        if not isinstance(item, ScratchFile):
            return None
        self._files.append(item)
        return len(self._files) - 1


def _is_in_band(buffers: list[memoryview], buffer: pickle.PickleBuffer) -> bool:
    """Return whether a buffer is small; collect it otherwise."""
    with buffer.raw() as view:
        if len(view) < _SHARED_BYTES:
            return True
    buffers.append(buffer.raw())
    return False


class _Unpickler(pickle.Unpickler):
    """Puts the files and buffers of a message into its object."""

    def __init__(self, source: io.BytesIO, files: list[ScratchFile], buffers: list[bytearray]) -> None:
        super().__init__(source, buffers=buffers)
        self._files = files

    def persistent_load(self, position: int) -> ScratchFile:
        """Return a temporary file of the message."""
        return self._files[position]


def _shared_memory(buffers: list[memoryview]) -> ScratchFile:
    file = ScratchFile(os.memfd_create("voxlate") if sys.platform == "linux" else None)
    for buffer in buffers:
        file.append(buffer)
    return file


def _read(connection: socket.socket, size: int) -> bytearray:
    data = bytearray(size)
    remaining = memoryview(data)
    while remaining:
        count = connection.recv_into(remaining)
        if not count:
            raise EOFError
        remaining = remaining[count:]
    return data
