"""Cues that can be read: limits, breaks and times, on made text with known word times."""

import random
from itertools import pairwise

import pytest

from voxlate.decoding.results import Candidate, Segment, Translation, Word
from voxlate.decoding.subtitle_options import SubtitleOptions
from voxlate.decoding.subtitles import Cue, make_cues, subtitle_notes
from voxlate.errors import VoxlateError
from voxlate_eval.subtitle_limits import READING_SPEED, subtitle_limits

WORDS = "the of and to committee harbor decision river in village council debate members storm winter was"
PROSE = (
    "The committee met on Tuesday to discuss the future of the old harbor, which has been closed since the storm of "
    "last winter. Nobody expected a decision. But in the end, after more than four hours of debate, the members agreed "
    "that the bridge over the river should be repaired before the end of the year."
)
CHINESE = (
    "委员会星期二开会，讨论旧港口的未来，该港口自去年冬天的暴风雨以来一直关闭。没有人预料到会有决定。"
    "但最后，经过四个多小时的辩论，成员们一致认为，应该在年底之前修复河上的桥梁。我喜欢iPhone手机。"
)


def translation(*segments: Segment, language: str = "en", seconds: float = 0.0) -> Translation:
    end = seconds or max(segment.end for segment in segments)
    return Translation("talk.mp3", end, language, segments)


def spoken(text: str, start: float, characters_per_second: float) -> Segment:
    """Return a segment whose words are spoken without pauses."""
    words, time = [], start
    for word in text.split():
        seconds = (len(word) + 1) / characters_per_second
        words.append(Word(word, time, time + seconds))
        time += seconds
    return Segment(start, time, (Candidate(text, 0.0),), tuple(words))


def plain(text: str, start: float, end: float) -> Segment:
    return Segment(start, end, (Candidate(text, 0.0),))


def talk(seconds: float, rng: random.Random) -> Translation:
    """Return a talk of sentences with known word times, a few of them spoken too fast to be read."""
    segments, time = [], 1.0
    while time < seconds:
        words = [rng.choice(WORDS.split()) + rng.choice(["", "", "", "", ","]) for _ in range(rng.randint(1, 30))]
        text = " ".join(words).rstrip(",").capitalize() + rng.choice(".?!")
        segments.append(spoken(text, time, rng.choice([12, 14, 16, 18, 30])))
        time = segments[-1].end + rng.choice([0.03, 0.2, 0.5, 1.0, 3.0])
    return translation(*segments)


def test_an_hour_of_cues_is_within_the_limits_or_listed() -> None:
    recording = talk(3600, random.Random(1))
    cues, limits = make_cues(recording), subtitle_limits("en")
    assert len(cues) > 800
    for cue, following in pairwise(cues):
        assert len(cue.lines) <= 2
        assert max(map(len, cue.lines)) <= 42
        assert 0 < cue.end - cue.start <= 7.0001
        gap = following.start - cue.end
        assert gap == pytest.approx(0, abs=1e-4) or gap >= 0.0799
        characters = sum(map(len, cue.lines))
        is_short, is_fast = cue.end - cue.start < 0.999, characters > 20.01 * (cue.end - cue.start)
        assert bool(cue.problems) == (is_short or is_fast)
        assert cue.problems == limits.broken_by(cue.lines, cue.start, cue.end, following.start)
    shown = [word for cue in cues for line in cue.lines for word in line.split()]
    said = [word for segment in recording.segments for word in segment.words]
    assert shown == [word.text for word in said]
    [note] = [note for note in subtitle_notes(recording) if "characters a second" in note]
    fast = [cue for cue in cues if READING_SPEED in cue.problems]
    assert 0 < len(fast) < len(cues) / 3
    assert note.startswith(
        f"{len(fast)} of {len(cues)} cues exceed 20 characters a second: speech is faster there (at 0:"
    )
    assert note.count(":") == 1 + 2 * min(5, len(fast))  # the times of the first ones
    assert note.endswith(f", and {len(fast) - 5} more)") == (len(fast) > 5)
    times = iter(said)
    for cue in cues:
        words = [next(times) for line in cue.lines for _ in line.split()]
        assert -0.01 <= cue.start - words[0].start <= 0.26
        assert cue.end >= min(words[-1].end, cue.start + 7) - 0.1


