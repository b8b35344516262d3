"""COMET (Rei et al. 2020), by its own command in its own environment: its pins clash with everybody else's.

The environment variable ``VOXLATE_COMET`` names that command where it is not on the PATH, ``VOXLATE_COMET_MODEL``
another model, ``VOXLATE_COMET_GPUS`` how many GPUs it takes.
"""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from voxlate_eval import EvaluationError
from voxlate_eval.metrics import Sums

_COMMAND = "comet-score"
_MODEL = "Unbabel/wmt22-comet-da"


@dataclass(frozen=True)
class Comet:
    """Mean over sentences of what the model answers, times 100; its sums are that and their number."""

    command: str
    model: str
    gpus: int
    name: str = "COMET"
    about: str = "mean quality estimated by a neural model, times 100; about 0 to 100, higher is better"
    higher_is_better: bool = True

    @property
    def signature(self) -> str:
        """The model; what else it depends on is in the environment of the command."""
        return f"nrefs:1|model:{self.model}"

    def statistics(self, hypotheses: Sequence[str], references: Sequence[str], sources: Sequence[str]) -> Any:
        """Return answer and 1 for each sentence. EvaluationError without sources, or where the command fails."""
        if len(sources) != len(hypotheses) or not all(sources):
            raise EvaluationError("COMET needs the transcript of every clip; give references with a source_text column")
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            files = {"-s": sources, "-t": hypotheses, "-r": references}
            command = [self.command, "--quiet", "--model", self.model, "--gpus", str(self.gpus)]
            for flag, texts in files.items():
                path = folder / f"texts{flag}"
                # A line for each sentence: what breaks lines inside one becomes a space, here alone.
                path.write_text("".join(" ".join(text.split()) + "\n" for text in texts), encoding="utf-8")
                command += [flag, str(path)]
            answers = folder / "answers.json"
            done = subprocess.run([*command, "--to_json", str(answers)], capture_output=True, text=True, check=False)
            if done.returncode or not answers.is_file():
                last = (done.stderr.strip() or done.stdout.strip() or "it wrote nothing").splitlines()[-1]
                raise EvaluationError(f"{self.command} failed ({last}); run it by hand to see why, or leave COMET out")
            [found] = json.loads(answers.read_text(encoding="utf-8")).values()
        return [(segment["COMET"], 1) for segment in found]

    def value(self, sums_K: Sums) -> float:
        """Return the mean, times 100."""
        total, count = map(float, sums_K)
        return 100.0 * total / count if count else 0.0


def make_comet(target_language: str = "", tokenize: str | None = None) -> Comet:  # noqa: ARG001
    """Return COMET with the model of WMT 2022. EvaluationError where its command is not there."""
    wanted = os.environ.get("VOXLATE_COMET", _COMMAND)
    command = shutil.which(wanted)
    if command is None:
        raise EvaluationError(
            f"COMET: no command {wanted}; install it into an environment of its own (python -m venv comet && "
            "comet/bin/pip install unbabel-comet) and set VOXLATE_COMET=comet/bin/comet-score"
        )
    gpus = int(os.environ.get("VOXLATE_COMET_GPUS", "0"))
    return Comet(command, os.environ.get("VOXLATE_COMET_MODEL", _MODEL), gpus)
