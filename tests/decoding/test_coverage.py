"""The coverage check: what is suspicious, which account is better, and sentences that a model would leave out."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from paths import DEMO
from recordings import Recording, demo_sentences, record
from voxlate import SegmentationOptions, Translator
from voxlate.audio.segmentation import Span
from voxlate.audio.speech_detection import SpeechOptions, detect_speech
from voxlate.decoding.alignment import Attention
from voxlate.decoding.coverage import Account, TokenRates, account_for, coverage_note, joint_score, repeats
from voxlate.decoding.results import Candidate, Segment
from voxlate.decoding.review import cut_in_two
from voxlate.decoding.search import Hypothesis

RATES = TokenRates(2.0, 8.0)
GOOD = Account(RATES, tokens=10, log_prob=-0.5, seconds=2.5, pause_seconds=0.1, unattended=(0, 0.3), repeats=0,
               is_cut_off=False)  # fmt: skip
TRAINING = {
    "clip_seconds": {"median": 2.6, "q95": 4.9, "max": 8.1},
    "tokens_per_second": {"q05": 4.2, "median": 6.5, "q95": 10.1},
}


@pytest.mark.parametrize(
    ("change", "is_suspicious", "warning"),
    [
        ({}, False, None),
        ({"unattended": (1.0, 2.6)}, True, None),
        ({"unattended": (1.0, 3.6)}, True, "2.6 s of speech may be missing"),
        ({"seconds": 5.5}, True, None),
        ({"seconds": 9.0}, True, "only 10 tokens for 9.0 s of speech"),
        ({"seconds": 0.8}, True, "10 tokens for 0.8 s of speech"),
        ({"repeats": 5}, True, "a phrase occurs 5 times in a row"),
        ({"is_cut_off": True}, True, None),  # a note says so
        ({"pause_seconds": 0.4}, False, None),
        ({"pause_seconds": 0.4, "log_prob": -2.0}, True, None),
        ({"log_prob": -2.0}, False, None),
    ],
)
def test_what_is_suspicious(change: dict[str, object], is_suspicious: bool, warning: str | None) -> None:
    account = replace(GOOD, **change)  # type: ignore[arg-type]
    assert account.is_suspicious == is_suspicious
    assert account.warnings == (() if warning is None else (warning,))


def test_the_better_account() -> None:
    unsure, too_little, half = replace(GOOD, log_prob=-4.0), replace(GOOD, seconds=9.0), replace(GOOD, seconds=1.25)
    assert joint_score([half, half]) > joint_score([too_little])
    assert joint_score([GOOD]) > joint_score([replace(half, log_prob=-4.0), half])
    assert joint_score([GOOD]) > joint_score([unsure])
    assert joint_score([unsure]) > joint_score([replace(GOOD, repeats=4)])
    assert joint_score([GOOD]) > joint_score([replace(GOOD, unattended=(0.0, 2.0))])


def test_repeated_phrases() -> None:
    assert repeats([5, 6, 7, 8], 4) == 0
    assert repeats([9, 5, 5, 5, 5, 8], 4) == 4
    assert repeats([9, 5, 6, 5, 6, 5, 6, 8], 4) == 0
    assert repeats([9, 5, 6, 5, 6, 5, 6, 8], 3) == 3
    assert repeats([], 4) == 0


def test_an_account_of_attention_and_speech() -> None:
    speech_F = np.zeros(150)  # 4.8 s
    speech_F[20:60] = speech_F[80:140] = 0.9  # 0.64 to 1.92 s, 2.56 to 4.48 s
    strongest_S = np.full(30, 0.5)
    strongest_S[16:28] = 0.01  # 2.56 to 4.48 s
    account = account_for(
        Hypothesis((52, 7, 8, 2), -0.2, -0.6),
        Attention(strongest_S, 0.16, None),
        speech_F,
        4.8,
        RATES,
        pause_seconds=0.64,
        max_length=5,
        max_repeats=None,
    )
    assert account.tokens == 3
    assert account.seconds == pytest.approx(4.14)
    assert account.pause_seconds == pytest.approx(0.64)
    assert account.unattended_seconds == pytest.approx(1.92)
    assert account.is_cut_off
    assert account.is_suspicious


def test_the_note_names_segments_and_reasons() -> None:
    right = Segment(0.0, 1.0, (Candidate("a", -0.1),))
    wrong = Segment(1.0, 4.2, (Candidate("b", -0.1),), warnings=("2.6 s of speech may be missing",))
    assert coverage_note([right]) is None
    assert coverage_note([right, wrong]) == (
        "1 of 2 segments may be translated wrongly: 1.0 to 4.2 s: 2.6 s of speech may be missing"
    )
    assert str(coverage_note([wrong] * 7)).endswith("; and 2 more")


def two_sentences(first: int, pause: float = 0.5) -> Recording:
    return record(demo_sentences(first + 2)[first:], "fr", pauses=[pause, 0.2], seed=first)


def test_a_segment_is_cut_at_its_longest_inner_pause() -> None:
    recording = two_sentences(0)
    speech = detect_speech(recording.waveform_T, SpeechOptions())
    first, second = recording.sentences

    def parts(span: Span) -> tuple[Span, Span]:
        found = cut_in_two(speech, span)
        assert found is not None
        assert span[0] == found[0][0] < found[0][1] <= found[1][0] < found[1][1] == span[1]
        return found

    before, after = parts((0, len(recording.waveform_T)))
    assert first.end - 800 <= before[1] <= after[0] <= second.start + 800
    parts((first.start, first.end))  # without a pause: where speech is least probable
    assert cut_in_two(speech, (first.end + 3200, first.end + 4800)) is None  # no speech
    assert cut_in_two(speech, (first.start, first.start + 16_000)) is None  # too short


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the demo model with the lengths of its training clips."""
    folder = tmp_path_factory.mktemp("model") / "demo"
    shutil.copytree(DEMO / "model", folder)
    (folder / "training.json").write_text(json.dumps(TRAINING), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def translate(model: Path) -> Callable[[list[Recording], bool], list[str]]:
    translator = Translator(model, device="cpu", dtype="float32")

    def run(recordings: list[Recording], check: bool) -> list[str]:
        options = SegmentationOptions(coverage_check=check)
        clips = [recording.waveform_T for recording in recordings]
        return [translation.text for translation in translator.translate(clips, to="en", segmentation=options)]

    return run


def found_share(recordings: list[Recording], texts: list[str]) -> float:
    """Return the share of the words of the translations that are found."""
    words = [" ".join(sentence.translations["en"] for sentence in one.sentences).split() for one in recordings]
    found = sum(word in text.split() for one, text in zip(words, texts, strict=True) for word in one)
    return found / sum(map(len, words))


def test_a_second_sentence_is_not_lost(translate: Callable[[list[Recording], bool], list[str]]) -> None:
    recordings = [two_sentences(2 * number) for number in range(6)]
    checked, unchecked = translate(recordings, True), translate(recordings, False)
    assert found_share(recordings, unchecked) < 0.6
    assert found_share(recordings, checked) > 0.75


def test_single_sentences_stay_as_they_are(translate: Callable[[list[Recording], bool], list[str]]) -> None:
    recordings = [record([sentence], "fr", pauses=[0.2], seed=1) for sentence in demo_sentences(12)]
    assert translate(recordings, True) == translate(recordings, False)
