"""Fill the slots of the demo's phrases: parallel sentences in six languages, as a table for `voxlate prepare spoken`.

    python recipes/demo/sentences.py --train 20000 --dev 400 --test 1000 > sentences.tsv

In training, each language reads sentences of its own, English twice as many as it has more to translate into: a
decoder that meets the same few thousand sentences in six languages learns them by heart. Dev and test sentences are
read in all languages.

Held-out sentences are new in their combinations, not only as strings: a hash sends a few of all pairs of fillers to
dev and to test (of a pattern with one slot, the pair of pattern and filler). A sentence is of test if it has such a
pair, so that train never has those two together, in any pattern. Sentences with pairs of both are left out.
"""

import argparse
import hashlib
import random
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

LANGUAGES = ("en", "fr", "de", "es", "it", "ca")
SPLITS = ("train", "dev", "test")
_SLOT = re.compile(r"\{([a-z_]+)(\d?)\}")
_READINGS = {language: 2 if language == "en" else 1 for language in LANGUAGES}  # of train, in shares of --train
_HELD_OUT = {"dev": 0.01, "test": 0.03}  # shares of the pairs of fillers

Row = tuple[str, ...]  # one text for each language


@dataclass
class Phrases:
    """Patterns and fillers, each in all languages."""

    patterns: list[Row] = field(default_factory=list)
    fillers: dict[str, list[Row]] = field(default_factory=dict)

    def combinations(self, text: str | None = None) -> int:
        """Return how many sentences there are, or how many ways there are to fill a text."""
        if text is None:
            return sum(self.combinations(pattern[0]) for pattern in self.patterns)
        count = 1
        for name, _ in _SLOT.findall(text):
            count *= sum(self.combinations(filler[0]) for filler in self.fillers[name])
        return count


@dataclass(frozen=True)
class Sentence:
    """A sentence in all languages, what filled its slots, and where it belongs."""

    texts: Row
    parts: tuple[str, ...]
    split: str


def read_phrases(folder: Path) -> Phrases:
    """Read all files of a folder; ValueError names the line that does not fit."""
    phrases = Phrases()
    for path in sorted(folder.glob("*.txt")):
        rows: list[Row] | None = None
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if line.startswith("="):
                name = line[1:].strip()
                if name in phrases.fillers:
                    raise ValueError(f"{path}:{number}: slot {name} occurs twice")
                rows = phrases.patterns if name == "pattern" else phrases.fillers.setdefault(name, [])
            elif line.strip() and not line.startswith("#"):
                row = tuple(cell.strip() for cell in line.split("|"))
                slots = {tuple(sorted(_SLOT.findall(cell))) for cell in row}
                if rows is None or len(row) != len(LANGUAGES) or not all(row) or len(slots) != 1:
                    raise ValueError(f"{path}:{number}: expected {len(LANGUAGES)} texts with the same slots: {line}")
                rows.append(row)
    unknown = {
        name
        for row in (*phrases.patterns, *(row for rows in phrases.fillers.values() for row in rows))
        for name, _ in _SLOT.findall(row[0])
        if name not in phrases.fillers
    }
    if unknown:
        raise ValueError(f"{folder}: slots without fillers: {', '.join(sorted(unknown))}")
    return phrases


