"""Inputs that join and leave a running search: the same results, fair turns, and nothing left of those that leave."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from parity import ours
from tiny import transformers_model, waveforms
from voxlate import SearchOptions, SegmentationOptions, Translator
from voxlate.audio.decoded_audio import DecodedAudio, decode_input
from voxlate.audio.loading import SAMPLE_RATE_HZ
from voxlate.data.batching import collate_waveforms
from voxlate.decoding.fair_turns import FairTurns
from voxlate.decoding.output_layer import Vocabulary
from voxlate.decoding.results import Segment, Translation
from voxlate.decoding.schedule import AudioSegment
from voxlate.decoding.search import CPU_LAYOUT, GPU_LAYOUT, Hypothesis, PoolLayout, Search

TAG = 52
SEARCH = SearchOptions(beam_size=2, max_length=20)
SEGMENTATION = SegmentationOptions(segmentation=2.0, vad=False)


def segments(index: int, count: int, seconds: float) -> Iterator[AudioSegment]:
    audio: Any = None  # turns depend on the spans alone
    length = round(seconds * SAMPLE_RATE_HZ)
    for number in range(count):
        yield AudioSegment(index, (number * length, (number + 1) * length), audio)


def test_a_new_input_is_next_and_all_get_the_same_share() -> None:
    turns = FairTurns()
    turns.add(0, segments(0, 1000, 4.0))
    assert [one.index for one in turns.take(6, 60.0)] == [0] * 6
    turns.add(1, segments(1, 2, 4.0))
    turns.add(2, segments(2, 1000, 8.0))
    assert {one.index for one in turns.take(2, 60.0)} == {1, 2}
    taken = turns.take(90, 1e9)
    seconds = {index: sum(one.seconds for one in taken if one.index == index) for index in (0, 2)}
    assert abs(seconds[0] - seconds[2]) <= 8.0
    assert sum(one.index == 1 for one in taken) <= 2
    assert [one.span[0] for one in taken if one.index == 2] == sorted(one.span[0] for one in taken if one.index == 2)
    turns.drop(0)
    turns.drop(2)
    assert not len(turns)
    assert turns.take(5, 60.0) == []


def test_an_input_that_has_waited_is_not_overtaken_for_ever() -> None:
    turns = FairTurns()
    turns.add(0, segments(0, 1000, 4.0))
    served = []
    for number in range(1, 30):
        turns.add(number, segments(number, 1, 3.0))  # as many seconds as are taken
        served += turns.take(1, 3.0)
    assert sum(one.index == 0 for one in served) >= 5


def test_the_seconds_taken_at_once_are_limited() -> None:
    turns = FairTurns()
    turns.add(0, segments(0, 10, 20.0))
    assert len(turns.take(16, 60.0)) == 3


@pytest.mark.parametrize("layout", [CPU_LAYOUT, GPU_LAYOUT], ids=["cpu", "gpu"])
def test_utterances_that_leave_a_search_do_not_change_the_others(layout: PoolLayout) -> None:
    model = ours(transformers_model(3))
    options = SearchOptions(beam_size=3, max_length=40, max_repeats=None)
    clips = waveforms(4, 0.6, 1.9, 1.1, 2.4, 0.9, 1.5)

    def found(keys: list[int], leave: dict[int, list[int]]) -> dict[int, list[Hypothesis]]:
        """Search clips; `leave` has those that leave before a step. Clip 5 joins at step 4."""
        pool = Search(model.decoder, options, Vocabulary(model.decoder.output_rows()), layout=layout)
        results: dict[int, list[Hypothesis]] = {}

        def add(joining: list[int]) -> None:
            batch = [clips[key] for key in joining]
            cache = model.cross_attention_cache(*collate_waveforms(batch, normalize=True))
            pool.add(joining, cache, [TAG + key % 2 for key in joining])

        with torch.inference_mode():
            if keys:
                add(keys)
            for step in range(60):
                pool.remove(leave.get(step, []))
                if step == 4:
                    add([5])
                results.update(pool.step())
        assert len(pool) == 0
        return results

    alone = {key: found([key], {})[key] for key in range(5)} | {5: found([], {})[5]}
    left = found([0, 1, 2, 3, 4], {1: [1], 3: [4, 0], 5: [2]})
    assert {3, 5} <= left.keys()
    assert 1 not in left
    assert all([one.ids for one in left[key]] == [one.ids for one in alone[key]] for key in left)
    assert found([0, 1], {2: [0, 1]}).keys() == {5}  # the pool was empty for a while


@pytest.fixture(scope="module")
def translator(tiny_model: Path) -> Translator:
    return Translator(tiny_model, batch_size=8, word_timestamps=True)


def decoded(*seconds: float) -> list[DecodedAudio]:
    inputs = [
        decode_input(clip.numpy().astype(np.float32), speech=SEGMENTATION.speech) for clip in waveforms(1, *seconds)
    ]
    assert all(isinstance(one, DecodedAudio) for one in inputs)
    return inputs  # type: ignore[return-value]


def test_inputs_that_join_at_any_time_have_the_results_of_a_stream(translator: Translator) -> None:
    inputs = decoded(1.0, 13.0, 0.7, 1.4, 7.5, 0.04, 0.9)
    targets = ["de", "fr", "de", "gl", "fr", "de", "gl"]
    expected = {
        index: result
        for index, result in translator.stream(
            inputs, to=[[one] for one in targets], options=SEARCH, segmentation=SEGMENTATION
        )
        if isinstance(result, Translation)
    }
    reported: dict[int, list[Segment]] = {}
    live = translator.live(
        SEARCH, SEGMENTATION, lambda index, _, segment: reported.setdefault(index, []).append(segment)
    )
    results: dict[int, Translation] = {}
    for index, (audio, target) in enumerate(zip(inputs, targets, strict=True)):
        results.update(live.join(index, audio, target))
        for _ in range(5):
            results.update(live.advance())
    assert 5 in results  # too short for speech
    while len(live):
        results.update(live.advance())
    assert len(expected[1].segments) > 4
    assert {index: one.text for index, one in results.items()} == {index: one.text for index, one in expected.items()}
    assert {index: tuple(found) for index, found in reported.items()} == {
        index: result.segments for index, result in results.items() if result.segments
    }


def test_nothing_is_left_of_an_input_that_leaves(translator: Translator) -> None:
    long, short = decoded(20.0, 1.0)
    live = translator.live(SEARCH, SEGMENTATION)
    assert not [*live.join(0, long, "de")]
    for _ in range(3):
        assert not [*live.advance()]
    live.drop(0)
    assert not [*live.join(1, short, "fr")]
    live.drop(7)  # unknown: it has ended
    results: dict[int, Translation] = {}
    steps = 0
    while len(live):
        results.update(live.advance())
        steps += 1
    assert (
        results[1].text
        == translator.translate(short.waveform_T[:], to="fr", options=SEARCH, segmentation=SEGMENTATION).text
    )
    assert steps < 40  # one search, not one after the 10 segments that left
