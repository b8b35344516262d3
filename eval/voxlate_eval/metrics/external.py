"""Metrics that run as commands in environments of their own, because their pinned dependencies conflict with ours."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from voxlate_eval import EvaluationError
from voxlate_eval.metrics import Sums
from voxlate_eval.strict_json import is_number, shorten


@dataclass(frozen=True, kw_only=True)
class ExternalMetric:
    """The mean sentence score of a neural model, times `scale`. The sums of a sentence are its score and 1."""

    model: str
    name: str
    about: str
    higher_is_better: bool
    scale: float = 1.0

    @property
    def signature(self) -> str:
        """The model. The versions that the score depends on are in the environment of the command."""
        return f"nrefs:1|model:{self.model}"

    def value(self, sums_K: Sums) -> float:
        """Return the mean score, times `scale`."""
        total, count = map(float, sums_K)
        return self.scale * total / count if count else 0.0


def find_command(metric: str, variable: str, default: str, install: str) -> str:
    """Return the path of a command, which an environment variable may name. Raises EvaluationError if it is missing."""
    name = os.environ.get(variable, default)
    command = shutil.which(name)
    if command is None:
        raise EvaluationError(
            f"{metric}: no command {name}; install it into an environment of its own ({install}) and set {variable}="
            f"{_example(install, default)}"
        )
    return command


def gpu_count(variable: str) -> int:
    """Return the number of GPUs that an environment variable states; 0 if it is not set."""
    text = os.environ.get(variable, "0")
    if not text.isdecimal():
        raise EvaluationError(f"{variable} is {shorten(text)!r}, expected the number of GPUs, such as 0 or 1")
    return int(text)


def run_command(metric: str, command: Sequence[str], output: Path, folder: Path | None = None) -> str:
    """Run a command and return the contents of the file that it writes. Raises EvaluationError if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    if done.returncode or not output.is_file():
        last = (done.stderr.strip() or done.stdout.strip() or "it wrote nothing").splitlines()[-1]
        raise EvaluationError(f"{command[0]} failed ({last}); run it yourself for details, or omit {metric}")
    return output.read_text(encoding="utf-8")


def check_scores(command: str, scores: Sequence[object], count: int) -> list[tuple[float, float]]:
    """Return a score and 1 for each sentence. Raises EvaluationError if they are not one number for each."""
    if len(scores) != count or not all(map(is_number, scores)):
        raise EvaluationError(
            f"{command} wrote {len(scores):,} scores, expected one number for each of {count:,} sentences"
        )
    return [(float(score), 1.0) for score in scores]  # type: ignore[arg-type]


def _example(install: str, default: str) -> str:
    folder = install.partition("python -m venv ")[2].split()[0]
    return f"{folder}/bin/{default}"
