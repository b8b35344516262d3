"""The command ``voxlate evaluate``."""

from pathlib import Path
from typing import Annotated

from voxlate.cli import options

EXAMPLE = "voxlate evaluate --model runs/fr-en/averaged --data data --directions fr-en -o scores/fr-en"


def evaluate(
    model: options.Model,
    data: Annotated[
        list[Path],
        options.input_option(
            metavar="MANIFEST|FOLDER", help="Manifest, or folder that contains DIRECTION/test.jsonl. Can be repeated."
        ),
    ],
    output: options.OutputFolder,
    directions: Annotated[
        str,
        options.input_option(
            metavar=options.NAMES, help="Directions, separated by commas: fr-en, en-de, …, x-en, en-x or all."
        ),
    ] = "all",
    split: Annotated[
        str | None,
        options.input_option(
            metavar="NAME",
            help="Split to score, in folders and in manifests with a split column. [default: test, or the only one]",
        ),
    ] = None,
    num_workers: options.NumWorkers = None,
    device: options.Device = "auto",
    dtype: options.DTypeOrInt8 = "auto",
    ray: options.Ray = None,
    language_token: options.LanguageTokens = None,
    beam_size: options.BeamSize = None,
    length_penalty: options.LengthPenalty = None,
    max_length: options.MaxLength = None,
    max_repeats: options.MaxRepeats = 0,
    mbr: options.Mbr = False,
    shortlist: options.Shortlist = False,
    batch_size: options.BatchSize = None,
    segmentation: options.Segmentation = "auto",
    vad: options.Vad = True,
    vad_threshold: options.VadThreshold = 0.5,
    min_pause: options.MinPause = 0.1,
    coverage_check: options.CoverageCheck = True,
    metrics: options.Metrics = "bleu,chrf",
    seen_in: options.SeenIn = None,
    overwrite: options.Overwrite = False,
) -> int:
    """Translate test sets and score the translations. On several GPUs: --ray, or accelerate launch -m voxlate …"""
    arguments = locals()
    with options.scorer_errors():
        from voxlate.evaluation.evaluate import EvaluateCommand, run
        from voxlate.evaluation.scoring import Scoring

        parsed = {
            "directions": options.split_names(directions),
            "scoring": Scoring(options.split_names(metrics), seen_in=seen_in or ()),
            "language_tokens": options.parse_language_tokens(language_token),
            "max_repeats": max_repeats or None,
            "segmentation": options.parse_segmentation(segmentation),
        }
        return run(options.request(EvaluateCommand, {**arguments, **parsed}))
