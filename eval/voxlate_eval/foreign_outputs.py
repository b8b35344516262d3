"""Hypotheses in the layouts that other projects write: hearing2translate and seamless_communication.

- hearing2translate (sarapapi/hearing2translate, infer.py and outputs/): JSON lines with dataset_id, sample_id,
  src_lang, tgt_lang and output. The sample_id of a clip of CoVoST-2 is the number in its name in Common Voice.
- seamless_communication (m4t_evaluate): model-outputs-NAME.txt, a table with the columns ref_tgt_text, pred_tgt_text
  and, for speech, pred_tgt_audio. Its rows have no ids and the order of the evaluated data file.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from voxlate_eval import EvaluationError
from voxlate_eval.rows import Hypotheses, HypothesisRow, ReferenceRow
from voxlate_eval.strict_json import shorten, type_name

_SAMPLE = ("sample_id", "output")
_SEAMLESS = ("ref_tgt_text", "pred_tgt_text")


def is_sample(record: Mapping[str, Any]) -> bool:
    """Return whether a JSON object has the layout of hearing2translate's outputs."""
    return all(name in record for name in _SAMPLE)


def read_sample(path: Path, line: int, record: Mapping[str, Any]) -> HypothesisRow:
    """Return the hypothesis of an object for which `is_sample` is true. Raises EvaluationError."""
    values = {name: record.get(name) for name in (*_SAMPLE, "tgt_lang")}
    if type(values["sample_id"]) is int:
        values["sample_id"] = str(values["sample_id"])
    for name, value in values.items():
        if not isinstance(value, str) and (value is not None or name in _SAMPLE):
            raise EvaluationError(f"{path}:{line}: {name} is {type_name(value)}, expected text")
    return HypothesisRow(str(values["sample_id"]), str(values["output"]), language=values["tgt_lang"] or None)


def is_seamless_header(columns: Iterable[str]) -> bool:
    """Return whether these are the columns of seamless_communication's model outputs."""
    return {*_SEAMLESS} <= {*columns}


def read_seamless(path: Path, rows: Iterable[tuple[int, Mapping[str, str]]]) -> Hypotheses:
    """Return the hypotheses of a table for which `is_seamless_header` is true, with the references in it."""
    found = [
        HypothesisRow(f"line {line}", row["pred_tgt_text"], stated_reference=row["ref_tgt_text"]) for line, row in rows
    ]
    return Hypotheses(path, found, has_ids=False)


def check_stated_references(path: Path, pairs: Sequence[tuple[HypothesisRow, ReferenceRow]]) -> None:
    """Raise EvaluationError if a file of hypotheses has other references, or the same ones in another order."""
    for hypothesis, reference in pairs:
        stated = hypothesis.stated_reference
        if stated is not None and stated.split() != reference.target_text.split():
            raise EvaluationError(
                f"{path}: {hypothesis.id} has the reference {shorten(stated)!r}, the references have "
                f"{shorten(reference.target_text)!r} there; expected references in the order of the evaluated data file"
            )
