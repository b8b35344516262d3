"""The commands ``voxlate evaluate``, ``score``, ``compare`` and ``report``: parse, import the one command, call it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from voxlate.errors import VoxlateError

References = Annotated[
    Path, typer.Option(help="A manifest with target_text; or plain text, a line for each hypothesis.")
]
Metrics = Annotated[str, typer.Option(help="Some of bleu, chrf, chrf++, ter, wer, cer, comet, with commas.")]
Tokenize = Annotated[
    str | None, typer.Option(help="BLEU's tokenizer: 13a, 13a+char, zh, ja-mecab, char, … [default: the language's]")
]
TargetLanguage = Annotated[str | None, typer.Option(help="Of the hypotheses, where the references do not say.")]
Transcripts = Annotated[bool, typer.Option("--transcripts", help="Score transcripts: the references are source_text.")]
Seed = Annotated[int, typer.Option(help="Of the samples.")]


def add_commands(app: typer.Typer) -> None:
    """Add the commands to an app."""
    for command in (evaluate, score, compare, report):
        app.command()(command)


def evaluate(
    model: Annotated[str, typer.Option(help="Folder, Hub id or id@revision.")],
    data: Annotated[list[Path], typer.Option(help="Manifests, or folders of DIRECTION/test.jsonl.")],
    output: Annotated[Path, typer.Option(help="Folder for hypotheses and scores; the command goes on in it.")],
    directions: Annotated[str, typer.Option(help="fr-en, en-de, …; x-en, en-x or all; several with commas.")] = "all",
    split: Annotated[
        str | None,
        typer.Option(
            help="Split to score, of folders and of manifests with a column split. [default: test, or the only one]"
        ),
    ] = None,
    metrics: Metrics = "bleu,chrf",
    seen_in: Annotated[
        list[Path] | None, typer.Option(help="Training manifest: scores by speakers heard there.")
    ] = None,
    beam: Annotated[int | None, typer.Option(help="Beam size; 1 is greedy. [default: the model's, else 5]")] = None,
    length_penalty: Annotated[
        float | None,
        typer.Option(help="Exponent of the length that divides scores. [default: the model's, else 1]"),
    ] = None,
    max_length: Annotated[
        int | None, typer.Option(help="Most tokens of a translation. [default: the model's, else 200]")
    ] = None,
    max_repeats: Annotated[
        int,
        typer.Option(help="Most times in a row that a phrase may occur; 0 for no limit, as benchmarks have none."),
    ] = 0,
    mbr: Annotated[bool, typer.Option("--mbr", help="Of the beam, take what agrees most with the rest.")] = False,
    batch_size: Annotated[int | None, typer.Option(help="Utterances searched at once. [default: 64, GPU 256]")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, …")] = "auto",
    dtype: Annotated[str, typer.Option(help="auto, float32, bfloat16, float16, int8.")] = "auto",
    shortlist: Annotated[
        bool, typer.Option("--shortlist", help="Search only the languages' pieces that `prepare shortlist` found.")
    ] = False,
    slot: Annotated[
        list[str] | None,
        typer.Option(help="Token of a target language in this model: lv=250016 or lv=lv_LV."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Translate again what is already done.")] = False,
) -> None:
    """Translate test sets and score them. Several processes: accelerate launch -m voxlate evaluate …"""
    with _as_voxlate_errors():
        from voxlate.decoding.options import SearchOptions
        from voxlate.evaluation.command import Scoring
        from voxlate.evaluation.evaluate import EvaluateCommand, run
        from voxlate.languages import parse_slot

        command = EvaluateCommand(
            model,
            data,
            output,
            _listed(directions),
            split,
            SearchOptions(beam, length_penalty, max_length, max_repeats=max_repeats or None, mbr=mbr),
            device,
            dtype,
            batch_size,
            shortlist,
            Scoring(_listed(metrics), seen_in=seen_in or ()),
            overwrite,
            dict(map(parse_slot, slot or [])),
        )
        raise typer.Exit(run(command))


def score(
    hypotheses: Annotated[Path, typer.Argument(help="JSON lines with id and text; or plain text.")],
    references: References,
    target_language: TargetLanguage = None,
    metrics: Metrics = "bleu,chrf",
    tokenize: Tokenize = None,
    seen_in: Annotated[
        list[Path] | None, typer.Option(help="Training manifest: scores by speakers heard there.")
    ] = None,
    samples: Annotated[int, typer.Option(min=100, help="Of the bootstrap, for 95 % intervals.")] = 1000,
    seed: Seed = 1,
    transcripts: Transcripts = False,
    output: Annotated[Path | None, typer.Option(help="A JSON file for all that was found.")] = None,
) -> None:
    """Score hypotheses: BLEU, chrF and others with intervals, signatures and all that looks suspicious."""
    with _as_voxlate_errors():
        from voxlate.evaluation.command import Scoring, score_files

        scoring = Scoring(_listed(metrics), tokenize, target_language, samples, seed, seen_in or (), transcripts)
        raise typer.Exit(score_files(hypotheses, references, scoring, output))


def compare(
    a: Annotated[Path, typer.Argument(metavar="A", help="Hypotheses of a system.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="Hypotheses of another.")],
    references: References,
    target_language: TargetLanguage = None,
    metrics: Metrics = "bleu,chrf",
    tokenize: Tokenize = None,
    samples: Annotated[int, typer.Option(min=100, help="Of each test.")] = 2000,
    seed: Seed = 1,
    sentences: Annotated[int, typer.Option(min=0, help="How many to show in which either is better.")] = 5,
    transcripts: Transcripts = False,
    output: Annotated[Path | None, typer.Option(help="A JSON file for all that was found.")] = None,
) -> None:
    """Compare two systems on the same sentences, by paired bootstrap and approximate randomisation."""
    with _as_voxlate_errors():
        from voxlate.evaluation.command import Scoring, compare_files

        scoring = Scoring(_listed(metrics), tokenize, target_language, samples, seed, transcripts=transcripts)
        raise typer.Exit(compare_files(a, b, references, scoring, sentences, output))


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders that voxlate evaluate wrote.")],
    output: Annotated[Path, typer.Option(help="Folder for report.html, tables.md, tables.csv and tables.tex.")],
    against: Annotated[
        list[str] | None, typer.Option(help="Published system: 'XLS-R (0.3B)'; may be repeated.")
    ] = None,
    sentences: Annotated[int, typer.Option(min=0, help="Of each direction, the worst ones first.")] = 100,
    embed_mib: Annotated[int, typer.Option(min=0, help="Clips put into the page, at most; others are linked.")] = 20,
    link: Annotated[bool, typer.Option(help="Link the other clips where they lie.")] = True,
    clips: Annotated[
        list[Path] | None,
        typer.Option(help="Folder that clips may come from, besides those of the manifests; may be repeated."),
    ] = None,
) -> None:
    """Write the tables of the field, beside published scores, and a page with plots, sentences and clips."""
    with _as_voxlate_errors():
        from voxlate.evaluation.sound_files import is_sound
        from voxlate_eval.report import write_report
        from voxlate_eval.strict_json import shown

        missing = [shown(folder) for folder in clips or [] if not folder.is_dir()]
        if missing:
            raise VoxlateError(f"--clips {missing[0]}: no such folder")
        written = write_report(
            runs,
            output,
            against or [],
            sentences=sentences,
            embed_bytes=embed_mib << 20,
            link=link,
            clip_folders=clips or [],
            is_sound=is_sound,
        )
        print(*map(shown, written), sep="\n")


def _listed(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


@contextmanager
def _as_voxlate_errors() -> Iterator[None]:
    """Let what the scorer refuses end the command like everything else that the user can mend."""
    from voxlate_eval.errors import EvaluationError

    try:
        yield
    except EvaluationError as error:
        raise VoxlateError(str(error)) from None
