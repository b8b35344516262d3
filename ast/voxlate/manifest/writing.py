"""Write utterances as a jsonl or parquet manifest."""

import json
import os
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from voxlate.errors import VoxlateError
from voxlate.files import atomic_file
from voxlate.manifest.arrow_columns import TEXTS
from voxlate.manifest.audio_paths import ManifestFolder
from voxlate.manifest.utterance import COLUMNS, NO_AUDIO, SENTENCES, EmbeddedAudio, Utterance

_BATCH_ROWS = 10_000
_BATCH_BYTES = 64 * 2**20


def write_manifest(path: str | os.PathLike[str], utterances: Iterable[Utterance], *, absolute: bool = False) -> int:
    """Write a jsonl or parquet manifest atomically in one pass; return the number of utterances.

    Audio paths are relative to the manifest's folder unless `absolute` is set. VoxlateError if the
    suffix is neither `.jsonl` nor `.parquet`, or if embedded audio is written to a jsonl manifest.
    """
    path = Path(path)
    writers = {".jsonl": _write_jsonl, ".parquet": _write_parquet}
    if path.suffix.lower() not in writers:
        raise VoxlateError(f"{path}: unknown kind of manifest {path.suffix!r}; expected {' or '.join(writers)}")
    with atomic_file(path) as part:
        folder = None if absolute else ManifestFolder(path.parent)
        return writers[path.suffix.lower()](part, utterances, folder)


def _write_jsonl(path: Path, utterances: Iterable[Utterance], folder: ManifestFolder | None) -> int:
    count = 0
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for count, utterance in enumerate(utterances, 1):  # noqa: B007
            record = _record(utterance)
            if _lacks_audio(utterance):
                record["audio"] = None
            elif isinstance(utterance.audio, EmbeddedAudio):
                raise VoxlateError(f"{utterance.id}: embedded audio needs a parquet manifest, got jsonl")
            else:
                record["audio"] = _audio_path(utterance.audio, folder)
            filled = {name: value for name, value in record.items() if value is not None}
            file.write(json.dumps(filled, ensure_ascii=False) + "\n")
    return count


def _write_parquet(path: Path, utterances: Iterable[Utterance], folder: ManifestFolder | None) -> int:
    audio = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    types = {"audio": audio, "seconds": pa.float64(), **dict.fromkeys(TEXTS, pa.string())}
    batches = _batches(utterances, folder)
    first = next(batches, [])
    if any(isinstance(record[name], list) for record in first for name in SENTENCES):
        types |= dict.fromkeys(SENTENCES, pa.list_(pa.string()))
    schema = pa.schema([(name, types[name]) for name in COLUMNS])
    count = 0
    with pq.ParquetWriter(path, schema) as writer:
        for records in chain([first], batches):
            kinds = {type(record[name]) for record in records for name in SENTENCES}
            if kinds - {type(None), list if schema.field("target_text").type == pa.list_(pa.string()) else str}:
                raise VoxlateError(
                    "some rows have one text, others a list of sentences, which a column of a parquet manifest cannot "
                    "hold; write them to a .jsonl manifest, or to two"
                )
            writer.write_table(pa.Table.from_pylist(records, schema))
            count += len(records)
    return count


def _record(utterance: Utterance) -> dict[str, Any]:
    """Return the columns of an utterance. The texts of a recording are lists of its sentences."""
    record = {name: getattr(utterance, name) for name in COLUMNS}
    lists = {name: list(getattr(utterance, field)) for name, field in SENTENCES.items()}
    return record | {name: sentences for name, sentences in lists.items() if sentences}


def _batches(utterances: Iterable[Utterance], folder: ManifestFolder | None) -> Iterator[list[dict[str, Any]]]:
    """Yield records in batches that are limited in rows and in bytes of audio."""
    batch: list[dict[str, Any]] = []
    size = 0
    for utterance in utterances:
        record = _record(utterance)
        if _lacks_audio(utterance):
            record["audio"] = None
        elif isinstance(utterance.audio, EmbeddedAudio):
            record["audio"] = {"bytes": utterance.audio.read(), "path": utterance.audio.name}
            size += len(record["audio"]["bytes"])
        else:
            record["audio"] = {"bytes": None, "path": _audio_path(utterance.audio, folder)}
        batch.append(record)
        if len(batch) == _BATCH_ROWS or size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _lacks_audio(utterance: Utterance) -> bool:
    return utterance.error is not None and utterance.audio == NO_AUDIO


def _audio_path(path: Path, folder: ManifestFolder | None) -> str:
    name = os.path.abspath(path) if folder is None else folder.relative(path)  # noqa: PTH100
    try:
        name.encode()
    except UnicodeEncodeError:
        shown = os.fsencode(name).decode("utf-8", "backslashreplace")
        raise VoxlateError(f"{shown}: a file name in a manifest must be UTF-8; rename the file") from None
    return name
