"""Create a corpus of synthetic speech from a parallel text with espeak-ng, in the layout of CoVoST-2."""

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
    collect_error,
    interruptible,
    output_folder,
    parse_pair,
    raise_problems,
    remove_parts,
)
from voxlate.corpora.speech_synthesis import VARIANTS, Prompt, Range, SpeechVariation, make_prompt, synthesize
from voxlate.corpora.splits import SPLITS, SPOKEN
from voxlate.errors import VoxlateError, short_repr
from voxlate.files import atomic_file, file_sha256, write_text
from voxlate.languages import find_language, look_up_language
from voxlate.manifest.column_names import join_names
from voxlate.manifest.table_files import Problems, Table
from voxlate.processes import map_in_processes
from voxlate.progress import progress_bar, stderr

_LIMITS: dict[str, Range] = {
    "speed": (80, 450),  # the range of espeak-ng
    "pitch": (0, 99),
    "silence": (0, 60),
    "snr": (-30, 100),
    "volume": (-90, 0),
}
_CHUNK = 32  # prompts synthesized together; the other voices of a chunk serve as babble


@dataclass(frozen=True)
class SpokenPreparation(Preparation):
    """The options of ``voxlate prepare spoken``."""

    text: Path = Path()
    pairs: tuple[str, ...] = ()
    voices: tuple[str, ...] = ()
    variants: tuple[str, ...] = ()
    spans: Mapping[str, str] = field(default_factory=dict)  # option -> LOW:HIGH
    babble: float = 0.0
    seed: int = 1
    dev: int = 0  # rows to hold out if the text has no column split
    test: int = 0


@dataclass(frozen=True)
class SpokenRow:
    """A row of the table: its texts by language."""

    name: str
    split: str
    texts: dict[str, str]
    source: str | None = None  # if given, the only language to synthesize

    def is_spoken_in(self, language: str) -> bool:
        """Return whether the row is synthesized in a language."""
        return language in self.texts and self.source in (None, language)


@interruptible
def prepare(command: SpokenPreparation) -> int:
    """Write OUTPUT/common_voice/LANGUAGE and OUTPUT/covost; return 1 if some texts gave no sound, else 0."""
    espeak()  # raises VoxlateError if it is not installed
    problems: list[str] = []
    pairs = _parse_pairs(command.pairs, problems)
    sources = list(dict.fromkeys(source for source, _ in pairs))
    voices = _choose_voices(command.voices, sources, problems)
    variation = _parse_variation(command, problems)
    rows: list[SpokenRow] = []
    with collect_error(problems):
        rows = _read_rows(command, pairs)
    raise_problems(problems)
    with output_folder(command.output):
        _check_settings(command, variation, voices)
        failed = {
            language: _synthesize_language(command, variation, language, voices[language], rows) for language in sources
        }
        for source, target in pairs:
            _write_translations(command.output, source, target, rows)
    for source, target in pairs:
        count = Counter(row.split for row in _rows_of_pair(rows, source, target))
        print(f"{source}-{target}", *(f"{split} {count[split]:,}" for split in SPLITS if count[split]), sep="  ")
        requested = {"train": 0, "dev": command.dev, "test": command.test}
        if empty := [split for split in SPLITS if not count[split] and not requested[split]]:
            advice = "; hold some out with --dev N and --test N, or name them in a column split"
            hint = "" if empty == ["train"] else advice
            stderr().print(f"{source}-{target}: no rows for {' and '.join(empty)}{hint}", style="yellow")
        for split in [split for split in SPLITS if count[split] < requested[split]]:
            reason = "some rows lack a text, or have the same texts as others and stay together with them"
            stderr().print(
                f"{source}-{target}: {split} has {count[split]:,} rows of {requested[split]:,}: {reason}",
                style="yellow",
            )
    silent = [name for names in failed.values() for name in names]
    if silent:
        shown = ", ".join(silent[:5]) + (", …" if len(silent) > 5 else "")
        stderr().print(f"{len(silent):,} texts gave no sound, and have no clip: {shown}", style="red")
    return 1 if silent else 0


def _parse_pairs(texts: tuple[str, ...], problems: list[str]) -> list[tuple[str, str]]:
    pairs = []
    for text in (part.strip() for item in texts for part in item.split(",")):
        pair = parse_pair(text)
        if pair is None:
            problems.append(
                f"--pairs: {text!r} is not a pair of languages; expected pairs such as fr-en, separated by commas"
            )
        else:
            source, target = pair.split("-")
            pairs.append((source, target))
    return list(dict.fromkeys(pairs))


