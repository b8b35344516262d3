"""Identify the audio decoder, and check it with a built-in MP3: MP3 decoders have changed BLEU by up to 20 points."""

import hashlib
from pathlib import Path

import av
import numpy as np

from voxlate.audio.loading import load_audio
from voxlate.errors import AudioError

PROBE_PATH = Path(__file__).with_name("vbr_probe.mp3")
PROBE_CHECKSUM = "19200-aa6c3ab899f594ce"


def decoder_fingerprint() -> dict[str, str]:
    """Return the versions of PyAV and FFmpeg's libraries, and a checksum of a VBR MP3 as they decode it.

    The checksum consists of the number of samples and a hash of the mean level of each 10 ms, in thousandths of full
    scale. It is the same on processors that round differently, and changes if samples are lost, added or shifted.
    """
    libraries = ("libavformat", "libavcodec", "libswresample")
    versions = {library: ".".join(map(str, av.library_versions[library])) for library in libraries}
    waveform_T = load_audio(PROBE_PATH).waveform
    levels = np.abs(waveform_T[: len(waveform_T) // 160 * 160]).reshape(-1, 160).mean(axis=1)
    digest = hashlib.sha256(repr(np.rint(levels * 1000).astype(int).tolist()).encode()).hexdigest()
    return {"pyav": av.__version__, **versions, "checksum": f"{len(waveform_T)}-{digest[:16]}"}


def check_decoder() -> list[str]:
    """Decode the built-in MP3; return a list of problems, one line each, which is empty if all is well."""
    try:
        checksum = decoder_fingerprint()["checksum"]
    except AudioError as error:
        return [f"the built-in MP3 cannot be decoded: {error}"]
    if checksum == PROBE_CHECKSUM:
        return []
    return [f"the built-in MP3 decodes to {checksum} (samples-levels), expected {PROBE_CHECKSUM}: scores may differ"]
