"""The built-in check of the audio decoder."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from media import (
    sine,
    write_media,
    write_vbr_probe,
)
from voxlate.audio.decoder_check import PROBE_CHECKSUM, PROBE_PATH, check_decoder, decoder_fingerprint
from voxlate.audio.loading import MEDIA_SUFFIXES, load_audio
from voxlate.errors import AudioError


def test_the_decoder_matches_its_checksum() -> None:
    fingerprint = decoder_fingerprint()
    assert list(fingerprint) == ["pyav", "libavformat", "libavcodec", "libswresample", "checksum"]
    assert fingerprint["checksum"] == PROBE_CHECKSUM
    assert check_decoder() == []


def test_the_probe_has_many_bit_rates_and_no_level_near_a_rounding_step(tmp_path: Path) -> None:
    assert PROBE_PATH.stat().st_size < 8_192
    with av.open(str(PROBE_PATH)) as container:
        assert len({packet.size for packet in container.demux() if packet.size}) >= 5
    waveform_T = load_audio(PROBE_PATH).waveform
    levels = np.abs(waveform_T.reshape(-1, 160)).mean(axis=1) * 1000
    assert np.abs(levels - np.floor(levels) - 0.5).min() > 1e-3
    again_T = load_audio(write_vbr_probe(tmp_path / "again.mp3")).waveform
    assert again_T.shape == waveform_T.shape


def test_a_deviating_decoder_is_detected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cut = tmp_path / "cut.mp3"
    cut.write_bytes(PROBE_PATH.read_bytes()[:-500])
    monkeypatch.setattr("voxlate.audio.decoder_check.PROBE_PATH", cut)
    (problem,) = check_decoder()
    assert f"expected {PROBE_CHECKSUM}" in problem
    cut.write_bytes(b"")
    assert check_decoder() == [f"the built-in MP3 cannot be decoded: {cut}: empty file (0 bytes)"]


def test_media_suffixes() -> None:
    assert {".wav", ".mp3", ".flac", ".opus", ".m4a", ".webm", ".mp4", ".mkv", ".sph"} <= MEDIA_SUFFIXES
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in MEDIA_SUFFIXES)
    assert not {".txt", ".srt", ".m3u8", ".jpg", ".json"} & MEDIA_SUFFIXES


def test_objects_that_are_not_audio_sources(tmp_path: Path) -> None:
    path = write_media(tmp_path / "a.wav", sine(300, 0.1))
    with pytest.raises(AudioError, match="<list>: not an input; expected a path, bytes or a binary file"):
        load_audio([1, 2])  # type: ignore[arg-type]
    with (
        path.open(encoding="latin-1") as file,
        pytest.raises(AudioError, match="opened as text; open it with mode 'rb'"),
    ):
        load_audio(file)  # type: ignore[arg-type]
    with pytest.raises(AudioError, match="cannot be read"):
        load_audio(file)  # type: ignore[arg-type]
