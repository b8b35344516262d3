"""The tables of the field: directions in the XLS-R paper's order and groups, systems side by side, and a verdict."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from math import sqrt
from pathlib import Path
from typing import Any

from voxlate_eval import EvaluationError
from voxlate_eval.policy import CHARACTERS, WORDS, tokenizers
from voxlate_eval.published import GROUPS, System, find_system, provenances, splits
from voxlate_eval.score import SCORES, SENTENCES
from voxlate_eval.score_files import read_scores
from voxlate_eval.strict_json import shown

TOLERANCE = 0.5  # BLEU within which a published score counts as reproduced
# What published tables call averages.
_AVERAGES = {"high": "high-x-en", "mid": "mid-x-en", "low": "low-x-en", "x-en": "avg-x-en", "en-x": "avg-en-x"}


@dataclass(frozen=True)
class Cell:
    """A score; with its interval where it is ours, and `doubt`: why it may not be put beside others."""

    value: float
    low: float | None = None
    high: float | None = None
    doubt: str | None = None
    verdict: str | None = None  # of a published score, ours seen from it


@dataclass(frozen=True)
class Row:
    """A direction or an average, by the name that published scores have."""

    key: str
    label: str
    group: str
    members: tuple[str, ...] = ()  # of an average


@dataclass(frozen=True)
class Column:
    """A system: one of ours, or a published one."""

    title: str
    is_ours: bool
    cells: dict[str, Cell]


@dataclass(frozen=True)
class Run:
    """What `voxlate evaluate` wrote into a folder: scores of directions, and where their sentences are."""

    name: str
    scores: dict[str, dict[str, Any]]
    sentences: dict[str, Path]


@dataclass(frozen=True)
class Tables:
    """All that is compared: rows in order, columns with cells by row."""

    rows: list[Row]
    columns: list[Column]
    runs: list[Run]


def read_run(folder: Path) -> Run:
    """Read the scores of a folder. EvaluationError where it has none."""
    scores, sentences = {}, {}
    for path in sorted(folder.glob(f"*/{SCORES}")):
        found = read_scores(path)
        if found["direction"] in scores:
            raise EvaluationError(
                f"{path}: direction {found['direction']} comes from another folder of {folder}, too; expected each once"
            )
        scores[found["direction"]] = found
        if (path.parent / SENTENCES).is_file():
            sentences[found["direction"]] = path.parent / SENTENCES
    if not scores:
        raise EvaluationError(f"{folder}: no DIRECTION/{SCORES}; expected a folder that voxlate evaluate wrote")
    order = [name for name in splits() if name in scores] + sorted(scores.keys() - splits().keys())
    return Run(
        shown(Path(folder.resolve().name)),
        {name: scores[name] for name in order},
        {name: sentences[name] for name in order if name in sentences},
    )


def make_tables(folders: Sequence[Path], against: Sequence[str]) -> Tables:
    """Return the rows that our runs have, in the paper's order, and a column for each run and published system."""
    runs = _named_apart([read_run(folder) for folder in folders], folders)
    published = [find_system(name) for name in dict.fromkeys(against)]
    rows = _rows({direction for run in runs for direction in run.scores})
    unequal = _unequal_signatures(runs)
    ours = [Column(run.name, True, _our_cells(run, rows, unequal, beside_published=bool(published))) for run in runs]
    theirs = [Column(system.name, False, _their_cells(system, rows, ours)) for system in published]
    return Tables(rows, ours + theirs, runs)


def _named_apart(runs: list[Run], folders: Sequence[Path]) -> list[Run]:
    """Name runs by their whole path where folders of one name come from several places."""
    names = [run.name for run in runs]
    return [
        run if names.count(run.name) == 1 else Run(shown(folder), run.scores, run.sentences)
        for run, folder in zip(runs, folders, strict=True)
    ]


