"""Prepare parquet copies of CoVoST-2 and datasets of the same form, whose rows contain the bytes of their clips."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from voxlate.corpora.clip_checks import Clip, ClipJournal, ClipResult, check_clips, file_state
from voxlate.corpora.common_voice import codes, flac_path
from voxlate.corpora.preparation import (
    Preparation,
    interruptible,
    output_folder,
    parse_pair,
    print_summary,
    raise_problems,
    remove_parts,
    reusable_drops,
)
from voxlate.corpora.splits import SPLITS, CorpusRow, SplitTallies, drop_duplicates, write_splits
from voxlate.errors import short_repr
from voxlate.files import atomic_file
from voxlate.manifest.column_names import join_names, lookalikes
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
class ParquetPreparation(Preparation):
    """The options of ``voxlate prepare parquet``."""

    sources: tuple[Path, ...] = ()
    pair: str = ""
    split: str | None = None


@interruptible
def prepare(command: ParquetPreparation) -> int:
    """Write the clips, OUTPUT/PAIR/{train,dev,test}.jsonl and drops.json; return 1 if some clips failed, else 0."""
    pair, files = _find_files(command)
    source, splits = pair.split("-")[0], [split for split in SPLITS if split in files.values()]
    folder = command.output / pair
    inputs = {path.name: file_state(path) for path in files} | {"transcoded": command.transcode}
    with output_folder(command.output):
        reusable = reusable_drops(folder, splits, inputs)
        if reusable is not None and not command.overwrite:
            stderr().print(f"already done: {pair} {', '.join(splits)}; --overwrite redoes them")
            return print_summary([reusable])
        clips = command.output / ("audio" if command.transcode else "clips") / source
        remove_parts(clips)
        rows = {path: list(_rows(path, split)) for path, split in files.items()}
        journal_path = command.output / "durations" / f"{source}{'.flac' if command.transcode else ''}.jsonl"
        external: dict[str, Path] = {}  # clip -> file, for rows that have a path but no bytes
        with ClipJournal(journal_path) as journal:
            with progress_bar(f"{pair}: clips", sum(map(len, rows.values()))) as advance:
                for path in files:
                    advance(sum(row.clip in journal.results for row in rows[path]))
                    clips_to_check = _clips(path, rows[path], journal, clips, external, transcode=command.transcode)
                    check_clips(clips_to_check, journal, command.workers, advance)

            def clip_result(clip: str) -> ClipResult:
                return journal.results[clip]

            def audio(clip: str) -> Path:
                path = _clip_path(clips, clip, transcode=command.transcode)
                return path if command.transcode else external.get(clip, path)

            tallies = SplitTallies()
            unique_rows = drop_duplicates((row for part in rows.values() for row in part), tallies)
            drops = write_splits(folder, pair, splits, unique_rows, tallies, clip_result, audio, inputs)
    return print_summary([drops])


def _find_files(command: ParquetPreparation) -> tuple[str, dict[Path, str]]:
    """Return the pair and the files with their splits. VoxlateError lists all problems."""
    problems: list[str] = []
    pair = parse_pair(command.pair)
    if pair is None:
        problems.append(f"--pair {command.pair}: expected two languages, such as fr-en")
    files: list[Path] = []
    for source in command.sources:
        paths = _parquet_files(source, pair) if source.is_dir() else [source]
        files += paths
        if not paths:
            problems.append(f"{source}: no .parquet files in this folder")
    requested = _SPLIT_NAMES.get(command.split or "", command.split)
    if requested not in (None, *SPLITS):
        problems.append(f"--split {command.split}: expected {', '.join(SPLITS)}")
    splits: dict[Path, str] = {}
    for path in dict.fromkeys(files):
        split = _split_of(path) or requested
        if split is None:
            problems.append(f"{path}: its name does not contain the split; name it with --split")
        elif requested in (None, split):
            problems += _column_problems(path)
            splits[path] = split
    if not splits and not problems:
        problems.append(f"no files of the split {requested} among {len(files)}")
    raise_problems(problems)
    return str(pair), splits


def _parquet_files(folder: Path, pair: str | None) -> list[Path]:
    """Return the parquet files of a pair in a folder, in a subfolder named after the pair if there is one."""
    source, target = (pair or "-").split("-")
    names = [f"{a}{separator}{b}" for a in codes(source) for b in codes(target) for separator in "_-"]
    named = next((folder / name for name in names if (folder / name).is_dir()), folder)
    return sorted(named.rglob("*.parquet"))


def _split_of(path: Path) -> str | None:
    """Return the split named by a file or its folder, if any."""
    words = [*re.split("[^a-z]+", path.stem.lower()), path.parent.name.lower()]
    return next((_SPLIT_NAMES[word] for word in words if word in _SPLIT_NAMES), None)


def _column_problems(path: Path) -> Iterator[str]:
    """Yield the problems of a file's columns, or why it cannot be read."""
    try:
        schema = pq.read_schema(path)
    except FileNotFoundError:
        yield f"{path}: no such file"
        return
    except (pa.ArrowException, OSError) as error:
        yield f"{path}: not a complete parquet file ({(str(error).splitlines() or [''])[0]}); fetch it again"
        return
    types = dict(zip(schema.names, schema.types, strict=True))
    missing = [name for name in ("audio", "sentence", "translation") if name not in types]
    if missing:
        renamings = [f"{column} to {name}" for name in missing if (column := _lookalike(name, schema.names))]
        hint = f"; rename {' and '.join(renamings)} if that is its content" if renamings else ""
        yield f"{path}: no column {', '.join(missing)}; its columns: {join_names(schema.names)}{hint}"
    if "audio" in types and not pa.types.is_struct(types["audio"]):
        yield f"{path}: column audio is {types['audio']}, expected a struct of bytes and path"
    elif "audio" in types:
        types |= {f"audio.{field.name}": field.type for field in types["audio"]}
        if not {"audio.bytes", "audio.path"} & types.keys():
            yield f"{path}: column audio is {str(types['audio'])[:100]}, expected a struct of bytes and path"
    for name, expected in _KINDS.items():
        if name in types and not any(getattr(pa.types, f"is_{kind}")(types[name]) for kind in (*expected, "null")):
            yield f"{path}: column {name} is {str(types[name])[:100]}, expected {expected[0]}"


