"""Utterances and their files: manifests in jsonl, tsv, csv and parquet.

A manifest is read once into Arrow columns on disk, which processes share by memory mapping, and from which utterances
are made one at a time: English→15 of CoVoST-2 has 4.3 million of them.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from voxlate.errors import VoxlateError
from voxlate.files import whole_file
from voxlate.languages import find_language
from voxlate.manifest_checks import check
from voxlate.tables import Problems, Row, Table, kind

if TYPE_CHECKING:
    import numpy.typing as npt
    from datasets import Dataset


@dataclass(frozen=True, slots=True)
class EmbeddedAudio:
    """A media file inside a parquet manifest. Its bytes are read from disk when they are asked for."""

    data: Any  # bytes or a memory-mapped pyarrow.Buffer
    name: str | None = None

    def read(self) -> bytes:
        """Return the bytes of the media file."""
        return bytes(self.data)


@dataclass(frozen=True, slots=True)
class Utterance:
    """One clip with its texts. Languages are codes of `voxlate.languages`; `None` where nothing is known."""

    id: str
    audio: Path | EmbeddedAudio
    seconds: float | None = None
    source_language: str | None = None
    target_language: str | None = None
    source_text: str | None = None
    target_text: str | None = None
    speaker: str | None = None
    split: str | None = None
    error: str | None = None  # why its audio could not be read when it was prepared


COLUMNS = tuple(field.name for field in fields(Utterance))
_TEXTS = tuple(name for name in COLUMNS if name not in ("audio", "seconds"))
_LANGUAGES = ("source_language", "target_language")
_SCHEMA = pa.schema(
    [
        ("line", pa.int64()),
        ("audio", pa.string()),
        ("audio_bytes", pa.large_binary()),
        ("seconds", pa.float64()),
        *((name, pa.string()) for name in _TEXTS),
    ]
)
_LAYOUT = "1"  # of the Arrow files; a new number leaves those of older versions aside
_BATCH_ROWS = 10_000
_BATCH_BYTES = 64 * 2**20


class Manifest(Sequence[Utterance]):
    """The utterances of a file, made when they are asked for. Pickled, it is the names of its files."""

    def __init__(self, path: Path, dataset: Dataset) -> None:
        self.path = path
        self._dataset = dataset
        self._records = dataset.with_format(None, columns=["audio", "seconds", *_TEXTS])
        self._folder = Folder(path.parent)

    def __len__(self) -> int:
        return len(self._dataset)

    @overload
    def __getitem__(self, index: int) -> Utterance: ...
    @overload
    def __getitem__(self, index: slice) -> list[Utterance]: ...
    def __getitem__(self, index: int | slice) -> Utterance | list[Utterance]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"utterance {index} of {len(self)}")
        index %= len(self)
        record = self._records[index]
        data = self._dataset.data.column("audio_bytes")[index].as_buffer()
        name = record["audio"]
        record["audio"] = Path(self._folder.absolute(name)) if data is None else EmbeddedAudio(data, name)
        for column in _LANGUAGES:
            record[column] = _language(record[column])
        return Utterance(**record)

    def column(self, name: str) -> Any:
        """Return one column whole: `seconds` as float64 array with NaN where unknown, any other as list of texts.

        That is less work than asking each utterance; `audio` is not among them.
        """
        if name == "seconds":
            seconds: npt.NDArray[np.float64] = self._dataset.data.column(name).to_numpy()
            return seconds
        if name not in _TEXTS:
            raise VoxlateError(f"no column {name!r}; expected seconds, {', '.join(_TEXTS)}")
        values = self._dataset.data.column(name).to_pylist()
        return [_language(value) for value in values] if name in _LANGUAGES else values


def read_manifest(
    path: str | os.PathLike[str],
    *,
    need: Sequence[str] = ("audio",),
    check_audio: bool = True,
    portable: bool = False,
) -> Manifest:
    """Read and check a manifest; its suffix says whether it is jsonl, tsv, csv or parquet.

    `need` names columns that must be there and filled, besides `id`; unknown columns are ignored. An utterance with an
    `error` may lack what `need` names. `check_audio` looks whether the audio files are there, `portable` refuses
    paths that lead out of the manifest's folder. One VoxlateError names all problems with their lines.
    """
    from datasets import Dataset  # noqa: PLC0415 (a second, and not all who import this module read a manifest)

    path = Path(os.path.abspath(path))  # noqa: PTH100 (links stay: audio lies beside the link or beside its target)
    needed = tuple(dict.fromkeys(("id", *need)))
    assert set(needed) <= set(COLUMNS), needed
    folder = Folder(path.parent) if check_audio else None
    cached = _cache_folder() / f"{_digest(path)}.arrow"
    if cached.exists():
        dataset = Dataset.from_file(str(cached))
        known = Problems(f"manifest {path}")
        check(dataset.data.table, COLUMNS, needed, known, folder, portable)
        if not known.found:
            return Manifest(path, dataset)
    problems = Problems(f"manifest {path}")
    with whole_file(cached) as part:
        table = Table(path, COLUMNS, problems)
        _write_columns(part, table, problems)
        check(Dataset.from_file(str(part)).data.table, [*table.columns], needed, problems, folder, portable)
        problems.raise_any()
    return Manifest(path, Dataset.from_file(str(cached)))


def write_manifest(path: Path, utterances: Iterable[Utterance], *, absolute: bool = False) -> int:
    """Write a jsonl or parquet manifest, whole or not at all, one utterance after the other; return their number.

    Audio is named by its path from the manifest's folder unless `absolute`. Embedded audio needs parquet.
    """
    writers = {".jsonl": _write_jsonl, ".parquet": _write_parquet}
    if path.suffix.lower() not in writers:
        raise VoxlateError(f"{path}: unknown kind of manifest {path.suffix!r}; expected {' or '.join(writers)}")
    with whole_file(path) as part:
        folder = None if absolute else Folder(path.parent)
        return writers[path.suffix.lower()](part, utterances, folder)


class Folder:
    """A manifest's folder: from paths in it to files and back.

    The kernel follows a link before `..` leads up from where it points, so that `..` is only taken away from a
    folder's real path.
    """

    def __init__(self, folder: Path) -> None:
        self._given = os.path.abspath(folder)  # noqa: PTH100
        self._real = os.path.realpath(folder)

    def absolute(self, name: str) -> str:
        """Return the absolute path of a file named in the manifest."""
        if not name.startswith("../"):
            return os.path.join(self._given, name)  # noqa: PTH118 (ten times faster than Path, for each utterance)
        base = self._real
        while name.startswith("../"):
            base, name = os.path.dirname(base), name[3:].lstrip("/")  # noqa: PTH120
        return os.path.join(base, name)  # noqa: PTH118

    def relative(self, path: Path) -> str:
        """Return what to call a file in the manifest."""
        given = os.path.abspath(path)  # noqa: PTH100
        if given.startswith(self._given.rstrip("/") + "/"):
            return given[len(self._given.rstrip("/")) + 1 :]
        parent, name = os.path.split(given)
        return os.path.join(_relative_folder(parent, self._real), name)  # noqa: PTH118


@lru_cache(1024)
def _relative_folder(folder: str, start: str) -> str:
    return os.path.relpath(os.path.realpath(folder), start)


def _digest(path: Path) -> str:
    """Hash a manifest's contents: its time and size can stay the same when it is written again within a second."""
    digest = hashlib.sha256(f"{_LAYOUT}{path.suffix.lower()}".encode())
    try:
        with path.open("rb") as file:
            while block := file.read(2**20):
                digest.update(block)
    except OSError as error:
        raise VoxlateError(f"manifest {path}: cannot be read ({error.strerror})") from None
    return digest.hexdigest()


