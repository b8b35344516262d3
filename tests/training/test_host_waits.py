"""An update of training never waits for the device, and results are read late without changing what training does."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from host_waits import ForbidHostWaits, HostWaitError
from micro_corpus import PAIRS
from toy import log, write_toy, write_vocabulary
from training_runs import config, run, same_files
from voxlate.data.batching import Batch
from voxlate.errors import VoxlateError
from voxlate.models.gpu.gpu_path import compile_encoders, replace_parts
from voxlate.training.training_run import TrainingRun
from voxlate.training.update import train_update


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toy")
    write_vocabulary(folder / "sentencepiece.bpe.model")
    write_toy(folder, "train", 8, pairs=PAIRS)
    return folder


def forbidding(change: Callable[[torch.Tensor], object] = id) -> Callable[..., Any]:
    """Return a `train_update` during which the host must not wait; `change` is called with its result."""

    def update(run: TrainingRun, number: int, *rest: Any) -> Any:
        with ForbidHostWaits([*run.objective.parameters(), *run.objective.buffers()]) as mode:
            result = train_update(run, number, *rest)
            change(result)
        assert mode.calls > 500
        return result.clone()

    return update


CHANGES = {
    "loss__ctc_weight": 0.3,
    "regularization": {"mask_time_prob": 0.3, "mask_feature_prob": 0.2, "mask_feature_length": 4},
    "optimizer__max_updates": 2,
    "optimizer__warmup_updates": 0,
}


def test_an_update_does_not_wait_for_the_device(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The parts for GPUs instead of those for CPUs; they run on a CPU, too.
    monkeypatch.setattr("voxlate.training.distributed.install_fast_path", replace_parts)
    monkeypatch.setattr("voxlate.training.train.train_update", forbidding())
    run(config(toy, tmp_path / "run", **CHANGES))
    run(config(toy, tmp_path / "checkpointing", gradient_checkpointing=True, **CHANGES))
    monkeypatch.setattr("voxlate.training.train.train_update", forbidding(float))
    with pytest.raises(HostWaitError, match="__float__ reads a tensor on the device"):
        run(config(toy, tmp_path / "waiting", **CHANGES))
    monkeypatch.setattr("voxlate.training.distributed.install_fast_path", lambda _: None)
    with pytest.raises(HostWaitError, match="__bool__"):  # transformers looks at the mask
        run(config(toy, tmp_path / "plain", **CHANGES))


def test_a_compiled_encoder_trains_the_same(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[object] = []

    def backend(graph: Any, _: object) -> Any:
        compiled.append(graph)
        return graph.forward

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The .grad attribute of a Tensor")  # torch.compile looks at it
        monkeypatch.setattr("voxlate.training.distributed.install_fast_path", replace_parts)
        monkeypatch.setattr(
            "voxlate.training.distributed.compile_encoders", lambda model: compile_encoders(model, backend)
        )
        run(config(toy, tmp_path / "plain"))
        assert not compiled
        run(config(toy, tmp_path / "compiled", compile_encoder=True))
    assert compiled
    for one, other in zip(log(tmp_path / "plain"), log(tmp_path / "compiled"), strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-4)


def breaking(first: int, last: int) -> Callable[..., Any]:
    """Return a `train_update` whose loss is NaN in some updates, counted from 1."""

    def update(run: TrainingRun, number: int, batches: list[Batch], *rest: Any) -> Any:
        if first <= number + 1 <= last:
            batches = [replace(batch, waveform_BT=batch.waveform_BT * float("nan")) for batch in batches]
        return train_update(run, number, batches, *rest)

    return update


@pytest.mark.parametrize("skipping", [("cpu", "cuda"), ()])
def test_updates_that_are_not_finite_change_nothing(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, skipping: tuple[str, ...]
) -> None:
    monkeypatch.setattr("voxlate.training.optimizer.SKIPPING_DEVICES", skipping)
    changes = {"optimizer__max_updates": 6, "log_every": 3, "checkpoints": {"every_updates": 1, "keep_last": 9}}
    monkeypatch.setattr("voxlate.training.train.train_update", breaking(4, 5))
    run(config(toy, tmp_path / "run", **changes))
    folder = tmp_path / "run" / "checkpoints"
    weights = [(folder / f"update-{number:08}" / "weights.safetensors").read_bytes() for number in (3, 4, 5, 6)]
    moments = [(folder / f"update-{number:08}" / "optimizer-00000.safetensors").read_bytes() for number in (3, 4, 5, 6)]
    assert weights[0] == weights[1] == weights[2] != weights[3]
    assert moments[0] == moments[1] == moments[2] != moments[3]
    first, second = log(tmp_path / "run")
    assert "skipped" not in first
    assert second["skipped"] == 2
    assert 0 < second["loss"] < 100


@pytest.mark.parametrize(("first", "every"), [(1, 20), (4, 20), (4, 3)])
def test_training_stops_at_the_tenth_update_that_is_not_finite(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: int, every: int
) -> None:
    monkeypatch.setattr("voxlate.training.train.train_update", breaking(first, 99))
    with pytest.raises(VoxlateError, match=f"in 10 consecutive updates, up to update {first + 9}; lower"):
        run(config(toy, tmp_path / "run", optimizer__max_updates=60, log_every=every))


def test_how_often_results_are_read_changes_nothing(toy: Path, tmp_path: Path) -> None:
    changes = {"optimizer__max_updates": 6, "loss__ctc_weight": 0.3}
    for name, every in (("often", 1), ("seldom", 6)):
        run(config(toy, tmp_path / name, log_every=every, checkpoints__every_updates=6, **changes))
    assert same_files(tmp_path / "often", tmp_path / "seldom", "best/model.safetensors")
    [summary] = log(tmp_path / "seldom")
    lines = log(tmp_path / "often")
    assert summary["gradient_norm"] == pytest.approx(sum(line["gradient_norm"] for line in lines) / 6, rel=1e-12)
