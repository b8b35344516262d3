"""Cut the segments of recordings into FLAC clips, in parallel and with a journal of results."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from voxlate.audio.flac import write_flac
from voxlate.audio.loading import Audio, load_audio
from voxlate.audio.resampling import SAMPLE_RATE_HZ
from voxlate.corpora.clip_checks import ClipJournal, ClipResult
from voxlate.errors import AudioError
from voxlate.processes import map_in_processes

_TOLERANCE_SECONDS = 0.1  # by which a segment may exceed its recording: times in corpora are rounded


@dataclass(frozen=True, slots=True)
class ClipCut:
    """The clip to write to `flac`: the segment of a recording from `start` to `end` seconds."""

    name: str
    recording: Path
    start: float
    end: float
    state: str  # changes if the segment or the contents of its recording may have changed
    flac: Path


def cut_clips(cuts: Iterable[ClipCut], journal: ClipJournal, workers: int, advance: Callable[[int], None]) -> None:
    """Write all clips and append their results to the journal. Each recording is decoded once for its adjacent cuts.

    Times count from the first sample of sound, as after a conversion to wav. A segment that ends after its recording is
    cut there, with a warning.
    """
    groups = (list(group) for _, group in groupby(cuts, key=lambda cut: cut.recording))
    for results in map_in_processes(_cut_all, groups, workers, died=_died):
        journal.add(results)
        advance(len(results))


def _died(cut: ClipCut, reason: str) -> ClipResult:
    return ClipResult(cut.name, cut.state, error=f"{cut.name}: {reason}")


def _cut_all(cuts: list[ClipCut]) -> list[ClipResult]:
    """Decode the recording of some cuts and write their clips."""
    try:
        audio = load_audio(cuts[0].recording)
    except AudioError as error:
        return [ClipResult(cut.name, cut.state, error=str(error)) for cut in cuts]
    return [_cut(cut, audio) for cut in cuts]


def _cut(cut: ClipCut, audio: Audio) -> ClipResult:
    first, last = round(cut.start * SAMPLE_RATE_HZ), round(cut.end * SAMPLE_RATE_HZ)
    waveform_T = audio.waveform[max(first, 0) : max(last, 0)]
    times = f"{cut.start:.2f}–{cut.end:.2f} s"
    if not len(waveform_T):
        reason = f"its segment {times} is empty, or after the end of its recording ({audio.seconds:.2f} s)"
        return ClipResult(cut.name, cut.state, error=f"{cut.recording}: {reason}")
    warnings = list(audio.warnings)
    if cut.end > audio.seconds + _TOLERANCE_SECONDS:
        warnings.insert(0, f"cut short: its segment is {times}, its recording ends at {audio.seconds:.2f} s")
    write_flac(cut.flac, waveform_T)
    seconds = len(waveform_T) / SAMPLE_RATE_HZ
    return ClipResult(cut.name, cut.state, seconds, "; ".join(warnings) or None, size=cut.flac.stat().st_size)
