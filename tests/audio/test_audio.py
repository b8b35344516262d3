"""Every kind of media file, whole, broken and cut, through `load_audio`."""

from __future__ import annotations

import csv
import io
import os
import re
import wave
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pytest

from media import rms, shift_and_error, sine, sweep, truncate, video_without_audio, write_media, write_vbr_probe
from paths import SHARED
from voxlate.audio import loading as audio_module
from voxlate.audio.loading import (
    MEDIA_SUFFIXES,
    PROBE_CHECKSUM,
    PROBE_PATH,
    SAMPLE_RATE_HZ,
    check_decoder,
    decoder_fingerprint,
    load_audio,
)
from voxlate.audio.resampling import mono_chunks
from voxlate.errors import AudioError

if TYPE_CHECKING:
    import numpy.typing as npt

SHARED_DATA = SHARED / "data"
needs_shared_data = pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="the shared sample files are not here")

VARIABLE_RATE = {"flags": "+qscale", "global_quality": str(4 * 118)}
FORMATS: dict[str, dict[str, Any]] = {
    "s16.wav": {"codec": "pcm_s16le"},
    "f32.wav": {"codec": "pcm_f32le"},
    "pcm.w64": {},
    "pcm.aiff": {},
    "pcm.au": {},
    "pcm.caf": {"codec": "pcm_s16le"},
    "lossless.flac": {},
    "lossless.wv": {},
    "constant.mp3": {},
    "variable.mp3": {"codec_options": VARIABLE_RATE},
    "no_xing.mp3": {"codec_options": VARIABLE_RATE, "container_options": {"write_xing": "0"}},
    "plain.m4a": {},
    "moov_first.m4a": {"container_options": {"movflags": "+faststart"}},
    "fragments.mp4": {"codec": "aac", "container_options": {"movflags": "+frag_keyframe+empty_moov"}},
    "apple.m4a": {"codec": "alac"},
    "stream.aac": {},
    "dolby.ac3": {},
    "speech.opus": {"codec": "libopus"},
    "lossless.ogg": {"codec": "flac"},
    "aac.mka": {"codec": "aac"},
    "opus.webm": {"codec": "libopus", "container": "webm"},
    "film.mp4": {"codec": "aac", "video_seconds": 6.0},
    "film.mkv": {"codec": "aac", "video_seconds": 6.0},
    "film.webm": {"codec": "libopus", "video_seconds": 6.0},
    "film.avi": {"codec": "libmp3lame", "video_seconds": 6.0},
    "film.mov": {"codec": "pcm_s16le", "video_seconds": 6.0},
    "film.ts": {"codec": "aac"},
    "film.mpg": {"codec": "mp2"},
}
RATE = 48_000
SECONDS = 4.0