def _choose_voices(names: tuple[str, ...], languages: list[str], problems: list[str]) -> dict[str, list[Voice]]:
    """Return the named voices of each language, or its default voice."""
    all_voices = espeak().voices
    requested = {name.strip().lower() for item in names for name in item.split(",")}
    unknown = sorted(requested - {voice.name for voice in all_voices})
    if unknown:
        suitable = ", ".join(voice.name for voice in all_voices if voice.language in languages)
        problems.append(f"--voices: espeak-ng has no {', '.join(unknown)}; of these languages it has {suitable}")
    voices = {}
    for language in languages:
        available = [voice for voice in all_voices if voice.language == language]
        voices[language] = [voice for voice in available if voice.name in requested] or available[:1]
        if not available:
            problems.append(f"--pairs: espeak-ng {espeak().version} does not speak {find_language(language).name}")
    return voices


def _parse_variation(command: SpokenPreparation, problems: list[str]) -> SpeechVariation:
    variants = tuple(name.strip() for item in command.variants for name in item.split(","))
    all_variants = espeak().variants
    unknown = sorted({*variants} - {*all_variants})
    if unknown:
        problems.append(f"--variants: espeak-ng has no {', '.join(unknown)}; it has {', '.join(all_variants)}")
    spans: dict[str, Range] = {}
    for option, text in command.spans.items():
        lowest, highest = _LIMITS[option]
        try:
            low, high = map(float, text.split(":"))
        except ValueError:
            low, high = math.nan, math.nan
        if not lowest <= low <= high <= highest:
            problems.append(f"--{option} {text}: expected LOW:HIGH, both between {lowest:g} and {highest:g}")
        spans[option] = (low, high)
    return SpeechVariation(
        variants or tuple(name for name in VARIANTS if name in all_variants),
        **spans,
        babble=command.babble,
        seed=command.seed,
    )


def _read_rows(command: SpokenPreparation, pairs: list[tuple[str, str]]) -> list[SpokenRow]:
    """Read the table. VoxlateError lists all problems by line."""
    problems = Problems(str(command.text))
    languages = list(dict.fromkeys(language for pair in pairs for language in pair))
    table = Table(command.text, ["id", "split", "source_language", *languages], problems)
    rows: list[SpokenRow] = []
    names: set[str] = set()
    for line, cells in table:
        row = _parse_row(line, cells, f"{len(rows) + 1:08}", languages, table)
        if row.name in names:
            problems.add(line, f"id {short_repr(row.name)} occurs twice")
        names.add(row.name)
        rows.append(row)
    missing = [language for language in languages if language not in table.columns]
    if missing and table.columns:
        lookalikes = [name for name in table.columns if name not in languages and _language_of(name) in missing]
        hint = f"; rename {join_names(lookalikes)} to its code" if lookalikes else ""
        problems.add(
            0,
            f"no column {', '.join(missing)}; expected one for each language, got {join_names([*table.columns])}{hint}",
        )
    if (command.dev or command.test) and "split" in table.columns:
        problems.add(0, "has the column split, which conflicts with --dev and --test; remove one of them")
    elif command.dev + command.test >= len(rows) and (command.dev or command.test):
        problems.add(0, f"has {len(rows):,} rows: --dev {command.dev} and --test {command.test} leave none for train")
    problems.raise_any()
    if not rows:
        raise VoxlateError(
            f"{command.text}: contains no texts; expected columns such as id, split, {', '.join(languages)}"
        )
    return _hold_out(rows, pairs, command.dev, command.test)


def _parse_row(line: int, cells: Mapping[str, Any], default_name: str, languages: list[str], table: Table) -> SpokenRow:
    """Parse the cells of a line, and add their problems to those of the table."""
    name, split = str(cells.get("id") or default_name), cells.get("split") or "train"
    source = str(cells.get("source_language") or "").strip() or None
    texts = {}
    for language in languages:
        text = cells.get(language)
        if text is not None and (not isinstance(text, str) or {*"\n\r\0"} & {*text}):
            table.problems.add(line, f"{language} is not one line of text: {short_repr(text)}")
        elif text and text.strip():
            texts[language] = text
    # The id becomes a file name.
    if name != Path(name).name or name.startswith(".") or len(name.encode()) > 200 or not name.isprintable():
        table.problems.add(line, f"id {short_repr(name)} cannot be a file name; use letters, digits, - and _")
    if split not in SPLITS:
        table.problems.add(line, f"split {short_repr(split)}; expected {', '.join(SPLITS)}")
    if source and source not in table.columns:
        table.problems.add(
            line,
            f"source_language {short_repr(source)} is not a language column; leave it empty to use all languages",
        )
    return SpokenRow(name, split, texts, source)


def _language_of(column: str) -> str | None:
    language = look_up_language(column)
    return None if language is None else language.code