def _cache_folder() -> Path:
    """Return a folder that lasts, else one for this process."""
    from datasets import config  # noqa: PLC0415

    folder = Path(config.HF_DATASETS_CACHE) / "voxlate"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return _temporary_folder()
    return folder if os.access(folder, os.W_OK | os.X_OK) else _temporary_folder()


@lru_cache(1)
def _temporary_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="voxlate-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _write_columns(path: Path, table: Table, problems: Problems) -> None:
    """Write the rows of a table as Arrow columns, those that can be."""
    rows, size = iter(table), 500 if table.path.suffix.lower() == ".parquet" else _BATCH_ROWS
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, _SCHEMA) as stream:
        while batch := list(islice(rows, size)):
            stream.write_batch(_to_arrow(batch, problems))


def _to_arrow(rows: list[Row], problems: Problems) -> pa.RecordBatch:
    columns: dict[str, list[Any]] = {name: [row.get(name) for _, row in rows] for name in COLUMNS}
    lines = columns["line"] = [line for line, _ in rows]
    columns["audio_bytes"] = [None] * len(rows)
    for i, audio in enumerate(columns["audio"]):
        if isinstance(audio, dict):
            columns["audio"][i], columns["audio_bytes"][i] = audio.get("path"), audio.get("bytes")
        elif isinstance(audio, bytes):
            columns["audio"][i], columns["audio_bytes"][i] = None, audio
    for name in ("audio", *_TEXTS):
        for i, value in enumerate(columns[name]):
            if value is not None and type(value) is not str:
                columns[name][i] = str(value)
                if type(value) is not int or name not in ("id", "speaker"):
                    problems.add(lines[i], f"{name} is {kind(value)} ({value!r}), expected text")
    for i, value in enumerate(columns["seconds"]):
        if value is not None and type(value) is not float:
            columns["seconds"][i] = _number(value)
            if columns["seconds"][i] is None:
                problems.add(lines[i], f"seconds is {value!r}, expected a number")
    return pa.record_batch([pa.array(columns[field.name], field.type) for field in _SCHEMA], schema=_SCHEMA)


