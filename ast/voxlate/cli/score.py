"""The command ``voxlate score``."""

from pathlib import Path
from typing import Annotated

import typer

from voxlate.cli import options
from voxlate.errors import VoxlateError

EXAMPLE = "voxlate score hypotheses.txt --references data/fr-en/test.jsonl --metrics bleu,chrf"


def score(
    hypotheses: Annotated[
        list[Path],
        typer.Argument(
            metavar="HYPOTHESES",
            help="JSON lines or a table with id and text, plain text, or results of `voxlate translate`; with "
            "--subtitles, one or more files of subtitles.",
        ),
    ],
    references: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="References: a manifest with target_text, or plain text with one line per hypothesis; with "
            "--subtitles, reference subtitles for SubER, one for each file (optional). Can be repeated.",
        ),
    ] = None,
    subtitles: Annotated[
        bool,
        options.scoring_option(
            "--subtitles",
            help="Measure which share of the cues is within the limits of line width, lines, duration, reading speed "
            "and gaps.",
        ),
    ] = False,
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
        if subtitles:
            from voxlate.evaluation.subtitle_scores import score_subtitles

            return score_subtitles(hypotheses, references or [], target_language, output)
        if len(hypotheses) != 1 or len(references or []) != 1:
            raise VoxlateError(
                f"{len(hypotheses)} files of hypotheses and {len(references or [])} of references; expected one file "
                "of hypotheses and one --references"
            )
        [hypothesis_file], [reference_file] = hypotheses, references or []
        from voxlate.evaluation.scoring import Scoring, score_files

        names = options.split_names(metrics)
        scoring = Scoring(names, tokenize, target_language, samples, seed, seen_in or (), transcripts, resegment)
        return score_files(hypothesis_file, reference_file, scoring, output)
