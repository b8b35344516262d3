"""Minimum Bayes risk: chrF matches sacreBLEU, and hypotheses are reranked by it."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import sacrebleu

from voxlate import SearchOptions, Translator
from voxlate.decoding.mbr import chrf_table, rerank

TEXTS = [
    "The train leaves at seven.",
    "The train is leaving at 7.",
    "the",
    "",
    "Der Zug fährt um sieben.",
    "t h e",
    "東京",
]


def test_chrf_matches_sacrebleu() -> None:
    table = chrf_table(TEXTS)
    for row, hypothesis in enumerate(TEXTS):
        for column, reference in enumerate(TEXTS):
            expected = sacrebleu.sentence_chrf(hypothesis, [reference]).score
            assert table[row, column] == pytest.approx(expected, abs=1e-9), (hypothesis, reference)
    assert np.allclose(np.diag(table)[[0, 1, 2, 4]], 100)


def test_the_highest_expected_chrf_comes_first() -> None:
    texts = ["A cat sat here.", "The dog sat there.", "The dog sits there.", "The dog sat there"]
    assert rerank(texts, [-1.0, -1.1, -1.2, -1.3])[0] in (1, 3)
    assert rerank(texts, [-1.0, -9.0, -9.0, -9.0])[0] == 0
    assert rerank(["a", "a", "b"], [-3.0, -3.0, -2.9]) == [0, 1, 2]  # probabilities of equal texts are added up
    assert rerank(["only"], [-5.0]) == [0]


def test_a_translator_reranks_by_mbr(tiny_model: Path) -> None:
    """The hypotheses are the same as without MBR; the first is the one with the highest expected chrF."""
    translator = Translator(tiny_model)
    noise = np.random.default_rng(0).normal(size=16_000).astype(np.float32) * 0.1
    options = SearchOptions(beam_size=5, n_best=5, max_length=12)
    [plain] = translator.translate(noise, to="de", options=options).segments
    [chosen] = translator.translate(noise, to="de", options=dataclasses.replace(options, mbr=True)).segments
    assert {one.text for one in chosen.candidates} == {one.text for one in plain.candidates}
    assert len(plain.candidates) == 5
    best = dataclasses.replace(options, mbr=True, n_best=1)
    [only] = translator.translate(noise, to="de", options=best).segments
    assert [one.text for one in only.candidates] == [chosen.candidates[0].text]
    assert translator.recipe(best)["search_mbr"] is True
