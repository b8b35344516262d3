"""Which clips a report's page may show: sound below the folders that are meant for it, embedded or linked.

A run's sentences.jsonl may come from anybody, and what it calls audio may be any file of this machine.
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

from voxlate_eval.strict_json import shown

IsSound = Callable[[Path, bytes | None], bool]  # of a file and, where they were read, its contents
_LOG = logging.getLogger(__name__)
_MANIFESTS = (".jsonl", ".tsv", ".csv", ".parquet")
_DIRECTION = re.compile(r"\w+-\w+")


class Clips:
    """Clips of a page: as data up to `embed_bytes` together, then as links from `output`, if there is one.

    A clip is shown if it lies below the folder of its run's manifest or one of `folders`, once symbolic links and
    ``..`` are resolved, and `is_sound` says that it is a media file which decodes.
    """

    def __init__(
        self, output: Path | None, embed_bytes: int, folders: Sequence[Path] = (), is_sound: IsSound | None = None
    ) -> None:
        self._output = None if output is None else output.resolve()
        self._left = embed_bytes
        self._folders = [folder.resolve() for folder in folders]
        self._is_sound = is_sound
        self._linked = self._silent = 0
        self._outside: list[Path] = []

    def allowed(self, scores: dict[str, Any]) -> list[Path]:
        """Return the folders that clips of a direction may come from; the first is that of its manifest.

        Of a manifest that lies as DIRECTION/test.jsonl, as `voxlate prepare` writes it, that is the folder above.
        """
        try:
            manifest = Path((scores.get("files") or {}).get("references") or "")
            if manifest.suffix.lower() not in _MANIFESTS or not manifest.is_file():
                return self._folders
            folder = manifest.parent.resolve(strict=True)
        except (OSError, ValueError, RuntimeError):  # no file can have such a name, or its links lead in a circle
            return self._folders
        direction = scores["direction"]
        if folder.name == direction and _DIRECTION.fullmatch(direction):
            folder = folder.parent
        return self._folders if folder == folder.parent else [folder, *self._folders]  # never a whole machine

    def source(self, name: str | None, allowed: Sequence[Path]) -> str | None:
        """Return what a page's player plays: data or a link; None where the clip is not there or may not be shown."""
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
        """Say what became of the clips that are not in the page; what is left out is logged, too."""
        notes = []
        if self._outside:
            parent = shown(Path(os.path.commonpath([path.parent for path in self._outside])))
            notes.append(
                f"{len(self._outside):,} clips are left out, which lie outside the folders of the manifests; "
                f"--clips FOLDER allows another one, such as {parent}."
            )
        if self._silent:
            notes.append(f"{self._silent:,} files are left out, which are no media files that can be decoded.")
        for note in notes:
            _LOG.warning(note)
        if self._linked:
            notes.append(f"{self._linked:,} clips are links to where they were; they play while they are there.")
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
        found = self._is_sound is not None and self._is_sound(path, data)
        self._silent += not found
        return found
