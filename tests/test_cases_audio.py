"""Audio that was misread in the past; each case has a README with the expected result."""

import json
from pathlib import Path

import pytest

from cases import CASES, COUGH, OPERATION, Case, starts, translate


def test_every_case_has_a_test(case: Case) -> None:
    sources = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_cases_*.py"))
    assert [folder.name for folder in sorted(CASES.iterdir()) if folder.is_dir() and folder.name not in sources] == []


@pytest.mark.parametrize("name", ["late.mp4", "late.mkv"])
def test_audio_that_starts_late(case: Case, name: str) -> None:
    case.open("01-late-audio")
    result = translate(name, "--format", "srt")
    assert (result.code, len(starts(result.stdout))) == (0, 3)
    assert starts(result.stdout) == pytest.approx([4.94, 24.9, 45.4], abs=0.3)


def test_missing_packets(case: Case) -> None:
    case.open("02-pts-gap")
    result = translate("gap.mkv", "--format", "srt")
    assert result.code == 0
    assert starts(result.stdout)[1:] == pytest.approx([19.92, 40.42], abs=0.3)


@pytest.mark.parametrize(
    ("name", "clip"), [("04-out-of-phase", "oop.flac"), ("05-third-channel", "n3.wav"), ("06-quiet-clip", "quiet.flac")]
)
def test_sound_is_found_where_it_is(case: Case, name: str, clip: str) -> None:
    case.open(name)
    result = translate(clip)
    assert (result.code, result.stdout) == (0, f"{COUGH}\n")


@pytest.mark.parametrize("clip", ["over30.opus", "over32.opus"])
def test_six_sentences_of_any_length(case: Case, clip: str) -> None:
    case.open("08-thirty-second-cliff")
    result = translate(clip, "--format", "srt")
    assert (result.code, len(starts(result.stdout))) == (0, 6)


@pytest.mark.parametrize("video", ["first_silent.mp4", "first_unknown.mkv"])
def test_the_track_that_can_be_heard(case: Case, video: str) -> None:
    case.open("09-audio-tracks")
    result = translate(video)
    assert (result.code, result.stdout) == (0, f"{OPERATION}\n")
    assert "--audio-track" in result.stderr
    chosen = translate(video, "--audio-track", "2")
    assert (chosen.code, chosen.stdout) == (0, f"{OPERATION}\n")


def test_two_recordings_on_standard_input(case: Case) -> None:
    folder = case.open("10-stdin-twice")
    for clip in ("es.flac", "de.flac"):
        result = translate("-", "--output-dir", "o", stdin=(folder / clip).read_bytes())
        assert (result.code, "1 translated" in result.stderr or "o/" in result.stderr) == (0, True)
    texts = sorted(path.read_text(encoding="utf-8") for path in (folder / "o").glob("stdin*.txt"))
    assert f"{OPERATION}\n" in texts


def test_undamaged_files(case: Case) -> None:
    case.open("11-false-damaged")
    result = translate("zeros.mp3", "concat_same.mp3")
    assert result.code == 0
    assert "damaged" not in result.stderr


def test_links_of_a_chained_ogg(case: Case) -> None:
    case.open("12-chained-ogg")
    result = translate("chained.ogg", "--format", "json")
    assert result.code == 0
    assert json.loads(result.stdout)["seconds"] == pytest.approx(4.73, abs=0.05)


def test_five_samples(case: Case) -> None:
    case.open("24-zero-cue")
    result = translate("five.wav", "--format", "srt")
    assert (result.code, result.stdout.strip()) == (0, "")
    assert "note: five.wav: " in result.stderr
