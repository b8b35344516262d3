"""MetricX-24 (Juraska et al. 2024), by the module metricx24.predict of google-research/metricx.

Environment variables: ``VOXLATE_METRICX`` is the folder of a clone with an environment in its subfolder venv, or a
command with the options of metricx24.predict; ``VOXLATE_METRICX_MODEL`` is another model.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from voxlate_eval import EvaluationError
from voxlate_eval.metrics.external import ExternalMetric, check_scores, run_command

_MODEL = "google/metricx-24-hybrid-xl-v2p6"
_MAX_LENGTH = 1536  # pieces; the length that its models were trained with
_SIZES = ("xxl", "xl", "large")  # of models, and of the mT5 tokenizers that they use


@dataclass(frozen=True, kw_only=True)
class MetricX(ExternalMetric):
    """MetricX, with or without sources."""

    command: tuple[str, ...]
    folder: Path | None = None  # where the command runs
    name: str = "MetricX"
    about: str = "mean errors estimated by a neural model; 0 to 25, lower is better"
    higher_is_better: bool = False

    def statistics(
        self, hypotheses: Sequence[str], references: Sequence[str], sources: Sequence[str]
    ) -> list[tuple[float, float]]:
        """Return score and 1 for each sentence, (N, 2). Without sources, hypotheses are compared with references only.

        Raises EvaluationError if MetricX fails.
        """
        sources = sources if len(sources) == len(hypotheses) else [""] * len(hypotheses)
        rows = [
            {"source": source, "hypothesis": hypothesis, "reference": reference}
            for source, hypothesis, reference in zip(sources, hypotheses, references, strict=True)
        ]
        size = next((size for size in _SIZES if f"-{size}" in self.model.lower()), "xl")
        with tempfile.TemporaryDirectory() as name:
            given, scores = Path(name) / "input.jsonl", Path(name) / "output.jsonl"
            given.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
            options = {
                "tokenizer": f"google/mt5-{size}",
                "model_name_or_path": self.model,
                "max_input_length": str(_MAX_LENGTH),
                "batch_size": "1",
                "input_file": str(given),
                "output_file": str(scores),
            }
            words = [word for option, value in options.items() for word in (f"--{option}", value)]
            text = run_command(self.name, [*self.command, *words], scores, self.folder)
        try:
            found = [json.loads(line)["prediction"] for line in text.splitlines()]
        except (ValueError, KeyError, TypeError):
            found = []
        return check_scores(" ".join(self.command), found, len(hypotheses))


def make_metricx(target_language: str = "", tokenize: str | None = None) -> MetricX:  # noqa: ARG001
    """Return MetricX-24 XL by default. Raises EvaluationError if it is not installed."""
    name, model = os.environ.get("VOXLATE_METRICX", ""), os.environ.get("VOXLATE_METRICX_MODEL", _MODEL)
    folder = Path(name).absolute()
    python = folder / "venv/bin/python"
    if name and python.is_file():
        return MetricX(model=model, command=(str(python), "-m", "metricx24.predict"), folder=folder)
    command = shutil.which(name) if name else None
    if command is None:
        raise EvaluationError(
            f"MetricX: VOXLATE_METRICX is {name or 'not set'}, expected the folder of its clone with an environment: "
            "git clone https://github.com/google-research/metricx && python -m venv metricx/venv && "
            "metricx/venv/bin/pip install -r metricx/requirements.txt, then VOXLATE_METRICX=metricx"
        )
    return MetricX(model=model, command=(command,))
