"""Decode an open media file frame by frame, skipping damage, to the last readable frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, BinaryIO

import av

from voxlate.audio.downmix import MEDIA_ERRORS
from voxlate.audio.undecodable import holds_sound, is_info_frame, last_frame, leading_tags

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer

# Demuxers whose timestamps count packets, including undecodable ones of any size. Lost time is estimated from bytes.
COUNTED = {"aac", "ac3", "eac3", "mp3"}
# Demuxers that search for the next frame: bytes after the last frame are not sound.
SEARCHING = {*COUNTED, "mpeg", "mpegts", "ogg", "wv"}
PADDED = {"aiff", "caf", "w64", "wav"}  # a pad byte may follow an odd number of bytes
_READ_BYTES = 1 << 20  # of an undecodable end of file


@dataclass
class Media:
    """An open container, its audio stream, and statistics of decoding so far."""

    container: InputContainer
    stream: AudioStream
    file: BinaryIO
    later_links: Sequence[BinaryIO] = ()  # of a chained Ogg file
    first_byte: int = 0  # of the first packet
    origin: int | None = None  # timestamp of the first frame, in units of the stream's time base
    seconds: float = 0.0  # by the timestamps, from the origin to the end of the latest frame
    decoded_seconds: float = 0.0
    lost_seconds: float = 0.0  # estimated, where timestamps only count packets
    packets: int = 0
    decoded_bytes: int = 0
    damaged: int = 0  # packets
    breaks: int = 0  # positions where reading failed and could be resumed
    stopped: str = ""
    latest_size: int = 0  # of the latest packet
    skipped_bytes: int = 0
    undecodable_byte: int | None = None  # start of the undecodable bytes after the latest decodable packet
    undecodable: int = 0  # packets since then
    tag_end: int = 0  # end of the latest tag

    @cached_property
    def kind(self) -> str:
        """Name of the demuxer."""
        return self.container.format.name

    @cached_property
    def tick_seconds(self) -> float:
        """Unit of the stream's timestamps; 0 if it has none."""
        return float(self.stream.time_base or 0)

    @property
    def is_mostly_damaged(self) -> bool:
        """Whether too few packets decode to be trusted: encrypted packets occasionally decode by chance."""
        return self.damaged > 0.8 * self.packets

    @property
    def start_seconds(self) -> float:
        """Timestamp of the first frame."""
        return (self.origin or 0) * self.tick_seconds

    def add(self, link: Media) -> None:
        """Add the statistics of another link of a chained file."""
        self.seconds += link.seconds
        self.decoded_seconds += link.decoded_seconds
        self.packets += link.packets
        self.damaged += link.damaged
        self.breaks += link.breaks
        self.stopped = self.stopped or link.stopped


def read_frames(media: Media) -> Iterator[av.AudioFrame]:
    """Yield the decoded frames, skipping damaged packets, up to the last readable one."""
    for packet in _packets(media):
        if media.packets == 0:
            media.first_byte = packet.pos or 0
        media.packets += 1
        for frame in _decode_packet(media, packet):
            yield _record_frame(media, frame)
        media.latest_size = packet.size
    try:
        frames = media.stream.decode(None)
    except MEDIA_ERRORS:
        media.damaged += 1
        frames = []
    for frame in frames:
        yield _record_frame(media, frame)
    _classify_end(media)


def _packets(media: Media) -> Iterator[av.Packet[AudioStream]]:
    """Yield packets. After an error, retry from the demuxer's position as long as it advances."""
    reached = -1
    while True:
        try:
            for packet in media.container.demux(media.stream):
                if packet.size == 0:  # would flush the decoder
                    continue
                if media.stopped:
                    media.stopped, media.breaks = "", media.breaks + 1
                yield packet
        except MEDIA_ERRORS as error:
            media.stopped = getattr(error, "strerror", None) or str(error)
            position = media.file.tell()
            if position <= reached:
                return
            reached = position
        else:
            return


