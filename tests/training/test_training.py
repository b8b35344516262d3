"""The training loop: it learns, divides sums once, freezes and validates as the settings say."""

import json
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import safetensors.torch
import torch
from typer.testing import CliRunner

from gradients import Gradients, batches_of, recording_update
from micro_corpus import PAIRS
from paths import TESTS
from toy import log, settings, write_settings, write_toy, write_vocabulary
from training_runs import config, newest_checkpoint, run, same_files
from voxlate.checkpoints.model_folder import load_checkpoint
from voxlate.cli import app
from voxlate.models.cpu.malloc import FreedMemory
from voxlate.training.distributed import autocast
from voxlate.training.retention import list_checkpoints


def test_eight_utterances_are_memorized(tmp_path: Path) -> None:
    write_vocabulary(tmp_path / "sentencepiece.bpe.model")
    manifest = write_toy(tmp_path, "train", 8, pairs=PAIRS)
    changes = {
        "data__dev": [str(manifest)],
        "optimizer": {"max_updates": 220, "lr": 5e-3, "lr_scheduler": "linear", "warmup_updates": 10},
        "loss": {"label_smoothing": 0.0, "ctc_weight": 0.3},
        "validation__every_updates": 220,
        "checkpoints__every_updates": 220,
    }
    printed = run(config(tmp_path, tmp_path / "run", **changes))
    losses = [line["loss"] for line in log(tmp_path / "run")]
    assert losses[0] > 2
    assert losses[-1] < 0.1
    [scores] = log(tmp_path / "run", "dev")
    assert sorted(scores["directions"]) == ["de-en", "en-de", "en-sv", "fr-en", "zh-en"]
    assert scores["mean_bleu"] > 90
    assert "done: the model is" in printed
    best = load_checkpoint(tmp_path / "run" / "best")
    assert sorted(best.targets) == ["de", "en", "sv"]
    assert (tmp_path / "run" / "best" / "ctc.safetensors").is_file()


def test_worker_processes_change_nothing(toy: Path, tmp_path: Path) -> None:
    run(config(toy, tmp_path / "a"))
    run(config(toy, tmp_path / "b", data__num_workers=2))
    assert same_files(tmp_path / "a", tmp_path / "b", "best/model.safetensors")


def test_contents_of_the_run_folder(toy: Path, tmp_path: Path) -> None:
    printed = run(config(toy, tmp_path / "run", data__dev=[str(toy / "dev.jsonl")], validation__at_start=True))
    folder = tmp_path / "run"
    environment = json.loads((folder / "environment.json").read_text())
    assert environment["torch"] == torch.__version__
    assert environment["audio_decoder"]["checksum"]
    assert list((folder / "tensorboard").iterdir())
    assert [line["update"] for line in log(folder)] == [1, 2, 3, 4, 5, 6]
    assert {"loss", "lr", "gradient_norm", "audio_s/s", "epoch"} < log(folder)[0].keys()
    assert [line["update"] for line in log(folder, "dev")] == [0, 3, 6]
    assert "dev before training" in printed
    hypotheses = [json.loads(line) for line in (folder / "dev" / "update-00000006.jsonl").read_text().splitlines()]
    assert [line["id"] for line in hypotheses] == ["dev-0", "dev-1", "dev-2", "dev-3"]
    for expected in (
        "training data",
        "fr-en",
        "parameters (preset all)",
        "estimated memory per process",
        "6 updates on 1",
    ):
        assert expected in printed
    assert "dev BLEU before and after" in printed
    assert newest_checkpoint(folder).name == "update-00000006"
    page = (folder / "training.html").read_text()
    for expected in ("Training: run", "update of 6 (finished)", "Dev BLEU", "at update 6", "optimizer.lr"):
        assert expected in page


