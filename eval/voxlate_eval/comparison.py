"""Comparison of two systems on the same sentences: paired tests, and the sentences with the largest differences."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from voxlate_eval import EvaluationError
from voxlate_eval.metrics import make_metric, statistics
from voxlate_eval.records import Records
from voxlate_eval.score import MetricStatistics
from voxlate_eval.significance import TEST_SAMPLES, compare
from voxlate_eval.strict_json import path_text


def compare_systems(
    a: Records,
    b: Records,
    measured: Sequence[tuple[MetricStatistics, MetricStatistics]],
    *,
    samples: int = TEST_SAMPLES,
    seed: int = 1,
    sentences: int = 10,
) -> dict[str, Any]:
    """Return scores, differences (A - B) with intervals and p-values, and the sentences that differ most, as JSON.

    Raises EvaluationError if the two systems do not have the same references.
    """
    if [reference for _, reference in a.rows] != [reference for _, reference in b.rows]:
        raise EvaluationError(
            f"{a.hypotheses_path} and {b.hypotheses_path} are not joined with the same references; compare two systems "
            "on one manifest"
        )
    return {
        "a": path_text(a.hypotheses_path),
        "b": path_text(b.hypotheses_path),
        "n": len(a.rows),
        "direction": a.direction,
        "metrics": {
            of_a.metric.name: {"a": of_a.value(), "b": of_b.value(), "signature": a.signature(of_a.metric)}
            | {"about": of_a.metric.about}
            | asdict(compare(of_a.metric, of_a.sums_NK, of_b.sums_NK, samples=samples, seed=seed))
            for of_a, of_b in measured
        },
        "sentences": _most_different(a, b, measured, sentences),
    }


def _most_different(
    a: Records, b: Records, measured: Sequence[tuple[MetricStatistics, MetricStatistics]], count: int
) -> dict[str, list[dict[str, Any]]]:
    """Return the sentences where A is ahead of B by most in sentence chrF, and those where B is ahead of A."""
    pair = next((pair for pair in measured if pair[0].metric.name == "chrF"), None)
    if pair is None:
        metric = make_metric("chrf", a.target_language)
        sums = [statistics(metric, records.hypotheses, records.references) for records in (a, b)]
        pair = MetricStatistics(metric, sums[0]), MetricStatistics(metric, sums[1])
    of_a, of_b = pair
    differences = [of_a.sentence_value(index) - of_b.sentence_value(index) for index in range(len(a.rows))]
    order = sorted(range(len(differences)), key=differences.__getitem__)

    def row(index: int) -> dict[str, Any]:
        (from_a, reference), (from_b, _) = a.rows[index], b.rows[index]
        return {
            "id": reference.id,
            "difference": differences[index],
            "reference": reference.target_text,
            "a": from_a.text,
            "b": from_b.text,
        }

    return {
        "a_better": [row(index) for index in order[::-1][:count] if differences[index] > 0],
        "b_better": [row(index) for index in order[:count] if differences[index] < 0],
    }
