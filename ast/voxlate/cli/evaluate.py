"""The commands ``voxlate evaluate``, ``score``, ``compare`` and ``report``: parse, import the one command, call it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from voxlate.errors import VoxlateError

References = Annotated[
    Path, typer.Option(help="References: a manifest with target_text, or plain text with one line per hypothesis.")
]
Metrics = Annotated[str, typer.Option(help="Metrics, separated by commas: bleu, chrf, chrf++, ter, wer, cer, comet.")]
Tokenize = Annotated[
    str | None, typer.Option(help="BLEU's tokenizer: 13a, 13a+char, zh, ja-mecab, char, … [default: the language's]")
]
TargetLanguage = Annotated[str | None, typer.Option(help="Target language, if the references do not state it.")]
Transcripts = Annotated[bool, typer.Option("--transcripts", help="Score transcripts, against source_text.")]
Seed = Annotated[int, typer.Option(help="Random seed of the bootstrap.")]


def add_commands(app: typer.Typer) -> None:
    """Add the commands to an app."""
    for command in (evaluate, score, compare, report):
        app.command()(command)


def evaluate(
    model: Annotated[str, typer.Option(help="Model folder, Hub id or id@revision.")],
    data: Annotated[
        list[Path], typer.Option(help="Manifests, or folders that hold DIRECTION/test.jsonl; may be repeated.")
    ],
    output: Annotated[Path, typer.Option(help="Folder for hypotheses and scores; rerun the same command to resume.")],
    directions: Annotated[
        str, typer.Option(help="Directions, separated by commas: fr-en, en-de, …, x-en, en-x or all.")
    ] = "all",
    split: Annotated[
        str | None,
        typer.Option(
            help="Split to score, in folders and in manifests with a split column. [default: test, or the only one]"
        ),
    ] = None,
    metrics: Metrics = "bleu,chrf",
    seen_in: Annotated[
        list[Path] | None,
        typer.Option(help="Training manifest: also score speakers seen and not seen there; may be repeated."),
    ] = None,
    beam: Annotated[int | None, typer.Option(help="Beam size; 1 is greedy. [default: the model's, else 5]")] = None,
    length_penalty: Annotated[
        float | None,
        typer.Option(
            help="Scores are divided by length to this power; higher favors longer text. [default: the model's, else 1]"
        ),
    ] = None,
    max_length: Annotated[
        int | None, typer.Option(help="Maximum number of tokens per translation. [default: the model's, else 200]")
    ] = None,
    max_repeats: Annotated[
        int,
        typer.Option(
            min=0, help="Maximum number of times a phrase may occur in a row; 0 for no limit, as in benchmarks."
        ),
    ] = 0,
    mbr: Annotated[bool, typer.Option("--mbr", help="Rerank the beam by minimum Bayes risk (chrF).")] = False,
    batch_size: Annotated[
        int | None, typer.Option(help="Number of utterances searched at once. [default: 64; 256 on a GPU]")
    ] = None,
    device: Annotated[str, typer.Option(help="Device to run on: auto, cpu, cuda, cuda:1, …")] = "auto",
    dtype: Annotated[str, typer.Option(help="Precision: auto, float32, bfloat16, float16, int8.")] = "auto",
    shortlist: Annotated[
        bool, typer.Option("--shortlist", help="Search only the vocabulary listed by `voxlate prepare shortlist`.")
    ] = False,
    slot: Annotated[
        list[str] | None,
        typer.Option(help="Token that stands for a target language in this model: lv=250016 or lv=lv_LV."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Redo results that are already in --output.")] = False,
) -> None:
    """Translate test sets and score them. For several GPUs: accelerate launch -m voxlate evaluate …"""
    with _as_voxlate_errors():
        from voxlate.evaluation.evaluate import EvaluateCommand, run
        from voxlate.evaluation.scoring import Scoring
        from voxlate.languages import parse_slot
        from voxlate.search_options import SearchOptions

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
    hypotheses: Annotated[
        Path,
        typer.Argument(
            metavar="HYPOTHESES",
            help="JSON lines or a table with id and text, plain text, or results of `voxlate translate`.",
        ),
    ],
    references: References,
    target_language: TargetLanguage = None,
    metrics: Metrics = "bleu,chrf",
    tokenize: Tokenize = None,
    seen_in: Annotated[
        list[Path] | None,
        typer.Option(help="Training manifest: also score speakers seen and not seen there; may be repeated."),
    ] = None,
    samples: Annotated[int, typer.Option(min=100, help="Number of bootstrap samples, for 95 % intervals.")] = 1000,
    seed: Seed = 1,
    transcripts: Transcripts = False,
    output: Annotated[Path | None, typer.Option(help="JSON file for all results.")] = None,
) -> None:
    """Score hypotheses. Metrics come with intervals, signatures and warnings about suspicious output."""
    with _as_voxlate_errors():
        from voxlate.evaluation.scoring import Scoring, score_files

        scoring = Scoring(_listed(metrics), tokenize, target_language, samples, seed, seen_in or (), transcripts)
        raise typer.Exit(score_files(hypotheses, references, scoring, output))


def compare(
    a: Annotated[Path, typer.Argument(metavar="A", help="Hypotheses of one system, as for `voxlate score`.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="Hypotheses of the other system.")],
    references: References,
    target_language: TargetLanguage = None,
    metrics: Metrics = "bleu,chrf",
    tokenize: Tokenize = None,
    samples: Annotated[int, typer.Option(min=100, help="Number of samples of each significance test.")] = 10_000,
    seed: Seed = 1,
    sentences: Annotated[
        int, typer.Option(min=0, help="Number of sentences to show for which each system is better.")
    ] = 5,
    transcripts: Transcripts = False,
    output: Annotated[Path | None, typer.Option(help="JSON file for all results.")] = None,
) -> None:
    """Compare two systems. The tests are paired bootstrap and approximate randomization."""
    with _as_voxlate_errors():
        from voxlate.evaluation.scoring import Scoring, compare_files

        scoring = Scoring(_listed(metrics), tokenize, target_language, samples, seed, transcripts=transcripts)
        raise typer.Exit(compare_files(a, b, references, scoring, sentences, output))


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders written by `voxlate evaluate`.")],
    output: Annotated[Path, typer.Option(help="Folder for report.html, tables.md, tables.csv and tables.tex.")],
    against: Annotated[
        list[str] | None,
        typer.Option(help="Published system to compare with, such as 'XLS-R (0.3B)'; may be repeated."),
    ] = None,
    sentences: Annotated[int, typer.Option(min=0, help="Number of sentences per direction, worst first.")] = 100,
    embed_mib: Annotated[int, typer.Option(min=0, help="MiB of clips to embed in the page; others are linked.")] = 20,
    link: Annotated[bool, typer.Option(help="Link clips that are not embedded.")] = True,
    clips: Annotated[
        list[Path] | None,
        typer.Option(help="Another folder whose clips may be shown, besides those of the manifests; may be repeated."),
    ] = None,
) -> None:
    """Write BLEU tables beside published scores. A page has plots, sentences and clips."""
    with _as_voxlate_errors():
        from voxlate.evaluation.sound_files import is_sound
        from voxlate_eval.report import write_report
        from voxlate_eval.strict_json import path_text

        missing = [path_text(folder) for folder in clips or [] if not folder.is_dir()]
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
            is_playable=is_sound,
        )
        print(*map(path_text, written), sep="\n")


def _listed(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


@contextmanager
def _as_voxlate_errors() -> Iterator[None]:
    """Let what the scorer refuses end the command like everything else that the user can mend."""
    from voxlate_eval import EvaluationError

    try:
        yield
    except EvaluationError as error:
        raise VoxlateError(str(error)) from None
