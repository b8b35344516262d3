"""Measure how long a large manifest takes to be checked, planned and sampled, and how much memory."""

import json
import os
import resource
import time
from pathlib import Path

import numpy as np

from speed.synthetic import clip_seconds

_CLIPS = 1000  # files; each has many rows, like a clip that is translated into many languages
_PAIRS = ("fr-en", "de-en", "es-en")


def write_rows(path: Path, rows: int) -> None:
    """Write a manifest of clips with the lengths of CoVoST-2."""
    folder = path.parent / "clips"
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(_CLIPS):
        (folder / f"{number:04}.flac").touch()
    seconds_N = clip_seconds(rows, np.random.default_rng(0)).round(3).tolist()
    with path.open("w", encoding="utf-8") as file:
        for number, seconds in enumerate(seconds_N):
            source, target = _PAIRS[number % len(_PAIRS)].split("-")
            row = {
                "id": f"clip{number:07}",
                "audio": f"clips/{number % _CLIPS:04}.flac",
                "seconds": seconds,
                "source_language": source,
                "target_language": target,
                "source_text": "le chat dort sur la table " * (1 + number % 3),
                "target_text": "The cat sleeps on the table. " * (1 + number % 3),
                "speaker": f"speaker{number % 5000}",
                "split": "train",
            }
            file.write(json.dumps(row) + "\n")


def measure_manifest(folder: Path, rows: int) -> dict[str, float]:
    """Return the seconds of each step for a new manifest in `folder`, and the peak memory in MiB."""
    os.environ["HF_DATASETS_CACHE"] = str(folder / "cache")
    from voxlate.data.batch_sampler import BatchSampler, ClipJoining, UtteranceCost  # noqa: PLC0415 (see the line above)
    from voxlate.data.corpus import LengthLimits, make_sampling, read_corpus  # noqa: PLC0415
    from voxlate.manifest.reading import read_manifest  # noqa: PLC0415

    path = folder / "rows.jsonl"
    write_rows(path, rows)
    times = [time.perf_counter()]
    read_manifest(path)
    times.append(time.perf_counter())
    corpus = read_corpus([path], limits=LengthLimits())
    times.append(time.perf_counter())
    sampling = make_sampling(corpus, temperature=1.0, by_hours=False)
    sampler = BatchSampler(
        corpus.seconds_N,
        corpus.tokens_N,
        group_N=sampling.group_N,
        shares_G=sampling.shares_G,
        cost=UtteranceCost(),
        batch_seconds=120.0,
        buckets=16,
        seed=1,
        joining=ClipJoining(0.5, 20.0),
    )
    batches = sampler.epoch(0)
    times.append(time.perf_counter())
    sampled = sum(len(batch) for batch in batches)
    times.append(time.perf_counter())
    seconds = dict(zip(("checked", "columns read", "planned", "sampled"), np.diff(times).tolist(), strict=True))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"rows": rows, **seconds, "seconds": times[-1] - times[0], "sampled rows": sampled, "mebibytes": peak}
