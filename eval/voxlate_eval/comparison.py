"""Comparison of systems on the same sentences: paired tests, and the sentences with the largest differences."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from voxlate_eval import EvaluationError
from voxlate_eval.metrics import make_metric, statistics
from voxlate_eval.ranking import rank
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
    _check_same_references(a, b)
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


def compare_all(
    systems: Sequence[Records],
    measured: Sequence[Sequence[MetricStatistics]],
    *,
    samples: int = TEST_SAMPLES,
    seed: int = 1,
    sentences: int = 10,
) -> dict[str, Any]:
    """Return the ranking of systems by each metric, and the sentences that differ most between them, as JSON.

    `measured` has the metrics of each system. Raises EvaluationError if the systems do not have the same references.
    """
    first = systems[0]
    for other in systems[1:]:
        _check_same_references(first, other)
    return {
        "systems": [path_text(system.hypotheses_path) for system in systems],
        "n": len(first.rows),
        "direction": first.direction,
        "metrics": {
            of_systems[0].metric.name: {
                "signature": first.signature(of_systems[0].metric),
                "about": of_systems[0].metric.about,
                **rank(of_systems[0].metric, [one.sums_NK for one in of_systems], samples=samples, seed=seed).as_json(),
            }
            for of_systems in zip(*measured, strict=True)
        },
        "sentences": _widest_spread(systems, measured, sentences),
    }


def _check_same_references(a: Records, b: Records) -> None:
    if [reference for _, reference in a.rows] != [reference for _, reference in b.rows]:
        raise EvaluationError(
            f"{a.hypotheses_path} and {b.hypotheses_path} are not joined with the same references; compare systems on "
            "one manifest"
        )


def _sentence_chrf(records: Records, measured: Sequence[MetricStatistics]) -> list[float]:
    """Return the chrF of each sentence, which is computed unless it is among the metrics."""
    found = next((item for item in measured if item.metric.name == "chrF"), None)
    if found is None:
        metric = make_metric("chrf", records.target_language)
        found = MetricStatistics(metric, statistics(metric, records.hypotheses, records.references))
    return [found.sentence_value(index) for index in range(len(records.rows))]


def _widest_spread(
    systems: Sequence[Records], measured: Sequence[Sequence[MetricStatistics]], count: int
) -> list[dict[str, Any]]:
    """Return the sentences whose chrF differs most between the best and the worst system."""
    chrf = [_sentence_chrf(records, of_system) for records, of_system in zip(systems, measured, strict=True)]
    spread = [max(values) - min(values) for values in zip(*chrf, strict=True)]
    order = sorted(range(len(spread)), key=spread.__getitem__, reverse=True)[:count]
    return [
        {
            "id": systems[0].rows[index][1].id,
            "spread": spread[index],
            "reference": systems[0].rows[index][1].target_text,
            "hypotheses": [system.rows[index][0].text for system in systems],
            "chrF": [values[index] for values in chrf],
        }
        for index in order
        if spread[index] > 0
    ]


def _most_different(
    a: Records, b: Records, measured: Sequence[tuple[MetricStatistics, MetricStatistics]], count: int
) -> dict[str, list[dict[str, Any]]]:
    """Return the sentences where A is ahead of B by most in sentence chrF, and those where B is ahead of A."""
    chrf = [_sentence_chrf(records, [pair[side] for pair in measured]) for side, records in enumerate((a, b))]
    differences = [of_a - of_b for of_a, of_b in zip(*chrf, strict=True)]
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
