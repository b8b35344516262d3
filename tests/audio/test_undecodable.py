"""Tags and padding are not damage, lost sound is reported, and every link of a chained Ogg file is decoded."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from media import sine, sweep, truncate, write_media
from voxlate.audio.clock import FROM_ZERO
from voxlate.audio.loading import load_audio, measure_audio, spool_audio
from voxlate.audio.ogg import find_links, has_lost_pages
from voxlate.audio.sources import open_source

NOISE = np.random.default_rng(0).bytes(3_000)
ID3V1 = b"TAG" + bytes(125)
LYRICS = b"LYRICSBEGININD0000211LYR00009la la la 000038LYRICS200"


def id3v2(size: int) -> bytes:
    """Return a tag with a picture of the given size, which contains bytes like headers of MPEG audio."""
    picture = np.random.default_rng(1).bytes(size - 2_000) + (b"\xff\xfb\x90\x64" + bytes(96)) * 20
    return b"ID3\x03\0\0" + bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0)) + picture


def ape() -> bytes:
    """Return an APE tag with a header and a footer."""
    item = (5).to_bytes(4, "little") + bytes(4) + b"Title\0hello"
    head, foot = (
        b"APETAGEX" + (2_000).to_bytes(4, "little") + (len(item) + 32).to_bytes(4, "little") + (1).to_bytes(4, "little")
        + flags.to_bytes(4, "little") + bytes(8)
        for flags in (0xA0000000, 0x80000000)
    )  # fmt: skip
    return head + item + foot


TAILS = {
    "zeros": bytes(70_000),
    "pad": b"\0",
    "id3v1": ID3V1,
    "ape": ape(),
    "lyrics3": LYRICS + ID3V1,
    "noise": NOISE,
    "text": b"Just a text.\n" * 50,
    "ones": b"\xff" * 3_000,
    "id3v2": id3v2(4_000),
}
FORMATS: dict[str, dict[str, Any]] = {
    "info.mp3": {},
    "bare.mp3": {"container_options": {"write_xing": "0"}},
    "a.aac": {},
    "a.ac3": {},
    "a.flac": {},
    "a.wv": {},
    "a.opus": {"codec": "libopus", "container_options": {"page_duration": "100000"}},
    "a.ts": {"codec": "aac"},
    "a.mka": {"codec": "aac"},
    "a.m4a": {},
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A second and a half of sound in every format."""
    folder = tmp_path_factory.mktemp("undecodable")
    sound_T = sweep(100, 2_000, 1.5, 48_000)
    return {
        name: write_media(folder / name, sound_T, 48_000, **options).read_bytes() for name, options in FORMATS.items()
    }


@pytest.mark.parametrize("name", FORMATS)
def test_bytes_after_the_last_sound_are_not_damage(files: dict[str, bytes], name: str) -> None:
    whole = load_audio(files[name])
    assert whole.warnings == ()
    for kind, tail in TAILS.items():
        audio = load_audio(files[name] + tail)
        assert audio.warnings == (), kind
        assert audio.seconds == pytest.approx(whole.seconds, abs=0.015), (
            kind
        )  # padding that only the last frame removes
        assert np.array_equal(audio.waveform[:20_000], whole.waveform[:20_000]), kind


@pytest.mark.parametrize("name", ["info.mp3", "bare.mp3"])
@pytest.mark.parametrize(
    "between",
    [
        *(b"", ID3V1, ape(), LYRICS + ID3V1, id3v2(4_000), id3v2(300_000)),
        *(ID3V1 + id3v2(300_000), bytes(9_000) + id3v2(4_000)),
    ],
    ids=["nothing", "id3v1", "ape", "lyrics3", "id3v2", "picture", "id3v1-picture", "padding-id3v2"],
)
def test_joined_mp3s(files: dict[str, bytes], name: str, between: bytes) -> None:
    alone = load_audio(files[name])
    audio = load_audio(files[name] + between + files[name])
    assert audio.warnings == ()
    assert measure_audio(files[name] + between + files[name])[1] == ()
    # The delay of the second encoder, and of its frame without sound, is stated only in a header.
    assert 2 * alone.seconds - 0.001 <= audio.seconds <= 2 * alone.seconds + 0.1
    waveform_T, warnings, clock, *_ = spool_audio(files[name] + between + files[name])
    assert len(waveform_T) == len(audio.waveform)
    assert (warnings, clock) == ((), FROM_ZERO)


def test_joined_mp3s_of_other_rates(tmp_path: Path) -> None:
    parts = [
        write_media(tmp_path / f"{rate}.mp3", np.tile(sine(hz, 1.0, rate), (channels, 1)), rate).read_bytes()
        for rate, channels, hz in ((44_100, 1, 440), (16_000, 2, 880), (8_000, 1, 660))
    ]
    audio = load_audio((id3v2(4_000)).join(parts) + ID3V1)
    assert audio.warnings == ()
    assert audio.seconds == pytest.approx(3.0, abs=0.3)
    for start, hz in ((0.3, 440), (1.5, 880), (2.6, 660)):
        spectrum = np.abs(np.fft.rfft(audio.waveform[round(start * 16_000) :][:4_000]))
        assert spectrum.argmax() * 4 == pytest.approx(hz, abs=4)


def test_the_pad_byte_of_a_gsm_wav() -> None:
    blocks = np.random.default_rng(0).bytes(65 * 51)
    form = b"".join(
        number.to_bytes(size, "little")
        for number, size in ((0x31, 2), (1, 2), (8_000, 4), (1_625, 4), (65, 2), (0, 2), (2, 2), (320, 2))
    )

    def wav(data: bytes) -> bytes:
        body = b"WAVEfmt " + len(form).to_bytes(4, "little") + form + b"data" + len(data).to_bytes(4, "little") + data
        return b"RIFF" + len(body).to_bytes(4, "little") + body

    for data in (blocks, blocks + b"\0"):
        audio = load_audio(wav(data))
        assert (audio.seconds, audio.warnings) == (51 * 320 / 8_000, ())
    assert load_audio(wav(blocks + bytes(40))).warnings == ("damaged: 1 packet could not be decoded",)


