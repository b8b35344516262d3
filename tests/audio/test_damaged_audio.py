"""Truncated, damaged and unreadable media files: what is decoded, and what the messages say."""

from __future__ import annotations

import io
import os
import re
import wave
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pytest

from media import (
    id3_tag,
    rms,
    sine,
    truncate,
    video_without_audio,
    write_media,
)
from voxlate.audio.loading import (
    SAMPLE_RATE_HZ,
    load_audio,
)
from voxlate.errors import AudioError

if TYPE_CHECKING:
    import numpy.typing as npt
SECONDS = 4.0  # of each file in media_folder


@pytest.mark.parametrize(
    "name",
    [
        *("s16.wav", "pcm.aiff", "pcm.au", "lossless.flac", "lossless.wv", "constant.mp3", "variable.mp3"),
        *("moov_first.m4a", "fragments.mp4", "aac.mka", "film.mkv"),
    ],
)
def test_a_truncated_file_keeps_its_beginning_with_a_warning(tmp_path: Path, media_folder: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes((media_folder / name).read_bytes())
    whole_T = load_audio(path).waveform
    audio = load_audio(truncate(path, 0.5))
    same = len(audio.waveform) - 2_000
    assert same > 20_000
    assert rms(audio.waveform[:same] - whole_T[:same]) < 0.01
    match = re.fullmatch(r"truncated: (\S+) s decoded of the (\S+) s its header states", audio.warnings[0])
    assert match
    assert float(match[1]) == pytest.approx(audio.seconds, abs=0.01)
    assert float(match[2]) == pytest.approx(SECONDS, abs=0.03)
    # A range within the remaining part is not truncated.
    assert load_audio(path, start_seconds=0.1, end_seconds=0.9).warnings == ()


@pytest.mark.parametrize("name", ["no_xing.mp3", "stream.aac", "speech.opus", "film.ts"])
def test_formats_without_a_stated_duration_are_never_called_truncated(
    tmp_path: Path, media_folder: Path, name: str
) -> None:
    path = tmp_path / name
    path.write_bytes((media_folder / name).read_bytes())
    assert not any(warning.startswith("truncated") for warning in load_audio(truncate(path, 0.5)).warnings)


def test_a_recording_with_gaps_is_not_truncated(tmp_path: Path, media_folder: Path) -> None:
    path = tmp_path / "gap.webm"
    with av.open(str(media_folder / "opus.webm")) as whole, av.open(str(path), "w") as output:
        stream = output.add_stream_from_template(whole.streams.audio[0])
        for packet in whole.demux(audio=0):
            if packet.pts is not None and not 1_000 < packet.pts < 2_000:  # milliseconds
                packet.stream = stream
                output.mux(packet)
    audio = load_audio(path)
    assert audio.seconds == pytest.approx(SECONDS - 1, abs=0.05)
    assert audio.warnings == ()


@pytest.mark.parametrize("size", [0, 0x7FFFF000, 0xFFFFFFDB, 0xFFFFFFFF])
def test_a_streamed_wav_has_no_size_and_gets_no_warning(size: int) -> None:
    wav = wav_bytes(sine(440, 1.0))
    streamed = wav[:40] + size.to_bytes(4, "little") + wav[44:]
    audio = load_audio(streamed)
    assert audio.seconds == 1.0
    assert audio.warnings == ()


def wav_bytes(waveform_T: npt.NDArray[np.float32], rate: int = SAMPLE_RATE_HZ) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(rate)
        writer.writeframes((waveform_T * 32_767).astype("<i2").tobytes())
    return file.getvalue()


def test_odd_chunks_in_a_wav() -> None:
    wav = wav_bytes(sine(440, 1.0))
    chunk = b"LIST" + (7).to_bytes(4, "little") + b"INFOabc\0"
    audio = load_audio(wav[:36] + chunk + wav[36:] + chunk)
    assert audio.seconds == 1.0
    assert audio.warnings == ()
    cut = load_audio((wav[:36] + chunk + wav[36:])[:16_060])
    assert cut.warnings == ("truncated: 0.50 s decoded of the 1.00 s its header states",)


def test_damaged_packets_are_skipped_and_counted(media_folder: Path) -> None:
    contents = bytearray((media_folder / "stream.aac").read_bytes())
    middle = len(contents) // 2
    contents[middle : middle + 600] = np.random.default_rng(0).bytes(600)
    audio = load_audio(bytes(contents))
    assert audio.seconds == pytest.approx(SECONDS, abs=0.3)
    assert len(audio.warnings) == 1
    assert audio.warnings[0].startswith("damaged: ")
    assert "could not be decoded" in audio.warnings[0]


def message(source: Any, **options: Any) -> str:
    with pytest.raises(AudioError) as caught:
        load_audio(source, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_inputs_that_cannot_be_opened(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    missing = tmp_path / "missing.wav"
    assert message(missing) == f"{missing}: no such file"
    assert message(tmp_path) == f"{tmp_path}: is a directory, expected an audio or video file"
    assert "cannot be opened" in message("a\0b")
    assert message("http://127.0.0.1:9/a.wav") == "http://127.0.0.1:9/a.wav: no such file"
    assert message(b"") == "<bytes>: empty file (0 bytes)"
    assert message(b"", name="clip 7") == "clip 7: empty file (0 bytes)"
    empty = tmp_path / "empty.mp3"
    empty.touch()
    with empty.open("rb") as file:
        assert message(file) == f"{empty}: empty file (0 bytes)"
    assert capfd.readouterr() == ("", "")


def test_no_permission(tmp_path: Path) -> None:
    path = write_media(tmp_path / "secret.wav", sine(440, 0.1))
    path.chmod(0)
    was_root = os.geteuid() == 0
    if was_root:
        for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
            folder.chmod(0o755)
        os.seteuid(65534)
    try:
        assert message(path) == f"{path}: no permission to read it"
    finally:
        if was_root:
            os.seteuid(0)


@pytest.mark.parametrize(
    "contents",
    [
        b"Just a text.\n" * 200,
        b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:9,\n/etc/hostname\n#EXT-X-ENDLIST\n",
        b"ffconcat version 1.0\nfile /etc/hostname\n",
        b"1\n00:00:01,000 --> 00:00:02,000\nA subtitle.\n\n",
        b"\x89PNG\r\n\x1a\n" + bytes(200),
        b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + bytes(200),
        b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=audio 5004 RTP/AVP 0\n",
        np.random.default_rng(0).bytes(50_000),
        bytes(50_000),
        b"RIFF",
    ],
    ids=["text", "m3u8", "concat", "srt", "png", "jpeg", "sdp", "noise", "zeros", "stub"],
)
def test_files_that_are_not_media_are_refused(
    tmp_path: Path, contents: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "renamed.mp3"
    path.write_bytes(contents)
    assert message(path) == f"{path}: not audio or video that FFmpeg's libraries can read"
    assert capfd.readouterr() == ("", "")


def test_media_without_sound(tmp_path: Path, media_folder: Path) -> None:
    for suffix in (".mp4", ".mkv"):
        silent_film = video_without_audio(tmp_path / f"film{suffix}")
        assert message(silent_film) == f"{silent_film}: no audio stream (its streams: 1 video)"
    header = (media_folder / "s16.wav").read_bytes()[:78]
    assert message(header) == "<bytes>: its audio stream contains no samples"
    assert "not audio" in message(id3_tag(b"TIT2\0\0\0\x03\0\0\0ab"))
    without_index = (media_folder / "plain.m4a").read_bytes()[:-2_000]
    assert message(without_index) == "<bytes>: MP4 file without a readable index ('moov'): probably truncated"


def test_encrypted_sound(tmp_path: Path) -> None:
    key = "76a6c65c5ea762046bd749a2e632ccbb"
    encryption = {"encryption_scheme": "cenc-aes-ctr", "encryption_key": key, "encryption_kid": key}
    path = write_media(tmp_path / "a.mp4", sine(440, 1.0), codec="aac", container_options=encryption)
    # Its keys are random, and so is what the decoder makes of it.
    assert re.search("audio packets could be decoded: damaged or encrypted|cannot be converted to mono", message(path))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinite_samples_are_refused(tmp_path: Path, value: float) -> None:
    waveform_T = sine(440, 2.0)
    waveform_T[20_000] = value
    path = write_media(tmp_path / "a.wav", waveform_T, codec="pcm_f32le")
    reason = "contains NaN or infinite samples, the first at 1.25 s: not a usable recording"
    assert message(path) == f"{path}: {reason}"
    assert message(path, start_seconds=1.1) == f"{path}: {reason}"
    assert load_audio(path, end_seconds=1.0).seconds == 1.0


def test_absurd_headers_are_refused() -> None:
    wav = wav_bytes(sine(440, 1.0))
    no_channels = wav[:22] + bytes(2) + wav[24:]
    slow = wav[:24] + (1).to_bytes(4, "little") + wav[28:]
    fast = wav[:24] + (0x7FFFFFFF).to_bytes(4, "little") + wav[28:]
    assert "audio packets could be decoded" in message(no_channels)
    assert message(slow) == "<bytes>: sample rate of 1 Hz, expected 1000 to 1000000: the header is damaged"
    assert "sample rate of 2147483647 Hz" in message(fast)


@pytest.mark.parametrize("name", ["s16.wav", "lossless.flac", "constant.mp3", "plain.m4a", "aac.mka"])
def test_bad_time_ranges(media_folder: Path, name: str) -> None:
    path = media_folder / name
    assert "bad time range (-1,): expected finite, non-negative seconds" in message(path, start_seconds=-1)
    assert "bad time range (nan,)" in message(path, start_seconds=float("nan"))
    assert "bad time range: ends at 1 s, expected an end after its start at 2 s" in message(
        path, start_seconds=2, end_seconds=1
    )
    assert "bad time range: ends at 2 s" in message(path, start_seconds=2, end_seconds=2)
    for start_seconds in (4.3, 70.0):
        assert f"starts at {start_seconds:g} s, the audio ends at 4.0" in message(path, start_seconds=start_seconds)
    assert load_audio(path, start_seconds=3.5, end_seconds=100).seconds == pytest.approx(0.5, abs=0.05)
