"""Scores of one direction: metrics with intervals and signatures, counts, what is suspicious, and breakdowns."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from voxlate_eval import EvaluationError
from voxlate_eval.checks import is_loop, length_outlier, off_target
from voxlate_eval.metrics import METRICS, Metric, Sums, make_metric, statistics
from voxlate_eval.policy import CHARACTERS, tokenizers
from voxlate_eval.records import Records, Reference
from voxlate_eval.significance import interval
from voxlate_eval.strict_json import shown

DEFAULT_METRICS = ("bleu", "chrf")
SCORES, SENTENCES = "scores.json", "sentences.jsonl"  # of a direction, in a folder of its own
_SECONDS = (2.0, 4.0, 6.0, 8.0)
_WORDS = (5, 10, 15, 20)
_CHARACTERS = (10, 20, 30, 40)


@dataclass(frozen=True)
class Measured:
    """A metric with the sums of each sentence, (N, K): what tests and breakdowns start from."""

    metric: Metric
    sums_NK: Sums

    def value(self, chosen: Sequence[int] | slice = slice(None)) -> float:
        """Return the metric of some sentences, or of all."""
        return self.metric.value(self.sums_NK[chosen].sum(axis=0))

    def sentence(self, index: int) -> float:
        """Return the metric of one sentence."""
        return self.metric.value(self.sums_NK[index])


def measure(
    records: Records, metrics: Iterable[str], tokenize: str | None = None, *, workers: int = 1
) -> list[Measured]:
    """Compute metrics by name; `tokenize` is BLEU's, else the policy's for the target language."""
    made = [
        make_metric(name, records.target_language, tokenize if name == "bleu" else None)
        for name in dict.fromkeys(name.strip().lower() for name in metrics)
    ]
    if not made:
        raise EvaluationError(f"no metric is named; expected some of {', '.join(METRICS)}")
    texts = records.hypotheses, records.references, records.sources
    return [Measured(metric, statistics(metric, *texts, workers=workers)) for metric in made]


def score(
    records: Records,
    measured: Sequence[Measured],
    *,
    samples: int = 1000,
    seed: int = 1,
    seen_speakers: Collection[str] | None = None,
) -> dict[str, Any]:
    """Return everything there is to say of a system's hypotheses, as JSON holds it.

    `seen_speakers` are those of the training data, where they are known.
    """
    n, official = len(records.rows), records.official_n
    return {
        "direction": records.direction,
        "target_language": records.target_language,
        "split": records.split,
        "n": n,
        "official_n": official,
        "metrics": {item.metric.name: _with_interval(item, samples, seed) for item in measured},
        "hypotheses": _suspicious(records),
        "breakdown": {
            title: _breakdown(records, measured, key) for title, key in _keys(records, seen_speakers).items()
        },
        "files": {"hypotheses": shown(records.hypotheses_path), "references": shown(records.references_path)},
        "recipe": records.meta,
    }


def sentence_rows(records: Records, measured: Sequence[Measured]) -> Iterator[dict[str, Any]]:
    """Yield what a reader of single sentences needs: all texts, the clip, and chrF of the sentence."""
    chrf = next(item for item in measured if item.metric.name == "chrF")
    for index, (hypothesis, reference) in enumerate(records.rows):
        audio = None if reference.audio is None else shown(records.references_path.parent.absolute() / reference.audio)
        row = {
            "id": reference.id,
            "source": reference.source_text,
            "reference": reference.target_text,
            "hypothesis": hypothesis.text,
            "error": hypothesis.error,
            "chrF": round(chrf.sentence(index), 2),
            "seconds": reference.seconds,
            "speaker": reference.speaker,
            "audio": audio,
        }
        yield {name: value for name, value in row.items() if value is not None}


def _with_interval(item: Measured, samples: int, seed: int) -> dict[str, Any]:
    low, high = interval(item.metric, item.sums_NK, samples=samples, seed=seed)
    return {
        "value": item.value(),
        "low": low,
        "high": high,
        "signature": item.metric.signature,
        "about": item.metric.about,
        "interval": f"95 %, bootstrap, {samples} samples, seed {seed}",
    }


def _suspicious(records: Records) -> dict[str, Any]:
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
        "failed": _named(failed),
        "empty": _named(empty),
        "loops": _named(loops),
        "length_outliers": _named(lengths),
        "length_ratio": sum(map(len, records.hypotheses)) / characters if characters else None,
        "off_target": off_target(records.hypotheses, records.target_language),
        "off_target_of_references": off_target(records.references, records.target_language),
    }


def _named(ids: list[str]) -> dict[str, Any]:
    return {"n": len(ids), "first": ids[:5]}


Group = tuple[int, str]  # place among the groups, name
Key = Callable[[Reference], Group | None]


def _keys(records: Records, seen_speakers: Collection[str] | None) -> dict[str, Key]:
    """Return by what sentences are grouped; a key answers None where nothing is known of a sentence."""
    in_characters = tokenizers(records.target_language)[0] == CHARACTERS
    edges, unit = (_CHARACTERS, "characters") if in_characters else (_WORDS, "words")

    def duration(reference: Reference) -> Group | None:
        if reference.seconds is None:
            return None
        place = int(np.searchsorted(_SECONDS, reference.seconds, side="right"))
        return place, _range(place, _SECONDS, "s")

    def length(reference: Reference) -> Group:
        count = len(reference.target_text if in_characters else reference.target_text.split())
        place = int(np.searchsorted(edges, count, side="left"))
        return place, _range(place, edges, unit, step=1)

    def speaker(reference: Reference) -> Group | None:
        if reference.speaker is None or seen_speakers is None:
            return None
        return (0, "in training") if reference.speaker in seen_speakers else (1, "not in training")

    return {"duration": duration, f"reference length in {unit}": length, "speaker": speaker}


def _range(place: int, edges: Sequence[float], unit: str, step: int = 0) -> str:
    """Name a range between two edges; with a step, the upper edge belongs to it."""
    if place == 0:
        return f"up to {edges[0]:g} {unit}"
    if place == len(edges):
        return f"over {edges[-1]:g} {unit}"
    return f"{edges[place - 1] + step:g}–{edges[place]:g} {unit}"


def _breakdown(records: Records, measured: Sequence[Measured], key: Key) -> list[dict[str, Any]]:
    """Return metrics of each group, in their order; none where nothing is known."""
    groups: dict[Group, list[int]] = {}
    for index, (_, reference) in enumerate(records.rows):
        group = key(reference)
        if group is not None:
            groups.setdefault(group, []).append(index)
    return [
        {"group": name, "n": len(chosen)} | {item.metric.name: item.value(chosen) for item in measured}
        for (_, name), chosen in sorted(groups.items())
    ]