def _hold_out(rows: list[SpokenRow], pairs: list[tuple[str, str]], dev: int, test: int) -> list[SpokenRow]:
    """Assign `dev` and `test` rows to these splits, by a hash of their texts: seeds and ids do not change the choice.

    Rows with the same texts stay together. Rows without a pair are not held out.
    """
    keys = [json.dumps(row.texts, sort_keys=True) for row in rows]
    has_pair = [any(_is_of_pair(row, source, target) for source, target in pairs) for row in rows]
    split_of: dict[str, str] = {}
    rows_of = Counter(key for key, is_usable in zip(keys, has_pair, strict=True) if is_usable)
    capacity = {"test": test, "dev": dev}
    for key in sorted(rows_of, key=lambda key: hashlib.sha256(key.encode()).digest()):
        split = next((name for name, rows_left in capacity.items() if rows_of[key] <= rows_left), None)
        if split is not None:
            capacity[split] -= rows_of[key]
            split_of[key] = split
    return [replace(row, split=split_of.get(key, row.split)) for row, key in zip(rows, keys, strict=True)]


def _check_settings(command: SpokenPreparation, variation: SpeechVariation, voices: Mapping[str, list[Voice]]) -> None:
    """Raise VoxlateError if existing clips were synthesized with other settings, unless they are overwritten."""
    path = command.output / "spoken.json"
    text = {"espeak-ng": espeak().version, "text": file_sha256(command.text)}
    names = {language: [voice.name for voice in language_voices] for language, language_voices in voices.items()}
    settings = json.loads(json.dumps({**text, "voices": names, **asdict(variation)}))
    if path.is_file() and not command.overwrite:
        before = _read_settings(path)
        changed = sorted(key for key in settings.keys() | before.keys() if settings.get(key) != before.get(key))
        if changed:
            raise VoxlateError(
                f"{command.output} was made with other settings ({', '.join(changed)}); choose another --output, or "
                "use --overwrite"
            )
    write_text(path, json.dumps(settings, indent=1, ensure_ascii=False) + "\n")


def _read_settings(path: Path) -> dict[str, Any]:
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        settings = None
    if not isinstance(settings, dict):
        raise VoxlateError(
            f"{path}: damaged, so the settings of its clips are unknown; --overwrite regenerates the clips"
        )
    return settings


def _synthesize_language(
    command: SpokenPreparation, variation: SpeechVariation, language: str, voices: list[Voice], rows: list[SpokenRow]
) -> list[str]:
    """Synthesize all texts of a language, write validated.tsv, and return the names of clips without any sound."""
    folder = command.output / "common_voice" / LONG_CODES.get(language, language)
    clips = folder / "clips"
    clips.mkdir(parents=True, exist_ok=True)
    remove_parts(clips)
    prompts = [
        make_prompt(variation, voices, _clip_name(language, row), row.texts[language])
        for row in rows
        if row.is_spoken_in(language)
    ]
    chunks = [prompts[start : start + _CHUNK] for start in range(0, len(prompts), _CHUNK)]
    sizes = {entry.name: entry.stat().st_size for entry in os.scandir(clips)}  # a power failure can leave empty files
    pending = [chunk for chunk in chunks if command.overwrite or not all(sizes.get(prompt.clip) for prompt in chunk)]
    synthesize_chunk = partial(synthesize, variation=variation, folder=clips)
    silent: list[str] = []
    with progress_bar(f"{language}: clips", len(chunks)) as advance:
        advance(len(chunks) - len(pending))
        for names in map_in_processes(synthesize_chunk, pending, command.workers, died=_died):
            silent += names
            advance(1)
    with atomic_file(folder / "validated.tsv") as part, part.open("w", encoding="utf-8", newline="\n") as file:
        file.write("client_id\tpath\tsentence\n")
        for prompt in prompts:
            file.write(f"{prompt.speaker}\t{prompt.clip}\t{escape(prompt.text)}\n")
    return silent


def _died(prompt: Prompt, reason: str) -> str:
    raise VoxlateError(f"{prompt.clip}: {reason}; rerun the same command to resume")


def _clip_name(language: str, row: SpokenRow) -> str:
    return f"{SPOKEN}{language}_{row.name}.flac"


def _write_translations(output: Path, source: str, target: str, rows: list[SpokenRow]) -> None:
    name = "_".join(LONG_CODES.get(language, language) for language in (source, target))
    path = output / "covost" / f"covost_v2.{name}.tsv"
    with atomic_file(path) as part, part.open("w", encoding="utf-8", newline="\n") as file:
        file.write("path\ttranslation\tsplit\n")
        for row in _rows_of_pair(rows, source, target):
            file.write(f"{_clip_name(source, row)}\t{escape(row.texts[target])}\t{row.split}\n")


def _rows_of_pair(rows: list[SpokenRow], source: str, target: str) -> Iterator[SpokenRow]:
    return (row for row in rows if _is_of_pair(row, source, target))


def _is_of_pair(row: SpokenRow, source: str, target: str) -> bool:
    return row.is_spoken_in(source) and target in row.texts
