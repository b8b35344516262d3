"""Prepare MuST-C (Di Gangi et al. 2019): segments of TED talks in English with translations.

Layout, as read by fairseq (examples/speech_to_text/prep_mustc_data.py): for each pair a folder such as en-de, and in
it for each subset (train, dev, tst-COMMON, tst-HE) data/SUBSET/wav/ted_1.wav, data/SUBSET/txt/SUBSET.yaml with one
segment per line (duration, offset, speaker_id, wav), and data/SUBSET/txt/SUBSET.en and SUBSET.de with its texts.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import yaml

from voxlate.corpora.clip_checks import file_state
from voxlate.corpora.preparation import (
    collect_error,
    interruptible,
    output_folder,
    parse_pair,
    print_summary,
    raise_problems,
)
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
from voxlate.languages import find_language, look_up_language
from voxlate.manifest.utterance import Utterance
from voxlate.manifest.writing import write_manifest

TALKS = "talks"  # folder of the manifests with whole talks, for evaluation

_LOADER = getattr(yaml, "CBaseLoader", yaml.BaseLoader)  # every value is text; the C version is ten times faster


@dataclass(frozen=True)
class MustCPreparation(PairsPreparation):
    """The options of ``voxlate prepare must-c``."""

    EXAMPLE: ClassVar[str] = "--corpus MUST-C --pairs en-de -o data"


@interruptible
def prepare(command: MustCPreparation) -> int:
    """Prepare MuST-C.

    The segments of its talks are cut into clips. Whole talks, for evaluation, are in the manifests of OUTPUT/talks.
    The folder contains en-de/data/… and so on.
    """
    return prepare_talks(command)


def prepare_talks(command: PairsPreparation) -> int:
    """Prepare a corpus in the layout of MuST-C; return 1 if some clips failed, else 0."""
    folders = dict(_pair_folders(command.corpus))
    pairs = choose_pairs(command, folders, "folders such as en-de/data/train/txt")
    problems: list[str] = []
    subsets: dict[str, list[Subset]] = {}
    for pair in pairs:
        found = {path.parent.parent.name: path for path in sorted(folders[pair].glob("data/*/txt/*.yaml"))}
        with collect_error(problems):
            names = choose_subsets(command, found, folders[pair])
            subsets[pair] = [_read_subset(found[name], pair) for name in names]
    raise_problems(problems)
    with output_folder(command.output):
        drops = [prepare_subsets(command, pair, subsets[pair]) for pair in pairs]
        for pair in pairs:
            for subset in subsets[pair]:
                if subset.split != "train":
                    path = command.output / TALKS / pair / f"{subset.name}.jsonl"
                    write_manifest(path, _talks(subset, pair))
        return print_summary(drops)


def _talks(subset: Subset, pair: str) -> Iterator[Utterance]:
    """Yield each talk of a subset as one recording with its sentences, in the order in which they are spoken.

    Nothing is left out, as the references of a talk need all of its segments.
    """
    source, target = pair.split("-")
    segments: dict[Path, list[SubsetRow]] = {}
    for row in subset.rows:
        segments.setdefault(row.audio, []).append(row)
    for audio, rows in segments.items():
        rows.sort(key=lambda row: row.start or 0.0)
        texts = [(row.source_text or "", row.target_text or "") for row in rows]
        yield Utterance(
            f"{pair}/{subset.name}/{audio.stem}",
            audio,
            None,
            source,
            target,
            speaker=rows[0].speaker,
            split=subset.split,
            error=None if audio.is_file() else f"{audio}: no such file",
            source_sentences=tuple(text for text, _ in texts),
            target_sentences=tuple(text for _, text in texts),
        )


def _pair_folders(corpus: Path) -> Iterator[tuple[str, Path]]:
    """Yield the pairs of a corpus with their folders: the corpus itself, in it, or in the folder of a version."""
    for folder in [corpus.resolve(), *sorted(corpus.glob("*")), *sorted(corpus.glob("*/*"))]:
        pair = parse_pair(folder.name)
        if pair is not None and any(folder.glob("data/*/txt")):
            yield pair, folder


def _read_subset(table: Path, pair: str) -> Subset:
    """Read the segments and texts of a subset. Segments are numbered within their talk, from 0."""
    segments = _read_segments(table)
    texts = [read_lines(_text_file(table, language), len(segments)) for language in pair.split("-")]
    numbers: Counter[str] = Counter()
    rows = []
    for (wav, start, end, speaker), source_text, target_text in zip(segments, *texts, strict=True):
        stem = Path(wav).stem
        audio = find_audio(table.parent.parent / "wav", wav)
        rows.append(SubsetRow(f"{stem}_{numbers[stem]}", audio, source_text, target_text, speaker, start, end))
        numbers[stem] += 1
    files = [table, *(_text_file(table, language) for language in pair.split("-"))]
    inputs = {str(file.relative_to(file.parents[4])): file_state(file) for file in files}
    return Subset(table.parent.parent.name, rows, inputs)


def _text_file(table: Path, language: str) -> Path:
    """Return the file with the texts in a language, whose suffix is a code of it. VoxlateError if there is none."""
    for path in sorted(table.parent.glob(f"{table.stem}.*")):
        known = look_up_language(path.suffix[1:])
        if known is not None and known.code == find_language(language).code:
            return path
    raise VoxlateError(f"{table.with_suffix('.' + language)}: no such file; it holds the texts of {table.name}")


def _read_segments(table: Path) -> list[tuple[str, float, float, str | None]]:
    """Return recording, start, end and speaker of each segment. VoxlateError if one is invalid."""
    try:
        with table.open(encoding="utf-8") as file:
            entries = yaml.load(file, Loader=_LOADER)  # noqa: S506 (the base loader creates nothing but text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise VoxlateError(f"{table}: cannot be read as YAML ({reason}); fetch it again") from None
    if not isinstance(entries, list):
        raise VoxlateError(f"{table}: expected a list of segments with offset, duration and wav")
    segments = []
    for number, entry in enumerate(entries, 1):
        segment = _segment(entry)
        if segment is None:
            expected = "expected offset, duration and wav"
            raise VoxlateError(f"{table}: segment {number} is {short_repr(entry)}, {expected}")
        segments.append(segment)
    return segments


def _segment(entry: Any) -> tuple[str, float, float, str | None] | None:
    with suppress(KeyError, TypeError, ValueError):
        start, seconds = float(entry["offset"]), float(entry["duration"])
        if math.isfinite(start + seconds) and start >= 0 and entry["wav"] == Path(entry["wav"]).name:
            return entry["wav"], start, start + seconds, entry.get("speaker_id")
    return None
