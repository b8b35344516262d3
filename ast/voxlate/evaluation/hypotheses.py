"""Translate the clips and recordings of a manifest into a file of hypotheses. An interrupted run can be resumed.

Clips are sentences and translated as they are. A recording, whose reference is a list of sentences, is cut into
segments, as by `voxlate translate`.

During a run, each process appends its results to a part. At the end the parts are merged into one file in the
manifest's order, next to a file with their recipe. When a run is resumed, a row is kept if it has no error and the
bytes of its clip are unchanged. Clips that failed are tried again.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import Timeout

from voxlate.audio.loading import AudioSource
from voxlate.decoding.results import Translation
from voxlate.decoding.segmenting import SegmentationOptions
from voxlate.errors import AudioError, VoxlateError
from voxlate.files import file_sha256, locked, write_text
from voxlate.manifest.reading import Manifest
from voxlate.manifest.utterance import EmbeddedAudio, Utterance
from voxlate.progress import progress_bar, stderr
from voxlate.search_options import SearchOptions
from voxlate_eval import EvaluationError
from voxlate_eval.strict_json import parse_objects, read_object

if TYPE_CHECKING:
    from accelerate import PartialState

    from voxlate.decoding.ray_translator import RayTranslator
    from voxlate.decoding.translator import Translator

HYPOTHESES, META = "hypotheses.jsonl", "hypotheses.meta.json"
_PART = "hypotheses.part-*.jsonl"
_KEPT = _PART.replace("*", "kept")
_MAY_DIFFER = ("device", "commit", "manifest", "manifest_sha256")  # may differ when a run is resumed
_RECORDINGS = "recordings_"  # of names in recipes: how recordings were segmented
_MAX_SHOWN = 80  # characters of a value in messages


@dataclass(frozen=True)
class Task:
    """A manifest of one direction and split, and the folder of its hypotheses and scores."""

    manifest: Manifest
    folder: Path
    direction: str
    target_language: str


def delete_hypotheses(task: Task) -> None:
    """Delete the hypotheses of a task, including those of an interrupted run."""
    for path in (task.folder / META, task.folder / HYPOTHESES, *task.folder.glob(_PART)):
        path.unlink(missing_ok=True)


def translate(
    task: Task,
    translator: Translator | RayTranslator,
    options: SearchOptions,
    segmentation: SegmentationOptions,
    state: PartialState,
    progress: Callable[[float, float], None] | None = None,
    num_workers: int | None = None,
) -> int:
    """Write the hypotheses of a task; return how many clips failed. All processes of a launch must call it.

    A clip that cannot be read gets an empty text and its error. Only recordings are segmented. `progress` and
    `num_workers` are passed to `Translator.stream`.
    VoxlateError if the folder holds hypotheses of other clips or settings.
    """
    recipe = {**translator.recipe(options, task.target_language), **_data_recipe(task)}
    if has_recordings(task.manifest):
        recipe |= {f"{_RECORDINGS}{name}": value for name, value in segmentation.recorded().items()}
    with _exclusive_folder(task.folder, state):
        _check_same(task, recipe)  # in every process, so that an error does not leave the others waiting
        state.wait_for_everyone()  # no process may change files before all have checked them
        if state.is_main_process:
            write_text(task.folder / META, json.dumps(recipe, indent=1, ensure_ascii=False) + "\n")
            _keep_valid_rows(task)
        state.wait_for_everyone()
        done = {row["id"] for row in _read_rows(task.folder / _KEPT)}
        todo = [index for index, name in enumerate(task.manifest.column("id")) if name not in done]
        process_indices = todo[state.process_index :: state.num_processes]
        _translate(task, process_indices, translator, options, segmentation, state, progress, num_workers)
        state.wait_for_everyone()
        if state.is_main_process:
            _merge(task)
        state.wait_for_everyone()
    return sum("error" in row for row in _read_rows(task.folder / HYPOTHESES))


def has_recordings(manifest: Manifest) -> bool:
    """Return whether the reference of any row is a list of sentences."""
    return any(manifest.column("target_sentences"))


def _data_recipe(task: Task) -> dict[str, object]:
    """Return the part of the recipe that identifies the clips."""
    recipe: dict[str, object] = {
        "direction": task.direction,
        "target_language": task.target_language,
        "manifest": Path(os.path.relpath(task.manifest.path, task.folder)).as_posix(),
        "manifest_sha256": file_sha256(task.manifest.path),
    }
    return recipe | ({"split": task.manifest.column("split")[0]} if task.manifest.is_subset else {})


def _keep_valid_rows(task: Task) -> None:
    """Replace the files of earlier runs by one part with the rows that are still valid; report how many are not."""
    rows = {row["id"]: row for path in _row_files(task.folder) for row in _read_rows(path)}
    failed = [row for row in rows.values() if "error" in row]
    kept, changed = [], 0
    for utterance in task.manifest:
        row = rows.get(utterance.id)
        if row is None:
            continue
        if "error" in row:
            if row["error"] == utterance.error:
                kept.append(row)
        elif utterance.error is None and _is_current(row, utterance):
            kept.append(row)
        else:
            changed += 1
    retried = len(failed) - sum("error" in row for row in kept)
    if retried or changed:
        stderr().print(
            f"{task.direction}: translating again {retried:,} clips that failed and {changed:,} whose audio or kind of "
            "reference changed"
        )
    write_text(task.folder / _KEPT, "".join(map(_line, kept)))
    for part in task.folder.glob(_PART):
        if part.name != _KEPT:
            part.unlink()


def _translate(
    task: Task,
    indices: list[int],
    translator: Translator | RayTranslator,
    options: SearchOptions,
    segmentation: SegmentationOptions,
    state: PartialState,
    progress: Callable[[float, float], None] | None,
    num_workers: int | None,
) -> None:
    """Append the results of this process's clips to its part, each as soon as it is complete."""
    part = task.folder / _PART.replace("*", f"{state.process_index:05}")
    with ExitStack() as stack:
        file = stack.enter_context(part.open("w", encoding="utf-8", newline="\n"))
        advance = (
            stack.enter_context(progress_bar(task.direction, len(indices))) if state.is_main_process else _no_progress
        )
        readable: dict[bool, list[Utterance]] = {False: [], True: []}  # by whether it is a recording
        for index in indices:
            utterance = task.manifest[index]
            if utterance.error is None:
                readable[bool(utterance.target_sentences)].append(utterance)
            else:
                _append(file, utterance.id, "", error=utterance.error)
                advance(1)
        for is_recording, utterances in readable.items():
            if not utterances:
                continue
            digests: dict[int, str | None] = {}
            for number, result in translator.stream(
                _sources(utterances, digests),
                to=task.target_language,
                options=options,
                segmentation=segmentation,
                progress=progress,
                whole=not is_recording,
                num_workers=num_workers,
            ):
                if isinstance(result, AudioError):
                    _append(file, utterances[number].id, "", error=str(result))
                else:
                    origin = {"warnings": list(result.warnings) or None, "audio_sha256": digests.pop(number)}
                    kind = {"recording": is_recording or None}
                    _append(file, utterances[number].id, result.text, score=_score(result), **kind, **origin)
                advance(1)


