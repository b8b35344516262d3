"""The demo model translates recordings of several sentences as well as their sentences cut by hand."""

import re
from collections.abc import Sequence
from itertools import chain
from typing import Any

import pytest

from paths import DEMO
from recordings import Recording, demo_sentences, record
from voxlate import Translation, Translator
from voxlate.audio.resampling import SAMPLE_RATE_HZ

pytestmark = [pytest.mark.slow, pytest.mark.vad]
LANGUAGES = ("fr", "de", "es")
_SENTENCES = 10  # in a recording


def recordings(count: int, **options: Any) -> list[Recording]:
    """Return recordings of `count` sentences in all, a third of them in each language."""
    sentences = demo_sentences(count)
    groups = [sentences[first : first + _SENTENCES] for first in range(0, count, _SENTENCES)]
    size = len(groups) // len(LANGUAGES)
    return [
        record(group, LANGUAGES[number // size], seed=number % size, **options) for number, group in enumerate(groups)
    ]


def in_order(found: Sequence[str], expected: Sequence[str]) -> int:
    """Return the length of the longest common subsequence."""
    lengths = [0] * (len(expected) + 1)
    for one in found:
        previous = 0
        for index, other in enumerate(expected, start=1):
            kept = lengths[index]
            lengths[index] = previous + 1 if one == other else max(kept, lengths[index - 1])
            previous = kept
    return lengths[-1]


def words(texts: Sequence[str]) -> list[str]:
    return re.findall(r"\w+", " ".join(texts).lower())


def found_share(found: Sequence[str], expected: Sequence[str]) -> float:
    """Return the share of the expected words that were found, in order."""
    return in_order(words(found), words(expected)) / len(words(expected))


def covered(recording: Recording, translation: Translation) -> bool:
    """Return whether each sentence, but for 0.1 s at its edges, lies in segments."""
    edge = SAMPLE_RATE_HZ // 10
    for sentence in recording.sentences:
        moments = range(sentence.start + edge, sentence.end - edge, edge)
        spans = [(one.start * SAMPLE_RATE_HZ, one.end * SAMPLE_RATE_HZ) for one in translation.segments]
        missing = [moment for moment in moments if not any(start <= moment < end for start, end in spans)]
        if len(missing) > 1:
            return False
    return True


def test_as_many_sentences_are_right_as_when_cut_by_hand() -> None:
    """Of 480 sentences, half of them in dialogs of a loud and a quiet speaker."""
    translator = Translator(DEMO / "model", device="cpu", dtype="float32")
    talks = recordings(240) + recordings(240, speakers=2, level_db=(0.0, -12.0))
    clips = [clip_T for talk in talks for clip_T in talk.clips()]
    expected = [sentence.translations["en"] for talk in talks for sentence in talk.sentences]
    alone = dict(translator.stream(clips, to="en"))
    by_hand = [getattr(alone[index], "text", "") for index in range(len(clips))]
    results = dict(translator.stream([talk.waveform_T for talk in talks], to="en"))
    translations = [one for index in range(len(talks)) if isinstance(one := results[index], Translation)]
    texts = [[segment.text for segment in one.segments] for one in translations]
    parts = [expected[first : first + _SENTENCES] for first in range(0, len(expected), _SENTENCES)]
    right = sum(in_order(found, part) for found, part in zip(texts, parts, strict=True))
    right_by_hand = sum(one == other for one, other in zip(by_hand, expected, strict=True))
    share, share_by_hand = found_share(list(chain(*texts)), expected), found_share(by_hand, expected)
    print(
        f"{right} of {len(expected)} sentences word for word, {right_by_hand} cut by hand; words found {share:.3f}, "
        f"{share_by_hand:.3f}"
    )
    assert right >= 0.97 * right_by_hand
    assert share >= share_by_hand - 0.02
    assert all(covered(talk, one) for talk, one in zip(talks, translations, strict=True))
