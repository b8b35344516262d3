"""What all commands that prepare a corpus share: their options, the output folder, progress, and how they end."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

from filelock import Timeout

from voxlate.errors import VoxlateError
from voxlate.files import locked, write_text
from voxlate.languages import find_language
from voxlate.progress import stderr


@dataclass(frozen=True)
class Preparation:
    """The options of every command that prepares a corpus."""

    output: Path
    transcode: bool = False  # to FLAC of 16 kHz; else the corpus's own clips are referenced
    workers: int = 1
    overwrite: bool = False


Command = TypeVar("Command", bound=Preparation)


def interruptible(prepare: Callable[[Command], int]) -> Callable[[Command], int]:
    """Let Ctrl-C end a command with a line that says how to resume, and exit code 130."""

    @wraps(prepare)
    def wrapper(command: Command) -> int:
        try:
            return prepare(command)
        except KeyboardInterrupt:
            stderr().print("interrupted; rerun the same command to resume", style="bold")
            return 130

    return wrapper


def find_pair(text: str) -> str | None:
    """Return the pair that a text such as en-zh-CN or en_zh means, in our codes; None if it means none."""
    for match in re.finditer("[-_]", text):
        with suppress(VoxlateError):
            return f"{find_language(text[: match.start()]).code}-{find_language(text[match.end() :]).code}"
    return None


@contextmanager
def noted(problems: list[str]) -> Iterator[None]:
    """Add what is wrong to the problems, to be reported with the others."""
    try:
        yield
    except VoxlateError as error:
        problems.append(str(error))


def refuse(problems: list[str]) -> None:
    """Raise one VoxlateError that names all problems, if there are any."""
    if problems:
        raise VoxlateError(problems[0] if len(problems) == 1 else "\n  ".join(["nothing was prepared:", *problems]))


@contextmanager
def output_folder(folder: Path) -> Iterator[None]:
    """Make the folder and keep it to this process."""
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(folder))
        except Timeout:
            raise VoxlateError(f"--output {folder}: another command is preparing data there") from None
        except OSError as error:
            raise VoxlateError(f"--output {folder}: cannot be written ({error.strerror})") from None
        yield


def add_drops(path: Path, title: str, splits: dict[str, Any], inputs: dict[str, Any]) -> dict[str, Any]:
    """Write what became of the rows of some splits; a drops.json keeps what it says of the others."""
    known = _read_drops(path)
    drops = {
        "title": title,
        "splits": {**known.get("splits", {}), **splits},
        "inputs": {**known.get("inputs", {}), **inputs},
    }
    write_text(path, json.dumps(drops, indent=1, ensure_ascii=False) + "\n")
    return {**drops, "splits": splits}


def known_drops(folder: Path, splits: Iterable[str], inputs: dict[str, Any]) -> dict[str, Any] | None:
    """Return what drops.json says of splits made from the same inputs, unless some of their clips failed."""
    drops = _read_drops(folder / "drops.json")
    if not drops or not inputs.items() <= drops["inputs"].items():
        return None
    counts = {split: drops["splits"].get(split) for split in splits}
    for split, count in counts.items():
        if not count or count["failed"] or (count["rows"] and not (folder / f"{split}.jsonl").is_file()):
            return None
    return {**drops, "splits": counts}


def _read_drops(path: Path) -> dict[str, Any]:
    """Return what a drops.json holds; nothing where it is missing or damaged, so that it is made again."""
    try:
        drops = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(drops, dict) or not isinstance(drops.get("title"), str):
        return {}
    splits, inputs = drops.get("splits"), drops.get("inputs")
    if not isinstance(splits, dict) or not isinstance(inputs, dict) or not all(map(_are_counts, splits.values())):
        return {}
    return drops


def _are_counts(value: object) -> bool:
    """Return whether this is what `Tally.report` gives."""
    if not isinstance(value, dict):
        return False
    optional = [value[name] for name in ("official", "difference") if name in value]
    numbers = [*(value.get(name) for name in ("rows", "hours", "errors", "failed")), *optional]
    entries: list[Any] = [value.get("left_out"), value.get("kept")]
    if not all(isinstance(entry, dict) for entry in entries):
        return False
    counted = [one.get("count") if isinstance(one, dict) else None for entry in entries for one in entry.values()]
    return all(type(number) in (int, float) for number in (*numbers, *counted))


def remove_parts(folder: Path) -> None:
    """Remove what a killed run left of half-written files."""
    if folder.is_dir():
        for entry in os.scandir(folder):
            if entry.name.startswith(".") and entry.name.endswith(".part"):
                Path(entry.path).unlink(missing_ok=True)


def conclude(all_drops: list[dict[str, Any]]) -> int:
    """Print the summary and return the exit code."""
    print(summary(all_drops))
    for drops in all_drops:
        if empty := [split for split, counts in drops["splits"].items() if not counts["rows"]]:
            stderr().print(
                f"{drops['title']}: no rows for {' and '.join(empty)}, so no such manifest was written", style="yellow"
            )
    failed = sum(counts["failed"] for drops in all_drops for counts in drops["splits"].values())
    if failed:
        stderr().print(f"{failed:,} clips failed; see the rows' errors and drops.json", style="red")
    return 1 if failed else 0


def summary(all_drops: Iterable[dict[str, Any]]) -> str:
    """Return a table of the splits and, below it, what was left out of them or kept with a remark."""
    lines = [("", "split", "rows", "official", "", "hours", "errors")]
    remarks: dict[str, dict[str, int]] = {}
    for drops in all_drops:
        for split, counts in drops["splits"].items():
            official, difference = counts.get("official"), counts.get("difference")
            change = f"({difference:+,})".replace("-", "−") if difference else ""
            texts = (f"{counts['rows']:,}", "" if official is None else f"{official:,}", change)
            lines.append((drops["title"], split, *texts, f"{counts['hours']:.2f}", f"{counts['errors']:,}"))
            for kind, verb in (("left_out", "left out of"), ("kept", "kept in")):
                for reason, entry in counts[kind].items():
                    remarks.setdefault(f"{verb} {split}: {reason}", {})[drops["title"]] = entry["count"]
    columns = list(zip(*lines, strict=True))
    widths = [max(map(len, column)) for column in columns]
    sides = [str.ljust, str.ljust, *[str.rjust] * (len(columns) - 2)]
    aligned = [
        [side(cell, width) for cell in column] for side, width, column in zip(sides, widths, columns, strict=True)
    ]
    table = ["  ".join(cells).rstrip() for cells in zip(*aligned, strict=True)]
    for text, counts in remarks.items():
        verb, _, reason = text.partition(": ")
        places = ", ".join(f"{title} {count:,}" for title, count in counts.items())
        table.append(f"{sum(counts.values()):,} {verb}: {reason} ({places})")
    return "\n".join(table)
