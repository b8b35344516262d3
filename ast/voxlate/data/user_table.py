"""A user's own table of clips and texts, checked, measured and perhaps split by speaker."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

from voxlate.data.clips import Clip, Journal, examine, file_state
from voxlate.data.preparation import (
    Preparation,
    add_drops,
    conclude,
    interruptible,
    noted,
    output_folder,
    progress_bar,
    refuse,
    remove_parts,
)
from voxlate.data.splits import SPLITS, Tally, settle
from voxlate.errors import VoxlateError
from voxlate.languages import find_language
from voxlate.manifest import EmbeddedAudio, Manifest, Utterance, read_manifest, write_manifest


@dataclass(frozen=True)
class UserTable(Preparation):
    """The options of ``voxlate prepare manifest``; `output` is a file, or a folder where the table is split."""

    table: Path = Path()
    split_by: str | None = None
    dev: float = 0.05
    test: float = 0.05
    seed: int = 1
    source_language: str | None = None
    target_language: str | None = None


@interruptible
def prepare(command: UserTable) -> int:
    """Write the manifest, or one for each split, and drops.json; return 1 if some clips failed, else 0."""
    _check_options(command)
    manifest = read_manifest(command.table, need=("audio", *(["speaker"] if command.split_by else [])))
    folder = command.output if command.split_by else command.output.parent
    split_of = split_by_speaker(manifest, command.dev, command.test, command.seed) if command.split_by else {}
    if not command.transcode and command.output.suffix.lower() != ".parquet":
        _refuse_embedded(manifest)
    audio = folder / "audio" if command.transcode else None
    drops = folder / ("drops.json" if command.split_by else f"{command.output.stem}.drops.json")
    with output_folder(folder):
        if audio is not None:
            remove_parts(audio)
        with Journal(folder / "durations" / f"{command.table.name}{'.flac' if audio else ''}.jsonl") as journal:
            with progress_bar(f"{command.table.name}: clips", len(manifest)) as advance:
                advance(sum(name in journal.findings for name in manifest.column("id")))
                examine(_clips(manifest, journal, audio), journal, command.workers, advance)
            tallies: dict[str, Tally] = {}
            if command.split_by:
                for split in SPLITS:
                    write_manifest(
                        folder / f"{split}.jsonl", _settled(command, manifest, journal, split_of, split, tallies)
                    )
            else:
                write_manifest(command.output, _settled(command, manifest, journal, {}, None, tallies))
    report = {split: tally.report(None) for split, tally in tallies.items()}
    inputs = {command.table.name: file_state(command.table)}
    return conclude([add_drops(drops, command.table.name, report, inputs)])


def _check_options(command: UserTable) -> None:
    problems: list[str] = []
    if command.split_by not in (None, "speaker"):
        problems.append(f"--split-by {command.split_by}: expected speaker")
    if command.split_by and command.output.is_file():
        problems.append(f"--output {command.output}: is a file, expected a folder for train, dev and test")
    if not command.split_by and command.output.suffix.lower() not in (".jsonl", ".parquet"):
        problems.append(
            f"--output {command.output}: expected a file that ends in .jsonl or .parquet; a folder needs --split-by"
        )
    if not command.split_by and command.output.resolve() == command.table.resolve():
        problems.append(f"--output {command.output}: is the table itself; name another file")
    if not (command.dev >= 0 and command.test >= 0 and command.dev + command.test < 1):
        problems.append(f"--dev {command.dev:g} --test {command.test:g}: expected shares of the rows, below 1 together")
    for language in filter(None, (command.source_language, command.target_language)):
        with noted(problems):
            find_language(language)
    refuse(problems)


def split_by_speaker(manifest: Manifest, dev: float, test: float, seed: int) -> dict[str, str]:
    """Return the split of each speaker: test and dev take whole speakers up to their shares of the rows.

    Speakers are taken in an order that depends on their names and the seed alone, so that a table that grows keeps
    most of them where they were.
    """
    rows = Counter(manifest.column("speaker"))
    order = sorted(rows, key=lambda speaker: hashlib.sha256(f"{seed}\0{speaker}".encode()).digest())
    room = {"test": test * len(manifest), "dev": dev * len(manifest)}
    split_of: dict[str, str] = {}
    for speaker in order:
        split = next((name for name in room if rows[speaker] <= room[name]), "train")
        split_of[speaker] = split
        if split in room:
            room[split] -= rows[speaker]
    empty = [name for name, share in (("dev", dev), ("test", test)) if share and name not in split_of.values()]
    if "train" not in split_of.values():
        empty.insert(0, "train")
    if empty:
        raise VoxlateError(
            f"no speaker is left for {' and '.join(empty)}: of {len(rows):,}, the smallest has {min(rows.values()):,} "
            f"of {len(manifest):,} rows; give other shares with --dev and --test"
        )
    return split_of


def _refuse_embedded(manifest: Manifest) -> None:
    if manifest.path.suffix.lower() == ".parquet" and any(isinstance(item.audio, EmbeddedAudio) for item in manifest):
        raise VoxlateError(
            f"{manifest.path}: holds its audio, which a jsonl manifest cannot; name an --output that ends in .parquet, "
            "or write the clips to files with --transcode flac"
        )


def _clips(manifest: Manifest, journal: Journal, folder: Path | None) -> Iterator[Clip]:
    table = f"{manifest.path.name}-{file_state(manifest.path)}"
    for utterance in manifest:
        audio = utterance.audio
        state = table if isinstance(audio, EmbeddedAudio) else file_state(audio)
        flac = None if folder is None else folder / file_name(utterance.id)
        if not journal.knows(utterance.id, state, flac):
            yield Clip(utterance.id, audio.read() if isinstance(audio, EmbeddedAudio) else audio, state, flac)


def file_name(name: str) -> str:
    """Return the name of an utterance's FLAC file: readable where it can be, and no two the same."""
    safe = quote(name, safe=" ,+=@()")
    if len(safe) > 150:
        safe = f"{safe[:150]}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"
    return f"{re.sub('^[.]', '%2E', safe)}.flac"


def _settled(
    command: UserTable,
    manifest: Manifest,
    journal: Journal,
    split_of: Mapping[str, str],
    wanted: str | None,
    tallies: dict[str, Tally],
) -> Iterator[Utterance]:
    """Give the utterances of a split, or all of them, as they are to be written."""
    source = command.source_language and find_language(command.source_language).code
    target = command.target_language and find_language(command.target_language).code
    folder = command.output if command.split_by else command.output.parent
    for utterance in manifest:
        split = split_of.get(utterance.speaker or "", utterance.split)
        if wanted not in (None, split):
            continue
        filled = replace(
            utterance,
            audio=folder / "audio" / file_name(utterance.id) if command.transcode else utterance.audio,
            source_language=utterance.source_language or source,
            target_language=utterance.target_language or target,
            split=split,
        )
        tally = tallies.setdefault(split or "all", Tally())
        settled = settle(filled, utterance.id, journal.findings[utterance.id], None, tally)
        if settled is not None:
            yield settled
