"""Parity with transformers on the demo model, from recorded answers: states, logits, token ids, scores and texts."""

import hashlib
import json
from typing import Any

import pytest
import torch

from transformers_answers import ANSWERS, CLIPS, MODEL, answers
from voxlate import AudioError, SearchOptions, Translator
from voxlate.audio.loading import load_audio
from voxlate.data.batching import collate_waveforms
from voxlate.decoding.results import Translation
from voxlate.decoding.search import Hypothesis, search

RECORD: dict[str, Any] = json.loads(ANSWERS.read_text(encoding="utf-8"))
ROWS: list[dict[str, Any]] = RECORD["answers"]
BEAM: int = RECORD["generation_config"]["num_beams"]
ALL_HYPOTHESES = SearchOptions(n_best=BEAM, max_repeats=None)


@pytest.fixture(scope="module")
def translator() -> Translator:
    return Translator(MODEL, device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def waveforms() -> list[torch.Tensor]:
    return [torch.from_numpy(load_audio(CLIPS / row["clip"]).waveform) for row in ROWS]


def search_settings(beam: int) -> SearchOptions:
    generation = RECORD["generation_config"]
    return SearchOptions(
        beam_size=beam,
        max_length=generation["max_length"],
        early_stopping=generation["early_stopping"],
        n_best=beam,
        max_repeats=None,
    )


def search_rows(
    translator: Translator, waveforms: list[torch.Tensor], rows: list[dict[str, Any]], beam: int
) -> list[list[Hypothesis]]:
    """Search clips in one batch."""
    checkpoint = translator.checkpoint
    cache = checkpoint.model.cross_attention_cache(*collate_waveforms(waveforms, normalize=True))
    tokens = [checkpoint.target_id(row["to"]) for row in rows]
    return search(checkpoint.model.decoder, cache, tokens, search_settings(beam))


def test_the_record_belongs_to_the_bundled_model_and_clips() -> None:
    assert RECORD["weights_sha256"] == hashlib.sha256((MODEL / "model.safetensors").read_bytes()).hexdigest()
    assert RECORD["generation_config"] == json.loads((MODEL / "generation_config.json").read_text(encoding="utf-8"))
    assert {row["clip"] for row in ROWS} == {path.name for path in CLIPS.glob("*.flac")}
    trained = json.loads((MODEL / "languages.json").read_text(encoding="utf-8"))["directions"]
    assert {f"{row['clip'][:2]}-{row['to']}" for row in ROWS} == {*trained}
    assert all(len(row["beam"]) == BEAM for row in ROWS)


@torch.inference_mode()
def test_encoder_states_and_first_logits(translator: Translator, waveforms: list[torch.Tensor]) -> None:
    model = translator.checkpoint.model
    states_BSD, lengths_B = model.encode(*collate_waveforms(waveforms, normalize=True))
    tokens_BT = torch.tensor([[2, row["beam"][0]["ids"][0]] for row in ROWS])
    cache = model.decoder.cross_attention_cache(states_BSD, lengths_B)
    logits_BV = model.decoder.logits(model.decoder(tokens_BT, cache))[:, -1]
    for row, states_SD, length, logits_V in zip(ROWS, states_BSD, lengths_B.tolist(), logits_BV, strict=True):
        expected = row["encoder"]
        assert [length, states_SD.shape[1]] == expected["shape"]
        assert states_SD[:length].norm().item() == pytest.approx(expected["norm"], abs=1e-3)
        assert states_SD[0, :4].tolist() == pytest.approx(expected["first"], abs=1e-4)
        assert states_SD[length - 1, :4].tolist() == pytest.approx(expected["last"], abs=1e-4)
        largest = logits_V.topk(5)
        assert largest.indices.tolist() == row["first_step"]["ids"]
        assert largest.values.tolist() == pytest.approx(row["first_step"]["logits"], abs=1e-4)


@pytest.mark.parametrize("batched", [True, False], ids=["in one batch", "one by one"])
def test_beam_search(translator: Translator, waveforms: list[torch.Tensor], batched: bool) -> None:
    if batched:
        found = search_rows(translator, waveforms, ROWS, BEAM)
    else:
        pairs = zip(waveforms, ROWS, strict=True)
        found = [search_rows(translator, [waveform_T], [row], BEAM)[0] for waveform_T, row in pairs]
    for row, hypotheses in zip(ROWS, found, strict=True):
        assert [list(hypothesis.ids) for hypothesis in hypotheses] == [one["ids"] for one in row["beam"]]
        scores = [one["score"] for one in row["beam"]]
        assert [hypothesis.score for hypothesis in hypotheses] == pytest.approx(scores, abs=1e-4)


def test_greedy_search(translator: Translator, waveforms: list[torch.Tensor]) -> None:
    for row, [hypothesis] in zip(ROWS, search_rows(translator, waveforms, ROWS, 1), strict=True):
        assert list(hypothesis.ids) == row["greedy"]["ids"]
        assert hypothesis.log_prob == pytest.approx(row["greedy"]["log_prob"], abs=1e-4)
        assert translator.checkpoint.tokenizer.decode(hypothesis.ids) == row["greedy"]["text"]


@pytest.mark.parametrize("batched", [True, False], ids=["in one batch", "one by one"])
def test_translator(translator: Translator, batched: bool) -> None:
    clips, targets = [CLIPS / row["clip"] for row in ROWS], [row["to"] for row in ROWS]
    results: dict[int, Translation | AudioError] = {}
    if batched:
        results = dict(translator.stream(clips, to=targets, options=ALL_HYPOTHESES))
    else:
        for index, (clip, target) in enumerate(zip(clips, targets, strict=True)):
            results[index] = translator.translate(clip, to=target, options=ALL_HYPOTHESES)
    for index, row in enumerate(ROWS):
        result = results[index]
        assert not isinstance(result, AudioError)
        [segment] = result.segments
        assert [candidate.text for candidate in segment.candidates] == [one["text"] for one in row["beam"]]
        scores = [one["score"] for one in row["beam"]]
        assert [candidate.score for candidate in segment.candidates] == pytest.approx(scores, abs=1e-4)


@pytest.mark.slow
def test_transformers_still_gives_these_answers() -> None:
    found = answers()
    assert found["weights_sha256"] == RECORD["weights_sha256"]
    assert_close(found["answers"], ROWS)


def assert_close(found: Any, expected: Any, path: str = "answers") -> None:
    """Assert that two records are equal, numbers with a fraction to 1e-4 or, if large, to 1e-5 of their size."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys(), path
        for key, value in expected.items():
            assert_close(found[key], value, f"{path}.{key}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), path
        for index, value in enumerate(expected):
            assert_close(found[index], value, f"{path}[{index}]")
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=1e-5, abs=1e-4), path
    else:
        assert found == expected, path
