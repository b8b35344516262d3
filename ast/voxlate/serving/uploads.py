"""Receive multipart forms: the uploaded file goes straight to a temporary file, within limits of size and time."""

import asyncio
import errno
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request

from voxlate.errors import STORAGE_ERRORS
from voxlate.serving.api_errors import ApiError, unavailable

_FIELD_BYTES = 64 * 1024  # of all fields that are not the file, and of the headers of all parts
_FORM_BYTES = 1024 * 1024  # of a body besides its file
_BUFFER_BYTES = 1024 * 1024  # written at once
_TOO_MANY_FILES = (errno.EMFILE, errno.ENFILE)


@dataclass(frozen=True)
class UploadLimits:
    """What a client may upload.

    - `max_bytes`: size of the file.
    - `idle_seconds`: longest pause between two parts of an upload.
    - `min_bytes_per_second`: slowest upload; `idle_seconds` are added to the time that this allows.
    """

    max_bytes: int
    idle_seconds: float = 30.0
    min_bytes_per_second: int = 1024

    def too_large(self) -> ApiError:
        """Return the error of a file that exceeds the limit."""
        message = f"the upload is larger than {self.max_bytes / 1e6:g} MB, the limit of this server (--max-upload)"
        return ApiError(413, message, param="file", code="file_too_large")


@dataclass(frozen=True)
class UploadForm:
    """A form: the temporary file of its upload (None if it has none) and its fields, in order."""

    path: Path | None
    size: int
    filename: str
    fields: Mapping[str, list[str]]

    @property
    def name(self) -> str:
        """The name of the file for messages: that on the client's side, without its folders."""
        return one_name(self.filename) or "the upload"

    def get(self, *names: str) -> str | None:
        """Return the last value of the first of some fields that is given and not empty."""
        for name in names:
            values = [value.strip() for value in self.fields.get(name, ())]
            if values and values[-1]:
                return values[-1]
        return None


@asynccontextmanager
async def received_form(
    request: Request, folder: Path, limits: UploadLimits, file_field: str
) -> AsyncIterator[UploadForm]:
    """Receive the form of a request, with the file of one field. The temporary file is deleted at the end.

    ApiError if the form is malformed, too large or too slow, or the disk is full. ClientDisconnect if the client is
    gone.
    """
    boundary = _boundary(request)
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > limits.max_bytes + _FORM_BYTES:
        raise limits.too_large()
    path = None
    try:
        try:
            if length.isdecimal() and shutil.disk_usage(folder).free < int(length):
                raise OSError(errno.ENOSPC, "No space left on device")
            with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
                path = Path(file.name)
                reader = _FormReader(boundary, file_field, file, limits)
                await _receive(request, reader, limits)
        except OSError as error:
            raise _storage_error(error) from error
        yield reader.form(path)
    finally:
        if path is not None:
            path.unlink(missing_ok=True)


async def _receive(request: Request, reader: "_FormReader", limits: UploadLimits) -> None:
    """Read the body of a request."""
    start, received = time.monotonic(), 0
    more_body = True
    while more_body:
        left = limits.idle_seconds + received / limits.min_bytes_per_second - (time.monotonic() - start)
        try:
            message = await asyncio.wait_for(request.receive(), max(0.0, min(left, limits.idle_seconds)))
        except TimeoutError:
            raise ApiError(408, "the upload is too slow, or has stopped; send it again", code="timeout") from None
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        body, more_body = message.get("body", b""), message.get("more_body", False)
        received += len(body)
        if received > limits.max_bytes + _FORM_BYTES:
            raise limits.too_large()
        reader.feed(body)
        await reader.flush(_BUFFER_BYTES if more_body else 0)
    reader.finish()


