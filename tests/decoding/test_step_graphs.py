"""CUDA graphs of search steps, with a stand-in that repeats a function: what a graph does, on any device."""

import logging
from collections.abc import Callable

import pytest
import torch

from parity import ours
from tiny import transformers_model, waveforms
from voxlate.data.batching import collate_waveforms
from voxlate.decoding.output_layer import Vocabulary
from voxlate.decoding.search import GPU_LAYOUT, Hypothesis, Search, search
from voxlate.decoding.step_graphs import CAPTURE_AFTER_STEPS, StepGraphs, step_graphs
from voxlate.models.caches import CrossAttentionCache
from voxlate.models.speech_translator import SpeechTranslator
from voxlate.search_options import SearchOptions

OPTIONS = SearchOptions(beam_size=3, max_length=24, n_best=2)
Work = Callable[[], None]


class StandIn:
    """Repeats a function, which must change tensors in place, as a graph does; counts what it does."""

    def __init__(self, error: str = "") -> None:
        self.captured, self.replayed, self.error = 0, 0, error

    def is_possible(self) -> bool:
        return True

    def __call__(self, work: Work) -> Work:
        if self.error:
            raise RuntimeError(self.error)
        self.captured += 1

        def replay() -> None:
            self.replayed += 1
            work()

        return replay


def memory(model: SpeechTranslator, *seconds: float) -> CrossAttentionCache:
    with torch.inference_mode():
        return model.cross_attention_cache(*collate_waveforms(waveforms(2, *seconds), normalize=True))


def alone(model: SpeechTranslator, *seconds: float) -> list[list[tuple[int, ...]]]:
    """Return the ids of the hypotheses without graphs."""
    return [ids(found) for found in search(model.decoder, memory(model, *seconds), [52] * len(seconds), OPTIONS)]


def ids(hypotheses: list[Hypothesis]) -> list[tuple[int, ...]]:
    return [one.ids for one in hypotheses]


def begun(model: SpeechTranslator, vocabulary: Vocabulary, graphs: StepGraphs, *seconds: float) -> Search:
    """Return a search of utterances with graphs."""
    pool = Search(model.decoder, OPTIONS, vocabulary, layout=GPU_LAYOUT, graphs=graphs)
    pool.add(range(len(seconds)), memory(model, *seconds), [52] * len(seconds))
    return pool


def results(pool: Search) -> list[list[tuple[int, ...]]]:
    found: dict[int, list[tuple[int, ...]]] = {}
    while len(pool):
        found.update((key, ids(hypotheses)) for key, hypotheses in pool.step())
    return [found[key] for key in sorted(found)]


def test_graphs_change_no_result_and_serve_later_searches() -> None:
    model, capture = ours(transformers_model(4)), StandIn()
    vocabulary, graphs = Vocabulary(model.decoder.output_rows()), StepGraphs(capture)
    clips = [(0.4, 2.0, 1.1, 0.7, 1.6), (0.9, 2.4), (1.3, 0.5, 2.2, 0.6, 1.0), (0.8,), (1.7, 0.6, 1.2)]
    for _ in range(2):
        for seconds in clips:
            assert results(begun(model, vocabulary, graphs, *seconds)) == alone(model, *seconds)
    assert 0 < len(graphs) == capture.captured <= 3  # pools of 1, 4 and 16 utterances
    assert capture.replayed > CAPTURE_AFTER_STEPS


def test_short_jobs_capture_nothing() -> None:
    model, capture = ours(transformers_model(4)), StandIn()
    graphs = StepGraphs(capture, capture_after=100)
    assert results(begun(model, Vocabulary(model.decoder.output_rows()), graphs, 0.4, 2.0)) == alone(model, 0.4, 2.0)
    assert capture.captured == len(graphs) == 0


def test_searches_at_the_same_time_do_not_share_a_graph() -> None:
    """The second one runs its steps without, until the first one is finished; utterances that join change nothing."""
    model, capture = ours(transformers_model(4)), StandIn()
    graphs, vocabulary = StepGraphs(capture, capture_after=0), Vocabulary(model.decoder.output_rows())
    first, second = (begun(model, vocabulary, graphs, *seconds) for seconds in ((0.4, 2.0), (1.1, 0.7)))
    found: dict[tuple[int, int], list[tuple[int, ...]]] = {}
    steps = 0
    while len(first) or len(second):
        for number, pool in enumerate((first, second)):
            found.update(((number, key), ids(hypotheses)) for key, hypotheses in pool.step())
        steps += 1
        if steps == 3:
            first.add([2, 3, 4], memory(model, 1.6, 0.9, 1.3), [52] * 3)
    assert [found[0, key] for key in range(5)] == alone(model, 0.4, 2.0) + alone(model, 1.6, 0.9, 1.3)
    assert [found[1, key] for key in range(2)] == alone(model, 1.1, 0.7)
    assert capture.replayed > 0
    replayed = capture.replayed
    assert results(begun(model, vocabulary, graphs, 1.1, 0.7)) == alone(model, 1.1, 0.7)
    assert capture.replayed > replayed


def test_the_least_recently_used_graph_leaves() -> None:
    model, capture = ours(transformers_model(4)), StandIn()
    graphs, vocabulary = StepGraphs(capture, max_graphs=1, capture_after=2), Vocabulary(model.decoder.output_rows())
    for seconds in ((0.4,), (1.1, 0.7), (0.4,), (1.1, 0.7)):
        assert results(begun(model, vocabulary, graphs, *seconds)) == alone(model, *seconds)
        assert len(graphs) == 1
    assert capture.captured >= 4


def test_where_capturing_fails_the_search_runs_without(caplog: pytest.LogCaptureFixture) -> None:
    model = ours(transformers_model(4))
    graphs = StepGraphs(StandIn("CUDA error: operation not permitted when stream is capturing\nhint"), capture_after=0)
    vocabulary = Vocabulary(model.decoder.output_rows())
    for _ in range(2):
        assert results(begun(model, vocabulary, graphs, 0.4, 2.0)) == alone(model, 0.4, 2.0)
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert "without CUDA graphs, which is slower for few utterances (CUDA error: operation" in record.getMessage()


def test_a_cpu_has_no_graphs() -> None:
    assert step_graphs(torch.device("cpu")) is None
