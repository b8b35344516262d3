"""Prepare FLEURS (Conneau et al. 2023): the sentences of FLORES-101, read aloud in 102 languages.

Layout of https://huggingface.co/datasets/google/fleurs: for each language a folder such as data/de_de with train.tsv,
dev.tsv and test.tsv, and audio/SUBSET.tar.gz, which may be unpacked to audio/SUBSET or SUBSET. The tables have no
header; their columns are the number of the sentence, the file name, the sentence as written and as normalized, its
letters, the number of samples and the gender of the speaker.

A recording's translation is the sentence with the same number in the target language, as written, as in SeamlessM4T
(facebookresearch/seamless_communication) and hearing2translate (sarapapi/hearing2translate, manifests/fleurs).
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from voxlate.corpora.archives import MAX_CLIP_BYTES, read_members
from voxlate.corpora.clip_checks import ClipJournal, file_state
from voxlate.corpora.preparation import collect_error, interruptible, output_folder, print_summary, raise_problems
from voxlate.corpora.subsets import (
    PairsPreparation,
    Subset,
    SubsetRow,
    choose_pairs,
    choose_subsets,
    prepare_subsets,
    read_lines,
)
from voxlate.errors import VoxlateError, short_repr
from voxlate.files import atomic_file
from voxlate.languages import look_up_language
from voxlate.progress import progress_bar

UNPACKED = "clips"  # folder of what is unpacked from archives; with --transcode, until it has been transcoded
Sentence = tuple[str, str, str]  # number, file name, text


@dataclass(frozen=True)
class FleursPreparation(PairsPreparation):
    """The options of ``voxlate prepare fleurs``."""

    EXAMPLE: ClassVar[str] = "--corpus fleurs/data --pairs de-en,en-de -o data"


@interruptible
def prepare(command: FleursPreparation) -> int:
    """Prepare FLEURS.

    Recordings get the translations of their sentences. The folder contains de_de/test.tsv and so on.
    """
    folders = dict(_language_folders(command.corpus))
    found = {f"{a}-{b}": (folders[a], folders[b]) for a in folders for b in folders if a != b}
    pairs = choose_pairs(command, found, "folders of at least two languages, such as de_de and en_us, with test.tsv")
    problems: list[str] = []
    subsets: dict[str, list[Subset]] = {}
    for pair in pairs:
        source, target = found[pair]
        tables = {path.stem: path for path in sorted(source.glob("*.tsv")) if (target / path.name).is_file()}
        with collect_error(problems):
            names = choose_subsets(command, tables, source)
            audio = command.output / UNPACKED / pair.partition("-")[0]
            subsets[pair] = [_read_subset(tables[name], target / f"{name}.tsv", audio / name) for name in names]
    raise_problems(problems)
    with output_folder(command.output):
        for pair in pairs:
            for subset in subsets[pair]:
                _unpack(found[pair][0] / "audio" / f"{subset.name}.tar.gz", _needed(command, pair, subset))
        drops = [prepare_subsets(command, pair, subsets[pair]) for pair in pairs]
        if command.transcode:
            shutil.rmtree(command.output / UNPACKED, ignore_errors=True)
        return print_summary(drops)


def _needed(command: FleursPreparation, pair: str, subset: Subset) -> list[Path]:
    """Return the recordings that have to be there: with --transcode, only those without a current FLAC file."""
    if not command.transcode:
        return [row.audio for row in subset.rows]
    language = pair.partition("-")[0]
    with ClipJournal(command.output / "durations" / f"{language}.flac.jsonl") as journal:
        return [
            row.audio
            for row in subset.rows
            if not journal.is_current(
                f"{subset.name}/{row.name}",
                row.state or file_state(row.audio),
                command.output / "audio" / language / subset.name / f"{row.name}.flac",
            )
        ]


def _language_folders(corpus: Path) -> Iterator[tuple[str, Path]]:
    """Yield the languages of a corpus with their folders: in it, or in its folder data."""
    for folder in [*sorted(corpus.glob("*")), *sorted(corpus.glob("data/*"))]:
        language = look_up_language(folder.name)
        if language is not None and any(folder.glob("*.tsv")):
            yield language.code, folder


def _read_subset(table: Path, target_table: Path, unpacked: Path) -> Subset:
    """Join the recordings of a language with the sentences of another."""
    translations: dict[str, str] = {}
    for number, _, text in _sentences(target_table):
        translations.setdefault(number, text)
    folders = [table.parent / "audio" / table.stem, table.parent / table.stem]
    audio = next((folder for folder in folders if folder.is_dir()), unpacked)
    archive = table.parent / "audio" / f"{table.stem}.tar.gz"
    if audio == unpacked and not archive.is_file():
        raise VoxlateError(f"{table.parent}: no recordings of {table.stem}; expected audio/{table.stem}.tar.gz")
    state = file_state(archive) if audio == unpacked else None
    inputs = {f"{path.parent.name}/{path.name}": file_state(path) for path in (table, target_table)}
    rows: list[SubsetRow] = []
    left_out: list[tuple[str, str]] = []
    for number, file, text in _sentences(table):
        if number not in translations:
            left_out.append(("no sentence with its number in the target language", file))
        else:
            rows.append(SubsetRow(Path(file).stem, audio / file, text, translations[number], None, state=state))
    return Subset(table.stem, rows, inputs, left_out)


def _sentences(table: Path) -> Iterator[Sentence]:
    """Yield the rows of a table. Quotation marks are text. VoxlateError if one has too few columns."""
    for line, text in enumerate(read_lines(table), 1):
        cells = text.split("\t")
        if len(cells) < 3 or cells[1] != Path(cells[1]).name:
            expected = "expected the tab-separated columns of FLEURS: number, file name, sentence, …"
            raise VoxlateError(f"{table}: line {line} is {short_repr(text)}, {expected}")
        yield cells[0], cells[1], cells[2].strip()


def _unpack(archive: Path, files: list[Path]) -> None:
    """Extract those files from an archive that are missing in their folder, which must be ours."""
    missing = {path.name: path for path in files if not path.is_file()}
    if not missing or not archive.is_file():
        return
    written: list[Path] = []
    try:
        with progress_bar(f"{archive.parent.parent.name}: {archive.name}", len(missing)) as advance:
            for member in read_members(archive):
                path = missing.get(Path(member.name).name)
                if path is not None:
                    written.append(path)
                    with atomic_file(path, durable=False) as part:
                        part.write_bytes(member.read(MAX_CLIP_BYTES))
                    advance(1)
    except VoxlateError:  # files extracted before the damage was detected may be damaged too
        for path in written:
            path.unlink(missing_ok=True)
        raise
