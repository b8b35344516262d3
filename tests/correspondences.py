"""Which words of a demo sentence correspond to which words of its translation.

Sentences are made of parallel phrases: a pattern, and the fillers of its slots. A word corresponds to words of the same
phrase in the other language. Which of them, two IBM models 1 (Brown et al. 1993, J93-2003), one for each direction,
learn from the pairs of phrases.
"""

import math
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice

from paths import DEMO

sys.path.insert(0, str(DEMO))
from make_sentences import LANGUAGES, SentenceSampler, read_phrases

_SENTENCES = 2_000  # whose phrases the models learn from
_ROUNDS = 6
_OPEN, _BAR, _CLOSE = "⟦", "|", "⟧"

Words = tuple[str, ...]


@dataclass(frozen=True)
class PhrasedSentence:
    """A sentence: its split, its words by language, and the phrase that each belongs to."""

    split: str
    words: dict[str, Words]
    phrases: dict[str, Words]


def phrased_sentences(seed: int) -> Iterator[PhrasedSentence]:
    """Yield the sentences of the demo's sampler, with the phrases they are made of."""
    phrases, marked = read_phrases(DEMO / "phrases"), read_phrases(DEMO / "phrases")
    for name, fillers in marked.fillers.items():
        fillers[:] = [
            tuple(f"{_OPEN}{name} {index}{_BAR}{text}{_CLOSE}" for text in texts) for index, texts in enumerate(fillers)
        ]
    for sentence, copy in zip(SentenceSampler(phrases, seed), SentenceSampler(marked, seed), strict=True):
        words = [tuple(text.split()) for text in sentence.texts]
        owners = [_owners(text) for text in copy.texts]
        assert list(map(len, words)) == list(map(len, owners))
        yield PhrasedSentence(
            sentence.split, dict(zip(LANGUAGES, words, strict=True)), dict(zip(LANGUAGES, owners, strict=True))
        )


def _owners(marked: str) -> Words:
    """Return the phrase of each word of a marked text: the innermost one of most of its letters."""
    owners: list[Counter[str]] = [Counter()]
    stack = [""]
    name: str | None = None
    for letter in marked:
        if letter == _OPEN:
            name = ""
        elif letter == _BAR and name is not None:
            stack.append(name)
            name = None
        elif name is not None:
            name += letter
        elif letter == _CLOSE:
            stack.pop()
        elif letter == " ":
            owners.append(Counter())
        else:
            owners[-1][stack[-1]] += 1 + 100 * letter.isalnum()
    return tuple(counts.most_common(1)[0][0] for counts in owners)


class Correspondences:
    """The correspondences of words of two languages."""

    def __init__(self, source: str, target: str) -> None:
        self._source, self._target = source, target
        pairs = {
            (_words_of(sentence, source, phrase), _words_of(sentence, target, phrase))
            for sentence in _sentences()
            for phrase in {*sentence.phrases[source]} & {*sentence.phrases[target]}
        }
        self._forward = _translation_table(sorted(pairs))
        self._backward = _translation_table(sorted((targets, sources) for sources, targets in pairs))

    def of(self, sentence: PhrasedSentence) -> list[list[int]]:
        """Return the positions of the source words that each target word corresponds to: one, or some in a row."""
        source, target = sentence.words[self._source], sentence.words[self._target]
        phrases, owners = sentence.phrases[self._source], sentence.phrases[self._target]

        def score(i: int, j: int) -> float:
            pair = plain(source[i]), plain(target[j])
            both = math.sqrt(self._forward[pair] * self._backward[pair[::-1]])
            return (both + 1e-3 * self._forward[pair] + 1e-6) * _nearness(i, len(source), j, len(target))

        links = []
        for j, owner in enumerate(owners):
            candidates = [i for i, phrase in enumerate(phrases) if phrase == owner] or range(len(source))
            links.append([max(candidates, key=lambda i: score(i, j))])
        for i in set(range(len(source))).difference(*links):  # as the article of a word that has none in the target
            candidates = [j for j, owner in enumerate(owners) if owner == phrases[i]]
            if candidates:
                best = max(candidates, key=lambda j: score(i, j))
                if {i - 1, i + 1} & {*links[best]}:
                    links[best].append(i)
        return [sorted(link) for link in links]


@cache
def _sentences() -> list[PhrasedSentence]:
    return list(islice(phrased_sentences(1), _SENTENCES))


def _words_of(sentence: PhrasedSentence, language: str, phrase: str) -> Words:
    owners = sentence.phrases[language]
    return tuple(plain(word) for word, owner in zip(sentence.words[language], owners, strict=True) if owner == phrase)


def _translation_table(pairs: Sequence[tuple[Words, Words]]) -> dict[tuple[str, str], float]:
    """Return the probability of each target word given a source word, by (source word, target word)."""
    table: dict[tuple[str, str], float] = defaultdict(lambda: 1.0)
    for _ in range(_ROUNDS):
        counts: dict[tuple[str, str], float] = defaultdict(float)
        totals: dict[str, float] = defaultdict(float)
        for source, target in pairs:
            for j, word in enumerate(target):
                shares = [
                    table[other, word] * _nearness(i, len(source), j, len(target)) for i, other in enumerate(source)
                ]
                total = sum(shares)
                for other, share in zip(source, shares, strict=True):
                    counts[other, word] += share / total
                    totals[other] += share / total
        table = defaultdict(float, {pair: count / totals[pair[0]] for pair, count in counts.items()})
    return table


def _nearness(i: int, sources: int, j: int, targets: int) -> float:
    return math.exp(-5 * abs((i + 0.5) / sources - (j + 0.5) / targets))


def plain(word: str) -> str:
    """Return a word in lower case without punctuation, or the punctuation if it is nothing else."""
    return word.strip("¿¡.,?!").lower() or word
