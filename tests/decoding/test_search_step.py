"""A step of the search: one graph of tensor operations, which never waits for the values of any of them."""

from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode

from parity import ours
from tiny import transformers_model, waveforms
from voxlate.data.batching import collate_waveforms
from voxlate.decoding.output_layer import Vocabulary, shortlisted
from voxlate.decoding.search import CPU_LAYOUT, GPU_LAYOUT, Hypothesis, PoolLayout, Search, search
from voxlate.decoding.search_state import SearchState
from voxlate.decoding.search_step import SearchStep
from voxlate.models.caches import CrossAttentionCache
from voxlate.models.speech_translator import SpeechTranslator
from voxlate.search_options import SearchOptions, SearchSettings
from voxlate.tokenizer import EOS_ID

TAGS = (52, 53)
SETTINGS = [
    SearchSettings(beam_size=1, max_length=14, max_repeats=None),
    SearchSettings(beam_size=3, max_length=14, max_repeats=2, early_stopping=False, length_penalty=0.7),
    SearchSettings(beam_size=3, max_length=14, early_stopping="never"),
]


class NoValuesRead(TorchFunctionMode):
    """Fails where a value of a tensor is read on the host."""

    def __torch_function__(self, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        name = getattr(function, "__name__", "")
        reads = {"item", "tolist", "numpy", "cpu", "nonzero", "equal", "__bool__", "__int__", "__float__", "__index__"}
        assert name not in reads, name
        return function(*arguments, **(options or {}))


def first_state(model: SpeechTranslator, settings: SearchSettings, *, short: bool) -> tuple[SearchStep, SearchState]:
    """Return a step, and the state of three utterances."""
    memory = model.cross_attention_cache(*collate_waveforms(waveforms(2, 0.4, 2.0, 1.1), normalize=True))
    rows = model.decoder.output_rows()
    parts = {TAGS[0]: [EOS_ID, *range(3, 30)], TAGS[1]: [EOS_ID, *range(20, 50)]}
    step = SearchStep(model.decoder, shortlisted(rows, parts) if short else Vocabulary(rows), settings)
    return step, step.first(memory, torch.tensor([52, 53, 52]), 16)


@pytest.mark.parametrize(
    "settings",
    [pytest.param(SETTINGS[0], marks=pytest.mark.slow), SETTINGS[1], pytest.param(SETTINGS[2], marks=pytest.mark.slow)],
    ids=str,
)
@torch.inference_mode()
def test_a_step_is_one_graph(settings: SearchSettings) -> None:
    """`torch.compile` finds no place where Python needs the value of a tensor, and the graph does the same."""
    model = ours(transformers_model(4))
    step, expected = first_state(model, settings, short=settings.beam_size == 3)
    _, traced = first_state(model, settings, short=settings.beam_size == 3)
    compiled = torch.compile(step.__call__, fullgraph=True, backend="eager")
    for _ in range(settings.max_length):
        expected, traced = step(expected), compiled(traced)
    assert bool(expected.is_done_U.all())
    for ours_, theirs in zip(traced.tensors, expected.tensors, strict=True):
        torch.testing.assert_close(ours_, theirs)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("fast", [False, True])
@torch.inference_mode()
def test_no_step_reads_a_value(settings: SearchSettings, fast: bool) -> None:
    model = ours(transformers_model(4), fast=fast)
    step, state = first_state(model, settings, short=fast)
    with NoValuesRead():
        step(state)
    with pytest.raises(AssertionError, match="__bool__"), NoValuesRead():
        bool(state.is_done_U[0])


@torch.inference_mode()
def test_what_is_done_no_longer_changes() -> None:
    """The host may look at a search later; meanwhile, finished utterances keep their hypotheses."""
    step, state = first_state(ours(transformers_model(4)), SETTINGS[1], short=False)
    done: dict[int, list[torch.Tensor]] = {}
    for _ in range(3 * SETTINGS[1].max_length):
        state = step(state)
        for row in range(state.utterances):
            results = [table[row] for table in (state.lengths_U, *state.ended.tensors)]
            if row in done:
                assert all(torch.equal(one, other) for one, other in zip(results, done[row], strict=True))
            elif state.is_done_U[row]:
                done[row] = results
    assert len(done) == 3


@pytest.mark.parametrize("layout", [CPU_LAYOUT, GPU_LAYOUT, PoolLayout(3, True, 4, 5)], ids=["cpu", "gpu", "far ahead"])
@pytest.mark.parametrize("beam_size", [1, 3])
def test_utterances_added_later_change_no_result(beam_size: int, layout: PoolLayout) -> None:
    """Results of a pool that is refilled during the search are those of each utterance alone, in any layout."""
    model = ours(transformers_model(4))
    clips = waveforms(2, 0.4, 2.0, 1.1, 0.7, 1.6, 0.9, 2.4)
    options = SearchOptions(beam_size=beam_size, max_length=24, n_best=min(2, beam_size), max_repeats=2)
    pool, waiting = Search(model.decoder, options, layout=layout, keep_caches=True), [*range(len(clips))]
    found: dict[int, list[Hypothesis]] = {}

    def memory(index: int) -> CrossAttentionCache:
        with torch.inference_mode():
            return model.cross_attention_cache(*collate_waveforms([clips[index]], normalize=True))

    steps = 0
    while waiting or len(pool):
        if waiting and steps % 3 == 0:
            pool.add([waiting[0]], memory(waiting[0]), [TAGS[waiting.pop(0) % 2]])
        for key, hypotheses in pool.step():
            assert key not in found
            found[key] = hypotheses
            torch.testing.assert_close(pool.take_cache(key).keys[0], memory(key).keys[0])
        steps += 1
    for index in range(len(clips)):
        [alone] = search(model.decoder, memory(index), [TAGS[index % 2]], options)
        assert [one.ids for one in found[index]] == [one.ids for one in alone]
        assert [one.score for one in found[index]] == pytest.approx([one.score for one in alone], abs=1e-5)


@pytest.mark.parametrize("layout", [CPU_LAYOUT, GPU_LAYOUT], ids=["cpu", "gpu"])
def test_a_search_leaves_the_cache_of_its_caller_unchanged(layout: PoolLayout) -> None:
    model = ours(transformers_model(4))
    with torch.inference_mode():
        memory = model.cross_attention_cache(*collate_waveforms(waveforms(2, 0.4, 2.0, 1.1, 1.6), normalize=True))
    before = memory.clone()
    pool = Search(model.decoder, SearchOptions(beam_size=3, max_length=24), layout=layout)
    pool.add(range(4), memory, [52, 53, 52, 53])
    while len(pool):
        pool.step()
    assert all(torch.equal(one, other) for one, other in zip(memory.tensors, before.tensors, strict=True))


@pytest.mark.parametrize("most", [1, 2, 3])
def test_all_ids_that_would_repeat_a_phrase_are_forbidden(most: int) -> None:
    """Random guarded sequences of few ids, in which several phrases are often about to repeat at the same time."""
    model = ours(transformers_model(4))
    settings = SearchSettings(beam_size=2, max_length=60, max_repeats=most)
    with torch.no_grad():  # the scores hardly depend on the speech or on earlier tokens
        model.decoder.output_weight[7:10] = model.decoder.output_weight[7:10].abs() * 3
        model.decoder.output_weight[EOS_ID] = -model.decoder.output_weight[EOS_ID].abs()
    memory = model.cross_attention_cache(*collate_waveforms(waveforms(1, 0.4, 0.9), normalize=True))
    for hypotheses in search(model.decoder, memory, [52, 53], settings):
        ids = hypotheses[0].ids[1:-1]
        for period in range(1, 13):
            for start in range(len(ids) - period * (most + 1) + 1):
                phrase = ids[start : start + period]
                assert ids[start : start + period * (most + 1)] != phrase * (most + 1)