@pytest.mark.parametrize("name", ["info.mp3", "bare.mp3", "a.aac", "a.ac3", "a.flac", "a.opus", "a.mka"])
def test_damage_in_the_middle_is_reported(files: dict[str, bytes], name: str) -> None:
    contents = files[name]
    start, end = round(0.5 * len(contents)), round(0.65 * len(contents))
    for middle in (NOISE[: end - start] * (1 + (end - start) // 3_000), bytes(end - start), b""):
        if not middle and name in ("a.ac3", "bare.mp3"):  # frames are missing without a trace
            continue
        warnings = load_audio(contents[:start] + middle[: end - start] + contents[end:]).warnings
        assert any(warning.startswith(("damaged", "truncated")) for warning in warnings), middle[:2]


def chained(folder: Path, codec: str, *links: tuple[int, int, int]) -> bytes:
    """Join Ogg files of (rate, channels, frequency)."""
    contents = b""
    for rate, channels, hz in links:
        sound_CT = np.tile(sine(hz, 1.0, rate), (channels, 1))
        options = {"strict": "-2"} if codec == "vorbis" else None
        contents += write_media(folder / "a.ogg", sound_CT, rate, codec=codec, codec_options=options).read_bytes()
    return contents


@pytest.mark.parametrize(
    ("codec", "links"),
    [
        ("vorbis", [(48_000, 2, 440), (44_100, 2, 880), (48_000, 2, 660)]),
        ("libopus", [(48_000, 1, 440), (48_000, 2, 880), (16_000, 1, 660)]),
        ("flac", [(16_000, 1, 440), (48_000, 2, 880), (8_000, 1, 660)]),
    ],
)
def test_every_link_of_a_chained_ogg_is_decoded(tmp_path: Path, codec: str, links: list[tuple[int, int, int]]) -> None:
    contents = chained(tmp_path, codec, *links)
    waveform_T, warnings, clock, *_ = spool_audio(contents)
    assert (warnings, clock) == ((), FROM_ZERO)
    assert len(waveform_T) / 16_000 == pytest.approx(3.0, abs=0.01)
    for place, (_, _, hz) in enumerate(links):
        spectrum = np.abs(np.fft.rfft(waveform_T[place * 16_000 + 4_000 : place * 16_000 + 12_000]))
        assert spectrum.argmax() * 2 == pytest.approx(hz, abs=2)
    assert measure_audio(contents) == (len(waveform_T) / 16_000, ())
    part = load_audio(contents, start_seconds=1.25, end_seconds=1.75).waveform
    assert np.array_equal(part, waveform_T[20_000:28_000])
    # Padding between and after the links, and a link that is cut off.
    half = len(contents) // 2
    assert load_audio(contents + bytes(70_000) + contents).warnings == ()
    assert load_audio(contents[:half]).seconds > 0.9


def test_links_after_a_damaged_one_are_decoded(tmp_path: Path) -> None:
    first = chained(tmp_path, "libopus", (48_000, 1, 440))
    second = chained(tmp_path, "flac", (16_000, 1, 880))
    cut = first[: len(first) // 2]  # the last page claims bytes of the next link
    for contents, links in ((cut + second, 1), (second + cut + second, 2)):
        audio = load_audio(contents)
        assert audio.seconds == pytest.approx(links, abs=0.01)
        assert audio.warnings == ("damaged: 1 part of the file could not be read",)


def test_a_damaged_first_page_of_ogg_is_reported(tmp_path: Path) -> None:
    path = write_media(tmp_path / "a.ogg", sine(440, 1.5), codec="flac")
    damaged = bytearray(path.read_bytes())
    damaged[3_000:3_100] = bytes(100)
    audio = load_audio(bytes(damaged))
    assert audio.seconds < 1
    assert audio.warnings == ("damaged: sound is missing at the beginning of an Ogg stream; later times are too early",)


@pytest.mark.parametrize(("suffix", "codec"), [("caf", None), ("w64", None), ("avi", "pcm_s16le"), ("avi", "mp2")])
def test_missing_sound_is_found_from_headers_that_ffmpeg_corrects(
    tmp_path: Path, suffix: str, codec: str | None
) -> None:
    path = write_media(tmp_path / f"a.{suffix}", sine(440, 2.0), codec=codec)
    whole = load_audio(path)
    assert whole.warnings == load_audio(path.read_bytes() + bytes(999)).warnings == ()
    [warning] = load_audio(truncate(path, 0.5)).warnings
    match = re.fullmatch(r"truncated: (\S+) s decoded of the (\S+) s its header states", warning)
    assert match
    assert float(match[1]) < 1.1
    assert float(match[2]) == pytest.approx(whole.seconds, abs=0.02)


def test_pages_of_ogg(files: dict[str, bytes], tmp_path: Path) -> None:
    contents = chained(tmp_path, "flac", (16_000, 1, 440), (16_000, 1, 880))
    with open_source(contents) as file:
        first, second = find_links(file)
        assert first.read() + second.read() == contents
        assert second.seek(-4, 2) == second.tell()
        assert second.read() == contents[-4:]
        assert second.read(1) == b""
        assert not has_lost_pages(file)
    with open_source(files["a.opus"]) as file:
        assert find_links(file) == []
    damaged = bytearray(contents)
    damaged[len(contents) // 3] ^= 1
    with open_source(bytes(damaged)) as file:
        assert has_lost_pages(file)