def _sources(utterances: Sequence[Utterance], digests: dict[int, str | None]) -> Iterator[AudioSource]:
    """Yield the audio of utterances; store the digest of each under its number when it is read."""
    for number, utterance in enumerate(utterances):
        digests[number] = _sha256(utterance)
        yield _source(utterance)


def _no_progress(count: int) -> None:
    """Do nothing: only the main process shows progress."""


def _is_current(row: dict[str, Any], utterance: Utterance) -> bool:
    """Return whether a row is the translation of an utterance's present audio, cut into segments or not as needed."""
    same_kind = bool(row.get("recording")) == bool(utterance.target_sentences)
    return same_kind and row.get("audio_sha256") == _sha256(utterance)


def _source(utterance: Utterance) -> AudioSource:
    return utterance.audio.read() if isinstance(utterance.audio, EmbeddedAudio) else utterance.audio


def _sha256(utterance: Utterance) -> str | None:
    """Return the digest of a clip's file, None if it cannot be read."""
    try:
        if isinstance(utterance.audio, EmbeddedAudio):
            return hashlib.sha256(utterance.audio.read()).hexdigest()
        return file_sha256(utterance.audio)
    except OSError:
        return None


def _score(result: Translation) -> float | None:
    """Return the mean score of a clip's segments; None if it has none."""
    scores = [segment.candidates[0].score for segment in result.segments]
    mean = sum(scores) / len(scores) if scores else math.nan
    return round(mean, 4) if math.isfinite(mean) else None  # JSON has neither NaN nor infinity


