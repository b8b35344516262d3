"""Inputs that failed in the past, stored next to the project, and the commands that are run on them."""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from paths import DEMO, ROOT, SHARED
from voxlate.cli import app
from voxlate.errors import VoxlateError

CASES = SHARED / "cases"
# Modules that programs of the cases import -> their present names.
MOVED_MODULES = {
    "voxlate.data.audio": "voxlate.audio.loading",
    "voxlate.decoding.translation": "voxlate.decoding.results",
}
CLIPS, MODEL = DEMO / "clips", DEMO / "model"
OPERATION = "The operation begins on the third of February."
COUGH = "I have had a cough for seventeen hours."


class Case:
    """Opens the folder of a case by its number and name."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder, self._monkeypatch = folder, monkeypatch

    def open(self, name: str) -> Path:
        """Copy a case's folder, adapt its paths and imports to the project, and make it the working directory."""
        folder = self._folder / name
        shutil.copytree(CASES / name, folder, copy_function=shutil.copyfile)
        for path in [folder, *folder.rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)
            if path.suffix in (".jsonl", ".yaml", ".txt", ".bak"):
                path.write_bytes(path.read_bytes().replace(b"REPO/", f"{ROOT}/".encode()))
            elif path.suffix == ".py":
                program = path.read_text(encoding="utf-8")
                for old, new in MOVED_MODULES.items():
                    program = program.replace(old, new)
                path.write_text(program, encoding="utf-8")
        self._monkeypatch.chdir(folder)
        return folder


@dataclass(frozen=True)
class Outcome:
    """The exit code and the output of a command; `stderr` includes the message of a VoxlateError."""

    code: int
    stdout: str
    stderr: str


def voxlate(*arguments: object, stdin: bytes | None = None) -> Outcome:
    """Run the command line in this process, with the errors that `voxlate.cli.main` prints."""
    result = CliRunner().invoke(app, [*map(str, arguments)], input=stdin)
    if isinstance(result.exception, VoxlateError):
        return Outcome(2, result.stdout, f"{result.stderr}error: {result.exception}\n")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Outcome(result.exit_code, result.stdout, result.stderr)


def translate(*arguments: object, stdin: bytes | None = None) -> Outcome:
    """Run ``voxlate translate`` with the bundled model, into English."""
    return voxlate("translate", *arguments, "--model", MODEL, "--to", "en", stdin=stdin)


def starts(subtitles: str) -> list[float]:
    """Return the times at which the cues of a SubRip file begin, in seconds."""
    found = re.findall(r"^(\d+):(\d+):(\d+),(\d+) -->", subtitles, re.MULTILINE)
    return [int(h) * 3600 + int(m) * 60 + int(s) + int(ms) / 1000 for h, m, s, ms in found]
