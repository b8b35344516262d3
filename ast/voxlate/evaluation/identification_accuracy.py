"""Measure the accuracy of a language identifier for each language."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from voxlate.decoding.identifier import Identifier
from voxlate.errors import AudioError, VoxlateError
from voxlate.languages import find_language
from voxlate.manifest.reading import read_manifest


def print_accuracy(manifests: Sequence[Path], identifier: Identifier, num_workers: int | None = None) -> int:
    """Print the accuracy and the confusions of each source language; return 0, or 1 if clips failed."""
    rows = [row for manifest in manifests for row in read_manifest(manifest, recordings=True)]
    unlabeled = next((row.id for row in rows if row.source_language is None), None)
    if unlabeled is not None:
        raise VoxlateError(f"{unlabeled} has no source_language; expected one for each clip")
    sources = (row.audio if isinstance(row.audio, Path) else row.audio.read() for row in rows)
    counts: dict[str, Counter[str]] = {}
    failed = 0
    for index, result in identifier.stream(sources, num_workers=num_workers):
        language = str(rows[index].source_language)
        failed += isinstance(result, AudioError)
        # Unreadable clips and silence count as errors, so that no clip of a test set is left out.
        answer = "error" if isinstance(result, AudioError) else result.language or "silence"
        counts.setdefault(language, Counter())[answer] += 1
    table = Table("language", "clips", "accuracy", "taken for", box=None, pad_edge=False)
    shares = []
    for language, answers in sorted(counts.items()):
        others = ", ".join(f"{name} {count}" for name, count in answers.most_common() if name != language)
        shares.append(answers[language] / answers.total())
        table.add_row(find_language(language).name, str(answers.total()), f"{shares[-1]:.1%}", others)
    table.add_row("mean", str(len(rows)), f"{sum(shares) / len(shares):.1%}", "")
    Console(highlight=False, markup=False).print(table)
    return 1 if failed else 0
