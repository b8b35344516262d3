"""Open media files without following references to other files, choose a track, and decode it frame by frame."""

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
from voxlate.audio.sources import AudioSource, NamelessFile, open_source
from voxlate.audio.tracks import AudioTrack, ranked_tracks, track_note
from voxlate.errors import AudioError

# Audio and video demuxers that open no other file: no playlists, images, subtitles, text or devices.
DEMUXERS = (
    "aa,aac,aax,ac3,aiff,amr,amrnb,amrwb,ape,asf,au,avi,caf,dsf,dts,dtshd,dv,eac3,flac,flv,gsm,gxf,iff,ircam,loas"
    ",matroska,mlp,mmf,mov,mp3,mpc,mpc8,mpeg,mpegts,mxf,nistsphere,nut,oga,ogg,oma,qcp,rm,shn,sox,swf,tak,truehd,tta"
    ",voc,w64,wav,wsd,wtv,wv,xwma"
)


@dataclass
class TrackChoice:
    """The track to decode, as a rank among the matching tracks. `open_media` sets `candidates` and `notes`."""

    requested: AudioTrack | None = None
    rank: int = 0
    candidates: int = 1  # number of matching tracks
    notes: tuple[str, ...] = ()
    fill_gaps: bool = False
    timeline: Timeline | None = None  # of the latest decoded track, if gaps are filled


def _refuse_to_open(url: str, _flags: int, _options: dict[str, str]) -> NoReturn:
    raise PermissionError(f"refused to open {url}, which the file refers to")


@contextmanager
def open_media(file: BinaryIO, choice: TrackChoice | None = None) -> Iterator[Media]:
    """Open a container and its chosen track. AudioError if the file cannot be read or has no such track."""
    choice = choice or TrackChoice()
    file.seek(0)
    start = file.read(24)
    links, unreadable = find_links(file) if start.startswith(b"OggS") else [], 0
    options = {"format_whitelist": DEMUXERS}
    if (start[:4], start[8:16], start[22:]) == (b"RIFF", b"WAVEfmt ", b"\1\0"):
        # FFmpeg probes the samples of a WAV for DTS, which is possible with two channels, but not with one.
        options["max_probe_packets"] = "1"
    while True:
        if links:
            file = links.pop(0)
        file.seek(0)
        try:
            container = av.open(
                NamelessFile(file), "r", container_options=options, metadata_errors="replace", io_open=_refuse_to_open
            )
            break
        except MEDIA_ERRORS as error:
            if links:  # links after a damaged one may be intact
                unreadable += 1
                continue
            file.seek(0)
            if file.read(12)[4:8] == b"ftyp":
                raise AudioError("MP4 file without a readable index ('moov'): probably truncated") from error
            raise AudioError("not audio or video that FFmpeg's libraries can read") from error
    with container:
        if not container.streams.audio:
            streams = Counter(stream.type for stream in container.streams)
            counts = ", ".join(f"{count} {kind}" for kind, count in sorted(streams.items())) or "none"
            raise AudioError(f"no audio stream (its streams: {counts})")
        tracks = ranked_tracks(container, choice.requested)
        stream, choice.candidates = tracks[choice.rank], len(tracks)
        has_alternatives = len(container.streams.audio if choice.requested is None else tracks) > 1
        choice.notes = (track_note(stream, skipped=tracks[: choice.rank]),) if has_alternatives else ()
        yield Media(container, stream, file, links, breaks=unreadable)


def all_frames(media: Media) -> Iterator[av.AudioFrame]:
    """Yield the decoded frames of a file, with continuous timestamps across the links of a chained Ogg file."""
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


def estimated_seconds(source: AudioSource) -> float:
    """Return the duration that FFmpeg estimates without decoding; 0 if it is unknown, or the file cannot be read."""
    try:
        with open_source(source) as file, open_media(file) as media:
            return (media.container.duration or 0) / av.time_base
    except AudioError:
        return 0.0
