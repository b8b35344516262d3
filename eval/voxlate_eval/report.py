"""Reports of runs: tables as Markdown, CSV and LaTeX, and a self-contained HTML page."""

from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup

from voxlate_eval import plots
from voxlate_eval.examples import as_script, read_examples
from voxlate_eval.formats import as_csv, as_latex, as_markdown, notes
from voxlate_eval.long_work import ProgressBar, no_progress
from voxlate_eval.page_clips import IsPlayable, PageClips
from voxlate_eval.page_tables import check_table, metric_table, score_table, significance_tables
from voxlate_eval.page_template import page_file, render_page
from voxlate_eval.recipe_table import recipe_tables
from voxlate_eval.run_comparison import compare_runs
from voxlate_eval.tables import Tables, make_tables


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
    progress: ProgressBar = no_progress,
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
        "report.html": _page(tables, clips, sentences, progress),
    }
    for name, text in texts.items():
        (output / name).write_text(text, encoding="utf-8", newline="\n")
    return [output / name for name in texts]


def _page(tables: Tables, clips: PageClips, sentences: int, progress: ProgressBar) -> str:
    examples = read_examples(tables.runs, clips, sentences, progress)
    return render_page(
        "report.html.jinja",
        title=f"Speech translation: {', '.join(run.name for run in tables.runs)}",
        summary=_summary(tables),
        js=page_file("report.js"),
        scores=score_table(tables),
        notes=notes(tables),
        plots=_plots(tables),
        significance=significance_tables(compare_runs(tables.runs, progress=progress)),
        metrics=metric_table(tables.runs),
        checks=check_table(tables.runs),
        sentences_note=examples.note,
        data=Markup(as_script(examples.sets)),  # noqa: S704 (escaped for a script element)
        recipes=recipe_tables(tables.runs),
    )


def _summary(tables: Tables) -> str:
    directions = [row for row in tables.rows if not row.members]
    count = sum(found["n"] for run in tables.runs for found in run.scores.values())
    runs = f"{len(tables.runs)} runs" if len(tables.runs) > 1 else "One run"
    of_directions = f"{len(directions)} directions" if len(directions) > 1 else "one direction"
    return f"{runs}, {of_directions}, {count:,} sentences."


def _plots(tables: Tables) -> list[plots.Plot]:
    drawn = [plots.per_direction(tables), plots.by_training_hours(tables)]
    for run in tables.runs:
        suffix = f", {run.name}" if len(tables.runs) > 1 else ""
        names = dict.fromkeys(name for found in run.scores.values() for name in found["breakdown"])
        drawn += [plots.by_group(run, name, suffix) for name in names]
    return [plot for plot in drawn if plot is not None]
