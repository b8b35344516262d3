"""The demo's phrases are broad and aligned in six languages; held-out sentences are new combinations of them."""

import re
from itertools import combinations
from pathlib import Path

import pytest

from make_sentences import LANGUAGES, Phrases, draw_sentences, main, read_phrases
from paths import DEMO

PHRASES = DEMO / "phrases"


@pytest.fixture(scope="module")
def phrases() -> Phrases:
    return read_phrases(PHRASES)


def test_the_phrases_are_broad(phrases: Phrases) -> None:
    assert len(phrases.patterns) >= 200
    assert phrases.combinations() > 1_000_000
    texts = [*phrases.patterns, *(row for rows in phrases.fillers.values() for row in rows)]
    for column in range(len(LANGUAGES)):
        words = {
            word for row in texts for word in re.findall(r"[^\W\d_]+", re.sub(r"\{.*?\}", "", row[column]).lower())
        }
        assert len(words) >= 1_500


def test_fillers_of_a_slot_differ_in_every_language(phrases: Phrases) -> None:
    for name, rows in phrases.fillers.items():
        for column, language in enumerate(LANGUAGES):
            texts = [row[column] for row in rows]
            assert len({*texts}) == len(texts), f"{name}, {language}"


def test_held_out_sentences_have_combinations_that_do_not_occur_in_train(phrases: Phrases) -> None:
    drawn = draw_sentences(phrases, {"train": 4000, "dev": 30, "test": 100}, seed=1)
    assert {split: len(rows) for split, rows in drawn.items()} == {"train": 4000, "dev": 30, "test": 100}

    def pairs(fillers: tuple[str, ...]) -> set[tuple[str, ...]]:
        return {*combinations(sorted(fillers), 2)}

    trained = set().union(*(pairs(sentence.fillers) for sentence in drawn["train"]))
    for split in ("dev", "test"):
        for sentence in drawn[split]:
            assert len(sentence.fillers) < 2 or not pairs(sentence.fillers) <= trained
    # The last fillers of a slot are rare, but a larger draw contains each of them.
    assert len({filler for sentence in drawn["train"] for filler in sentence.fillers}) > 0.7 * sum(
        1 for rows in phrases.fillers.values() for row in rows if "{" not in row[0]
    )
    texts = [sentence.texts for rows in drawn.values() for sentence in rows]
    assert len({*texts}) == len(texts)


def test_each_language_has_its_own_training_sentences(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["make_sentences.py", "--train", "40", "--dev", "3"])
    main()
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()[1:]]
    read = {language: {row[3] for row in rows if row[2] == language} for language in ("", *LANGUAGES)}
    assert {language: len(texts) for language, texts in read.items()} == {"": 3, "en": 80} | dict.fromkeys(
        LANGUAGES[1:], 40
    )
    assert len(set().union(*read.values())) > 0.95 * len(rows)
    assert len({row[0] for row in rows}) == len(rows)


def test_sentences_depend_only_on_the_seed(phrases: Phrases) -> None:
    first, again, other = (draw_sentences(phrases, {"train": 20}, seed) for seed in (1, 1, 2))
    assert first == again != other


def test_sentences_are_complete(phrases: Phrases) -> None:
    for sentence in draw_sentences(phrases, {"train": 500}, seed=3)["train"]:
        for text in sentence.texts:
            assert re.fullmatch(r"[¿¡]?[^\W\d_a-zà-ÿ].*[.?!]", text), text
            assert not re.search(r"[{}|\d]|  ", text), text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("= pattern\na | b | c\n", "a.txt:2: expected 6 texts with the same slots: a | b | c"),
        ("= pattern\n{x} | {x} | {x} | {x} | {x} | {y}\n", "a.txt:2: expected 6 texts with the same slots"),
        ("= x\n1 | 2 | 3 | 4 | 5 | 6\n= x\n", "a.txt:3: slot x occurs twice"),
        ("= pattern\n{x} | {x} | {x} | {x} | {x} | {x}\n", "slots without fillers: x"),
    ],
)
def test_malformed_phrases_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.txt").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=re.escape(message)):
        read_phrases(tmp_path)
