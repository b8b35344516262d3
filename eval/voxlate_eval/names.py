"""Which hypothesis belongs to which reference where hypotheses have names of audio files: results of `translate`."""

import os
import re
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import PurePath

from voxlate_eval import EvaluationError
from voxlate_eval.sentences import Hypotheses, Hypothesis, Reference, References
from voxlate_eval.strict_json import cut

_SHOWN = 3
_DEEPEST = 4  # parts of a path that are compared where a folder was moved
_UNPRINTED = re.compile("\r\n|[\t\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")  # a space where translate prints a name
_FILE_NAME = re.compile(r"\S*|.*\.\w{1,5}")
_Pairs = list[tuple[Hypothesis, Reference]]


def by_name(hypotheses: Hypotheses, references: References) -> _Pairs:
    """Join by the path of the audio file, else by the end of its path, else by the id that its name has.

    References without names are taken in their order. EvaluationError where one has no partner.
    """
    best: dict[str, str] = {}
    for of_hypothesis, of_reference in _keys(references):
        found = {row.id: of_hypothesis(_printed(row.id)) for row in hypotheses.rows}
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
    cure = "translate again what failed (json has a row for clips without speech, too), or use voxlate evaluate"
    _refuse(what, "clips have no hypothesis", missing, cure)
    _refuse(what, "hypotheses have no reference", extra, "leave them out, or add their references")
    rows = {row.id: row for row in hypotheses.rows}
    return [(rows[best[row.id]], row) for row in references.rows]


def _keys(references: References) -> Sequence[tuple[Callable[[str], str], Callable[[Reference], str]]]:
    """Return what names of hypotheses and rows of references have in common, the surest first."""
    folder = references.path.parent

    def path_of(row: Reference) -> str:
        return os.path.abspath(folder / _printed(row.audio)) if row.audio else f"\0{row.id}"  # noqa: PTH100

    def end(count: int) -> tuple[Callable[[str], str], Callable[[Reference], str]]:
        return (lambda name: _end(name, count)), (lambda row: _end(path_of(row), count))

    if not references.has_ids:
        return ()
    return (
        (os.path.abspath, path_of),
        *(end(count) for count in range(_DEEPEST, 0, -1)),
        (lambda name: name, lambda row: _printed(row.id)),
        (lambda name: PurePath(_end(name, 1)).stem, lambda row: _end(_printed(row.id), 1)),
    )


def _end(name: str, count: int) -> str:
    return "/".join(name.split("/")[-count:])


def _printed(name: str) -> str:
    """Return a name as `translate` prints it, composed, since file systems differ in how they spell letters."""
    return unicodedata.normalize("NFC", _UNPRINTED.sub(" ", name))


def _in_order(hypotheses: Hypotheses, references: References) -> _Pairs:
    n, expected = len(hypotheses.rows), len(references.rows)
    sentence = next((row.id for row in hypotheses.rows if not _FILE_NAME.fullmatch(_printed(row.id))), None)
    if sentence is not None:
        raise EvaluationError(
            f"{hypotheses.path}: {cut(sentence)} stands before a tab, expected the name of a file there, as voxlate "
            "translate prints it, or one hypothesis on each line without tabs"
        )
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
    if n > 1 and hypotheses.path.is_dir():
        raise EvaluationError(
            f"{hypotheses.path}: a folder has no order, and {references.path} names no audio files; expected a "
            "manifest with audio as references, or all results in one file (voxlate translate --format json > FILE)"
        )
    return list(zip(hypotheses.rows, references.rows, strict=True))


def _refuse(where: str, what: str, names: Sequence[str], cure: str) -> None:
    if names:
        more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
        raise EvaluationError(f"{where}: {len(names):,} {what}: {', '.join(map(cut, names[:_SHOWN]))}{more}; {cure}")
