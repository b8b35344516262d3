"""Read hypotheses from tsv, csv and parquet tables, and from the formats that `voxlate_eval` reads."""

from pathlib import Path

from voxlate.errors import VoxlateError
from voxlate.manifest.table_files import Problems, Table
from voxlate_eval.hypothesis_files import hypotheses_of_table, is_table
from voxlate_eval.hypothesis_files import read_hypotheses as read_file
from voxlate_eval.rows import Hypotheses
from voxlate_eval.strict_json import shorten

_SHOWN = 10  # columns in messages
_TABLES = (".tsv", ".csv", ".parquet")
_COLUMNS = ("id", "audio", "text", "rank", "language", "target_language", "error")


def read_hypotheses(path: Path) -> Hypotheses:
    """Read the hypotheses of a file. VoxlateError or EvaluationError if it is not valid."""
    if path.suffix.lower() not in _TABLES or path.is_dir():
        return read_file(path)
    problems = Problems(f"hypotheses {path}")
    table = Table(path, _COLUMNS, problems)
    rows = list(table)
    if is_table(table.columns):
        problems.raise_any()
        return hypotheses_of_table(path, rows)
    if path.suffix.lower() == ".tsv":  # without a header, it may be the output of `voxlate translate`
        return read_file(path)
    problems.raise_any()
    raise VoxlateError(
        f"{path}: no columns id and text; its columns: {', '.join(map(shorten, [*table.columns][:_SHOWN]))}"
    )
