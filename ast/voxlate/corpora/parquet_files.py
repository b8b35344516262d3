"""Find the parquet files of a language pair, in folders or on the Hub, and check their columns."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePath

import pyarrow as pa
import pyarrow.parquet as pq

from voxlate.corpora.clip_checks import file_state
from voxlate.corpora.hub_datasets import URL, DataFile, list_dataset
from voxlate.corpora.preparation import collect_error, parse_pair, raise_problems
from voxlate.corpora.splits import SPLITS
from voxlate.errors import VoxlateError
from voxlate.manifest.column_names import join_names, lookalikes

Source = Path | str | tuple[DataFile, ...]  # a folder or file, hf://datasets/…, or the files of a dataset

_SPLIT_NAMES = {"train": "train", "validation": "dev", "valid": "dev", "dev": "dev", "test": "test"}
_TEXT, _NAME = ("string", "large_string"), ("string", "large_string", "integer")
_KINDS = {
    "sentence": _TEXT,
    "translation": _TEXT,
    "audio.path": _TEXT,
    "audio.bytes": ("binary", "large_binary"),
    **dict.fromkeys(("client_id", "id", "file"), _NAME),
}
TEXTS = ("sentence", "translation", "client_id", "id", "file")


def find_files(sources: Iterable[Source], pair: str, split: str | None) -> dict[DataFile, str]:
    """Return the parquet files of a pair with their splits, of one split if it is given.

    VoxlateError lists all problems of their names and columns.
    """
    problems: list[str] = []
    parsed = parse_pair(pair)
    if parsed is None:
        problems.append(f"--pair {pair}: expected two languages, such as fr-en")
    files: list[DataFile] = []
    for source in sources:
        with collect_error(problems):
            files += _files_of(source, parsed)
    requested = _SPLIT_NAMES.get(split or "", split)
    if requested not in (None, *SPLITS):
        problems.append(f"--split {split}: expected {', '.join(SPLITS)}")
    splits: dict[DataFile, str] = {}
    for file in dict.fromkeys(files):
        stated = split_of(file.path) or requested
        if stated is None:
            problems.append(f"{file}: its name does not contain the split; name it with --split")
        elif requested in (None, stated):
            problems += _column_problems(file)
            splits[file] = stated
    if not splits and not problems:
        problems.append(f"no files of the split {requested} among {len(files)}")
    raise_problems(problems)
    return splits


def _files_of(source: Source, pair: str | None) -> list[DataFile]:
    """Return the parquet files of a pair in a source: those in folders named after the pair if there are any.

    VoxlateError if there are none, or if the folders of the source are named after other pairs.
    """
    if isinstance(source, str) and source.startswith(URL):
        source = tuple(list_dataset(source))
    if isinstance(source, tuple):
        name = f"dataset {(source[0].dataset or '').partition('@')[0]}" if source else "dataset"
        return _of_pair(list(source), pair, name)
    path = Path(source)
    if not path.is_dir():
        return [DataFile(path, file_state(path))]
    files = [DataFile(file, file_state(file)) for file in sorted(path.rglob("*.parquet"))]
    if not files:
        raise VoxlateError(f"{path}: no .parquet files in this folder")
    return _of_pair(files, pair, str(path), depth=len(path.parts))


def _of_pair(files: list[DataFile], pair: str | None, name: str, depth: int = 0) -> list[DataFile]:
    if pair is None:
        return files
    folders = {file: [parse_pair(part) for part in file.path.parts[depth:-1]] for file in files}
    named = [file for file in files if pair in folders[file]]
    others = sorted({other for parsed in folders.values() for other in parsed if other})
    if others and not named:
        raise VoxlateError(f"{name}: no folder of the pair {pair}; it has {join_names(others)}")
    return named or files


def split_of(path: PurePath) -> str | None:
    """Return the split named by a file or its folder, if any."""
    words = [*re.split("[^a-z]+", path.stem.lower()), path.parent.name.lower()]
    return next((_SPLIT_NAMES[word] for word in words if word in _SPLIT_NAMES), None)


def _column_problems(file: DataFile) -> Iterator[str]:
    """Yield the problems of a file's columns, or why it cannot be read."""
    try:
        with file.open() as contents:
            schema = pq.read_schema(contents)
    except FileNotFoundError:
        yield f"{file}: no such file"
        return
    except (pa.ArrowException, OSError) as error:
        yield f"{file}: not a complete parquet file ({(str(error).splitlines() or [''])[0]}); fetch it again"
        return
    types = dict(zip(schema.names, schema.types, strict=True))
    missing = [name for name in ("audio", "sentence", "translation") if name not in types]
    if missing:
        renamings = [f"{column} to {name}" for name in missing if (column := _lookalike(name, schema.names))]
        hint = f"; rename {' and '.join(renamings)} if that is its content" if renamings else ""
        yield f"{file}: no column {', '.join(missing)}; its columns: {join_names(schema.names)}{hint}"
    if "audio" in types and not pa.types.is_struct(types["audio"]):
        yield f"{file}: column audio is {types['audio']}, expected a struct of bytes and path"
    elif "audio" in types:
        types |= {f"audio.{field.name}": field.type for field in types["audio"]}
        if not {"audio.bytes", "audio.path"} & types.keys():
            yield f"{file}: column audio is {str(types['audio'])[:100]}, expected a struct of bytes and path"
    for name, expected in _KINDS.items():
        if name in types and not any(getattr(pa.types, f"is_{kind}")(types[name]) for kind in (*expected, "null")):
            yield f"{file}: column {name} is {str(types[name])[:100]}, expected {expected[0]}"


def _lookalike(name: str, columns: Sequence[str]) -> str | None:
    ours = {"sentence": "source_text", "translation": "target_text", "client_id": "speaker"}.get(name, name)
    return next((column for column in lookalikes(columns, [ours]) if column not in (*TEXTS, "audio")), None)
