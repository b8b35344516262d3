"""Whether a file is a media file that decodes: what `voxlate_eval`, which knows no audio, asks before it shows one."""

from pathlib import Path

from voxlate.audio.loading import MEDIA_SUFFIXES, load_audio
from voxlate.errors import AudioError


def is_sound(path: Path, contents: bytes | None = None) -> bool:
    """Return whether a file has the suffix of a media file and decodes: all of `contents`, else its first second."""
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