def _lookalike(name: str, columns: Sequence[str]) -> str | None:
    ours = {"sentence": "source_text", "translation": "target_text", "client_id": "speaker"}.get(name, name)
    return next((column for column in lookalikes(columns, [ours]) if column not in (*_TEXTS, "audio")), None)


def _rows(path: Path, split: str) -> Iterator[CorpusRow]:
    """Yield the rows without their audio. A clip is named by its id or file name, else by its row number."""
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
                yield CorpusRow(stem, f"{stem}{suffix}", split, *texts)
                number += 1


def _stem(name: str) -> str:
    """Return the last part of a name without an audio suffix; invalid characters become _."""
    last = re.sub(r"[\x00-\x1f]", "_", re.split(r"[/\\]", name)[-1])
    return re.sub(r"\.(mp3|wav|flac|ogg|opus)$", "", last).strip(".")[:200]


def _clips(
    path: Path, rows: list[CorpusRow], journal: ClipJournal, folder: Path, external: dict[str, Path], *, transcode: bool
) -> Iterator[Clip]:
    """Yield the clips of a file without a current result, and write their bytes unless they are transcoded.

    If a row has a path but no bytes, that file is the clip and is added to `external`.
    """
    state = f"{path.name}-{file_state(path)}"

    def is_current(row: CorpusRow) -> bool:
        return journal.is_current(row.clip, state, _clip_path(folder, row.clip, transcode=transcode))

    with pq.ParquetFile(path) as parquet:
        audio_type = parquet.schema_arrow.field("audio").type
        columns = [f"audio.{name}" for name in ("bytes", "path") if audio_type.get_field_index(name) >= 0]
        start = 0
        for group in range(parquet.num_row_groups):
            end = start + parquet.metadata.row_group(group).num_rows
            group_rows = iter(rows[start:end])
            if not all(map(is_current, rows[start:end])):
                for batch in parquet.iter_batches(100, row_groups=[group], columns=columns):
                    for audio, row in zip(batch.column(0).to_pylist(), group_rows, strict=False):
                        contents = (audio or {}).get("bytes")
                        flac = _clip_path(folder, row.clip, transcode=True) if transcode else None
                        if contents is None:
                            yield from _external_clip(path, row, (audio or {}).get("path"), journal, external, flac)
                        elif not is_current(row):
                            yield _clip(row, contents, state, folder, transcode=transcode)
            start = end


def _clip(row: CorpusRow, contents: bytes, state: str, folder: Path, *, transcode: bool) -> Clip:
    path = _clip_path(folder, row.clip, transcode=transcode)
    if transcode:
        return Clip(row.clip, contents, state, path)
    with atomic_file(path, durable=False) as part:
        part.write_bytes(contents)
    return Clip(row.clip, path, state)


def _external_clip(
    parquet: Path, row: CorpusRow, name: str | None, journal: ClipJournal, external: dict[str, Path], flac: Path | None
) -> Iterator[Clip]:
    """Yield the file named by a row that has no bytes; record an error in the journal if it does not exist."""
    if name:
        candidates = [folder / name for folder in (parquet.parent, parquet.parent.parent)]
        file = external[row.clip] = next((path for path in candidates if path.is_file()), candidates[0])
        reason = f"has a path but no bytes, and the file does not exist ({short_repr(str(file), 500)})"
    else:
        file, reason = None, "has neither bytes nor a path"
    if file is None or not file.is_file():
        if not journal.is_current(row.clip, "missing"):
            journal.add([ClipResult(row.clip, "missing", error=f"{row.clip}: its row {reason}")])
        return
    state = file_state(file)
    if not journal.is_current(row.clip, state, flac):
        yield Clip(row.clip, file, state, flac)


def _clip_path(folder: Path, clip: str, *, transcode: bool) -> Path:
    return (flac_path(folder, clip) if transcode else None) or folder / clip
