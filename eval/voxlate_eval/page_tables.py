"""Tables of a report page: scores beside published ones, other metrics, significance, and checks of hypotheses."""

from collections.abc import Sequence
from typing import Any

from voxlate_eval.ranking import SIGNIFICANT
from voxlate_eval.run_comparison import SAMPLES, DirectionRanking
from voxlate_eval.strict_json import one_line
from voxlate_eval.tables import TOLERANCE, Cell, EvaluatedRun, Tables

_ABOUT_CHECKS = (
    (
        "failed: the audio could not be read, counted as an empty hypothesis; empty: no text; loops: a phrase five"
        " or more times in a row; length outliers: less than half or more than twice the reference's characters."
    ),
    (
        "other language: % of hypotheses that py3langid assigns to another language than the target; the % of the"
        " references shows how often it is wrong."
    ),
)
_KINDS = {"reproduced": "same", "above": "good", "below": "bad"}


def score_table(tables: Tables) -> dict[str, Any]:
    """Return one column per system; intervals, or the difference from our score with its verdict, are beneath."""
    first = tables.columns[0]
    lines = []
    for row in tables.rows:
        cells = []
        for column in tables.columns:
            mine = first.cells.get(row.key) if not column.is_ours else None
            cells.append(_score_cell(column.cells.get(row.key), mine))
        lines.append({"label": one_line(row.label), "is_average": bool(row.members), "cells": cells})
    columns = [{"title": one_line(column.title), "is_ours": column.is_ours} for column in tables.columns]
    about = "Beneath our scores: half of the 95 % interval (bootstrap)."
    if len(tables.columns) > len(tables.runs):
        about += f" Beneath published scores: {one_line(first.title)} minus the published score"
        about += f"; reproduced: within {TOLERANCE}; in parentheses: not comparable, for reasons in the notes (*)."
    return {"columns": columns, "lines": lines, "about": about}


def _score_cell(cell: Cell | None, mine: Cell | None) -> dict[str, Any]:
    if cell is None:
        return {"text": "–", "sort": "", "title": "", "beneath": "", "kind": "none"}
    beneath = f"±{(cell.high - cell.low) / 2:.1f}" if cell.low is not None and cell.high is not None else ""
    verdict = cell.verdict or ""
    if mine:
        difference = f"{round(mine.value, 1) - round(cell.value, 1):+.1f}".replace("-", "−")
        beneath = f"{difference} {verdict}" if verdict in _KINDS else f"({difference})"
    text = f"{cell.value:.1f}{'*' if cell.doubt else ''}"
    title = cell.doubt or (verdict if verdict not in _KINDS else "")
    return {"text": text, "sort": cell.value, "title": title, "beneath": beneath, "kind": _KINDS.get(verdict, "")}


def metric_table(runs: Sequence[EvaluatedRun]) -> dict[str, Any] | None:
    """Return the metrics other than BLEU with their intervals, one column for each metric of each run."""
    columns = [
        (run, name)
        for name in dict.fromkeys(name for run in runs for found in run.scores.values() for name in found["metrics"])
        if name != "BLEU"
        for run in runs
        if any(name in found["metrics"] for found in run.scores.values())
    ]
    if not columns:
        return None
    header = ["direction", *(f"{name}, {one_line(run.name)}" if len(runs) > 1 else name for run, name in columns)]
    lines = []
    for direction in dict.fromkeys(direction for run in runs for direction in run.scores):
        cells = [{"text": one_line(direction.replace("-", "→")), "sort": None}]
        for run, name in columns:
            metric = run.scores[direction]["metrics"].get(name) if direction in run.scores else None
            half = (metric["high"] - metric["low"]) / 2 if metric else 0
            text = f"{metric['value']:.1f} ±{half:.1f}" if metric else "–"
            cells.append({"text": text, "sort": metric["value"] if metric else ""})
        lines.append(cells)
    metrics = [metric for run in runs for found in run.scores.values() for metric in found["metrics"].items()]
    about = sorted({f"{name}: {metric['about']}" for name, metric in metrics if metric.get("about")})
    signatures = sorted({f"{name}: {metric['signature']}" for name, metric in metrics if name != "BLEU"})
    return {"header": header, "lines": lines, "notes": [one_line(note) for note in (*about, *signatures)]}


def significance_tables(rankings: Sequence[DirectionRanking]) -> dict[str, Any] | None:
    """Return the clusters of runs and the differences of all pairs, one line for each direction."""
    if not rankings:
        return None
    lines = []
    for found in rankings:
        ranking, pairs = found.ranking, []
        clusters = [] if ranking is None else ranking.clusters
        for pair in [] if ranking is None else ranking.pairs:
            test = pair.comparison
            span = f"{test.difference:+.1f} [{test.low:+.1f}, {test.high:+.1f}], p {_p(pair.p_holm)}"
            names = f"{found.names[pair.a]} − {found.names[pair.b]}"
            pairs.append(
                {"names": one_line(names), "text": span.replace("-", "−"), "is_significant": pair.is_significant}
            )
        ranked = [
            [f"{found.names[run]} {ranking.values[run]:.1f}" for run in cluster] for cluster in clusters if ranking
        ]
        label = one_line(found.direction.replace("-", "→"))
        lines.append({"label": label, "clusters": ranked, "pairs": pairs, "problem": one_line(found.problem)})
    note = (
        f"Approximate randomization of BLEU, {SAMPLES:,} samples, two-sided, p-values with Holm's correction for the "
        f"pairs of a direction. Runs of one cluster cannot be distinguished (p ≥ {SIGNIFICANT}); bold differences are "
        "significant. Intervals: 95 %, paired bootstrap."
    )
    return {"lines": lines, "note": note}


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def check_table(runs: Sequence[EvaluatedRun]) -> dict[str, Any]:
    """Return the table of checks of hypotheses."""
    several = len(runs) > 1
    header = [*(["run"] if several else []), "direction", "n", "official"]
    header += ["failed", "empty", "loops", "length outliers", "length ratio", "other language", "(of references)"]
    lines = []
    for run in runs:
        for direction, found in run.scores.items():
            suspicious = found["hypotheses"]
            counts = [suspicious[name]["n"] for name in ("failed", "empty", "loops", "length_outliers")]
            shares = [_share(suspicious[name]) for name in ("off_target", "off_target_of_references")]
            row = [*([run.name] if several else []), direction.replace("-", "→"), found["n"], found["official_n"]]
            lines.append([_plain(value) for value in [*row, *counts, suspicious["length_ratio"], *shares]])
    return {"header": header, "lines": lines, "notes": list(_ABOUT_CHECKS)}


def _share(found: dict[str, Any] | None) -> float | None:
    return 100 * found["wrong"] / found["n"] if found and found["n"] else None


def _plain(value: Any) -> dict[str, Any]:
    if value is None:
        return {"text": "–", "sort": ""}
    if isinstance(value, float):
        return {"text": f"{value:.2f}", "sort": value}
    return {"text": f"{value:,}" if isinstance(value, int) else one_line(str(value)), "sort": value}
