"""A command that "translates" text files instead of audio, to test how inputs are processed without a model."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from voxlate.decoding.results import Candidate, Segment, Translation
from voxlate.decoding.run_inputs import InputsCommand, run_inputs
from voxlate.errors import AudioError


class TextCommand:
    """Runs `run_inputs` with a stream that returns the text of each file.

    A text that begins with "broken" is an error, one that begins with "cut" has a warning. `asked` has the text and the
    languages of each input that was processed.
    """

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys
        self.stdout = self.stderr = ""
        self.asked: list[tuple[str, ...]] = []

    def stream(
        self, inputs: Any, *, to: Sequence[str | Sequence[str]], progress: Any, **_: Any
    ) -> Iterator[tuple[int, Any]]:
        for index, item in enumerate(inputs):
            if isinstance(item, Path) and not item.exists():
                yield index, AudioError(f"{item}: no such file")
                continue
            text = item.read_text() if isinstance(item, Path) else item.read().decode()
            languages = [to[index]] if isinstance(to[index], str) else to[index]
            self.asked.append((text, *languages))
            if text.startswith("broken"):
                yield index, AudioError(f"{item}: broken")
                continue
            progress(index, index + 1.0)
            for language in languages:
                warnings = ("truncated",) if text.startswith("cut") else ()
                segment = Segment(0.0, 1.0, (Candidate(f"{language} {text}", -1.0),))
                recipe = {"reads": language}
                yield index, Translation(str(item), 1.0, str(language), (segment,), warnings=warnings, recipe=recipe)

    def __call__(
        self,
        *audio: str,
        to: Sequence[str] = ("de",),
        formats: Sequence[str] = ("txt",),
        out: str | None = "out",
        overwrite: bool = False,
        model: str = "m",
    ) -> int:
        command = InputsCommand(audio, formats, None if out is None else Path(out), overwrite)
        self.asked.clear()
        code = run_inputs(command, to, "read", lambda _: {"model": model, "beam": 5}, lambda _: self.stream)
        self.stdout, self.stderr = self.capsys.readouterr()
        return code


def write_input(name: str, text: str) -> str:
    """Write a text file; return its name."""
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return name


def written_results() -> dict[str, str]:
    """Return the texts of all results in the folder out."""
    paths = (path for path in sorted(Path("out").rglob("*")) if path.is_file() and not path.name.startswith(".voxlate"))
    return {str(path.relative_to("out")): path.read_text() for path in paths}
