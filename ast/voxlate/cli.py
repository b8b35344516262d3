"""The command line: parse, import the one command, call it."""

import logging
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from voxlate import __version__, cli_evaluate, cli_identify, cli_prepare
from voxlate.errors import VoxlateError, is_out_of_memory, memory_advice
from voxlate.pages import ask_for_huge_pages

LengthPenalty = Annotated[
    float | None, typer.Option(help="Exponent of the length that divides scores. [default: the model's, else 1]")
]
MaxLength = Annotated[
    int | None, typer.Option(help="Most tokens of a segment's translation. [default: the model's, else 200]")
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
            print(f"error: {error.strerror}: {error.filename or 'standard output'}", file=sys.stderr)
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
    audio: Annotated[
        list[str],
        typer.Argument(metavar="AUDIO", help="Audio or video files, folders, globs, or - for standard input."),
    ],
    to: Annotated[list[str], typer.Option(help="Target language, or several with commas: code, ISO 639-3 or name.")],
    source: Annotated[
        str | None, typer.Option("--from", help="Source language, which the model hears for itself; auto tells it.")
    ] = None,
    identifier: Annotated[str | None, typer.Option(help="Of auto: a language identifier, folder or Hub id.")] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Folder, Hub id or id@revision. [default: the published checkpoint of the direction]"),
    ] = None,
    formats: Annotated[
        list[str] | None,
        typer.Option("--format", help="txt, tsv, json, srt, vtt; several with commas. [default: txt]"),
    ] = None,
    output_dir: Annotated[
        Path | None, typer.Option(help="Write AUDIO.LANGUAGE.FORMAT files here, in the inputs' folders.")
    ] = None,
    beam: Annotated[int | None, typer.Option(help="Beam size; 1 is greedy. [default: the model's, else 5]")] = None,
    n_best: Annotated[int, typer.Option(help="Hypotheses per segment, in json and tsv.")] = 1,
    length_penalty: LengthPenalty = None,
    max_length: MaxLength = None,
    max_repeats: Annotated[
        int, typer.Option(help="Most times in a row that a phrase may occur; 0 for no limit, as in benchmarks.")
    ] = 4,
    mbr: Annotated[bool, typer.Option("--mbr", help="Of the beam, take what agrees most with the rest.")] = False,
    batch_size: Annotated[int | None, typer.Option(help="Segments searched at once. [default: 64, GPU 256]")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, …")] = "auto",
    dtype: Annotated[str, typer.Option(help="auto, float32, bfloat16, float16, int8.")] = "auto",
    shortlist: Annotated[bool, typer.Option("--shortlist", help="Search what `prepare shortlist` found.")] = False,
    slot: Annotated[
        list[str] | None,
        typer.Option(help="Token of a target language in this model: lv=250016 or lv=lv_LV."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Redo results that --output-dir has.")] = False,
    audio_track: cli_identify.AudioTrackOption = None,
) -> None:
    """Translate audio into text of another language. Results go to standard output or into --output-dir."""
    from voxlate.languages import parse_slot

    languages = _parse_languages(to)
    if not all(audio) or model == "":
        raise VoxlateError("an empty name; is a variable of your shell not set?")
    names = _parse_formats(formats or ["txt"], n_best)
    try:
        from voxlate.decoding.command import TranslateCommand
        from voxlate.decoding.command import translate as run
        from voxlate.decoding.options import SearchOptions

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
            slots=dict(parse_slot(item) for item in slot or []),
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
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="YAML file of settings; see recipes/.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Settings to change: optimizer.lr=1e-4 …")
    ] = None,
    add_language: Annotated[
        list[str] | None, typer.Option(help="Target language that the model lacks; its token becomes a new one.")
    ] = None,
    init_from: Annotated[
        list[str] | None, typer.Option(help="Language of the model whose token the new one begins as a copy of.")
    ] = None,
) -> None:
    """Train a model; rerun the same command to resume an interrupted run. Several processes: accelerate launch."""
    from voxlate.training.command import run

    raise typer.Exit(run(config, overrides or [], add_language or [], init_from or []))


