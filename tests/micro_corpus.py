"""A micro corpus in the form of CoVoST-2 and Common Voice, of tones that encode its texts."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from media import write_media

if TYPE_CHECKING:
    import numpy.typing as npt

PAIRS = ("fr-en", "de-en", "zh-CN-en", "en-de", "en-sv-SE")
WORD_HZ = (300, 450, 650, 900, 1250, 1700)  # each word of the vocabulary has its own tone
WORD_SECONDS, PAUSE_SECONDS = 0.2, 0.05
WORDS = {
    "fr": ("un", "deux", "trois", "quatre", "cinq", "six"),
    "de": ("eins", "zwei", "drei", "vier", "fünf", "sechs"),
    "zh-CN": ("一", "二", "三", "四", "五", "六"),
    "en": ("one", "two", "three", "four", "five", "six"),
    "cy": ("un", "dau", "tri", "pedwar", "pump", "chwech"),
    "es": ("uno", "dos", "tres", "cuatro", "cinco", "seis"),
    "it": ("uno", "due", "tre", "quattro", "cinque", "sei"),
    "ca": ("un", "dos", "tres", "quatre", "cinc", "sis"),
    "sv-SE": ("ett", "två", "tre", "fyra", "fem", "sex"),
}
KINDS = ((".mp3", 48_000), (".wav", 16_000), (".flac", 48_000))
# Defective rows: words, label and defect. In each pair they follow the valid ones.
DEFECTS = (
    ("train", "zero bytes"),
    ("train", "missing"),
    ("train", "text"),
    ("train", "unvalidated"),
    ("train", "NA"),
    ("train", "empty translation"),
    ("train", "duplicate"),
    ("train_covost", "quotes"),
    ("dev_covost", "none"),
    ("test_covost", "none"),
    ("dev", "missing"),
    ("dev", "zero bytes"),
    ("test", "text"),
    ("test", "truncated"),
    ("test", "quotes"),
)
LABELS = ("train", "train_covost", "train", "dev", "test")


def spoken(words: Sequence[int], rate: int) -> npt.NDArray[np.float32]:
    """Return the sound of some words, shape (T,)."""
    times_T = np.arange(round(WORD_SECONDS * rate)) / rate
    fade_T = np.minimum(1, np.minimum(times_T, WORD_SECONDS - times_T) / 0.01)
    pause_T = np.zeros(round(PAUSE_SECONDS * rate))
    tones = [0.4 * fade_T * np.sin(2 * np.pi * WORD_HZ[word] * times_T) for word in words]
    return np.concatenate([part for tone_T in tones for part in (pause_T, tone_T)] + [pause_T]).astype(np.float32)


def spelled(words: Sequence[int], language: str) -> str:
    """Return the text of some words."""
    return ("" if language == "zh-CN" else " ").join(WORDS.get(language, WORDS["en"])[word] for word in words)


def split_pair(pair: str) -> tuple[str, str]:
    """Return the languages of a pair as CoVoST-2 writes them."""
    source, target = (pair[:2], pair[3:]) if pair.startswith("en-") else (pair[:-3], pair[-2:])
    return source, target


def write_covost2(
    root: Path,
    seed: int = 0,
    *,
    layout: str = "lang",
    pairs: Sequence[str] = PAIRS,
    utterances: int = 10,
    defects: bool = True,
) -> tuple[Path, Path]:
    """Write the corpus and return the folders of Common Voice and of the translations.

    `layout` of Common Voice: "flat" (of one source language only), "lang", "version" or "tar.gz". `utterances` is
    the number of sound rows of each pair; they are train, train, train, dev and test in turn.
    """
    voice, covost = root / "common_voice", root / "covost"
    covost.mkdir(parents=True)
    for source in dict.fromkeys(split_pair(pair)[0] for pair in pairs):
        folder = {"flat": voice, "version": voice / "cv-corpus-4-2019-12-10" / source}.get(layout, voice / source)
        rows = _write_language(
            folder, source, np.random.default_rng([seed, len(source), *source.encode()]), utterances, defects
        )
        if layout == "tar.gz":
            pack(voice / f"cv-corpus-4-2019-12-10-{source}.tar.gz", folder)
        for pair in pairs:
            if split_pair(pair)[0] == source:
                _write_translations(covost / f"covost_v2.{source}_{split_pair(pair)[1]}.tsv", rows, split_pair(pair)[1])
    return voice, covost


def _write_language(
    folder: Path, language: str, rng: np.random.Generator, utterances: int, defects: bool
) -> list[tuple[str, list[int], str, str]]:
    """Write the clips and validated.tsv of a language; return path, words, label and defect of each row."""
    (folder / "clips").mkdir(parents=True)
    plan = [(LABELS[i % len(LABELS)], "none") for i in range(utterances)] + list(DEFECTS if defects else ())
    rows: list[tuple[str, list[int], str, str]] = []
    validated = ["client_id\tpath\tsentence\tup_votes\tdown_votes\tage\tgender\taccent"]
    for i, (label, defect) in enumerate(plan):
        words = rng.integers(0, len(WORD_HZ), rng.integers(2, 5)).tolist()
        suffix, rate = KINDS[i % len(KINDS)] if defect not in ("text", "truncated") else KINDS[0]
        path = folder / "clips" / f"common_voice_{language}_{1000 + i}{suffix}"
        if defect == "duplicate":
            rows.append((rows[0][0], rows[0][1], label, defect))
            continue
        if defect == "zero bytes":
            path.touch()
        elif defect == "text":
            path.write_text("<html>404: not found</html>")
        elif defect != "missing":
            write_media(path, spoken(words, rate), rate)
        if defect == "truncated":
            path.write_bytes(path.read_bytes()[:20])
        rows.append((path.name, words, label, defect))
        if defect != "unvalidated":
            sentence = _quoted(spelled(words, language), defect)
            validated.append(f"speaker{i % 4}\t{path.name}\t{sentence}\t2\t0\t\t\t")
    (folder / "validated.tsv").write_text("\n".join(validated) + "\n", encoding="utf-8")
    return rows


def _write_translations(path: Path, rows: list[tuple[str, list[int], str, str]], target: str) -> None:
    lines = ["path\ttranslation\tsplit"]
    for name, words, label, defect in rows:
        text = {"NA": "NA", "empty translation": ""}.get(defect, _quoted(spelled(words, target), defect))
        lines.append(f"{name}\t{text}\t{label}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _quoted(text: str, defect: str) -> str:
    """Put the first half in quotation marks, one of which is left open, as they are in Common Voice."""
    return f'"{text[: len(text) // 2]}" "{text[len(text) // 2 :]}' if defect == "quotes" else text


def pack(archive: Path, folder: Path) -> None:
    """Move a folder into an archive, whose paths begin with its name."""
    with tarfile.open(archive, "w:gz") as tar:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                tar.add(path, path.relative_to(folder).as_posix())
                path.unlink()
    for path in (folder / "clips", folder):
        path.rmdir()


def add_member(tar: tarfile.TarFile, name: str, contents: bytes = b"evil", link: str | None = None) -> None:
    """Add a file, or a link, of any name to an archive."""
    member = tarfile.TarInfo(name)
    member.size = len(contents)
    if link is not None:
        member.type, member.linkname, member.size = tarfile.SYMTYPE, link, 0
    tar.addfile(member, io.BytesIO(contents) if link is None else None)