def _decode_packet(media: Media, packet: av.Packet[AudioStream]) -> list[av.AudioFrame]:
    """Decode a packet, or the part of it that is sound, and record undecodable bytes."""
    start = (packet.pos or 0) + media.skipped_bytes
    if media.undecodable and media.kind == "aac":
        start += _bytes_skipped_before(media, packet, start)
    # FFmpeg drops a tag and the frame after it without an error.
    is_tag = media.kind == "mp3" and bytes(packet)[:3] == b"TAG"
    if start >= media.tag_end and not is_tag:
        try:
            frames = media.stream.decode(packet)
        except MEDIA_ERRORS:
            pass
        else:
            _record_decodable(media, start)
            media.decoded_bytes += packet.size
            return frames
    if media.kind == "mp3":
        return _decode_last_frame(media, start, bytes(packet))
    frames = []
    if media.kind in COUNTED and packet.size > media.latest_size > 0:  # the last frame and bytes after it
        try:
            frames = media.stream.decode(av.Packet(bytes(packet)[: media.latest_size]))
        except MEDIA_ERRORS:
            pass
        else:
            _record_decodable(media, start)
            media.decoded_bytes += media.latest_size
            start += media.latest_size
    _record_undecodable(media, start)
    return frames


def _bytes_skipped_before(media: Media, packet: av.Packet[AudioStream], start: int) -> int:
    """Return the number of bytes from `start` to an AAC packet: FFmpeg does not count bytes skipped while searching."""
    position = media.file.tell()
    media.file.seek(start)
    skipped = max(0, media.file.read(_READ_BYTES).find(bytes(packet)))
    media.file.seek(position)
    media.skipped_bytes += skipped
    return skipped


def _decode_last_frame(media: Media, start: int, content: bytes) -> list[av.AudioFrame]:
    """Decode the MPEG audio frame at the end of a packet that begins with a tag or other bytes."""
    rest = max(media.tag_end - start, 0)
    if tags := leading_tags(content[rest:]):
        rest += tags
        media.tag_end = start + rest
    begin = last_frame(content, rest)
    is_info = begin is not None and is_info_frame(content, begin)
    junk = content[rest:begin]
    if junk and not (is_info and not junk.strip(b"\0")):
        _record_undecodable(media, start + rest)
    if begin is None or is_info:
        return []
    try:
        frames = media.stream.decode(av.Packet(content[begin:]))
    except MEDIA_ERRORS:
        _record_undecodable(media, start + begin)
        return []
    _record_decodable(media, start + begin)
    media.decoded_bytes += len(content) - begin
    return frames


def _record_undecodable(media: Media, start: int) -> None:
    """Record an undecodable packet. Whether it is lost sound is decided at the next decodable packet or the end."""
    media.undecodable += 1
    if media.undecodable_byte is None:
        media.undecodable_byte = start


def _record_decodable(media: Media, start: int) -> None:
    """Record that decoding resumes at a byte: the undecodable bytes before it were sound."""
    if media.undecodable_byte is not None:
        media.damaged += media.undecodable
        if media.kind in COUNTED and media.decoded_bytes:
            media.lost_seconds += (start - media.undecodable_byte) * media.decoded_seconds / media.decoded_bytes
        media.undecodable, media.undecodable_byte = 0, None


def _classify_end(media: Media) -> None:
    """Distinguish lost sound from tags, padding and garbage after the last frame."""
    if media.undecodable_byte is not None:
        media.file.seek(media.undecodable_byte)
        content = media.file.read(_READ_BYTES)
        is_pad = media.kind in PADDED and media.latest_size == 1
        if not is_pad and (media.kind not in COUNTED or holds_sound(content, media.kind)):
            media.damaged += media.undecodable
    if media.kind in SEARCHING:
        media.stopped = ""


def _record_frame(media: Media, frame: av.AudioFrame) -> av.AudioFrame:
    """Record the time of a frame, and correct its timestamp if timestamps only count packets."""
    seconds, tick_seconds = frame.samples / frame.sample_rate, media.tick_seconds
    if frame.pts is not None and tick_seconds:
        if media.origin is None:
            media.origin = frame.pts
        if media.kind in COUNTED:
            frame.pts = media.origin + round((media.decoded_seconds + media.lost_seconds) / tick_seconds)
        media.seconds = (frame.pts - media.origin) * tick_seconds + seconds
    media.decoded_seconds += seconds
    return frame
