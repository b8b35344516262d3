"""Score subtitles for ``voxlate score --subtitles``: compliance with the limits, and SubER against references."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from voxlate.errors import VoxlateError
from voxlate.evaluation.references import language_code
from voxlate.evaluation.scoring import as_json, output_console
from voxlate.files import write_text
from voxlate.languages import look_up_language
from voxlate_eval.strict_json import path_text
from voxlate_eval.subtitle_compliance import ALL, compliance
from voxlate_eval.subtitle_edit_rate import subtitle_edit_rate
from voxlate_eval.subtitle_files import SubtitleCue, read_subtitles
from voxlate_eval.subtitle_limits import KINDS, SubtitleLimits, subtitle_limits

_LOG = logging.getLogger(__name__)

# Titles of columns for the names of limits.
_TITLES = dict(zip((*KINDS, ALL), ("width", "lines", "short", "long", "speed", "gap", "overlap", "all"), strict=True))


def score_subtitles(
    paths: Sequence[Path], references: Sequence[Path], language: str | None, output: Path | None
) -> int:
    """Score files of subtitles; print a table, and write all results to `output` as JSON.

    `references` has a file for each, or none. `language` decides the limits; by default it is in the name of each file,
    as in talk.de.srt.
    """
    if references and len(references) != len(paths):
        raise VoxlateError(
            f"{len(paths)} files of subtitles, but {len(references)} of references; expected one --references for each"
        )
    files = [(path, read_subtitles(path)) for path in paths]
    for path, cues in files:
        if not cues:
            _LOG.warning("%s: no cues with text; it is scored as an empty file", path)
    languages = [language_code(language) or _language_of(path) for path in paths]
    results = []
    for (path, cues), code in zip(files, languages, strict=True):
        results.append({"file": path_text(path), "language": code, **compliance(cues, subtitle_limits(code))})
    scores: dict[str, Any] = {"subtitles": results, "metrics": {}}
    if references:
        expected = [read_subtitles(path) for path in references]
        scores["references"] = [path_text(path) for path in references]
        scores["metrics"]["SubER"] = _edit_rate([cues for _, cues in files], expected, languages)
    if output is not None:
        write_text(output, as_json(scores))
    _print(scores, [subtitle_limits(code) for code in languages])
    return 0


def _edit_rate(
    hypotheses: Sequence[Sequence[SubtitleCue]], references: Sequence[Sequence[SubtitleCue]], languages: Sequence[Any]
) -> dict[str, Any]:
    if len(set(languages)) > 1:
        names = ", ".join(str(code) for code in dict.fromkeys(languages))
        raise VoxlateError(f"SubER of subtitles in several languages ({names}); score each language alone")
    return subtitle_edit_rate(hypotheses, references, languages[0])


def _language_of(path: Path) -> str | None:
    """Return the language in the name of a file, such as talk.de.srt; None if there is none."""
    suffixes = path.suffixes
    found = look_up_language(suffixes[-2][1:]) if len(suffixes) > 1 else None
    return found.code if found else None


def _print(scores: dict[str, Any], limits: Sequence[SubtitleLimits]) -> None:
    kinds = list(scores["subtitles"][0]["within"])
    table = Table("file", "language", "cues", *(_TITLES[kind] for kind in kinds), padding=(0, 0), pad_edge=False)
    for result in scores["subtitles"]:
        shares = [result["within"][kind]["share"] for kind in kinds]
        cells = ["" if share is None else f"{100 * share:.1f}" for share in shares]
        table.add_row(Path(result["file"]).name, result["language"] or "", f"{result['cues']:,}", *cells)
    console = output_console()
    console.print(table)
    for name, metric in scores["metrics"].items():
        console.print(f"{name}: {metric['value']:.2f} ({metric['signature']})")
        console.print(f"{name}: {metric['about']}")
    titles = "; ".join(f"{title}: {kind}" for kind, title in _TITLES.items() if title != kind)
    console.print(f"Share of cues within each limit, in percent. {titles}")
    for code, limit in dict(zip((result["language"] for result in scores["subtitles"]), limits, strict=True)).items():
        unit = "full-width characters" if limit.in_full_widths else "characters"
        console.print(
            f"Limits{f' of {code}' if code else ''}: {limit.max_line_count} lines of {limit.max_line_width} {unit}, "
            f"{limit.min_seconds:g} to {limit.max_seconds:g} s, {limit.max_characters_per_second:g} characters a "
            f"second, no gap under {1000 * limit.min_gap_seconds:g} ms, no overlap"
        )
