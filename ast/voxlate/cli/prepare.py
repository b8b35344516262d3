"""The commands ``voxlate prepare …``: parse, import the one command, call it."""

import inspect
import os
from collections.abc import Callable
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer
from typer.core import TyperGroup

from voxlate.corpora import CORPORA, MAKERS
from voxlate.registry import resolve


class _Corpora(TyperGroup):
    """The commands below, and one for each corpus that somebody adds to the table."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [*(known := super().list_commands(ctx)), *sorted(CORPORA.keys() - set(known))]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        found = super().get_command(ctx, cmd_name)
        return found if found is not None or cmd_name not in CORPORA else _command_of(cmd_name)


app = typer.Typer(
    cls=_Corpora,
    help="Prepare manifests from corpora and tables. They are checked, and everything left out is counted.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Output = Annotated[Path, typer.Option(help="Folder for the manifests; rerun the same command to resume.")]
Transcode = Annotated[
    str | None, typer.Option(help="flac: copy each clip as 16 kHz FLAC, which is several times faster to read.")
]
Workers = Annotated[
    int | None, typer.Option(min=1, help="Number of processes that read clips. [default: one per core]")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Redo what is already in --output.")]


@app.command()
def covost2(
    common_voice: Annotated[
        Path, typer.Option(help="Folder with Common Voice in the source languages, as folders or archives (.tar.gz).")
    ],
    covost: Annotated[Path, typer.Option(help="Folder of CoVoST-2's covost_v2.SOURCE_TARGET.tsv files.")],
    pairs: Annotated[
        list[str], typer.Option(help="Directions, separated by commas: fr-en, en-de, …, x-en, en-x or all.")
    ],
    output: Output,
    transcode: Transcode = None,
    workers: Workers = None,
    overwrite: Overwrite = False,
) -> None:
    """CoVoST-2 from its translations and Common Voice. Splits follow the official rule."""
    _run(
        "covost2",
        output,
        transcode,
        workers,
        overwrite,
        common_voice=common_voice,
        covost=covost,
        pairs=tuple(pairs),
    )


@app.command()
def manifest(
    table: Annotated[
        Path,
        typer.Argument(metavar="TABLE", help="Table with the columns id and audio, and other columns of a manifest."),
    ],
    output: Annotated[Path, typer.Option(help="A .jsonl or .parquet file, or a folder for train, dev and test.")],
    split_by: Annotated[
        str | None,
        typer.Option(
            help="How to divide into train, dev and test: random, speaker (no speaker in two splits) or column (the "
            "table's split column). [default: column if --output is a folder]"
        ),
    ] = None,
    dev: Annotated[float, typer.Option(help="Share of rows for dev.")] = 0.05,
    test: Annotated[float, typer.Option(help="Share of rows for test.")] = 0.05,
    seed: Annotated[int, typer.Option(help="Random seed of the split.")] = 1,
    source_language: Annotated[str | None, typer.Option(help="Source language of rows that do not state it.")] = None,
    target_language: Annotated[str | None, typer.Option(help="Target language of rows that do not state it.")] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option(
            help="Columns in which to accept what training refuses: audio (missing files), source_language, "
            "target_language, target_text (missing or empty), split (any name); separated by commas."
        ),
    ] = None,
    transcode: Transcode = None,
    workers: Workers = None,
) -> None:
    """Your own table (jsonl, tsv, csv, parquet). It is checked, measured and optionally split."""
    allowed = tuple(name.strip() for names in allow or () for name in names.split(",") if name.strip())
    options = {"split_by": split_by, "dev": dev, "test": test, "seed": seed, "allow": allowed}
    languages = {"source_language": source_language, "target_language": target_language}
    _run("manifest", output, transcode, workers, False, table=table, **options, **languages)


@app.command()
def parquet(
    sources: Annotated[
        list[Path],
        typer.Argument(metavar="FOLDER|FILES", help="Parquet files that hold the clips, or folders of them."),
    ],
    pair: Annotated[str, typer.Option(help="Direction, such as fr-en.")],
    output: Output,
    split: Annotated[
        str | None,
        typer.Option(
            help="Prepare only this split (train, dev or test), which also names the split of files that do not."
        ),
    ] = None,
    transcode: Transcode = None,
    workers: Workers = None,
    overwrite: Overwrite = False,
) -> None:
    """Parquet mirrors of CoVoST-2. Columns: audio, sentence, translation; optionally client_id, id, file."""
    _run("parquet", output, transcode, workers, overwrite, sources=tuple(sources), pair=pair, split=split)


@app.command()
def spoken(
    text: Annotated[
        Path,
        typer.Argument(
            metavar="TEXT", help="Table with a column for each language; optionally id, split and source_language."
        ),
    ],
    pairs: Annotated[
        list[str],
        typer.Option(help="Directions, separated by commas: fr-en, en-de, …; the first language is read aloud."),
    ],
    output: Annotated[
        Path, typer.Option(help="Folder for common_voice/ and covost/; rerun the same command to resume.")
    ],
    voices: Annotated[
        list[str] | None,
        typer.Option(help="espeak-ng voices, such as en-us,fr-be. [default: the standard one of each language]"),
    ] = None,
    variants: Annotated[
        list[str] | None, typer.Option(help="espeak-ng variants, one per speaker, such as f1,m3. [default: 64 of them]")
    ] = None,
    speed: Annotated[
        str, typer.Option(metavar="LOW:HIGH", help="Range of speech rates in words per minute, within 80 to 450.")
    ] = "130:200",
    pitch: Annotated[str, typer.Option(metavar="LOW:HIGH", help="Range of pitches, within 0 to 99.")] = "30:70",
    silence: Annotated[
        str, typer.Option(metavar="LOW:HIGH", help="Range of seconds of silence before and after the speech.")
    ] = "0.05:0.6",
    snr: Annotated[str, typer.Option(metavar="LOW:HIGH", help="Range of signal-to-noise ratios in dB.")] = "15:45",
    babble: Annotated[
        float, typer.Option(min=0, max=1, help="Share of clips with background voices instead of noise.")
    ] = 0.0,
    volume: Annotated[str, typer.Option(metavar="LOW:HIGH", help="Range of peak levels in dBFS.")] = "-24:-3",
    dev: Annotated[int, typer.Option(min=0, help="Number of rows for dev, if the table has no split column.")] = 0,
    test: Annotated[int, typer.Option(min=0, help="Number of rows for test, if the table has no split column.")] = 0,
    seed: Annotated[int, typer.Option(help="Random seed of voices and noise.")] = 1,
    workers: Workers = None,
    overwrite: Overwrite = False,
) -> None:
    """Synthetic speech from a parallel text. espeak-ng reads it aloud; `prepare covost2` reads the result."""
    spans = {"speed": speed, "pitch": pitch, "silence": silence, "snr": snr, "volume": volume}
    names = {"pairs": tuple(pairs), "voices": tuple(voices or ()), "variants": tuple(variants or ())}
    _run(
        "spoken",
        output,
        None,
        workers,
        overwrite,
        text=text,
        spans=spans,
        babble=babble,
        seed=seed,
        dev=dev,
        test=test,
        **names,
    )


@app.command()
def vocabulary(
    manifests: Annotated[list[Path], typer.Argument(metavar="MANIFEST...", help="Training manifests.")],
    output: Annotated[Path, typer.Option(help="File to write, such as sentencepiece.bpe.model.")],
    size: Annotated[int, typer.Option(min=10, help="Number of pieces.")] = 8000,
) -> None:
    """A SentencePiece vocabulary from target texts. For models without pretrained parts (model.scratch)."""
    from voxlate.corpora.vocabulary import make_vocabulary

    print(f"{output}: {make_vocabulary(manifests, output, size):,} pieces")


@app.command()
def shortlist(
    texts: Annotated[
        list[Path],
        typer.Argument(
            metavar="TEXT...", help="Text files (.txt) with one sentence per line, or manifests with target_text."
        ),
    ],
    language: Annotated[str, typer.Option(help="Language of the text: code, ISO 639-3 code or English name.")],
    model: Annotated[Path, typer.Option(help="Model folder, or its vocabulary file.")],
    output: Annotated[
        Path | None, typer.Option(help="File to write. [default: shortlists/LANGUAGE.json in the model folder]")
    ] = None,
) -> None:
    """The vocabulary that a target language uses. --shortlist limits the search to it."""
    from voxlate.checkpoints.shortlist import prepare_shortlist
    from voxlate.languages import find_language

    print(prepare_shortlist(texts, find_language(language).code, model, output))


def _command_of(corpus: str) -> Any:
    """Return the command of a corpus that has none here: its options are the fields of its Preparation."""
    prepare, kind = _resolved(corpus)
    shared = {"output": Output, "transcode": Transcode, "workers": Workers, "overwrite": Overwrite}

    def command(**options: Any) -> None:
        own: dict[str, Any] = {name: tuple(own) if isinstance(own, list) else own for name, own in options.items()}
        _run(corpus, **own)

    hints = {field.name: shared.get(field.name) or _option(field, kind) for field in fields(kind)}
    command.__doc__, command.__annotations__ = inspect.getdoc(prepare), hints
    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(
                field.name, inspect.Parameter.KEYWORD_ONLY, default=_default(field), annotation=hints[field.name]
            )
            for field in fields(kind)
        ]
    )
    single = typer.Typer(rich_markup_mode=None, add_completion=False)
    single.command(corpus)(command)
    return typer.main.get_command(single)


def _resolved(corpus: str) -> tuple[Callable[[Any], int], Any]:
    """Return the function that prepares a corpus, and the kind of Preparation that it takes."""
    prepare = resolve({**CORPORA, **MAKERS}, corpus, "corpus")
    [kind] = [hint for name, hint in get_type_hints(prepare).items() if name != "return"]
    return prepare, kind


def _option(field: Field[Any], kind: Any) -> Any:
    hint = get_type_hints(kind)[field.name]
    if get_origin(hint) is tuple:
        hint = list[get_args(hint)[0]]  # type: ignore[misc]
    return Annotated[hint, typer.Option(help=field.metadata.get("help"))]


def _default(field: Field[Any]) -> Any:
    if field.name in ("transcode", "workers"):
        return None
    return ... if field.default is MISSING else field.default


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _run(
    corpus: str,
    output: Path,
    transcode: str | None,
    workers: int | None,
    overwrite: bool,
    **options: Any,
) -> None:
    from voxlate.errors import VoxlateError

    if transcode not in (None, "flac"):
        raise VoxlateError(f"--transcode {transcode}: expected flac")
    try:
        prepare, kind = _resolved(corpus)
        code = prepare(
            kind(
                output=output,
                transcode=transcode == "flac",
                workers=workers or _cores(),
                overwrite=overwrite,
                **options,
            )
        )
    except KeyboardInterrupt:  # while libraries were loaded; from then on the command itself answers
        code = 130
    raise typer.Exit(code)
