"""CUDA graphs of search steps: the many small operations of a step are launched at once.

On an H100, launching the operations of a step one by one takes longer than computing them for few utterances: in a
prototype, a graph took a step for 32 utterances from 8.9 ms to 3.1, and one for 256 from 15.4 ms to 14.9.
"""

import logging
import threading
import weakref
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import Protocol

import torch

from voxlate.decoding.search_state import SearchState
from voxlate.decoding.search_step import SearchStep

_LOG = logging.getLogger(__name__)
_MAX_UTTERANCES = 64
_MAX_BYTES = 4 << 30  # of all states; intermediate results share one pool of memory

# Capturing takes about as long as a graph saves in so many steps (an estimate: 200 ms). A job that is too short
# for it loses nothing, and any job at most twice what the better choice would have cost.
CAPTURE_AFTER_STEPS = 32

Work = Callable[[], None]


class Capture(Protocol):
    """Records work."""

    def is_possible(self) -> bool:
        """Return whether work can be captured, and repeated, here."""
        ...

    def __call__(self, work: Work) -> Work:
        """Record work, without running it; return a function that repeats it, with the same tensors."""
        ...


class CudaCapture:
    """Records work on a GPU."""

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()
        self._stream = torch.cuda.current_stream()

    def is_possible(self) -> bool:
        """Return whether this is the first stream: the work shares memory, so that it must not overlap."""
        return torch.cuda.current_stream() == self._stream

    def __call__(self, work: Work) -> Work:
        """Record work."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            work()
        return graph.replay


@dataclass
class _Graph:
    """A captured step: the state that it changes in place, and the state object that a search uses it by."""

    state: SearchState
    replay: Work
    user: "weakref.ref[SearchState]"


class StepGraphs:
    """Runs the steps of searches: those of small pools as graphs, which are kept from one search to the next.

    A graph belongs to one shape of a state, and is captured after `capture_after` steps of it. One search at a time
    uses it; others run their steps without. If capturing fails, all do. There are at most `max_graphs`.
    """

    def __init__(self, capture: Capture, *, max_graphs: int = 8, capture_after: int = CAPTURE_AFTER_STEPS) -> None:
        self._capture, self._max_graphs, self._capture_after = capture, max_graphs, capture_after
        self._graphs: OrderedDict[Hashable, _Graph] = OrderedDict()  # the last used one at the end
        self._steps: Counter[Hashable] = Counter()
        self._lock = threading.Lock()
        self._works = True

    def __len__(self) -> int:
        """Return the number of graphs."""
        return len(self._graphs)

    def run(self, step: SearchStep, state: SearchState) -> SearchState:
        """Return the state after a step, in place if a graph was used."""
        if state.utterances > _MAX_UTTERANCES or not self._works or not self._capture.is_possible():
            return step(state)
        with self._lock:
            graph = self._graph(step, state)
            if graph is None:
                return step(state)
            user = graph.user()
            if user is None:  # no search uses it, so this one may
                user = replace(graph.state)
                graph.user = weakref.ref(user)
                _copy(state, graph.state)
            elif user is not state:
                return step(state)
        graph.replay()
        return user

    def _graph(self, step: SearchStep, state: SearchState) -> _Graph | None:
        """Return the graph for a state, which is captured if the state has had enough steps."""
        key = (step.key, state.ids_UKT.shape, state.cross_attention_cache.states)
        if key in self._graphs:
            self._graphs.move_to_end(key)
            return self._graphs[key]
        self._steps[key] += 1
        size = state.bytes
        if self._steps[key] <= self._capture_after or size > _MAX_BYTES:
            return None
        while self._graphs and (
            len(self._graphs) >= self._max_graphs
            or size + sum(one.state.bytes for one in self._graphs.values()) > _MAX_BYTES
        ):
            self._graphs.popitem(last=False)
        self._steps[key] = 0  # if it must leave, it has to wait again
        own = state.clone()

        def work() -> None:
            _copy(step(own), own)

        try:
            graph = _Graph(own, self._capture(work), weakref.ref(replace(own)))
        except RuntimeError as error:
            reason = str(error).strip().partition("\n")[0]
            _LOG.warning("the search runs without CUDA graphs, which is slower for few utterances (%s)", reason)
            self._works = False
            return None
        self._graphs[key] = graph
        return graph


def step_graphs(device: torch.device) -> StepGraphs | None:
    """Return the graphs for a device, None if it is not a CUDA device."""
    return StepGraphs(CudaCapture()) if device.type == "cuda" else None


def _copy(source: SearchState, target: SearchState) -> None:
    """Copy all tensors but those that both states share."""
    for mine, others in zip(target.tensors, source.tensors, strict=True):
        if mine is not others:
            mine.copy_(others)
