"""Validated reading of a run's files through closed models: scores.json, sentences.jsonl and hypotheses.meta.json.

A model refuses unknown keys, wrong types and numbers that are not finite. Recipes may have any further entries.
"""

from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from voxlate_eval import EvaluationError
from voxlate_eval.strict_json import one_line, parse_objects, path_text, read_object, shorten, type_name

_REMEDY = "rerun voxlate evaluate, which writes that file, or delete it"
_META_REMEDY = "it describes how the hypotheses were made: rewrite it, or delete it"

Number = Annotated[float, Field(allow_inf_nan=False, ge=-1e12, le=1e12)]
Count = Annotated[int, Field(ge=0, le=10**12)]
Points = Annotated[float, Field(allow_inf_nan=False, ge=-1000, le=1000)]  # 0 to 100; an interval may exceed that
Seconds = Annotated[float, Field(allow_inf_nan=False, ge=0, le=1e9)]
Text = Annotated[str, Field(max_length=10**6)]
Name = Annotated[str, Field(min_length=1, max_length=200)]
# Ids and speakers may be integers, which become text.
Label = Annotated[str, BeforeValidator(lambda value: str(value) if type(value) is int and abs(value) < 1e20 else value)]


class FileModel(BaseModel):
    """A JSON object with these keys only, and values of exactly these types."""

    model_config = ConfigDict(strict=True, extra="forbid")


class MetricEntry(FileModel):
    """A metric of all sentences with its interval."""

    value: Number
    low: Number
    high: Number
    signature: str
    about: str | None = None
    interval: str | None = None


class BleuEntry(MetricEntry):
    """BLEU, which is in points."""

    value: Points
    low: Points
    high: Points


class MetricEntries(FileModel):
    """Metrics by name; BLEU is required."""

    model_config = ConfigDict(strict=True, extra="allow")
    __pydantic_extra__: dict[str, MetricEntry]
    BLEU: BleuEntry


class NamedHypotheses(FileModel):
    """The number of hypotheses with a defect, and the ids of the first ones."""

    n: Count
    first: list[str] = []


class OffTarget(FileModel):
    """Texts that seem to be in another language than the target."""

    n: Count
    wrong: Count
    languages: dict[str, Count] = {}


class HypothesisChecks(FileModel):
    """Checks of hypotheses."""

    failed: NamedHypotheses
    empty: NamedHypotheses
    loops: NamedHypotheses
    length_outliers: NamedHypotheses
    length_ratio: Number | None = None
    off_target: OffTarget | None = None
    off_target_of_references: OffTarget | None = None


class GroupScores(FileModel):
    """The metrics of a group of sentences, by name."""

    model_config = ConfigDict(strict=True, extra="allow")
    __pydantic_extra__: dict[str, Number]
    group: Name
    n: Count
    intervals: dict[str, Annotated[list[Number], Field(min_length=2, max_length=2)]] = {}


class ScoredFiles(FileModel):
    """The paths of hypotheses and references."""

    hypotheses: str | None = None
    references: str | None = None


class ResegmentationEntry(FileModel):
    """How the translations of recordings were divided among sentences."""

    tool: str
    method: str
    version: Count
    units: str
    recordings: Count
    sentences: Count


class HypothesisRecipe(FileModel):
    """How hypotheses were made. What is known about that differs between systems."""

    model_config = ConfigDict(strict=True, extra="allow")
    direction: str | None = None
    target_language: str | None = None
    split: str | None = None
    resegmentation: ResegmentationEntry | None = None


class ScoresFile(FileModel):
    """The contents of scores.json."""

    direction: Name | None
    target_language: Name
    split: str | None
    n: Count
    official_n: Count | None
    metrics: MetricEntries
    hypotheses: HypothesisChecks
    breakdown: dict[str, list[GroupScores]]
    files: ScoredFiles = ScoredFiles()
    recipe: HypothesisRecipe


class SentenceEntry(FileModel):
    """A line of sentences.jsonl."""

    id: Label
    reference: Text
    hypothesis: Text
    chrF: Points
    source: Text | None = None
    error: Text | None = None
    seconds: Seconds | None = None
    speaker: Label | None = None
    audio: str | None = None


def read_scores(path: Path) -> dict[str, Any]:
    """Return the scores of a direction, complete with defaults. Raises EvaluationError if they are not valid.

    If they have no direction, because the references had no source language, it is the name of their folder.
    """
    try:
        found = validate(ScoresFile, read_object(path))
        return found | {"direction": found["direction"] or path_text(Path(path.absolute().parent.name))}
    except EvaluationError as error:
        reason = str(error).removeprefix(f"{path}:").strip()
    raise EvaluationError(f"{path}: not scores of voxlate evaluate with BLEU ({reason}); score that direction again")


def read_sentences(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of sentences.jsonl without empty entries. Raises EvaluationError."""
    number = 1
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                for place, row in parse_objects(path, line.decode("utf-8"), line=number):
                    try:
                        yield validate(SentenceEntry, row, exclude_none=True)
                    except EvaluationError as error:
                        raise EvaluationError(f"{path}:{place}: {error}") from None
    except UnicodeDecodeError as error:
        raise EvaluationError(f"{path}:{number}: not UTF-8 (byte {error.start:,} of the line); {_REMEDY}") from None
    except OSError as error:
        raise EvaluationError(f"{path}: cannot be read ({error.strerror})") from None
    except EvaluationError as error:
        raise EvaluationError(f"{error}; {_REMEDY}") from None


def read_recipe(path: Path) -> dict[str, Any]:
    """Return the recipe next to a file of hypotheses. Raises EvaluationError if it is not valid."""
    try:
        found = read_object(path)
    except EvaluationError as error:
        raise EvaluationError(f"{error}; {_META_REMEDY}") from None
    return as_recipe(path, found)


def as_recipe(path: Path, found: dict[str, Any]) -> dict[str, Any]:
    """Return a recipe from a file. Raises EvaluationError if it is not valid."""
    try:
        validate(HypothesisRecipe, found)
    except EvaluationError as error:
        raise EvaluationError(f"{path}: {error}; {_META_REMEDY}") from None
    return found


def validate(model: type[FileModel], found: dict[str, Any], *, exclude_none: bool = False) -> dict[str, Any]:
    """Return an object with the defaults of a model. Raises EvaluationError with the first problem."""
    try:
        return model.model_validate(found).model_dump(exclude_none=exclude_none)
    except ValidationError as error:
        raise EvaluationError(_describe(error.errors(include_url=False)[0], model)) from None


def _describe(problem: Any, model: type[BaseModel]) -> str:
    """Return what is wrong with a value, in one line."""
    place = ".".join(shorten(str(part)) for part in problem["loc"])
    kind, got = problem["type"], problem["input"]
    if kind == "missing":
        return f"{place} is missing"
    if kind == "extra_forbidden":
        known = model.model_fields if len(problem["loc"]) == 1 else {}
        close = get_close_matches(str(problem["loc"][-1])[:100], known, 1)
        return f"{place} is an unknown key{f'; did you mean {close[0]}?' if close else ''}"
    for names, expected in _EXPECTED.items():
        if kind.startswith(names):
            return f"{place} is {type_name(got)}, expected {expected}"
    return f"{place}: {one_line(problem['msg'][:200])}"


_EXPECTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "float_type": "a number",
    ("dict_type", "model_type"): "an object",
    "list_type": "a list",
}