def test_words_without_times_share_those_of_their_segment() -> None:
    cues = make_cues(translation(plain(PROSE, 10.0, 30.0)))
    assert (cues[0].start, cues[-1].end) == (10.0, 30.0)
    assert " ".join(line for cue in cues for line in cue.lines) == PROSE
    assert all(not cue.problems for cue in cues)


def test_lines_and_cues_end_at_sentences_and_clauses_and_keep_articles_with_their_nouns() -> None:
    cues = make_cues(translation(spoken(PROSE, 0.0, 14)))
    ends = [cue.lines[-1].split()[-1] for cue in cues]
    assert {"harbor,", "winter.", "decision.", "year."} <= {*ends}
    for cue in cues:
        assert not {line.split()[-1].lower() for line in cue.lines} & {"the", "a", "of", "on", "to", "over", "that"}
        if len(cue.lines) == 2:
            assert min(map(len, cue.lines)) > 10
    german = "Sie sprach am 3. Mai mit Dr. Huber über die Dampfschifffahrt in der alten Stadt."
    lines = [line for cue in make_cues(translation(spoken(german, 0.0, 14), language="de")) for line in cue.lines]
    assert not any(line.endswith((" 3.", " Dr.", " die", " der", " am", " in", " über")) for line in lines)


def test_chinese_is_broken_between_phrases_into_short_lines() -> None:
    cues = make_cues(translation(plain(CHINESE, 0.0, 24.0), language="zh"))
    lines = [line for cue in cues for line in cue.lines]
    assert "".join(lines) == CHINESE
    assert max(map(len, lines)) <= 17  # a Latin letter is half a character
    assert not any(line[0] in "，。" for line in lines)
    assert any("iPhone手机" in line for line in lines)
    for whole in ("委员会", "暴风雨", "星期二", "小时"):
        assert any(whole in line for line in lines)


def test_times_of_tokens_that_are_not_words_reach_the_letters() -> None:
    letters = [letter for letter in CHINESE if not letter.isspace()]
    tokens = tuple(Word(letter, 0.25 * index, 0.25 * (index + 1)) for index, letter in enumerate(letters))
    segment = Segment(0.0, tokens[-1].end, (Candidate(CHINESE, 0.0),), tokens)
    first, second, *_ = make_cues(translation(segment, language="zh"))
    assert second.start == pytest.approx(0.25 * len("".join(first.lines)), abs=0.26)
    other = tuple(Word(word, start, start + 4.0) for word, start in (("Another", 10.0), ("text", 20.0)))
    cues = make_cues(translation(Segment(0.0, 30.0, (Candidate(PROSE, 0.0),), other)))
    assert cues[0].start == 10.0
    assert 24.0 <= cues[-1].end <= 26.0  # it is shown in the silence at the end
    assert " ".join(line for cue in cues for line in cue.lines) == PROSE


@pytest.mark.parametrize("language", ["en", "zh", "ja", "th", None])
def test_text_without_breaks_is_cut_to_the_width_of_lines(language: str | None) -> None:
    for letter in ("a", "好", "ก", "é"):
        text = letter * 300
        result = Translation("a.wav", 60.0, language, (plain(text, 0.0, 60.0),))
        limits = subtitle_limits(language)
        lines = [line for cue in make_cues(result) for line in cue.lines]
        assert "".join(lines) == text
        assert max(map(limits.width, lines)) <= limits.max_line_width


def test_a_cue_is_shown_in_the_silence_after_it_and_short_gaps_are_closed() -> None:
    [first, second] = make_cues(
        translation(plain("A fast and long line of text here.", 0.0, 0.8), plain("Next.", 2.5, 3.5), seconds=5.0)
    )
    assert (first.start, first.end) == (0.0, 1.7)  # 34 characters at 20 a second
    assert (second.start, second.end) == (2.5, 3.5)
    assert first.problems == second.problems == ()
    [first, second] = make_cues(
        translation(plain("One line is spoken here.", 0.0, 2.0), plain("Another one follows it.", 2.07, 4.0))
    )
    assert first.end == second.start == 2.07


