"""Training on several processes, started with torchrun on the CPU: DDP, and sharding with `fully_shard`."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate.utils import DistributedType
from rich.console import Console
from safetensors.torch import load_file

from toy import log, settings, write_settings, write_toy_corpus
from voxlate.checkpoints.model_folder import load_checkpoint
from voxlate.config.schema import TrainConfig
from voxlate.errors import VoxlateError
from voxlate.training import distributed
from voxlate.training.retention import checkpoint_update, list_checkpoints
from voxlate.training.train import train

CHANGES = {
    "data__batches_per_update": 4,
    "data__batch_seconds": 4,
    "optimizer__max_updates": 8,
    "loss__ctc_weight": 0.3,
    "regularization": {"decoder_dropout": 0.1, "mask_time_prob": 0.3},
    "validation__every_updates": 4,
    "checkpoints": {"every_updates": 4, "keep_last": 9},
}


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus, and an uninterrupted run on it with one process."""
    folder = write_toy_corpus(tmp_path_factory.mktemp("toy"), train=40, dev=5)
    changes = CHANGES | {"data__dev": [str(folder / "dev.jsonl")]}
    assert train(TrainConfig(**settings(folder, output_dir=str(folder / "one"), **changes)), Console(quiet=True)) == 0
    return folder


def run(toy: Path, output: Path, processes: int, **changes: Any) -> str:
    """Train with torchrun and return what was printed."""
    changes = CHANGES | {"data__dev": [str(toy / "dev.jsonl")]} | changes
    path = write_settings(output.with_suffix(".yaml"), settings(toy, output_dir=str(output), **changes))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    command += ["-m", "voxlate", "train", str(path)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert result.returncode == 0, result.stderr
    return result.stderr


def losses(run: Path) -> list[float]:
    return [value for line in log(run) for value in (line["loss"], line["ctc"])]


def cut_back(run: Path, update: int) -> None:
    """Remove what a run saved after an update, as if it had been killed then."""
    for folder in list_checkpoints(run):
        if checkpoint_update(folder) > update:
            for file in folder.iterdir():
                file.unlink()
            folder.rmdir()


def test_two_processes_equal_one_and_resume_each_others_runs(toy: Path, tmp_path: Path) -> None:
    """Losses agree to 1e-6, from the start, and when one process resumes the run of two."""
    printed = run(toy, tmp_path / "two", 2)
    assert "on 2 processes" in printed
    assert "find_unused_parameters" not in printed  # DDP warns if it is not needed
    assert losses(tmp_path / "two") == pytest.approx(losses(toy / "one"), rel=1e-6)
    dev = [[line["directions"] for line in log(folder, "dev")] for folder in (toy / "one", tmp_path / "two")]
    assert [sorted(line) for line in dev[0]] == [sorted(line) for line in dev[1]]
    for one, two in zip(*dev, strict=True):
        assert all(two[name]["loss"] == pytest.approx(one[name]["loss"], rel=1e-5) for name in one)
        assert all(two[name]["bleu"] == one[name]["bleu"] for name in one)

    alone = settings(toy, output_dir=str(tmp_path / "two"), **(CHANGES | {"data__dev": [str(toy / "dev.jsonl")]}))
    cut_back(tmp_path / "two", 4)
    assert train(TrainConfig(**alone), Console(quiet=True)) == 0  # from two processes to one
    assert losses(tmp_path / "two") == pytest.approx(losses(toy / "one"), rel=1e-6)


def test_sharded_over_two_processes_and_back(toy: Path, tmp_path: Path) -> None:
    """One process, then two with everything sharded, then one again, each from the previous checkpoint."""
    full = settings(toy, output_dir=str(tmp_path / "run"), **(CHANGES | {"data__dev": [str(toy / "dev.jsonl")]}))
    assert train(TrainConfig(**full), Console(quiet=True)) == 0
    cut_back(tmp_path / "run", 4)
    printed = run(toy, tmp_path / "run", 2, sharded=True, checkpoints={"every_updates": 2, "keep_last": 9})
    assert "resuming from update 4" in printed
    assert "2 processes, sharded" in printed
    assert losses(tmp_path / "run") == pytest.approx(losses(toy / "one"), rel=1e-5)
    last = tmp_path / "run" / "checkpoints" / "update-00000008"
    shards = sorted(last.glob("optimizer-*.safetensors"))
    assert len(shards) == 2
    full_size = (toy / "one" / "checkpoints" / "update-00000008" / "optimizer-00000.safetensors").stat().st_size
    assert all(shard.stat().st_size < 0.6 * full_size for shard in shards)
    expected, actual = (
        load_file(folder / "weights.safetensors") for folder in (toy / "one" / last.relative_to(tmp_path / "run"), last)
    )
    # The bias of the keys has no effect on attention: its gradient is rounding noise.
    meaningful = [name for name in expected if not name.endswith("k_proj.bias")]
    assert all(torch.allclose(actual[name], expected[name], atol=1e-5) for name in meaningful)
    assert load_checkpoint(tmp_path / "run" / "best").targets

    cut_back(tmp_path / "run", 6)
    assert train(TrainConfig(**full), Console(quiet=True)) == 0
    assert losses(tmp_path / "run") == pytest.approx(losses(toy / "one"), rel=1e-5)
    assert len(log(tmp_path / "run")) == 8


def test_layerdrop_is_the_same_in_two_processes(toy: Path, tmp_path: Path) -> None:
    """A batch drops the same layers in any process, and DDP does not wait for their gradients."""
    changes = {
        "regularization": {"encoder_layerdrop": 0.5, "decoder_layerdrop": 0.3},
        "trainable__freeze_encoder_updates": 2,
    }
    raw = settings(toy, output_dir=str(tmp_path / "one"), **(CHANGES | changes))
    assert train(TrainConfig(**raw), Console(quiet=True)) == 0
    run(toy, tmp_path / "two", 2, **changes)
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-5)


