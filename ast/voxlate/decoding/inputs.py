"""From what the user names (files, folders, globs, ``-``) to audio inputs, and where their results go."""

import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from voxlate.data.audio import MEDIA_SUFFIXES
from voxlate.errors import AudioError

STDIN = "-"


@dataclass(frozen=True)
class Input:
    """One audio input; `path` is None for standard input."""

    path: Path | None

    @property
    def name(self) -> str:
        """What messages and results call it: its path, with bytes that are no UTF-8 as backslash escapes."""
        return "stdin" if self.path is None else os.fsencode(self.path).decode("utf-8", "backslashreplace")

    def output(self, folder: Path, language: str, suffix: str) -> Path:
        """Return where a result goes: the input's own path below `folder`, with its suffix kept.

        A path below the working directory keeps its folders from there, any other one all its folders: no two inputs
        share an output, in this run or in a later one. The language is part of the name for the same reason.
        """
        relative = Path("stdin") if self.path is None else _mirrored(self.path)
        return folder / relative.parent / f"{relative.name}.{language}.{suffix}"


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
        path = Path(argument).expanduser()
        if argument == STDIN:
            inputs.found.append(Input(None))
        elif path.is_dir():
            _walk(path, inputs)
        elif not path.exists() and glob.has_magic(argument):
            matches = sorted(Path(match) for match in glob.glob(str(path), recursive=True))  # noqa: PTH207
            if not matches:
                inputs.failed.append(AudioError(f"{argument}: no file matches"))
            for match in matches:
                if not match.is_dir():
                    inputs.found.append(Input(match))
                elif "**" not in argument:  # with ** what lies in the folder matches by itself
                    _walk(match, inputs)
        else:
            inputs.found.append(Input(path))
    inputs.found = list(dict.fromkeys(inputs.found))
    return inputs


def _mirrored(path: Path) -> Path:
    absolute = Path(os.path.normpath(path.absolute()))
    working = Path.cwd()
    if absolute.is_relative_to(working):
        relative = absolute.relative_to(working)
        if not Path(absolute.anchor, relative).exists():  # else that file's results would have the same place
            return relative
    return absolute.relative_to(absolute.anchor)


def _walk(top: Path, inputs: Inputs) -> None:
    """Add the media files below a folder. A folder that has none, or is named like a file, was meant as audio."""
    found_before, seen = len(inputs.found), set()
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
        inputs.left_out += [file for file in files if not _is_media(file)]
        if folder != top and _is_media(folder) and not media and not folders:
            inputs.failed.append(AudioError(f"{folder}: is a directory, not an audio file"))
    if len(inputs.found) == found_before:
        inputs.failed.append(
            AudioError(f"{top}: no audio files in this folder; known suffixes: .wav .mp3 .flac .mp4 …")
        )


def _is_media(path: Path) -> bool:
    return path.suffix.lower() in MEDIA_SUFFIXES and not path.name.startswith(".")


def _not_listed(error: OSError, inputs: Inputs) -> None:
    inputs.failed.append(AudioError(f"{error.filename}: cannot be listed ({error.strerror})"))
