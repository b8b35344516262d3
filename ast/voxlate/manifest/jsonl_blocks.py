"""Parse blocks of a jsonl manifest with Arrow's reader, which creates no Python object for a row.

Arrow accepts less than JSON allows in a manifest, and its errors name no lines. So a block is only taken from it if
that cannot make a difference, and read line by line otherwise.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json

BLOCK_BYTES = 4 << 20
_NUMBERS = (pa.float64(), pa.int64(), pa.null())
_TEXTS = (pa.string(), pa.null())


def jsonl_blocks(file: BinaryIO) -> Iterator[bytes]:
    """Yield a file in blocks of whole lines, of about 4 MiB."""
    while block := file.read(BLOCK_BYTES):
        yield block + file.readline()


def parse_block(block: bytes, schema: pa.Schema, first_line: int) -> tuple[pa.RecordBatch, list[str]] | None:
    """Return the columns of a block that begins with line `first_line`, and the names that occur in it.

    None if Arrow cannot parse it, if lines and rows do not correspond, or if a column has other types than `schema`:
    texts and numbers, without lists or objects.
    """
    lines = block.removesuffix(b"\n")
    count = lines.count(b"\n") + 1
    if not lines.startswith(b"{") or lines.count(b"\n{") != count - 1:  # a blank line or a byte order mark
        return None
    options = pyarrow.json.ReadOptions(use_threads=False, block_size=len(block) + 1)
    try:
        lines.decode()
        table = pyarrow.json.read_json(io.BytesIO(block), options)
        table.validate(full=True)
    except (UnicodeDecodeError, pa.ArrowException):
        return None
    if table.num_rows != count:
        return None
    columns = {"line": pa.array(range(first_line, first_line + count), pa.int64())}
    for field in schema:
        if field.name in table.column_names and field.name != "line":
            column = table.column(field.name)
            if field.type not in (pa.string(), pa.float64()):  # a column that no file has under this name
                return None
            if column.type not in (_NUMBERS if field.type == pa.float64() else _TEXTS):
                return None
            columns[field.name] = pc.cast(column, field.type, safe=False).combine_chunks()
    missing = [field for field in schema if field.name not in columns]
    columns |= {field.name: pa.nulls(count, field.type) for field in missing}
    return pa.record_batch([_array(columns[field.name]) for field in schema], schema=schema), table.column_names


def _array(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return a column in one piece."""
    return pa.concat_arrays(column.chunks) if isinstance(column, pa.ChunkedArray) else column
