"""Compare files of hypotheses for ``voxlate compare``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from voxlate.errors import VoxlateError
from voxlate.evaluation.scoring import Scoring, as_json, measure, output_console, print_metrics
from voxlate.files import write_text
from voxlate_eval.comparison import compare_all, compare_systems
from voxlate_eval.ranking import SIGNIFICANT

_ABOUT_P = (
    "A - B is in points of the metric. p is the probability that two equally good systems differ by at least as much "
    "by chance; values below 0.05 are commonly called significant. Tests: paired bootstrap (Koehn 2004) and "
    "approximate randomization (Riezler and Maxwell 2005), {samples:,} samples each, two-sided."
)
_ABOUT_CLUSTERS = (
    "Rows minus columns, in points of the metric; * marks differences with p < {level} (approximate randomization, "
    "{samples:,} samples, two-sided, with Holm's correction for {pairs} pairs). Systems of one cluster cannot be "
    "distinguished: every system of a better cluster differs significantly from every system of a worse one."
)
_MANY = 26  # systems that have a letter


def compare_files(paths: Sequence[Path], references: Path, scoring: Scoring, shown: int, output: Path | None) -> int:
    """Compare files of hypotheses; print tables, and write all results to `output` as JSON."""
    if not 2 <= len(paths) <= _MANY:
        raise VoxlateError(f"{len(paths)} file{'s' * (len(paths) != 1)} of hypotheses; expected 2 to {_MANY}")
    systems = [measure(path, references, scoring) for path in paths]
    options: dict[str, Any] = {"samples": scoring.samples, "seed": scoring.seed, "sentences": shown}
    if len(systems) == 2:
        (first, of_first), (second, of_second) = systems
        comparison = compare_systems(first, second, list(zip(of_first, of_second, strict=True)), **options)
    else:
        comparison = compare_all([records for records, _ in systems], [measured for _, measured in systems], **options)
    if output is not None:
        write_text(output, as_json(comparison))
    if len(systems) == 2:
        _print_pair(comparison)
    else:
        _print_all(comparison)
    return 0


def _print_pair(comparison: dict[str, Any]) -> None:
    console = output_console()
    console.print(f"A {comparison['a']}\nB {comparison['b']}\n{comparison['n']:,} sentences")
    table = Table("", "A", "B", "A - B", "95 % interval", "p (bootstrap)", "p (randomization)")
    for name, metric in comparison["metrics"].items():
        numbers = (f"{metric[key]:.2f}" for key in ("a", "b"))
        span = f"[{metric['low']:+.2f}, {metric['high']:+.2f}]"
        p_values = (f"{metric[key]:.4f}" for key in ("p_bootstrap", "p_randomization"))
        table.add_row(name, *numbers, f"{metric['difference']:+.2f}", span, *p_values)
    console.print(table)
    print_metrics(console, [*comparison["metrics"].items()])
    console.print(_ABOUT_P.format(samples=next(iter(comparison["metrics"].values()))["samples"]))
    for side, title in (
        ("a_better", "Sentences for which A is better"),
        ("b_better", "Sentences for which B is better"),
    ):
        if comparison["sentences"][side]:
            console.print(f"\n{title} (by chrF)", style="bold")
        for row in comparison["sentences"][side]:
            console.print(f"{row['id']}  {row['difference']:+.1f}", style="dim")
            for label, text in (("reference", row["reference"]), ("A", row["a"]), ("B", row["b"])):
                console.print(f"  {label:9} {text}")


def _print_all(comparison: dict[str, Any]) -> None:
    """Print a matrix of differences for each metric, its clusters, and the sentences that differ most."""
    console = output_console()
    letters = [chr(ord("A") + number) for number in range(len(comparison["systems"]))]
    for letter, system in zip(letters, comparison["systems"], strict=True):
        console.print(f"{letter} {system}")
    console.print(f"{comparison['n']:,} sentences")
    for name, metric in comparison["metrics"].items():
        order = [system for cluster in metric["clusters"] for system in cluster]
        cluster_of = {system: rank for rank, cluster in enumerate(metric["clusters"], 1) for system in cluster}
        table = Table("", "cluster", name, *(letters[system] for system in order))
        for row in order:
            cells = [_difference(metric, row, column) for column in order]
            table.add_row(letters[row], str(cluster_of[row]), f"{metric['values'][row]:.2f}", *cells)
        console.print(table)
    metrics = comparison["metrics"]
    print_metrics(console, [*metrics.items()])
    pairs = next(iter(metrics.values()))["pairs"]
    console.print(_ABOUT_CLUSTERS.format(level=SIGNIFICANT, samples=pairs[0]["samples"], pairs=len(pairs)))
    if comparison["sentences"]:
        console.print("\nSentences that differ most (by chrF)", style="bold")
    for row in comparison["sentences"]:
        console.print(f"{row['id']}  {row['spread']:.1f}", style="dim")
        for label, text in (("reference", row["reference"]), *zip(letters, row["hypotheses"], strict=True)):
            console.print(f"  {label:9} {text}")


def _difference(metric: Mapping[str, Any], row: int, column: int) -> str:
    """Return the difference of two systems for a table, marked if it is significant."""
    if row == column:
        return ""
    a, b = sorted((row, column))
    pair = next(pair for pair in metric["pairs"] if (pair["a"], pair["b"]) == (a, b))
    difference = pair["difference"] if row == a else -pair["difference"]
    return f"{difference:+.2f}{'*' if pair['p_holm'] < SIGNIFICANT else ''}"
