"""Corpus, batch sampler and batches: similar lengths together, sampling shares, a reproducible order."""

import json
from collections import Counter
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from toy import write_toy, write_vocabulary
from voxlate.checkpoints.model_folder import load_checkpoint
from voxlate.data.batch_sampler import (
    BatchSampler,
    SamplerState,
    UtteranceCost,
    estimate_tokens,
    make_batches,
    padding_share,
    shares_by_temperature,
)
from voxlate.data.batching import BatchMaker, BatchRequest, ctc_text, read_batches, requests_by_length, round_up
from voxlate.data.corpus import LengthLimits, make_sampling, read_corpus
from voxlate.errors import VoxlateError
from voxlate.models.ctc_head import CtcHead
from voxlate.tokenizer import IGNORED_ID, Tokenizer
from voxlate.training.objective import Objective


def covost_like(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return durations and token counts similar to CoVoST-2's: about 5 s and 13 tokens."""
    rng = np.random.default_rng(0)
    seconds_N = np.clip(rng.lognormal(np.log(5.0), 0.4, count), 1, 30)
    return seconds_N, np.maximum(4, seconds_N * 2.6 + rng.normal(0, 3, count)).astype(np.int64)


def make_sampler(count: int = 5000, *, seed: int = 1) -> BatchSampler:
    seconds_N, tokens_N = covost_like(count)
    return BatchSampler(
        seconds_N, tokens_N, np.arange(count) % 2, np.array([0.5, 0.5]), UtteranceCost(), 160.0, 16, seed,
    )  # fmt: skip


def test_little_padding_and_no_batch_above_its_budget() -> None:
    seconds_N, tokens_N = covost_like(20_000)
    cost = UtteranceCost()
    batches = make_batches(
        np.arange(20_000), seconds_N, tokens_N, cost=cost, batch_seconds=160, buckets=16,
        generator=np.random.default_rng(1),
    )  # fmt: skip
    assert padding_share(batches, seconds_N) < 0.07
    assert padding_share(batches, tokens_N.astype(float)) < 0.12
    assert sorted(np.concatenate(batches).tolist()) == list(range(20_000))
    assert max(len(batch) * cost(seconds_N[batch].max(), tokens_N[batch].max()) for batch in batches) <= 160


def test_an_utterance_above_the_budget_is_a_batch_of_its_own() -> None:
    seconds_N = np.array([1.0, 1.0, 500.0])
    batches = make_batches(
        np.arange(3), seconds_N, np.array([3, 3, 3]), cost=UtteranceCost(), batch_seconds=10, buckets=4,
        generator=np.random.default_rng(1),
    )  # fmt: skip
    assert [2] in [batch.tolist() for batch in batches]
    assert sorted(np.concatenate(batches).tolist()) == [0, 1, 2]


def test_batches_depend_on_epoch_and_seed_only() -> None:
    def first(number: int, seed: int = 1) -> list[list[int]]:
        return [batch.tolist() for batch in make_sampler(seed=seed).epoch(number)[:20]]

    assert first(0) == first(0)
    assert first(0) != first(1)
    assert first(0) != first(0, seed=2)


def test_resuming_within_an_epoch_is_exact() -> None:
    full = [(state, batch.tolist()) for state, batch in islice(make_sampler(300).batches(SamplerState()), 60)]
    assert full[-1][0].epoch > 1
    for start in (0, 1, 7, 13, 31):
        resumed = islice(make_sampler(300).batches(full[start][0]), 20)
        assert [(state, batch.tolist()) for state, batch in resumed] == full[start : start + 20]
    after_the_last = SamplerState(0, len(make_sampler(300).epoch(0)), len(make_sampler(300).epoch(0)))
    assert next(make_sampler(300).batches(after_the_last))[0] == SamplerState(1, 0, after_the_last.number)


def test_shares_follow_the_temperature() -> None:
    sizes_G = np.array([1000.0, 10.0])
    assert shares_by_temperature(sizes_G, 1.0).tolist() == pytest.approx([1000 / 1010, 10 / 1010])
    ratio = shares_by_temperature(sizes_G, 2.0)
    assert ratio[0] / ratio[1] == pytest.approx(10.0)
    assert shares_by_temperature(sizes_G, 1e9).tolist() == pytest.approx([0.5, 0.5])


def test_oversampling_draws_each_utterance_equally_often() -> None:
    group_N = np.array([0] * 90 + [1] * 10)
    batch_sampler = BatchSampler(
        np.ones(100), np.ones(100, dtype=np.int64), group_N, np.array([0.5, 0.5]), UtteranceCost(), 10.0, 4, 1
    )
    drawn = Counter(np.concatenate(batch_sampler.epoch(0)).tolist())
    assert sum(drawn.values()) == 100
    assert {drawn[index] for index in range(90, 100)} == {5}
    assert {drawn[index] for index in range(90)} == {0, 1}


def test_the_estimate_of_tokens_for_real_german_and_english(shared: Path) -> None:
    tokenizer = Tokenizer(shared / "xlmr-sentencepiece" / "sentencepiece.bpe.model")
    lines = (shared / "covost2-de-en" / "covost_v2.de_en.dev.tsv").read_text(encoding="utf-8").splitlines()[1:1001]
    texts = [text for line in lines for text in line.split("\t")[1:3]]
    exact = sum(len(tokenizer.encode(text)) + 2 for text in texts)
    estimate = estimate_tokens(np.array([len(text.encode()) for text in texts])).sum()
    assert 0.85 < estimate / exact < 1.25


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toy")
    write_vocabulary(folder / "sentencepiece.bpe.model")
    write_toy(folder, "train", 10, pairs=["fr-en", "de-en", "en-de"])
    return folder


def maker(folder: Path) -> BatchMaker:
    corpus = read_corpus([folder / "train.jsonl"], limits=LengthLimits())
    tokenizer = Tokenizer(folder / "sentencepiece.bpe.model")
    targets = {"en": tokenizer.tag_id("en_XX"), "de": tokenizer.tag_id("de_DE")}
    return BatchMaker(corpus, tokenizer, targets, True, {letter: 1 + i for i, letter in enumerate(" abdehinqrstuxz")})


def test_a_batch_holds_the_inputs_and_targets_of_the_decoder(toy: Path) -> None:
    made = maker(toy)
    batch = made[BatchRequest(SamplerState(), SamplerState(), np.array([2, 0]))]
    assert batch.directions == ("en-de", "fr-en")
    for row, index in enumerate((2, 0)):
        utterance = made.corpus[index]
        pieces = made.tokenizer.encode(utterance.target_text or "")
        inputs, labels = batch.tokens_BT[row].tolist(), batch.labels_BT[row].tolist()
        tag = made.targets[utterance.target_language or ""]
        assert inputs[: len(pieces) + 2] == [2, tag, *pieces]
        assert labels[: len(pieces) + 2] == [IGNORED_ID, *pieces, 2]
        assert set(inputs[len(pieces) + 2 :]) <= {1}
        assert set(labels[len(pieces) + 2 :]) <= {IGNORED_ID}
        length = int(batch.lengths_B[row])
        assert float(batch.waveform_BT[row, :length].var(correction=0)) == pytest.approx(1, abs=1e-3)
        assert not batch.waveform_BT[row, length:].any()
    assert batch.target_tokens == int((batch.labels_BT != IGNORED_ID).sum())
    assert batch.seconds == pytest.approx(float(batch.lengths_B.sum()) / 16_000)
    assert torch.equal(batch.to(torch.device("cpu")).tokens_BT, batch.tokens_BT)


def test_rounded_sizes_change_no_loss_and_no_gradient(toy: Path, tiny_model: Path) -> None:
    made = maker(toy)
    request = BatchRequest(SamplerState(), SamplerState(), np.resize(np.arange(10), 17))
    batch, rounded = made[request], replace(made, round_sizes=True)[request]
    assert (len(batch.lengths_B), len(rounded.lengths_B), len(rounded.indices)) == (17, 18, 17)
    assert rounded.waveform_BT.shape == (18, round_up(batch.waveform_BT.shape[1]))
    assert (rounded.target_tokens, rounded.characters, rounded.seconds) == (
        batch.target_tokens, batch.characters, batch.seconds,
    )  # fmt: skip
    model = load_checkpoint(tiny_model).model
    objective = Objective(model, CtcHead(model.encoder.output_dim, 16), 0.1)
    results = []
    for padded in (batch, rounded):
        losses = objective(padded)
        objective.zero_grad()
        losses.sum().backward()
        results.append([losses.detach(), *(part.grad for part in objective.parameters() if part.grad is not None)])
    torch.testing.assert_close(*results, rtol=1e-3, atol=1e-3)


def test_rounded_sizes_are_few_and_at_most_an_eighth_larger() -> None:
    sizes = {size: round_up(size) for size in range(1, 200_000)}
    assert all(size <= rounded <= size * 1.125 for size, rounded in sizes.items())
    assert len(set(sizes.values())) < 8 * 18


def test_workers_give_the_same_batches_in_the_same_order(toy: Path) -> None:
    made = maker(toy)
    requests = requests_by_length(made.corpus, 3.0)
    assert sorted(np.concatenate([request.indices for request in requests]).tolist()) == list(range(10))
    alone, helped = (list(read_batches(made, requests, workers=workers)) for workers in (0, 2))
    assert [batch.sampler_state.number for batch in helped] == list(range(len(requests)))
    assert all(torch.equal(one.waveform_BT, other.waveform_BT) for one, other in zip(alone, helped, strict=True))


def test_the_text_for_ctc() -> None:
    assert ctc_text("  Où est-il ?  L’été, 20°!") == "où est il l’été 20"


def test_training_limits_drop_and_count(toy: Path, tmp_path: Path) -> None:
    lines = [json.loads(line) for line in (toy / "train.jsonl").read_text().splitlines()]
    for line in lines:
        line["audio"] = str(toy / line["audio"])
    lines[0]["seconds"], lines[1]["seconds"], lines[2]["error"] = 31.0, 0.01, "gone"
    lines[3]["target_text"] = "x" * 600
    manifest = tmp_path / "m.jsonl"
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    corpus = read_corpus([manifest], limits=LengthLimits())
    assert len(corpus) == 6
    assert dict(corpus.drops) == {
        "unreadable audio": 1,
        "shorter than 0.1 s": 1,
        "longer than 30 s": 1,
        "translation of more than 512 characters": 1,
    }
    assert len(read_corpus([manifest], limits=None)) == 10  # validation drops nothing
    only = read_corpus([manifest], directions=["German-English", "en-de"], limits=None)
    assert sorted(only.directions) == ["de-en", "en-de"]
    with pytest.raises(VoxlateError, match=r"no utterances of es-en; the manifests have de-en, en-de, fr-en"):
        read_corpus([manifest], directions=["es-en"], limits=None)
    with pytest.raises(VoxlateError, match="direction 'fr': expected source-target, such as fr-en"):
        read_corpus([manifest], directions=["fr"], limits=None)
    with pytest.raises(VoxlateError, match="direction 'xx-yy': unknown languages"):
        read_corpus([manifest], directions=["xx-yy"], limits=None)
    assert read_corpus([manifest], directions=["fr-en"], limits=None).directions == ("fr-en",)
    with pytest.raises(VoxlateError, match="nothing is left to train on: 9 shorter than 100 s, 1 unreadable audio"):
        make_sampling(
            read_corpus([manifest], limits=LengthLimits(min_seconds=100, max_seconds=200)),
            temperature=1,
            by_hours=False,
        )


def test_problems_of_several_manifests_are_reported_together(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(VoxlateError) as error:
        read_corpus([tmp_path / "empty.jsonl", tmp_path / "missing.jsonl"], limits=None)
    assert "empty.jsonl" in str(error.value)
    assert "contains no utterances" in str(error.value)
    assert "missing.jsonl" in str(error.value)


def test_training_needs_durations(toy: Path, tmp_path: Path) -> None:
    lines = [json.loads(line) for line in (toy / "train.jsonl").read_text().splitlines()]
    del lines[0]["seconds"]
    lines = [{**line, "audio": str(toy / line["audio"])} for line in lines]
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(
        VoxlateError, match=r"1 utterances have no seconds, .*; run voxlate prepare manifest on it first"
    ):
        read_corpus([tmp_path / "m.jsonl"], limits=LengthLimits())


def test_replayed_data_gets_its_share(toy: Path) -> None:
    corpus = read_corpus([toy / "train.jsonl", toy / "train.jsonl"], limits=LengthLimits())
    sampling = make_sampling(corpus, temperature=1.0, by_hours=False, first_replayed=1, replay_share=0.2)
    table = {name: share for name, _, _, share, _ in sampling.table()}
    assert sum(share for name, share in table.items() if "replay" in name) == pytest.approx(0.2)
    assert sum(table.values()) == pytest.approx(1.0)
    by_hours = make_sampling(corpus, temperature=1.0, by_hours=True)
    assert by_hours.shares_G.tolist() == pytest.approx((by_hours.hours_G / by_hours.hours_G.sum()).tolist())


def test_a_batch_without_a_limit_holds_everything(tmp_path: Path) -> None:
    corpus = read_corpus([write_toy(tmp_path, "train", 3)], limits=None)
    [request] = requests_by_length(corpus, float("inf"))
    assert sorted(request.indices) == [0, 1, 2]