def test_gradients_do_not_depend_on_batch_sizes_or_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_toy(tmp_path, "train", 8, words=2)
    write_vocabulary(tmp_path / "sentencepiece.bpe.model")
    plain = {
        "optimizer": {"max_updates": 1, "lr": 1e-3, "warmup_updates": 0, "hold_updates": 0, "clip_norm": 1e9},
        "loss__ctc_weight": 0.5,
    }
    gradients: Gradients = []
    for name, sizes in (("one", [8]), ("four", [3, 1, 2, 2])):
        with monkeypatch.context() as patch:
            patch.setattr("voxlate.training.train.train_update", recording_update(gradients))
            patch.setattr("voxlate.data.batch_sampler.make_batches", batches_of(sizes))
            run(config(tmp_path, tmp_path / name, data__batches_per_update=len(sizes), **plain))
    two = write_settings(
        tmp_path / "two.yaml", settings(tmp_path, output_dir=str(tmp_path / "two"), data__batches_per_update=2, **plain)
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "gradients.py"]
    command += [str(two), str(tmp_path / "two.safetensors"), "4,4"]
    subprocess.run(command, cwd=TESTS, check=True, capture_output=True, timeout=300)
    gradients.append(safetensors.torch.load_file(tmp_path / "two.safetensors"))
    one, *others = (torch.cat([update[name].flatten() for name in sorted(update)]) for update in gradients)
    for other in others:
        assert float((one - other).norm() / one.norm()) < 2e-6  # rounding of float32


