"""Prepare LibriSpeech (Panayotov et al. 2015, openslr.org/12) and corpora in its layout, which have transcripts only.

Layout, as in its README: SUBSET/SPEAKER/CHAPTER/SPEAKER-CHAPTER.trans.txt, whose lines consist of an utterance's name
and its transcript, next to NAME.flac. In the manifests, the transcript is the target text in the same language.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from voxlate.corpora.clip_checks import file_state
from voxlate.corpora.preparation import interruptible, output_folder, print_summary
from voxlate.corpora.subsets import (
    Subset,
    SubsetRow,
    SubsetsPreparation,
    choose_subsets,
    find_audio,
    prepare_subsets,
    read_lines,
)
from voxlate.errors import VoxlateError, short_repr
from voxlate.languages import find_language


@dataclass(frozen=True)
class LibriSpeechPreparation(SubsetsPreparation):
    """The options of ``voxlate prepare librispeech``."""

    language: str = field(default="en", metadata={"metavar": "LANGUAGE", "help": "Language of the corpus."})
    EXAMPLE: ClassVar[str] = "--corpus LibriSpeech --subsets test-clean,test-other -o data"


@interruptible
def prepare(command: LibriSpeechPreparation) -> int:
    """Prepare LibriSpeech, or a corpus in its layout.

    The folder contains SUBSET/SPEAKER/CHAPTER/*.trans.txt. Transcripts are the target texts.
    """
    language = find_language(command.language).code
    if not command.corpus.is_dir():
        raise VoxlateError(f"--corpus {command.corpus}: no such folder")
    tables: dict[str, list[Path]] = {}
    for path in sorted(command.corpus.resolve().rglob("*.trans.txt")):
        tables.setdefault(path.parents[2].name, []).append(path)
    if not tables:
        raise VoxlateError(
            f"--corpus {command.corpus}: no transcripts; expected files such as dev-clean/84/121123/84-121123.trans.txt"
        )
    names = choose_subsets(command, tables, command.corpus)
    subsets = [Subset(name, _read_rows(tables[name]), {name: _state(tables[name])}) for name in names]
    with output_folder(command.output):
        return print_summary([prepare_subsets(command, f"{language}-{language}", subsets)])


def _read_rows(tables: Iterable[Path]) -> list[SubsetRow]:
    rows = []
    for table in tables:
        for number, line in enumerate(read_lines(table), 1):
            name, _, text = line.partition(" ")
            if not text.strip() or name != Path(name).name:
                raise VoxlateError(f"{table}: line {number} is {short_repr(line)}, expected a name and a transcript")
            audio = find_audio(table.parent, f"{name}.flac")
            rows.append(SubsetRow(name, audio, text.strip(), text.strip(), table.parent.parent.name))
    return rows


def _state(tables: list[Path]) -> str:
    """Return the number of tables and a digest of their names and states."""
    states = "\n".join(f"{table.name} {file_state(table)}" for table in tables)
    return f"{len(tables)}-{hashlib.sha256(states.encode()).hexdigest()[:16]}"