def _append(file: Any, name: str, text: str, **others: object) -> None:
    row = {"id": name, "text": text} | {key: value for key, value in others.items() if value is not None}
    file.write(_line(row))
    file.flush()


def _line(row: dict[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False) + "\n"


def _merge(task: Task) -> None:
    """Write the file of hypotheses in the manifest's order, and delete the parts."""
    parts = sorted(task.folder.glob(_PART))
    rows = {row["id"]: row for part in parts for row in _read_rows(part)}
    write_text(task.folder / HYPOTHESES, "".join(_line(rows[name]) for name in task.manifest.column("id")))
    for part in parts:
        part.unlink()


def _row_files(folder: Path) -> list[Path]:
    """Return the files that hold rows. Rows of later files replace those of earlier ones."""
    return [path for path in (folder / HYPOTHESES, *sorted(folder.glob(_PART))) if path.is_file()]


def _read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file, except lines that are damaged or incomplete."""
    with path.open("rb") as file:
        for line in file:
            try:
                [(_, row)] = parse_objects(path, line.decode("utf-8") if line.endswith(b"\n") else "")
            except ValueError:  # EvaluationError is one, and so is the failure to unpack
                continue
            if isinstance(row.get("id"), str) and isinstance(row.get("text"), str):
                yield row


def _check_same(task: Task, recipe: dict[str, object]) -> None:
    """VoxlateError if existing hypotheses have other clips or settings, or their recipe is missing."""
    advice = "use another --output, or --overwrite to translate again"
    for name in (META, HYPOTHESES):
        if (task.folder / name).is_dir():
            raise VoxlateError(f"{task.folder / name}: is a folder, expected a file; move it away")
    ids = {row["id"] for path in _row_files(task.folder) for row in _read_rows(path)}
    if not ids:
        return
    try:
        recorded = read_object(task.folder / META)
    except EvaluationError as error:
        raise VoxlateError(f"{error}; it holds the recipe of the hypotheses next to it: {advice}") from None
    if not any(name.startswith(_RECORDINGS) for name in recorded):  # the old hypotheses are of clips
        recorded |= {name: value for name, value in recipe.items() if name.startswith(_RECORDINGS)}
    differing = [
        f"{key} was {_shown(recorded.get(key))}, is {_shown(recipe.get(key))}"
        for key in sorted(recorded.keys() | recipe.keys())
        if key not in _MAY_DIFFER and json.dumps(recorded.get(key)) != json.dumps(recipe.get(key))
    ]
    if differing:
        raise VoxlateError(
            f"{task.folder} holds hypotheses made with other settings ({'; '.join(differing)}); {advice}"
        )
    others = sorted(ids.difference(task.manifest.column("id")))
    if others:
        raise VoxlateError(
            f"{task.folder} holds hypotheses of {len(others):,} clips that {task.manifest.path} lacks, first "
            f"{_shown(others[0])}; {advice}"
        )


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"


@contextmanager
def _exclusive_folder(folder: Path, state: PartialState) -> Iterator[None]:
    """Lock a folder for this launch."""
    if not state.is_main_process:
        state.wait_for_everyone()
        yield
        return
    try:
        with locked(folder):
            state.wait_for_everyone()
            yield
    except Timeout:
        raise VoxlateError(f"{folder}: another run is writing there; wait for it, or use another --output") from None
