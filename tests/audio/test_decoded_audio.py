"""Decoded inputs travel: they are pickled with their samples, also those in a temporary file."""

import io
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from media import sine, write_media
from voxlate.audio import chunks
from voxlate.audio.chunks import SpooledWaveform
from voxlate.audio.clock import Clock
from voxlate.audio.decoded_audio import DecodedAudio, decode_input
from voxlate.errors import AudioError


@pytest.mark.parametrize("is_spooled", [False, True])
def test_a_pickle_holds_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_spooled: bool) -> None:
    monkeypatch.setattr(chunks, "SPOOLED_SECONDS", 1.0 if is_spooled else 60.0)
    audio = decode_input(write_media(tmp_path / "a.wav", sine(300, 2.0)))
    assert isinstance(audio, DecodedAudio)
    assert isinstance(audio.waveform_T, SpooledWaveform) == is_spooled
    # Another process has nothing but the bytes.
    program = (
        "import pickle, sys; audio = pickle.load(sys.stdin.buffer); "
        "sys.stdout.buffer.write(pickle.dumps((audio, [name for name in sys.modules if name == 'torch'])))"
    )
    done = subprocess.run([sys.executable, "-c", program], input=pickle.dumps(audio), capture_output=True, check=True)
    copy, torch = pickle.loads(done.stdout)
    assert torch == []
    assert isinstance(copy.waveform_T, type(audio.waveform_T))
    assert np.array_equal(copy.waveform_T[:], audio.waveform_T[:])
    assert np.array_equal(copy.waveform_T[5_000:7_000], audio.waveform_T[5_000:7_000])
    assert (copy.name, copy.seconds, copy.clock) == (audio.name, 2.0, audio.clock)
    for name in ("probabilities_F", "speech_G", "sound_G"):
        assert np.array_equal(getattr(copy.speech, name), getattr(audio.speech, name))


def test_an_error_is_a_result(tmp_path: Path) -> None:
    error = decode_input(tmp_path / "missing.wav")
    assert isinstance(error, AudioError)
    assert str(pickle.loads(pickle.dumps(error))) == f"{tmp_path / 'missing.wav'}: no such file"


def test_inputs_without_a_path_have_names() -> None:
    file = io.BytesIO(b"noise")
    file.name = "talk.mp3"
    assert str(decode_input(file)).startswith("talk.mp3: ")
    audio = decode_input(np.zeros(8_000, np.float32))
    assert isinstance(audio, DecodedAudio)
    assert (audio.name, audio.seconds, audio.clock) == ("ndarray", 0.5, Clock())