def _number(value: object) -> float | None:
    try:
        return float(value) if type(value) in (str, int) else None  # type: ignore[arg-type]
    except (ValueError, OverflowError):
        return None


@lru_cache(1024)
def _language(name: str | None) -> str | None:
    return None if name is None else find_language(name).code


def _write_jsonl(path: Path, utterances: Iterable[Utterance], folder: Folder | None) -> int:
    count = 0
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for count, utterance in enumerate(utterances, 1):  # noqa: B007
            if isinstance(utterance.audio, EmbeddedAudio):
                raise VoxlateError(f"{utterance.id}: audio inside the manifest needs a parquet manifest, not jsonl")
            record = {name: getattr(utterance, name) for name in COLUMNS}
            record["audio"] = _audio_name(utterance.audio, folder)
            filled = {name: value for name, value in record.items() if value is not None}
            file.write(json.dumps(filled, ensure_ascii=False) + "\n")
    return count


def _write_parquet(path: Path, utterances: Iterable[Utterance], folder: Folder | None) -> int:
    audio = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    types = {"audio": audio, "seconds": pa.float64(), **dict.fromkeys(_TEXTS, pa.string())}
    schema = pa.schema([(name, types[name]) for name in COLUMNS])
    count = 0
    with pq.ParquetWriter(path, schema) as writer:
        for records in _batches(utterances, folder):
            writer.write_table(pa.Table.from_pylist(records, schema))
            count += len(records)
    return count


def _batches(utterances: Iterable[Utterance], folder: Folder | None) -> Iterator[list[dict[str, Any]]]:
    """Cut the utterances into groups that fit in memory."""
    batch: list[dict[str, Any]] = []
    size = 0
    for utterance in utterances:
        record = {name: getattr(utterance, name) for name in COLUMNS}
        if isinstance(utterance.audio, EmbeddedAudio):
            record["audio"] = {"bytes": utterance.audio.read(), "path": utterance.audio.name}
            size += len(record["audio"]["bytes"])
        else:
            record["audio"] = {"bytes": None, "path": _audio_name(utterance.audio, folder)}
        batch.append(record)
        if len(batch) == _BATCH_ROWS or size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _audio_name(path: Path, folder: Folder | None) -> str:
    name = os.path.abspath(path) if folder is None else folder.relative(path)  # noqa: PTH100
    try:
        name.encode()
    except UnicodeEncodeError:
        shown = os.fsencode(name).decode("utf-8", "backslashreplace")
        raise VoxlateError(f"{shown}: a file name that is not UTF-8 cannot stand in a manifest; rename it") from None
    return name
