"""Read references for `voxlate_eval` from a manifest of any format or from plain text."""

from dataclasses import replace
from pathlib import Path

from voxlate.errors import VoxlateError
from voxlate.languages import look_up_language
from voxlate.manifest.reading import Manifest, read_manifest
from voxlate.manifest.utterance import Utterance
from voxlate_eval.records import ReferenceRow, References
from voxlate_eval.records import read_references as read_lines

_TABLES = (".tsv", ".csv", ".parquet")


def read_references(path: Path) -> References:
    """Read the references of a file. VoxlateError or EvaluationError if it is not valid."""
    if path.suffix.lower() not in _TABLES:
        references = read_lines(path)
        return replace(references, rows=[_with_codes(row) for row in references.rows])
    manifest = read_manifest(path, need=("target_text",), check_audio=False, recordings=True)
    return references_of(manifest)


def references_of(manifest: Manifest) -> References:
    """Return the references of a manifest."""
    return References(manifest.path, [_reference(utterance) for utterance in manifest], has_ids=True)


def transcripts(references: References) -> References:
    """Return the source texts as references, to score transcripts. VoxlateError if one is missing."""
    missing = [row.id for row in references.rows if row.source_text is None and not row.source_sentences]
    if missing:
        raise VoxlateError(
            f"{references.path}: {len(missing):,} rows without source_text, first {missing[0]}; expected the "
            "transcript of each, or no --transcripts"
        )
    rows = [
        replace(
            row,
            target_text=row.source_text or "",
            target_language=row.source_language,
            sentences=row.source_sentences,
        )
        for row in references.rows
    ]
    return References(references.path, rows, references.has_ids)


def language_code(name: str | None) -> str | None:
    """Return the code of a language given by code or name; an unknown name is returned unchanged."""
    language = look_up_language(name) if name else None
    return name if language is None else language.code


def _with_codes(row: ReferenceRow) -> ReferenceRow:
    codes = [language_code(name) for name in (row.source_language, row.target_language)]
    return replace(row, source_language=codes[0], target_language=codes[1])


def _reference(utterance: Utterance) -> ReferenceRow:
    audio = str(utterance.audio) if isinstance(utterance.audio, Path) else None
    return ReferenceRow(
        utterance.id,
        utterance.target_text or "",
        utterance.source_text,
        utterance.source_language,
        utterance.target_language,
        utterance.seconds,
        utterance.speaker,
        utterance.split,
        audio,
        utterance.target_sentences,
        utterance.source_sentences,
    )
