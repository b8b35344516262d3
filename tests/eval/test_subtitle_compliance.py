"""Compliance of subtitles with the limits, SubER, and the command that prints them."""

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from voxlate.cli import app
from voxlate_eval import EvaluationError
from voxlate_eval.subtitle_compliance import ALL, compliance
from voxlate_eval.subtitle_edit_rate import subtitle_edit_rate
from voxlate_eval.subtitle_files import SubtitleCue, read_subtitles
from voxlate_eval.subtitle_limits import (
    GAP,
    LINE_COUNT,
    LINE_WIDTH,
    OVERLAP,
    READING_SPEED,
    TOO_LONG,
    TOO_SHORT,
    subtitle_limits,
)

SRT = """1
00:00:01,000 --> 00:00:02,000
<i>Hello</i> world &amp; all

2
00:00:03,000 --> 00:00:04,000
{\\an8}Up here {literally}
"""
VTT = """WEBVTT

NOTE made by hand

intro
00:01.000 --> 00:02.000 line:90%
<v Ann>Hello &amp; goodbye</v>

NOTE a comment

last
00:03.000 --> 00:04.000
Bye
"""
# A stand-in with the interface of suber: it prints 0 for equal files, else 50.
SUBER = """#!{python}
import json, sys
from pathlib import Path
words = sys.argv[1:]
files = [Path(word).read_text() for word in words if word.endswith(".srt")]
if "broken" in files[0]:
    sys.exit("ValueError: broken")
equal = files[: len(files) // 2] == files[len(files) // 2 :]
print(json.dumps({{"SubER": 0.0 if equal else 50.0 + 10 * ("--language" in words)}}))
"""


