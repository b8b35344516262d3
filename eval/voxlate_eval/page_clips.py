"""Audio clips of a report page, embedded or linked, restricted to media files below allowed folders.

A run's sentences.jsonl may come from an untrusted source, and its audio paths may point to any file of this machine.
"""

import base64
import logging
import mimetypes
import os
import re
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from voxlate_eval.strict_json import path_text

IsPlayable = Callable[[Path, bytes | None], bool]  # of a path and, if already read, the file's contents
_LOG = logging.getLogger(__name__)
_MANIFESTS = (".jsonl", ".tsv", ".csv", ".parquet")
_DIRECTION = re.compile(r"\w+-\w+")


class PageClips:
    """Clips of a page: embedded up to `embed_bytes` in total, then linked relative to `output`, if given.

    A clip is shown if its path, with symbolic links and ``..`` resolved, is below the folder of its run's manifest or
    one of `folders`, and if `is_playable` returns true for it.
    """

    def __init__(
        self, output: Path | None, embed_bytes: int, folders: Sequence[Path] = (), is_playable: IsPlayable | None = None
    ) -> None:
        self._output = None if output is None else output.resolve()
        self._left = embed_bytes
        self._folders = [folder.resolve() for folder in folders]
        self._is_playable = is_playable
        self._linked = self._unplayable = 0
        self._outside: list[Path] = []

    def allowed(self, scores: dict[str, Any]) -> list[Path]:
        """Return the folders that clips of a direction may come from, starting with that of its manifest.

        For a manifest at DIRECTION/test.jsonl, as written by `voxlate prepare`, that is the parent of DIRECTION.
        """
        try:
            manifest = Path((scores.get("files") or {}).get("references") or "")
            if manifest.suffix.lower() not in _MANIFESTS or not manifest.is_file():
                return self._folders
            folder = manifest.parent.resolve(strict=True)
        except (OSError, ValueError, RuntimeError):  # invalid name, or a cycle of links
            return self._folders
        direction = scores["direction"]
        if folder.name == direction and _DIRECTION.fullmatch(direction):
            folder = folder.parent
        return self._folders if folder == folder.parent else [folder, *self._folders]  # never the root folder

    def source(self, name: str | None, allowed: Sequence[Path]) -> str | None:
        """Return a data URL or a link for the page's player, or None if the clip is missing or not allowed."""
        if not name:
            return None
        try:
            path = Path(name).resolve(strict=True)
            status = path.stat()
            if not stat.S_ISREG(status.st_mode):
                return None
            if not any(path.is_relative_to(folder) for folder in allowed):
                self._outside.append(path)
                return None
            if status.st_size <= self._left:
                return self._embedded(path)
            return self._link(path)
        except (OSError, ValueError, RuntimeError):
            return None

    def notes(self) -> list[str]:
        """Return notes about clips that are linked or left out. The latter are also logged."""
        notes = []
        if self._outside:
            parent = path_text(Path(os.path.commonpath([path.parent for path in self._outside])))
            notes.append(
                f"{len(self._outside):,} clips are left out because they are outside the folders of the manifests; "
                f"--clips FOLDER allows another folder, such as {parent}."
            )
        if self._unplayable:
            notes.append(f"{self._unplayable:,} files are left out because they cannot be decoded as media files.")
        for note in notes:
            _LOG.warning(note)
        if self._linked:
            notes.append(f"{self._linked:,} clips are links to the original files and play only while those exist.")
        return notes

    def _embedded(self, path: Path) -> str | None:
        data = path.read_bytes()
        if not self._decodes(path, data):
            return None
        self._left -= len(data)
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        return f"data:{kind};base64,{base64.b64encode(data).decode()}"

    def _link(self, path: Path) -> str | None:
        if self._output is None or not self._decodes(path, None):
            return None
        self._linked += 1
        return quote(Path(os.path.relpath(path, self._output)).as_posix())

    def _decodes(self, path: Path, data: bytes | None) -> bool:
        playable = self._is_playable is not None and self._is_playable(path, data)
        self._unplayable += not playable
        return playable
