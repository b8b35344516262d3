"""Batches of the encoder, and encoding in the background of the search."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch

from parity import ours
from tiny import transformers_model, waveforms
from voxlate.audio.loading import SAMPLE_RATE_HZ
from voxlate.decoding.background_encoder import BackgroundEncoder
from voxlate.decoding.schedule import AudioSegment, encoder_batches, free_padding


def segments(seconds: list[float]) -> list[AudioSegment]:
    audio: Any = None  # batches depend on the spans alone
    return [AudioSegment(index, (0, round(one * SAMPLE_RATE_HZ)), audio) for index, one in enumerate(seconds)]


def padding(batch: list[AudioSegment]) -> float:
    return len(batch) * max(one.seconds for one in batch) - sum(one.seconds for one in batch)


@pytest.mark.parametrize("count", [16, 64, 128, 200, 256, 512, 1_024])
def test_at_most_5_percent_of_what_a_gpu_encodes_is_padding(count: int) -> None:
    """With lengths like those of CoVoST 2. Small jobs have more, in few batches: another batch would take longer."""
    for seed in range(4):
        lengths = np.random.default_rng(seed).gamma(9.0, 5.4 / 9.0, count).clip(1.0, 20.0)
        ordered = sorted(segments(lengths.tolist()), key=lambda one: one.seconds)
        batches = list(encoder_batches(ordered, 64, free_padding(count)))
        assert [one for batch in batches for one in batch] == ordered
        encoded = sum(lengths) + sum(map(padding, batches))
        assert sum(map(padding, batches)) <= (0.05 * encoded if count >= 128 else 16.0 * len(batches))
        assert len(batches) <= (5 if count <= 64 else 11 + encoded / 250)  # large ones


def test_batches_have_a_maximum_size() -> None:
    assert [len(batch) for batch in encoder_batches(segments([1.0] * 40), 16)] == [16, 16, 8]
    assert [len(batch) for batch in encoder_batches(segments([30.0] * 12), 16)] == [10, 2]
    assert [len(batch) for batch in encoder_batches(segments([30.0, 1.0, 1.0]), 16)] == [3]
    assert [len(batch) for batch in encoder_batches(segments([30.0, 20.0, 1.0]), 16, 16.0)] == [2, 1]


def test_a_cpu_encodes_when_the_result_is_needed() -> None:
    model = ours(transformers_model(4))
    computed: list[int] = []
    inner = model.cross_attention_cache
    model.cross_attention_cache = lambda *batch: computed.append(len(batch[0])) or inner(*batch)  # type: ignore[func-returns-value, method-assign]
    encoded = BackgroundEncoder(model).start(waveforms(2, 0.4, 1.1))
    assert not computed
    assert encoded() is encoded()
    assert computed == [2]
    assert encoded().utterances == 2


class FakeStream:
    """What happens on a stream, in order."""

    def __init__(self, log: list[str], name: str) -> None:
        self.log, self.name = log, name

    def wait_stream(self, other: "FakeStream") -> None:
        self.log.append(f"{self.name} waits for {other.name}")

    def wait_event(self, event: Any) -> None:
        self.log.append(f"{self.name} waits for event on {event.stream.name}")


def test_a_gpu_encodes_on_a_stream_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in for CUDA's streams: the search waits for the batch on the GPU, and keeps its memory alive."""
    log: list[str] = []
    main = FakeStream(log, "search")
    current = [main]

    class FakeEvent:
        def record(self) -> None:
            self.stream = current[-1]

    @contextmanager
    def on(stream: FakeStream) -> Iterator[None]:
        current.append(stream)
        yield
        current.pop()

    model = ours(transformers_model(4))
    inner = model.cross_attention_cache
    monkeypatch.setattr(torch.cuda, "Stream", lambda _: FakeStream(log, "encoder"))
    monkeypatch.setattr(torch.cuda, "Event", FakeEvent)
    monkeypatch.setattr(torch.cuda, "stream", on)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: current[-1])
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda _, stream: log.append(f"kept for {stream.name}"))
    monkeypatch.setattr(type(model), "device", torch.device("cuda"))
    monkeypatch.setattr("voxlate.decoding.background_encoder.on_device", lambda tensor, _: tensor)

    def encode(*batch: torch.Tensor) -> Any:
        log.append(f"encodes on {current[-1].name}")
        monkeypatch.setattr(type(model), "device", torch.device("cpu"))
        return inner(*batch)

    monkeypatch.setattr(model, "cross_attention_cache", encode)
    encoded = BackgroundEncoder(model).start(waveforms(2, 0.4, 1.1))
    assert log == ["encoder waits for search", "encodes on encoder"]
    assert encoded().utterances == 2
    assert log[2] == "search waits for event on encoder"
    assert log[3:] == ["kept for search"] * len(encoded().tensors)
