"""Translate what a manifest has and a file of hypotheses lacks; an interrupted run goes on.

While it lasts, results are appended to parts, one for each process; in the end they become one file in the manifest's
order, with what they depend on beside it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import Timeout

from voxlate.data.audio import AudioSource
from voxlate.data.preparation import progress_bar
from voxlate.decoding.options import SearchOptions
from voxlate.decoding.translation import Translation
from voxlate.errors import AudioError, VoxlateError
from voxlate.files import file_sha256, locked, write_text
from voxlate.manifest import EmbeddedAudio, Manifest, Utterance

if TYPE_CHECKING:
    from accelerate import PartialState

    from voxlate.decoding.engine import Translator

HYPOTHESES, META = "hypotheses.jsonl", "hypotheses.meta.json"
_PART = "hypotheses.part-*.jsonl"
_FREE = ("device", "commit")  # what may differ when a run goes on


@dataclass(frozen=True)
class Task:
    """A manifest of one direction and split, and the folder for what comes of it."""

    manifest: Manifest
    folder: Path
    direction: str
    target_language: str


def forget(task: Task) -> None:
    """Delete the hypotheses of a task, also those of an interrupted run."""
    for path in (task.folder / META, task.folder / HYPOTHESES, *task.folder.glob(_PART)):
        path.unlink(missing_ok=True)


def translate(task: Task, translator: Translator, options: SearchOptions, state: PartialState) -> int:
    """Write the hypotheses of a task; return how many clips failed. Every process of a launch must call it.

    A clip that cannot be read has an empty text and its error. VoxlateError if the folder holds another model's.
    """
    recipe = {**translator.recipe(options), **_about(task)}
    with _only_here(task.folder, state):
        _check_same(task.folder, recipe)  # every process, so that none is left waiting
        if state.is_main_process:
            write_text(task.folder / META, json.dumps(recipe, indent=1, ensure_ascii=False) + "\n")
        state.wait_for_everyone()
        done = {row["id"]: row for row in _read_parts(task.folder)}
        todo = [index for index, name in enumerate(task.manifest.column("id")) if name not in done]
        state.wait_for_everyone()  # nobody may add to the parts while others still read them
        own = todo[state.process_index :: state.num_processes]
        _translate(task, own, translator, options, state)
        state.wait_for_everyone()
        if state.is_main_process:
            _merge(task)
        state.wait_for_everyone()
    return sum("error" in row for row in _read_lines(task.folder / HYPOTHESES))


def _about(task: Task) -> dict[str, object]:
    """Return what is translated: two manifests may have the same ids and other clips."""
    return {
        "direction": task.direction,
        "target_language": task.target_language,
        "manifest": Path(os.path.relpath(task.manifest.path, task.folder)).as_posix(),
        "manifest_sha256": file_sha256(task.manifest.path),
    }


def _translate(task: Task, own: list[int], translator: Translator, options: SearchOptions, state: PartialState) -> None:
    """Append the results of this process's clips to its part, each as soon as it is there."""
    part = task.folder / _PART.replace("*", f"{state.process_index:05}")
    whole = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in _read_lines(part))
    write_text(part, whole)  # without a line that an interruption cut
    with ExitStack() as stack:
        file = stack.enter_context(part.open("a", encoding="utf-8", newline="\n"))
        advance = stack.enter_context(progress_bar(task.direction, len(own))) if state.is_main_process else _nothing
        clips: list[int] = []
        for index in own:
            error = task.manifest[index].error
            if error is None:
                clips.append(index)
            else:
                _append(file, task.manifest[index].id, "", error=error)
                advance(1)
        sources = (_source(task.manifest[index]) for index in clips)
        for number, result in translator.stream(sources, to=task.target_language, options=options):
            name = task.manifest[clips[number]].id
            if isinstance(result, AudioError):
                _append(file, name, "", error=str(result))
            else:
                _append(file, name, result.text, score=_score(result), warnings=list(result.warnings) or None)
            advance(1)


def _nothing(count: int) -> None:
    """Show no progress: the first process does."""


def _source(utterance: Utterance) -> AudioSource:
    return utterance.audio.read() if isinstance(utterance.audio, EmbeddedAudio) else utterance.audio


def _score(result: Translation) -> float | None:
    """Return the score of a clip's hypothesis; of a longer one, the mean over its segments."""
    scores = [segment.candidates[0].score for segment in result.segments]
    return round(sum(scores) / len(scores), 4) if scores else None


def _append(file: Any, name: str, text: str, **others: object) -> None:
    row = {"id": name, "text": text} | {key: value for key, value in others.items() if value is not None}
    file.write(json.dumps(row, ensure_ascii=False) + "\n")
    file.flush()


def _merge(task: Task) -> None:
    """Write the whole file in the manifest's order, and delete the parts."""
    rows = {row["id"]: row for row in _read_parts(task.folder)}
    lines = [json.dumps(rows[name], ensure_ascii=False) + "\n" for name in task.manifest.column("id")]
    write_text(task.folder / HYPOTHESES, "".join(lines))
    for part in task.folder.glob(_PART):
        part.unlink()


def _read_parts(folder: Path) -> Iterator[dict[str, Any]]:
    for path in [*sorted(folder.glob(_PART)), folder / HYPOTHESES]:
        yield from _read_lines(path)


def _read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file, but for one that was not written to its end."""
    if not path.is_file():
        return
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.endswith("\n"):
                yield json.loads(line)


def _check_same(folder: Path, recipe: dict[str, object]) -> None:
    """VoxlateError if the hypotheses that are there depend on something else."""
    path = folder / META
    if not path.is_file():
        return
    known = json.loads(path.read_text(encoding="utf-8"))
    differing = [
        f"{key} was {known.get(key)!r}, is {recipe.get(key)!r}"
        for key in sorted(known.keys() | recipe.keys())
        if key not in _FREE and json.dumps(known.get(key)) != json.dumps(recipe.get(key))
    ]
    if differing:
        raise VoxlateError(
            f"{folder} holds hypotheses made otherwise ({'; '.join(differing)}); take another --output, or "
            "--overwrite to make them again"
        )


@contextmanager
def _only_here(folder: Path, state: PartialState) -> Iterator[None]:
    """Keep a folder to this launch."""
    if not state.is_main_process:
        state.wait_for_everyone()
        yield
        return
    try:
        with locked(folder):
            state.wait_for_everyone()
            yield
    except Timeout:
        raise VoxlateError(f"{folder}: another run writes there; wait for it, or take another --output") from None
