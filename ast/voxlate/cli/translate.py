"""The command ``voxlate translate``."""

from typing import Annotated

import typer

from voxlate.cli import options
from voxlate.errors import VoxlateError

EXAMPLE = "voxlate translate talk.mp3 --to de,fr --format srt --output-dir subtitles"


def translate(
    audio: options.Audio,
    to: Annotated[
        list[str],
        typer.Option(
            metavar="LANGUAGE[,LANGUAGE]...", help="Target languages: codes, ISO 639-3 codes or English names."
        ),
    ],
    source: Annotated[
        str | None,
        options.input_option(
            "--from",
            metavar="LANGUAGE|auto",
            help="Source language. Only the choice of the default model depends on it; auto detects it for each input.",
        ),
    ] = None,
    identifier: Annotated[
        str | None,
        options.input_option(metavar="MODEL", help="Language identifier for --from auto: folder or Hub id."),
    ] = None,
    audio_track: options.AudioTrack = None,
    num_workers: options.NumWorkers = None,
    model: Annotated[
        str | None,
        options.model_option(
            metavar="MODEL",
            help="Model folder, Hub id, id@revision, or short name (`voxlate models`). [default: the "
            "published XLS-R checkpoint for the direction]",
        ),
    ] = None,
    device: options.Device = "auto",
    dtype: options.DTypeOrInt8 = "auto",
    ray: options.Ray = None,
    language_token: options.LanguageTokens = None,
    beam_size: options.BeamSize = None,
    length_penalty: options.LengthPenalty = None,
    max_length: options.MaxLength = None,
    max_repeats: options.MaxRepeats = 4,
    mbr: options.Mbr = False,
    shortlist: options.Shortlist = False,
    batch_size: options.BatchSize = None,
    segmentation: options.Segmentation = "auto",
    vad: options.Vad = True,
    vad_threshold: options.VadThreshold = 0.5,
    min_pause: options.MinPause = 0.1,
    coverage_check: options.CoverageCheck = True,
    formats: options.Formats = None,
    n_best: Annotated[
        int,
        options.output_option(metavar="N", help="Number of hypotheses per segment to write (json and tsv only)."),
    ] = 1,
    output_dir: options.OutputDir = None,
    overwrite: options.Overwrite = False,
    max_line_width: options.MaxLineWidth = None,
    max_line_count: options.MaxLineCount = 2,
    max_cue_seconds: options.MaxCueSeconds = 7.0,
    word_timestamps: options.WordTimestamps = False,
    bilingual: Annotated[
        bool,
        options.output_option(
            "--bilingual",
            help="Write what was said under each subtitle, and its words to json (models with a CTC head).",
        ),
    ] = False,
) -> int:
    """Translate speech into text in other languages."""
    arguments = locals()  # options are passed on by name
    if not all(audio) or model == "":
        raise VoxlateError("an input or --model is an empty string; is a shell variable unset?")
    parsed = {
        "to": _parse_languages(to),
        "formats": options.parse_formats(formats, n_best, word_timestamps=word_timestamps, bilingual=bilingual),
        "language_tokens": options.parse_language_tokens(language_token),
        "max_repeats": max_repeats or None,
        "segmentation": options.parse_segmentation(segmentation),
    }
    from voxlate.decoding.commands import TranslateCommand
    from voxlate.decoding.commands import translate as run

    return run(options.request(TranslateCommand, {**arguments, **parsed}))


def _parse_languages(items: list[str]) -> list[str]:
    from voxlate.languages import find_language

    names = [name.strip() for item in items for name in item.split(",")]
    if not all(names):
        raise VoxlateError(
            f"--to {','.join(items)!r}: an empty name; expected languages separated by commas, such as de,fr"
        )
    return list(dict.fromkeys(find_language(name).code for name in names))
