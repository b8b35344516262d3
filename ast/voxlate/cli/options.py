"""Options that several commands share, and the conversion of their values to arguments of functions."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_type_hints

import typer

from voxlate.errors import VoxlateError

# The panels in which the help lists options.
input_option = partial(typer.Option, rich_help_panel="Input")
model_option = partial(typer.Option, rich_help_panel="Model")
search_option = partial(typer.Option, rich_help_panel="Search")
segmentation_option = partial(typer.Option, rich_help_panel="Segmentation")
output_option = partial(typer.Option, rich_help_panel="Output")
scoring_option = partial(typer.Option, rich_help_panel="Scoring")
NAMES = "NAME[,NAME]..."

Audio = Annotated[
    list[str],
    typer.Argument(metavar="AUDIO", help="Audio or video files, folders, glob patterns, or - for standard input."),
]
AudioTrack = Annotated[
    str | None,
    input_option(
        metavar="N|LANGUAGE",
        help="Audio track to use, by its number (from 1) or language. [default: the file's default track]",
    ),
]
Model = Annotated[
    str,
    model_option(
        "--model", metavar="MODEL", help="Model folder, Hub id, id@revision, or short name (`voxlate models`)."
    ),
]
Device = Annotated[str, model_option(metavar="DEVICE", help="Device to run on: auto, cpu, cuda, cuda:1, mps, xpu.")]
DType = Annotated[str, model_option(metavar="DTYPE", help="Precision: auto, float32, bfloat16 or float16.")]
DTypeOrInt8 = Annotated[
    str,
    model_option(metavar="DTYPE", help="Precision: auto, float32, bfloat16, float16 or int8."),
]
LanguageTokens = Annotated[
    list[str] | None,
    model_option(
        "--language-token",
        metavar="LANG=TOKEN",
        help="Token that the model uses for a target language: lv=250016 or lv=lv_LV. Can be repeated.",
    ),
]
NumWorkers = Annotated[
    int | None,
    input_option(
        "--num-workers",
        min=0,
        metavar="N",
        help="Number of processes that decode audio and detect speech; 0 for a thread instead. [default: as many as "
        "the model would wait for, up to one for each core but one, from three cores on]",
    ),
]
Ray = Annotated[
    str | None,
    model_option(
        metavar="[ADDRESS]",
        help="Run on Ray: alone, on all GPUs or cores of this machine; with auto, ray://HOST:PORT or HOST:PORT, on the "
        "cluster there.",
    ),
]
BatchSize = Annotated[
    int | None,
    search_option(metavar="N", help="Number of segments to translate together. [default: 64; 256 on a GPU]"),
]
BeamSize = Annotated[
    int | None,
    search_option(metavar="N", help="Beam size; 1 is greedy search. [default: the model's, else 5]"),
]
LengthPenalty = Annotated[
    float | None,
    search_option(
        metavar="X",
        help="Exponent of the length by which scores are divided; higher favors longer text. "
        "[default: the model's, else 1]",
    ),
]
MaxLength = Annotated[
    int | None,
    search_option(metavar="N", help="Maximum number of tokens per segment. [default: the model's, else 200]"),
]
MaxRepeats = Annotated[
    int,
    search_option(
        min=0,
        metavar="N",
        help="Maximum number of consecutive repetitions of a phrase; 0 for no limit, as in benchmarks.",
    ),
]
Mbr = Annotated[bool, search_option("--mbr", help="Rerank the beam by minimum Bayes risk (chrF).")]
Shortlist = Annotated[
    bool,
    search_option("--shortlist", help="Restrict the search to the vocabulary selected by `voxlate prepare shortlist`."),
]
Segmentation = Annotated[
    str,
    segmentation_option(
        metavar="auto|none|SECONDS",
        help="Segments of a recording: like the clips that the model was trained on, the whole input, or at most so "
        "many seconds long (1 to 3600).",
    ),
]
Vad = Annotated[
    bool,
    segmentation_option("--vad/--no-vad", help="Detect speech, and leave out music, noise and silence."),
]
VadThreshold = Annotated[
    float, segmentation_option(metavar="P", help="Probability from which a sound counts as speech: over 0 and under 1.")
]
MinPause = Annotated[
    float,
    segmentation_option(
        metavar="SECONDS", help="Minimum length of a pause at which speech is cut if possible: 0 to 10."
    ),
]
CoverageCheck = Annotated[
    bool,
    segmentation_option(
        "--coverage-check/--no-coverage-check",
        help="Check each translation against what was spoken: cut segments again in which speech seems to be missing, "
        "and warn of those that stay suspicious.",
    ),
]
Formats = Annotated[
    list[str] | None,
    output_option(
        "--format",
        "-f",
        metavar=NAMES,
        help="Output formats, separated by commas: txt, tsv, json, srt, vtt, ass. [default: txt]",
    ),
]
WordTimestamps = Annotated[
    bool,
    output_option(
        "--word-timestamps", help="Write the start and end of each word (json only; subtitles always use them)."
    ),
]
OutputDir = Annotated[
    Path | None,
    output_option(
        "--output-dir",
        "-o",
        metavar="FOLDER",
        help="Folder for files named AUDIO.LANGUAGE.FORMAT, in subfolders like those of the inputs. "
        "[default: standard output]",
    ),
]
Overwrite = Annotated[
    bool,
    output_option("--overwrite", help="Redo results that already exist in the output folder."),
]
MaxLineWidth = Annotated[
    int | None,
    output_option(
        metavar="N",
        help="Maximum number of characters in a line of subtitles: 4 to 1000. [default: the language's: 42; 16 "
        "full-width ones in Chinese, Japanese and Korean]",
    ),
]
MaxLineCount = Annotated[int, output_option(metavar="N", help="Maximum number of lines in a subtitle: 1 to 20.")]
MaxCueSeconds = Annotated[
    float, output_option(metavar="X", help="Maximum number of seconds that a subtitle is shown: 1 to 60.")
]
OutputFolder = Annotated[
    Path,
    output_option("--output", "-o", metavar="FOLDER", help="Folder for the results; rerun the same command to resume."),
]
ResultsFile = Annotated[
    Path | None,
    output_option("--output", "-o", metavar="FILE", help="JSON file for all results."),
]
Metrics = Annotated[
    str,
    scoring_option(
        metavar=NAMES, help="Metrics, separated by commas: bleu, chrf, chrf++, ter, wer, cer, comet, xcomet, metricx."
    ),
]
References = Annotated[
    Path,
    typer.Option(
        metavar="FILE", help="References: a manifest with target_text, or plain text with one line per hypothesis."
    ),
]
TargetLanguage = Annotated[
    str | None, typer.Option(metavar="LANGUAGE", help="Target language, if the references do not state it.")
]
Tokenize = Annotated[
    str | None,
    scoring_option(
        metavar="NAME", help="Tokenizer for BLEU: 13a, 13a+char, zh, ja-mecab, char, … [default: the language's]"
    ),
]
Transcripts = Annotated[
    bool,
    scoring_option("--transcripts", help="Score transcripts against source_text."),
]
Resegment = Annotated[
    bool,
    scoring_option(
        "--resegment", help="Divide hypotheses, the translation of one recording, among references, its sentences."
    ),
]
SeenIn = Annotated[
    list[Path] | None,
    scoring_option(
        metavar="MANIFEST", help="Training manifest: also score seen and unseen speakers separately. Can be repeated."
    ),
]
Seed = Annotated[int, scoring_option(metavar="N", help="Random seed of the bootstrap.")]

Request = TypeVar("Request")


def request(kind: type[Request], options: Mapping[str, Any]) -> Request:
    """Create a dataclass from the options with the names of its fields.

    A field that is itself a dataclass is filled from the same options. Fields without an option keep their defaults.
    """
    values = {}
    hints = get_type_hints(kind)
    for field in fields(kind):  # type: ignore[arg-type]
        if field.name in options:
            values[field.name] = options[field.name]
        elif is_dataclass(hints[field.name]):
            values[field.name] = request(hints[field.name], options)
    return kind(**values)


def split_names(text: str) -> tuple[str, ...]:
    """Split a comma-separated list of names."""
    return tuple(name for name in map(str.strip, text.split(",")) if name)


@contextmanager
def scorer_errors() -> Iterator[None]:
    """Convert EvaluationErrors of voxlate_eval to VoxlateErrors, so that the command line reports both the same way.

    voxlate_eval does not import voxlate, and therefore has a separate error class.
    """
    from voxlate_eval import EvaluationError

    try:
        yield
    except EvaluationError as error:
        raise VoxlateError(str(error)) from None


def parse_formats(
    items: Sequence[str] | None, n_best: int = 1, *, word_timestamps: bool = False, bilingual: bool = False
) -> list[str]:
    """Return the names of output formats, each once; txt by default.

    VoxlateError if one is unknown, or if none can hold what the other options ask for.
    """
    from voxlate.decoding.subtitle_formats import SUBTITLE_WRITERS
    from voxlate.decoding.writers import WRITERS

    names = list(dict.fromkeys(name.strip().lower() for item in items or ["txt"] for name in item.split(",")))
    unknown = [repr(name) for name in names if name not in WRITERS]
    if unknown:
        raise VoxlateError(f"unknown format {', '.join(unknown)}; expected {', '.join(WRITERS)}")
    subtitles = tuple(SUBTITLE_WRITERS)
    for asked, option, able in (
        (n_best > 1, f"--n-best {n_best}", ("json", "tsv")),
        (word_timestamps, "--word-timestamps", ("json", *subtitles)),
        (bilingual, "--bilingual", ("json", *subtitles)),
    ):
        if asked and not {*able} & {*names}:
            raise VoxlateError(
                f"{option} needs --format {', '.join(able[:-1])} or {able[-1]}; {', '.join(names)} cannot hold it"
            )
    return names


def parse_segmentation(text: str) -> str | float:
    """Return "auto", "none" or a number of seconds. VoxlateError if it is neither."""
    if text in ("auto", "none"):
        return text
    try:
        return float(text)
    except ValueError:
        raise VoxlateError(f"--segmentation {text}: expected auto, none, or a number of seconds such as 20") from None


def parse_language_tokens(items: Sequence[str] | None) -> dict[str, int | str]:
    """Parse items such as lv=250016 (an id) or lv=lv_LV (a tag); return the token of each language.

    VoxlateError if an item has another form, or a language is unknown.
    """
    from voxlate.languages import find_language

    tokens: dict[str, int | str] = {}
    for item in items or ():
        language, _, token = item.partition("=")
        if not token:
            raise VoxlateError(f"--language-token {item}: expected LANGUAGE=TOKEN, such as lv=250016 or lv=lv_LV")
        tokens[find_language(language).code] = int(token) if token.isascii() and token.isdecimal() else token
    return tokens
