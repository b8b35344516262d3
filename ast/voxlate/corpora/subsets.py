"""Write the manifests of corpora that consist of named subsets, such as dev and tst-COMMON.

Rows refer to whole files, or to segments of recordings, which are cut into clips. As in `splits`, rows that cannot be
used are left out of subsets for training only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from voxlate.corpora.clip_checks import Clip, ClipJournal, check_clips, file_state
from voxlate.corpora.preparation import (
    Preparation,
    add_drops,
    parse_pair,
    remove_parts,
    reusable_drops,
)
from voxlate.corpora.segment_cutting import ClipCut, cut_clips
from voxlate.corpora.splits import SplitTally, apply_clip_result
from voxlate.errors import VoxlateError
from voxlate.manifest.column_names import join_names
from voxlate.manifest.table_files import Problems, text_lines
from voxlate.manifest.utterance import Utterance
from voxlate.manifest.writing import write_manifest
from voxlate.progress import progress_bar, stderr

_SUFFIXES = (".flac", ".wav", ".m4a", ".mp3", ".opus", ".ogg", ".mp4")


@dataclass(frozen=True)
class SubsetsPreparation(Preparation):
    """The options of corpora that consist of named subsets."""

    corpus: Path = field(kw_only=True, metadata={"metavar": "FOLDER", "help": "Folder of the corpus."})
    subsets: tuple[str, ...] = field(
        default=(), metadata={"metavar": "NAME[,NAME]...", "help": "Subsets to prepare, such as dev. [default: all]"}
    )


@dataclass(frozen=True)
class PairsPreparation(SubsetsPreparation):
    """The options of corpora with folders for language pairs."""

    pairs: tuple[str, ...] = field(
        kw_only=True,
        metadata={"metavar": "PAIR[,PAIR]...", "help": "Directions to prepare: en-de, en-fr, …, x-en, en-x or all."},
    )


@dataclass(frozen=True, slots=True)
class SubsetRow:
    """An audio file, or its segment from `start` to `end` seconds, with its texts. `name` becomes part of its id."""

    name: str
    audio: Path
    source_text: str | None
    target_text: str | None
    speaker: str | None
    start: float | None = None
    end: float | None = None
    state: str | None = None  # changes with the file's contents; of the file itself by default


@dataclass
class Subset:
    """A part of a corpus, which becomes the manifest `name`.jsonl. `inputs` maps its tables to their states."""

    name: str
    rows: list[SubsetRow]
    inputs: dict[str, str]
    left_out: list[tuple[str, str]] = field(default_factory=list)  # reason, name

    def __post_init__(self) -> None:
        """Number rows whose name occurs more than once."""
        counts: Counter[str] = Counter()
        for index, row in enumerate(self.rows):
            counts[row.name] += 1
            if counts[row.name] > 1:
                self.rows[index] = replace(row, name=f"{row.name}#{counts[row.name]}")

    @property
    def split(self) -> str:
        """Whether the subset is for training (train), validation (dev) or evaluation (test), by its name."""
        kinds = {"train": "train", "dev": "dev", "valid": "dev"}
        return next((split for start, split in kinds.items() if self.name.startswith(start)), "test")


def prepare_subsets(command: Preparation, pair: str, subsets: list[Subset]) -> dict[str, Any]:
    """Write OUTPUT/PAIR/SUBSET.jsonl, the clips and drops.json; return the contents of drops.json.

    Segments are always cut into FLAC clips, other files only transcoded if requested.
    """
    folder, names = command.output / pair, [subset.name for subset in subsets]
    inputs: dict[str, Any] = {name: state for subset in subsets for name, state in subset.inputs.items()}
    inputs["transcoded"] = command.transcode
    reusable = reusable_drops(folder, names, inputs)
    if reusable is not None and not command.overwrite:
        stderr().print(f"already done: {pair} {', '.join(names)}; --overwrite redoes them")
        return reusable
    has_segments = any(row.start is not None for subset in subsets for row in subset.rows)
    shared = pair if has_segments else pair.partition("-")[0]  # pairs differ in their segments, but not in whole files
    clips = command.output / "audio" / shared if has_segments or command.transcode else None
    if clips is not None:
        for subset in subsets:
            remove_parts(clips / subset.name)
    with ClipJournal(command.output / "durations" / f"{shared}{'.flac' if clips else ''}.jsonl") as journal:
        with progress_bar(f"{pair}: clips", sum(len(subset.rows) for subset in subsets)) as advance:
            keys = [f"{subset.name}/{row.name}" for subset in subsets for row in subset.rows]
            advance(sum(key in journal.results for key in keys))
            for subset in subsets:
                if has_segments:
                    assert clips is not None
                    cut_clips(_cuts(subset, journal, clips), journal, command.workers, advance)
                else:
                    check_clips(_whole_files(subset, journal, clips), journal, command.workers, advance)
        report = {}
        remove_parts(folder)
        for subset in subsets:
            tally = SplitTally()
            for reason, name in subset.left_out:
                tally.leave_out(reason, name)
            path = folder / f"{subset.name}.jsonl"
            if not write_manifest(path, _utterances(subset, pair, clips, journal, tally)):
                path.unlink()  # reading an empty manifest is an error
            report[subset.name] = tally.report(None)
    return add_drops(folder / "drops.json", pair, report, inputs)


def _cuts(subset: Subset, journal: ClipJournal, clips: Path) -> Iterator[ClipCut]:
    """Yield the segments without a current result."""
    states: dict[Path, str] = {}
    for row in subset.rows:
        assert row.start is not None
        assert row.end is not None
        recording = states.setdefault(row.audio, file_state(row.audio))
        flac, state = _flac(clips, subset, row), f"{recording} {row.start:.4f} {row.end:.4f}"
        if not journal.is_current(f"{subset.name}/{row.name}", state, flac):
            yield ClipCut(f"{subset.name}/{row.name}", row.audio, row.start, row.end, state, flac)


def _whole_files(subset: Subset, journal: ClipJournal, clips: Path | None) -> Iterator[Clip]:
    """Yield the files without a current result, to be written to `clips` as FLAC if given."""
    for row in subset.rows:
        state, flac = row.state or file_state(row.audio), None if clips is None else _flac(clips, subset, row)
        if not journal.is_current(f"{subset.name}/{row.name}", state, flac):
            yield Clip(f"{subset.name}/{row.name}", row.audio, state, flac)


def _flac(clips: Path, subset: Subset, row: SubsetRow) -> Path:
    return clips / subset.name / f"{row.name}.flac"


def _utterances(
    subset: Subset, pair: str, clips: Path | None, journal: ClipJournal, tally: SplitTally
) -> Iterator[Utterance]:
    source, target = pair.split("-")
    for row in subset.rows:
        key = f"{subset.name}/{row.name}"
        audio = row.audio if clips is None else _flac(clips, subset, row)
        texts = (row.source_text, row.target_text, row.speaker, subset.split)
        error = None if (row.target_text or "").strip() else "its translation is empty"
        utterance = Utterance(f"{pair}/{key}", audio, None, source, target, *texts)
        checked = apply_clip_result(utterance, row.name, journal.results[key], error, tally)
        if checked is not None:
            yield checked


def choose_pairs(command: PairsPreparation, found: Mapping[str, Any], expected: str) -> list[str]:
    """Return the requested pairs out of those found in the corpus. VoxlateError lists those that are missing.

    `expected` describes the folders in which the pairs are searched.
    """
    if not command.corpus.is_dir():
        raise VoxlateError(f"--corpus {command.corpus}: no such folder")
    if not found:
        raise VoxlateError(f"--corpus {command.corpus}: no language pairs; expected {expected}")
    chosen: list[str] = []
    unknown: list[str] = []
    for text in split_list(command.pairs):
        if text.lower() == "all":
            chosen += found
        elif text.lower().startswith("x-"):
            chosen += [pair for pair in found if pair.split("-")[1] == text[2:]]
        elif text.lower().endswith("-x"):
            chosen += [pair for pair in found if pair.split("-")[0] == text[:-2]]
        elif (pair := parse_pair(text)) in found:
            chosen.append(str(pair))
        else:
            unknown.append(text)
    if unknown or not chosen:
        missing = ", ".join(unknown or command.pairs)
        raise VoxlateError(f"--pairs {missing}: not in {command.corpus}; it has {join_names(sorted(found))}")
    return list(dict.fromkeys(chosen))


def choose_subsets(command: SubsetsPreparation, found: Mapping[str, Any], where: Path) -> list[str]:
    """Return the requested subsets out of those found in a folder. VoxlateError lists those that are missing."""
    if missing := [name for name in split_list(command.subsets) if name not in found]:
        raise VoxlateError(f"--subsets {','.join(missing)}: not in {where}; it has {join_names(sorted(found))}")
    return split_list(command.subsets) or sorted(found)


def split_list(items: tuple[str, ...]) -> list[str]:
    """Split the values of an option that may be given several times, with several values each."""
    return [part.strip() for item in items for part in item.split(",") if part.strip()]


def read_lines(path: Path, count: int | None = None) -> list[str]:
    """Return the lines of a text file without whitespace around them. VoxlateError if there are not `count` of them."""
    problems = Problems(str(path))
    try:
        with path.open("rb") as file:
            lines = [text.strip() for _, text in text_lines(file, problems, has_header=False)]
    except OSError as error:
        raise VoxlateError(f"{path}: cannot be read ({error.strerror})") from None
    problems.raise_any()
    if count is not None and len(lines) != count:
        raise VoxlateError(f"{path}: {len(lines):,} lines, expected {count:,}, one for each segment; fetch it again")
    return lines


def find_audio(folder: Path, name: str) -> Path:
    """Return the audio file with a name in a folder, perhaps with another suffix; the named file if there is none."""
    path = folder / name
    stem = folder / name.removesuffix(path.suffix) if path.suffix in _SUFFIXES else path
    candidates = [path, *(stem.with_name(stem.name + suffix) for suffix in _SUFFIXES)]
    return next((candidate for candidate in candidates if candidate.is_file()), path)
