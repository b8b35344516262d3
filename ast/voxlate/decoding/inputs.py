"""Resolve the arguments of a command (files, folders, globs, ``-``) to audio inputs."""

import glob
import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from voxlate.audio.loading import MEDIA_SUFFIXES
from voxlate.bundled import find_bundled
from voxlate.errors import AudioError

STDIN = "-"
_DESCRIPTOR = re.compile(r"/dev/(fd/|std)|/proc/")  # names that refer to something else in another process


@dataclass(frozen=True)
class Input:
    """One audio input; `path` is None for standard input."""

    path: Path | None

    @property
    def name(self) -> str:
        """The name in messages and results: the path, with bytes that are not UTF-8 as backslash escapes."""
        return "stdin" if self.path is None else os.fsencode(self.path).decode("utf-8", "backslashreplace")

    @property
    def absolute(self) -> Path:
        """The absolute path without `..`, links not followed; /stdin for standard input."""
        return Path("/stdin" if self.path is None else self.key)

    @cached_property
    def key(self) -> str:
        """The name in journals, which does not depend on the working directory."""
        return STDIN if self.path is None else os.path.abspath(self.path)  # noqa: PTH100 (links are not followed)

    @property
    def is_nameless(self) -> bool:
        """Whether the name does not identify the contents, as for pipes, devices and `<(...)`."""
        if self.path is None or _DESCRIPTOR.match(self.key):
            return True
        try:
            return not stat.S_ISREG(os.stat(self.path).st_mode)  # noqa: PTH116 (see find_inputs)
        except (OSError, ValueError):
            return False


@dataclass
class Inputs:
    """The resolved inputs, errors of arguments without inputs, and the files skipped in folders."""

    items: list[Input] = field(default_factory=list)
    failed: list[AudioError] = field(default_factory=list)
    skipped: list[Path] = field(default_factory=list)


def find_inputs(arguments: Sequence[str]) -> Inputs:
    """Return the inputs of arguments, each once, in the order given, and by path within a folder or glob.

    Folders are searched recursively for files with a media suffix. A file given by name may have any suffix. The clips
    of bundled recipes are found in any working directory.
    """
    inputs = Inputs()
    for argument in arguments:
        path = find_bundled(argument)
        if argument == STDIN:
            inputs.items.append(Input(None))
        elif os.path.isdir(path):  # noqa: PTH112 (the methods of Path raise where a name is too long)
            _walk(path, inputs)
        elif os.path.lexists(path):
            inputs.items.append(Input(path))
        elif "://" in argument:
            inputs.failed.append(AudioError(f"{argument}: URLs are not supported; download the file and give its path"))
        elif glob.has_magic(argument):
            matches = sorted(Path(match) for match in glob.glob(argument, recursive=True))  # noqa: PTH207
            if not matches:
                inputs.failed.append(AudioError(f"{argument}: no file matches"))
            for match in matches:
                if not match.is_dir():
                    inputs.items.append(Input(match))
                elif "**" not in argument:  # with **, the pattern already matches the contents of the folder
                    _walk(match, inputs)
        else:
            inputs.items.append(Input(path))
    unique: dict[str, Input] = {}
    for item in inputs.items:
        unique.setdefault(item.key, item)
    inputs.items = list(unique.values())
    return inputs


def _walk(top: Path, inputs: Inputs) -> None:
    """Add the media files below a folder. A folder without any, or one with a media suffix, is an error."""
    count_before, seen = len(inputs.items) + len(inputs.failed), set()
    for root, folders, names in os.walk(top, followlinks=True, onerror=lambda error: _add_listing_error(error, inputs)):
        folder, real = Path(root), os.path.realpath(root)
        if real in seen:  # a link to a parent folder
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        media: list[Path] = []
        for file in (folder / name for name in sorted(names)):
            (media if _is_media(file) else inputs.skipped).append(file)
        inputs.items += map(Input, media)
        if folder != top and _is_media(folder) and not media and not folders:
            inputs.failed.append(AudioError(f"{folder}: is a directory, not an audio file"))
    if len(inputs.items) + len(inputs.failed) == count_before:
        inputs.failed.append(
            AudioError(f"{top}: no audio files in this folder; known suffixes: .wav .mp3 .flac .mp4 …")
        )


def _is_media(path: Path) -> bool:
    """Return whether a path is a media file by its suffix. Pipes and devices, which could block, are not."""
    if path.suffix.lower() not in MEDIA_SUFFIXES or path.name.startswith("."):
        return False
    try:
        mode = path.stat().st_mode
    except OSError:  # a broken link, or no permission: reported when it is read
        return True
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode)


def _add_listing_error(error: OSError, inputs: Inputs) -> None:
    inputs.failed.append(AudioError(f"{error.filename}: cannot be listed ({error.strerror})"))
