"""What srt, vtt and ass look like to players: FFmpeg, and pysubs2 through the scorer."""

from pathlib import Path

import av
import pytest
from av.subtitles.subtitle import AssSubtitle

from voxlate import SubtitleOptions, write_ass, write_srt, write_vtt
from voxlate.decoding.results import Candidate, Segment, Translation, Word
from voxlate.decoding.writers import WRITERS, writers
from voxlate_eval.subtitle_files import read_subtitles

MARKUP = r"a < b & c --> d {e} <i>f</i> {\an8}g \N h"
FORMATS = ("srt", "vtt", "ass")
WRITE = {"srt": write_srt, "vtt": write_vtt, "ass": write_ass}
RLE, LRE, PDF, JOINER = "\u202b", "\u202a", "\u202c", "\u2060"


def translation(text: str, language: str = "en", **fields: object) -> Translation:
    segment = Segment(0.0, 5.0, (Candidate(text, 0.0),), **fields)  # type: ignore[arg-type]
    return Translation("a.wav", 5.0, language, (segment,))


def shown_by_ffmpeg(path: Path) -> list[str]:
    """Return the text of each cue as FFmpeg hands it to libass."""
    texts = []
    with av.open(str(path)) as container:
        for packet in container.demux():
            items = container.streams.subtitles[0].codec_context.decode2(packet) or ()
            texts += [item.ass.decode().split(",", 8)[-1] for item in items if isinstance(item, AssSubtitle)]
    return texts


@pytest.mark.parametrize("name", FORMATS)
def test_markup_in_a_text_is_shown_as_text(name: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{name}"
    WRITE[name](translation(MARKUP), path)
    [shown] = shown_by_ffmpeg(path)
    assert r"\an8}" not in shown
    assert "<i>" in shown.replace(JOINER, "")
    plain = shown.replace(r"\{{}", "{").replace(JOINER, "").replace(r"\N", " ", 1 if "\\N " in shown[:44] else 0)
    expected = MARKUP if name != "srt" else MARKUP.replace("-->", "→").replace("{", "(").replace("}", ")")
    assert plain.split() == expected.split()
    [cue] = read_subtitles(path)
    assert " ".join(cue.lines).replace(JOINER, "") == expected


def test_lines_and_times_are_the_same_in_every_format(tmp_path: Path) -> None:
    text = "The committee met on Tuesday to discuss the future of the harbor."
    found = []
    for name in FORMATS:
        WRITE[name](translation(text), tmp_path / f"a.{name}", SubtitleOptions(max_line_width=36))
        found.append(read_subtitles(tmp_path / f"a.{name}"))
    assert found[0] == found[1] == found[2]
    assert [len(cue.lines) for cue in found[0]] == [2]
    assert WRITERS["srt"](translation(text)) != writers(SubtitleOptions(max_line_width=20))["srt"](translation(text))


def test_files_are_written_in_their_formats() -> None:
    hour = Segment(36_000.5, 36_002.0, (Candidate("Late.", 0.0),))
    result = Translation("a.wav", 36_010.0, "en", (Segment(0.0, 2.0, (Candidate("Guten Tag.", 0.0),)), hour))
    assert WRITERS["srt"](result) == (
        "1\n00:00:00,000 --> 00:00:02,000\nGuten Tag.\n\n2\n10:00:00,500 --> 10:00:02,000\nLate.\n"
    )
    assert WRITERS["vtt"](result) == (
        "WEBVTT\n\n1\n00:00:00.000 --> 00:00:02.000\nGuten Tag.\n\n2\n10:00:00.500 --> 10:00:02.000\nLate.\n"
    )
    ass = WRITERS["ass"](result)
    assert "ScriptType: v4.00+" in ass
    assert "PlayResX: 1280" in ass
    assert ass.endswith("Dialogue: 0,10:00:00.50,10:00:02.00,Default,,0,0,0,,Late.\n")
    nothing = Translation("a.wav", 1.0, "en", ())
    assert [WRITERS[name](nothing) for name in ("srt", "vtt")] == ["", "WEBVTT\n"]
    assert "Dialogue" not in WRITERS["ass"](nothing)


@pytest.mark.parametrize("name", FORMATS)
def test_lines_from_right_to_left_are_embedded(name: str) -> None:
    arabic = translation("اجتمعت اللجنة يوم الثلاثاء لمناقشة مستقبل الميناء القديم. iPhone 14!", "ar")
    text = WRITERS[name](arabic)
    lines = [line for line in text.splitlines() if RLE in line]
    assert text.count(RLE) == text.count(PDF) > 1
    assert lines
    assert LRE not in text
    assert RLE not in WRITERS[name](translation("A name: علي."))


@pytest.mark.parametrize("name", FORMATS)
def test_the_transcript_is_under_the_translation_in_its_own_direction(name: str) -> None:
    said = tuple(
        Word(word, index * 0.5, index * 0.5 + 0.4) for index, word in enumerate(["the", "harbor", "is", "old"])
    )
    text = WRITERS[name](translation("الميناء قديم.", "ar", transcript=said)).replace(r"\N", "\n")
    lines = text.splitlines()[-2:]
    assert RLE in lines[0]
    assert lines[1].removeprefix(r"{\fs30}") == f"{LRE}the harbor is old{PDF}"
    english = WRITERS[name](translation("The harbor is old.", "en", transcript=said))
    assert LRE not in english
    assert english.rstrip().endswith("the harbor is old")
