"""`load_audio`: formats, sources, tags and concatenated files."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pytest

from media import (
    FORMATS,
    id3_tag,
    rms,
    shift_and_error,
    sine,
    sweep,
    write_media,
)
from paths import SHARED
from voxlate.audio.loading import (
    SAMPLE_RATE_HZ,
    load_audio,
)
from voxlate.audio.resampling import mono_chunks

if TYPE_CHECKING:
    import numpy.typing as npt

SHARED_DATA = SHARED / "data"
needs_shared_data = pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="the shared sample files are not here")

RATE = 48_000
SECONDS = 4.0


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


def test_resampling_removes_frequencies_above_8_khz(tmp_path: Path) -> None:
    above_T = sweep(9_000, 20_000, 2.0, RATE, 10 ** (-9 / 20) * np.sqrt(2))
    assert 20 * np.log10(rms(above_T)) == pytest.approx(-9, abs=0.1)
    aliases_T = load_audio(write_media(tmp_path / "above.wav", above_T, RATE, codec="pcm_f32le")).waveform
    assert 20 * np.log10(rms(aliases_T[200:-200])) < -60  # without the clicks at its abrupt start and end
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


def test_a_pipe_is_read_completely(media_folder: Path) -> None:
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


def test_a_misleading_suffix_is_ignored(tmp_path: Path, media_folder: Path) -> None:
    for suffix in (".jpg", ".txt", ".wav", ".m3u8"):
        path = tmp_path / f"renamed%03d{suffix}"
        path.write_bytes((media_folder / "lossless.flac").read_bytes())
        assert load_audio(path).seconds == pytest.approx(SECONDS)


class CountingFile(io.BytesIO):
    """A file that counts the bytes read from it."""

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


# Tags, junk and concatenated files


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


def test_concatenated_files_of_different_rates_and_channels_decode_completely(tmp_path: Path) -> None:
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
def test_frames_that_bypass_the_resampler_are_unchanged(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
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
    monkeypatch.setattr("voxlate.audio.resampling.UNCHANGED_SHAPES", set())
    assert np.array_equal(found_T, np.concatenate(list(mono_chunks(iter(frames)))))


def test_mono_wav_is_neither_resampled_nor_probed_for_dts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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

    monkeypatch.setattr("voxlate.audio.resampling.resample", refuse)
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


# Errors


# The decoder
