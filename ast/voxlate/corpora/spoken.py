"""A corpus of synthetic speech: a parallel text, read aloud by espeak-ng, in CoVoST-2's own layout."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from voxlate.corpora.common_voice import LONG_CODES, escape
from voxlate.corpora.espeak import Voice, espeak
from voxlate.corpora.preparation import (
    Preparation,
    find_pair,
    interruptible,
    noted,
    output_folder,
    refuse,
    remove_parts,
)
from voxlate.corpora.process_pool import map_in_processes
from voxlate.corpora.speech_synthesis import VARIANTS, Reading, Span, make_line, read_aloud
from voxlate.corpora.splits import SPLITS, SPOKEN
from voxlate.errors import VoxlateError, shown
from voxlate.files import file_sha256, whole_file, write_text
from voxlate.languages import find_language, look_up_language
from voxlate.manifest.column_names import listed
from voxlate.manifest.table_files import Problems, Table
from voxlate.progress import progress_bar, stderr

_LIMITS: dict[str, Span] = {
    "speed": (80, 450),  # what espeak-ng takes
    "pitch": (0, 99),
    "silence": (0, 60),
    "snr": (-30, 100),
    "volume": (-90, 0),
}
_CHUNK = 32  # lines that are read together; other voices of the same chunk make the babble


@dataclass(frozen=True)
class Spoken(Preparation):
    """The options of ``voxlate prepare spoken``."""

    text: Path = Path()
    pairs: tuple[str, ...] = ()
    voices: tuple[str, ...] = ()
    variants: tuple[str, ...] = ()
    spans: Mapping[str, str] = field(default_factory=dict)  # option -> LOW:HIGH
    babble: float = 0.0
    seed: int = 1
    dev: int = 0  # rows of the text to hold out, where it has no column split
    test: int = 0


@dataclass(frozen=True)
class _Row:
    name: str
    split: str
    texts: dict[str, str]
    source: str | None = None  # the only language that reads it

    def read_in(self, language: str) -> bool:
        return language in self.texts and self.source in (None, language)


@interruptible
def prepare(command: Spoken) -> int:
    """Write OUTPUT/common_voice/LANGUAGE and OUTPUT/covost; return 1 if some texts could not be read, else 0."""
    espeak()  # or say that it is not there
    problems: list[str] = []
    pairs = _parse_pairs(command.pairs, problems)
    sources = list(dict.fromkeys(source for source, _ in pairs))
    voices = _choose_voices(command.voices, sources, problems)
    reading = _parse_reading(command, problems)
    rows: list[_Row] = []
    with noted(problems):
        rows = _read_text(command, pairs)
    refuse(problems)
    with output_folder(command.output):
        _same_settings(command, reading, voices)
        failed = {language: _read_language(command, reading, language, voices[language], rows) for language in sources}
        for source, target in pairs:
            _write_translations(command.output, source, target, rows)
    for source, target in pairs:
        count = Counter(row.split for row in _of_pair(rows, source, target))
        print(f"{source}-{target}", *(f"{split} {count[split]:,}" for split in SPLITS if count[split]), sep="  ")
        asked = {"train": 0, "dev": command.dev, "test": command.test}
        if empty := [split for split in SPLITS if not count[split] and not asked[split]]:
            advice = "; hold some out with --dev N and --test N, or name them in a column split"
            cure = "" if empty == ["train"] else advice
            stderr().print(f"{source}-{target}: no rows for {' and '.join(empty)}{cure}", style="yellow")
        for split in [split for split in SPLITS if count[split] < asked[split]]:
            reason = "some have no such text, or the same as others, with which they stay together"
            stderr().print(
                f"{source}-{target}: {split} has {count[split]:,} rows of {asked[split]:,}: {reason}", style="yellow"
            )
    silent = [name for names in failed.values() for name in names]
    if silent:
        shown = ", ".join(silent[:5]) + (", …" if len(silent) > 5 else "")
        stderr().print(f"{len(silent):,} texts gave no sound, and have no clip: {shown}", style="red")
    return 1 if silent else 0


def _parse_pairs(texts: tuple[str, ...], problems: list[str]) -> list[tuple[str, str]]:
    pairs = []
    for text in (part.strip() for item in texts for part in item.split(",")):
        pair = find_pair(text)
        if pair is None:
            problems.append(f"--pairs: {text!r} is no pair of languages; expected pairs such as fr-en, with commas")
        else:
            source, target = pair.split("-")
            pairs.append((source, target))
    return list(dict.fromkeys(pairs))


def _choose_voices(names: tuple[str, ...], languages: list[str], problems: list[str]) -> dict[str, list[Voice]]:
    """Return the voices of each language: those that are named, or its plainest."""
    known = espeak().voices
    wanted = {name.strip().lower() for item in names for name in item.split(",")}
    unknown = sorted(wanted - {voice.name for voice in known})
    if unknown:
        ours = ", ".join(voice.name for voice in known if voice.language in languages)
        problems.append(f"--voices: espeak-ng has no {', '.join(unknown)}; of these languages it has {ours}")
    voices = {}
    for language in languages:
        spoken = [voice for voice in known if voice.language == language]
        voices[language] = [voice for voice in spoken if voice.name in wanted] or spoken[:1]
        if not spoken:
            problems.append(f"--pairs: espeak-ng {espeak().version} does not speak {find_language(language).name}")
    return voices


def _parse_reading(command: Spoken, problems: list[str]) -> Reading:
    variants = tuple(name.strip() for item in command.variants for name in item.split(","))
    known = espeak().variants
    unknown = sorted({*variants} - {*known})
    if unknown:
        problems.append(f"--variants: espeak-ng has no {', '.join(unknown)}; it has {', '.join(known)}")
    spans: dict[str, Span] = {}
    for option, text in command.spans.items():
        lowest, highest = _LIMITS[option]
        try:
            low, high = map(float, text.split(":"))
        except ValueError:
            low, high = math.nan, math.nan
        if not lowest <= low <= high <= highest:
            problems.append(f"--{option} {text}: expected LOW:HIGH, both between {lowest:g} and {highest:g}")
        spans[option] = (low, high)
    return Reading(
        variants or tuple(name for name in VARIANTS if name in known), **spans, babble=command.babble, seed=command.seed
    )


def _read_text(command: Spoken, pairs: list[tuple[str, str]]) -> list[_Row]:
    """Read the table; VoxlateError names all its problems by line."""
    path = command.text
    problems = Problems(str(path))
    languages = list(dict.fromkeys(language for pair in pairs for language in pair))
    table = Table(path, ["id", "split", "source_language", *languages], problems)
    rows: list[_Row] = []
    seen: set[str] = set()
    for line, cells in table:
        name, split = str(cells.get("id") or f"{len(rows) + 1:08}"), cells.get("split") or "train"
        source = str(cells.get("source_language") or "").strip() or None
        texts = {}
        for language in languages:
            text = cells.get(language)
            if text is not None and (not isinstance(text, str) or {*"\n\r\0"} & {*text}):
                problems.add(line, f"{language} is not one line of text: {shown(text)}")
            elif text and text.strip():
                texts[language] = text
        # It becomes the name of a file.
        if name != Path(name).name or name.startswith(".") or len(name.encode()) > 200 or not name.isprintable():
            problems.add(line, f"id {shown(name)} cannot name a file; use letters, digits, - and _")
        if name in seen:
            problems.add(line, f"id {shown(name)} occurs twice")
        if split not in SPLITS:
            problems.add(line, f"split {shown(split)}; expected {', '.join(SPLITS)}")
        if source and source not in table.columns:
            problems.add(
                line, f"source_language {shown(source)} is no column of a language; empty, all languages read the text"
            )
        seen.add(name)
        rows.append(_Row(name, split, texts, source))
    missing = [language for language in languages if language not in table.columns]
    if missing and table.columns:
        found = listed([*table.columns])
        alike = [name for name in table.columns if name not in languages and _language_of(name) in missing]
        hint = f"; rename {listed(alike)} to its code" if alike else ""
        problems.add(0, f"no column {', '.join(missing)}; expected one for each language, found {found}{hint}")
    if (command.dev or command.test) and "split" in table.columns:
        problems.add(0, "has a column split, which --dev and --test would replace; leave out those or that")
    elif command.dev + command.test >= len(rows) and (command.dev or command.test):
        problems.add(0, f"has {len(rows):,} rows: --dev {command.dev} and --test {command.test} leave none for train")
    problems.raise_any()
    if not rows:
        raise VoxlateError(f"{path}: holds no texts; expected columns such as id, split, {', '.join(languages)}")
    return _hold_out(rows, pairs, command.dev, command.test)


def _language_of(column: str) -> str | None:
    language = look_up_language(column)
    return None if language is None else language.code


def _hold_out(rows: list[_Row], pairs: list[tuple[str, str]], dev: int, test: int) -> list[_Row]:
    """Give `dev` and `test` rows those splits, by their texts alone, so that other seeds and ids hold out the same.

    Rows with the same texts stay together; those of no pair are not taken.
    """
    keys = [json.dumps(row.texts, sort_keys=True) for row in rows]
    of_pairs = [any(_is_of_pair(row, source, target) for source, target in pairs) for row in rows]
    split_of: dict[str, str] = {}
    rows_of = Counter(key for key, taken in zip(keys, of_pairs, strict=True) if taken)
    left = {"test": test, "dev": dev}
    for key in sorted(rows_of, key=lambda key: hashlib.sha256(key.encode()).digest()):
        split = next((name for name, room in left.items() if rows_of[key] <= room), None)
        if split is not None:
            left[split] -= rows_of[key]
            split_of[key] = split
    return [replace(row, split=split_of.get(key, row.split)) for row, key in zip(rows, keys, strict=True)]


def _same_settings(command: Spoken, reading: Reading, voices: Mapping[str, list[Voice]]) -> None:
    """Let clips that are there stay only if they were made with the same settings; VoxlateError if not."""
    path = command.output / "spoken.json"
    text = {"espeak-ng": espeak().version, "text": file_sha256(command.text)}
    names = {language: [voice.name for voice in several] for language, several in voices.items()}
    settings = json.loads(json.dumps({**text, "voices": names, **asdict(reading)}))
    if path.is_file() and not command.overwrite:
        before = _read_settings(path)
        changed = sorted(key for key in settings.keys() | before.keys() if settings.get(key) != before.get(key))
        if changed:
            raise VoxlateError(
                f"{command.output} was made with other settings ({', '.join(changed)}); name another --output, or do "
                "it again with --overwrite"
            )
    write_text(path, json.dumps(settings, indent=1, ensure_ascii=False) + "\n")


def _read_settings(path: Path) -> dict[str, Any]:
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        settings = None
    if not isinstance(settings, dict):
        raise VoxlateError(f"{path}: damaged, so how its clips were made is unknown; --overwrite makes them again")
    return settings


def _read_language(
    command: Spoken, reading: Reading, language: str, voices: list[Voice], rows: list[_Row]
) -> list[str]:
    """Read all texts of a language aloud, write validated.tsv, and return the names of those without any sound."""
    folder = command.output / "common_voice" / LONG_CODES.get(language, language)
    clips = folder / "clips"
    clips.mkdir(parents=True, exist_ok=True)
    remove_parts(clips)
    lines = [
        make_line(reading, voices, _clip(language, row), row.texts[language]) for row in rows if row.read_in(language)
    ]
    chunks = [lines[start : start + _CHUNK] for start in range(0, len(lines), _CHUNK)]
    sizes = {entry.name: entry.stat().st_size for entry in os.scandir(clips)}  # a power failure can leave empty files
    todo = [chunk for chunk in chunks if command.overwrite or not all(sizes.get(line.clip) for line in chunk)]
    read = partial(read_aloud, reading=reading, folder=clips)
    silent: list[str] = []
    with progress_bar(f"{language}: reading", len(chunks)) as advance:
        advance(len(chunks) - len(todo))
        for names in map_in_processes(read, iter(todo), command.workers, name=lambda line: line.clip):
            silent += names
            advance(1)
    with whole_file(folder / "validated.tsv") as part, part.open("w", encoding="utf-8", newline="\n") as file:
        file.write("client_id\tpath\tsentence\n")
        for line in lines:
            file.write(f"{line.speaker}\t{line.clip}\t{escape(line.text)}\n")
    return silent


def _clip(language: str, row: _Row) -> str:
    return f"{SPOKEN}{language}_{row.name}.flac"


def _write_translations(output: Path, source: str, target: str, rows: list[_Row]) -> None:
    name = "_".join(LONG_CODES.get(language, language) for language in (source, target))
    path = output / "covost" / f"covost_v2.{name}.tsv"
    with whole_file(path) as part, part.open("w", encoding="utf-8", newline="\n") as file:
        file.write("path\ttranslation\tsplit\n")
        for row in _of_pair(rows, source, target):
            file.write(f"{_clip(source, row)}\t{escape(row.texts[target])}\t{row.split}\n")


def _of_pair(rows: list[_Row], source: str, target: str) -> Iterator[_Row]:
    return (row for row in rows if _is_of_pair(row, source, target))


def _is_of_pair(row: _Row, source: str, target: str) -> bool:
    return row.read_in(source) and target in row.texts
