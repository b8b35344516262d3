"""A user's own table of clips and texts, checked, measured and perhaps divided into train, dev and test."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

from voxlate.corpora.clip_checks import Clip, Finding, Journal, examine, file_state
from voxlate.corpora.partition import WAYS, divide
from voxlate.corpora.preparation import (
    Preparation,
    add_drops,
    conclude,
    interruptible,
    noted,
    output_folder,
    refuse,
    remove_parts,
)
from voxlate.corpora.splits import SPLITS, Tally, settle
from voxlate.errors import VoxlateError
from voxlate.languages import find_language
from voxlate.manifest.column_names import listed
from voxlate.manifest.reading import Manifest, read_manifest
from voxlate.manifest.utterance import COLUMNS, NO_AUDIO, EmbeddedAudio, Utterance
from voxlate.manifest.writing import write_manifest
from voxlate.progress import progress_bar, stderr

_LANGUAGES = ("source_language", "target_language")
ALLOWED = ("audio", *_LANGUAGES, "target_text", "split")


@dataclass(frozen=True)
class UserTable(Preparation):
    """The options of ``voxlate prepare manifest``; `output` is a file, or a folder where the table is divided.

    `allow` names columns (of ALLOWED) that may have what training and evaluation refuse: no such file, nothing, or
    another split.
    """

    table: Path = Path()
    split_by: str | None = None
    dev: float = 0.05
    test: float = 0.05
    seed: int = 1
    source_language: str | None = None
    target_language: str | None = None
    allow: tuple[str, ...] = ()

    @property
    def way(self) -> str | None:
        """How to divide the table; None where all goes into one file."""
        is_folder = self.output.is_dir() or not self.output.suffix
        return self.split_by or ("column" if is_folder else None)

    @property
    def title(self) -> str:
        """The table's name, as it can be printed."""
        return os.fsencode(self.table.name).decode("utf-8", "backslashreplace")

    @property
    def folder(self) -> Path:
        """The folder of the manifests."""
        return self.output if self.way else self.output.parent


@interruptible
def prepare(command: UserTable) -> int:
    """Write the manifest, or one for each split, and drops.json; return 1 if some clips failed, else 0."""
    manifest = _read(command)
    splits, notes = manifest.column("split"), [*_unused(manifest)]
    if command.way:
        splits, found = divide(manifest, command.way, command.dev, command.test, command.seed)
        notes += found
    for note in notes:
        stderr().print(f"{command.title}: {note}", style="yellow")
    audio = command.folder / "audio" if command.transcode else None
    drops = command.folder / ("drops.json" if command.way else f"{command.output.stem}.drops.json")
    tallies: dict[str, Tally] = {}
    with output_folder(command.folder):
        if audio is not None:
            remove_parts(audio)
        with Journal(command.folder / "durations" / f"{command.table.name}{'.flac' if audio else ''}.jsonl") as journal:
            with progress_bar(f"{command.title}: clips", len(manifest)) as advance:
                advance(sum(name in journal.findings for name in manifest.column("id")))
                examine(_clips(manifest, journal, audio), journal, command.workers, advance)
            paths = (
                {split: command.folder / f"{split}.jsonl" for split in SPLITS}
                if command.way
                else {None: command.output}
            )
            for split, path in paths.items():
                if not write_manifest(path, _settled(command, manifest, journal, splits, split, tallies)):
                    path.unlink()  # an empty manifest is taken for a mistake
    report = {split: tally.report(None) for split, tally in tallies.items()}
    inputs = {command.title: file_state(command.table)}
    return conclude([add_drops(drops, command.title, report, inputs)])


