"""Which hypothesis belongs to which reference where hypotheses have names of audio files: results of `translate`."""

import os
from collections.abc import Callable, Sequence
from pathlib import PurePath

from voxlate_eval.errors import EvaluationError
from voxlate_eval.sentences import Hypotheses, Hypothesis, Reference, References
from voxlate_eval.strict_json import cut

_SHOWN = 3
_Pairs = list[tuple[Hypothesis, Reference]]


def by_name(hypotheses: Hypotheses, references: References) -> _Pairs:
    """Join by the path of the audio file, else by its file name, else by the id that its name has.

    References without names are taken in their order. EvaluationError where one has no partner.
    """
    best: dict[str, str] = {}
    for of_hypothesis, of_reference in _keys(references):
        found = {row.id: of_hypothesis(row.id) for row in hypotheses.rows}
        wanted = {row.id: of_reference(row) for row in references.rows}
        if len({*found.values()}) == len(found) and len({*wanted.values()}) == len(wanted):
            name_of = {key: name for name, key in found.items()}
            pairs = {row_id: name_of[key] for row_id, key in wanted.items() if key in name_of}
            best = max(best, pairs, key=len)
    if not best:
        return _in_order(hypotheses, references)
    missing = [row.audio or row.id for row in references.rows if row.id not in best]
    extra = sorted({row.id for row in hypotheses.rows} - {*best.values()})
    what = f"{hypotheses.path} does not fit {references.path}"
    _refuse(what, "clips have no hypothesis", missing, "translate again what failed, or use voxlate evaluate")
    _refuse(what, "hypotheses have no reference", extra, "leave them out, or add their references")
    rows = {row.id: row for row in hypotheses.rows}
    return [(rows[best[row.id]], row) for row in references.rows]


def _keys(references: References) -> Sequence[tuple[Callable[[str], str], Callable[[Reference], str]]]:
    folder = references.path.parent

    def last(name: str) -> str:
        return name.rpartition("/")[2]

    if not references.has_ids:
        return ()
    return (
        (os.path.abspath, lambda row: os.path.abspath(folder / row.audio) if row.audio else f"\0{row.id}"),  # noqa: PTH100
        (last, lambda row: last(row.audio) if row.audio else f"\0{row.id}"),
        (lambda name: name, lambda row: row.id),
        (lambda name: PurePath(last(name)).stem, lambda row: last(row.id)),
    )


def _in_order(hypotheses: Hypotheses, references: References) -> _Pairs:
    n, expected = len(hypotheses.rows), len(references.rows)
    if n != expected:
        raise EvaluationError(
            f"{hypotheses.path} has hypotheses of {n:,} inputs, {references.path} has {expected:,} rows; expected one "
            "for each: translate leaves out inputs that fail, voxlate evaluate counts them as empty"
        )
    if any(row.audio for row in references.rows) and [row.id for row in hypotheses.rows] != ["stdin"]:
        raise EvaluationError(
            f"{hypotheses.path} and {references.path} have no clip in common ({cut(hypotheses.rows[0].id)} against "
            f"{cut(references.rows[0].audio or references.rows[0].id)}); they are not of one data set"
        )
    return list(zip(hypotheses.rows, references.rows, strict=True))


def _refuse(where: str, what: str, names: Sequence[str], cure: str) -> None:
    if names:
        more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
        raise EvaluationError(f"{where}: {len(names):,} {what}: {', '.join(map(cut, names[:_SHOWN]))}{more}; {cure}")
