"""Measure which share of the cues of subtitles is within each limit."""

from collections.abc import Sequence
from dataclasses import asdict
from itertools import zip_longest
from typing import Any

from voxlate_eval.subtitle_files import SubtitleCue
from voxlate_eval.subtitle_limits import KINDS, SubtitleLimits

ALL = "all limits"
_FIRST = 5  # cues to list for each limit


def compliance(cues: Sequence[SubtitleCue], limits: SubtitleLimits) -> dict[str, Any]:
    """Return for each limit the share of cues within it, and how many break it with the times of the first, as JSON.

    The share is None if there are no cues.
    """
    broken = [
        limits.broken_by(cue.lines, cue.start, cue.end, following.start if following else None)
        for cue, following in zip_longest(cues, cues[1:])
    ]
    within = {}
    for kind in (*KINDS, ALL):
        wrong = [cue.start for cue, kinds in zip(cues, broken, strict=True) if kind in kinds or (kind == ALL and kinds)]
        share = 1.0 - len(wrong) / len(cues) if cues else None
        within[kind] = {"share": share, "broken": len(wrong), "first": wrong[:_FIRST]}
    return {"cues": len(cues), "limits": asdict(limits), "within": within}
