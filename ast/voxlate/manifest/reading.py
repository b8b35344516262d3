"""Read and check a manifest.

A manifest is converted once into Arrow columns on disk. Processes share them by memory mapping, and utterances are
created one at a time: English→15 of CoVoST-2 has 4.3 million of them.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from voxlate.errors import VoxlateError
from voxlate.files import atomic_file
from voxlate.languages import find_language
from voxlate.manifest.arrow_cache import cache_path, open_cached, open_stream, remove_unused, seal
from voxlate.manifest.arrow_columns import TEXTS, write_columns
from voxlate.manifest.audio_paths import ManifestFolder
from voxlate.manifest.column_names import join_names, lookalikes
from voxlate.manifest.content_checks import check
from voxlate.manifest.table_files import Problems, Table, check_regular
from voxlate.manifest.utterance import COLUMNS, NO_AUDIO, SENTENCES, EmbeddedAudio, Utterance

if TYPE_CHECKING:
    import numpy.typing as npt
    from datasets import Dataset

_LANGUAGES = ("source_language", "target_language")
_LOG = logging.getLogger(__name__)


class Manifest(Sequence[Utterance]):
    """The utterances of a file, created on access. A pickled manifest holds only file names.

    `columns` lists all columns of the file, including those that no utterance uses.
    """

    def __init__(
        self, path: Path, dataset: Dataset, columns: Sequence[str] = COLUMNS, rows: Sequence[int] | None = None
    ) -> None:
        self.path, self.columns = path, tuple(columns)
        self._dataset = dataset
        self._rows = range(len(dataset)) if rows is None else np.asarray(rows, dtype=np.int64)
        table = dataset.data
        self._sentences = [name for name in SENTENCES.values() if table.column(name).null_count < len(dataset)]
        self._records = dataset.with_format(None, columns=["audio", "seconds", *TEXTS, *self._sentences])
        self._folder = ManifestFolder(path.parent)

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
            record[column] = _language_code(record[column])
        for column in self._sentences:
            record[column] = tuple(record[column] or ())
        return Utterance(**record)

    def column(self, name: str) -> Any:
        """Return a column: `seconds` as a float64 array with NaN where unknown, any other as a list of texts.

        `source_sentences` and `target_sentences` hold lists of texts for recordings, None for clips.

        This is faster than iterating over utterances. `audio` holds the paths as written in the file, None for
        embedded clips.
        """
        column = self.arrow_column(name)
        if name == "seconds":
            seconds: npt.NDArray[np.float64] = column.to_numpy()
            return seconds
        values = column.to_pylist()
        return [_language_code(value) for value in values] if name in _LANGUAGES else values

    def arrow_column(self, name: str) -> pa.ChunkedArray:
        """Return a column without converting it: languages are as in the file, unknown values are null."""
        if name not in (names := (*COLUMNS, *SENTENCES.values())):
            raise VoxlateError(f"no column {name!r}; expected {', '.join(names)}")
        table = self._dataset.data.table
        column = table.column(name)
        if name == "audio":
            column = pc.if_else(pc.is_null(table.column("audio_bytes")), column, None)
        return column if isinstance(self._rows, range) else column.take(pa.array(self._rows))

    @property
    def is_subset(self) -> bool:
        """Whether rows of the file are excluded."""
        return len(self._rows) < len(self._dataset)

    def subset(self, rows: Sequence[int]) -> Manifest:
        """Return a manifest of the utterances with these indices, in this order."""
        return Manifest(self.path, self._dataset, self.columns, [int(self._rows[row]) for row in rows])


def read_manifest(
    path: str | os.PathLike[str],
    *,
    need: Sequence[str] = ("audio",),
    check_audio: bool = True,
    portable: bool = False,
    splits: Sequence[str] | None = None,
    recordings: bool = False,
    renamed: Mapping[str, str] | None = None,
) -> Manifest:
    """Read and check a manifest. Its suffix (.jsonl, .tsv, .csv, .parquet) determines the format.

    Args:
        path: The manifest.
        need: Columns besides `id` that must exist and contain a value in every row. Rows with an `error` may lack them.
            Unknown columns are ignored; a warning names those that resemble a known one.
        check_audio: Whether all audio files must exist.
        portable: Whether to refuse audio paths outside the manifest's folder.
        splits: Allowed values of the column `split`; None allows any.
        recordings: Whether texts may be lists of the sentences of a recording.
        renamed: Columns of the file that have other names than those of a manifest, by the latter.

    Raises:
        VoxlateError: The file has problems. The message lists them with their line numbers.
    """
    path = Path(os.path.abspath(path))  # noqa: PTH100 (keeps links: audio may be next to the link or its target)
    needed = tuple(dict.fromkeys(("id", *need)))
    assert set(needed) <= set(COLUMNS), needed
    check_regular(path)
    folder = ManifestFolder(path.parent) if check_audio else None
    renamed = renamed or {}
    arrow_path = cache_path(path, renamed)

    def check_rows(table: pa.Table, columns: Sequence[str], problems: Problems) -> None:
        check(table, columns, needed, problems, folder, portable, splits, recordings)

    cached = open_cached(arrow_path)
    if cached is not None:
        problems = Problems(f"manifest {path}", notes=[*cached.notes, *_unused_columns(cached.columns)])
        check_rows(cached.dataset.data.table, cached.columns, problems)
        if not problems.entries:
            problems.raise_any()
            return Manifest(path, cached.dataset, cached.columns)
    problems = Problems(f"manifest {path}")
    try:
        columns = _convert(
            path,
            arrow_path,
            problems,
            renamed,
            lambda table, names: check_rows(table, names, problems),
        )
    except OSError as error:
        raise VoxlateError(
            f"manifest {path}: its columns cannot be written to {arrow_path.parent} ({error.strerror or error}); set "
            "the environment variable HF_DATASETS_CACHE to another folder"
        ) from None
    return Manifest(path, open_stream(arrow_path), columns)


def _convert(
    path: Path,
    arrow_path: Path,
    problems: Problems,
    renamed: Mapping[str, str],
    check_rows: Callable[[pa.Table, list[str]], None],
) -> list[str]:
    """Write the columns of a manifest to the cache and return their names.

    VoxlateError if reading or `check_rows` found problems.
    """
    remove_unused(arrow_path.parent)
    if arrow_path.is_dir():
        shutil.rmtree(arrow_path)
    with atomic_file(arrow_path) as part:
        table = Table(path, COLUMNS, problems, renamed)
        audio_bytes = write_columns(part, table, problems)
        columns, notes = table.names(), [*problems.notes]
        for name, column in renamed.items():
            if table.columns and column not in table.columns:
                problems.add(0, f"no column {column!r} for {name}; its columns: {join_names([*table.columns])}")
        check_rows(open_stream(part).data.table, columns)
        problems.notes += _unused_columns(columns)
        problems.raise_any()
        seal(part, columns, notes)
    if audio_bytes:
        _LOG.warning(
            "manifest %s: its clips (%.1f MB) were copied to %s and stay there until unused for a month; "
            "set HF_DATASETS_CACHE to use another folder",
            path,
            audio_bytes / 1e6,
            arrow_path,
        )
    return columns


def _unused_columns(columns: Sequence[str]) -> list[str]:
    """Return a note on columns that are unused but resemble known ones, if any."""
    resembling = lookalikes(columns, COLUMNS)
    if not resembling:
        return []
    names = join_names([f"{column} (for {name}?)" for column, name in resembling.items()])
    return [f"unused columns: {names}; rename those that should be used"]


@lru_cache(1024)
def _language_code(name: str | None) -> str | None:
    """Return the canonical code of a language, or None for None."""
    return None if name is None else find_language(name).code