class Sampler:
    """Random sentences. The fillers of a slot come by their rank, the first ones most often, as words do (Zipf)."""

    def __init__(self, phrases: Phrases, seed: int) -> None:
        self.phrases, self.random = phrases, random.Random(seed)
        # A pattern comes the more often the more fillers there are to learn in it.
        self._weights = [
            sum(len(phrases.fillers[name]) for name, _ in _SLOT.findall(pattern[0])) ** 0.5 + 4.0
            for pattern in phrases.patterns
        ]

    def __iter__(self) -> Iterator[Sentence]:
        while True:
            number = self.random.choices(range(len(self.phrases.patterns)), self._weights)[0]
            parts: list[str] = []
            texts = self._fill(self.phrases.patterns[number], parts)
            pairs = combinations(sorted(parts), 2) if len(parts) != 1 else [(f"pattern {number}", *parts)]
            splits = {split_of(pair) for pair in pairs} - {"train"}
            if len(splits) < 2:
                yield Sentence(tuple(map(_capital, texts)), tuple(parts), splits.pop() if splits else "train")

    def _fill(self, row: Row, parts: list[str]) -> Row:
        """Fill the slots of all languages alike; add what each was filled with to `parts`."""
        chosen: dict[tuple[str, str], Row] = {}
        used: dict[str, set[int]] = {}
        for slot in dict.fromkeys(_SLOT.findall(row[0])):
            name = slot[0]
            index = self._draw(name, used.setdefault(name, set()))
            used[name].add(index)
            filler = self.phrases.fillers[name][index]
            inner: list[str] = []
            chosen[slot] = self._fill(filler, inner)
            parts += inner or [f"{name} {index}"]

        def filled(text: str, column: int) -> str:
            return _SLOT.sub(lambda match: chosen[match[1], match[2]][column], text)

        return tuple(filled(text, column) for column, text in enumerate(row))

    def _draw(self, name: str, used: set[int]) -> int:
        """Draw a filler of a slot, but for those in `used`."""
        left = [index for index in range(len(self.phrases.fillers[name])) if index not in used]
        return self.random.choices(left, [1 / (index + 2) for index in left])[0]


def split_of(pair: Row) -> str:
    """Return where a pair belongs; the same on every machine."""
    share = int.from_bytes(hashlib.sha256("\n".join(pair).encode()).digest()[:8], "big") / 2**64
    for split, width in _HELD_OUT.items():
        if share < width:
            return split
        share -= width
    return "train"


def sentences(phrases: Phrases, counts: dict[str, int], seed: int) -> dict[str, list[Sentence]]:
    """Return different sentences, as many of each split as are asked for."""
    found: dict[str, dict[Row, Sentence]] = {split: {} for split in counts}
    # The held-out ones are rare: train is full long before, so that it is drawn from a sampler of its own.
    for split, count in counts.items():
        for sentence in Sampler(phrases, seed + SPLITS.index(split)):
            if len(found[split]) >= count:
                break
            if sentence.split == split:
                found[split].setdefault(sentence.texts, sentence)
    return {split: list(rows.values()) for split, rows in found.items()}


def _capital(text: str) -> str:
    """Make the first letter capital, also after an inverted mark."""
    place = 1 if text[:1] in "¿¡" else 0
    return text[:place] + text[place : place + 1].upper() + text[place + 1 :]


def main() -> None:
    """Write the table to standard output, and what is in it to standard error."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for split in SPLITS:
        parser.add_argument(f"--{split}", type=int, default=0, help=f"sentences for {split}")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--phrases", type=Path, default=Path(__file__).parent / "phrases")
    arguments = parser.parse_args()
    phrases = read_phrases(arguments.phrases)
    held_out = sentences(phrases, {split: getattr(arguments, split) for split in SPLITS[1:]}, arguments.seed)
    drawn = {("", split): rows for split, rows in held_out.items()}
    for number, (language, share) in enumerate(_READINGS.items()):
        seed = arguments.seed + len(SPLITS) * number
        drawn |= {
            (language, split): rows
            for split, rows in sentences(phrases, {"train": share * arguments.train}, seed).items()
        }
    print("id", "split", "source_language", *LANGUAGES, sep="\t")
    for (source, split), rows in drawn.items():
        for number, sentence in enumerate(rows, 1):
            print(f"{source}{split}{number:06}", split, source, *sentence.texts, sep="\t")
    print(f"{len(phrases.patterns)} patterns, {phrases.combinations():,} sentences", file=sys.stderr)
    for column, language in enumerate(LANGUAGES):
        text = " ".join(sentence.texts[column] for rows in drawn.values() for sentence in rows)
        words = set(re.findall(r"[^\W\d_]+", text.lower()))
        print(f"{language}: {len(words):,} different words in this table", file=sys.stderr)


if __name__ == "__main__":
    main()
