"""The segments of decoded inputs whose sound all counts as speech."""

from __future__ import annotations

from voxlate.audio.chunks import SpooledWaveform
from voxlate.audio.decoded_audio import DecodedAudio
from voxlate.audio.resampling import Waveform
from voxlate.audio.segmentation import ClipSeconds, Span
from voxlate.audio.speech_detection import detect_speech
from voxlate.decoding.segmenting import SegmentationOptions, Segmenter

LENGTHS = ClipSeconds(median=5.0, q95=9.0, max=15.0)
SOUND = SegmentationOptions(vad=False)


def decoded(waveform_T: Waveform | SpooledWaveform, options: SegmentationOptions = SOUND) -> DecodedAudio:
    """Return a waveform as an input, with the speech in it."""
    return DecodedAudio("talk", waveform_T, detect_speech(waveform_T, options.speech))


def segments_of(
    audio: DecodedAudio | Waveform | SpooledWaveform,
    options: SegmentationOptions = SOUND,
    *,
    whole: bool = False,
    lengths: ClipSeconds = LENGTHS,
) -> list[Span]:
    """Return the segments of an input in samples, for a model that was trained on clips of the given lengths."""
    audio = audio if isinstance(audio, DecodedAudio) else decoded(audio, options)
    return [*Segmenter(options, lengths).segments(audio, whole=whole)]
