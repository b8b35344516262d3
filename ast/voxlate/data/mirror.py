"""Parquet mirrors of CoVoST-2, and datasets of their form, whose rows hold the bytes of their clips."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from voxlate.data.clips import Clip, Finding, Journal, examine, file_state
from voxlate.data.common_voice import codes, flac_path
from voxlate.data.preparation import (
    Preparation,
    conclude,
    find_pair,
    interruptible,
    known_drops,
    output_folder,
    progress_bar,
    refuse,
    remove_parts,
    stderr,
)
from voxlate.data.splits import SPLITS, Row, Tallies, unique, write_splits
from voxlate.files import whole_file

_SPLIT_NAMES = {"train": "train", "validation": "dev", "valid": "dev", "dev": "dev", "test": "test"}
_TEXTS = ("sentence", "translation", "client_id", "id", "file")


@dataclass(frozen=True)
class Parquet(Preparation):
    """The options of ``voxlate prepare parquet``."""

    sources: tuple[Path, ...] = ()
    pair: str = ""
    split: str | None = None


@interruptible
def prepare(command: Parquet) -> int:
    """Write the clips, OUTPUT/PAIR/{train,dev,test}.jsonl and drops.json; return 1 if some clips failed, else 0."""
    pair, files = _find_files(command)
    source, splits = pair.split("-")[0], [split for split in SPLITS if split in files.values()]
    folder = command.output / pair
    inputs = {path.name: file_state(path) for path in files} | {"transcoded": command.transcode}
    with output_folder(command.output):
        known = known_drops(folder, splits, inputs)
        if known is not None and not command.overwrite:
            stderr().print(f"there already: {pair} {', '.join(splits)}; --overwrite does them again")
            return conclude([known])
        clips = command.output / ("audio" if command.transcode else "clips") / source
        remove_parts(clips)
        rows = {path: list(_rows(path, split)) for path, split in files.items()}
        journal_path = command.output / "durations" / f"{source}{'.flac' if command.transcode else ''}.jsonl"
        with Journal(journal_path) as journal:
            with progress_bar(f"{pair}: clips", sum(map(len, rows.values()))) as advance:
                for path in files:
                    advance(sum(row.clip in journal.findings for row in rows[path]))
                    todo = _clips(path, rows[path], journal, clips, transcode=command.transcode)
                    examine(todo, journal, command.workers, advance)

            def finding(clip: str) -> Finding:
                return journal.findings[clip]

            def audio(clip: str) -> Path:
                return _place(clips, clip, transcode=command.transcode)

            tallies = Tallies()
            kept = unique((row for part in rows.values() for row in part), tallies)
            drops = write_splits(folder, pair, splits, kept, tallies, finding, audio, inputs)
    return conclude([drops])


def _find_files(command: Parquet) -> tuple[str, dict[Path, str]]:
    """Return the pair and the files with their splits; VoxlateError names all that cannot be used."""
    files: list[Path] = []
    problems = []
    pair = find_pair(command.pair)
    if pair is None:
        problems.append(f"--pair {command.pair}: expected two languages, such as fr-en")
    source, target = (pair or "-").split("-")
    for path in command.sources:
        if not path.is_dir():
            files.append(path)
            continue
        names = [f"{a}{mark}{b}" for a in codes(source) for b in codes(target) for mark in "_-"]
        folder = next((path / name for name in names if (path / name).is_dir()), path)
        found = sorted(folder.rglob("*.parquet"))
        files += found
        if not found:
            problems.append(f"{path}: no .parquet files in this folder")
    wanted = _SPLIT_NAMES.get(command.split or "", command.split)
    if wanted not in (None, *SPLITS):
        problems.append(f"--split {command.split}: expected {', '.join(SPLITS)}")
    splits: dict[Path, str] = {}
    for path in dict.fromkeys(files):
        split = _split_of(path) or wanted
        if split is None:
            problems.append(f"{path}: its name does not say of which split it is; say so with --split")
        elif wanted in (None, split):
            problems += _wrong_columns(path)
            splits[path] = split
    if not splits and not problems:
        problems.append(f"no files of the split {wanted} among {len(files)}")
    refuse(problems)
    return str(pair), splits


def _split_of(path: Path) -> str | None:
    words = [*re.split("[^a-z]+", path.stem.lower()), path.parent.name.lower()]
    return next((_SPLIT_NAMES[word] for word in words if word in _SPLIT_NAMES), None)


def _wrong_columns(path: Path) -> Iterator[str]:
    try:
        schema = pq.read_schema(path)
    except FileNotFoundError:
        yield f"{path}: no such file"
    except (pa.ArrowException, OSError) as error:
        yield f"{path}: not a whole parquet file ({str(error).splitlines()[0]}); fetch it again"
    else:
        missing = [name for name in ("audio", "sentence", "translation") if name not in schema.names]
        if missing:
            yield f"{path}: no column {', '.join(missing)}; its columns: {', '.join(schema.names)}"
        elif not pa.types.is_struct(schema.field("audio").type):
            yield f"{path}: column audio is {schema.field('audio').type}, expected a struct of bytes and path"


def _rows(path: Path, split: str) -> Iterator[Row]:
    """Give the rows without their audio. A clip is named by what the mirror calls it, else by its place."""
    with pq.ParquetFile(path) as parquet:
        columns = [name for name in _TEXTS if name in parquet.schema_arrow.names]
        if parquet.schema_arrow.field("audio").type.get_field_index("path") >= 0:
            columns.append("audio.path")
        number = 0
        for batch in parquet.iter_batches(columns=columns):
            for record in batch.to_pylist():
                names = (record.get("id"), record.get("file"), (record.get("audio") or {}).get("path"))
                suffix = next((end for name in names[1:] if name and (end := Path(str(name)).suffix)), "")
                stems = (_stem(str(name)) for name in names if name not in (None, ""))
                stem = next((stem for stem in stems if stem), f"{path.stem}-{number}")
                texts = (record["sentence"], record["translation"], record.get("client_id") or None)
                yield Row(stem, f"{stem}{suffix}", split, *texts)
                number += 1


def _stem(name: str) -> str:
    """Return the last part of a name without the suffix of a sound file; what cannot be a file's name becomes _."""
    last = re.sub(r"[\x00-\x1f]", "_", re.split(r"[/\\]", name)[-1])
    return re.sub(r"\.(mp3|wav|flac|ogg|opus)$", "", last).strip(".")[:200]


