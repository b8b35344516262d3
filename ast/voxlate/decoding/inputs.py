"""From what the user names (files, folders, globs, ``-``) to audio inputs."""

import glob
import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from voxlate.audio.loading import MEDIA_SUFFIXES
from voxlate.errors import AudioError

STDIN = "-"
_DESCRIPTOR = re.compile(r"/dev/(fd/|std)|/proc/")  # of this process: the next one has others


@dataclass(frozen=True)
class Input:
    """One audio input; `path` is None for standard input."""

    path: Path | None

    @property
    def name(self) -> str:
        """What messages and results call it: its path, with bytes that are no UTF-8 as backslash escapes."""
        return "stdin" if self.path is None else os.fsencode(self.path).decode("utf-8", "backslashreplace")

    @property
    def absolute(self) -> Path:
        """Its path from the root, without `..`, its links not followed; standard input is called stdin."""
        return Path("/stdin") if self.path is None else _absolute(self.path)

    @property
    def key(self) -> str:
        """What it is called wherever the command runs."""
        return STDIN if self.path is None else str(self.absolute)

    @property
    def is_nameless(self) -> bool:
        """Whether the name says nothing of the contents, which may be others each time: pipes, devices, `<(...)`."""
        if self.path is None or _DESCRIPTOR.match(str(self.absolute)):
            return True
        try:
            return not stat.S_ISREG(os.stat(self.path).st_mode)  # noqa: PTH116 (see find_inputs)
        except (OSError, ValueError):
            return False


@dataclass
class Inputs:
    """The inputs found, what was named but gave none, and the files of folders that are left out."""

    found: list[Input] = field(default_factory=list)
    failed: list[AudioError] = field(default_factory=list)
    left_out: list[Path] = field(default_factory=list)


def find_inputs(arguments: Sequence[str]) -> Inputs:
    """Return the inputs that arguments name, each once, in the order named and by path within a folder or glob.

    Of folders, files with the suffix of a media file are taken, at any depth; files named outright always are.
    """
    inputs = Inputs()
    for argument in arguments:
        path = Path(argument)
        if argument == STDIN:
            inputs.found.append(Input(None))
        elif os.path.isdir(path):  # noqa: PTH112 (the methods of Path raise where a name is too long)
            _walk(path, inputs)
        elif os.path.lexists(path):
            inputs.found.append(Input(path))
        elif "://" in argument:
            inputs.failed.append(AudioError(f"{argument}: addresses are not read; download the file and name it"))
        elif glob.has_magic(argument):
            matches = sorted(Path(match) for match in glob.glob(argument, recursive=True))  # noqa: PTH207
            if not matches:
                inputs.failed.append(AudioError(f"{argument}: no file matches"))
            for match in matches:
                if not match.is_dir():
                    inputs.found.append(Input(match))
                elif "**" not in argument:  # with ** what lies in the folder matches by itself
                    _walk(match, inputs)
        else:
            inputs.found.append(Input(path))
    unique: dict[Path | None, Input] = {}
    for item in inputs.found:
        unique.setdefault(item.path and _absolute(item.path), item)
    inputs.found = list(unique.values())
    return inputs


def _absolute(path: Path) -> Path:
    """Return the path from the root, without `..`, its links not followed."""
    return Path(os.path.abspath(path))  # noqa: PTH100


def _walk(top: Path, inputs: Inputs) -> None:
    """Add the media files below a folder. A folder that has none, or is named like a file, was meant as audio."""
    found_before, seen = len(inputs.found) + len(inputs.failed), set()
    for root, folders, names in os.walk(top, followlinks=True, onerror=lambda error: _not_listed(error, inputs)):
        folder, real = Path(root), os.path.realpath(root)
        if real in seen:  # a link back up
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        files = [folder / name for name in sorted(names)]
        media = [file for file in files if _is_media(file)]
        inputs.found += [Input(file) for file in media]
        inputs.left_out += sorted(set(files) - set(media))
        if folder != top and _is_media(folder) and not media and not folders:
            inputs.failed.append(AudioError(f"{folder}: is a directory, not an audio file"))
    if len(inputs.found) + len(inputs.failed) == found_before:
        inputs.failed.append(
            AudioError(f"{top}: no audio files in this folder; known suffixes: .wav .mp3 .flac .mp4 …")
        )


def _is_media(path: Path) -> bool:
    """Return whether the name is a media file's; pipes and devices, which could block for ever, are not taken."""
    if path.suffix.lower() not in MEDIA_SUFFIXES or path.name.startswith("."):
        return False
    try:
        mode = path.stat().st_mode
    except OSError:  # a link to nowhere, or no permission: reading it says so
        return True
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode)


def _not_listed(error: OSError, inputs: Inputs) -> None:
    inputs.failed.append(AudioError(f"{error.filename}: cannot be listed ({error.strerror})"))
