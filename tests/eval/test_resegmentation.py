"""The translation of a recording is divided among the sentences of its reference, and no word is lost."""

import random
from collections.abc import Callable
from itertools import pairwise

import pytest

from voxlate_eval import resegmentation
from voxlate_eval.resegmentation import resegment, signature

TALK = [
    "Good morning, everybody.",
    "Today I want to talk about the sea.",
    "It covers most of our planet.",
    "Any questions?",
]


def rejoined(text: str, references: list[str], language: str = "en") -> list[str]:
    """Resegment, and check that nothing but white space is lost."""
    parts = resegment(text, references, language)
    assert len(parts) == len(references)
    assert "".join("".join(parts).split()) == "".join(text.split())
    assert [word for part in parts for word in part.split()] == text.split() or language != "en"
    return parts


# The parts of the first four are also those of mweralign 1.4.1 (-m none) and OmniSTEval 0.1.10.
@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (
            "Good morning everyone, today I'd like to talk about the sea and it covers most of the planet. Questions?",
            (
                "Good morning everyone,",
                "today I'd like to talk about the sea and",
                "it covers most of the planet.",
                "Questions?",
            ),
        ),
        (
            "Good morning. Everybody. Today. I want to talk. About the sea. It covers. Most of our planet. Any.",
            (
                "Good morning. Everybody.",
                "Today. I want to talk. About the sea.",
                "It covers. Most of our planet.",
                "Any.",
            ),
        ),
        (f"{TALK[0]} {TALK[2]} {TALK[3]}", (TALK[0], "", TALK[2], TALK[3])),
        (f"Subtitles by someone. {' '.join(TALK)}", (f"Subtitles by someone. {TALK[0]}", *TALK[1:])),
        (
            f"{TALK[0]} {TALK[1]} Thank you for watching, please subscribe. {TALK[2]} {TALK[3]}",
            (TALK[0], f"{TALK[1]} Thank you for watching, please subscribe.", TALK[2], TALK[3]),
        ),
        (f"{' '.join(TALK)} Thank you.", (*TALK[:3], f"{TALK[3]} Thank you.")),
        (
            "Hello all. I will now speak of oceans. They cover a large part of earth. Do you have questions?",
            (
                "Hello all.",
                "I will now speak of oceans.",
                "They cover a large part of earth.",
                "Do you have questions?",
            ),
        ),
        (" \n", ("", "", "", "")),
    ],
    ids=["merged", "split", "missing", "invented first", "invented", "invented last", "reworded", "empty"],
)
def test_cases_with_known_answers(text: str, parts: tuple[str, ...]) -> None:
    assert rejoined(text, TALK) == list(parts)


def test_languages_without_spaces_are_divided_between_characters() -> None:
    chinese = ["你好。", "我爱纽约的海。", "谢谢大家。"]
    assert rejoined("你好。我喜欢 New York 的海。谢谢", chinese, "zh-CN") == [
        "你好。",
        "我喜欢 New York 的海。",
        "谢谢",
    ]
    thai = ["สวัสดีครับ", "วันนี้ผมพูดเรื่องทะเล"]
    assert rejoined("สวัสดีครับวันนี้ผมจะพูดเรื่องทะเล", thai, "th") == ["สวัสดีครับ", "วันนี้ผมจะพูดเรื่องทะเล"]
    assert (
        rejoined("これはペンです。あれは本です。", ["これはペンです。", "あれは本です。"], "ja")[1] == "あれは本です。"
    )
    assert (signature("de"), signature("ja")) == ("softsegmenter.words.1", "softsegmenter.characters.1")


def test_unusual_references() -> None:
    assert rejoined("All of it.", ["One sentence"]) == ["All of it."]
    assert rejoined("One, two.", ["One", " ", "two"]) == ["One,", "", "two."]
    assert rejoined("A word", [" ", ""]) == ["A word", ""]
    assert rejoined("“¿Qué?” —dijo él…", ["«¿Qué?»", "—dijo él"]) == ["“¿Qué?”", "—dijo él…"]


def noisy(rng: random.Random, words: list[str]) -> tuple[list[str], list[str]]:
    """Return a reference and a translation with substituted, missing and additional words."""
    reference, translation = ["start"], ["start"]
    for word in rng.choices(words, k=rng.randint(8, 60)):
        reference.append(word)
        kind = rng.random()
        if kind < 0.7:
            translation.append(word if kind < 0.5 else rng.choice(words))
        elif kind < 0.8:
            translation += rng.choices(words, k=rng.randint(1, 6))
    return reference, translation


def sentences_of(words: list[str]) -> list[str]:
    bounds = [*range(0, len(words), 7), len(words)]
    return [" ".join(words[start:end]) for start, end in pairwise(bounds)]


@pytest.fixture
def texts() -> Callable[[int], tuple[list[str], str]]:
    def make(seed: int) -> tuple[list[str], str]:
        rng = random.Random(seed)
        words = ["".join(rng.choices("etaoinsh", k=rng.randint(1, 5))) for _ in range(20)]
        reference, translation = noisy(rng, [*words, ".", ","])
        return sentences_of(reference), " ".join(translation)

    return make


def test_blocks_of_any_size_give_the_same_parts(
    texts: Callable[[int], tuple[list[str], str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = [rejoined(text, references) for references, text in map(texts, range(40))]
    monkeypatch.setattr(resegmentation, "BLOCK_CELLS", 10)
    assert whole == [rejoined(text, references) for references, text in map(texts, range(40))]


def test_omnisteval_aligns_in_the_same_way(texts: Callable[[int], tuple[list[str], str]]) -> None:
    alignment = pytest.importorskip("omnisteval.alignment", reason="OmniSTEval is not installed")
    for references, text in map(texts, range(60)):
        reference = [alignment.Word(word, i) for i, line in enumerate(references) for word in line.split()]
        translation = [alignment.Word(word, original=word) for word in text.split()]
        aligned = alignment.align_sequences(reference, translation, False)
        parts: list[list[str]] = [[] for _ in references]
        for word in alignment.process_alignment(*aligned, False):
            parts[word.seq_id].append(word.original)
        assert rejoined(text, references) == [" ".join(part) for part in parts]


@pytest.mark.slow
def test_an_hour_takes_seconds_and_little_memory() -> None:
    import tracemalloc

    rng = random.Random(1)
    words = ["".join(rng.choices("etaoinshrdlu", k=rng.randint(2, 9))) for _ in range(2500)]
    reference = rng.choices(words, k=11_000)
    translation = [word if rng.random() < 0.6 else rng.choice(words) for word in reference]
    tracemalloc.start()
    parts = rejoined(" ".join(translation), sentences_of(reference))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    same = sum(abs(len(part.split()) - 7) <= 3 for part in parts)
    assert same > 0.95 * len(parts)
    assert peak < 400e6
