"""Utterances and their files: manifests in jsonl, tsv, csv and parquet.

A manifest is read once into Arrow columns on disk, which processes share by memory mapping, and from which utterances
are made one at a time: English→15 of CoVoST-2 has 4.3 million of them.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from voxlate.errors import VoxlateError
from voxlate.files import whole_file
from voxlate.languages import find_language
from voxlate.manifest.arrow_cache import open_cached, open_stream, place_in_cache, remove_unused, seal
from voxlate.manifest.arrow_columns import TEXTS, write_columns
from voxlate.manifest.column_names import listed, lookalikes
from voxlate.manifest.content_checks import check
from voxlate.manifest.table_files import Problems, Table, check_regular

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


NO_AUDIO = EmbeddedAudio(b"")  # of an utterance that has an error and names no file
COLUMNS = tuple(field.name for field in fields(Utterance))
_LANGUAGES = ("source_language", "target_language")
_BATCH_ROWS = 10_000
_BATCH_BYTES = 64 * 2**20
_LOG = logging.getLogger(__name__)


class Manifest(Sequence[Utterance]):
    """The utterances of a file, made when they are asked for. Pickled, it is the names of its files.

    `columns` are those of the file, also the ones that no utterance holds.
    """

    def __init__(
        self, path: Path, dataset: Dataset, columns: Sequence[str] = COLUMNS, rows: Sequence[int] | None = None
    ) -> None:
        self.path, self.columns = path, tuple(columns)
        self._dataset = dataset
        self._rows = range(len(dataset)) if rows is None else np.asarray(rows, dtype=np.int64)
        self._records = dataset.with_format(None, columns=["audio", "seconds", *TEXTS])
        self._folder = Folder(path.parent)

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> Utterance: ...
    @overload
    def __getitem__(self, index: slice) -> list[Utterance]: ...
    def __getitem__(self, index: int | slice) -> Utterance | list[Utterance]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"utterance {index} of {len(self)}")
        row = int(self._rows[index % len(self)])
        record = self._records[row]
        data = self._dataset.data.column("audio_bytes")[row].as_buffer()
        name = record["audio"]
        if data is not None:
            record["audio"] = EmbeddedAudio(data, name)
        else:
            record["audio"] = NO_AUDIO if name is None else Path(self._folder.absolute(name))
        for column in _LANGUAGES:
            record[column] = _language(record[column])
        return Utterance(**record)

    def column(self, name: str) -> Any:
        """Return one column whole: `seconds` as float64 array with NaN where unknown, any other as list of texts.

        That is less work than asking each utterance; `audio` holds the paths as the file has them, None
        for clips inside it.
        """
        if name not in COLUMNS:
            raise VoxlateError(f"no column {name!r}; expected {', '.join(COLUMNS)}")
        table = self._dataset.data
        column = table.column(name)
        if name == "audio":
            column = pc.if_else(pc.is_null(table.column("audio_bytes")), column, None)
        if not isinstance(self._rows, range):
            column = column.take(pa.array(self._rows))
        if name == "seconds":
            seconds: npt.NDArray[np.float64] = column.to_numpy()
            return seconds
        values = column.to_pylist()
        return [_language(value) for value in values] if name in _LANGUAGES else values

    @property
    def is_subset(self) -> bool:
        """Whether the file has rows that are left out."""
        return len(self._rows) < len(self._dataset)

    def subset(self, rows: Sequence[int]) -> Manifest:
        """Return the manifest of some utterances, by number, in this order."""
        return Manifest(self.path, self._dataset, self.columns, [int(self._rows[row]) for row in rows])


def read_manifest(
    path: str | os.PathLike[str],
    *,
    need: Sequence[str] = ("audio",),
    check_audio: bool = True,
    portable: bool = False,
    splits: Sequence[str] | None = None,
) -> Manifest:
    """Read and check a manifest; its suffix says whether it is jsonl, tsv, csv or parquet.

    `need` names columns that must be there and filled, besides `id`; unknown columns are ignored, and those that look
    like a known one are logged. An utterance with an `error` may lack what `need` names. `check_audio` looks whether
    the audio files are there, `portable` refuses paths that lead out of the manifest's folder, `splits` refuses others
    in the column split. One VoxlateError names all problems with their lines.
    """
    path = Path(os.path.abspath(path))  # noqa: PTH100 (links stay: audio lies beside the link or beside its target)
    needed = tuple(dict.fromkeys(("id", *need)))
    assert set(needed) <= set(COLUMNS), needed
    check_regular(path)
    folder = Folder(path.parent) if check_audio else None
    place = place_in_cache(path)
    cached = open_cached(place)
    if cached is not None:
        known = Problems(f"manifest {path}", notes=[*cached.notes, *_unused(cached.columns)])
        check(cached.dataset.data.table, cached.columns, needed, known, folder, portable, splits)
        if not known.found:
            known.raise_any()
            return Manifest(path, cached.dataset, cached.columns)
    problems = Problems(f"manifest {path}")
    try:
        columns = _to_cache(
            path, place, problems, lambda table, names: check(table, names, needed, problems, folder, portable, splits)
        )
    except OSError as error:
        raise VoxlateError(
            f"manifest {path}: its columns cannot be written to {place.parent} ({error.strerror or error}); name "
            "another folder in the environment variable HF_DATASETS_CACHE"
        ) from None
    return Manifest(path, open_stream(place), columns)


def _to_cache(path: Path, place: Path, problems: Problems, examine: Callable[[pa.Table, list[str]], None]) -> list[str]:
    """Write the columns of a manifest into the cache and return their names; VoxlateError where `examine` objects."""
    remove_unused(place.parent)
    if place.is_dir():
        shutil.rmtree(place)
    with whole_file(place) as part:
        table = Table(path, COLUMNS, problems)
        audio_bytes = write_columns(part, table, problems)
        columns, notes = [*table.columns], [*problems.notes]
        examine(open_stream(part).data.table, columns)
        problems.notes += _unused(columns)
        problems.raise_any()
        seal(part, columns, notes)
    if audio_bytes:
        _LOG.warning(
            "manifest %s: its clips (%.1f MB) were copied to %s, and stay there until they are not used for a month; "
            "HF_DATASETS_CACHE names another folder",
            path,
            audio_bytes / 1e6,
            place,
        )
    return columns


def _unused(columns: Sequence[str]) -> list[str]:
    """Say which columns of a file are not used although they look like those that are."""
    found = lookalikes(columns, COLUMNS)
    if not found:
        return []
    names = listed([f"{column} (for {name}?)" for column, name in found.items()])
    return [f"unused columns: {names}; rename those that you meant"]


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


@lru_cache(1024)
def _language(name: str | None) -> str | None:
    return None if name is None else find_language(name).code


def _write_jsonl(path: Path, utterances: Iterable[Utterance], folder: Folder | None) -> int:
    count = 0
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for count, utterance in enumerate(utterances, 1):  # noqa: B007
            record = {name: getattr(utterance, name) for name in COLUMNS}
            if _has_none(utterance):
                record["audio"] = None
            elif isinstance(utterance.audio, EmbeddedAudio):
                raise VoxlateError(f"{utterance.id}: audio inside the manifest needs a parquet manifest, not jsonl")
            else:
                record["audio"] = _audio_name(utterance.audio, folder)
            filled = {name: value for name, value in record.items() if value is not None}
            file.write(json.dumps(filled, ensure_ascii=False) + "\n")
    return count


def _write_parquet(path: Path, utterances: Iterable[Utterance], folder: Folder | None) -> int:
    audio = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    types = {"audio": audio, "seconds": pa.float64(), **dict.fromkeys(TEXTS, pa.string())}
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
        if _has_none(utterance):
            record["audio"] = None
        elif isinstance(utterance.audio, EmbeddedAudio):
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


def _has_none(utterance: Utterance) -> bool:
    return utterance.error is not None and utterance.audio == NO_AUDIO


def _audio_name(path: Path, folder: Folder | None) -> str:
    name = os.path.abspath(path) if folder is None else folder.relative(path)  # noqa: PTH100
    try:
        name.encode()
    except UnicodeEncodeError:
        shown = os.fsencode(name).decode("utf-8", "backslashreplace")
        raise VoxlateError(f"{shown}: a file name that is not UTF-8 cannot stand in a manifest; rename it") from None
    return name
