"""BLEU tables: directions in the order and groups of the XLS-R paper, one column per system, and verdicts."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from math import sqrt
from pathlib import Path
from typing import Any

from voxlate_eval import EvaluationError
from voxlate_eval.policy import CHARACTERS, WORDS, tokenizers
from voxlate_eval.published import GROUPS, System, find_systems, provenances, splits
from voxlate_eval.score import SCORES, SENTENCES
from voxlate_eval.score_files import read_scores
from voxlate_eval.strict_json import path_text

TOLERANCE = 0.5  # maximum difference in BLEU for which a published score counts as reproduced
# Names of averages in published tables, by group.
_AVERAGES = {"high": "high-x-en", "mid": "mid-x-en", "low": "low-x-en", "x-en": "avg-x-en", "en-x": "avg-en-x"}


@dataclass(frozen=True)
class Cell:
    """A score, with an interval if it is ours. `doubt` is the reason why it is not comparable with others."""

    value: float
    low: float | None = None
    high: float | None = None
    doubt: str | None = None
    verdict: str | None = None  # on our score in relation to this published one


@dataclass(frozen=True)
class TableRow:
    """A direction or an average; `key` is its name in published scores."""

    key: str
    label: str
    group: str
    members: tuple[str, ...] = ()  # directions of an average


@dataclass(frozen=True)
class Column:
    """A system: one of ours, or a published one."""

    title: str
    is_ours: bool
    cells: dict[str, Cell]


@dataclass(frozen=True)
class EvaluatedRun:
    """A folder written by `voxlate evaluate`: scores and the path of the sentences, by direction."""

    name: str
    scores: dict[str, dict[str, Any]]
    sentences: dict[str, Path]


@dataclass(frozen=True)
class Tables:
    """Systems in comparison: rows in order, and columns with cells by row key."""

    rows: list[TableRow]
    columns: list[Column]
    runs: list[EvaluatedRun]


def read_run(folder: Path) -> EvaluatedRun:
    """Read the scores of a folder. Raises EvaluationError if it has none."""
    scores, sentences = {}, {}
    for path in sorted(folder.glob(f"*/{SCORES}")):
        found = read_scores(path)
        if found["direction"] in scores:
            raise EvaluationError(
                f"{path}: direction {found['direction']} is also in another folder of {folder}; expected each once"
            )
        scores[found["direction"]] = found
        if (path.parent / SENTENCES).is_file():
            sentences[found["direction"]] = path.parent / SENTENCES
    if not scores:
        raise EvaluationError(f"{folder}: no DIRECTION/{SCORES}; expected a folder written by voxlate evaluate")
    order = [name for name in splits() if name in scores] + sorted(scores.keys() - splits().keys())
    return EvaluatedRun(
        path_text(Path(folder.resolve().name)),
        {name: scores[name] for name in order},
        {name: sentences[name] for name in order if name in sentences},
    )


def make_tables(folders: Sequence[Path], against: Sequence[str]) -> Tables:
    """Return the rows that our runs cover, in the paper's order, and a column for each run and published system."""
    runs = _with_unique_names([read_run(folder) for folder in folders], folders)
    published = list({system.name: system for name in against for system in find_systems(name)}.values())
    rows = _rows({direction for run in runs for direction in run.scores})
    unequal = _unequal_signatures(runs)
    ours = [Column(run.name, True, _our_cells(run, rows, unequal, against_published=bool(published))) for run in runs]
    theirs = [Column(system.name, False, _their_cells(system, rows, ours)) for system in published]
    return Tables(rows, ours + theirs, runs)


def _with_unique_names(runs: list[EvaluatedRun], folders: Sequence[Path]) -> list[EvaluatedRun]:
    """Use the full path as the name of runs whose folders have the same name."""
    names = [run.name for run in runs]
    return [
        run if names.count(run.name) == 1 else EvaluatedRun(path_text(folder), run.scores, run.sentences)
        for run, folder in zip(runs, folders, strict=True)
    ]


def _rows(directions: set[str]) -> list[TableRow]:
    """Return the given directions by group, each group followed by its average if it is complete.

    X→en and en→X end with their average if complete, or else with the mean of the given directions.
    """
    known = splits()
    rows: list[TableRow] = []
    for side, title, pattern in (("x-en", "X→en", "*-en"), ("en-x", "en→X", "en-*")):
        for group in dict.fromkeys(split.group for name, split in known.items() if fnmatch(name, pattern)):
            members = tuple(name for name in known if known[name].group == group)
            rows += [_direction(name, group) for name in members if name in directions]
            if {*members} <= directions:
                rows.append(TableRow(_AVERAGES[group], f"average, {GROUPS[group]}", group, members))
        rows += [_direction(name, side) for name in sorted(directions - known.keys()) if fnmatch(name, pattern)]
        present = tuple(row.key for row in rows if not row.members and fnmatch(row.key, pattern))
        if present == tuple(name for name in known if fnmatch(name, pattern)):
            if side != rows[-1].group:
                rows.append(TableRow(_AVERAGES[side], f"average, {title}", side, present))
        elif len(present) > 1:
            rows.append(TableRow(f"mean-{side}", f"mean of these {len(present)} {title}", side, present))
    placed = {row.key for row in rows}
    return rows + [_direction(name, "other") for name in sorted(directions - placed)]