@pytest.fixture(scope="module")
def media_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hold one sweep of 4 s in every format."""
    folder = tmp_path_factory.mktemp("media")
    for name, options in FORMATS.items():
        write_media(folder / name, sweep(100, 600, SECONDS, RATE), RATE, **options)
    return folder


# Formats


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_sound(media_folder: Path, name: str) -> None:
    audio = load_audio(media_folder / name)
    assert audio.waveform.dtype == np.float32
    assert audio.waveform.ndim == 1
    assert audio.seconds == len(audio.waveform) / SAMPLE_RATE_HZ == pytest.approx(SECONDS, abs=0.07)
    assert audio.warnings == ()
    expected_T = sweep(100, 600, SECONDS)[8_000:40_000]
    # Formats that do not record the encoder's delay start later, by up to two of its frames.
    _, error = shift_and_error(audio.waveform, 8_000, expected_T, 900)
    assert error < 0.05


@pytest.mark.parametrize("name", FORMATS)
def test_a_time_range_is_the_slice_of_the_whole(media_folder: Path, name: str) -> None:
    whole_T = load_audio(media_folder / name).waveform
    for start_seconds, end_seconds in ((0.0, 0.5), (0.3, 0.9), (1.234, 2.5), (3.0, None)):
        audio = load_audio(media_folder / name, start_seconds=start_seconds, end_seconds=end_seconds)
        assert audio.warnings == ()
        start = round(start_seconds * SAMPLE_RATE_HZ)
        stop = len(whole_T) if end_seconds is None else round(end_seconds * SAMPLE_RATE_HZ)
        in_matroska = name.endswith(("mka", "mkv", "webm"))
        assert len(audio.waveform) == pytest.approx(stop - start, abs=16 if in_matroska and end_seconds is None else 1)
        compared_T = audio.waveform[200:-200]
        shift, error = shift_and_error(whole_T, start + 200, compared_T, 20)
        assert abs(shift) <= (16 if in_matroska else 1)
        assert error < 0.045  # half a sample at 600 Hz: a seek lands between two samples of 16 kHz


def test_bit_depths_of_wav(tmp_path: Path) -> None:
    expected_T = sine(440, 0.5)
    for codec, tolerance in (
        ("pcm_u8", 1e-2),
        ("pcm_s16le", 1e-4),
        ("pcm_s24le", 1e-6),
        ("pcm_s32le", 1e-7),
        ("pcm_f32le", 1e-9),
        ("pcm_f64le", 1e-9),
    ):
        waveform_T = load_audio(write_media(tmp_path / "a.wav", expected_T, codec=codec)).waveform
        assert waveform_T.shape == expected_T.shape
        assert np.abs(waveform_T - expected_T).max() <= tolerance, codec


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 32_000, 44_100, 96_000, 192_000])
def test_sample_rates(tmp_path: Path, rate: int) -> None:
    waveform_T = load_audio(write_media(tmp_path / "a.wav", sine(440, 1.0, rate), rate)).waveform
    assert len(waveform_T) == pytest.approx(SAMPLE_RATE_HZ, abs=2)
    assert np.abs(waveform_T[500:15_000] - sine(440, 1.0)[500:15_000]).max() < 5e-3


@pytest.mark.parametrize(
    ("suffix", "channels"),
    [
        *((suffix, channels) for suffix in ("wav", "flac") for channels in range(1, 9)),
        ("m4a", 2),
        ("m4a", 6),
        ("m4a", 8),
    ],
)
def test_sound_common_to_all_channels_keeps_its_level(tmp_path: Path, suffix: str, channels: int) -> None:
    waveform_CT = np.tile(sine(440, 1.0, RATE), (channels, 1))
    audio = load_audio(write_media(tmp_path / f"a.{suffix}", waveform_CT, RATE, bit_rate=64_000 * channels))
    assert rms(audio.waveform[2_000:14_000]) == pytest.approx(0.5 / np.sqrt(2), rel=0.03)


def test_stereo_is_the_mean_of_its_channels(tmp_path: Path) -> None:
    left_T, right_T = sine(440, 1.0), sine(1_000, 1.0, amplitude=0.2)
    audio = load_audio(write_media(tmp_path / "a.wav", np.stack([left_T, right_T]), codec="pcm_f32le"))
    assert np.abs(audio.waveform - (left_T + right_T) / 2).max() < 1e-6


def test_resampling_keeps_what_fits_and_drops_what_does_not(tmp_path: Path) -> None:
    above_T = sweep(9_000, 20_000, 2.0, RATE, 10 ** (-9 / 20) * np.sqrt(2))
    assert 20 * np.log10(rms(above_T)) == pytest.approx(-9, abs=0.1)
    aliases_T = load_audio(write_media(tmp_path / "above.wav", above_T, RATE, codec="pcm_f32le")).waveform
    assert 20 * np.log10(rms(aliases_T[200:-200])) < -60  # without the clicks of its sudden start and end
    tone_T = load_audio(write_media(tmp_path / "tone.wav", sine(1_000, 1.0, RATE), RATE, codec="pcm_f32le")).waveform
    assert 20 * np.log10(rms(tone_T[1_000:-1_000]) / (0.5 / np.sqrt(2))) == pytest.approx(0, abs=0.1)
    assert np.abs(np.fft.rfft(tone_T)).argmax() * SAMPLE_RATE_HZ / len(tone_T) == pytest.approx(1_000, abs=1)


@needs_shared_data
def test_real_clips_have_their_durations_and_no_warnings() -> None:
    with (SHARED_DATA / "audio" / "clips.tsv").open(encoding="utf-8", newline="") as table:
        rows = list(csv.DictReader(table, delimiter="\t", quoting=csv.QUOTE_NONE))
    assert len(rows) == 40
    for row in rows:
        audio = load_audio(SHARED_DATA / "audio" / row["path"])
        assert audio.seconds == pytest.approx(float(row["seconds"]), abs=0.05), row["path"]
        assert audio.warnings == (), row["path"]
    for path in sorted((SHARED_DATA / "probe-model" / "clips").glob("*.flac")):
        assert load_audio(path).warnings == (), path.name


# Sources


def test_path_bytes_and_file_object_agree(media_folder: Path) -> None:
    path = media_folder / "constant.mp3"
    expected_T = load_audio(path).waveform
    assert np.array_equal(load_audio(str(path)).waveform, expected_T)
    assert np.array_equal(load_audio(path.read_bytes()).waveform, expected_T)
    with path.open("rb") as file:
        file.seek(100)
        assert np.array_equal(load_audio(file).waveform, expected_T)
        assert not file.closed


def test_a_pipe_is_read_whole(media_folder: Path) -> None:
    contents = (media_folder / "plain.m4a").read_bytes()  # its index is at its end
    read_end, write_end = os.pipe()
    with os.fdopen(read_end, "rb") as pipe:

        def write() -> None:
            with os.fdopen(write_end, "wb") as file:
                file.write(contents)

        writer = Thread(target=write)
        writer.start()
        audio = load_audio(pipe)
        writer.join()
        assert not pipe.closed
    assert np.array_equal(audio.waveform, load_audio(contents).waveform)


def test_a_misleading_suffix_does_no_harm(tmp_path: Path, media_folder: Path) -> None:
    for suffix in (".jpg", ".txt", ".wav", ".m3u8"):
        path = tmp_path / f"renamed%03d{suffix}"
        path.write_bytes((media_folder / "lossless.flac").read_bytes())
        assert load_audio(path).seconds == pytest.approx(SECONDS)


class CountingFile(io.BytesIO):
    """A file that knows how much of it was read."""

    bytes_read = 0

    def read(self, size: int | None = -1, /) -> bytes:
        contents = super().read(size)
        self.bytes_read += len(contents)
        return contents


@pytest.mark.parametrize("name", ["long.wav", "long.flac", "long.m4a", "long.mka"])
def test_a_range_reads_only_its_part_of_a_long_file(tmp_path: Path, name: str) -> None:
    noise_T = np.random.default_rng(0).normal(0, 0.1, 120 * SAMPLE_RATE_HZ).astype(np.float32)
    path = write_media(tmp_path / name, noise_T, codec="aac" if name.endswith("mka") else None)
    file = CountingFile(path.read_bytes())
    assert load_audio(file, start_seconds=60, end_seconds=62).seconds == 2
    assert file.bytes_read < 0.25 * path.stat().st_size
    file = CountingFile(path.read_bytes())
    assert load_audio(file, end_seconds=2).seconds == 2
    assert file.bytes_read < 0.25 * path.stat().st_size


# Tags, junk and joins


def id3_tag(frames: bytes) -> bytes:
    size = len(frames)
    return b"ID3\x03\x00\x00" + bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0)) + frames


def test_tags_and_junk_around_an_mp3(media_folder: Path) -> None:
    mp3 = (media_folder / "variable.mp3").read_bytes()
    expected = load_audio(mp3)
    junk = np.random.default_rng(0).bytes(4_000)
    picture = b"\0image/jpeg\0\x03\0\xff\xd8\xff\xe0" + junk * 700
    for tag in (
        id3_tag(b"TIT2\0\0\0\x05\0\0\x03\xff\xfe\xc3\x28"),  # a title that is not UTF-8
        id3_tag(b"APIC" + len(picture).to_bytes(4, "big") + b"\0\0" + picture),
        id3_tag(b"") + junk[:300],  # the tag is longer than it says
        b"ID3\x03\x00\x00\x7f\x7f\x7f\x7f",  # and shorter
        junk,
    ):
        audio = load_audio(tag + mp3)
        assert audio.seconds == pytest.approx(expected.seconds, abs=0.08)
        assert audio.warnings == ()
    assert np.array_equal(load_audio(mp3 + b"TAG" + bytes(125)).waveform, expected.waveform)


def test_joined_files_of_different_rates_and_channels_decode_whole(tmp_path: Path) -> None:
    first = write_media(tmp_path / "first.mp3", sine(440, 2.0, 44_100), 44_100).read_bytes()
    second = write_media(tmp_path / "second.mp3", np.tile(sine(880, 1.0), (2, 1))).read_bytes()
    for joined in (first + second, second + first):
        audio = load_audio(joined)
        assert audio.seconds == pytest.approx(3.0, abs=0.25)
        assert not any(warning.startswith("truncated") for warning in audio.warnings)
    spectrum = np.abs(np.fft.rfft(load_audio(first + second).waveform[-12_000:-4_000]))
    assert spectrum.argmax() * 2 == pytest.approx(880, abs=2)
    opus = write_media(tmp_path / "a.opus", sine(440, 2.0, RATE), RATE, codec="libopus").read_bytes()
    chained = load_audio(opus + opus)
    assert chained.seconds == pytest.approx(4.0, abs=0.02)
    part = load_audio(opus + opus, start_seconds=2.5, end_seconds=3.0)
    assert np.abs(part.waveform - chained.waveform[40_000:48_000]).max() < 1e-6


@pytest.mark.parametrize("form", ["s16", "s16p", "flt", "fltp"])
def test_what_needs_no_resampler_is_what_it_would_give(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    waveform_T = sweep(100, 5_000, 2.5, amplitude=1.0)
    if form.startswith("s16"):
        waveform_T = np.rint(waveform_T * 32767).astype(np.int16)
        waveform_T[:2] = -32768, 32767
    frames = []
    for start in range(0, len(waveform_T), 1152):
        frames.append(av.AudioFrame.from_ndarray(waveform_T[None, start : start + 1152], form, "mono"))
        frames[-1].sample_rate = SAMPLE_RATE_HZ
    found_T = np.concatenate(list(mono_chunks(iter(frames))))
    assert found_T.dtype == np.float32
    monkeypatch.setattr("voxlate.audio.resampling._UNCHANGED", set())
    assert np.array_equal(found_T, np.concatenate(list(mono_chunks(iter(frames)))))


def test_mono_wav_is_neither_resampled_nor_searched_for_dts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_media: Any = av.open
    opened: list[str | None] = []

    def recording_open(*arguments: Any, container_options: dict[str, str], **options: Any) -> Any:
        opened.append(container_options.get("max_probe_packets"))
        return open_media(*arguments, container_options=container_options, **options)

    sound_T = sweep(100, 5_000, 2.5)
    files = [write_media(tmp_path / "mono.wav", sound_T), write_media(tmp_path / "mono.flac", sound_T)]
    files += [write_media(tmp_path / "stereo.wav", np.stack([sound_T, sound_T]))]
    monkeypatch.setattr(av, "open", recording_open)
    assert np.array_equal(load_audio(files[0]).waveform, load_audio(files[1]).waveform)
    load_audio(files[2])
    assert opened == ["1", None, None]

    def refuse(_resampler: Any, frame: av.AudioFrame | None, _gain: float) -> Any:
        assert frame is None
        return iter(())

    monkeypatch.setattr("voxlate.audio.resampling._resample", refuse)
    assert len(load_audio(files[0]).waveform) == len(sound_T)


def test_short_frames_go_through_the_resampler_a_second_at_a_time() -> None:
    def frame(waveform_T: Any) -> av.AudioFrame:
        made = av.AudioFrame.from_ndarray(waveform_T[None], "flt", "mono")
        made.sample_rate, made.pts = 48_000, 7
        return made

    waveform_T = sweep(100, 5000, 10.0, 48_000)
    chunks = list(mono_chunks(frame(waveform_T[start : start + 1152]) for start in range(0, len(waveform_T), 1152)))
    assert len(chunks) <= 12
    assert np.array_equal(np.concatenate(chunks), np.concatenate(list(mono_chunks(iter([frame(waveform_T)])))))


def test_a_rate_that_changes_after_a_frame_that_needed_no_conversion() -> None:
    frames = [_frame(sine(440, 0.1, rate), rate) for rate in (16_000, 48_000)]
    waveform_T = np.concatenate(list(mono_chunks(iter(frames))))
    assert len(waveform_T) == pytest.approx(3_200, abs=2)


def _frame(waveform_T: npt.NDArray[np.float32], rate: int) -> Any:
    frame = av.AudioFrame.from_ndarray(waveform_T.reshape(1, -1), "flt", "mono")
    frame.sample_rate = rate
    return frame


# Damage


@pytest.mark.parametrize(
    "name",
    [
        *("s16.wav", "pcm.aiff", "pcm.au", "lossless.flac", "lossless.wv", "constant.mp3", "variable.mp3"),
        *("moov_first.m4a", "fragments.mp4", "aac.mka", "film.mkv"),
    ],
)
def test_a_truncated_file_keeps_its_beginning_and_says_so(tmp_path: Path, media_folder: Path, name: str) -> None:
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
    # A range inside what is left is not truncated.
    assert load_audio(path, start_seconds=0.1, end_seconds=0.9).warnings == ()


@pytest.mark.parametrize("name", ["no_xing.mp3", "stream.aac", "speech.opus", "film.ts"])
def test_what_announces_no_duration_is_never_called_truncated(tmp_path: Path, media_folder: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes((media_folder / name).read_bytes())
    assert not any(warning.startswith("truncated") for warning in load_audio(truncate(path, 0.5)).warnings)


def test_a_recording_that_leaves_out_silence_is_not_truncated(tmp_path: Path, media_folder: Path) -> None:
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


# Errors


def message(source: Any, **options: Any) -> str:
    with pytest.raises(AudioError) as caught:
        load_audio(source, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_cannot_be_opened_says_why(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
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
def test_what_is_not_media_is_refused(tmp_path: Path, contents: bytes, capfd: pytest.CaptureFixture[str]) -> None:
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
def test_samples_that_are_not_numbers(tmp_path: Path, value: float) -> None:
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


# The decoder


def test_the_decoder_is_sound() -> None:
    fingerprint = decoder_fingerprint()
    assert list(fingerprint) == ["pyav", "libavformat", "libavcodec", "libswresample", "checksum"]
    assert fingerprint["checksum"] == PROBE_CHECKSUM
    assert check_decoder() == []


def test_the_probe_has_many_bit_rates_and_no_level_near_a_step(tmp_path: Path) -> None:
    assert PROBE_PATH.stat().st_size < 8_192
    with av.open(str(PROBE_PATH)) as container:
        assert len({packet.size for packet in container.demux() if packet.size}) >= 5
    waveform_T = load_audio(PROBE_PATH).waveform
    levels = np.abs(waveform_T.reshape(-1, 160)).mean(axis=1) * 1000
    assert np.abs(levels - np.floor(levels) - 0.5).min() > 1e-3
    again_T = load_audio(write_vbr_probe(tmp_path / "again.mp3")).waveform
    assert again_T.shape == waveform_T.shape


def test_a_wrong_decoder_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cut = tmp_path / "cut.mp3"
    cut.write_bytes(PROBE_PATH.read_bytes()[:-500])
    monkeypatch.setattr(audio_module, "PROBE_PATH", cut)
    (problem,) = check_decoder()
    assert f"expected {PROBE_CHECKSUM}" in problem
    cut.write_bytes(b"")
    assert check_decoder() == [f"the built-in MP3 cannot be decoded: {cut}: empty file (0 bytes)"]


def test_media_suffixes() -> None:
    assert {".wav", ".mp3", ".flac", ".opus", ".m4a", ".webm", ".mp4", ".mkv", ".sph"} <= MEDIA_SUFFIXES
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in MEDIA_SUFFIXES)
    assert not {".txt", ".srt", ".m3u8", ".jpg", ".json"} & MEDIA_SUFFIXES


def test_what_is_no_audio_source(tmp_path: Path) -> None:
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
