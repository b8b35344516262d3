"""The command line: parse, import the one command, call it."""

import logging
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from voxlate import __version__
from voxlate.cli import evaluate as cli_evaluate
from voxlate.cli import identify as cli_identify
from voxlate.cli import prepare as cli_prepare
from voxlate.errors import VoxlateError, is_out_of_memory, memory_advice
from voxlate.models.cpu.malloc import ask_for_huge_pages

AudioInputs = Annotated[
    list[str], typer.Argument(metavar="AUDIO", help="Audio or video files, folders, globs, or - for standard input.")
]
OutputDir = Annotated[
    Path | None,
    typer.Option(help="Write files AUDIO.LANGUAGE.FORMAT into this folder, in subfolders like those of the inputs."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Redo results that are already in --output-dir.")]
Device = Annotated[str, typer.Option(help="Device to run on: auto, cpu, cuda, cuda:1, …")]
SourceLanguage = Annotated[
    str | None,
    typer.Option(
        "--from", help="Source language, used only to choose the default model; auto identifies it for each input."
    ),
]
Slots = Annotated[
    list[str] | None,
    typer.Option(help="Token that stands for a target language in this model: lv=250016 or lv=lv_LV."),
]
LengthPenalty = Annotated[
    float | None,
    typer.Option(
        help="Scores are divided by length to this power; higher favors longer text. [default: the model's, else 1]"
    ),
]
MaxLength = Annotated[
    int | None, typer.Option(help="Maximum number of tokens per segment. [default: the model's, else 200]")
]

app = typer.Typer(
    name="voxlate",
    help="Translate speech to text with XLS-R encoders and mBART decoders.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(cli_prepare.app, name="prepare")


def main() -> None:
    """Run the command line. Exit code 0: all done, 1: some inputs failed, 2: the command was wrong."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    ask_for_huge_pages()
    try:
        app()
    except VoxlateError as error:
        process = os.environ.get("RANK", "0")  # one of several that accelerate launch or torchrun started
        print(f"error{'' if process == '0' else f' (process {process})'}: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:  # the reader of a pipe has left; what remains has nowhere to go
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (MemoryError, OSError, ImportError, RuntimeError) as error:
        if is_out_of_memory(error):
            print(f"error: {memory_advice()}", file=sys.stderr, flush=True)
            os._exit(2)  # libraries that lack memory crash when they are put away
        elif isinstance(error, OSError):
            print(f"error: {error.strerror}: {error.filename2 or error.filename or 'standard output'}", file=sys.stderr)
        else:
            raise
        sys.exit(2)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"voxlate {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    pass


@app.command()
def translate(
    audio: AudioInputs,
    to: Annotated[
        list[str], typer.Option(help="Target language(s), separated by commas: code, ISO 639-3 code or English name.")
    ],
    source: SourceLanguage = None,
    identifier: Annotated[
        str | None, typer.Option(help="Language identifier for --from auto: folder or Hub id.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Model folder, Hub id or id@revision. [default: the published checkpoint for the direction]"),
    ] = None,
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format", help="Output format(s), separated by commas: txt, tsv, json, srt, vtt. [default: txt]"
        ),
    ] = None,
    output_dir: OutputDir = None,
    beam: Annotated[int | None, typer.Option(help="Beam size; 1 is greedy. [default: the model's, else 5]")] = None,
    n_best: Annotated[int, typer.Option(help="Number of hypotheses per segment to write (json and tsv only).")] = 1,
    length_penalty: LengthPenalty = None,
    max_length: MaxLength = None,
    max_repeats: Annotated[
        int,
        typer.Option(
            min=0, help="Maximum number of times a phrase may occur in a row; 0 for no limit, as in benchmarks."
        ),
    ] = 4,
    mbr: Annotated[bool, typer.Option("--mbr", help="Rerank the beam by minimum Bayes risk (chrF).")] = False,
    batch_size: Annotated[
        int | None, typer.Option(help="Number of segments searched at once. [default: 64; 256 on a GPU]")
    ] = None,
    device: Device = "auto",
    dtype: Annotated[str, typer.Option(help="Precision: auto, float32, bfloat16, float16, int8.")] = "auto",
    shortlist: Annotated[
        bool, typer.Option("--shortlist", help="Search only the vocabulary listed by `voxlate prepare shortlist`.")
    ] = False,
    slot: Slots = None,
    overwrite: Overwrite = False,
    audio_track: cli_identify.AudioTrackOption = None,
) -> None:
    """Translate speech into text in another language. Results go to standard output or into --output-dir."""
    from voxlate.languages import parse_slot

    languages = _parse_languages(to)
    if not all(audio) or model == "":
        raise VoxlateError("an input or --model is an empty string; is a shell variable unset?")
    names = _parse_formats(formats or ["txt"], n_best)
    try:
        from voxlate.decoding.commands import TranslateCommand
        from voxlate.decoding.commands import translate as run
        from voxlate.search_options import SearchOptions

        guard = max_repeats or None
        search = SearchOptions(beam, length_penalty, max_length, n_best=n_best, max_repeats=guard, mbr=mbr)
        command = TranslateCommand(
            audio=audio,
            to=languages,
            source=source,
            model=model,
            formats=names,
            output_dir=output_dir,
            search=search,
            device=device,
            dtype=dtype,
            batch_size=batch_size,
            language_tokens=dict(parse_slot(item) for item in slot or []),
            shortlist=shortlist,
            identifier=identifier,
            overwrite=overwrite,
            audio_track=audio_track,
        )
        code = run(command)
    except KeyboardInterrupt:  # while libraries were loaded; from then on the command itself answers
        print("interrupted", file=sys.stderr)
        code = 130
    raise typer.Exit(code)


@app.command()
def train(
    config: Annotated[
        Path, typer.Argument(metavar="CONFIG", help="YAML file with the settings; see recipes/ for examples.")
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Settings that override the file, such as optimizer.lr=1e-4."),
    ] = None,
    add_language: Annotated[
        list[str] | None, typer.Option(help="Target language to add to the model, with a new token.")
    ] = None,
    init_from: Annotated[
        list[str] | None, typer.Option(help="Language whose token embedding initializes the new one.")
    ] = None,
) -> None:
    """Train a model, or resume an interrupted run. Rerun the same command to resume.

    For several GPUs or machines: accelerate launch -m voxlate train …
    """
    from voxlate.training.launch import run

    raise typer.Exit(run(config, overrides or [], add_language or [], init_from or []))


@app.command()
def average(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder written by `voxlate train`.")],
    last: Annotated[
        int | None,
        typer.Option(help="Number of scheduled checkpoints to average. [default: checkpoints.keep_last of the run]"),
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Folder for the averaged model. [default: RUN/averaged]")] = None,
    around_best: Annotated[
        bool,
        typer.Option("--around-best", help="Average the checkpoints nearest to the best one instead of the last ones."),
    ] = False,
) -> None:
    """Average the last checkpoints of a run into one model. Only scheduled checkpoints count."""
    from voxlate.training.averaging import run

    raise typer.Exit(run(run_folder, last, output or run_folder / "averaged", around_best))


@app.command()
def transcribe(
    audio: AudioInputs,
    model: Annotated[str, typer.Option(help="Model with a CTC head: folder, Hub id or id@revision.")],
    language: Annotated[
        str | None, typer.Option(help="Spoken language: names the files, and says how words are joined.")
    ] = None,
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            help="Output format(s), separated by commas: txt, tsv, json (with words), srt, vtt. [default: txt]",
        ),
    ] = None,
    output_dir: OutputDir = None,
    device: Device = "auto",
    dtype: Annotated[str, typer.Option(help="Precision: auto, float32, bfloat16, float16.")] = "auto",
    overwrite: Overwrite = False,
    audio_track: cli_identify.AudioTrackOption = None,
) -> None:
    """Transcribe speech with a model that has a CTC head. json has the times of the words."""
    names = _parse_formats(formats or ["txt"])
    try:
        from voxlate.decoding.commands import TranscribeCommand
        from voxlate.decoding.commands import transcribe as run

        code = run(
            TranscribeCommand(
                audio, names, output_dir, overwrite, model, language, device, dtype, audio_track=audio_track
            )
        )
    except KeyboardInterrupt:  # while libraries were loaded; from then on the command itself answers
        print("interrupted", file=sys.stderr)
        code = 130
    raise typer.Exit(code)


@app.command()
def convert(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="Model folder, Hub id, id@revision, or a fairseq checkpoint (.pt).")
    ],
    output: Annotated[Path, typer.Option(help="Folder to write, which must not exist yet.")],
    trim_to: Annotated[
        list[str] | None,
        typer.Option(
            help="Keep only the vocabulary of these target languages, which need shortlists; separated by commas."
        ),
    ] = None,
    vocabulary: Annotated[
        Path | None, typer.Option(help="mBART-50's sentencepiece.bpe.model, for a fairseq checkpoint.")
    ] = None,
) -> None:
    """Convert a model, or trim its vocabulary. Fairseq checkpoints and .bin files become safetensors folders."""
    from voxlate.checkpoints.convert import convert

    languages = [language for item in trim_to or [] for language in item.split(",")]
    print(convert(model, output, languages, vocabulary))


cli_evaluate.add_commands(app)
cli_identify.add_commands(app)


@app.command()
def doctor() -> None:
    """Show packages, device and precision; check the decoder."""
    from voxlate.doctor import run

    raise typer.Exit(run())


def _parse_formats(items: list[str], n_best: int = 1) -> list[str]:
    from voxlate.decoding.writers import WRITERS

    names = list(dict.fromkeys(name.strip().lower() for item in items for name in item.split(",")))
    unknown = [repr(name) for name in names if name not in WRITERS]
    if unknown:
        raise VoxlateError(f"unknown format {', '.join(unknown)}; expected {', '.join(WRITERS)}")
    if n_best > 1 and not {"json", "tsv"} & set(names):
        raise VoxlateError(
            f"--n-best {n_best} needs --format json or tsv; {', '.join(names)} can hold only the best one"
        )
    return names


def _parse_languages(items: list[str]) -> list[str]:
    from voxlate.languages import find_language

    names = [name.strip() for item in items for name in item.split(",")]
    if not all(names):
        raise VoxlateError(
            f"--to {','.join(items)!r}: an empty name; expected languages separated by commas, such as de,fr"
        )
    return list(dict.fromkeys(find_language(name).code for name in names))