def _direction(name: str, group: str) -> TableRow:
    return TableRow(name, name.replace("-", "→"), group)


def _unequal_signatures(runs: Iterable[EvaluatedRun]) -> set[str]:
    """Return the directions for which the signatures of our runs differ."""
    signatures: dict[str, set[str]] = {}
    for run in runs:
        for direction, found in run.scores.items():
            signatures.setdefault(direction, set()).add(found["metrics"]["BLEU"]["signature"])
    return {direction for direction, found in signatures.items() if len(found) > 1}


def _our_cells(
    run: EvaluatedRun, rows: Iterable[TableRow], unequal: set[str], *, against_published: bool
) -> dict[str, Cell]:
    cells = {direction: _our_cell(found) for direction, found in run.scores.items()}
    if not against_published:  # our own runs may be compared on any split
        cells = {direction: replace(cell, doubt=None) for direction, cell in cells.items()}
    for direction in unequal & cells.keys():
        doubt = cells[direction].doubt or "these runs are scored in different ways; see their signatures"
        cells[direction] = replace(cells[direction], doubt=doubt)
    for row in rows:
        if row.members and {*row.members} <= cells.keys():
            parts = [cells[name] for name in row.members]
            mean = sum(part.value for part in parts) / len(parts)
            # Test sets are independent: the variance of the mean is the mean variance divided by their number.
            half = sqrt(sum(((part.high or 0) - (part.low or 0)) ** 2 for part in parts)) / 2 / len(parts)
            cells[row.key] = Cell(mean, mean - half, mean + half, _first_doubt(row, cells))
    return cells


def _first_doubt(row: TableRow, cells: Mapping[str, Cell]) -> str | None:
    return next((f"{name}: {cells[name].doubt}" for name in row.members if cells[name].doubt), None)


def _our_cell(found: dict[str, Any]) -> Cell:
    bleu = found["metrics"]["BLEU"]
    expected = tokenizers(found["target_language"])[0]
    doubt = None
    if found["official_n"] is None:
        doubt = "not a split of CoVoST-2"
    elif found["split"] != "test":
        doubt = f"split {found['split']}, published scores are for test"
    elif found["n"] != found["official_n"]:
        doubt = f"{found['n']:,} of {found['official_n']:,} sentences"
    elif f"|tok:{expected}|" not in f"|{bleu['signature']}|":
        doubt = f"different tokenizer ({bleu['signature']})"
    return Cell(bleu["value"], bleu["low"], bleu["high"], doubt)


def _their_cells(system: System, rows: Iterable[TableRow], ours: Sequence[Column]) -> dict[str, Cell]:
    """Return a published system's scores, with averages computed from its directions where none is printed."""
    cells: dict[str, Cell] = {}
    for row in rows:
        if row.key in system.scores:
            value, doubt = system.scores[row.key], _their_doubt(system, row)
        elif row.members and {*row.members} <= cells.keys():
            value = sum(cells[name].value for name in row.members) / len(row.members)
            doubt = _first_doubt(row, cells)
        else:
            continue
        cells[row.key] = Cell(value, doubt=doubt, verdict=_verdict(ours[0].cells.get(row.key), value, doubt))
    return cells


def _their_doubt(system: System, row: TableRow) -> str | None:
    """Return the reason why a published score is not comparable with ours, if any."""
    convention = provenances()[system.provenance[row.key]].convention
    targets = [name.split("-")[1] for name in row.members or (row.key,)]
    if convention == "text":
        return "translates transcripts, not speech"
    if convention == "unknown":
        return "its tokenizer is not stated"
    if convention == WORDS and any(tokenizers(target)[0] == CHARACTERS for target in targets):
        return "its tokenizer for Chinese and Japanese differs, or is not stated"
    return None


def _verdict(ours: Cell | None, theirs: float, doubt: str | None) -> str | None:
    """Return the verdict on our score in relation to a published one."""
    if ours is None:
        return None
    reason = ours.doubt or doubt
    if reason is not None:
        return f"not comparable: {reason}"
    difference = round(ours.value, 1) - round(theirs, 1)
    if abs(difference) <= TOLERANCE + 1e-9:
        return "reproduced"
    return "above" if difference > 0 else "below"