def _read(command: UserTable) -> Manifest:
    """Check the options and the table, and read it; VoxlateError names all that is wrong with both."""
    problems = _wrong_options(command)
    given = {"source_language": command.source_language, "target_language": command.target_language}
    needed = [name for name in (*_LANGUAGES, "target_text") if name not in command.allow and not given.get(name)]
    divided_by = {"speaker": ["speaker"], "column": ["split"]}.get(command.way or "", [])
    try:
        manifest = read_manifest(
            command.table,
            need=("audio", *needed, *divided_by),
            check_audio="audio" not in command.allow,
            splits=None if "split" in command.allow and command.way != "column" else SPLITS,
        )
    except VoxlateError as error:
        problems.append(str(error))
        if any(f"no column {name!r}" in str(error) or f"{name} is empty" in str(error) for name in needed):
            problems.append(
                f"training and evaluation need {', '.join(needed)}; name languages with --source-language and "
                f"--target-language, or accept rows without them with --allow {','.join(needed)}"
            )
        for name, others in (("split", "--split-by random or --split-by speaker"), ("speaker", "--split-by random")):
            if f"no column {name!r}" in str(error) or f"{name} is empty" in str(error):
                problems.append(f"to split a table without a {name} for each row, use {others}")
    else:
        if not command.transcode and (command.way or command.output.suffix.lower() != ".parquet"):
            with noted(problems):
                _refuse_embedded(manifest)
    refuse(problems)
    return manifest


def _wrong_options(command: UserTable) -> list[str]:
    problems: list[str] = []
    if command.split_by not in (None, *WAYS):
        problems.append(f"--split-by {command.split_by}: expected {', '.join(WAYS)}")
    if command.way and command.output.is_file():
        problems.append(f"--output {command.output}: is a file, expected a folder for train, dev and test")
    if not command.way and command.output.suffix.lower() not in (".jsonl", ".parquet"):
        problems.append(
            f"--output {command.output}: expected a file that ends in .jsonl or .parquet; a folder needs --split-by"
        )
    paths = [command.folder / f"{split}.jsonl" for split in SPLITS] if command.way else [command.output]
    if command.table.resolve() in [path.resolve() for path in paths]:
        problems.append(f"--output {command.output}: would overwrite the table itself; name another one")
    if not (command.dev >= 0 and command.test >= 0 and command.dev + command.test < 1):
        problems.append(f"--dev {command.dev:g} --test {command.test:g}: expected shares of the rows, below 1 together")
    unknown = [name for name in command.allow if name not in ALLOWED]
    if unknown:
        problems.append(f"--allow {','.join(unknown)}: expected some of {', '.join(ALLOWED)}")
    for language in filter(None, (command.source_language, command.target_language)):
        with noted(problems):
            find_language(language)
    return problems


def _unused(manifest: Manifest) -> Iterator[str]:
    """Say which columns are lost; those with the name of another tool were named when the table was read."""
    unused = [name for name in manifest.columns if name not in COLUMNS]
    if unused:
        yield f"columns left out, which manifests do not have: {listed(unused)}"


def _refuse_embedded(manifest: Manifest) -> None:
    embedded = (isinstance(item.audio, EmbeddedAudio) and item.audio != NO_AUDIO for item in manifest)
    if manifest.path.suffix.lower() == ".parquet" and any(embedded):
        raise VoxlateError(
            f"{manifest.path}: holds its audio, which a jsonl manifest cannot; name an --output that ends in .parquet, "
            "or write the clips to files with --transcode flac"
        )


def _clips(manifest: Manifest, journal: Journal, folder: Path | None) -> Iterator[Clip]:
    table = f"{manifest.path.name}-{file_state(manifest.path)}"
    for utterance in manifest:
        audio = utterance.audio
        if audio == NO_AUDIO:
            continue
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
    splits: Sequence[str | None],
    wanted: str | None,
    tallies: dict[str, Tally],
) -> Iterator[Utterance]:
    """Give the utterances of a split, or all of them, as they are to be written."""
    source = command.source_language and find_language(command.source_language).code
    target = command.target_language and find_language(command.target_language).code
    has_targets = "target_text" in manifest.columns
    if wanted is not None:
        tallies[wanted] = Tally()
    for utterance, split in zip(manifest, splits, strict=True):
        if wanted not in (None, split):
            continue
        has_audio = utterance.audio != NO_AUDIO
        filled = replace(
            utterance,
            audio=command.folder / "audio" / file_name(utterance.id)
            if command.transcode and has_audio
            else utterance.audio,
            source_language=utterance.source_language or source,
            target_language=utterance.target_language or target,
            split=split,
        )
        finding = journal.findings[utterance.id] if has_audio else Finding(utterance.id, "", error=utterance.error)
        untranslated = has_targets and not (utterance.target_text or "").strip()
        tally = tallies.setdefault(split or "all", Tally())
        settled = settle(filled, utterance.id, finding, "its translation is empty" if untranslated else None, tally)
        if settled is not None:
            yield settled
