"""The commands ``voxlate prepare …``: one per corpus, and two for files that training and search use."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from voxlate.cli.command import Command, example
from voxlate.cli.corpus_commands import CorpusGroup, Output, Overwrite, Transcode, Workers, prepare_corpus
from voxlate.cli.options import input_option, output_option
from voxlate.processes import core_count

EXAMPLE = "voxlate prepare covost2 --common-voice cv-corpus --covost covost2 --pairs fr-en -o data"

speech_option = partial(typer.Option, rich_help_panel="Speech")
splits_option = partial(typer.Option, rich_help_panel="Splits")
_RANGE = "LOW:HIGH"

app = typer.Typer(
    cls=CorpusGroup,
    help="Prepare manifests from corpora and tables. Clips and rows are checked, and omissions counted by reason.",
    rich_markup_mode=None,
)


@app.command(cls=Command, epilog=example(EXAMPLE))
def covost2(
    pairs: Annotated[
        list[str],
        input_option(metavar="PAIR[,PAIR]...", help="Directions to prepare: fr-en, en-de, …, x-en, en-x or all."),
    ],
    output: Output,
    common_voice: Annotated[
        Path | None,
        input_option(metavar="FOLDER", help="Common Voice in the source languages, as folders or archives (.tar.gz)."),
    ] = None,
    covost: Annotated[
        Path | None,
        input_option(metavar="FOLDER", help="CoVoST 2 translations: covost_v2.SOURCE_TARGET.tsv files."),
    ] = None,
    hub: Annotated[
        str | None,
        input_option(
            metavar="NAME",
            help="Dataset with clips and translations on the Hub, such as fixie-ai/covost2, or a folder of it.",
        ),
    ] = None,
    transcode: Transcode = None,
    workers: Workers = None,
    overwrite: Overwrite = False,
) -> int:
    """Prepare CoVoST 2 with its official splits.

    The sources are Common Voice and the translations of CoVoST 2, or a copy of both on the Hub.
    """
    return prepare_corpus("covost2", locals())


@app.command(cls=Command, epilog=example("voxlate prepare manifest clips.tsv -o data --split-by speaker"))
def manifest(
    table: Annotated[
        Path,
        typer.Argument(
            metavar="TABLE", help="Table with the columns id and audio, and optionally other manifest columns."
        ),
    ],
    output: Annotated[
        Path,
        output_option(
            "--output",
            "-o",
            metavar="FILE|FOLDER",
            help="A .jsonl or .parquet file, or a folder for train, dev and test.",
        ),
    ],
    columns: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=COLUMN[,NAME=COLUMN]...",
            help="Columns that have other names in the table, such as audio=path,target_text=translation.",
        ),
    ] = None,
    source_language: Annotated[
        str | None, typer.Option(metavar="LANGUAGE", help="Source language of rows that state none.")
    ] = None,
    target_language: Annotated[
        str | None, typer.Option(metavar="LANGUAGE", help="Target language of rows that state none.")
    ] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN[,COLUMN]...",
            help="Columns in which to accept values that are refused by default: audio (missing files), "
            "source_language, target_language, target_text (missing or empty), split (any name).",
        ),
    ] = None,
    split_by: Annotated[
        str | None,
        splits_option(
            metavar="random|speaker|column",
            help="How to split into train, dev and test: random, speaker (no speaker in two splits) or column (the "
            "split column of the table). [default: column if --output is a folder]",
        ),
    ] = None,
    dev: Annotated[float, splits_option(metavar="X", help="Fraction of rows for dev.")] = 0.05,
    test: Annotated[float, splits_option(metavar="X", help="Fraction of rows for test.")] = 0.05,
    seed: Annotated[int, splits_option(metavar="N", help="Random seed of the split.")] = 1,
    transcode: Transcode = None,
    workers: Workers = None,
) -> int:
    """Check, measure and optionally split your own table.

    The table may be jsonl, tsv, csv or parquet.
    """
    arguments = locals()
    allowed = tuple(name.strip() for names in allow or () for name in names.split(",") if name.strip())
    return prepare_corpus("manifest", {**arguments, "allow": allowed, "columns": tuple(columns or ())})


@app.command(cls=Command, epilog=example("voxlate prepare parquet covost2-es-en --pair es-en -o data"))
def parquet(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="FOLDER|FILE|URL",
            help="Parquet files that contain the clips, folders of them, or datasets on the Hub: "
            "hf://datasets/OWNER/NAME, optionally @REVISION or /FOLDER.",
        ),
    ],
    pair: Annotated[str, input_option(metavar="PAIR", help="Direction, such as fr-en.")],
    output: Output,
    split: Annotated[
        str | None,
        input_option(
            metavar="NAME",
            help="The only split to prepare: train, dev or test. Files whose names state no split belong to it.",
        ),
    ] = None,
    transcode: Transcode = None,
    workers: Workers = None,
    overwrite: Overwrite = False,
) -> int:
    """Prepare parquet copies of CoVoST 2.

    Other datasets must have the same columns: audio, sentence, translation; optionally client_id, id, file.
    """
    return prepare_corpus("parquet", locals())


@app.command(cls=Command, epilog=example("voxlate prepare spoken phrases.tsv --pairs es-en,de-en -o corpus"))
def spoken(
    text: Annotated[
        Path,
        typer.Argument(
            metavar="TEXT", help="Table with a column for each language; optionally id, split and source_language."
        ),
    ],
    pairs: Annotated[
        list[str],
        input_option(metavar="PAIR[,PAIR]...", help="Directions: fr-en, en-de, …; the first language is synthesized."),
    ],
    output: Annotated[
        Path,
        output_option(
            "--output",
            "-o",
            metavar="FOLDER",
            help="Folder for common_voice/ and covost/; rerun the same command to resume.",
        ),
    ],
    voices: Annotated[
        list[str] | None,
        speech_option(
            metavar="VOICE[,VOICE]...",
            help="Voices of espeak-ng, such as en-us,fr-be. [default: the standard voice of each language]",
        ),
    ] = None,
    variants: Annotated[
        list[str] | None,
        speech_option(
            metavar="NAME[,NAME]...",
            help="Variants of espeak-ng, one per speaker, such as f1,m3. [default: 64 natural ones]",
        ),
    ] = None,
    speed: Annotated[
        str,
        speech_option(metavar=_RANGE, help="Range of speech rates in words per minute, within 80 to 450."),
    ] = "130:200",
    pitch: Annotated[str, speech_option(metavar=_RANGE, help="Range of pitches, within 0 to 99.")] = "30:70",
    silence: Annotated[
        str,
        speech_option(metavar=_RANGE, help="Range of seconds of silence before and after the speech."),
    ] = "0.05:0.6",
    snr: Annotated[str, speech_option(metavar=_RANGE, help="Range of signal-to-noise ratios in dB.")] = "15:45",
    babble: Annotated[
        float,
        speech_option(min=0, max=1, metavar="X", help="Fraction of clips with background voices instead of noise."),
    ] = 0.0,
    volume: Annotated[str, speech_option(metavar=_RANGE, help="Range of peak levels in dBFS.")] = "-24:-3",
    seed: Annotated[int, speech_option(metavar="N", help="Random seed of voices and noise.")] = 1,
    dev: Annotated[
        int,
        splits_option(min=0, metavar="N", help="Number of rows for dev, if the table has no split column."),
    ] = 0,
    test: Annotated[
        int,
        splits_option(min=0, metavar="N", help="Number of rows for test, if the table has no split column."),
    ] = 0,
    workers: Workers = None,
    overwrite: Overwrite = False,
) -> int:
    """Synthesize speech for a parallel text.

    espeak-ng reads the texts. The result is input for `prepare covost2`.
    """
    arguments = locals()
    spans = {name: arguments[name] for name in ("speed", "pitch", "silence", "snr", "volume")}
    return prepare_corpus("spoken", {**arguments, "spans": spans, "voices": voices or [], "variants": variants or []})


@app.command(cls=Command, epilog=example("voxlate prepare statistics data/fr-en/*.jsonl -o statistics.json"))
def statistics(
    manifests: Annotated[list[Path], typer.Argument(metavar="MANIFEST", help="Manifests, such as train and dev.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="JSON file to write; a picture (.svg) is put next to it."),
    ] = None,
    check_audio: Annotated[
        bool, typer.Option("--check-audio", help="Read all clips to find silent and unreadable ones.")
    ] = False,
    workers: Workers = None,
) -> None:
    """Count clips and hours, and find suspicious rows.

    Clips that are too long or too short for their text, texts that occur in several splits, and silence.
    """
    from voxlate.corpora.statistics_report import describe_manifests

    print(
        describe_manifests(
            manifests, output, check_audio=check_audio, workers=core_count() if workers is None else workers
        )
    )


@app.command(
    cls=Command, epilog=example("voxlate prepare vocabulary data/fr-en/train.jsonl -o sentencepiece.bpe.model")
)
def vocabulary(
    manifests: Annotated[list[Path], typer.Argument(metavar="MANIFEST", help="Training manifests.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="File to write, such as sentencepiece.bpe.model.")
    ],
    size: Annotated[int, typer.Option(min=10, metavar="N", help="Number of pieces.")] = 8000,
) -> None:
    """Train a SentencePiece vocabulary on target texts.

    Models trained from scratch need one (model.scratch).
    """
    from voxlate.corpora.vocabulary import make_vocabulary

    print(f"{output}: {make_vocabulary(manifests, output, size):,} pieces")


@app.command(cls=Command, epilog=example("voxlate prepare shortlist german.txt --language de --model model"))
def shortlist(
    texts: Annotated[
        list[Path],
        typer.Argument(
            metavar="TEXT", help="Text files (.txt) with one sentence per line, or manifests with target_text."
        ),
    ],
    language: Annotated[
        str,
        typer.Option(metavar="LANGUAGE", help="Language of the text: code, ISO 639-3 code or English name."),
    ],
    model: Annotated[Path, typer.Option(metavar="FOLDER|FILE", help="Model folder, or its vocabulary file.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="File to write. [default: shortlists/LANGUAGE.json in the model folder]",
        ),
    ] = None,
) -> None:
    """Select the vocabulary that a language uses.

    `voxlate translate --shortlist` searches only this part.
    """
    from voxlate.checkpoints.shortlist import prepare_shortlist
    from voxlate.languages import find_language

    print(prepare_shortlist(texts, find_language(language).code, model, output))