@pytest.fixture
def suber(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = tmp_path / "suber"
    command.write_text(SUBER.format(python=sys.executable))
    command.chmod(0o755)
    monkeypatch.setenv("VOXLATE_SUBER", str(command))


def test_each_limit_is_measured() -> None:
    cues = [
        SubtitleCue(0.0, 2.0, ("Fine.",)),
        SubtitleCue(3.0, 6.0, ("w" * 43,)),
        SubtitleCue(6.05, 8.0, ("A", "B", "C")),  # after a gap of 50 ms
        SubtitleCue(7.5, 8.0, ("Brief.",)),  # before the end of the last
        SubtitleCue(9.0, 10.0, ("x" * 21,)),
        SubtitleCue(20.0, 28.0, ("Long.",)),
    ]
    found = compliance(cues, subtitle_limits("en"))
    broken = {kind: entry["first"] for kind, entry in found["within"].items() if entry["broken"]}
    assert broken == {
        LINE_WIDTH: [3.0],
        LINE_COUNT: [6.05],
        TOO_SHORT: [7.5],
        TOO_LONG: [20.0],
        READING_SPEED: [9.0],
        GAP: [3.0],
        OVERLAP: [6.05],
        ALL: [3.0, 6.05, 7.5, 9.0, 20.0],
    }
    assert found["within"][ALL]["share"] == pytest.approx(1 / 6)
    assert compliance([], subtitle_limits("en"))["within"][ALL]["share"] is None


def test_languages_have_their_own_limits_and_widths() -> None:
    chinese, korean = subtitle_limits("zh-CN"), subtitle_limits("Korean")
    assert (chinese.max_line_width, chinese.max_characters_per_second, korean.max_line_width) == (16, 9.0, 16)
    assert chinese.width("我喜欢iPhone") == 6
    assert subtitle_limits("de").width("e\u0301我\u202b") == 3
    assert subtitle_limits("th").max_line_width == 35
    assert subtitle_limits(None) == subtitle_limits("fr")


def test_subtitles_of_other_tools_are_read_without_markup(tmp_path: Path) -> None:
    (tmp_path / "a.srt").write_text(SRT)
    (tmp_path / "a.vtt").write_text(VTT)
    assert [cue.lines for cue in read_subtitles(tmp_path / "a.srt")] == [
        ("Hello world &amp; all",),
        ("Up here {literally}",),
    ]
    assert read_subtitles(tmp_path / "a.vtt") == [
        SubtitleCue(1.0, 2.0, ("Hello & goodbye",)),
        SubtitleCue(3.0, 4.0, ("Bye",)),
    ]
    (tmp_path / "empty.srt").write_text("\n")
    assert read_subtitles(tmp_path / "empty.srt") == []


def test_other_files_are_errors_of_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("no subtitles")
    (tmp_path / "b.srt").write_bytes(b"1\n\xff")
    with pytest.raises(EvaluationError, match=r"a\.txt: expected subtitles in srt, vtt, ass or another format"):
        read_subtitles(tmp_path / "a.txt")
    with pytest.raises(EvaluationError, match=r"b\.srt: not UTF-8 \(byte 2\); convert it to UTF-8"):
        read_subtitles(tmp_path / "b.srt")
    for name in ("d.srt", "d.vtt"):
        text = SRT if name == "d.srt" else VTT
        (tmp_path / name).write_text(text + "\n00:00:05,000 --> oops\nLost\n")
        with pytest.raises(EvaluationError, match=rf"{name}: '00:00:05,000 --> oops' is not a time, expected such as"):
            read_subtitles(tmp_path / name)
    (tmp_path / "e.srt").write_text(SRT + "A --> B is text\n")
    assert read_subtitles(tmp_path / "e.srt")[1].lines == ("Up here {literally}", "A --> B is text")
    with pytest.raises(EvaluationError, match=r"c\.srt: cannot be read \(No such file or directory\)"):
        read_subtitles(tmp_path / "c.srt")


@pytest.mark.usefixtures("suber")
def test_suber_runs_as_a_command() -> None:
    a, b, broken = ([SubtitleCue(1.0, 2.5, (text,))] for text in ("a", "b", "broken"))
    assert subtitle_edit_rate([a], [a], "de")["value"] == 0
    assert subtitle_edit_rate([a], [b], "de") | {"about": ""} == {
        "value": 50.0,
        "signature": "nrefs:1|tok:tercom",
        "about": "",
    }
    assert subtitle_edit_rate([a], [b], "zh-CN")["value"] == 60
    with pytest.raises(EvaluationError, match=r"suber failed \(ValueError: broken\); run it yourself for details"):
        subtitle_edit_rate([broken], [a], "de")


def test_the_message_about_missing_suber_has_the_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOXLATE_SUBER", "no-such-command")
    with pytest.raises(EvaluationError, match=r"^SubER: no command no-such-command; install it .*subtitle-edit-rate"):
        subtitle_edit_rate([], [], None)


def test_a_file_without_cues_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a.de.srt").write_text("\n")
    assert CliRunner().invoke(app, ["score", "--subtitles", str(tmp_path / "a.de.srt")]).exit_code == 0
    assert "a.de.srt: no cues with text; it is scored as an empty file" in caplog.text


@pytest.mark.usefixtures("suber")
def test_the_command_prints_and_writes_shares(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("talk.zh.srt").write_text(
        "1\n00:00:01,000 --> 00:00:03,000\n你好。\n\n2\n00:00:04,000 --> 00:00:04,500\n好。\n"
    )
    Path("reference.zh.srt").write_text("1\n00:00:01,000 --> 00:00:03,000\n您好。\n")
    command = ["score", "--subtitles", "talk.zh.srt", "--references", "reference.zh.srt", "--output", "scores.json"]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert result.exit_code == 0
    assert "50.0" in result.stdout
    assert "SubER: 60.00 (nrefs:1|tok:zh)" in result.stdout
    assert "Limits of zh: 2 lines of 16 full-width characters, 1 to 7 s, 9 characters a second" in result.stdout
    scores = json.loads(Path("scores.json").read_text())
    assert scores["subtitles"][0]["within"][TOO_SHORT] == {"share": 0.5, "broken": 1, "first": [4.0]}
    assert scores["metrics"]["SubER"]["value"] == 60
    for words, message in (
        ("score talk.zh.srt", "1 files of hypotheses and 0 of references; expected one file of hypotheses and one"),
        (
            "score --subtitles talk.zh.srt reference.zh.srt --references talk.zh.srt",
            "2 files of subtitles, but 1 of references; expected one --references for each",
        ),
    ):
        failed = CliRunner().invoke(app, words.split())
        assert failed.exit_code != 0
        assert message in str(failed.exception) + failed.stderr
