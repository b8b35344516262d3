"""Read releases of Common Voice, as folders or archives: clips and their sentences."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol

from voxlate.corpora.archives import MAX_CLIP_BYTES, MAX_TABLE_BYTES, read_members
from voxlate.corpora.clip_checks import Clip, ClipJournal, file_state
from voxlate.errors import VoxlateError
from voxlate.files import atomic_file
from voxlate.languages import find_language
from voxlate.manifest.table_files import Problems, text_lines

# Codes of Common Voice and CoVoST-2 that differ from ours.
LONG_CODES = {"zh": "zh-CN", "sv": "sv-SE"}
_ARCHIVE = (".tar.gz", ".tgz", ".tar")

Sentences = dict[str, tuple[str, str]]  # clip -> sentence, speaker


def codes(language: str) -> list[str]:
    """Return the codes of a language in file names: `zh-CN` and `zh`."""
    return [LONG_CODES[language], language] if language in LONG_CODES else [language]


class Release(Protocol):
    """One language of a release of Common Voice."""

    @property
    def language(self) -> str:
        """Return the code of the language."""

    def path(self, clip: str) -> Path:
        """Return the path of a clip, which may not exist yet."""

    def clips(self, names: Collection[str], journal: ClipJournal, flac: Path | None) -> Iterator[Clip]:
        """Yield those of the named clips that have no current result, to be written to the folder `flac` if given."""

    def sentences(self, names: Collection[str]) -> Sentences:
        """Return the sentences of the named clips from validated.tsv. Call it after `clips` is exhausted."""

    def inputs(self) -> dict[str, str]:
        """Return the input files and their states."""


@dataclass(frozen=True)
class UnpackedRelease:
    """A folder with clips/ and validated.tsv, which may be missing if the translations contain the sentences."""

    language: str
    folder: Path

    def path(self, clip: str) -> Path:
        return self.folder / "clips" / clip

    def clips(self, names: Collection[str], journal: ClipJournal, flac: Path | None) -> Iterator[Clip]:
        for name in names:
            source = self.path(name)
            target, state = flac_path(flac, name), file_state(source)
            if not journal.is_current(name, state, target):
                yield Clip(name, source, state, target)

    def sentences(self, names: Collection[str]) -> Sentences:
        with (self.folder / "validated.tsv").open("rb") as file:
            return _sentences(file, names, str(self.folder / "validated.tsv"))

    def inputs(self) -> dict[str, str]:
        validated = self.folder / "validated.tsv"
        return {"clips": str(self.folder / "clips"), "validated.tsv": file_state(validated)}


@dataclass(frozen=True)
class PackedRelease:
    """An archive, which is read once from start to end. Files are extracted to `folder`."""

    language: str
    archive: Path
    folder: Path

    def path(self, clip: str) -> Path:
        return self.folder / clip

    def clips(self, names: Collection[str], journal: ClipJournal, flac: Path | None) -> Iterator[Clip]:
        state = f"{self.archive.name}-{file_state(self.archive)}"
        pending = {
            name for name in names if not journal.is_current(name, state, flac_path(flac, name) or self.path(name))
        }
        if not pending and self._validated().exists():
            return
        try:
            yield from self._unpack(pending, state, flac)
        except VoxlateError:  # files extracted before the damage was detected may be damaged too
            untrusted = [result for result in journal.results.values() if result.state == state]
            journal.add(replace(result, state="from a damaged archive") for result in untrusted)
            raise
        for name in sorted(pending):  # not in the archive; reading the missing file reports it
            yield Clip(name, self.path(name), state, flac_path(flac, name))

    def _unpack(self, pending: set[str], state: str, flac: Path | None) -> Iterator[Clip]:
        """Yield the clips in `pending` and remove them from it. validated.tsv is kept if the archive is intact."""
        with ExitStack() as stack:
            validated = None
            for member in read_members(self.archive):
                name, folder = _name_and_folder(member.name)
                if name == "validated.tsv":
                    if validated is not None:
                        raise VoxlateError(f"{self.archive}: contains several validated.tsv, expected one language")
                    validated = stack.enter_context(atomic_file(self._validated()))
                    member.copy(validated, MAX_TABLE_BYTES)
                    _check_header(validated, f"{self.archive}: {name}")  # fail before hours are spent on clips
                elif name in pending and folder == "clips":
                    pending.remove(name)
                    contents = member.read(MAX_CLIP_BYTES)
                    if flac is None:
                        with atomic_file(self.path(name), durable=False) as part:
                            part.write_bytes(contents)
                        yield Clip(name, self.path(name), state)
                    else:
                        yield Clip(name, contents, state, flac_path(flac, name))

    def sentences(self, names: Collection[str]) -> Sentences:
        if not self._validated().exists():
            raise VoxlateError(f"{self.archive}: contains no validated.tsv; is it a release of Common Voice?")
        with self._validated().open("rb") as file:
            return _sentences(file, names, f"{self.archive}: validated.tsv")

    def inputs(self) -> dict[str, str]:
        return {"archive": f"{self.archive} {file_state(self.archive)}"}

    def _validated(self) -> Path:
        return self.folder / f"validated-{file_state(self.archive)}.tsv"


def flac_path(folder: Path | None, clip: str) -> Path | None:
    """Return the path of a clip's FLAC file; None without a folder."""
    return None if folder is None else folder / f"{Path(clip).stem}.flac"


