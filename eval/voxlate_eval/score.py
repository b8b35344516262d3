"""Scores of one direction: metrics with intervals and signatures, checks of the hypotheses, and breakdowns."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from voxlate_eval import EvaluationError
from voxlate_eval.checks import is_loop, length_outlier, off_target
from voxlate_eval.metrics import METRICS, Metric, Sums, make_metric, statistics
from voxlate_eval.policy import CHARACTERS, tokenizers
from voxlate_eval.records import Records, ReferenceRow
from voxlate_eval.significance import interval
from voxlate_eval.strict_json import path_text

DEFAULT_METRICS = ("bleu", "chrf")
SCORES, SENTENCES = "scores.json", "sentences.jsonl"  # files of a direction, in its own folder
_DURATION_EDGES = (2.0, 4.0, 6.0, 8.0)
_WORD_EDGES = (5, 10, 15, 20)
_CHARACTER_EDGES = (10, 20, 30, 40)
_GROUP_SAMPLES = 200  # at most, of the intervals of breakdowns


@dataclass(frozen=True)
class MetricStatistics:
    """A metric with the sums of each sentence, (N, K), from which intervals, tests and breakdowns are computed."""

    metric: Metric
    sums_NK: Sums

    def value(self, indices: Sequence[int] | slice = slice(None)) -> float:
        """Return the metric of the sentences at some indices, by default of all."""
        return self.metric.value(self.sums_NK[indices].sum(axis=0))

    def sentence_value(self, index: int) -> float:
        """Return the metric of one sentence."""
        return self.metric.value(self.sums_NK[index])


def compute_statistics(
    records: Records, metrics: Iterable[str], tokenize: str | None = None, *, workers: int = 1
) -> list[MetricStatistics]:
    """Compute the statistics of metrics by name. `tokenize` applies to BLEU; by default, the policy selects it."""
    made = [
        make_metric(name, records.target_language, tokenize if name == "bleu" else None)
        for name in dict.fromkeys(name.strip().lower() for name in metrics)
    ]
    if not made:
        raise EvaluationError(f"no metrics given; expected some of {', '.join(METRICS)}")
    texts = records.hypotheses, records.references, records.sources
    return [MetricStatistics(metric, statistics(metric, *texts, workers=workers)) for metric in made]


def score(
    records: Records,
    measured: Sequence[MetricStatistics],
    *,
    samples: int = 1000,
    seed: int = 1,
    seen_speakers: Collection[str] | None = None,
) -> dict[str, Any]:
    """Return scores, intervals, checks and breakdowns of a system's hypotheses, as JSON.

    `seen_speakers` are the speakers of the training data, if known.
    """
    n, official = len(records.rows), records.official_n
    return {
        "direction": records.direction,
        "target_language": records.target_language,
        "split": records.split,
        "n": n,
        "official_n": official,
        "metrics": {item.metric.name: _with_interval(records, item, samples, seed) for item in measured},
        "hypotheses": _check_hypotheses(records),
        "breakdown": {
            title: _breakdown(records, measured, group_of, min(samples, _GROUP_SAMPLES), seed)
            for title, group_of in _groupings(records, seen_speakers).items()
        },
        "files": {"hypotheses": path_text(records.hypotheses_path), "references": path_text(records.references_path)},
        "recipe": records.meta,
    }


def sentence_rows(records: Records, chrf: MetricStatistics) -> Iterator[dict[str, Any]]:
    """Yield one row per sentence for readers: all texts, the clip, and sentence chrF."""
    folder = records.references_path.parent.absolute()
    for index, (hypothesis, reference) in enumerate(records.rows):
        row = {
            "id": reference.id,
            "source": reference.source_text,
            "reference": reference.target_text,
            "hypothesis": hypothesis.text,
            "error": hypothesis.error,
            "chrF": round(chrf.sentence_value(index), 2),
            "seconds": reference.seconds,
            "speaker": reference.speaker,
            "audio": None if reference.audio is None else path_text(folder / reference.audio),
        }
        yield {name: value for name, value in row.items() if value is not None}


def _with_interval(records: Records, item: MetricStatistics, samples: int, seed: int) -> dict[str, Any]:
    low, high = interval(item.metric, item.sums_NK, samples=samples, seed=seed)
    return {
        "value": item.value(),
        "low": low,
        "high": high,
        "signature": records.signature(item.metric),
        "about": item.metric.about,
        "interval": f"95 %, bootstrap, {samples} samples, seed {seed}",
    }


def _check_hypotheses(records: Records) -> dict[str, Any]:
    failed = [hypothesis.id for hypothesis, _ in records.rows if hypothesis.error]
    empty = [hypothesis.id for hypothesis, _ in records.rows if not hypothesis.text.strip() and not hypothesis.error]
    loops = [hypothesis.id for hypothesis, _ in records.rows if is_loop(hypothesis.text)]
    lengths = [
        hypothesis.id
        for hypothesis, reference in records.rows
        if length_outlier(hypothesis.text, reference.target_text)
    ]
    characters = sum(map(len, records.references))
    return {
        "failed": _count_ids(failed),
        "empty": _count_ids(empty),
        "loops": _count_ids(loops),
        "length_outliers": _count_ids(lengths),
        "length_ratio": sum(map(len, records.hypotheses)) / characters if characters else None,
        "off_target": off_target(records.hypotheses, records.target_language),
        "off_target_of_references": off_target(records.references, records.target_language),
    }


def _count_ids(ids: list[str]) -> dict[str, Any]:
    return {"n": len(ids), "first": ids[:5]}


Group = tuple[int, str]  # position among the groups, name
GroupOf = Callable[[ReferenceRow], Group | None]


def _groupings(records: Records, seen_speakers: Collection[str] | None) -> dict[str, GroupOf]:
    """Return functions that group sentences, by title. They return None for sentences without that information."""
    in_characters = tokenizers(records.target_language)[0] == CHARACTERS
    edges, unit = (_CHARACTER_EDGES, "characters") if in_characters else (_WORD_EDGES, "words")

    def duration(reference: ReferenceRow) -> Group | None:
        if reference.seconds is None:
            return None
        position = int(np.searchsorted(_DURATION_EDGES, reference.seconds, side="right"))
        return position, _range(position, _DURATION_EDGES, "s")

    def length(reference: ReferenceRow) -> Group:
        count = len(reference.target_text if in_characters else reference.target_text.split())
        position = int(np.searchsorted(edges, count, side="left"))
        return position, _range(position, edges, unit, step=1)

    def speaker(reference: ReferenceRow) -> Group | None:
        if reference.speaker is None or seen_speakers is None:
            return None
        return (0, "in training") if reference.speaker in seen_speakers else (1, "not in training")

    return {"duration": duration, f"reference length in {unit}": length, "speaker": speaker}


def _range(position: int, edges: Sequence[float], unit: str, step: int = 0) -> str:
    """Return the name of a range between two edges. With a step of 1, ranges of integers include their upper edge."""
    if position == 0:
        return f"up to {edges[0]:g} {unit}"
    if position == len(edges):
        return f"over {edges[-1]:g} {unit}"
    return f"{edges[position - 1] + step:g}–{edges[position]:g} {unit}"


def _breakdown(
    records: Records, measured: Sequence[MetricStatistics], group_of: GroupOf, samples: int, seed: int
) -> list[dict[str, Any]]:
    """Return the metrics of each group, with the interval of BLEU, in order; empty if no sentence has a group."""
    groups: dict[Group, list[int]] = {}
    for index, (_, reference) in enumerate(records.rows):
        group = group_of(reference)
        if group is not None:
            groups.setdefault(group, []).append(index)
    return [
        {"group": name, "n": len(indices)}
        | {item.metric.name: item.value(indices) for item in measured}
        | {
            "intervals": {
                item.metric.name: interval(item.metric, item.sums_NK[indices], samples=samples, seed=seed)
                for item in measured
                if item.metric.name == "BLEU"  # which reports plot
            }
        }
        for (_, name), indices in sorted(groups.items())
    ]
