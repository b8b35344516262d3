"""CoVoST-2 from Common Voice and the TSV files of its translations, by the official join and split rule."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from voxlate.corpora.clip_checks import Finding, Journal, examine
from voxlate.corpora.common_voice import Release, find_release, flac_path
from voxlate.corpora.covost2_tsv import Translations, find_translations
from voxlate.corpora.preparation import (
    Preparation,
    conclude,
    find_pair,
    interruptible,
    known_drops,
    noted,
    output_folder,
    refuse,
    remove_parts,
)
from voxlate.corpora.splits import SPLITS, Row, Tallies, official_rows, unique, write_splits
from voxlate.progress import progress_bar, stderr

# The official rule: train takes in what version 1 of the corpus had added to it, dev and test do not.
_SPLIT_OF = {"train": "train", "train_covost": "train", "dev": "dev", "test": "test"}
_LEFT_OUT = {"dev_covost": "dev", "test_covost": "test"}


@dataclass(frozen=True)
class CoVoST2(Preparation):
    """The options of ``voxlate prepare covost2``."""

    common_voice: Path = Path()
    covost: Path = Path()
    pairs: tuple[str, ...] = ("all",)


@dataclass(frozen=True)
class _Pair:
    name: str
    release: Release
    translations: Translations

    def inputs(self, command: CoVoST2) -> dict[str, Any]:
        """Return what the pair is made from: while it is the same, the pair need not be done again."""
        return {**self.release.inputs(), **self.translations.inputs(), "transcoded": command.transcode}


@interruptible
def prepare(command: CoVoST2) -> int:
    """Write OUTPUT/PAIR/{train,dev,test}.jsonl and drops.json of each pair; return 1 if some clips failed, else 0."""
    pairs = _find_inputs(command)
    drops: dict[str, dict[str, Any]] = {}
    with output_folder(command.output):
        for pair in pairs:
            folder, splits = command.output / pair.name, pair.translations.present()
            known = known_drops(folder, splits, pair.inputs(command))
            if known is not None and not command.overwrite:
                drops[pair.name] = known
        if drops:
            stderr().print(f"already done: {', '.join(drops)}; --overwrite redoes them")
        for language in dict.fromkeys(pair.release.language for pair in pairs):
            todo = [pair for pair in pairs if pair.release.language == language and pair.name not in drops]
            if todo:
                drops |= _prepare_language(command, language, todo)
    for pair in pairs:
        for split in sorted({*SPLITS} - {*pair.translations.present()}):
            stderr().print(f"{pair.name}: no file of {split} among its translations", style="yellow")
    return conclude([drops[pair.name] for pair in pairs])


def parse_pairs(texts: tuple[str, ...], problems: list[str]) -> list[str]:
    """Return the pairs that are meant, of CoVoST-2 or another corpus in its layout; add what is wrong to `problems`."""
    known = official_rows()
    groups = {
        "all": list(known),
        "x-en": [pair for pair in known if pair.endswith("-en")],
        "en-x": [pair for pair in known if pair.startswith("en-")],
    }
    pairs, unknown = [], []
    for text in (part.strip() for item in texts for part in item.split(",")):
        pair = find_pair(text)
        if text.lower() in groups:
            pairs += groups[text.lower()]
        elif pair is not None:
            pairs.append(pair)
        else:
            close = get_close_matches(text, known, n=2)
            hint = f" (did you mean {' or '.join(close)}?)" if close else ""
            unknown.append(f"{text!r}{hint}")
    if unknown or not pairs:
        problems.append(
            f"--pairs: {', '.join(unknown) or 'none given'}: no pair of languages; expected pairs such as fr-en and "
            f"en-de, or x-en, en-x or all for the {len(known)} of CoVoST-2"
        )
    return list(dict.fromkeys(pairs))


def _find_inputs(command: CoVoST2) -> list[_Pair]:
    """Find what all pairs are made from; one VoxlateError names all that is missing."""
    problems: list[str] = []
    names = parse_pairs(command.pairs, problems)
    found: dict[str, Translations] = {}
    releases: dict[str, Release] = {}
    if not command.covost.exists():
        problems.append(f"--covost {command.covost}: no such folder")
    for name in names if command.covost.exists() else ():
        with noted(problems):
            found[name] = find_translations(command.covost, *name.split("-"))
    if not command.common_voice.exists():
        problems.append(f"--common-voice {command.common_voice}: no such folder")
    for language in dict.fromkeys(name.split("-")[0] for name in names) if command.common_voice.exists() else ():
        joined = not any(tables.whole for name, tables in found.items() if name.startswith(f"{language}-"))
        unpacked = command.output / "clips" / language
        with noted(problems):
            releases[language] = find_release(command.common_voice, language, unpacked, with_sentences=not joined)
    refuse(problems)
    return [_Pair(name, releases[name.split("-")[0]], found[name]) for name in names]


def _prepare_language(command: CoVoST2, language: str, pairs: list[_Pair]) -> dict[str, dict[str, Any]]:
    """Prepare the pairs of one source language, which share their clips."""
    release = pairs[0].release
    flac = command.output / "audio" / language if command.transcode else None
    if flac is not None:
        remove_parts(flac)
    remove_parts(command.output / "clips" / language)
    names = dict.fromkeys(row.clip for pair in pairs for row in pair.translations if row.label in _SPLIT_OF)
    wanted = {name: None for name in names if _is_plain(name)}
    with Journal(command.output / "durations" / f"{language}{'.flac' if flac else ''}.jsonl") as journal:
        with progress_bar(f"{language}: clips", len(wanted)) as advance:
            advance(sum(name in journal.findings for name in wanted))
            examine(release.clips(wanted, journal, flac), journal, command.workers, advance)
        needed = any(pair.translations.whole is not None for pair in pairs)
        sentences = release.sentences(names) if needed else {}

        def finding(clip: str) -> Finding:
            if not _is_plain(clip):
                return Finding(clip, "", error=f"{clip}: its path leads out of the folder of clips")
            return journal.findings[clip]

        def audio(clip: str) -> Path:
            return flac_path(flac, clip) or release.path(clip)

        drops = {}
        for pair in pairs:
            tallies = Tallies()
            rows = unique(_rows(pair, sentences, tallies), tallies)
            folder = command.output / pair.name
            splits, inputs = pair.translations.present(), pair.inputs(command)
            drops[pair.name] = write_splits(folder, pair.name, splits, rows, tallies, finding, audio, inputs)
        return drops


def _rows(pair: _Pair, sentences: dict[str, tuple[str, str]], tallies: Tallies) -> Iterator[Row]:
    """Join translations and sentences, and apply the rule of the splits."""
    for row in pair.translations:
        split = _SPLIT_OF.get(row.label)
        if split is None:
            tallies[_LEFT_OUT.get(row.label, "train")].leave_out(f"labelled {row.label!r}, not of the split", row.clip)
            continue
        sentence, speaker = row.sentence, row.speaker
        if sentence is None:
            if row.clip not in sentences:
                tallies[split].leave_out("not in validated.tsv", row.clip)
                continue
            sentence, speaker = sentences[row.clip]
        yield Row(Path(row.clip).stem, row.clip, split, sentence, row.translation, speaker or None)


def _is_plain(name: str) -> bool:
    return name == Path(name).name and name not in ("", ".", "..") and "\0" not in name
