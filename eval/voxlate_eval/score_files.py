"""Validated reading of a run's files for reports: scores.json and sentences.jsonl."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from voxlate_eval import EvaluationError
from voxlate_eval.strict_json import is_number, parse_objects, read_object, type_name

_REMEDY = "rerun voxlate evaluate, which writes that file, or delete it"
_TEXTS = ("id", "reference", "hypothesis")
_OPTIONAL_TEXTS = ("source", "error", "speaker", "audio")

Number = Annotated[float, Field(allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=10**12)]
Points = Annotated[float, Field(allow_inf_nan=False, ge=-1000, le=1000)]  # 0 to 100; an interval may exceed that


class _Part(BaseModel):
    """A part of scores.json that reports read. Further keys are allowed."""

    model_config = ConfigDict(strict=True)


class _MetricEntry(_Part):
    value: Number
    low: Number
    high: Number
    signature: str
    about: str | None = None


class _BleuEntry(_MetricEntry):
    value: Points
    low: Points
    high: Points


class _Named(_Part):
    n: Count
    first: list[str] = []


class _OffTarget(_Part):
    n: Count
    wrong: Count


class _Suspicious(_Part):
    failed: _Named
    empty: _Named
    loops: _Named
    length_outliers: _Named
    length_ratio: Number | None
    off_target: _OffTarget | None
    off_target_of_references: _OffTarget | None


class _Group(_Part):
    group: str
    n: Count
    BLEU: Points = 0.0


class _Files(_Part):
    references: str | None = None


class _MetricEntries(_Part):
    model_config = ConfigDict(strict=True, extra="allow")
    __pydantic_extra__: dict[str, _MetricEntry]
    BLEU: _BleuEntry


class _ScoresFile(_Part):
    direction: Annotated[str, Field(min_length=1, max_length=200)]
    target_language: str
    split: str | None
    n: Count
    official_n: Count | None
    metrics: _MetricEntries
    hypotheses: _Suspicious
    breakdown: dict[str, list[_Group]]
    files: _Files = _Files()
    recipe: dict[str, Any]


def read_scores(path: Path) -> dict[str, Any]:
    """Return the scores of a direction. Raises EvaluationError if a report cannot be made from them."""
    try:
        found = read_object(path)
        _ScoresFile.model_validate(found)
    except EvaluationError as error:
        reason = str(error).removeprefix(f"{path}:").strip()
    except ValidationError as error:
        first = error.errors()[0]
        reason = f"{'.'.join(map(str, first['loc']))}: {first['msg'][0].lower()}{first['msg'][1:]}"
    else:
        return found | {"bleu": found["metrics"]["BLEU"]}
    raise EvaluationError(f"{path}: not scores of voxlate evaluate with BLEU ({reason}); score that direction again")


def read_sentences(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of sentences.jsonl, reduced to the keys that reports show. Raises EvaluationError."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                for place, row in parse_objects(path, line.decode("utf-8"), line=number):
                    yield _sentence(path, place, row)
    except UnicodeDecodeError as error:
        raise EvaluationError(f"{path}:{number}: not UTF-8 (byte {error.start:,} of the line); {_REMEDY}") from None
    except OSError as error:
        raise EvaluationError(f"{path}: cannot be read ({error.strerror})") from None
    except EvaluationError as error:
        raise EvaluationError(f"{error}; {_REMEDY}") from None


def _sentence(path: Path, line: int, row: dict[str, Any]) -> dict[str, Any]:
    """Validate a row. Ids and speakers may be integers, which become text."""
    kept: dict[str, Any] = {}
    for name in (*_TEXTS, *_OPTIONAL_TEXTS):
        value = str(row[name]) if name in ("id", "speaker") and type(row.get(name)) is int else row.get(name)
        if not isinstance(value, str) and (value is not None or name in _TEXTS):
            raise EvaluationError(f"{path}:{line}: {name} is {type_name(value)}, expected text")
        if value is not None:
            kept[name] = value
    for name in ("chrF", "seconds"):
        if not is_number(row.get(name)) and (name == "chrF" or row.get(name) is not None):
            raise EvaluationError(f"{path}:{line}: {name} is {type_name(row.get(name))}, expected a number")
        if row.get(name) is not None:
            kept[name] = row[name]
    return kept
