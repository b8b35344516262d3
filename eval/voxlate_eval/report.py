"""Reports of runs: tables as Markdown, CSV and LaTeX, and a self-contained HTML page."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from voxlate_eval import plots
from voxlate_eval.examples import as_script, read_examples
from voxlate_eval.formats import as_csv, as_latex, as_markdown, grid, notes
from voxlate_eval.page_clips import IsPlayable, PageClips
from voxlate_eval.tables import Cell, EvaluatedRun, Tables, make_tables

_PAGE = Path(__file__).parent / "page"
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
_KINDS = {"reproduced": "good", "above": "good", "below": "bad"}


def write_report(
    runs: Sequence[Path],
    output: Path,
    against: Sequence[str],
    *,
    sentences: int = 100,
    embed_bytes: int = 20 << 20,
    link: bool = True,
    clip_folders: Sequence[Path] = (),
    is_playable: IsPlayable | None = None,
) -> list[Path]:
    """Write tables.md, tables.csv, tables.tex and report.html for runs; return their paths.

    `against` lists published systems to compare with. The page shows `sentences` sentences per direction: the worst,
    and as many at random. Clips are embedded up to `embed_bytes` in total; others are linked unless `link` is false.
    Only files below the manifests' folders and `clip_folders` are shown, and only those for which `is_playable`
    returns true; without it, no clip is shown.
    """
    tables = make_tables(runs, against)
    clips = PageClips(output if link else None, embed_bytes, clip_folders, is_playable)
    output.mkdir(parents=True, exist_ok=True)
    texts = {
        "tables.md": as_markdown(tables),
        "tables.csv": as_csv(tables),
        "tables.tex": as_latex(tables),
        "report.html": _page(tables, clips, sentences),
    }
    for name, text in texts.items():
        (output / name).write_text(text, encoding="utf-8", newline="\n")
    return [output / name for name in texts]


def _page(tables: Tables, clips: PageClips, sentences: int) -> str:
    environment = Environment(
        loader=PackageLoader("voxlate_eval", "page"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    header, *_ = grid(tables)
    examples = read_examples(tables.runs, clips, sentences)
    return environment.get_template("report.html.jinja").render(
        title=f"Speech translation: {', '.join(run.name for run in tables.runs)}",
        summary=_summary(tables),
        css=Markup((_PAGE / "report.css").read_text(encoding="utf-8")),  # noqa: S704 (our own files)
        js=Markup((_PAGE / "report.js").read_text(encoding="utf-8")),  # noqa: S704
        header=header,
        lines=[{"is_average": bool(row.members), "cells": cells} for row, cells in _lines(tables)],
        notes=notes(tables),
        plots=_plots(tables),
        checks=_checks(tables.runs),
        sentences_note=examples.note,
        data=Markup(as_script(examples.sets)),  # noqa: S704 (escaped for a script element)
        recipes=[{"name": run.name, "recipe": _recipe(run)} for run in tables.runs],
    )


def _summary(tables: Tables) -> str:
    directions = [row for row in tables.rows if not row.members]
    count = sum(found["n"] for run in tables.runs for found in run.scores.values())
    runs = f"{len(tables.runs)} runs" if len(tables.runs) > 1 else "One run"
    return f"{runs}, {len(directions)} directions, {count:,} sentences."


def _lines(tables: Tables) -> Iterable[tuple[Any, list[dict[str, Any]]]]:
    """Yield each row with its cells: text, sort key, tooltip and CSS class."""
    for row, texts in zip(tables.rows, grid(tables)[1:], strict=True):
        values: list[Cell | str | None] = [row.label]
        for column in tables.columns:
            cell = column.cells.get(row.key)
            values += [cell] if column.is_ours else [cell, "difference", "verdict"]
        yield row, [_cell(text, value) for text, value in zip(texts, values, strict=True)]


def _cell(text: str, value: Cell | str | None) -> dict[str, Any]:
    if isinstance(value, Cell):
        return {"text": text, "sort": value.value, "title": value.doubt or "", "kind": "number"}
    if value == "difference":
        return {"text": text, "sort": text, "title": "", "kind": "number"}
    if value == "verdict":
        return {"text": text, "sort": None, "title": "", "kind": f"text {_KINDS.get(text, '')}".strip()}
    return {"text": text, "sort": None, "title": "", "kind": "name"}


def _plots(tables: Tables) -> list[dict[str, Any]]:
    drawn = [
        ("BLEU per direction", plots.per_direction(tables)),
        ("BLEU by hours of training data", plots.by_training_hours(tables)),
    ]
    for run in tables.runs:
        suffix = f", {run.name}" if len(tables.runs) > 1 else ""
        names = dict.fromkeys(name for found in run.scores.values() for name in found["breakdown"])
        drawn += [(f"BLEU by {name}{suffix}", plots.by_group(run, name)) for name in names]
    return [
        {"title": title, "svg": Markup(svg)}  # noqa: S704 (escaped by matplotlib)
        for title, svg in drawn
        if svg is not None
    ]


def _checks(runs: Sequence[EvaluatedRun]) -> dict[str, Any]:
    """Return the table of further metrics and checks of hypotheses."""
    names = list(dict.fromkeys(name for run in runs for found in run.scores.values() for name in found["metrics"]))
    several = len(runs) > 1
    header = [*(["run"] if several else []), "direction", "n", "official", *names]
    header += ["failed", "empty", "loops", "length outliers", "length ratio", "other language", "(of references)"]
    lines = []
    for run in runs:
        for direction, found in run.scores.items():
            metrics = [found["metrics"].get(name, {}).get("value") for name in names]
            suspicious = found["hypotheses"]
            counts = [suspicious[name]["n"] for name in ("failed", "empty", "loops", "length_outliers")]
            shares = [_share(suspicious[name]) for name in ("off_target", "off_target_of_references")]
            row = [*([run.name] if several else []), direction.replace("-", "→"), found["n"], found["official_n"]]
            lines.append([_plain(value) for value in [*row, *metrics, *counts, suspicious["length_ratio"], *shares]])
    about = {
        f"{name}: {metric['about']}"
        for run in runs
        for found in run.scores.values()
        for name, metric in found["metrics"].items()
        if metric.get("about")
    }
    signatures = {
        f"{name}: {metric['signature']}"
        for run in runs
        for found in run.scores.values()
        for name, metric in found["metrics"].items()
    }
    return {"header": header, "lines": lines, "notes": [*_ABOUT_CHECKS, *sorted(about), *sorted(signatures)]}


def _share(found: dict[str, Any] | None) -> float | None:
    return 100 * found["wrong"] / found["n"] if found and found["n"] else None


def _plain(value: Any) -> dict[str, Any]:
    if value is None:
        return {"text": "–", "sort": ""}
    if isinstance(value, float):
        return {"text": f"{value:.2f}", "sort": value}
    return {"text": f"{value:,}" if isinstance(value, int) else str(value), "sort": value}


def _recipe(run: EvaluatedRun) -> dict[str, Any]:
    """Return the entries of the recipe that all directions of a run have in common."""
    recipes = [found["recipe"] for found in run.scores.values()]
    return {key: value for key, value in recipes[0].items() if all(recipe.get(key) == value for recipe in recipes)}
