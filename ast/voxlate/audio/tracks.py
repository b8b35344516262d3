"""Rank the audio tracks of a file: those requested, the default one first, commentary last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

from av.stream import Disposition

from voxlate.errors import AudioError, VoxlateError
from voxlate.languages import find_language

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer

AudioTrack: TypeAlias = int | str  # a number from 1, or a language

# Tracks of commentary and audio description.
_SECONDARY = Disposition.comment | Disposition.visual_impaired | Disposition.descriptions | Disposition.hearing_impaired
_UNDECODABLE = "FFmpeg's libraries cannot decode its audio codec"
_LANGUAGELESS = {"", "und", "zxx", "mis", "mul", "qaa"}


def ranked_tracks(container: InputContainer, requested: AudioTrack | None) -> list[AudioStream]:
    """Return the decodable audio tracks that match `requested`, or all, best first.

    The track flagged as default comes first, commentary and audio description come last. AudioError if no track matches
    or none can be decoded.
    """
    streams = list(container.streams.audio)
    matching = [stream for number, stream in enumerate(streams, 1) if _matches(stream, number, requested)]
    if not matching:
        raise AudioError(
            f"no audio track {requested!r}; expected the number or language of one of its audio tracks: "
            f"{', '.join(map(describe_track, streams))}"
        )
    decodable = [stream for stream in matching if stream.codec_context is not None]
    if not decodable:
        track = "" if requested is None else f"audio track {describe_track(matching[0])}: "
        raise AudioError(f"{track}{_UNDECODABLE}")
    return sorted(decodable, key=lambda stream: (_has(stream, _SECONDARY), not _has(stream, Disposition.default)))


def describe_track(stream: AudioStream) -> str:
    """Return the number and metadata of a track: "2 (German, 'Commentary', default)"."""
    number = 1 + list(stream.container.streams.audio).index(stream)
    title = stream.metadata.get("title", "")[:60]
    details = [
        _language_name(stream),
        repr(title) if title else "",
        "" if stream.codec_context is not None else "cannot be decoded",
        *(flag.name.replace("_", " ") for flag in Disposition if flag.name and _has(stream, flag)),
    ]
    return f"{number} ({', '.join(filter(None, details))})" if any(details) else str(number)


def track_note(stream: AudioStream, skipped: Sequence[AudioStream] = ()) -> str:
    """Return a note on which track was used, which ones were skipped as silent or damaged, and how to choose."""
    others = [describe_track(other) for other in stream.container.streams.audio if other.index != stream.index]
    silent = " and ".join(map(describe_track, skipped))
    reason = (
        f", as {silent} {'contains' if len(skipped) == 1 else 'contain'} no sound that can be decoded" if silent else ""
    )
    return (
        f"audio track {describe_track(stream)} was used{reason}; others: {', '.join(others)}; choose with "
        "--audio-track and a number or language"
    )


def _matches(stream: AudioStream, number: int, requested: AudioTrack | None) -> bool:
    if requested is None:
        return True
    if isinstance(requested, int) or requested.strip().isdigit():
        return number == int(requested)
    return bool(_language(stream)) and _code(requested) == _code(_language(stream))


def _has(stream: AudioStream, flags: Disposition) -> bool:
    return bool(Disposition(stream.disposition) & flags)


def _language(stream: AudioStream) -> str:
    tag = (stream.metadata.get("language") or "").strip().lower()
    return "" if tag in _LANGUAGELESS else tag


def _language_name(stream: AudioStream) -> str:
    try:
        return find_language(_language(stream)).name
    except VoxlateError:
        return _language(stream)


def _code(language: str) -> str:
    """Return the code of a language, or the name used in the file if it is unknown."""
    try:
        return find_language(language).code
    except VoxlateError:
        return language.strip().lower()
