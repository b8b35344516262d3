"""Parts that all commands of `voxlate prepare` share: options, output folder, drops.json, summary."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from filelock import Timeout

from voxlate.errors import VoxlateError
from voxlate.files import locked, write_text
from voxlate.languages import find_language
from voxlate.progress import stderr


@dataclass(frozen=True)
class Preparation:
    """The options of every command that prepares a corpus. EXAMPLE shows those of a command built from its fields."""

    EXAMPLE: ClassVar[str] = ""
    output: Path
    transcode: bool = False  # to 16 kHz FLAC; otherwise manifests refer to the original clips
    workers: int = 1
    overwrite: bool = False


Command = TypeVar("Command", bound=Preparation)


def interruptible(prepare: Callable[[Command], int]) -> Callable[[Command], int]:
    """Decorate a command so that Ctrl-C ends it with exit code 130 and a line on how to resume."""

    @wraps(prepare)
    def wrapper(command: Command) -> int:
        try:
            return prepare(command)
        except KeyboardInterrupt:
            stderr().print("interrupted; rerun the same command to resume", style="bold")
            return 130

    return wrapper


def parse_pair(text: str) -> str | None:
    """Return a language pair such as en-zh-CN or en_zh with canonical codes; None if it is not a pair."""
    for match in re.finditer("[-_]", text):
        with suppress(VoxlateError):
            return f"{find_language(text[: match.start()]).code}-{find_language(text[match.end() :]).code}"
    return None


@contextmanager
def collect_error(problems: list[str]) -> Iterator[None]:
    """Append the message of a VoxlateError to the problems instead of raising it."""
    try:
        yield
    except VoxlateError as error:
        problems.append(str(error))


def raise_problems(problems: list[str]) -> None:
    """Raise one VoxlateError that lists all problems, if there are any."""
    if problems:
        raise VoxlateError(problems[0] if len(problems) == 1 else "\n  ".join(["nothing was prepared:", *problems]))


@contextmanager
def output_folder(folder: Path) -> Iterator[None]:
    """Create a folder and lock it within a ``with`` block. VoxlateError if it is locked or not writable."""
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(folder))
        except Timeout:
            raise VoxlateError(f"--output {folder}: another command is preparing data there") from None
        except OSError as error:
            raise VoxlateError(f"--output {folder}: cannot be written ({error.strerror})") from None
        yield


def add_drops(path: Path, title: str, splits: dict[str, Any], inputs: dict[str, Any]) -> dict[str, Any]:
    """Write counts of kept and dropped rows of some splits to drops.json; counts of other splits are kept."""
    previous = _read_drops(path)
    drops = {
        "title": title,
        "splits": {**previous.get("splits", {}), **splits},
        "inputs": {**previous.get("inputs", {}), **inputs},
    }
    write_text(path, json.dumps(drops, indent=1, ensure_ascii=False) + "\n")
    return {**drops, "splits": splits}


def reusable_drops(folder: Path, splits: Iterable[str], inputs: dict[str, Any]) -> dict[str, Any] | None:
    """Return the counts in drops.json if the splits were made from the same inputs and no clips failed; else None."""
    drops = _read_drops(folder / "drops.json")
    if not drops or not inputs.items() <= drops["inputs"].items():
        return None
    counts = {split: drops["splits"].get(split) for split in splits}
    for split, count in counts.items():
        if not count or count["failed"] or (count["rows"] and not (folder / f"{split}.jsonl").is_file()):
            return None
    return {**drops, "splits": counts}


def _read_drops(path: Path) -> dict[str, Any]:
    """Return the contents of drops.json; empty if it is missing or damaged, so that it is rewritten."""
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
    """Return whether a value has the form of `SplitTally.report`."""
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
    """Remove partial files left by a killed run."""
    if folder.is_dir():
        for entry in os.scandir(folder):
            if entry.name.startswith(".") and entry.name.endswith(".part"):
                Path(entry.path).unlink(missing_ok=True)


def print_summary(all_drops: list[dict[str, Any]]) -> int:
    """Print the summary; return the exit code: 1 if any clip failed, else 0."""
    print(summary(all_drops))
    for drops in all_drops:
        if empty := [split for split, counts in drops["splits"].items() if not counts["rows"]]:
            stderr().print(
                f"{drops['title']}: no rows for {' and '.join(empty)}, so no such manifest was written", style="yellow"
            )
    deviations = [
        f"{drops['title']} {split} ({_signed(counts['difference'])})"
        for drops in all_drops
        for split, counts in drops["splits"].items()
        if split != "train" and counts.get("difference")
    ]
    if deviations:
        stderr().print(
            f"not the official rows: {', '.join(deviations)}; their scores are not comparable with published ones",
            style="yellow",
        )
    failed = sum(counts["failed"] for drops in all_drops for counts in drops["splits"].values())
    if failed:
        stderr().print(f"{failed:,} clips failed; see the rows' errors and drops.json", style="red")
    return 1 if failed else 0


def _signed(number: int) -> str:
    return f"{number:+,}".replace("-", "−")


def summary(all_drops: Iterable[dict[str, Any]]) -> str:
    """Return a table of the splits, followed by the rows that were left out or kept with a remark."""
    lines = [("", "split", "rows", "official", "", "hours", "errors")]
    remarks: dict[str, dict[str, int]] = {}
    for drops in all_drops:
        for split, counts in drops["splits"].items():
            official, difference = counts.get("official"), counts.get("difference")
            change = f"({_signed(difference)})" if difference else ""
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
        titles = ", ".join(f"{title} {count:,}" for title, count in counts.items())
        table.append(f"{sum(counts.values()):,} {verb}: {reason} ({titles})")
    return "\n".join(table)
