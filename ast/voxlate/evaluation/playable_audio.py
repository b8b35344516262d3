"""Check that a file can be played, for the report of `voxlate_eval`, which decodes no audio itself."""

from pathlib import Path

from voxlate.audio.loading import MEDIA_SUFFIXES, load_audio
from voxlate.errors import AudioError


def is_playable(path: Path, contents: bytes | None = None) -> bool:
    """Return whether a file has a media suffix and can be decoded: all of `contents`, or else its first second."""
    if path.suffix.lower() not in MEDIA_SUFFIXES:
        return False
    try:
        if contents is not None:
            load_audio(contents, name=path.name)
        else:
            load_audio(path, end_seconds=1.0)
    except AudioError:
        return False
    return True
