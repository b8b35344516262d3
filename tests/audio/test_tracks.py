"""Files with several audio tracks: which one is used, what the note says, and how to select another."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pytest
from av.stream import Disposition

from media import RATE, film, sine
from voxlate.audio.loading import load_audio, measure_audio
from voxlate.errors import AudioError

if TYPE_CHECKING:
    import numpy.typing as npt


def undecodable(contents: bytes) -> bytes:
    """Give the first codec of a Matroska file an unknown name."""
    return re.sub(rb"A_AAC", b"A_XYZ", contents, count=1)


def pitch(waveform_T: npt.NDArray[np.float32]) -> int:
    """Return the loudest frequency in Hz, rounded to 50."""
    middle_T = waveform_T[4_000:12_000]
    return round(np.abs(np.fft.rfft(middle_T)).argmax() * RATE / len(middle_T) / 50) * 50


DEFAULT, COMMENT = Disposition.default, Disposition.comment
ENGLISH, GERMAN = {"hz": 300, "language": "eng"}, {"hz": 600, "language": "ger"}
FRENCH = {"hz": 900, "language": "fra", "flags": DEFAULT}


def test_the_default_track_is_used_and_noted() -> None:
    audio = load_audio(film(ENGLISH, GERMAN, FRENCH))
    assert pitch(audio.waveform) == 900
    assert audio.warnings == ()
    others = "others: 1 (English), 2 (German)"
    expected = f"audio track 3 (French, default) was used; {others}; choose with --audio-track and a number or language"
    assert audio.notes == (expected,)


def test_without_a_default_the_first_track_is_used() -> None:
    assert pitch(load_audio(film(ENGLISH, GERMAN)).waveform) == 300
    assert pitch(load_audio(film(ENGLISH, GERMAN, container="mpegts")).waveform) == 300


def test_one_track_needs_no_note() -> None:
    assert load_audio(film(FRENCH)).notes == ()


@pytest.mark.parametrize("flags", [COMMENT, Disposition.visual_impaired, Disposition.hearing_impaired])
def test_tracks_for_commentary_are_not_used_by_default(flags: Disposition) -> None:
    audio = load_audio(film(ENGLISH | {"flags": flags | DEFAULT, "title": "The director's"}, GERMAN))
    assert pitch(audio.waveform) == 600
    assert 'others: 1 (English, "The director\'s", default, ' in audio.notes[0]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (1, 300),
        (2, 600),
        ("3", 900),
        ("de", 600),
        ("German", 600),
        ("deu", 600),
        ("ger", 600),
        ("fr", 900),
        ("fre", 900),
    ],
)
def test_a_track_is_chosen_by_number_or_language(wanted: int | str, expected: int) -> None:
    audio = load_audio(film(ENGLISH, GERMAN, FRENCH), audio_track=wanted)
    assert pitch(audio.waveform) == expected
    assert audio.notes == ()


def test_the_best_track_of_a_language_is_used_and_noted() -> None:
    contents = film(GERMAN | {"flags": COMMENT}, ENGLISH, GERMAN | {"hz": 1200})
    audio = load_audio(contents, audio_track="de")
    assert pitch(audio.waveform) == 1200
    assert audio.notes[0].startswith("audio track 3 (German) was used; others: 1 (German, comment), 2 (English); ")


@pytest.mark.parametrize("wanted", [0, -1, 4, "4", "it", "und", "xx", ""])
def test_the_message_about_an_unknown_track_lists_the_tracks(wanted: int | str) -> None:
    contents = film(ENGLISH, {"hz": 600}, FRENCH)
    with pytest.raises(AudioError) as caught:
        load_audio(contents, audio_track=wanted)
    expected = "expected the number or language of one of its audio tracks: 1 (English), 2, 3 (French, default)"
    assert str(caught.value) == f"<bytes>: no audio track {wanted!r}; {expected}"


def test_a_track_that_cannot_be_decoded_is_skipped_unless_selected() -> None:
    contents = undecodable(film(FRENCH, GERMAN))
    audio = load_audio(contents)
    assert pitch(audio.waveform) == 600
    assert "others: 1 (French, cannot be decoded, default)" in audio.notes[0]
    for wanted in (1, "fr"):
        with pytest.raises(
            AudioError, match=r"audio track 1 \(French, .*FFmpeg's libraries cannot decode its audio codec"
        ):
            load_audio(contents, audio_track=wanted)
    with pytest.raises(AudioError, match="libraries cannot decode its audio codec"):
        load_audio(undecodable(film(ENGLISH)))


def test_a_damaged_default_track_is_replaced_by_one_with_sound() -> None:
    contents = film(FRENCH | {"codec": "flac"}, GERMAN)
    sync = contents.index(b"\xff\xf8", contents.index(b"\x1f\x43\xb6\x75"))
    broken = bytearray(contents)
    while sync >= 0:
        broken[sync : sync + 2] = b"\0\0"
        sync = broken.find(b"\xff\xf8", sync)
    audio = load_audio(bytes(broken))
    assert pitch(audio.waveform) == 600
    assert audio.notes[0].startswith(
        "audio track 2 (German) was used, as 1 (French, default) contains no sound that can be decoded; "
    )


@pytest.mark.parametrize("container", ["mp4", "matroska"])
def test_a_silent_default_track_is_replaced_by_one_with_sound(container: str) -> None:
    silent = {"hz": 0, "flags": DEFAULT}
    contents = film(silent, {"hz": 0}, {"hz": 600}, container=container)
    for options in ({}, {"start_seconds": 0.2, "end_seconds": 1.2}, {"start_seconds": 1.1}):
        audio = load_audio(contents, **options)  # type: ignore[arg-type]
        assert np.std(audio.waveform) > 0.1
        assert audio.notes[0].startswith(
            "audio track 3 was used, as 1 (default) and 2 contain no sound that can be decoded; others: 1"
        )
    assert measure_audio(contents)[0] == load_audio(contents).seconds
    assert not load_audio(contents, audio_track=1).waveform.any()
    assert not load_audio(film(silent, {"hz": 0}, container=container)).waveform.any()


def test_a_silent_range_does_not_change_the_track() -> None:
    tone_T = np.concatenate([np.zeros(2 * RATE, np.float32), sine(300, 2.0)])
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as output:
        streams: list[Any] = [output.add_stream("pcm_s16le", RATE, layout="mono") for _ in range(2)]
        for stream, waveform_T in zip(streams, (tone_T, np.tile(sine(600, 2.0), 2)), strict=True):
            frame = av.AudioFrame.from_ndarray((waveform_T * 32_000).astype(np.int16)[None], "s16", "mono")
            frame.sample_rate, frame.pts = RATE, 0
            output.mux(stream.encode(frame))
    assert not load_audio(file.getvalue(), end_seconds=1.0).waveform.any()
    assert pitch(load_audio(file.getvalue(), start_seconds=2.5).waveform) == 300
