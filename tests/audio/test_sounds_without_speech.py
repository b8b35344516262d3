"""Music, office noise and silence give no text; quiet speech and pauses of any length give all of theirs."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cases import translate
from media import write_media
from recordings import demo_sentences, record
from sounds import MUSIC, NOISES, SILENCES, at_level
from voxlate.audio.resampling import SAMPLE_RATE_HZ, Waveform
from voxlate.audio.speech_detection import LEVEL_FRAME_SAMPLES, SpeechOptions, detect_speech

pytestmark = pytest.mark.vad
SOUNDS = MUSIC | NOISES | SILENCES
SECONDS = 600.0


@pytest.mark.slow
@pytest.mark.parametrize("name", SOUNDS)
def test_ten_minutes_without_speech(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_media(Path("sound.flac"), SOUNDS[name](SECONDS, 2))
    result = translate("sound.flac", "--format", "json", "--output-dir", "out")
    assert result.code == 0
    written = json.loads(Path("out/sound.flac.en.json").read_text())
    assert (written["text"], written["segments"]) == ("", [])
    [left_out] = written["left_out"]
    assert (left_out["start"], left_out["end"]) == (0.0, pytest.approx(SECONDS, abs=0.1))
    is_silent = name in SILENCES and name != "humming_silence"
    assert left_out["reason"] == ("silence" if is_silent else "no speech")
    reason = "silence" if is_silent else "sound without speech"
    assert f"1 translated, 0 failed; left out 600.0 s of {reason}; wrote out/sound.flac.en.json" in result.stderr
    assert "its result is empty" in result.stderr


def test_standard_output_reports_what_was_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    recording = record(demo_sentences(1), "fr")
    write_media(Path("clip.wav"), np.concatenate([recording.waveform_T, np.zeros(20 * SAMPLE_RATE_HZ, np.float32)]))
    result = translate("clip.wav", "--format", "txt")
    assert result.code == 0
    assert result.stdout.count("\n") == 1
    assert re.search(r"^1 translated, 0 failed; left out [12]\d\.\d s of silence$", result.stderr, re.MULTILINE)


@pytest.mark.parametrize("sound", [*MUSIC.values(), *NOISES.values()], ids=[*MUSIC, *NOISES])
@pytest.mark.parametrize("peak_dbfs", [-1, -50])
def test_no_speech_is_found_at_any_level(sound: Callable[[float, int], Waveform], peak_dbfs: float) -> None:
    assert not detect_speech(at_level(sound(20.0, 3), peak_dbfs), SpeechOptions()).runs


@pytest.mark.parametrize("peak_dbfs", [-50, -70])
@pytest.mark.parametrize("language", ["fr", "de", "es"])
def test_quiet_speech_is_found(language: str, peak_dbfs: float) -> None:
    """It is found where the same speech is found when it is loud. Case 06-quiet-clip has a peak of -50 dBFS."""
    recording = record(demo_sentences(3), language, pauses=[1.0] * 3)
    quiet, loud = (
        detect_speech(at_level(recording.waveform_T, level_dbfs), SpeechOptions()) for level_dbfs in (peak_dbfs, -6)
    )
    assert np.mean(quiet.speech_G == loud.speech_G) > 0.95
    for sentence in recording.sentences:
        assert quiet.seconds(sentence.start, sentence.end) > 0.7 * (sentence.end - sentence.start) / SAMPLE_RATE_HZ


def test_speech_is_found_beside_a_loud_click() -> None:
    recording = record(demo_sentences(3), "fr", pauses=[1.0] * 3)
    waveform_T = at_level(recording.waveform_T, -50)
    waveform_T[1000:1100] = 0.9
    speech = detect_speech(waveform_T, SpeechOptions())
    for sentence in recording.sentences:
        assert speech.seconds(sentence.start, sentence.end) > 0.7 * (sentence.end - sentence.start) / SAMPLE_RATE_HZ


@pytest.mark.parametrize("silence_seconds", [0.0, 3.0])
def test_six_sentences_with_long_pauses(silence_seconds: float, tmp_path: Path) -> None:
    """The number of segments does not depend on the length of the file: case 08-thirty-second-cliff."""
    recording = record(demo_sentences(6), "fr", pauses=[1.5] * 6)
    silence_T = np.zeros(round(silence_seconds * SAMPLE_RATE_HZ), np.float32)
    write_media(tmp_path / "six.wav", np.concatenate([recording.waveform_T, silence_T]))
    result = translate(tmp_path / "six.wav", "--format", "json", "--dtype", "float32")
    segments = json.loads(result.stdout)["segments"]
    spoken = [(sentence.start / SAMPLE_RATE_HZ, sentence.end / SAMPLE_RATE_HZ) for sentence in recording.sentences]
    assert [(one["start"], one["end"]) for one in segments] == [pytest.approx(times, abs=0.3) for times in spoken]


@pytest.mark.parametrize("sound", [MUSIC["band"], NOISES["office"]], ids=["band", "office"])
def test_speech_between_other_sounds_is_all_that_is_found(sound: Callable[[float, int], Waveform]) -> None:
    recording = record(demo_sentences(3), "de")
    other_T = at_level(sound(20.0, 4), -12)
    speech = detect_speech(np.concatenate([other_T, recording.waveform_T, other_T]), SpeechOptions())
    before, after = len(other_T), len(other_T) + len(recording.waveform_T)
    assert speech.seconds(0, before) == speech.seconds(after, speech.samples) == 0
    for sentence in recording.sentences:
        first, last = (before + sample for sample in (sentence.start, sentence.end))
        frames = np.arange(first // LEVEL_FRAME_SAMPLES, last // LEVEL_FRAME_SAMPLES)
        assert np.mean(speech.probability_at(frames) > 0.5) > 0.85
        assert speech.seconds(first, first + SAMPLE_RATE_HZ // 2) > 0
        assert speech.seconds(last - SAMPLE_RATE_HZ // 2, last) > 0
