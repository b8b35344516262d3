"""COMET (Rei et al. 2020), run as a command in its own environment, because its pinned dependencies conflict.

Environment variables: ``VOXLATE_COMET`` is the command if it is not on the PATH, ``VOXLATE_COMET_MODEL`` another model,
and ``VOXLATE_COMET_GPUS`` the number of GPUs to use.
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
    """The model's mean sentence score, times 100. The sums of a sentence are its score and 1."""

    command: str
    model: str
    gpus: int
    name: str = "COMET"
    about: str = "mean quality estimated by a neural model, times 100; about 0 to 100, higher is better"
    higher_is_better: bool = True

    @property
    def signature(self) -> str:
        """The model. The versions that the score depends on are in the environment of the command."""
        return f"nrefs:1|model:{self.model}"

    def statistics(self, hypotheses: Sequence[str], references: Sequence[str], sources: Sequence[str]) -> Any:
        """Return score and 1 for each sentence, (N, 2). Raises EvaluationError without sources or if COMET fails."""
        if len(sources) != len(hypotheses) or not all(sources):
            raise EvaluationError("COMET needs the transcript of every clip; give references with a source_text column")
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
            done = subprocess.run([*command, "--to_json", str(scores)], capture_output=True, text=True, check=False)
            if done.returncode or not scores.is_file():
                last = (done.stderr.strip() or done.stdout.strip() or "it wrote nothing").splitlines()[-1]
                raise EvaluationError(f"{self.command} failed ({last}); run it yourself for details, or omit COMET")
            [found] = json.loads(scores.read_text(encoding="utf-8")).values()
        return [(segment["COMET"], 1) for segment in found]

    def value(self, sums_K: Sums) -> float:
        """Return the mean score, times 100."""
        total, count = map(float, sums_K)
        return 100.0 * total / count if count else 0.0


def make_comet(target_language: str = "", tokenize: str | None = None) -> Comet:  # noqa: ARG001
    """Return COMET with the WMT 2022 model by default. Raises EvaluationError if its command is not installed."""
    name = os.environ.get("VOXLATE_COMET", _COMMAND)
    command = shutil.which(name)
    if command is None:
        raise EvaluationError(
            f"COMET: no command {name}; install it into an environment of its own (python -m venv comet && "
            "comet/bin/pip install unbabel-comet) and set VOXLATE_COMET=comet/bin/comet-score"
        )
    gpus = int(os.environ.get("VOXLATE_COMET_GPUS", "0"))
    return Comet(command, os.environ.get("VOXLATE_COMET_MODEL", _MODEL), gpus)
