"""Subtitles from the command line: options, reruns, notes, transcripts."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from paths import DEMO
from voxlate import Translator
from voxlate.cli import app
from voxlate.decoding.results import Translation
from voxlate.decoding.subtitles import make_cues
from voxlate.errors import VoxlateError
from voxlate_eval.subtitle_files import read_subtitles

CLIP = DEMO / "clips/en-63.flac"
MODEL = str(DEMO / "model")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    shutil.copy(CLIP, "talk.flac")
    return tmp_path


def run(*words: str) -> Any:
    return CliRunner().invoke(app, [*words, "--model", MODEL], catch_exceptions=False)


def test_options_reach_every_subtitle_and_a_rerun_notices_them(folder: Path) -> None:
    command = ["translate", "talk.flac", "--to", "de", "--format", "srt,ass,json", "--output-dir", "out"]
    narrow = ["--max-line-width", "24", "--max-line-count", "3"]
    assert run(*command, *narrow).exit_code == 0
    for name in ("srt", "ass"):
        lines = [line for cue in read_subtitles(folder / f"out/talk.flac.de.{name}") for line in cue.lines]
        assert " ".join(lines) == "Ich habe dreiunddreißig Euro für die Bremsen bezahlt."
        assert max(map(len, lines)) <= 24
    again = run(*command, *narrow)
    assert "1 already done" in again.stderr
    assert "other settings" not in again.stderr
    assert "made with other settings (max_line_width, max_line_count)" in run(*command).stderr


def test_cues_that_break_a_limit_are_notes_of_subtitles_only(folder: Path) -> None:
    command = ["translate", "talk.flac", "--to", "de", "--output-dir", "out"]
    result = run(*command, "--format", "vtt,json", "--max-line-width", "8", "--max-line-count", "1")
    note = "7 of 7 cues are shorter than 1 s: other speech or the end of the audio follows at once (at 0:00:00.5, "
    assert f"note: talk.flac: {note}" in result.stderr
    written = json.loads((folder / "out/talk.flac.de.json").read_text(encoding="utf-8"))
    assert any(note in line for line in written["notes"])
    assert note not in run(*command, "--format", "txt").stderr
    assert note.count(" cues") == 1
    assert ", and 2 more)" in result.stderr


def test_options_of_subtitles_need_subtitles(folder: Path) -> None:
    options = ["--format", "txt,json", "--max-line-width", "20", "--max-cue-seconds", "5"]
    with pytest.raises(VoxlateError) as raised:
        run("translate", "talk.flac", "--to", "de", *options)
    needs = "needs --format srt, vtt or ass; txt, json has no cues"
    assert str(raised.value) == f"--max-line-width {needs}; --max-cue-seconds {needs}"


def test_wrong_options_are_one_line(folder: Path) -> None:
    for option, value, message in (
        ("--max-line-width", "2", "--max-line-width is 2, expected a whole number from 4 to 1000"),
        ("--max-line-count", "0", "--max-line-count is 0, expected a whole number from 1 to 20"),
        ("--max-cue-seconds", "0.5", "--max-cue-seconds is 0.5, expected 1 to 60"),
    ):
        with pytest.raises(VoxlateError) as error:
            run("translate", "talk.flac", "--to", "de", "--format", "srt", option, value)
        assert str(error.value) == message


def test_bilingual_subtitles_have_the_transcript_under_the_translation(folder: Path) -> None:
    command = ["translate", "talk.flac", "--to", "de", "--bilingual", "--output-dir", "out"]
    assert run(*command, "--format", "srt,json").exit_code == 0
    [cue] = read_subtitles(folder / "out/talk.flac.de.srt")
    assert cue.lines[-1] == "i paid thirty three euros for the brakes"
    [segment] = json.loads((folder / "out/talk.flac.de.json").read_text(encoding="utf-8"))["segments"]
    assert " ".join(word["text"] for word in segment["transcript"]) == cue.lines[-1]
    starts = [word["start"] for word in segment["transcript"]]
    assert starts == sorted(starts)
    without = ["translate", "talk.flac", "--to", "de", "--output-dir", "out", "--format", "srt"]
    assert "made with other settings (bilingual)" in run(*without).stderr


def test_bilingual_needs_a_ctc_head(tiny_model: Path) -> None:
    with pytest.raises(VoxlateError, match=r"^bilingual results need transcripts, but .* has no ctc.safetensors;"):
        Translator(tiny_model, bilingual=True)


def test_a_transcript_becomes_cues_at_the_times_of_its_words(folder: Path) -> None:
    assert run("transcribe", "talk.flac", "--format", "srt,json", "--output-dir", "out").exit_code == 0
    [words] = [
        segment["words"]
        for segment in json.loads((folder / "out/talk.flac.transcript.json").read_text(encoding="utf-8"))["segments"]
    ]
    [cue] = read_subtitles(folder / "out/talk.flac.transcript.srt")
    assert cue.start == pytest.approx(words[0]["start"], abs=0.01)
    assert cue.end >= words[-1]["end"] - 0.01
    assert " ".join(cue.lines) == " ".join(word["text"] for word in words)


def test_transcripts_do_not_change_the_translation() -> None:
    plain = Translator(MODEL).translate(CLIP, to="fr")
    bilingual = Translator(MODEL, bilingual=True).translate(CLIP, to="fr")
    assert isinstance(plain, Translation)
    assert bilingual.text == plain.text
    assert [cue.lines for cue in make_cues(bilingual)] == [cue.lines for cue in make_cues(plain)]
