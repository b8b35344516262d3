"""COMET (Rei et al. 2020) and XCOMET (Guerreiro et al. 2024), both by the command comet-score.

Environment variables: ``VOXLATE_COMET`` is the command if it is not on the PATH, ``VOXLATE_COMET_MODEL`` and
``VOXLATE_XCOMET_MODEL`` are other models, and ``VOXLATE_COMET_GPUS`` is the number of GPUs to use.
"""

import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from voxlate_eval import EvaluationError
from voxlate_eval.metrics.external import ExternalMetric, check_scores, find_command, gpu_count, run_command

_INSTALL = "python -m venv comet && comet/bin/pip install unbabel-comet"


@dataclass(frozen=True, kw_only=True)
class Comet(ExternalMetric):
    """COMET or XCOMET, whose models are scored by the same command."""

    command: str
    gpus: int
    about: str = "mean quality estimated by a neural model, times 100; about 0 to 100, higher is better"
    higher_is_better: bool = True
    scale: float = 100.0

    def statistics(
        self, hypotheses: Sequence[str], references: Sequence[str], sources: Sequence[str]
    ) -> list[tuple[float, float]]:
        """Return score and 1 for each sentence, (N, 2). Raises EvaluationError without sources or if COMET fails."""
        if len(sources) != len(hypotheses) or not all(sources):
            raise EvaluationError(
                f"{self.name} needs the transcript of every clip; give references with a source_text column"
            )
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            files = {"-s": sources, "-t": hypotheses, "-r": references}
            command = [self.command, "--quiet", "--model", self.model, "--gpus", str(self.gpus)]
            for flag, texts in files.items():
                path = folder / f"texts{flag}"
                # Only for COMET, line breaks within a sentence become spaces: it reads one sentence per line.
                path.write_text("".join(" ".join(text.split()) + "\n" for text in texts), encoding="utf-8")
                command += [flag, str(path)]
            scores = folder / "scores.json"
            text = run_command(self.name, [*command, "--to_json", str(scores)], scores)
        try:
            [segments] = json.loads(text).values()
            found = [segment["COMET"] for segment in segments]
        except (ValueError, KeyError, TypeError, AttributeError):
            found = []
        return check_scores(self.command, found, len(hypotheses))


def make_comet(target_language: str = "", tokenize: str | None = None) -> Comet:  # noqa: ARG001
    """Return COMET with the WMT 2022 model by default. Raises EvaluationError if its command is not installed."""
    model = os.environ.get("VOXLATE_COMET_MODEL", "Unbabel/wmt22-comet-da")
    return _make("COMET", model)


def make_xcomet(target_language: str = "", tokenize: str | None = None) -> Comet:  # noqa: ARG001
    """Return XCOMET, by default XL. Its models must be requested on the Hub. Raises EvaluationError as `make_comet`."""
    model = os.environ.get("VOXLATE_XCOMET_MODEL", "Unbabel/XCOMET-XL")
    return _make("XCOMET", model)


def _make(name: str, model: str) -> Comet:
    command = find_command(name, "VOXLATE_COMET", "comet-score", _INSTALL)
    return Comet(name=name, model=model, command=command, gpus=gpu_count("VOXLATE_COMET_GPUS"))
