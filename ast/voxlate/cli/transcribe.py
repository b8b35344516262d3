"""The command ``voxlate transcribe``."""

from typing import Annotated

from voxlate.cli import options

EXAMPLE = "voxlate transcribe talk.mp3 --model facebook/wav2vec2-base-960h --language en --format json"


def transcribe(
    audio: options.Audio,
    language: Annotated[
        str | None,
        options.input_option(
            metavar="LANGUAGE",
            help="Spoken language. It names the output files and decides whether words are joined with spaces.",
        ),
    ] = None,
    audio_track: options.AudioTrack = None,
    num_workers: options.NumWorkers = None,
    *,
    model: Annotated[
        str,
        options.model_option(metavar="MODEL", help="Model with a CTC head: folder, Hub id or id@revision."),
    ],
    device: options.Device = "auto",
    dtype: options.DType = "auto",
    segmentation: options.Segmentation = "auto",
    vad: options.Vad = True,
    vad_threshold: options.VadThreshold = 0.5,
    min_pause: options.MinPause = 0.1,
    formats: options.Formats = None,
    output_dir: options.OutputDir = None,
    overwrite: options.Overwrite = False,
    max_line_width: options.MaxLineWidth = None,
    max_line_count: options.MaxLineCount = 2,
    max_cue_seconds: options.MaxCueSeconds = 7.0,
) -> int:
    """Transcribe speech with a CTC model. The json format includes the times of the words."""
    arguments = locals()
    parsed = {"formats": options.parse_formats(formats), "segmentation": options.parse_segmentation(segmentation)}
    from voxlate.decoding.commands import TranscribeCommand
    from voxlate.decoding.commands import transcribe as run

    return run(options.request(TranscribeCommand, {**arguments, **parsed}))