@app.command()
def average(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="Folder that voxlate train wrote.")],
    last: Annotated[
        int | None, typer.Option(help="Number of scheduled checkpoints. [default: checkpoints.keep_last of the run]")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Folder of the model. [default: RUN/averaged]")] = None,
    around_best: Annotated[
        bool, typer.Option("--around-best", help="Average those nearest to the best one instead of the last ones.")
    ] = False,
) -> None:
    """Average the weights of a run's last scheduled checkpoints into one model."""
    from voxlate.training.average import run

    raise typer.Exit(run(run_folder, last, output or run_folder / "averaged", around_best))


@app.command()
def transcribe(
    audio: Annotated[
        list[str],
        typer.Argument(metavar="AUDIO", help="Audio or video files, folders, globs, or - for standard input."),
    ],
    model: Annotated[str, typer.Option(help="Folder, Hub id or id@revision: one with a CTC head.")],
    language: Annotated[
        str | None, typer.Option(help="Spoken language. Only noted, and part of the files' names.")
    ] = None,
    formats: Annotated[
        list[str] | None,
        typer.Option("--format", help="txt, tsv, json (with words), srt, vtt; several with commas. [default: txt]"),
    ] = None,
    output_dir: Annotated[
        Path | None, typer.Option(help="Write AUDIO.LANGUAGE.FORMAT files here, in the inputs' folders.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, …")] = "auto",
    dtype: Annotated[str, typer.Option(help="auto, float32, bfloat16, float16.")] = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Redo results that --output-dir has.")] = False,
    audio_track: cli_identify.AudioTrackOption = None,
) -> None:
    """Write down what is said, with the times of words, by a model with a CTC head."""
    names = _parse_formats(formats or ["txt"])
    try:
        from voxlate.decoding.command import TranscribeCommand
        from voxlate.decoding.command import transcribe as run

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
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Folder, Hub id, id@revision, or a .pt of fairseq.")],
    output: Annotated[Path, typer.Option(help="A new folder.")],
    trim_to: Annotated[
        list[str] | None, typer.Option(help="Target languages to keep, with commas; their shortlists are there.")
    ] = None,
    vocabulary: Annotated[Path | None, typer.Option(help="Of a .pt: mBART-50's sentencepiece.bpe.model.")] = None,
) -> None:
    """Write a model anew: one of fairseq as transformers has it, or one without what some languages do not use."""
    from voxlate.convert import convert

    languages = [language for item in trim_to or [] for language in item.split(",")]
    print(convert(model, output, languages, vocabulary))


cli_evaluate.add_commands(app)
cli_identify.add_commands(app)


@app.command()
def doctor() -> None:
    """Report packages, device, precision and the audio decoder."""
    from voxlate.doctor import run

    raise typer.Exit(run())


def _parse_formats(items: list[str], n_best: int = 1) -> list[str]:
    from voxlate.decoding.writers import WRITERS

    names = list(dict.fromkeys(name.strip().lower() for item in items for name in item.split(",")))
    unknown = [repr(name) for name in names if name not in WRITERS]
    if unknown:
        raise VoxlateError(f"unknown format {', '.join(unknown)}; expected {', '.join(WRITERS)}")
    if n_best > 1 and not {"json", "tsv"} & set(names):
        raise VoxlateError(f"--n-best {n_best} needs --format json or tsv; {', '.join(names)} has the best one only")
    return names


def _parse_languages(items: list[str]) -> list[str]:
    from voxlate.languages import find_language

    names = [name.strip() for item in items for name in item.split(",")]
    if not all(names):
        raise VoxlateError(f"--to {','.join(items)!r}: an empty name; expected languages, several with commas: de,fr")
    return list(dict.fromkeys(find_language(name).code for name in names))