def test_a_cue_waits_a_little_for_a_fast_one_if_it_can_still_be_read() -> None:
    fast, slow = "Thirty-eight letters in less than 2 s.", "This one has time to spare."
    [first, second] = make_cues(translation(plain(fast, 0.0, 1.7), plain(slow, 1.7, 5.0)))
    assert (first.end, second.start) == (1.9, 1.9)  # 38 characters at 20 a second
    assert first.problems == second.problems == ()
    [first, second] = make_cues(translation(plain(fast, 0.0, 1.7), plain(slow, 1.7, 3.1)))
    assert second.start == pytest.approx(1.75)  # it needs 1.35 s itself
    assert first.problems == (READING_SPEED,)


def test_short_neighbors_share_a_cue_and_long_ones_do_not() -> None:
    short = translation(plain("Yes.", 0.0, 0.4), plain("I know.", 0.5, 1.0), plain("Go on.", 1.1, 1.5), seconds=1.5)
    assert make_cues(short) == (Cue(0.0, 1.5, ("Yes. I know. Go on.",)),)
    apart = translation(plain("Yes.", 0.0, 0.4), plain("I know.", 9.0, 9.5), seconds=20.0)
    assert [(cue.start, cue.end) for cue in make_cues(apart)] == [(0.0, 1.0), (9.0, 10.0)]
    long = translation(plain("This is a whole sentence.", 0.0, 2.5), plain("Here is another one.", 2.7, 5.0))
    assert [cue.lines for cue in make_cues(long)] == [("This is a whole sentence.",), ("Here is another one.",)]


def test_limits_can_be_chosen() -> None:
    segment = spoken(PROSE, 0.0, 14)
    narrow = make_cues(translation(segment), SubtitleOptions(max_line_width=20, max_line_count=3, max_cue_seconds=4))
    assert max(len(line) for cue in narrow for line in cue.lines) <= 20
    assert max(len(cue.lines) for cue in narrow) == 3
    assert max(cue.end - cue.start for cue in narrow) <= 4.0001
    single = make_cues(translation(segment), SubtitleOptions(max_line_count=1))
    assert {len(cue.lines) for cue in single} == {1}
    assert " ".join(line for cue in single for line in cue.lines) == PROSE


def test_wrong_limits_are_errors_of_one_line() -> None:
    with pytest.raises(VoxlateError) as error:
        SubtitleOptions(max_line_width=3, max_line_count=0, max_cue_seconds=float("nan"))
    assert str(error.value) == (
        "max_line_width is 3, expected a whole number from 4 to 1000; "
        "max_line_count is 0, expected a whole number from 1 to 20; max_cue_seconds is nan, expected 1 to 60"
    )


def test_times_that_collapse_leave_every_word_visible() -> None:
    words = tuple(Word(word, 5.0, 5.0) for word in PROSE.split())
    cues = make_cues(translation(Segment(5.0, 5.0, (Candidate(PROSE, 0.0),), words), seconds=6.0))
    assert " ".join(line for cue in cues for line in cue.lines) == PROSE
    assert all(cue.end > cue.start for cue in cues)
    assert all(later.start >= earlier.end for earlier, later in pairwise(cues))
    assert any("shorter than 1 s" in note for note in subtitle_notes(translation(plain("A b.", 0.0, 0.5))))


def test_what_was_said_is_under_its_translation() -> None:
    said = ("vous", 0.1), ("savez", 0.6), ("tout", 1.2), ("demain", 4.2), ("peut-être", 5.0)
    transcript = tuple(Word(text, start, start + 0.4) for text, start in said)
    words = tuple(
        Word(word, start, start + 0.5)
        for word, start in (("You", 0.0), ("know", 0.5), ("everything.", 1.0), ("Tomorrow,", 4.0), ("maybe.", 5.0))
    )
    segment = Segment(
        0.0, 5.5, (Candidate("You know everything. Tomorrow, maybe.", 0.0),), words, transcript=transcript
    )
    cues = make_cues(Translation("a.wav", 6.0, "en", (segment,), "fr"))
    assert [(cue.lines, cue.transcript) for cue in cues] == [
        (("You know everything.",), ("vous savez tout",)),
        (("Tomorrow, maybe.",), ("demain peut-être",)),
    ]
    many = tuple(Word("mot", 0.01 * index, 0.01 * index) for index in range(500))
    [note] = subtitle_notes(translation(Segment(0.0, 4.0, (Candidate("You know.", 0.0),), transcript=many)))
    assert note == "1 of 1 cues have over 2 lines of transcript: more was said than is translated (at 0:00:00.0)"
