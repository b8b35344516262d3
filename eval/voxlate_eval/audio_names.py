"""Matching of results of `voxlate translate`, which are identified by audio file, with references."""

import os
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePath

from voxlate_eval import EvaluationError
from voxlate_eval.rows import Hypotheses, HypothesisRow, ReferenceRow, References, raise_if_any
from voxlate_eval.strict_json import shorten

_MAX_PATH_PARTS = 4  # compared from the end of a path, for folders that were moved
_UNPRINTED = re.compile("\r\n|[\t\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")  # printed as a space by translate
_NUMBER_AT_END = re.compile(r"(?:^|[_-])(\d+)$")
_FILE_NAME = re.compile(r"\S*|.*\.\w{1,5}")
_Pairs = list[tuple[HypothesisRow, ReferenceRow]]


def join_by_audio_name(hypotheses: Hypotheses, references: References) -> _Pairs:
    """Join by the path of the audio file, else by the end of the path, else by an id that equals the file's name.

    Names that are numbers, as in hearing2translate's outputs, also match the last number in a file's name or an id.

    Without any match, rows are paired in order if nothing contradicts that. Raises EvaluationError if a row has no
    partner.
    """
    best: dict[str, str] = {}
    for of_hypothesis, of_reference in _keys(references):
        hypothesis_keys = {row.id: of_hypothesis(_printed(row.id)) for row in hypotheses.rows}
        reference_keys = {row.id: of_reference(row) for row in references.rows}
        if _are_unique(hypothesis_keys) and _are_unique(reference_keys):
            name_of = {key: name for name, key in hypothesis_keys.items()}
            pairs = {row_id: name_of[key] for row_id, key in reference_keys.items() if key in name_of}
            best = max(best, pairs, key=len)
    if not best:
        return _in_order(hypotheses, references)
    missing = [row.audio or row.id for row in references.rows if row.id not in best]
    extra = sorted({row.id for row in hypotheses.rows} - {*best.values()})
    what = f"{hypotheses.path} does not fit {references.path}"
    remedy = "translate the failed clips again (json also has rows for clips without speech), or use voxlate evaluate"
    raise_if_any(missing, what, "clips have no hypothesis", remedy)
    raise_if_any(extra, what, "hypotheses have no reference", "remove them, or add their references")
    rows = {row.id: row for row in hypotheses.rows}
    return [(rows[best[row.id]], row) for row in references.rows]


def _keys(references: References) -> Sequence[tuple[Callable[[str], str], Callable[[ReferenceRow], str]]]:
    """Return pairs of functions whose keys match for the same clip, the most reliable pair first."""
    folder = references.path.parent

    def path_of(row: ReferenceRow) -> str:
        return os.path.abspath(folder / _printed(row.audio)) if row.audio else f"\0{row.id}"  # noqa: PTH100

    def end(count: int) -> tuple[Callable[[str], str], Callable[[ReferenceRow], str]]:
        return (lambda name: _end(name, count)), (lambda row: _end(path_of(row), count))

    if not references.has_ids:
        return ()
    return (
        (os.path.abspath, path_of),
        *(end(count) for count in range(_MAX_PATH_PARTS, 0, -1)),
        (lambda name: name, lambda row: _printed(row.id)),
        (lambda name: PurePath(_end(name, 1)).stem, lambda row: _end(_printed(row.id), 1)),
        (lambda name: name, lambda row: _last_number(path_of(row))),
        (lambda name: name, lambda row: _last_number(_printed(row.id))),
    )


def _last_number(name: str) -> str:
    """Return the number at the end of a name, such as 17 for clips/common_voice_pt_17.mp3; else the name."""
    found = _NUMBER_AT_END.search(PurePath(_end(name, 1)).stem)
    return found[1] if found else name


def _are_unique(keys: Mapping[str, str]) -> bool:
    return len({*keys.values()}) == len(keys)


def _end(name: str, count: int) -> str:
    return "/".join(name.split("/")[-count:])


def _printed(name: str) -> str:
    """Return a name as `translate` prints it, in NFC, because file systems differ in their normalization."""
    return unicodedata.normalize("NFC", _UNPRINTED.sub(" ", name))


def _in_order(hypotheses: Hypotheses, references: References) -> _Pairs:
    n, expected = len(hypotheses.rows), len(references.rows)
    sentence = next((row.id for row in hypotheses.rows if not _FILE_NAME.fullmatch(_printed(row.id))), None)
    if sentence is not None:
        raise EvaluationError(
            f"{hypotheses.path}: text before a tab is not a file name ({shorten(sentence)}); expected NAME, tab, TEXT "
            "as printed by voxlate translate, or one hypothesis per line without tabs"
        )
    if n != expected:
        raise EvaluationError(
            f"{hypotheses.path} has hypotheses of {n:,} inputs, {references.path} has {expected:,} rows; expected one "
            "for each: "
            + (
                "to divide the translation of one recording among the references, add --resegment"
                if n == 1
                else "translate omits inputs that fail, voxlate evaluate counts them as empty"
            )
        )
    if any(row.audio for row in references.rows) and [row.id for row in hypotheses.rows] != ["stdin"]:
        raise EvaluationError(
            f"{hypotheses.path} and {references.path} have no clip in common ({shorten(hypotheses.rows[0].id)} against "
            f"{shorten(references.rows[0].audio or references.rows[0].id)}); they are not of one data set"
        )
    if n > 1 and hypotheses.path.is_dir():
        raise EvaluationError(
            f"{hypotheses.path}: a folder has no order, and {references.path} has no names of audio files; expected a "
            "manifest with audio as references, or all results in one file (voxlate translate --format json > FILE)"
        )
    return list(zip(hypotheses.rows, references.rows, strict=True))
