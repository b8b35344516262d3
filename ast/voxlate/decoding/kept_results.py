"""Existing results that a command keeps although it might produce different ones, and the notes about them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from voxlate.decoding.inputs import Input
from voxlate.decoding.journal import JOURNAL_NAME, ResultJournal


@dataclass
class KeptResults:
    """Existing results that are kept although this command might produce different ones."""

    unknown: int = 0
    first_unknown: str = ""
    with_other_settings: dict[tuple[str, str], str] = field(default_factory=dict)  # (stem, language) -> digest

    def add_unknown(self, path: str) -> None:
        """Count a result of unknown origin."""
        self.first_unknown = self.first_unknown or path
        self.unknown += 1

    def notes(
        self, journal: ResultJournal, folder: Path, settings: Callable[[str], dict[str, object]]
    ) -> Iterator[str]:
        """Yield a message for each kind."""
        others = self.with_other_settings
        if others:
            names: dict[str, None] = {}
            for language in dict.fromkeys(language for _, language in others):
                digests = {digest for (_, other), digest in others.items() if other == language}
                names |= dict.fromkeys(journal.differences(settings(language), sorted(digests)))
            differing = f" ({', '.join(names)})" if names else ""
            is_single = len(others) == 1
            results = "1 result was" if is_single else f"{len(others)} results were"
            them = "it" if is_single else "them"
            yield f"note: {results} made with other settings{differing}; --overwrite redoes {them}"
        if self.unknown:
            is_single = self.unknown == 1
            results = "1 result is" if is_single else f"{self.unknown} results are"
            them, more = ("it", "") if is_single else ("them", ", …")
            yield (
                f"note: {results} kept whose input and settings are not recorded in {folder / JOURNAL_NAME} "
                f"({Input(Path(self.first_unknown)).name}{more}); --overwrite replaces {them}"
            )