def _rows(directions: set[str]) -> list[Row]:
    """Return the directions there are, group by group, each group followed by its average where it is complete.

    X→en and en→X end with their average, or with a mean of those that are there.
    """
    known = splits()
    rows: list[Row] = []
    for side, title, pattern in (("x-en", "X→en", "*-en"), ("en-x", "en→X", "en-*")):
        for group in dict.fromkeys(split.group for name, split in known.items() if fnmatch(name, pattern)):
            members = tuple(name for name in known if known[name].group == group)
            rows += [_direction(name, group) for name in members if name in directions]
            if {*members} <= directions:
                rows.append(Row(_AVERAGES[group], f"average, {GROUPS[group]}", group, members))
        rows += [_direction(name, side) for name in sorted(directions - known.keys()) if fnmatch(name, pattern)]
        there = tuple(row.key for row in rows if not row.members and fnmatch(row.key, pattern))
        if there == tuple(name for name in known if fnmatch(name, pattern)):
            if side != rows[-1].group:
                rows.append(Row(_AVERAGES[side], f"average, {title}", side, there))
        elif len(there) > 1:
            rows.append(Row(f"mean-{side}", f"mean of these {len(there)} {title}", side, there))
    placed = {row.key for row in rows}
    return rows + [_direction(name, "other") for name in sorted(directions - placed)]


def _direction(name: str, group: str) -> Row:
    return Row(name, name.replace("-", "→"), group)


def _unequal_signatures(runs: Iterable[Run]) -> set[str]:
    """Return the directions that our runs have scored in different ways."""
    signatures: dict[str, set[str]] = {}
    for run in runs:
        for direction, found in run.scores.items():
            signatures.setdefault(direction, set()).add(found["bleu"]["signature"])
    return {direction for direction, found in signatures.items() if len(found) > 1}


def _our_cells(run: Run, rows: Iterable[Row], unequal: set[str], *, beside_published: bool) -> dict[str, Cell]:
    cells = {direction: _our_cell(found) for direction, found in run.scores.items()}
    if not beside_published:  # a split of one's own is no reason for doubt among one's own
        cells = {direction: replace(cell, doubt=None) for direction, cell in cells.items()}
    for direction in unequal & cells.keys():
        doubt = cells[direction].doubt or "these runs are scored in different ways; see their signatures"
        cells[direction] = replace(cells[direction], doubt=doubt)
    for row in rows:
        if row.members and {*row.members} <= cells.keys():
            parts = [cells[name] for name in row.members]
            mean = sum(part.value for part in parts) / len(parts)
            # Directions are independent test sets: the variance of a mean is the mean variance over their number.
            half = sqrt(sum(((part.high or 0) - (part.low or 0)) ** 2 for part in parts)) / 2 / len(parts)
            cells[row.key] = Cell(mean, mean - half, mean + half, _first_doubt(row, cells))
    return cells


def _first_doubt(row: Row, cells: Mapping[str, Cell]) -> str | None:
    return next((f"{name}: {cells[name].doubt}" for name in row.members if cells[name].doubt), None)


def _our_cell(found: dict[str, Any]) -> Cell:
    bleu = found["bleu"]
    expected = tokenizers(found["target_language"])[0]
    doubt = None
    if found["official_n"] is None:
        doubt = "not a split of CoVoST-2"
    elif found["split"] != "test":
        doubt = f"split {found['split']}, published scores are of test"
    elif found["n"] != found["official_n"]:
        doubt = f"{found['n']:,} sentences of {found['official_n']:,}"
    elif f"|tok:{expected}|" not in f"|{bleu['signature']}|":
        doubt = f"another tokenizer ({bleu['signature']})"
    return Cell(bleu["value"], bleu["low"], bleu["high"], doubt)


def _their_cells(system: System, rows: Iterable[Row], ours: Sequence[Column]) -> dict[str, Cell]:
    """Return a published system's scores; its mean of directions where it has all but does not print it."""
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


def _their_doubt(system: System, row: Row) -> str | None:
    """Say why a published score may not be put beside ours, if it may not."""
    convention = provenances()[system.provenance[row.key]].convention
    targets = [name.split("-")[1] for name in row.members or (row.key,)]
    if convention == "text":
        return "translates transcripts, not speech"
    if convention == "unknown":
        return "its tokenizer is not stated"
    if convention == WORDS and any(tokenizers(target)[0] == CHARACTERS for target in targets):
        return "its tokenizer of Chinese and Japanese is another one, or not stated"
    return None


def _verdict(ours: Cell | None, theirs: float, doubt: str | None) -> str | None:
    """Say what our score means for a published one."""
    if ours is None:
        return None
    reason = ours.doubt or doubt
    if reason is not None:
        return f"not comparable: {reason}"
    difference = round(ours.value, 1) - round(theirs, 1)
    if abs(difference) <= TOLERANCE + 1e-9:
        return "reproduced"
    return "above" if difference > 0 else "below"
