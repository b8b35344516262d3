"""Parquet mirrors of CoVoST-2, and datasets of their form, whose rows hold the bytes of their clips."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from voxlate.corpora.clip_checks import Clip, Finding, Journal, examine, file_state
from voxlate.corpora.common_voice import codes, flac_path
from voxlate.corpora.preparation import (
    Preparation,
    conclude,
    find_pair,
    interruptible,
    known_drops,
    output_folder,
    refuse,
    remove_parts,
)
from voxlate.corpora.splits import SPLITS, Row, Tallies, unique, write_splits
from voxlate.errors import shown
from voxlate.files import whole_file
from voxlate.manifest.column_names import listed, lookalikes
from voxlate.progress import progress_bar, stderr

_SPLIT_NAMES = {"train": "train", "validation": "dev", "valid": "dev", "dev": "dev", "test": "test"}
_TEXT, _NAME = ("string", "large_string"), ("string", "large_string", "integer")
_KINDS = {
    "sentence": _TEXT,
    "translation": _TEXT,
    "audio.path": _TEXT,
    "audio.bytes": ("binary", "large_binary"),
    **dict.fromkeys(("client_id", "id", "file"), _NAME),
}
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
            stderr().print(f"already done: {pair} {', '.join(splits)}; --overwrite redoes them")
            return conclude([known])
        clips = command.output / ("audio" if command.transcode else "clips") / source
        remove_parts(clips)
        rows = {path: list(_rows(path, split)) for path, split in files.items()}
        journal_path = command.output / "durations" / f"{source}{'.flac' if command.transcode else ''}.jsonl"
        outside: dict[str, Path] = {}  # clips of rows that hold no bytes but the path of a file
        with Journal(journal_path) as journal:
            with progress_bar(f"{pair}: clips", sum(map(len, rows.values()))) as advance:
                for path in files:
                    advance(sum(row.clip in journal.findings for row in rows[path]))
                    todo = _clips(path, rows[path], journal, clips, outside, transcode=command.transcode)
                    examine(todo, journal, command.workers, advance)

            def finding(clip: str) -> Finding:
                return journal.findings[clip]

            def audio(clip: str) -> Path:
                place = _place(clips, clip, transcode=command.transcode)
                return place if command.transcode else outside.get(clip, place)

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
        return
    except (pa.ArrowException, OSError) as error:
        yield f"{path}: not a whole parquet file ({(str(error).splitlines() or [''])[0]}); fetch it again"
        return
    types = dict(zip(schema.names, schema.types, strict=True))
    missing = [name for name in ("audio", "sentence", "translation") if name not in types]
    if missing:
        alike = [f"{found} to {name}" for name in missing if (found := _called_otherwise(name, schema.names))]
        hint = f"; rename {' and '.join(alike)} if that is what it holds" if alike else ""
        yield f"{path}: no column {', '.join(missing)}; its columns: {listed(schema.names)}{hint}"
    if "audio" in types and not pa.types.is_struct(types["audio"]):
        yield f"{path}: column audio is {types['audio']}, expected a struct of bytes and path"
    elif "audio" in types:
        types |= {f"audio.{field.name}": field.type for field in types["audio"]}
        if not {"audio.bytes", "audio.path"} & types.keys():
            yield f"{path}: column audio is {str(types['audio'])[:100]}, expected a struct of bytes and path"
    for name, expected in _KINDS.items():
        if name in types and not any(getattr(pa.types, f"is_{kind}")(types[name]) for kind in (*expected, "null")):
            yield f"{path}: column {name} is {str(types[name])[:100]}, expected {expected[0]}"


def _called_otherwise(name: str, columns: Sequence[str]) -> str | None:
    ours = {"sentence": "source_text", "translation": "target_text", "client_id": "speaker"}.get(name, name)
    return next((column for column in lookalikes(columns, [ours]) if column not in (*_TEXTS, "audio")), None)


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
                speaker = record.get("client_id")
                texts = (record["sentence"], record["translation"], None if speaker in (None, "") else str(speaker))
                yield Row(stem, f"{stem}{suffix}", split, *texts)
                number += 1


def _stem(name: str) -> str:
    """Return the last part of a name without the suffix of a sound file; what cannot be a file's name becomes _."""
    last = re.sub(r"[\x00-\x1f]", "_", re.split(r"[/\\]", name)[-1])
    return re.sub(r"\.(mp3|wav|flac|ogg|opus)$", "", last).strip(".")[:200]


def _clips(
    path: Path, rows: list[Row], journal: Journal, folder: Path, outside: dict[str, Path], *, transcode: bool
) -> Iterator[Clip]:
    """Give the clips of a file that the journal does not know, writing their bytes unless they are transcoded.

    Where a row has a path and no bytes, that file is the clip, and is added to `outside`.
    """
    state = f"{path.name}-{file_state(path)}"

    def known(row: Row) -> bool:
        return journal.knows(row.clip, state, _place(folder, row.clip, transcode=transcode))

    with pq.ParquetFile(path) as parquet:
        audio_type = parquet.schema_arrow.field("audio").type
        columns = [f"audio.{name}" for name in ("bytes", "path") if audio_type.get_field_index(name) >= 0]
        start = 0
        for group in range(parquet.num_row_groups):
            end = start + parquet.metadata.row_group(group).num_rows
            todo = iter(rows[start:end])
            if not all(map(known, rows[start:end])):
                for batch in parquet.iter_batches(100, row_groups=[group], columns=columns):
                    for audio, row in zip(batch.column(0).to_pylist(), todo, strict=False):
                        contents = (audio or {}).get("bytes")
                        flac = _place(folder, row.clip, transcode=True) if transcode else None
                        if contents is None:
                            yield from _outside(path, row, (audio or {}).get("path"), journal, outside, flac)
                        elif not known(row):
                            yield _clip(row, contents, state, folder, transcode=transcode)
            start = end


def _clip(row: Row, contents: bytes, state: str, folder: Path, *, transcode: bool) -> Clip:
    place = _place(folder, row.clip, transcode=transcode)
    if transcode:
        return Clip(row.clip, contents, state, place)
    with whole_file(place, durable=False) as part:
        part.write_bytes(contents)
    return Clip(row.clip, place, state)


def _outside(
    parquet: Path, row: Row, name: str | None, journal: Journal, outside: dict[str, Path], flac: Path | None
) -> Iterator[Clip]:
    """Give the file that a row names instead of holding bytes; say in the journal if there is none."""
    if name:
        places = [folder / name for folder in (parquet.parent, parquet.parent.parent)]
        place = outside[row.clip] = next((place for place in places if place.is_file()), places[0])
        reason = f"holds no bytes, only a path, and there is no such file ({shown(str(place), 500)})"
    else:
        place, reason = None, "holds neither bytes nor a path"
    if place is None or not place.is_file():
        if not journal.knows(row.clip, "missing"):
            journal.add([Finding(row.clip, "missing", error=f"{row.clip}: its row {reason}")])
        return
    state = file_state(place)
    if not journal.knows(row.clip, state, flac):
        yield Clip(row.clip, place, state, flac)


def _place(folder: Path, clip: str, *, transcode: bool) -> Path:
    return (flac_path(folder, clip) if transcode else None) or folder / clip