@pytest.mark.slow
def test_a_working_copy_in_two_processes(toy: Path, tmp_path: Path) -> None:
    """Each process has a copy, whose gradients are summed over the processes after every batch."""
    changes = {"precision": "bfloat16-weights", "data__dev": [], "optimizer__max_updates": 2}
    raw = settings(toy, output_dir=str(tmp_path / "one"), **(CHANGES | changes))
    assert train(TrainConfig(**raw), Console(quiet=True)) == 0
    run(toy, tmp_path / "two", 2, **changes)
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-3)


def test_ctc_only_in_two_processes(toy: Path, tmp_path: Path) -> None:
    """DDP does not wait for the gradients of a decoder that does not run yet."""
    changes = {"loss": {"label_smoothing": 0.0, "ctc_weight": 0.5, "ctc_only_updates": 4}}
    raw = settings(toy, output_dir=str(tmp_path / "one"), **(CHANGES | changes))
    assert train(TrainConfig(**raw), Console(quiet=True)) == 0
    run(toy, tmp_path / "two", 2, **changes)
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-5)


def test_batches_that_cannot_be_shared_evenly_are_an_error(toy: Path, tmp_path: Path) -> None:
    with pytest.raises(
        AssertionError, match=r"data.batches_per_update is 3, expected a multiple of the 2 processes; use 4"
    ):
        run(toy, tmp_path / "odd", 2, data__batches_per_update=3)


def test_sharding_needs_several_processes(toy: Path, tmp_path: Path) -> None:
    raw = settings(toy, output_dir=str(tmp_path / "run"), sharded=True)
    with pytest.raises(VoxlateError, match="sharded needs several processes; start them with accelerate launch"):
        train(TrainConfig(**raw), Console(quiet=True))


def test_a_model_with_its_own_layerdrop_cannot_be_sharded() -> None:
    encoder = SimpleNamespace(config=SimpleNamespace(layerdrop=0.1))
    decoder = SimpleNamespace(config=SimpleNamespace(layerdrop=0.0))
    objective: Any = SimpleNamespace(
        translator=SimpleNamespace(encoder=encoder, decoder=decoder), to=lambda device: None
    )
    config: Any = SimpleNamespace(sharded=True)
    with pytest.raises(
        VoxlateError, match=r"own config has layerdrop, which cannot be sharded.*regularization.encoder_layerdrop"
    ):
        distributed.distribute(objective, config, SimpleNamespace(device=torch.device("cpu")))


def test_sharding_by_accelerate_is_an_error(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configured = SimpleNamespace(distributed_type=DistributedType.FSDP, num_processes=2)
    monkeypatch.setattr(distributed, "Accelerator", lambda **_: configured)
    raw = settings(toy, output_dir=str(tmp_path / "run"))
    with pytest.raises(VoxlateError, match=r"accelerate is configured for FSDP, .*, and set sharded=true"):
        train(TrainConfig(**raw), Console(quiet=True))


@pytest.mark.parametrize("rows", [1, 5, 8])
def test_rows_of_a_tensor_that_is_not_sharded(rows: int) -> None:
    assert distributed.local_rows(torch.zeros(rows, 2)) == (0, rows)
    assert distributed.local_rows(torch.zeros(())) == (0, 1)
