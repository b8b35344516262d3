"""Vocabulary shortlists for faster search: the ids that text in a language needs, in a file next to the model."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from voxlate.checkpoints.vocabulary_files import find_vocabulary, folder_tokenizer
from voxlate.errors import VoxlateError
from voxlate.files import file_sha256, write_text
from voxlate.json_files import read_json, shown
from voxlate.manifest.reading import read_manifest
from voxlate.tokenizer import SPECIALS, VOCABULARY_FILES, Tokenizer


@dataclass(frozen=True)
class Shortlist:
    """The ids of the pieces of a language in ascending order, and the SHA-256 of their vocabulary."""

    language: str
    ids: tuple[int, ...]
    vocabulary_sha256: str


def prepare_shortlist(texts: Sequence[Path], language: str, folder: Path, output: Path | None = None) -> str:
    """Write the shortlist of a language, by default next to the model; return a one-line summary.

    `texts` are .txt files with one sentence per line, or manifests, whose target texts in the language are read.
    """
    vocabulary = find_vocabulary(folder) or folder
    if not vocabulary.is_file() or (output is None and vocabulary == folder):
        expected = f"a model's folder with one of {', '.join(VOCABULARY_FILES)}; with --output also such a file"
        raise VoxlateError(f"--model {folder}: contains no vocabulary; expected {expected}")
    tokenizer = Tokenizer(vocabulary) if vocabulary == folder else folder_tokenizer(folder)
    lines = [line for path in texts for line in _lines(path, language)]
    shortlist = make_shortlist(language, lines[::2] or lines, tokenizer)
    half_ids = {*shortlist.ids}  # from every other line, to measure their coverage of the remaining lines
    covered = [index in half_ids for line in lines[1::2] for index in tokenizer.encode(line)]
    shortlist = make_shortlist(language, lines, tokenizer)
    path = output or _path(folder, language)
    fields = {"language": language, "vocabulary_sha256": shortlist.vocabulary_sha256, "ids": shortlist.ids}
    write_text(path, json.dumps(fields) + "\n")
    coverage = f"; coverage of held-out text: {sum(covered) / len(covered):.2%}" if covered else ""
    return f"{path}: {len(shortlist.ids):,} of {tokenizer.vocabulary_size:,} ids, from {len(lines):,} lines{coverage}"


def make_shortlist(language: str, texts: Iterable[str], tokenizer: Tokenizer) -> Shortlist:
    """Return the ids of the pieces of texts, of their single characters, and of special tokens and tags."""
    ids = {*range(SPECIALS), *range(tokenizer.first_tag_id, tokenizer.vocabulary_size)}
    characters: set[str] = set()
    for text in texts:
        ids.update(tokenizer.encode(text))
        characters.update(text)
    if not characters:
        raise VoxlateError(f"no text for a shortlist of {language}; expected lines in that language")
    for character in characters:  # at the beginning of a word, and inside one
        ids.update(tokenizer.encode(character), tokenizer.encode(f"{character}{character}{character}"))
    return Shortlist(language, tuple(sorted(ids)), file_sha256(*tokenizer.files))


def _lines(path: Path, language: str) -> Iterator[str]:
    if path.suffix != ".txt":
        rows = read_manifest(path)
        pairs = zip(rows.column("target_language"), rows.column("target_text"), strict=True)
        return (text for code, text in pairs if text and code == language)
    try:
        return iter(path.read_text(encoding="utf-8").splitlines())
    except (OSError, UnicodeDecodeError) as error:
        raise VoxlateError(f"{path}: cannot be read as text ({error})") from None


def _path(folder: Path, language: str) -> Path:
    return folder / "shortlists" / f"{language}.json"


def read_shortlist(path: Path) -> Shortlist:
    """Read a file written by `voxlate prepare shortlist`. VoxlateError if it is not valid."""
    fields = read_json(path, "expected a file written by voxlate prepare shortlist")
    match fields:
        case {"language": str() as language, "vocabulary_sha256": str() as digest, "ids": list() as ids}:
            if ids and all(isinstance(index, int) and not isinstance(index, bool) and index >= 0 for index in ids):
                return Shortlist(language, tuple(ids), digest)
    raise VoxlateError(
        f"{path}: not a file written by voxlate prepare shortlist; expected a language, a vocabulary_sha256 and ids"
    )


def find_shortlists(folder: Path, tokenizer: Tokenizer, languages: Iterable[str]) -> Mapping[str, Shortlist]:
    """Return the shortlists next to a model. VoxlateError if one is missing or of another vocabulary."""
    shortlists = {}
    for language in dict.fromkeys(languages):
        path = _path(folder, language)
        make = f"create it with: voxlate prepare shortlist TEXT --language {language} --model {folder}"
        if not path.is_file():
            raise VoxlateError(f"{path} does not exist; {make}")
        shortlists[language] = read_shortlist(path)
        if shortlists[language].vocabulary_sha256 != file_sha256(*tokenizer.files):
            raise VoxlateError(f"{path}: made for a vocabulary other than {tokenizer.path}; {make}")
        if shortlists[language].language != language:
            raise VoxlateError(f"{path}: is for {shown(shortlists[language].language)}, expected {language}; {make}")
        ids = {*shortlists[language].ids}
        if max(ids) >= tokenizer.vocabulary_size or not ids.issuperset(range(SPECIALS)):
            raise VoxlateError(f"{path}: its ids are not those of {tokenizer.path}; {make}")
    return shortlists


def shortlists_sha256(folder: Path, languages: Iterable[str]) -> dict[str, str]:
    """Return the SHA-256 of the shortlist of each language that has one."""
    paths = {language: _path(folder, language) for language in languages}
    return {language: file_sha256(path) for language, path in paths.items() if path.is_file()}
