"""Score hypotheses for ``voxlate score`` and ``evaluate``."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from os import cpu_count
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from voxlate.errors import VoxlateError
from voxlate.evaluation.hypothesis_tables import read_hypotheses
from voxlate.evaluation.references import language_code, read_references, transcripts
from voxlate.files import write_text
from voxlate.progress import stderr
from voxlate_eval.records import Records, join
from voxlate_eval.score import (
    DEFAULT_METRICS,
    SCORES,
    SENTENCES,
    MetricStatistics,
    compute_statistics,
    score,
    sentence_rows,
)
from voxlate_eval.strict_json import path_text


@dataclass(frozen=True)
class Scoring:
    """The scoring options of the command line."""

    metrics: Sequence[str] = DEFAULT_METRICS
    tokenize: str | None = None
    target_language: str | None = None
    samples: int = 1000
    seed: int = 1
    seen_in: Sequence[Path] = ()  # training manifests, whose speakers are scored separately
    transcripts: bool = False  # score transcripts, not translations
    resegment: bool = False  # hypotheses are the translation of one recording, references its sentences


def score_files(hypotheses: Path, references: Path, scoring: Scoring, output: Path | None) -> int:
    """Score a file of hypotheses; print a table, and write all results to `output` and a file of sentences next to it.

    If `output` is RUN/DIRECTION/scores.json, `voxlate report RUN` shows both.
    """
    records, measured = measure(hypotheses, references, scoring)
    scores = _score(records, measured, scoring)
    print_scores([scores])
    if output is not None:
        sentences = output.with_name(SENTENCES if output.name == SCORES else f"{output.stem}.{SENTENCES}")
        _write_results(records, measured, scores, output, sentences)
        stderr().print(f"wrote {path_text(output)} and {path_text(sentences)}", markup=False, soft_wrap=True)
    return 0


def evaluate_folder(records: Records, scoring: Scoring, folder: Path) -> dict[str, Any]:
    """Score the hypotheses of `voxlate evaluate`; write scores and sentences next to them."""
    measured = compute_statistics(
        records, dict.fromkeys([*scoring.metrics, "chrf"]), scoring.tokenize, workers=cpu_count() or 1
    )
    scores = _score(records, measured, scoring)
    _write_results(records, measured, scores, folder / SCORES, folder / SENTENCES)
    return scores


def _write_results(
    records: Records, measured: Sequence[MetricStatistics], scores: dict[str, Any], path: Path, sentences: Path
) -> None:
    """Write scores, and the sentences with the chrF of each."""
    chrf = [item for item in measured if item.metric.name == "chrF"] or compute_statistics(records, ["chrf"])
    rows = sentence_rows(records, chrf[0])
    write_text(sentences, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    write_text(path, as_json(scores))


def as_json(results: dict[str, Any]) -> str:
    """Return results as the text of a JSON file."""
    return json.dumps(results, indent=1, ensure_ascii=False) + "\n"


def is_chosen(direction: str, patterns: Sequence[str]) -> bool:
    """Return whether a direction matches one of the patterns, such as fr-en, x-en, en-x or all."""
    globs = {"all": "*", "x-en": "*-en", "en-x": "en-*"}
    return any(fnmatch(direction, globs.get(pattern.strip().lower(), pattern.strip().lower())) for pattern in patterns)


def print_scores(scores: Sequence[dict[str, Any]]) -> None:
    """Print a table of scores with intervals, and the signatures of metrics; print warnings to standard error."""
    names = list(dict.fromkeys(name for result in scores for name in result["metrics"]))
    table = Table("direction", "n", "official", *names)
    for result in scores:
        official = "" if result["official_n"] is None else f"{result['official_n']:,}"
        cells = [_cell(result["metrics"].get(name)) for name in names]
        table.add_row(result["direction"] or f"?-{result['target_language']}", f"{result['n']:,}", official, *cells)
    console = output_console()
    console.print(table)
    print_metrics(console, [metric for result in scores for metric in result["metrics"].items()])
    for result in scores:
        if found := result["recipe"].get("resegmentation"):
            console.print(
                f"{result['direction'] or result['target_language']}: resegmented: {found['recordings']:,} recordings "
                f"into {found['sentences']:,} reference sentences ({found['method']}, by {found['units']})"
            )
    console.print("[low, high]: 95 % interval by bootstrap; n: sentences; official: sentences of the official split")
    for result in scores:
        for line in _remarks(result):
            stderr().print(f"{result['direction'] or result['target_language']}: {line}")


def output_console() -> Console:
    """Return a console on standard output that prints text verbatim, without markup and emoji codes."""
    return Console(highlight=False, markup=False, emoji=False, soft_wrap=True)


def print_metrics(console: Console, metrics: Sequence[tuple[str, dict[str, Any]]]) -> None:
    """Print the signatures and the descriptions of metrics."""
    for name, signature in sorted({(name, metric["signature"]) for name, metric in metrics}):
        console.print(f"{name}: {signature}")
    for name, about in {name: metric["about"] for name, metric in metrics}.items():
        console.print(f"{name}: {about}")


def _cell(metric: dict[str, Any] | None) -> Text:
    if metric is None:
        return Text()
    return Text.assemble(f"{metric['value']:.2f} ", (f"[{metric['low']:.1f}, {metric['high']:.1f}]", "dim"))


def _remarks(scores: dict[str, Any]) -> list[str]:
    """Return warnings that a reader of the scores should see."""
    remarks = []
    if scores["official_n"] not in (None, scores["n"]):
        remarks.append(
            f"{scores['n']:,} sentences, the official split has {scores['official_n']:,}: not comparable with scores "
            "on that"
        )
    suspicious = scores["hypotheses"]
    for name in ("failed", "empty", "loops", "length_outliers"):
        if suspicious[name]["n"]:
            first = ", ".join(suspicious[name]["first"])
            remarks.append(f"{suspicious[name]['n']:,} {name.replace('_', ' ')}: {first}")
    off, control = suspicious["off_target"], suspicious["off_target_of_references"]
    if off and control and off["wrong"] > 2 * control["wrong"] + 2:
        remarks.append(
            f"{off['wrong']:,} of {off['n']:,} seem to be in another language ({_counted(off['languages'])}); of the "
            f"references {control['wrong']:,}"
        )
    return remarks


def _counted(languages: dict[str, int]) -> str:
    return ", ".join(f"{language} {count}" for language, count in languages.items())


def measure(hypotheses: Path, references: Path, scoring: Scoring) -> tuple[Records, list[MetricStatistics]]:
    """Join hypotheses with references, and compute the statistics of metrics."""
    expected = read_references(references)
    expected = transcripts(expected) if scoring.transcripts else expected
    language = language_code(scoring.target_language)
    records = join(read_hypotheses(hypotheses), expected, language, resegment=scoring.resegment)
    return records, compute_statistics(records, scoring.metrics, scoring.tokenize, workers=cpu_count() or 1)


def _score(records: Records, measured: Sequence[MetricStatistics], scoring: Scoring) -> dict[str, Any]:
    speakers = {
        row.speaker for path in scoring.seen_in for row in read_references(path).rows if row.speaker is not None
    }
    if scoring.seen_in and not speakers:
        raise VoxlateError(f"--seen-in {scoring.seen_in[0]}: names no speaker; expected a manifest with that column")
    return score(
        records, measured, samples=scoring.samples, seed=scoring.seed, seen_speakers=speakers if speakers else None
    )
