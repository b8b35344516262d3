"""Prepare Europarl-ST (Iranzo-Sánchez et al. 2020): segments of speeches in the European Parliament.

Layout of version 1.1, as read by fairseq (examples/speech_to_text/prep_europarlst_data.py): for each spoken language a
folder with its speeches, en/audios/NAME.m4a, and for each target language and subset (train, train-noisy, dev, test) a
folder en/de/SUBSET with segments.lst (speech, start and end in seconds), segments.en and segments.de (their texts), and
speeches.lst and speakers.lst (the speaker of each speech).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from voxlate.corpora.clip_checks import file_state
from voxlate.corpora.preparation import collect_error, interruptible, output_folder, print_summary, raise_problems
from voxlate.corpora.subsets import (
    PairsPreparation,
    Subset,
    SubsetRow,
    choose_pairs,
    choose_subsets,
    find_audio,
    prepare_subsets,
    read_lines,
)
from voxlate.errors import VoxlateError, short_repr
from voxlate.languages import look_up_language


@dataclass(frozen=True)
class EuroparlSTPreparation(PairsPreparation):
    """The options of ``voxlate prepare europarl-st``."""

    EXAMPLE: ClassVar[str] = "--corpus v1.1 --pairs en-de,fr-en -o data"


@interruptible
def prepare(command: EuroparlSTPreparation) -> int:
    """Prepare Europarl-ST.

    The segments of its speeches are cut into clips. The folder contains en/audios, en/de/dev and so on.
    """
    folders = dict(_pair_folders(command.corpus))
    pairs = choose_pairs(command, folders, "folders such as en/audios and en/de/dev")
    problems: list[str] = []
    subsets: dict[str, list[Subset]] = {}
    for pair in pairs:
        found = {path.parent.name: path.parent for path in sorted(folders[pair].glob("*/segments.lst"))}
        with collect_error(problems):
            names = choose_subsets(command, found, folders[pair])
            subsets[pair] = [_read_subset(found[name]) for name in names]
    raise_problems(problems)
    with output_folder(command.output):
        return print_summary([prepare_subsets(command, pair, subsets[pair]) for pair in pairs])


def _pair_folders(corpus: Path) -> Iterator[tuple[str, Path]]:
    """Yield the pairs of a corpus with the folders of their subsets. The corpus may be in the folder of its version."""
    for audios in [*sorted(corpus.glob("*/audios")), *sorted(corpus.glob("*/*/audios"))]:
        source = look_up_language(audios.parent.name)
        for folder in sorted(audios.parent.iterdir()):
            target = look_up_language(folder.name)
            if source is not None and target is not None and any(folder.glob("*/segments.lst")):
                yield f"{source.code}-{target.code}", folder


def _read_subset(folder: Path) -> Subset:
    """Read the segments and texts of a subset. Segments are numbered within their speech, from 0."""
    source, target = folder.parent.parent.name, folder.parent.name
    table = folder / "segments.lst"
    segments = [_segment(table, number, line) for number, line in enumerate(read_lines(table), 1)]
    texts = [folder / f"segments.{language}" for language in (source, target)]
    pairs_of_texts = zip(*(read_lines(path, len(segments)) for path in texts), strict=True)
    speakers = _speakers(folder)
    numbers: Counter[str] = Counter()
    rows = []
    for (speech, start, end), (source_text, target_text) in zip(segments, pairs_of_texts, strict=True):
        audio = find_audio(folder.parent.parent / "audios", f"{speech}.m4a")
        name = f"{speech}_{numbers[speech]}"
        rows.append(SubsetRow(name, audio, source_text, target_text, speakers.get(speech), start, end))
        numbers[speech] += 1
    inputs = {f"{source}/{target}/{folder.name}/{path.name}": file_state(path) for path in (table, *texts)}
    return Subset(folder.name, rows, inputs)


def _segment(table: Path, number: int, line: str) -> tuple[str, float, float]:
    """Parse a line of segments.lst. VoxlateError if it is invalid."""
    try:
        speech, start, end = line.split()
        times = float(start), float(end)
        if not (math.isfinite(times[1]) and 0 <= times[0] < times[1] and speech == Path(speech).name):
            raise ValueError
    except ValueError:
        expected = "expected a speech, and its start and end in seconds"
        raise VoxlateError(f"{table}: line {number} is {short_repr(line)}, {expected}") from None
    return speech, *times


def _speakers(folder: Path) -> dict[str, str]:
    """Return the speaker of each speech; none if the files that name them are missing."""
    speeches, speakers = folder / "speeches.lst", folder / "speakers.lst"
    if not (speeches.is_file() and speakers.is_file()):
        return {}
    names = read_lines(speeches)
    return dict(zip(names, read_lines(speakers, len(names)), strict=True))
