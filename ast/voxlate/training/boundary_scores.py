"""Score found sentence boundaries against known ones, by the length of their pauses.

Shape letters: T samples, F frames.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from voxlate.audio.loading import SAMPLE_RATE_HZ
from voxlate.audio.speech_detection import true_runs
from voxlate.training.boundary_recordings import JoinedRecording

TOLERANCE_SECONDS = 0.1
PAUSES = {"none": 0.0, "up to 0.15 s": 0.15, "0.15 to 0.35 s": 0.35, "longer": float("inf")}  # name: maximum

Floats = npt.NDArray[np.float32]


@dataclass
class BoundaryScores:
    """Counts of known boundaries, of those found, and of false ones.

    False boundaries belong to no pause, so precision is that of all boundaries.
    """

    known: dict[str, int] = field(default_factory=lambda: dict.fromkeys(PAUSES, 0))
    found: dict[str, int] = field(default_factory=lambda: dict.fromkeys(PAUSES, 0))
    false: int = 0

    def recall(self, *pauses: str) -> float:
        """Return the share of known boundaries that were found, with pauses of some lengths or of all."""
        names = pauses or tuple(PAUSES)
        return sum(self.found[name] for name in names) / max(1, sum(self.known[name] for name in names))

    @property
    def precision(self) -> float:
        """The share of found boundaries that are true."""
        true = sum(self.found.values())
        return true / max(1, true + self.false)

    def figures(self) -> dict[str, float]:
        """Return precision and the recall for each length of pauses, rounded, for a file."""
        recalls = {f"recall, {name}": round(self.recall(name), 3) for name in PAUSES}
        return {"precision": round(self.precision, 3), **recalls}

    def lines(self) -> list[str]:
        """Return the figures as lines of text."""
        true = sum(self.found.values())
        found = true + self.false
        summary = f"{true:,} of {found:,} boundaries found, tolerance {TOLERANCE_SECONDS:g} s"
        recalls = (
            f"recall    {self.recall(name):6.1%} ({self.found[name]:,} of {self.known[name]:,}), pause: {name}"
            for name in PAUSES
        )
        return [f"precision {self.precision:6.1%} ({summary})", *recalls]

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall."""
        return 2 * self.precision * self.recall() / max(1e-9, self.precision + self.recall())


def score_boundaries(
    recordings: Sequence[tuple[JoinedRecording, Floats]], frame_samples: int, threshold: float
) -> BoundaryScores:
    """Count the boundaries in recordings and the probabilities of their frames, (F,).

    A boundary is found if frames above the threshold are within the tolerance of it. Stretches of such frames that are
    close to no boundary are false.
    """
    scores = BoundaryScores()
    tolerance = round(TOLERANCE_SECONDS * SAMPLE_RATE_HZ)
    for recording, probabilities_F in recordings:
        runs = true_runs(probabilities_F > threshold)
        found = [(start * frame_samples, end * frame_samples) for start, end in runs]
        for start, end in recording.outside:
            far = [run for run in found if run[1] < start - tolerance or run[0] > end + tolerance]
            if start > 0 and end < len(recording.waveform_T):  # not an end of the recording
                seconds = (end - start) / SAMPLE_RATE_HZ
                name = next(name for name, most in PAUSES.items() if seconds <= most)
                scores.known[name] += 1
                scores.found[name] += len(far) < len(found)
            found = far
        scores.false += len(found)
    return scores


def best_threshold(recordings: Sequence[tuple[JoinedRecording, Floats]], frame_samples: int) -> float:
    """Return the threshold with the highest F1, a multiple of 0.05."""
    candidates = [number / 20 for number in range(2, 19)]
    return max(candidates, key=lambda value: score_boundaries(recordings, frame_samples, value).f1)
