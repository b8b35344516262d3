"""Generate parallel sentences in six languages from the demo's phrases, as a table for `voxlate prepare spoken`.

    python recipes/demo/make_sentences.py --train 20000 --dev 400 --test 1000 > sentences.tsv

In training, each language has its own sentences, English twice as many because it has more target languages. If all
languages shared the same few thousand sentences, the decoder would memorize them. Dev and test sentences are spoken in
all languages.

Held-out sentences are new combinations, not only new strings. A hash assigns a few of all pairs of fillers to dev and
to test (for a pattern with one slot, the pair of pattern and filler). A sentence belongs to test if it contains such a
pair, so train never has those two together, in any pattern. Sentences with pairs of both are left out.
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
_TRAIN_MULTIPLES = {language: 2 if language == "en" else 1 for language in LANGUAGES}  # multiples of --train
_HELD_OUT = {"dev": 0.01, "test": 0.03}  # shares of the pairs of fillers

Texts = tuple[str, ...]  # one text per language


@dataclass
class Phrases:
    """Patterns and fillers, each in all languages."""

    patterns: list[Texts] = field(default_factory=list)
    fillers: dict[str, list[Texts]] = field(default_factory=dict)

    def combinations(self, text: str | None = None) -> int:
        """Return the number of possible sentences, or of ways to fill the slots of a text."""
        if text is None:
            return sum(self.combinations(pattern[0]) for pattern in self.patterns)
        count = 1
        for name, _ in _SLOT.findall(text):
            count *= sum(self.combinations(filler[0]) for filler in self.fillers[name])
        return count


@dataclass(frozen=True)
class Sentence:
    """A sentence in all languages, the fillers of its slots, and the split it belongs to."""

    texts: Texts
    fillers: tuple[str, ...]
    split: str


def read_phrases(folder: Path) -> Phrases:
    """Read all phrase files of a folder. ValueError names a malformed line, or slots without fillers."""
    phrases = Phrases()
    for path in sorted(folder.glob("*.txt")):
        rows: list[Texts] | None = None
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


class SentenceSampler:
    """An endless iterator of random sentences. The frequency of a slot's fillers falls with their rank (Zipf)."""

    def __init__(self, phrases: Phrases, seed: int) -> None:
        self._phrases, self._random = phrases, random.Random(seed)
        # A pattern is drawn more often if its slots have more fillers to learn.
        self._weights = [
            sum(len(phrases.fillers[name]) for name, _ in _SLOT.findall(pattern[0])) ** 0.5 + 4.0
            for pattern in phrases.patterns
        ]

    def __iter__(self) -> Iterator[Sentence]:
        while True:
            number = self._random.choices(range(len(self._phrases.patterns)), self._weights)[0]
            fillers: list[str] = []
            texts = self._fill(self._phrases.patterns[number], fillers)
            pairs = combinations(sorted(fillers), 2) if len(fillers) != 1 else [(f"pattern {number}", *fillers)]
            splits = {split_of(pair) for pair in pairs} - {"train"}
            if len(splits) < 2:
                yield Sentence(tuple(map(_capitalize, texts)), tuple(fillers), splits.pop() if splits else "train")

    def _fill(self, pattern: Texts, names: list[str]) -> Texts:
        """Fill the slots of a pattern in all languages, and append the names of the fillers to `names`."""
        chosen: dict[tuple[str, str], Texts] = {}
        used: dict[str, set[int]] = {}
        for slot in dict.fromkeys(_SLOT.findall(pattern[0])):
            name = slot[0]
            index = self._draw(name, used.setdefault(name, set()))
            used[name].add(index)
            filler = self._phrases.fillers[name][index]
            inner: list[str] = []
            chosen[slot] = self._fill(filler, inner)
            names += inner or [f"{name} {index}"]

        def fill_one(text: str, column: int) -> str:
            return _SLOT.sub(lambda match: chosen[match[1], match[2]][column], text)

        return tuple(fill_one(text, column) for column, text in enumerate(pattern))

    def _draw(self, name: str, used: set[int]) -> int:
        """Draw the index of a slot's filler that is not in `used`."""
        unused = [index for index in range(len(self._phrases.fillers[name])) if index not in used]
        return self._random.choices(unused, [1 / (index + 2) for index in unused])[0]


def split_of(pair: Texts) -> str:
    """Return the split of a pair of fillers. It is the same on every machine."""
    fraction = int.from_bytes(hashlib.sha256("\n".join(pair).encode()).digest()[:8], "big") / 2**64
    for split, share in _HELD_OUT.items():
        if fraction < share:
            return split
        fraction -= share
    return "train"


def draw_sentences(phrases: Phrases, counts: dict[str, int], seed: int) -> dict[str, list[Sentence]]:
    """Return `counts[split]` distinct sentences of each split."""
    drawn: dict[str, dict[Texts, Sentence]] = {split: {} for split in counts}
    # Held-out sentences are rare and train is complete long before them, so each split has its own sampler.
    for split, count in counts.items():
        for sentence in SentenceSampler(phrases, seed + SPLITS.index(split)):
            if len(drawn[split]) >= count:
                break
            if sentence.split == split:
                drawn[split].setdefault(sentence.texts, sentence)
    return {split: list(rows.values()) for split, rows in drawn.items()}


def _capitalize(text: str) -> str:
    """Capitalize the first letter, also after an inverted punctuation mark."""
    first = 1 if text[:1] in "¿¡" else 0
    return text[:first] + text[first : first + 1].upper() + text[first + 1 :]


def main() -> None:
    """Write the table to standard output, and its statistics to standard error."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for split in SPLITS:
        parser.add_argument(f"--{split}", type=int, default=0, help=f"number of sentences for {split}")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--phrases", type=Path, default=Path(__file__).parent / "phrases")
    arguments = parser.parse_args()
    phrases = read_phrases(arguments.phrases)
    held_out = draw_sentences(phrases, {split: getattr(arguments, split) for split in SPLITS[1:]}, arguments.seed)
    drawn = {("", split): rows for split, rows in held_out.items()}
    for number, (language, multiple) in enumerate(_TRAIN_MULTIPLES.items()):
        seed = arguments.seed + len(SPLITS) * number
        counts = {"train": multiple * arguments.train}
        drawn |= {(language, split): rows for split, rows in draw_sentences(phrases, counts, seed).items()}
    print("id", "split", "source_language", *LANGUAGES, sep="\t")
    for (source, split), rows in drawn.items():
        for number, sentence in enumerate(rows, 1):
            print(f"{source}{split}{number:06}", split, source, *sentence.texts, sep="\t")
    print(f"{len(phrases.patterns)} patterns, {phrases.combinations():,} possible sentences", file=sys.stderr)
    for column, language in enumerate(LANGUAGES):
        text = " ".join(sentence.texts[column] for rows in drawn.values() for sentence in rows)
        words = set(re.findall(r"[^\W\d_]+", text.lower()))
        print(f"{language}: {len(words):,} different words in this table", file=sys.stderr)


if __name__ == "__main__":
    main()