class _FormReader:
    """Parses a multipart body: the first file of one field is written, other files are skipped."""

    def __init__(self, boundary: bytes, file_field: str, file: IO[bytes], limits: UploadLimits) -> None:
        self._file_field, self._file, self._limits = file_field, file, limits
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin_part,
                "on_header_field": self._add_header_name,
                "on_header_value": self._add_header_value,
                "on_header_end": self._end_header,
                "on_headers_finished": self._end_headers,
                "on_part_data": self._add_data,
                "on_part_end": self._end_part,
                "on_end": self._end,
            },
        )
        self._buffer = bytearray()
        self._field_bytes = 0
        self._is_complete = False
        self.fields: dict[str, list[str]] = {}
        self.filename = ""
        self.size: int | None = None  # of the file

    def feed(self, data: bytes) -> None:
        """Parse the next bytes of a body."""
        try:
            self._parser.write(data)
        except FormParserError:
            raise _malformed() from None

    async def flush(self, least: int) -> None:
        """Write the buffered part of the file if it has at least so many bytes."""
        if len(self._buffer) > least:
            data, self._buffer = self._buffer, bytearray()
            await run_in_threadpool(self._file.write, data)

    def finish(self) -> None:
        """Raise ApiError if the body is not complete."""
        if not self._is_complete:
            raise _malformed()

    def form(self, path: Path) -> UploadForm:
        """Return the form, whose file has been written to `path`."""
        return UploadForm(None if self.size is None else path, self.size or 0, self.filename, self.fields)

    def _begin_part(self) -> None:
        self._header_name, self._header_value = bytearray(), bytearray()
        self._disposition = b""
        self._field, self._value, self._is_file, self._is_skipped = "", bytearray(), False, False

    def _count(self, number: int) -> None:
        self._field_bytes += number
        if self._field_bytes > _FIELD_BYTES:
            raise ApiError(413, f"the fields of the form exceed {_FIELD_BYTES // 1024} KiB", code="fields_too_large")

    def _add_header_name(self, data: bytes, start: int, end: int) -> None:
        self._count(end - start)
        self._header_name += data[start:end]

    def _add_header_value(self, data: bytes, start: int, end: int) -> None:
        self._count(end - start)
        self._header_value += data[start:end]

    def _end_header(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            self._disposition = bytes(self._header_value)
        self._header_name, self._header_value = bytearray(), bytearray()

    def _end_headers(self) -> None:
        _, options = parse_options_header(self._disposition)
        if b"name" not in options:
            raise _malformed()
        self._field = _decode(options[b"name"])
        is_file = b"filename" in options or b"filename*" in options
        self._is_file = is_file and self._field == self._file_field and self.size is None
        self._is_skipped = is_file and not self._is_file
        if self._is_file:
            self.filename, self.size = _decode(options.get(b"filename", b"")), 0

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        if self._is_file:
            self.size = (self.size or 0) + end - start
            if self.size > self._limits.max_bytes:
                raise self._limits.too_large()
            self._buffer += memoryview(data)[start:end]
        elif not self._is_skipped:
            self._count(end - start)
            self._value += data[start:end]

    def _end_part(self) -> None:
        if not self._is_file and not self._is_skipped:
            self._count(len(self._field) + 1)
            self.fields.setdefault(self._field, []).append(_decode(self._value))

    def _end(self) -> None:
        self._is_complete = True


def _boundary(request: Request) -> bytes:
    """Return the boundary of a multipart form; ApiError if the body is none."""
    kind, options = parse_options_header(request.headers.get("content-type"))
    if kind != b"multipart/form-data" or not 0 < len(options.get(b"boundary", b"")) <= 200:
        shown = kind.decode("latin-1")[:60] or "none"
        raise ApiError(
            400, f"the content type is {shown}, expected multipart/form-data with a boundary", code="invalid_form"
        )
    return options[b"boundary"]


def _decode(data: bytes | bytearray) -> str:
    with suppress(UnicodeDecodeError):
        return data.decode("utf-8")
    return data.decode("latin-1")


def one_name(filename: str) -> str:
    """Return the last part of a path, without what is not printable, and not too long."""
    name = filename.replace("\\", "/").rpartition("/")[2]
    return "".join(character for character in name if character.isprintable())[-100:].strip()


def _malformed() -> ApiError:
    return ApiError(400, "the multipart form is malformed or incomplete", code="invalid_form")


def _storage_error(error: OSError) -> ApiError:
    if error.errno in (*STORAGE_ERRORS, errno.EFBIG):
        return ApiError(507, "the disk of the server is full; try again later", code="insufficient_storage")
    if error.errno in _TOO_MANY_FILES:
        return unavailable("the server has too many open files; try again later")
    raise error
