"""TSV files of CoVoST-2's translations: one for a pair, or one for each of its splits, uncompressed or in archives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from voxlate.corpora.archives import MAX_TABLE_BYTES, read_members
from voxlate.corpora.clip_checks import file_state
from voxlate.corpora.common_voice import codes, unescape
from voxlate.corpora.splits import SPLITS
from voxlate.errors import VoxlateError
from voxlate.manifest.table_files import Problems, text_lines


@dataclass(frozen=True, slots=True)
class TranslationRow:
    """One row. `label` is the official name of the split; sentence and speaker are set if the file contains them."""

    clip: str
    translation: str
    label: str
    sentence: str | None = None
    speaker: str | None = None


@dataclass(frozen=True)
class TranslationTables:
    """The rows of a pair, read on iteration from its `official` file, or else from one file per split."""

    official: Path | None
    splits: Mapping[str, Path]

    def __iter__(self) -> Iterator[TranslationRow]:
        if self.official is not None:
            for clip, translation, label in _rows(self.official, ("path", "translation", "split")):
                yield TranslationRow(clip, translation, label)
        for split, path in self.splits.items():
            for clip, translation, sentence, speaker in _rows(path, ("path", "translation", "sentence", "client_id")):
                yield TranslationRow(clip, translation, split, sentence, speaker)

    def present(self) -> list[str]:
        """Return the splits that have rows."""
        return [split for split in SPLITS if self.official is not None or split in self.splits]

    def inputs(self) -> dict[str, str]:
        """Return the file names and their states."""
        files = [self.official] if self.official is not None else [*self.splits.values()]
        return {file.name: file_state(file) for file in files}


def find_translations(root: Path, source: str, target: str) -> TranslationTables:
    """Find the files of a pair in `root` or in a subfolder named after the pair or a language.

    VoxlateError if there are none.
    """
    pairs = [(a, b) for a in codes(source) for b in codes(target)]
    folders = [
        root,
        *(root / f"{a}{mark}{b}" for a, b in pairs for mark in "_-"),
        *map(root.joinpath, codes(source)),
        *map(root.joinpath, codes(target)),
    ]
    names = [f"covost_v2.{a}_{b}" for a, b in pairs]

    def find(suffix: str) -> Path | None:
        ends = (f"{suffix}.tsv", f"{suffix}.tsv.tar.gz", f"{suffix}.tar.gz")
        paths = (folder / f"{name}{end}" for folder in folders for name in names for end in ends)
        return next((path for path in paths if path.is_file()), None)

    official = find("")
    if official is not None:
        return TranslationTables(official, {})
    splits = {split: path for split in SPLITS if (path := find(f".{split}")) is not None}
    if not splits:
        raise VoxlateError(
            f"no {names[0]}.tsv under {root}; expected this file, {names[0]}.tsv.tar.gz or {names[0]}.train.tsv, "
            f".dev.tsv and .test.tsv there or in {pairs[0][0]}_{pairs[0][1]}/"
        )
    return TranslationTables(None, splits)


def _rows(path: Path, columns: tuple[str, ...]) -> Iterator[list[str]]:
    """Yield the cells of the named columns, row by row."""
    problems = Problems(str(path))
    header: list[str] = []
    for line, text in _lines(path, problems):
        cells = _cells(text.rstrip("\r\n"), len(header))
        if not header:
            header = cells
            missing = [name for name in columns if name not in header]
            if missing:
                names = ", ".join(header)
                names = names if len(names) <= 200 else f"{names[:200]}…"
                raise VoxlateError(f"{path}: no column {', '.join(missing)}; its columns: {names}")
            indices = [header.index(name) for name in columns]
        elif len(cells) != len(header):
            problems.add(line, f"{len(cells)} columns, expected {len(header)} as in the first line")
        else:
            yield [unescape(cells[index]) for index in indices]
    problems.raise_any()
    if not header:
        raise VoxlateError(f"{path}: empty; fetch it again")


def _cells(line: str, count: int) -> list[str]:
    """Split a line at tabs. If that gives more than `count` cells, tabs after a backslash are text."""
    cells = line.split("\t")
    if 0 < count < len(cells):
        for i in range(len(cells) - 1, 0, -1):
            before = cells[i - 1]
            if (len(before) - len(before.rstrip("\\"))) % 2:
                cells[i - 1 : i + 1] = [f"{before}\t{cells[i]}"]
    return cells


def _lines(path: Path, problems: Problems) -> Iterator[tuple[int, str]]:
    """Yield the lines of a TSV file, or of the only one in an archive, which is read to its end."""
    if path.suffix == ".tsv":
        with path.open("rb") as file:
            yield from text_lines(file, problems)
        return
    count = 0
    for member in read_members(path):
        if member.name.endswith(".tsv"):
            count += 1
            if count > 1:
                break
            member.check_size(MAX_TABLE_BYTES)
            yield from text_lines(member.file, problems)
    if count != 1:
        raise VoxlateError(f"{path}: contains {'several' if count else 'no'} TSV files, expected one")