def test_gradient_checkpointing_changes_no_gradient(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gradients: Gradients = []
    monkeypatch.setattr("voxlate.training.train.train_update", recording_update(gradients))
    changes = {
        "optimizer__max_updates": 1,
        "optimizer__warmup_updates": 0,
        "regularization__decoder_dropout": 0.2,
        "regularization__encoder_dropout": 0.2,
    }
    run(config(toy, tmp_path / "a", **changes))
    run(config(toy, tmp_path / "b", gradient_checkpointing=True, **changes))
    one, other = gradients
    assert all(torch.allclose(one[name], other[name], rtol=1e-5, atol=1e-7) for name in one)


def test_an_encoder_that_is_frozen_at_first(toy: Path, tmp_path: Path) -> None:
    run(config(toy, tmp_path / "run", trainable__freeze_encoder_updates=2, optimizer__max_updates=4))
    tensors = [
        safetensors.torch.load_file(
            tmp_path / "run" / "checkpoints" / f"update-0000000{number}" / "weights.safetensors"
        )
        for number in (2, 4)
    ]
    start = load_checkpoint(tmp_path / "run" / "best")
    assert start.model.encoder.output_dim == 48
    encoder = [name for name in tensors[0] if name.startswith("translator.encoder.")]
    run(config(toy, tmp_path / "one", trainable__freeze_encoder_updates=2, optimizer__max_updates=2))
    first = safetensors.torch.load_file(tmp_path / "one" / "checkpoints" / "update-00000002" / "weights.safetensors")
    assert all(torch.equal(first[name], tensors[0][name]) for name in encoder)
    assert any(not torch.equal(tensors[0][name], tensors[1][name]) for name in encoder)


def test_training_with_ctc_alone_at_first(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gradients: Gradients = []
    monkeypatch.setattr("voxlate.training.train.train_update", recording_update(gradients))
    run(config(toy, tmp_path / "run", loss={"ctc_weight": 0.5, "ctc_only_updates": 2}, optimizer__max_updates=3))
    learning = [{name.split(".")[1] for name, gradient in update.items() if gradient.any()} for update in gradients]
    assert learning == [{"encoder", "projection"}] * 2 + [{"encoder", "adapter", "decoder", "projection"}]


def test_a_model_trained_without_masking_can_be_trained_with_it(toy: Path, tmp_path: Path) -> None:
    short = {"optimizer__max_updates": 1, "optimizer__warmup_updates": 0}
    run(config(toy, tmp_path / "base", **short))
    base = {"model": {"init_from": str(tmp_path / "base" / "best")}, **short}
    masks = {"mask_time_prob": 0.5, "mask_feature_prob": 0.2, "mask_feature_length": 4}
    run(config(toy, tmp_path / "masked", regularization=masks, **base))
    assert "encoder.masked_spec_embed" in safetensors.torch.load_file(
        tmp_path / "masked" / "best" / "model.safetensors"
    )


def test_training_stops_early_when_bleu_does_not_rise(toy: Path, tmp_path: Path) -> None:
    changes = {"validation__every_updates": 1, "validation__patience": 2, "optimizer__lr": 1e-30}
    printed = run(
        config(toy, tmp_path / "run", data__dev=[str(toy / "dev.jsonl")], optimizer__max_updates=50, **changes)
    )
    assert "stopped early after 3 updates" in printed
    assert len(log(tmp_path / "run", "dev")) == 3
    kept = [folder.name for folder in list_checkpoints(tmp_path / "run")]
    assert kept[-1] == "update-00000003"


@pytest.mark.parametrize(
    ("every", "updates", "expected"), [(1000, 10, [3, 6, 9, 10]), (10, 10, [10]), (4, 10, [4, 8, 10])]
)
def test_a_run_shorter_than_the_validation_interval_is_validated(
    toy: Path, tmp_path: Path, every: int, updates: int, expected: list[int]
) -> None:
    changes = {"validation": {"every_updates": every, "max_length": 4}, "optimizer__max_updates": updates}
    printed = run(config(toy, tmp_path / "run", data__dev=[str(toy / "dev.jsonl")], data__batch_seconds=3, **changes))
    assert [line["update"] for line in log(tmp_path / "run", "dev")] == expected
    assert ("validating every 3 updates: the run is shorter than validation.every_updates (1000)" in printed) == (
        every == 1000
    )


@pytest.mark.parametrize("has_products", [True, False])
def test_precision_is_bfloat16_where_the_processor_has_it(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_products: bool
) -> None:
    monkeypatch.setattr("voxlate.hardware.has_bfloat16_products", lambda: has_products)
    chosen = config(toy, tmp_path / "run", precision="auto")
    products = torch.ones(2, 2)
    with autocast(chosen, torch.device("cpu")):
        assert (products @ products).dtype == (torch.bfloat16 if has_products else torch.float32)


@pytest.mark.parametrize("has_products", [True, False])
def test_a_warning_if_the_processor_emulates_bfloat16(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_products: bool
) -> None:
    monkeypatch.setattr("voxlate.training.run_summary.has_bfloat16_products", lambda: has_products)
    printed = run(config(toy, tmp_path / "run", precision="bfloat16", optimizer__max_updates=2))
    assert ("no bfloat16 instructions" in printed) is not has_products


def process_state() -> list[object]:
    """Return the settings of the process that a library call must not change."""
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    return [
        *handlers,
        [*warnings.filters],
        torch.get_num_threads(),
        torch.get_default_dtype(),
    ]


def test_training_changes_no_settings_of_the_process(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = []

    def freed_memory(*, keep: bool) -> FreedMemory:
        kept.append(keep)
        return FreedMemory(keep=False)

    monkeypatch.setattr("voxlate.training.train.FreedMemory", freed_memory)
    short = {"optimizer__max_updates": 1, "optimizer__warmup_updates": 0}
    torch.manual_seed(7)
    expected, before = torch.rand(3), process_state()
    torch.manual_seed(7)
    run(config(toy, tmp_path / "run", **short))
    assert torch.equal(torch.rand(3), expected)
    assert process_state() == before
    assert kept == [False]
    path = write_settings(tmp_path / "run.yaml", settings(toy, output_dir=str(tmp_path / "command"), **short))
    assert CliRunner().invoke(app, ["train", str(path)]).exit_code == 0
    assert kept == [False, True]  # the command line may change settings of malloc
