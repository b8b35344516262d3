import json
from typing import Any

import pytest

from voxlate.decoding.results import Candidate, Segment, Translation
from voxlate.decoding.subtitle_formats import to_srt, to_vtt
from voxlate.decoding.writers import WRITERS, to_json_line, to_tsv, to_txt

TALK = Translation(
    audio="talks/a.mp3",
    seconds=3725.5,
    target_language="de",
    source_language="en",
    segments=(
        Segment(0.0, 2.5, (Candidate("Guten Tag.", -0.25), Candidate("Hallo.", -0.5))),
        Segment(2.5, 3.0, (Candidate("", -1.0),)),
        Segment(3723.0, 3725.4996, (Candidate("a < b & c --> d\te", -0.75),)),
    ),
    warnings=("truncated",),
    recipe={"model": "m", "search_beam": 5},
)
SILENCE = Translation(audio="b.wav", seconds=1.0, target_language="de", segments=())


def test_txt_has_a_line_per_segment() -> None:
    assert to_txt(TALK) == "Guten Tag.\n\na < b & c --> d\te\n"
    assert to_txt(SILENCE) == "\n"
    assert TALK.text == "Guten Tag. a < b & c --> d\te"


def test_srt_is_numbered_and_timed() -> None:
    assert to_srt(TALK) == (
        "1\n00:00:00,000 --> 00:00:02,500\nGuten Tag.\n\n"
        "2\n01:02:03,000 --> 01:02:05,500\na < b & c → d e\n"
    )  # fmt: skip
    assert to_srt(SILENCE) == ""


def test_vtt_is_escaped() -> None:
    assert to_vtt(TALK) == (
        "WEBVTT\n\n1\n00:00:00.000 --> 00:00:02.500\nGuten Tag.\n"
        "\n2\n01:02:03.000 --> 01:02:05.500\na &lt; b &amp; c --&gt; d e\n"
    )
    assert to_vtt(SILENCE) == "WEBVTT\n"


def test_tsv_has_a_row_per_hypothesis_and_no_stray_tabs() -> None:
    assert to_tsv(TALK).splitlines() == [
        "audio\tstart\tend\trank\tscore\ttext",
        "talks/a.mp3\t0.000\t2.500\t1\t-0.2500\tGuten Tag.",
        "talks/a.mp3\t0.000\t2.500\t2\t-0.5000\tHallo.",
        "talks/a.mp3\t2.500\t3.000\t1\t-1.0000\t",
        "talks/a.mp3\t3723.000\t3725.500\t1\t-0.7500\ta < b & c --> d e",
    ]


@pytest.mark.parametrize("write", [WRITERS["json"], to_json_line])
def test_json_has_all_fields(write: Any) -> None:
    found = json.loads(write(TALK))
    assert found["text"] == TALK.text
    assert found["recipe"] == {"model": "m", "search_beam": 5}
    assert found["warnings"] == ["truncated"]
    assert (found["source_language"], found["target_language"], found["seconds"]) == ("en", "de", 3725.5)
    assert found["segments"][0] == {
        "start": 0.0,
        "end": 2.5,
        "text": "Guten Tag.",
        "score": -0.25,
        "candidates": [{"text": "Guten Tag.", "score": -0.25}, {"text": "Hallo.", "score": -0.5}],
    }
    assert json.loads(write(SILENCE))["segments"] == []


def test_json_lines_have_no_line_breaks() -> None:
    assert to_json_line(TALK).count("\n") == 1


def test_every_format_ends_lines_and_keeps_other_scripts() -> None:
    written = Translation("x", 1.0, "zh", (Segment(0.0, 1.0, (Candidate("你好", -1.0),)),))
    for write in WRITERS.values():
        assert "你好" in write(written)
        assert write(written).endswith("\n")
