"""The command ``voxlate score``."""

from pathlib import Path
from typing import Annotated

import typer

from voxlate.cli import options

EXAMPLE = "voxlate score hypotheses.txt --references data/fr-en/test.jsonl --metrics bleu,chrf"


def score(
    hypotheses: Annotated[
        Path,
        typer.Argument(
            metavar="HYPOTHESES",
            help="JSON lines or a table with id and text, plain text, or results of `voxlate translate`.",
        ),
    ],
    references: options.References,
    target_language: options.TargetLanguage = None,
    metrics: options.Metrics = "bleu,chrf",
    tokenize: options.Tokenize = None,
    transcripts: options.Transcripts = False,
    resegment: options.Resegment = False,
    seen_in: options.SeenIn = None,
    samples: Annotated[
        int,
        options.scoring_option(min=100, metavar="N", help="Number of bootstrap samples for the 95 % intervals."),
    ] = 1000,
    seed: options.Seed = 1,
    output: options.ResultsFile = None,
) -> int:
    """Score hypotheses. Prints intervals, signatures and warnings about suspicious output with the scores."""
    with options.scorer_errors():
        from voxlate.evaluation.scoring import Scoring, score_files

        names = options.split_names(metrics)
        scoring = Scoring(names, tokenize, target_language, samples, seed, seen_in or (), transcripts, resegment)
        return score_files(hypotheses, references, scoring, output)