def find_release(root: Path, language: str, unpacked: Path, *, with_sentences: bool) -> Release:
    """Find a language's release in `root`, which may be the release itself. VoxlateError if there is none.

    Archives are extracted to `unpacked`.
    """
    names = codes(language)
    folders = [root / name for name in names]
    folders += [folder for name in names for folder in sorted(root.glob(f"*/{name}"))]
    releases: list[Path] = list({path.resolve(): path for path in folders if _is_release(path)}.values())
    if not releases and _is_release(root) and _is_in_language(root, names):
        releases = [root]
    if not releases:
        releases = [
            path for path in [root, *sorted(root.glob("*")), *sorted(root.glob("*/*"))] if _is_archive(path, names)
        ]
    if len(releases) > 1:
        paths = ", ".join(map(str, releases))
        raise VoxlateError(f"several releases of {names[0]} ({paths}); pass the folder of one as --common-voice")
    if not releases:
        expected = f"clips/, {names[0]}/clips/, VERSION/{names[0]}/clips/ or an archive such as {names[0]}.tar.gz"
        raise VoxlateError(f"no Common Voice in {find_language(language).name} under {root}; expected {expected}")
    if releases[0].is_file():
        return PackedRelease(language, releases[0], unpacked)
    if with_sentences and not (releases[0] / "validated.tsv").is_file():
        raise VoxlateError(f"{releases[0]}: no validated.tsv, which contains the sentences; copy it from the release")
    if with_sentences:
        _check_header(releases[0] / "validated.tsv", str(releases[0] / "validated.tsv"))
    return UnpackedRelease(language, releases[0])


def _is_release(folder: Path) -> bool:
    return (folder / "clips").is_dir() or (folder / "validated.tsv").is_file()


def _is_in_language(folder: Path, names: list[str]) -> bool:
    """Return whether a single-language release is in the language with these codes, judging by the names of its clips.

    True if the names do not indicate a language, or if there is no validated.tsv.
    """
    validated = folder / "validated.tsv"
    if not validated.is_file():
        return True
    with validated.open("rb") as file:
        first, _, _ = next(_sentence_rows(file, str(validated)), ("", "", ""))
    return not first.startswith("common_voice_") or any(first.startswith(f"common_voice_{name}_") for name in names)


def _is_archive(path: Path, names: list[str]) -> bool:
    stem = next((path.name[: -len(end)] for end in _ARCHIVE if path.name.lower().endswith(end)), None)
    if stem is None or not path.is_file():
        return False
    # The code must be a word by itself, and not followed by another region: zh-TW is not zh.
    return any(re.search(rf"(?<![A-Za-z]){name}(?![A-Za-z]|-[A-Z]{{2}}(?![A-Za-z]))", stem) for name in names)


def _name_and_folder(name: str) -> tuple[str, str]:
    """Return the file name and the folder name of a file in an archive; both empty if its path leaves the archive.

    The rest of the path is ignored, so an archive cannot cause files to be written outside the output folder.
    """
    parts = PurePosixPath(name).parts
    if not parts or ".." in parts or name.startswith("/"):
        return "", ""
    return parts[-1], parts[-2] if len(parts) > 1 else ""


def _check_header(table: Path, name: str) -> None:
    """Raise VoxlateError if the first line of a table is not a valid header."""
    with table.open("rb") as file:
        next(_sentence_rows(file, name), None)


def _sentences(file: BinaryIO, names: Collection[str], path: str) -> Sentences:
    sentences: Sentences = {}
    for clip, sentence, speaker in _sentence_rows(file, path):
        if clip in names:
            sentences.setdefault(clip, (sentence, speaker))
    return sentences


def _sentence_rows(file: BinaryIO, path: str) -> Iterator[tuple[str, str, str]]:
    """Yield clip, sentence and speaker of each row. Releases, and rows, differ in the columns after these."""
    problems = Problems(path)
    indices: list[int] = []
    for line, text in text_lines(file, problems):
        cells = text.rstrip("\r\n").split("\t")
        if line == 1:
            missing = [name for name in ("path", "sentence", "client_id") if name not in cells]
            if missing:
                raise VoxlateError(
                    f"{path}: no column {', '.join(missing)} in its first line; expected a TSV of Common Voice"
                )
            indices = [cells.index(name) for name in ("path", "sentence", "client_id")]
        elif len(cells) > max(indices):
            yield unescape(cells[indices[0]]), unescape(cells[indices[1]]), cells[indices[2]]
    problems.raise_any()
    if not indices:
        raise VoxlateError(f"{path}: empty; fetch it again")


def unescape(cell: str) -> str:
    r"""Undo the escapes of CoVoST-2's TSV files: a backslash before a backslash, a quotation mark or a tab.

    CoVoST-2's script (get_covost_splits.py) reads and writes TSVs with pandas and `quoting=QUOTE_NONE,
    escapechar="\\"`. Reading them that way would remove all other backslashes from the text (`C:\new` becomes `C:new`);
    here they are kept. Quotation marks are text.
    """
    return re.sub(r'\\([\\"\t])', r"\1", cell) if "\\" in cell else cell


def escape(cell: str) -> str:
    """Escape a cell; the inverse of `unescape`."""
    return re.sub(r'([\\"\t])', r"\\\1", cell)
