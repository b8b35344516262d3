"""The command ``voxlate compare``."""

from pathlib import Path
from typing import Annotated

import typer

from voxlate.cli import options

EXAMPLE = "voxlate compare ours.jsonl baseline.jsonl --references data/fr-en/test.jsonl"


def compare(
    a: Annotated[Path, typer.Argument(metavar="A", help="Hypotheses of one system, as for `voxlate score`.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="Hypotheses of the other system.")],
    references: options.References,
    target_language: options.TargetLanguage = None,
    metrics: options.Metrics = "bleu,chrf",
    tokenize: options.Tokenize = None,
    transcripts: options.Transcripts = False,
    resegment: options.Resegment = False,
    samples: Annotated[
        int,
        options.scoring_option(min=100, metavar="N", help="Number of samples of each significance test."),
    ] = 10_000,
    seed: options.Seed = 1,
    sentences: Annotated[
        int,
        options.output_option(min=0, metavar="N", help="Number of sentences to show on which each system is better."),
    ] = 5,
    output: options.ResultsFile = None,
) -> int:
    """Compare two systems. The tests are paired bootstrap resampling and approximate randomization."""
    with options.scorer_errors():
        from voxlate.evaluation.scoring import Scoring, compare_files

        names = options.split_names(metrics)
        scoring = Scoring(names, tokenize, target_language, samples, seed, transcripts=transcripts, resegment=resegment)
        return compare_files(a, b, references, scoring, sentences, output)
