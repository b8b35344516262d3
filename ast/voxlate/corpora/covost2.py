"""Prepare CoVoST-2 from Common Voice and the TSV files of translations, with the official join and split rule.

A copy on the Hub that holds clips and translations, such as fixie-ai/covost2, can take the place of both.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from voxlate.corpora.clip_checks import ClipJournal, ClipResult, check_clips
from voxlate.corpora.common_voice import Release, find_release, flac_path
from voxlate.corpora.covost2_tsv import TranslationTables, find_translations
from voxlate.corpora.hub_datasets import DataFile, list_dataset, parse_dataset
from voxlate.corpora.parquet import prepare_pair
from voxlate.corpora.parquet_files import Source, find_files
from voxlate.corpora.preparation import (
    Preparation,
    collect_error,
    interruptible,
    output_folder,
    parse_pair,
    print_summary,
    raise_problems,
    remove_parts,
    reusable_drops,
)
from voxlate.corpora.splits import SPLITS, CorpusRow, SplitTallies, drop_duplicates, official_rows, write_splits
from voxlate.progress import progress_bar, stderr

# The official rule: train includes the rows added from version 1 of the corpus, dev and test do not.
_SPLIT_OF = {"train": "train", "train_covost": "train", "dev": "dev", "test": "test"}
_EXCLUDED = {"dev_covost": "dev", "test_covost": "test"}


@dataclass(frozen=True)
class CoVoST2Preparation(Preparation):
    """The options of ``voxlate prepare covost2``."""

    common_voice: Path | None = None
    covost: Path | None = None
    pairs: tuple[str, ...] = ("all",)
    hub: str | None = None  # a dataset on the Hub, or a folder with its files, instead of the two folders


@dataclass(frozen=True)
class _Pair:
    """A language pair with its inputs."""

    name: str
    release: Release
    translations: TranslationTables

    def inputs(self, command: CoVoST2Preparation) -> dict[str, Any]:
        """Return the inputs of the pair. While they are unchanged, the pair is not prepared again."""
        return {**self.release.inputs(), **self.translations.inputs(), "transcoded": command.transcode}


@interruptible
def prepare(command: CoVoST2Preparation) -> int:
    """Write OUTPUT/PAIR/{train,dev,test}.jsonl and drops.json of each pair; return 1 if some clips failed, else 0."""
    if command.hub is not None:
        return _prepare_from_hub(command, command.hub)
    pairs = _find_inputs(command)
    drops: dict[str, dict[str, Any]] = {}
    with output_folder(command.output):
        for pair in pairs:
            folder, splits = command.output / pair.name, pair.translations.present()
            reusable = reusable_drops(folder, splits, pair.inputs(command))
            if reusable is not None and not command.overwrite:
                drops[pair.name] = reusable
        if drops:
            stderr().print(f"already done: {', '.join(drops)}; --overwrite redoes them")
        for language in dict.fromkeys(pair.release.language for pair in pairs):
            pending = [pair for pair in pairs if pair.release.language == language and pair.name not in drops]
            if pending:
                drops |= _prepare_language(command, language, pending)
    for pair in pairs:
        for split in sorted({*SPLITS} - {*pair.translations.present()}):
            stderr().print(f"{pair.name}: no file of {split} among its translations", style="yellow")
    return print_summary([drops[pair.name] for pair in pairs])


def _prepare_from_hub(command: CoVoST2Preparation, name: str) -> int:
    """Prepare all pairs from a dataset on the Hub, or a folder with its files, whose folders are named after pairs."""
    problems: list[str] = []
    if command.common_voice is not None or command.covost is not None:
        problems.append("--hub takes the place of --common-voice and --covost; leave these out")
    pairs = parse_pairs(command.pairs, problems)
    repository, is_folder = name, Path(name).is_dir()
    with collect_error(problems):
        repository = name if is_folder else parse_dataset(name)[0]
    raise_problems(problems)
    dataset: Source = Path(name) if is_folder else tuple(list_dataset(name))
    files: dict[str, dict[DataFile, str]] = {}
    for pair in pairs:
        with collect_error(problems):
            files[pair] = find_files([dataset], pair, None)
    raise_problems(problems)
    with output_folder(command.output):
        # A clip of Common Voice is the same in every pair.
        drops = [prepare_pair(command, pair, files[pair], f"clip of {repository}") for pair in pairs]
    return print_summary(drops)


def parse_pairs(texts: tuple[str, ...], problems: list[str]) -> list[str]:
    """Parse language pairs and groups such as `x-en`, of CoVoST-2 or a corpus in its layout; append to `problems`."""
    official = official_rows()
    groups = {
        "all": list(official),
        "x-en": [pair for pair in official if pair.endswith("-en")],
        "en-x": [pair for pair in official if pair.startswith("en-")],
    }
    pairs, unknown = [], []
    for text in (part.strip() for item in texts for part in item.split(",")):
        pair = parse_pair(text)
        if text.lower() in groups:
            pairs += groups[text.lower()]
        elif pair is not None:
            pairs.append(pair)
        else:
            close = get_close_matches(text, official, n=2)
            hint = f" (did you mean {' or '.join(close)}?)" if close else ""
            unknown.append(f"{text!r}{hint}")
    if unknown or not pairs:
        problems.append(
            f"--pairs: {', '.join(unknown) or 'none given'}: not a pair of languages; expected pairs such as fr-en and "
            f"en-de, or x-en, en-x or all for the {len(official)} of CoVoST-2"
        )
    return list(dict.fromkeys(pairs))


def _find_inputs(command: CoVoST2Preparation) -> list[_Pair]:
    """Find the inputs of all pairs. VoxlateError lists everything that is missing."""
    problems: list[str] = []
    names = parse_pairs(command.pairs, problems)
    translations: dict[str, TranslationTables] = {}
    releases: dict[str, Release] = {}
    folders = {"--covost": command.covost, "--common-voice": command.common_voice}
    for option, folder in folders.items():
        if folder is None:
            problems.append(f"missing {option}; or name a dataset with clips and translations with --hub")
        elif not folder.exists():
            problems.append(f"{option} {folder}: no such folder")
    if command.covost is not None and command.covost.exists():
        for name in names:
            with collect_error(problems):
                translations[name] = find_translations(command.covost, *name.split("-"))
    if command.common_voice is not None and command.common_voice.exists():
        for language in dict.fromkeys(name.split("-")[0] for name in names):
            joined = not any(
                tables.official for name, tables in translations.items() if name.startswith(f"{language}-")
            )
            unpacked = command.output / "clips" / language
            with collect_error(problems):
                releases[language] = find_release(command.common_voice, language, unpacked, with_sentences=not joined)
    raise_problems(problems)
    return [_Pair(name, releases[name.split("-")[0]], translations[name]) for name in names]


def _prepare_language(command: CoVoST2Preparation, language: str, pairs: list[_Pair]) -> dict[str, dict[str, Any]]:
    """Prepare all pairs of one source language, which share their clips."""
    release = pairs[0].release
    flac = command.output / "audio" / language if command.transcode else None
    if flac is not None:
        remove_parts(flac)
    remove_parts(command.output / "clips" / language)
    names = dict.fromkeys(row.clip for pair in pairs for row in pair.translations if row.label in _SPLIT_OF)
    plain_names = {name: None for name in names if _is_plain(name)}
    with ClipJournal(command.output / "durations" / f"{language}{'.flac' if flac else ''}.jsonl") as journal:
        with progress_bar(f"{language}: clips", len(plain_names)) as advance:
            advance(sum(name in journal.results for name in plain_names))
            check_clips(release.clips(plain_names, journal, flac), journal, command.workers, advance)
        needed = any(pair.translations.official is not None for pair in pairs)
        sentences = release.sentences(names) if needed else {}

        def clip_result(clip: str) -> ClipResult:
            if not _is_plain(clip):
                return ClipResult(clip, "", error=f"{clip}: its path is outside the folder of clips")
            return journal.results[clip]

        def audio(clip: str) -> Path:
            return flac_path(flac, clip) or release.path(clip)

        drops = {}
        for pair in pairs:
            tallies = SplitTallies()
            rows = drop_duplicates(_rows(pair, sentences, tallies), tallies)
            folder = command.output / pair.name
            splits, inputs = pair.translations.present(), pair.inputs(command)
            drops[pair.name] = write_splits(folder, pair.name, splits, rows, tallies, clip_result, audio, inputs)
        return drops


def _rows(pair: _Pair, sentences: dict[str, tuple[str, str]], tallies: SplitTallies) -> Iterator[CorpusRow]:
    """Join translations with sentences, and apply the split rule."""
    for row in pair.translations:
        split = _SPLIT_OF.get(row.label)
        if split is None:
            tallies[_EXCLUDED.get(row.label, "train")].leave_out(f"labeled {row.label!r}, not of the split", row.clip)
            continue
        sentence, speaker = row.sentence, row.speaker
        if sentence is None:
            if row.clip not in sentences:
                tallies[split].leave_out("not in validated.tsv", row.clip)
                continue
            sentence, speaker = sentences[row.clip]
        yield CorpusRow(Path(row.clip).stem, row.clip, split, sentence, row.translation, speaker or None)


def _is_plain(name: str) -> bool:
    """Return whether a name is a file name without folders."""
    return name == Path(name).name and name not in ("", ".", "..") and "\0" not in name
