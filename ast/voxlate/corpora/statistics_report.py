"""Show the statistics of manifests: a table, JSON, and a picture as SVG."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from voxlate.corpora.manifest_statistics import Floats, ManifestGroup, manifest_groups
from voxlate.errors import VoxlateError
from voxlate.files import atomic_file, write_text

_SHOWN_IDS = 3
_DRAWN = 8  # groups, those with most clips
_COLORS = ("#0b6e99", "#d9730d", "#6940a5", "#0f7b6c", "#ad1a72", "#64473a", "#777777", "#b8860b")


def describe_manifests(paths: Sequence[Path], output: Path | None, *, check_audio: bool, workers: int) -> str:
    """Return a table of the statistics of manifests; write them to `output`, and a picture next to it, if given.

    VoxlateError if a manifest cannot be read, or if the suffix of the output is not .json.
    """
    if output is not None and output.suffix.lower() != ".json":
        raise VoxlateError(f"--output {output}: expected a file that ends in .json; the picture is written next to it")
    groups = manifest_groups(paths, check_audio=check_audio, workers=workers)
    if output is not None:
        report = {
            "manifests": list(map(str, paths)),
            "audio_checked": check_audio,
            "groups": [g.report() for g in groups],
        }
        write_text(output, json.dumps(report, indent=1, ensure_ascii=False) + "\n")
        with atomic_file(output.with_suffix(".svg")) as part:
            _draw(groups, part)
    lines = [_table(groups), *_suspicious_lines(groups)]
    if not check_audio:
        lines.append("silence was not searched for; --check-audio reads all clips")
    return "\n".join(lines)


def _table(groups: Sequence[ManifestGroup]) -> str:
    """Return the clips, hours and lengths of all groups as aligned columns."""
    spans = ("seconds", "characters", "characters/s")
    lines = [("", "split", "clips", "hours", "errors", "speakers", *(f"{span} 5|50|95%" for span in spans))]
    for group in groups:
        report = group.report()
        counts = [f"{report[name]:,}" for name in ("clips", "errors", "speakers")]
        counts.insert(1, f"{report['hours']:,.2f}")
        lengths = [_span(report[name]) for name in ("seconds", "characters", "characters_per_second")]
        lines.append((group.direction, group.split, *counts, *lengths))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    sides = [str.ljust, str.ljust, *[str.rjust] * (len(widths) - 2)]
    rows = [[side(cell, width) for side, cell, width in zip(sides, line, widths, strict=True)] for line in lines]
    return "\n".join("  ".join(row).rstrip() for row in rows)


def _span(quantiles: dict[str, float] | None) -> str:
    return " | ".join(f"{quantiles[name]:.1f}" for name in ("5%", "50%", "95%")) if quantiles else "unknown"


def _suspicious_lines(groups: Sequence[ManifestGroup]) -> list[str]:
    """Return a line for each kind of suspicious rows of each group, with their first ids."""
    lines = []
    for group in groups:
        for reason, entry in group.suspicious.items():
            first = ", ".join(entry["first"][:_SHOWN_IDS]) + (", …" if entry["count"] > _SHOWN_IDS else "")
            lines.append(f"{entry['count']:,} of {group.direction} {group.split}: {reason} ({first})")
    return lines or ["no suspicious rows"]


def _draw(groups: Sequence[ManifestGroup], path: Path) -> None:
    """Draw the distributions of durations, text lengths and characters per second of the largest groups."""
    import matplotlib as mpl  # noqa: PLC0415 (takes half a second)
    from matplotlib.figure import Figure  # noqa: PLC0415

    shown = sorted(groups, key=lambda group: -len(group.ids))[:_DRAWN]
    style: Any = {"svg.fonttype": "none", "svg.hashsalt": "voxlate", "font.family": "sans-serif", "font.size": 9}
    with mpl.rc_context(style):
        figure = Figure(figsize=(10, 3.4), layout="constrained")
        panels = figure.subplots(1, 3)
        titles = ("Seconds per clip", "Characters per target text", "Characters per second")
        values = [[group.seconds_N, group.characters_N, group.rates] for group in shown]
        for number, (axes, title) in enumerate(zip(panels, titles, strict=True)):
            _draw_histograms(axes, [value[number] for value in values])
            axes.set_title(title, fontsize=9)
            axes.set_ylabel("Share of clips (%)" if not number else "")
            axes.spines[["top", "right"]].set_visible(False)
        labels = [f"{group.direction} {group.split} ({len(group.ids):,})".replace("$", "\\$") for group in shown]
        handles = [mpl.lines.Line2D([], [], color=color) for color in _COLORS[: len(shown)]]
        figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
        figure.savefig(path, format="svg", metadata={"Date": None, "Title": "Lengths of clips and texts"})


def _draw_histograms(axes: Any, groups: Sequence[Floats]) -> None:
    """Draw one line per group over common bins, up to the 99.5 % quantile of all."""
    known = [values_N[np.isfinite(values_N)] for values_N in groups]
    if not any(map(len, known)):
        axes.text(0.5, 0.5, "unknown", ha="center", transform=axes.transAxes)
        return
    edges = np.linspace(0, max(float(np.quantile(np.concatenate(known), 0.995)), 1e-6), 41)
    for color, values_N in zip(_COLORS, known, strict=False):
        if len(values_N):
            counts, _ = np.histogram(np.clip(values_N, 0, edges[-1]), edges)
            axes.stairs(100 * counts / len(values_N), edges, color=color, linewidth=1.2)
    axes.set_xlim(0, edges[-1])
    axes.set_ylim(bottom=0)
