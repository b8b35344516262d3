"""Prepare a user's own table of clips and texts: check it, measure the clips, and optionally split it."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

from voxlate.corpora.clip_checks import Clip, ClipJournal, ClipResult, check_clips, file_state
from voxlate.corpora.partition import METHODS, partition
from voxlate.corpora.preparation import (
    Preparation,
    add_drops,
    collect_error,
    interruptible,
    output_folder,
    print_summary,
    raise_problems,
    remove_parts,
)
from voxlate.corpora.splits import SPLITS, SplitTally, apply_clip_result
from voxlate.errors import VoxlateError
from voxlate.languages import find_language
from voxlate.manifest.column_names import join_names
from voxlate.manifest.reading import Manifest, read_manifest
from voxlate.manifest.utterance import COLUMNS, NO_AUDIO, EmbeddedAudio, Utterance
from voxlate.manifest.writing import write_manifest
from voxlate.progress import progress_bar, stderr

_LANGUAGES = ("source_language", "target_language")
ALLOWED = ("audio", *_LANGUAGES, "target_text", "split")


@dataclass(frozen=True)
class ManifestPreparation(Preparation):
    """The options of ``voxlate prepare manifest``. `output` is a file, or a folder if the table is split.

    `allow` names columns, out of ALLOWED, in which values that training and evaluation refuse are accepted: missing
    files, empty cells or other splits.
    """

    table: Path = Path()
    split_by: str | None = None
    dev: float = 0.05
    test: float = 0.05
    seed: int = 1
    source_language: str | None = None
    target_language: str | None = None
    allow: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()  # such as "audio=path,target_text=translation"

    @property
    def renamed(self) -> dict[str, str]:
        """Columns of the table that have other names than those of a manifest, by the latter."""
        parts = [part for item in self.columns for part in item.split(",") if part.strip()]
        return {name.strip(): column.strip() for name, _, column in (part.partition("=") for part in parts)}

    @property
    def partition_by(self) -> str | None:
        """How the table is split; None if it is written to one file."""
        is_folder = self.output.is_dir() or not self.output.suffix
        return self.split_by or ("column" if is_folder else None)

    @property
    def title(self) -> str:
        """Name of the table in printable form."""
        return os.fsencode(self.table.name).decode("utf-8", "backslashreplace")

    @property
    def folder(self) -> Path:
        """Folder of the manifests."""
        return self.output if self.partition_by else self.output.parent


@interruptible
def prepare(command: ManifestPreparation) -> int:
    """Write the manifest, or one for each split, and drops.json; return 1 if some clips failed, else 0."""
    manifest = _read(command)
    splits, notes = manifest.column("split"), [*_unused_columns(manifest)]
    if command.partition_by:
        splits, deviations = partition(manifest, command.partition_by, command.dev, command.test, command.seed)
        notes += deviations
    for note in notes:
        stderr().print(f"{command.title}: {note}", style="yellow")
    audio = command.folder / "audio" if command.transcode else None
    drops = command.folder / ("drops.json" if command.partition_by else f"{command.output.stem}.drops.json")
    tallies: dict[str, SplitTally] = {}
    with output_folder(command.folder):
        if audio is not None:
            remove_parts(audio)
        with ClipJournal(
            command.folder / "durations" / f"{command.table.name}{'.flac' if audio else ''}.jsonl"
        ) as journal:
            with progress_bar(f"{command.title}: clips", len(manifest)) as advance:
                advance(sum(name in journal.results for name in manifest.column("id")))
                check_clips(_clips(manifest, journal, audio), journal, command.workers, advance)
            paths = (
                {split: command.folder / f"{split}.jsonl" for split in SPLITS}
                if command.partition_by
                else {None: command.output}
            )
            for split, path in paths.items():
                if not write_manifest(path, _checked_utterances(command, manifest, journal, splits, split, tallies)):
                    path.unlink()  # reading an empty manifest is an error
    report = {split: tally.report(None) for split, tally in tallies.items()}
    inputs = {command.title: file_state(command.table)}
    return print_summary([add_drops(drops, command.title, report, inputs)])


def _read(command: ManifestPreparation) -> Manifest:
    """Check the options, and read and check the table. VoxlateError lists all problems of both."""
    problems = _option_problems(command)
    default_languages = {"source_language": command.source_language, "target_language": command.target_language}
    needed = [
        name for name in (*_LANGUAGES, "target_text") if name not in command.allow and not default_languages.get(name)
    ]
    split_columns = {"speaker": ["speaker"], "column": ["split"]}.get(command.partition_by or "", [])
    raise_problems(problems if any("--columns" in problem for problem in problems) else [])
    try:
        manifest = read_manifest(
            command.table,
            need=("audio", *needed, *split_columns),
            check_audio="audio" not in command.allow,
            splits=None if "split" in command.allow and command.partition_by != "column" else SPLITS,
            recordings=True,
            renamed=command.renamed,
        )
    except VoxlateError as error:
        problems.append(str(error))
        if any(f"no column {name!r}" in str(error) for name in ("id", "audio", "target_text")):
            problems.append(
                "if a column has another name in the table, use --columns, such as --columns audio=path,target_text="
                "translation"
            )
        if any(f"no column {name!r}" in str(error) or f"{name} is empty" in str(error) for name in needed):
            problems.append(
                f"training and evaluation need {', '.join(needed)}; name languages with --source-language and "
                f"--target-language, or accept rows without them with --allow {','.join(needed)}"
            )
        for name, others in (("split", "--split-by random or --split-by speaker"), ("speaker", "--split-by random")):
            if f"no column {name!r}" in str(error) or f"{name} is empty" in str(error):
                problems.append(f"to split a table without a {name} for each row, use {others}")
    else:
        if not command.transcode and (command.partition_by or command.output.suffix.lower() != ".parquet"):
            with collect_error(problems):
                _check_not_embedded(manifest)
    raise_problems(problems)
    return manifest


def _option_problems(command: ManifestPreparation) -> list[str]:
    """Return the problems of the options."""
    problems: list[str] = []
    if command.split_by not in (None, *METHODS):
        problems.append(f"--split-by {command.split_by}: expected {', '.join(METHODS)}")
    if command.partition_by and command.output.is_file():
        problems.append(f"--output {command.output}: is a file, expected a folder for train, dev and test")
    if not command.partition_by and command.output.suffix.lower() not in (".jsonl", ".parquet"):
        problems.append(
            f"--output {command.output}: expected a file that ends in .jsonl or .parquet; a folder needs --split-by"
        )
    paths = [command.folder / f"{split}.jsonl" for split in SPLITS] if command.partition_by else [command.output]
    if command.table.resolve() in [path.resolve() for path in paths]:
        problems.append(f"--output {command.output}: would overwrite the table itself; choose another output")
    if not (command.dev >= 0 and command.test >= 0 and command.dev + command.test < 1):
        problems.append(
            f"--dev {command.dev:g} --test {command.test:g}: expected shares of the rows with a sum below 1"
        )
    renamed = command.renamed
    if bad := [f"{name}={column}" for name, column in renamed.items() if name not in COLUMNS or not column]:
        problems.append(f"--columns {','.join(bad)}: expected NAME=COLUMN, where NAME is one of {', '.join(COLUMNS)}")
    unknown = [name for name in command.allow if name not in ALLOWED]
    if unknown:
        problems.append(f"--allow {','.join(unknown)}: expected some of {', '.join(ALLOWED)}")
    for language in filter(None, (command.source_language, command.target_language)):
        with collect_error(problems):
            find_language(language)
    return problems


def _unused_columns(manifest: Manifest) -> Iterator[str]:
    """Yield a note on columns that are left out. Lookalikes of known columns were reported when the table was read."""
    unused = [name for name in manifest.columns if name not in COLUMNS]
    if unused:
        yield f"columns left out because manifests do not have them: {join_names(unused)}"


def _check_not_embedded(manifest: Manifest) -> None:
    """Raise VoxlateError if a manifest has embedded audio."""
    embedded = (isinstance(item.audio, EmbeddedAudio) and item.audio != NO_AUDIO for item in manifest)
    if manifest.path.suffix.lower() == ".parquet" and any(embedded):
        raise VoxlateError(
            f"{manifest.path}: contains embedded audio, which a jsonl manifest cannot; choose an --output that ends in "
            ".parquet, or write the clips to files with --transcode flac"
        )


def _clips(manifest: Manifest, journal: ClipJournal, folder: Path | None) -> Iterator[Clip]:
    """Yield the clips without a current result, to be written to `folder` as FLAC if given."""
    table = f"{manifest.path.name}-{file_state(manifest.path)}"
    for utterance in manifest:
        audio = utterance.audio
        if audio == NO_AUDIO:
            continue
        state = table if isinstance(audio, EmbeddedAudio) else file_state(audio)
        flac = None if folder is None else folder / file_name(utterance.id)
        if not journal.is_current(utterance.id, state, flac):
            yield Clip(utterance.id, audio.read() if isinstance(audio, EmbeddedAudio) else audio, state, flac)


def file_name(name: str) -> str:
    """Return a unique name of an utterance's FLAC file, readable if possible."""
    safe = quote(name, safe=" ,+=@()")
    if len(safe) > 150:
        safe = f"{safe[:150]}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"
    return f"{re.sub('^[.]', '%2E', safe)}.flac"


def _checked_utterances(
    command: ManifestPreparation,
    manifest: Manifest,
    journal: ClipJournal,
    splits: Sequence[str | None],
    requested: str | None,
    tallies: dict[str, SplitTally],
) -> Iterator[Utterance]:
    """Yield the utterances of a split, or all of them, in their final form."""
    source = command.source_language and find_language(command.source_language).code
    target = command.target_language and find_language(command.target_language).code
    has_targets = "target_text" in manifest.columns
    if requested is not None:
        tallies[requested] = SplitTally()
    for utterance, split in zip(manifest, splits, strict=True):
        if requested not in (None, split):
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
        result = journal.results[utterance.id] if has_audio else ClipResult(utterance.id, "", error=utterance.error)
        has_target = utterance.target_sentences or (utterance.target_text or "").strip()
        untranslated = has_targets and not has_target
        tally = tallies.setdefault(split or "all", SplitTally())
        checked = apply_clip_result(
            filled, utterance.id, result, "its translation is empty" if untranslated else None, tally
        )
        if checked is not None:
            yield checked
