"""Prepare parquet copies of CoVoST-2 and datasets of the same form, whose rows contain the bytes of their clips.

The files are in folders or on the Hub, for example https://huggingface.co/datasets/fixie-ai/covost2.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from voxlate.corpora.clip_checks import Clip, ClipJournal, ClipResult, check_clips, file_state
from voxlate.corpora.common_voice import flac_path
from voxlate.corpora.hub_datasets import DataFile
from voxlate.corpora.parquet_files import TEXTS, Source, find_files, split_of
from voxlate.corpora.preparation import (
    Preparation,
    interruptible,
    output_folder,
    parse_pair,
    print_summary,
    remove_parts,
    reusable_drops,
)
from voxlate.corpora.splits import SPLITS, CorpusRow, SplitTallies, drop_duplicates, write_splits
from voxlate.errors import short_repr
from voxlate.files import atomic_file
from voxlate.progress import progress_bar, stderr


@dataclass(frozen=True)
class ParquetPreparation(Preparation):
    """The options of ``voxlate prepare parquet``."""

    sources: tuple[Source, ...] = ()
    pair: str = ""
    split: str | None = None


@interruptible
def prepare(command: ParquetPreparation) -> int:
    """Write the clips, OUTPUT/PAIR/{train,dev,test}.jsonl and drops.json; return 1 if some clips failed, else 0."""
    files = find_files(command.sources, command.pair, command.split)
    with output_folder(command.output):
        return print_summary([prepare_pair(command, str(parse_pair(command.pair)), files)])


def prepare_pair(
    command: Preparation, pair: str, files: Mapping[DataFile, str], clip_state: str | None = None
) -> dict[str, Any]:
    """Write the clips and manifests of a pair; return the contents of drops.json. `files` maps files to splits.

    If `clip_state` is given, clips that were written in this state are not read again. Otherwise those are read again
    that were written from other files. Pairs with the same source language can thus share their clips.
    """
    source, splits = pair.partition("-")[0], [split for split in SPLITS if split in files.values()]
    folder = command.output / pair
    inputs = {"/".join(file.path.parts[-2:]): file.state for file in files} | {"transcoded": command.transcode}
    reusable = reusable_drops(folder, splits, inputs)
    if reusable is not None and not command.overwrite:
        stderr().print(f"already done: {pair} {', '.join(splits)}; --overwrite redoes them")
        return reusable
    clips = command.output / ("audio" if command.transcode else "clips") / source
    remove_parts(clips)
    rows: dict[DataFile, list[CorpusRow]] = {}
    with progress_bar(f"{pair}: tables", len(files)) as advance:
        for file, split in files.items():
            rows[file] = list(_rows(file, split))
            advance(1)
    journal_path = command.output / "durations" / f"{source}{'.flac' if command.transcode else ''}.jsonl"
    external: dict[str, Path] = {}  # clip -> file, for rows that have a path but no bytes
    with ClipJournal(journal_path) as journal:
        with progress_bar(f"{pair}: clips", sum(map(len, rows.values()))) as advance:
            for file in files:
                advance(sum(row.clip in journal.results for row in rows[file]))
                state = clip_state or f"{file.path.name}-{file.state}"
                clips_to_check = _clips(file, rows[file], state, journal, clips, external, transcode=command.transcode)
                check_clips(clips_to_check, journal, command.workers, advance)

        def clip_result(clip: str) -> ClipResult:
            return journal.results[clip]

        def audio(clip: str) -> Path:
            path = _clip_path(clips, clip, transcode=command.transcode)
            return path if command.transcode else external.get(clip, path)

        tallies = SplitTallies()
        unique_rows = drop_duplicates((row for part in rows.values() for row in part), tallies)
        return write_splits(folder, pair, splits, unique_rows, tallies, clip_result, audio, inputs)


def _rows(file: DataFile, split: str) -> Iterator[CorpusRow]:
    """Yield the rows without their audio. A clip is named by its id or file name, else by its row number."""
    is_named_after_split = split_of(Path(file.path.name)) is not None
    prefix = file.path.stem if is_named_after_split or split_of(file.path) is None else f"{split}-{file.path.stem}"
    with file.open() as contents, pq.ParquetFile(contents, pre_buffer=True) as parquet:
        columns = [name for name in TEXTS if name in parquet.schema_arrow.names]
        if parquet.schema_arrow.field("audio").type.get_field_index("path") >= 0:
            columns.append("audio.path")
        number = 0
        for batch in parquet.iter_batches(columns=columns):
            for record in batch.to_pylist():
                names = (record.get("id"), record.get("file"), (record.get("audio") or {}).get("path"))
                suffix = next((end for name in names[1:] if name and (end := Path(str(name)).suffix)), "")
                stems = (_stem(str(name)) for name in names if name not in (None, ""))
                stem = next((stem for stem in stems if stem), f"{prefix}-{number}")
                speaker = record.get("client_id")
                texts = (record["sentence"], record["translation"], None if speaker in (None, "") else str(speaker))
                yield CorpusRow(stem, f"{stem}{suffix}", split, *texts)
                number += 1


def _stem(name: str) -> str:
    """Return the last part of a name without an audio suffix; invalid characters become _."""
    last = re.sub(r"[\x00-\x1f]", "_", re.split(r"[/\\]", name)[-1])
    return re.sub(r"\.(mp3|wav|flac|ogg|opus)$", "", last).strip(".")[:200]


def _clips(
    file: DataFile,
    rows: list[CorpusRow],
    state: str,
    journal: ClipJournal,
    folder: Path,
    external: dict[str, Path],
    *,
    transcode: bool,
) -> Iterator[Clip]:
    """Yield the clips of a file without a current result, and write their bytes unless they are transcoded.

    If a row has a path but no bytes, that file is the clip and is added to `external`.
    """

    def is_current(row: CorpusRow) -> bool:
        return journal.is_current(row.clip, state, _clip_path(folder, row.clip, transcode=transcode))

    with file.open() as contents, pq.ParquetFile(contents, pre_buffer=True) as parquet:
        audio_type = parquet.schema_arrow.field("audio").type
        columns = [f"audio.{name}" for name in ("bytes", "path") if audio_type.get_field_index(name) >= 0]
        start = 0
        for group in range(parquet.num_row_groups):
            end = start + parquet.metadata.row_group(group).num_rows
            group_rows = iter(rows[start:end])
            if not all(map(is_current, rows[start:end])):
                for batch in parquet.iter_batches(100, row_groups=[group], columns=columns):
                    for audio, row in zip(batch.column(0).to_pylist(), group_rows, strict=False):
                        data = (audio or {}).get("bytes")
                        flac = _clip_path(folder, row.clip, transcode=True) if transcode else None
                        if data is None:
                            yield from _external_clip(file, row, (audio or {}).get("path"), journal, external, flac)
                        elif not is_current(row):
                            yield _clip(row, data, state, folder, transcode=transcode)
            start = end


def _clip(row: CorpusRow, contents: bytes, state: str, folder: Path, *, transcode: bool) -> Clip:
    path = _clip_path(folder, row.clip, transcode=transcode)
    if transcode:
        return Clip(row.clip, contents, state, path)
    with atomic_file(path, durable=False) as part:
        part.write_bytes(contents)
    return Clip(row.clip, path, state)


def _external_clip(
    parquet: DataFile,
    row: CorpusRow,
    name: str | None,
    journal: ClipJournal,
    external: dict[str, Path],
    flac: Path | None,
) -> Iterator[Clip]:
    """Yield the file named by a row that has no bytes; record an error in the journal if it does not exist."""
    if name and parquet.dataset is None:
        candidates = [Path(folder) / name for folder in parquet.path.parents[:2]]
        file = external[row.clip] = next((path for path in candidates if path.is_file()), candidates[0])
        reason = f"has a path but no bytes, and the file does not exist ({short_repr(str(file), 500)})"
    else:
        file, reason = None, "has a path but no bytes" if name else "has neither bytes nor a path"
    if file is None or not file.is_file():
        if not journal.is_current(row.clip, "missing"):
            journal.add([ClipResult(row.clip, "missing", error=f"{row.clip}: its row {reason}")])
        return
    state = file_state(file)
    if not journal.is_current(row.clip, state, flac):
        yield Clip(row.clip, file, state, flac)


def _clip_path(folder: Path, clip: str, *, transcode: bool) -> Path:
    return (flac_path(folder, clip) if transcode else None) or folder / clip
