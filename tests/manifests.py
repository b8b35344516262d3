"""Small manifests, and the problems found in them."""

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from voxlate.errors import VoxlateError
from voxlate.manifest.reading import read_manifest


def write(path: Path, *records: dict[str, Any]) -> Path:
    """Write a table by other means than Voxlate's."""
    names = list(dict.fromkeys(name for record in records for name in record))
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
    elif path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(list(records)), path)
    elif path.suffix == ".tsv":
        rows = [names, *([record.get(name, "") for name in names] for record in records)]
        path.write_text("".join("\t".join(map(str, row)) + "\n" for row in rows), encoding="utf-8")
    else:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows(records)
    return path


def clip(i: int, **more: Any) -> dict[str, Any]:
    return {"id": f"clip{i}", "audio": f"{i}.wav", **more}


def error_of(path: Path, **options: Any) -> str:
    with pytest.raises(VoxlateError) as error:
        read_manifest(path, **{"check_audio": False, **options})
    return str(error.value).replace(f"{path.parent}/", "")
