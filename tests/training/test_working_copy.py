"""`precision: bfloat16-weights` computes with a bfloat16 copy of the model, and trains and keeps float32 weights."""

import shutil
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from host_waits import ForbidHostWaits
from micro_corpus import PAIRS
from random_encoders import batch, build, random_translator
from tiny import KINDS
from toy import log, write_toy, write_vocabulary
from training_runs import average, config, damage_newest_checkpoint, run, same_files
from voxlate.data.batch_sampler import SamplerState
from voxlate.data.batching import Batch
from voxlate.models.ctc_head import CtcHead
from voxlate.models.gpu.gpu_path import replace_parts
from voxlate.training.objective import Objective
from voxlate.training.training_run import TrainingRun
from voxlate.training.update import train_update
from voxlate.training.working_copy import WorkingCopy

CHANGES = {"loss__ctc_weight": 0.3, "precision": "bfloat16-weights"}
CHECKPOINT = [f"checkpoints/update-00000003/{name}" for name in ("weights.safetensors", "optimizer-00000.safetensors")]


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toy")
    write_vocabulary(folder / "sentencepiece.bpe.model")
    write_toy(folder, "train", 8, pairs=PAIRS)
    return folder


def test_a_run_resumes_exactly_and_adds_up_steps_too_small_for_bfloat16(toy: Path, tmp_path: Path) -> None:
    changes = {
        "optimizer__lr": 1e-6,
        "optimizer__max_updates": 3,
        "trainable": {"preset": "decoder-only"},
        "checkpoints": {"every_updates": 1, "keep_last": 3},
    }
    run(config(toy, tmp_path / "full", **CHANGES, **changes))
    checkpoints = tmp_path / "full" / "checkpoints"
    first, last = (load_file(checkpoints / f"update-0000000{number}" / "weights.safetensors") for number in (1, 3))
    assert {name for name in last if "encoder.model" in name} == set()
    norm = "translator.decoder.layers.0.final_layer_norm.weight"  # about 1, where bfloat16 has steps of 0.004
    assert last[norm].dtype == torch.float32
    assert not torch.equal(first[norm], last[norm])
    assert torch.equal(first[norm].bfloat16(), last[norm].bfloat16())

    shutil.copytree(tmp_path / "full", tmp_path / "part")
    damage_newest_checkpoint(tmp_path / "part")
    assert "resuming from update 2" in run(config(toy, tmp_path / "part", **CHANGES, **changes))
    assert same_files(tmp_path / "full", tmp_path / "part", "best/model.safetensors", *CHECKPOINT)


@pytest.mark.slow
def test_a_run_learns_as_in_float32(toy: Path, tmp_path: Path) -> None:
    for name, precision in (("rounded", "bfloat16-weights"), ("exact", "float32")):
        run(config(toy, tmp_path / name, **CHANGES | {"precision": precision}))
    rounded, exact = ([line["loss"] for line in log(tmp_path / name)] for name in ("rounded", "exact"))
    assert rounded != exact
    assert rounded == pytest.approx(exact, rel=0.02)
    average(tmp_path / "rounded", "--last", "2", "--output", str(tmp_path / "mean"))
    assert {tensor.dtype for tensor in load_file(tmp_path / "mean" / "model.safetensors").values()} == {torch.float32}


def test_a_cached_encoder_an_unknown_batch_size_and_a_compiled_encoder(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[Any] = []
    monkeypatch.setattr("voxlate.training.distributed.compile_encoders", compiled.append)
    monkeypatch.setattr("voxlate.training.batch_size.free_memory", lambda _: 1 << 30)
    monkeypatch.setattr("voxlate.training.batch_size.peak_memory", lambda _, action: action() or 20 << 30)
    changes = {
        "data__batch_seconds": "auto",
        "compile_encoder": True,
        "optimizer__max_updates": 2,
        "trainable": {"preset": "decoder-only", "cache_encoder": True},
    }
    run(config(toy, tmp_path / "run", **CHANGES, **changes))
    [copied] = compiled
    assert copied.translator.dtype == torch.bfloat16


def test_an_update_does_not_wait_for_the_device(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def update(run: TrainingRun, *rest: Any) -> Any:
        assert run.working_copy is not None
        models = (run.objective, run.working_copy.objective)
        with ForbidHostWaits([part for model in models for part in (*model.parameters(), *model.buffers())]):
            return train_update(run, *rest).clone()

    monkeypatch.setattr("voxlate.training.distributed.install_fast_path", replace_parts)
    monkeypatch.setattr("voxlate.training.train.train_update", update)
    run(config(toy, tmp_path / "run", optimizer__max_updates=2, **CHANGES))


@pytest.mark.parametrize("kind", KINDS)
def test_all_encoders_have_nearly_the_same_losses_and_gradients(kind: str) -> None:
    encoder: Any = build(KINDS[kind])
    masters = Objective(random_translator(encoder), CtcHead(32, 5), 0.1)
    waveform_BT, lengths_B = batch(encoder, 1.1, 0.7)
    tokens_BT = torch.tensor([[2, 50, 7, 8], [2, 51, 9, 3]])
    state = SamplerState()
    both = Batch(
        state, state, (0, 1), ("", ""), waveform_BT, lengths_B, tokens_BT, tokens_BT.roll(-1, 1), torch.arange(8),
        torch.tensor([[1, 2], [3, 4]]), torch.tensor([2, 2]),
    )  # fmt: skip
    copied = WorkingCopy(masters)
    expected = masters(both)
    expected.sum().backward()
    gradients = {name: part.grad for name, part in masters.named_parameters() if part.grad is not None}
    masters.zero_grad()
    losses = copied.objective(both)
    losses.sum().backward()
    copied.move_gradients()
    torch.testing.assert_close(losses, expected, rtol=0.03, atol=0.0)
    assert all(part.grad is None for part in copied.objective.parameters())
    assert {name for name, part in masters.named_parameters() if part.grad is not None} == gradients.keys()
    ours, theirs = (
        torch.cat([table[name].flatten() for name in gradients])
        for table in ({name: cast("Tensor", part.grad) for name, part in masters.named_parameters()}, gradients)
    )
    assert ours.dtype == torch.float32
    assert float((ours - theirs).norm() / theirs.norm()) < 0.2
