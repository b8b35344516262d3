"""Significance tests between runs, from their sentences: which runs differ in BLEU, for each direction."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import cpu_count

from voxlate_eval import EvaluationError
from voxlate_eval.long_work import ProgressBar, no_progress
from voxlate_eval.metrics import Sums, make_metric, statistics
from voxlate_eval.ranking import Ranking, rank
from voxlate_eval.score_files import read_sentences
from voxlate_eval.tables import EvaluatedRun

SAMPLES = 1000  # of each test; the standard error of a p-value is 0.016 at most
_AGREEMENT = 0.01  # BLEU; scores and sentences that differ by more do not belong together


@dataclass(frozen=True)
class DirectionRanking:
    """The runs of a direction with their ranking, or the reason why there is none."""

    direction: str
    names: list[str]
    ranking: Ranking | None = None
    problem: str = ""


def compare_runs(
    runs: Sequence[EvaluatedRun], samples: int = SAMPLES, progress: ProgressBar = no_progress
) -> list[DirectionRanking]:
    """Rank the runs of every direction that at least two of them have."""
    directions = dict.fromkeys(direction for run in runs for direction in run.scores)
    shared = [(name, [run for run in runs if name in run.scores]) for name in directions]
    several = [(name, found) for name, found in shared if len(found) > 1]
    with progress("test sets compared", sum(len(found) for _, found in several)) as advance:
        return [_rank(direction, found, samples, advance) for direction, found in several]


def _rank(
    direction: str, runs: Sequence[EvaluatedRun], samples: int, advance: Callable[[int], None]
) -> DirectionRanking:
    names = [run.name for run in runs]
    missing = [run.name for run in runs if direction not in run.sentences]
    if missing:
        return DirectionRanking(direction, names, problem=f"{missing[0]} has no sentences.jsonl")
    signatures = {run.scores[direction]["metrics"]["BLEU"]["signature"] for run in runs}
    if len(signatures) > 1:
        return DirectionRanking(direction, names, problem="the signatures of BLEU differ")
    texts = [
        [(row["id"], row["reference"], row["hypothesis"]) for row in read_sentences(run.sentences[direction])]
        for run in runs
    ]
    if any([row[:2] for row in rows] != [row[:2] for row in texts[0]] for rows in texts) or not texts[0]:
        return DirectionRanking(direction, names, problem="the runs have different references")
    [signature] = signatures
    tokenizer = dict(part.partition(":")[::2] for part in signature.split("|")).get("tok")
    try:
        metric = make_metric("bleu", runs[0].scores[direction]["target_language"], tokenizer)
    except EvaluationError as error:
        return DirectionRanking(direction, names, problem=str(error))
    sums: list[Sums] = []
    for run, rows in zip(runs, texts, strict=True):
        hypotheses, references = [row[2] for row in rows], [row[1] for row in rows]
        sums.append(statistics(metric, hypotheses, references, workers=cpu_count() or 1))
        advance(1)
        stated = run.scores[direction]["metrics"]["BLEU"]["value"]
        if abs(metric.value(sums[-1].sum(axis=0)) - stated) > _AGREEMENT:
            problem = f"scores.json and sentences.jsonl of {run.name} do not belong together"
            return DirectionRanking(direction, names, problem=problem)
    return DirectionRanking(direction, names, rank(metric, sums, samples=samples))
