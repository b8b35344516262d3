"""``voxlate evaluate`` run inside the test's process, on two small test sets."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from media import sweep, write_media
from voxlate import Translator
from voxlate.cli import app

DIRECTIONS = ("fr-en", "en-de")
ROWS = 5


def write_test_sets(root: Path) -> Path:
    """Write a manifest and clips per direction. Clip 3 is not audio, clip 4 could not be read when it was prepared."""
    for direction in DIRECTIONS:
        source, target = direction.split("-")
        rows: list[dict[str, Any]] = []
        for number in range(ROWS):
            clip = root / direction / f"{number}.wav"
            clip.parent.mkdir(exist_ok=True)
            if number == 3:
                clip.write_bytes(b"no audio")
            else:
                write_media(clip, sweep(200, 900 + 100 * number, 0.6 + 0.1 * number))
            languages = {"source_language": source, "target_language": target}
            texts = {"source_text": "x", "target_text": f"The {number}", "split": "test", "seconds": 1.0}
            rows.append({"id": f"{direction}/{number}", "audio": clip.name, **languages, **texts})
        rows[4] |= {"error": "was empty"}
        (root / direction / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return root


def arguments(model: Path, data: Path, output: Path, *others: str) -> list[str]:
    """Return the command line of a short search."""
    base = ["evaluate", "--model", str(model), "--data", str(data), "--output", str(output), "--max-length", "12"]
    return [*base, "--beam-size", "2", "--dtype", "float32", "--device", "cpu", *others]


def run(*given: Any) -> Any:
    """Run the command; return its exit code and output."""
    return CliRunner().invoke(app, arguments(*given), catch_exceptions=False)


def lines(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a file of JSON lines."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def record_translated(monkeypatch: pytest.MonkeyPatch, stop_after: int | None = None) -> list[str]:
    """Record the ids of clips of fr-en that are translated; interrupt the run after some results."""
    translated: list[str] = []
    stream = getattr(Translator.stream, "original", Translator.stream)

    def recording(translator: Translator, inputs: Iterable[Path], **options: Any) -> Iterator[Any]:
        def read() -> Iterator[Path]:
            for path in inputs:
                translated.append(f"fr-en/{path.stem}")
                yield path

        for count, result in enumerate(stream(translator, read(), **options)):
            if count == stop_after:
                raise KeyboardInterrupt
            yield result

    recording.original = stream  # type: ignore[attr-defined]
    monkeypatch.setattr(Translator, "stream", recording)
    return translated
