"""`data.batch_seconds: auto` fits batches to the memory of a GPU, which these tests pretend to have."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from micro_corpus import PAIRS
from toy import write_toy, write_vocabulary
from training_runs import config, run, run_interrupted, same_files
from voxlate.config.schema import TrainConfig
from voxlate.errors import VoxlateError
from voxlate.training.batch_size import largest_batch

GIB = 2**30


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toy")
    write_vocabulary(folder / "sentencepiece.bpe.model")
    write_toy(folder, "train", 12, pairs=PAIRS)
    return folder


def estimate(seconds: float) -> dict[str, float]:
    return {"weights": 3.0, "gradients": 3.0, "moments": 6.0, "activations": 0.1 * seconds}


def test_the_trial_corrects_the_estimate() -> None:
    tried = []

    def trial(seconds: float) -> float:
        tried.append(seconds)
        return 0.08 * seconds * GIB  # less than estimated

    assert largest_batch(estimate, 80 * GIB, trial) == 600  # (72 - 12) / 1.25 / 0.08
    assert tried == [pytest.approx(240)]  # half of (72 - 12) / 1.25 / 0.1
    assert largest_batch(estimate, 1000 * GIB, trial) == 960
    assert largest_batch(estimate, 10 * GIB, trial) == 10  # too little for the weights


def test_a_trial_without_enough_memory_is_repeated_with_less() -> None:
    tried = []

    def trial(seconds: float) -> float | None:
        tried.append(seconds)
        return None if seconds > 100 else 0.3 * seconds * GIB

    assert largest_batch(estimate, 80 * GIB, trial) == 160  # (72 - 12) / 1.25 / 0.3
    assert tried == pytest.approx([240, 120, 60])
    assert largest_batch(estimate, 80 * GIB, lambda _: None) == 10


def pretend_memory(monkeypatch: pytest.MonkeyPatch, free: float, per_batch: float | None) -> list[str]:
    """Pretend that a GPU has so many bytes free, and that a trial takes so many; return what is measured."""
    measured: list[str] = []

    def peak_memory(device: torch.device, action: Callable[[], None]) -> float | None:
        action()
        measured.append(str(device))
        return per_batch

    monkeypatch.setattr("voxlate.training.batch_size.free_memory", lambda _: free)
    monkeypatch.setattr("voxlate.training.batch_size.peak_memory", peak_memory)
    return measured


@pytest.mark.parametrize("ctc", [0.0, 0.3])
def test_the_size_is_measured_once_and_kept_for_resumed_runs(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ctc: float
) -> None:
    changes = {"data__batch_seconds": "auto", "optimizer__max_updates": 5, "loss__ctc_weight": ctc}
    measured = pretend_memory(monkeypatch, 1 * GIB, 20 * GIB)
    printed = run(config(toy, tmp_path / "one", **changes))
    assert measured == ["cpu"]
    stored = json.loads((tmp_path / "one" / "batch_size.json").read_text())["batch_seconds"]
    assert 10 <= stored < 960
    assert f"data.batch_seconds: {stored:g} (auto, kept in {tmp_path / 'one' / 'batch_size.json'})" in printed
    pretend_memory(monkeypatch, 1 * GIB, 20 * GIB)
    run_interrupted(config(toy, tmp_path / "two", **changes), 2)
    monkeypatch.setattr("voxlate.training.batch_size.free_memory", lambda _: pytest.fail("another GPU"))
    assert "(auto, kept" not in run(config(toy, tmp_path / "two", **changes))
    assert same_files(tmp_path / "one", tmp_path / "two", "best/model.safetensors", "batch_size.json")


def test_the_trial_changes_nothing(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_memory(monkeypatch, 1 * GIB, 500 * GIB)
    run(config(toy, tmp_path / "auto", data__batch_seconds="auto"))
    assert json.loads((tmp_path / "auto" / "batch_size.json").read_text())["batch_seconds"] == 10
    run(config(toy, tmp_path / "number", data__batch_seconds=10))
    assert same_files(tmp_path / "auto", tmp_path / "number", "best/model.safetensors")


def test_cached_states_are_tried_instead_of_the_encoder(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = pretend_memory(monkeypatch, 1 * GIB, 1)
    run(
        config(
            toy,
            tmp_path / "run",
            data__batch_seconds="auto",
            trainable={"preset": "decoder-only", "cache_encoder": True},
        )
    )
    assert measured == ["cpu"]
    assert json.loads((tmp_path / "run" / "batch_size.json").read_text())["batch_seconds"] == 960


def test_on_a_cpu_it_is_the_default(toy: Path, tmp_path: Path) -> None:
    printed = run(config(toy, tmp_path / "run", data__batch_seconds="auto", optimizer__max_updates=2))
    assert "data.batch_seconds: 120 (auto, kept in" in printed


def test_a_resumed_run_without_its_size_is_an_error(toy: Path, tmp_path: Path) -> None:
    changes = {"data__batch_seconds": "auto", "optimizer__max_updates": 5}
    run_interrupted(config(toy, tmp_path / "run", **changes), 2)
    path = tmp_path / "run" / "batch_size.json"
    for damage in (path.unlink, lambda: path.write_text("{}")):
        damage()
        with pytest.raises(VoxlateError, match=r"batch_size.json: missing or damaged; it holds the batch size of this"):
            run(config(toy, tmp_path / "run", **changes))


@pytest.mark.parametrize("value", ["all", 0, -1.0, None])
def test_other_values_are_errors(toy: Path, value: object) -> None:
    raw = config(toy, toy / "run").model_dump(mode="json")
    raw["data"]["batch_seconds"] = value
    with pytest.raises(ValueError, match="expected auto, or a number above 0"):
        TrainConfig.model_validate(raw)
