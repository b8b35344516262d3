"""The command ``voxlate compare``."""

from pathlib import Path
from typing import Annotated

import typer

from voxlate.cli import options

EXAMPLE = "voxlate compare ours.jsonl baseline.jsonl --references data/fr-en/test.jsonl"


def compare(
    hypotheses: Annotated[
        list[Path],
        typer.Argument(metavar="HYPOTHESES", help="Hypotheses of two or more systems, as for `voxlate score`."),
    ],
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
        options.output_option(min=0, metavar="N", help="Number of sentences to show on which the systems differ most."),
    ] = 5,
    output: options.ResultsFile = None,
) -> int:
    """Compare systems by paired significance tests.

    The tests are paired bootstrap resampling and approximate randomization. Three or more systems are ranked in
    clusters that cannot be distinguished.
    """
    with options.scorer_errors():
        from voxlate.evaluation.comparing import compare_files
        from voxlate.evaluation.scoring import Scoring

        names = options.split_names(metrics)
        scoring = Scoring(names, tokenize, target_language, samples, seed, transcripts=transcripts, resegment=resegment)
        return compare_files(hypotheses, references, scoring, sentences, output)
