"""SubER (Wilken et al. 2022), run as a command in its own environment, because its pinned dependencies conflict.

The environment variable ``VOXLATE_SUBER`` is the command if it is not on the PATH.
"""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from voxlate_eval import EvaluationError
from voxlate_eval.policy import primary_code
from voxlate_eval.subtitle_files import SubtitleCue

_COMMAND = "suber"
_NAME = "SubER"
_ABOUT = (
    "edits of words, line and cue breaks per 100 of the reference, between cues that overlap in time; lower is better"
)
_OWN_TOKENIZERS = ("zh", "ja", "ko")


def subtitle_edit_rate(
    hypotheses: Sequence[Sequence[SubtitleCue]], references: Sequence[Sequence[SubtitleCue]], language: str | None
) -> dict[str, Any]:
    """Return SubER of subtitles against reference subtitles, as JSON. Raises EvaluationError if its command fails."""
    name = os.environ.get("VOXLATE_SUBER", _COMMAND)
    command = shutil.which(name)
    if command is None:
        raise EvaluationError(
            f"{_NAME}: no command {name}; install it into an environment of its own (python -m venv suber && "
            "suber/bin/pip install subtitle-edit-rate) and set VOXLATE_SUBER=suber/bin/suber"
        )
    code = primary_code(language or "")
    options = ["--language", code] if code in _OWN_TOKENIZERS else []
    with tempfile.TemporaryDirectory() as folder:
        files = [
            [str(_write_srt(cues, Path(folder) / f"{side}{number}.srt")) for number, cues in enumerate(subtitles)]
            for side, subtitles in (("hypothesis", hypotheses), ("reference", references))
        ]
        arguments = [command, "-H", *files[0], "-R", *files[1], "--metrics", _NAME, *options]
        done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    try:
        value = float(json.loads(done.stdout)[_NAME]) if done.returncode == 0 else None
    except (ValueError, KeyError, TypeError):
        value = None
    if value is None:
        last = (done.stderr.strip() or done.stdout.strip() or "it wrote nothing").splitlines()[-1]
        raise EvaluationError(f"{command} failed ({last}); run it yourself for details, or omit --references")
    return {"value": value, "signature": f"nrefs:1|tok:{code if options else 'tercom'}", "about": _ABOUT}


def _write_srt(cues: Sequence[SubtitleCue], path: Path) -> Path:
    """Write cues in the form that SubER reads; return the path."""
    blocks = [
        f"{number}\n{_timestamp(cue.start)} --> {_timestamp(cue.end)}\n" + "\n".join(cue.lines) + "\n"
        for number, cue in enumerate(cues, start=1)
    ]
    path.write_text("\n".join(blocks) + "\n", encoding="utf-8")
    return path


def _timestamp(seconds: float) -> str:
    milliseconds = round(seconds * 1000)
    minutes, milliseconds = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{milliseconds // 1000:02},{milliseconds % 1000:03}"
