"""List the checkpoints of a run and remove old ones: the last scheduled ones and those around the best are kept."""

import re
import shutil
from pathlib import Path

from voxlate.errors import VoxlateError
from voxlate.training.training_state import read_training_state

CHECKPOINTS = "checkpoints"


def list_checkpoints(run: Path) -> list[Path]:
    """Return the checkpoint folders of a run, oldest first."""
    folders = (run / CHECKPOINTS).glob("update-*")
    return sorted((path for path in folders if re.fullmatch(r"update-\d{8,}", path.name)), key=checkpoint_update)


def checkpoint_update(folder: Path) -> int:
    """Return the number of updates after which a checkpoint was saved."""
    return int(folder.name.removeprefix("update-"))


def scheduled_checkpoints(run: Path, every_updates: int) -> list[list[Path]]:
    """Return the checkpoints that were due by the settings, oldest first, in lists of consecutive ones.

    Checkpoints of older versions do not record whether they were scheduled; for those, `every_updates` decides. A
    damaged checkpoint is in a separate list.
    """
    sequences: list[list[Path]] = []
    for folder in list_checkpoints(run):
        try:
            state = read_training_state(folder)
        except VoxlateError:
            sequences.append([folder])
            continue
        scheduled, previous = state.scheduled, state.previous_scheduled
        if scheduled is None:
            scheduled = state.finished or state.update % every_updates == 0
            previous = (state.update - 1) // every_updates * every_updates
        if not scheduled:
            continue
        if sequences and checkpoint_update(sequences[-1][-1]) == previous:
            sequences[-1].append(folder)
        else:
            sequences.append([folder])
    return sequences


def prune(run: Path, *, keep_last: int, best: int | None, keep_around_best: int, every_updates: int) -> None:
    """Remove all checkpoints except the newest, the last scheduled ones, the best, and scheduled ones around the best.

    A checkpoint written by an interruption is kept only until there is a newer one, so that the others are those of an
    uninterrupted run.
    """
    folders = list_checkpoints(run)
    scheduled = [folder for sequence in scheduled_checkpoints(run, every_updates) for folder in sequence]
    retained = {*folders[-1:], *scheduled[-keep_last:]}
    if best is not None:
        retained |= {folder for folder in scheduled if checkpoint_update(folder) == best}
        retained |= {*nearest_checkpoints(scheduled, best)[:keep_around_best]}
    for folder in folders:
        if folder not in retained:
            remove_checkpoint(folder)


def nearest_checkpoints(folders: list[Path], update: int) -> list[Path]:
    """Return checkpoints sorted by their distance to an update, the earlier first if distances are equal."""
    return sorted(folders, key=lambda folder: (abs(checkpoint_update(folder) - update), checkpoint_update(folder)))


def remove_checkpoint(folder: Path) -> None:
    """Remove a checkpoint if it exists; if interrupted, nothing that looks like a checkpoint remains."""
    if folder.exists():
        renamed = folder.with_name(f".{folder.name}.removed")
        shutil.rmtree(renamed, ignore_errors=True)
        folder.rename(renamed)
        shutil.rmtree(renamed)


def remove_partial_checkpoints(run: Path) -> None:
    """Remove incomplete checkpoints that a killed process left behind."""
    for folder in (run / CHECKPOINTS).glob(".update-*"):
        shutil.rmtree(folder, ignore_errors=True)
