"""Media files opened without reading anything but their own bytes, the audio track chosen, frame after frame."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, NoReturn

import av

from voxlate.audio.clock import Timeline
from voxlate.audio.downmix import MEDIA_ERRORS
from voxlate.audio.frames import Media, read_frames
from voxlate.audio.ogg import find_links
from voxlate.audio.sources import NamelessFile
from voxlate.audio.tracks import AudioTrack, ranked_tracks, track_note
from voxlate.errors import AudioError

# Demuxers that hold sound and read nothing but their own file: no playlists, images, subtitles, text or devices.
DEMUXERS = (
    "aa,aac,aax,ac3,aiff,amr,amrnb,amrwb,ape,asf,au,avi,caf,dsf,dts,dtshd,dv,eac3,flac,flv,gsm,gxf,iff,ircam,loas"
    ",matroska,mlp,mmf,mov,mp3,mpc,mpc8,mpeg,mpegts,mxf,nistsphere,nut,oga,ogg,oma,qcp,rm,shn,sox,swf,tak,truehd,tta"
    ",voc,w64,wav,wsd,wtv,wv,xwma"
)


@dataclass
class TrackChoice:
    """Which track to decode: a place in the ranking of those that fit, whose number is known once the file is open."""

    wanted: AudioTrack | None = None
    place: int = 0
    fitting: int = 1
    notes: tuple[str, ...] = ()
    fill_gaps: bool = False
    timeline: Timeline | None = None  # of the track that was decoded last, where gaps are filled


def _refuse(url: str, _flags: int, _options: dict[str, str]) -> NoReturn:
    raise PermissionError(f"refused to open {url}, which the file refers to")


@contextmanager
def open_media(file: BinaryIO, choice: TrackChoice | None = None) -> Iterator[Media]:
    """Open a container and the track chosen; note in `choice` how many fit. Raises AudioError."""
    choice = choice or TrackChoice()
    file.seek(0)
    start = file.read(24)
    links, unreadable = find_links(file) if start.startswith(b"OggS") else [], 0
    options = {"format_whitelist": DEMUXERS}
    if (start[:4], start[8:16], start[22:]) == (b"RIFF", b"WAVEfmt ", b"\1\0"):
        # FFmpeg tries all demuxers on the samples of a WAV, where DTS may hide: in two channels, never in one.
        options["max_probe_packets"] = "1"
    while True:
        if links:
            file = links.pop(0)
        file.seek(0)
        try:
            container = av.open(
                NamelessFile(file), "r", container_options=options, metadata_errors="replace", io_open=_refuse
            )
            break
        except MEDIA_ERRORS as error:
            if links:  # those after a damaged one may be whole
                unreadable += 1
                continue
            file.seek(0)
            if file.read(12)[4:8] == b"ftyp":
                raise AudioError("MP4 file without a readable index ('moov'): probably truncated") from error
            raise AudioError("not audio or video that FFmpeg's libraries can read") from error
    with container:
        if not container.streams.audio:
            streams = Counter(stream.type for stream in container.streams)
            found = ", ".join(f"{count} {kind}" for kind, count in sorted(streams.items())) or "none"
            raise AudioError(f"no audio stream (its streams: {found})")
        tracks = ranked_tracks(container, choice.wanted)
        stream, choice.fitting = tracks[choice.place], len(tracks)
        several = len(container.streams.audio if choice.wanted is None else tracks) > 1
        choice.notes = (track_note(stream, passed_over=tracks[: choice.place]),) if several else ()
        yield Media(container, stream, file, links, breaks=unreadable)


def all_frames(media: Media) -> Iterator[av.AudioFrame]:
    """Decode frame by frame; the links of a chained Ogg file one after another, with timestamps that continue."""
    yield from read_frames(media)
    for window in media.later_links:
        try:
            with open_media(window) as link:
                start: int | None = None
                for frame in read_frames(link):
                    if frame.pts is not None and frame.time_base:
                        if start is None:
                            start = round((media.start_seconds + media.seconds) / frame.time_base) - frame.pts
                        frame.pts += start
                    yield frame
                media.add(link)
        except AudioError:
            media.breaks += 1
