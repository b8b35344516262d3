"""``voxlate translate`` run inside the test's process."""

from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from voxlate import VoxlateError
from voxlate.cli import app


def translate(*arguments: object, stdin: bytes | None = None) -> Any:
    """Run the command; return its exit code, exception, standard output and standard error."""
    return CliRunner().invoke(app, ["translate", *map(str, arguments)], input=stdin)


def result_paths(folder: Path) -> list[str]:
    """Return the relative paths of all files of a folder except the journal and its lock."""
    paths = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".voxlate."))
    return sorted(str(path.relative_to(folder)) for path in paths)


_NOTES_OF_RANDOM_MODELS = ("may be cut off; see --max-length", "may be translated wrongly", "characters a second")


def messages(result: Any) -> str:
    """Return standard error without notes that are due to the endless and unlikely translations of a random model."""
    lines = result.stderr.splitlines(keepends=True)
    return "".join(line for line in lines if not any(note in line for note in _NOTES_OF_RANDOM_MODELS))


def assert_refused(message: str, *arguments: object) -> None:
    """Assert that the command fails with an error of one line, which contains the message."""
    result = translate(*arguments)
    assert isinstance(result.exception, VoxlateError)
    assert message in str(result.exception)
    assert "\n" not in str(result.exception)