def _clips(path: Path, rows: list[Row], journal: Journal, folder: Path, *, transcode: bool) -> Iterator[Clip]:
    """Give the clips of a file that the journal does not know, writing their bytes unless they are transcoded."""
    state = f"{path.name}-{file_state(path)}"

    def known(row: Row) -> bool:
        return journal.knows(row.clip, state, _place(folder, row.clip, transcode=transcode))

    with pq.ParquetFile(path) as parquet:
        start = 0
        for group in range(parquet.num_row_groups):
            end = start + parquet.metadata.row_group(group).num_rows
            todo = iter(rows[start:end])
            if not all(map(known, rows[start:end])):
                for batch in parquet.iter_batches(100, row_groups=[group], columns=["audio.bytes"]):
                    for audio, row in zip(batch.column(0).to_pylist(), todo, strict=False):
                        if not known(row):
                            yield _clip(row, audio, state, folder, transcode=transcode)
            start = end


def _clip(row: Row, audio: Mapping[str, Any] | None, state: str, folder: Path, *, transcode: bool) -> Clip:
    contents = (audio or {}).get("bytes")
    place = _place(folder, row.clip, transcode=transcode)
    if contents is None:
        return Clip(row.clip, folder / f"{row.clip} without bytes", state)
    if transcode:
        return Clip(row.clip, contents, state, place)
    with whole_file(place, durable=False) as part:
        part.write_bytes(contents)
    return Clip(row.clip, place, state)


def _place(folder: Path, clip: str, *, transcode: bool) -> Path:
    return (flac_path(folder, clip) if transcode else None) or folder / clip
