"""Measure data preparation and loading: `voxlate prepare`, decoding and batching, and the share of padding.

    python eval/speed/data.py --vocabulary sentencepiece.bpe.model [--clips 400] [--rounds 3]

The corpus is synthetic: MP3 at 48 kHz as in Common Voice, with the TSV files of Common Voice and CoVoST-2. Results are
medians over rounds, and audio is counted without padding.
"""

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from speed.synthetic import clip_seconds, sentence, write_clips
from voxlate.data.batch_sampler import (
    BatchSampler,
    Floats,
    Integers,
    SamplerState,
    UtteranceCost,
    estimate_tokens,
    padding_share,
)
from voxlate.data.batching import BatchMaker, BatchRequest, read_batches
from voxlate.data.corpus import LengthLimits, read_corpus
from voxlate.tokenizer import Tokenizer

_PADDING_UTTERANCES = 20_000  # utterances for which the share of padding is counted


def write_corpus(folder: Path, clips: int) -> float:
    """Write the files of Common Voice and CoVoST-2 for de-en; return the total duration of the clips in seconds."""
    generator = np.random.default_rng(0)
    seconds_N = clip_seconds(clips, generator)
    paths = write_clips(folder / "voice" / "de" / "clips", seconds_N, ".mp3", 48_000, generator)
    voice = ["client_id\tpath\tsentence\tup_votes\tdown_votes\tage\tgender\taccent"]
    covost = ["path\ttranslation\tsplit"]
    for path, seconds in zip(paths, seconds_N.tolist(), strict=True):
        voice.append(f"speaker\t{path.name}\t{sentence(seconds, generator)}\t2\t0\t\t\t")
        covost.append(f"{path.name}\t{sentence(seconds, generator)}\ttrain")
    (folder / "voice" / "de" / "validated.tsv").write_text("\n".join(voice) + "\n", encoding="utf-8")
    (folder / "covost").mkdir()
    (folder / "covost" / "covost_v2.de_en.tsv").write_text("\n".join(covost) + "\n", encoding="utf-8")
    return float(seconds_N.sum())


def prepare(folder: Path, *, transcode: bool) -> tuple[Path, float]:
    """Run `voxlate prepare`; return the training manifest and the elapsed seconds, start-up included."""
    output = folder / ("flac" if transcode else "mp3")
    shutil.rmtree(output, ignore_errors=True)
    places = ["--common-voice", str(folder / "voice"), "--covost", str(folder / "covost"), "--output", str(output)]
    command = [sys.executable, "-m", "voxlate", "prepare", "covost2", *places, "--pairs", "de-en"]
    started = time.perf_counter()
    subprocess.run([*command, *(["--transcode", "flac"] if transcode else [])], check=True, capture_output=True)
    (manifest,) = (path for path in output.rglob("*.jsonl") if "train" in path.name)
    return manifest, time.perf_counter() - started


def read(manifest: Path, tokenizer: Tokenizer, workers: int) -> float:
    """Make the batches of three epochs; return seconds of audio per second, measured from the first batch."""
    corpus = read_corpus([manifest], limits=LengthLimits())
    sampler = sampler_of(corpus.seconds_N, corpus.tokens_N)
    requests = [
        BatchRequest(SamplerState(), SamplerState(), indices) for epoch in range(3) for indices in sampler.epoch(epoch)
    ]
    maker = BatchMaker(corpus, tokenizer, {"en": tokenizer.tag_id("en_XX")}, normalize=True)
    batches = read_batches(maker, requests, workers=workers)
    if workers:  # a worker takes a second to start, once per run
        next(batches)
    started = time.perf_counter()
    seconds = sum(batch.seconds for batch in batches)
    return seconds / (time.perf_counter() - started)


def sampler_of(seconds_N: Floats, tokens_N: Integers) -> BatchSampler:
    """Return the sampler that training with default settings uses for these utterances."""
    return BatchSampler(
        seconds_N,
        tokens_N,
        group_N=np.zeros(len(seconds_N), dtype=np.int64),
        shares_G=np.ones(1),
        cost=UtteranceCost(),
        batch_seconds=120.0,
        buckets=16,
        seed=1,
    )


def padding() -> tuple[float, float]:
    """Return the share of padding in our batches, and in batches of 24 clips in random order."""
    generator = np.random.default_rng(0)
    seconds_N = clip_seconds(_PADDING_UTTERANCES, generator)
    characters_N = np.array([len(sentence(seconds, generator)) for seconds in seconds_N.tolist()])
    batched = padding_share(sampler_of(seconds_N, estimate_tokens(characters_N)).epoch(0), seconds_N)
    mixed = np.array_split(generator.permutation(_PADDING_UTTERANCES), _PADDING_UTTERANCES // 24)
    return batched, padding_share(mixed, seconds_N)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--vocabulary", type=Path, required=True, help="an mBART SentencePiece model")
    parser.add_argument("--clips", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    tokenizer = Tokenizer(arguments.vocabulary)
    torch.set_num_threads(1)  # batches are made on one core; a worker uses one as well
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        seconds = write_corpus(folder, arguments.clips)
        print(f"{arguments.clips} clips, {seconds:.0f} s")
        manifests = {}
        for transcode in (False, True):
            name = "flac" if transcode else "mp3"
            runs = [prepare(folder, transcode=transcode) for _ in range(arguments.rounds)]
            manifests[name], took = runs[0][0], statistics.median(one for _, one in runs)
            what = "prepare --transcode flac" if transcode else "prepare"
            print(f"{what:26} {arguments.clips / took:7.0f} rows/s   {seconds / 3600 / took:6.3f} hours of audio/s")
        for name, manifest in manifests.items():
            for workers in (0, 1):
                speeds = [read(manifest, tokenizer, workers) for _ in range(arguments.rounds)]
                print(f"batches, {name:4} {workers} workers     {statistics.median(speeds):7.0f} s of audio/s")
    batched, mixed = padding()
    print(f"padding of {_PADDING_UTTERANCES} clips: {batched:.1%}; in random order, 24 in a batch: {mixed:.1%}")


if __name__ == "__main__":
    main()
