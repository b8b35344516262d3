"""The training loop: it learns, goes on to the bit, divides once, names what is wrong, and loses nothing."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from rich.console import Console
from typer.testing import CliRunner

from corpus import PAIRS
from gradients import Gradients, batches_of, record_gradients
from paths import TESTS
from toy import log, settings, write_settings, write_toy, write_toy_corpus, write_vocabulary
from training_runs import config, run, same_files
from voxlate.checkpoints.model_folder import load_checkpoint
from voxlate.cli import app
from voxlate.config.schema import TrainConfig
from voxlate.data import batch_sampler as planning
from voxlate.errors import VoxlateError
from voxlate.training import checkpoint as checkpoints
from voxlate.training import train as loop
from voxlate.training.distributed import autocast
from voxlate.training.interrupts import Interrupts
from voxlate.training.train import train


def test_eight_utterances_are_learnt_by_heart(tmp_path: Path) -> None:
    write_vocabulary(tmp_path / "sentencepiece.bpe.model")
    manifest = write_toy(tmp_path, "train", 8, pairs=PAIRS)
    changes = {
        "data__dev": [str(manifest)],
        "optimizer": {"updates": 220, "lr": 5e-3, "schedule": "linear", "warmup_updates": 10},
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


@pytest.mark.slow
def test_killed_twenty_times_equals_uninterrupted(toy: Path, tmp_path: Path) -> None:
    changes = {
        "data__dev": [str(toy / "dev.jsonl")],
        "data__batch_seconds": 6,
        "data__batches_per_update": 2,
        "optimizer__updates": 24,
        "regularization__decoder_dropout": 0.1,
        "regularization__encoder_layerdrop": 0.3,
        "regularization__time_masking": 0.3,
        "regularization__channel_masking": 0.2,
        "regularization__channel_mask_width": 4,
        "checkpoints__every_updates": 1,
        "validation__every_updates": 5,
        "log_every": 4,
    }
    run(config(toy, tmp_path / "whole", **changes))
    raw = settings(toy, output=str(tmp_path / "killed"), **changes)
    command = [sys.executable, "killed.py", str(write_settings(tmp_path / "killed.yaml", raw)), "1"]
    result = subprocess.run(command, cwd=TESTS, capture_output=True, text=True, check=True, timeout=300)
    killed, in_checkpoint = map(int, result.stdout.split())
    assert killed == 20
    assert in_checkpoint >= 5
    last = "checkpoints/update-00000024"
    names = ("best/model.safetensors", f"{last}/weights.safetensors", f"{last}/optimizer-00000.safetensors")
    assert same_files(tmp_path / "whole", tmp_path / "killed", *names)
    logs = [
        [{key: value for key, value in line.items() if key != "audio_s/s"} for line in log(tmp_path / name, event)]
        for name in ("whole", "killed")
        for event in ("train", "dev")
    ]
    assert logs[:2] == logs[2:]


def test_worker_processes_change_nothing(toy: Path, tmp_path: Path) -> None:
    run(config(toy, tmp_path / "a"))
    run(config(toy, tmp_path / "b", data__workers=2))
    assert same_files(tmp_path / "a", tmp_path / "b", "best/model.safetensors")


def test_a_damaged_checkpoint_is_refused_by_name_and_the_one_before_it_taken(toy: Path, tmp_path: Path) -> None:
    run(config(toy, tmp_path / "whole", optimizer__updates=8))
    newest = tmp_path / "whole" / "checkpoints" / "update-00000008"
    weights = (newest / "weights.safetensors").read_bytes()
    for damaged, reason in (
        (weights[:-10], "bytes, expected"),
        (weights[:-1] + bytes([weights[-1] ^ 1]), "SHA-256"),
    ):
        (newest / "weights.safetensors").write_bytes(damaged)
        printed = run(config(toy, tmp_path / "whole", optimizer__updates=8))
        assert f"warning: {newest / 'weights.safetensors'}: " in printed
        assert reason in printed
        assert "going on from update 6" in printed
        assert (newest / "weights.safetensors").read_bytes() == weights
    for folder in checkpoints.checkpoints(tmp_path / "whole"):
        (folder / "state.json").write_text("{")
    with pytest.raises(
        VoxlateError, match=r"state.json: cannot be read .* no checkpoint is whole: remove .*checkpoints"
    ):
        run(config(toy, tmp_path / "whole", optimizer__updates=8))


def test_a_finished_run_says_so_and_other_settings_are_refused(toy: Path, tmp_path: Path) -> None:
    run(config(toy, tmp_path / "run"))
    before = (tmp_path / "run" / "log.jsonl").read_bytes()
    assert "finished at update 6" in run(config(toy, tmp_path / "run"))
    assert (tmp_path / "run" / "log.jsonl").read_bytes() == before
    with pytest.raises(VoxlateError, match=r"holds a run with other settings: optimizer.lr was 0.002, is 0.1; take"):
        run(config(toy, tmp_path / "run", optimizer__lr=0.1))


def test_the_run_folder_tells_everything(toy: Path, tmp_path: Path) -> None:
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
    for expected in ("training data", "fr-en", "parameters (preset all)", "memory of each process", "6 updates on 1"):
        assert expected in printed
    assert "dev BLEU before and after" in printed
    assert [path.name for path in checkpoints.checkpoints(folder)][-1] == "update-00000006"


def test_one_step_of_eight_equals_four_uneven_micro_steps_and_two_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_toy(tmp_path, "train", 8, words=2)
    write_vocabulary(tmp_path / "sentencepiece.bpe.model")
    plain = {
        "optimizer": {"updates": 1, "lr": 1e-3, "warmup_updates": 0, "hold_updates": 0, "clip_norm": 1e9},
        "loss__ctc_weight": 0.5,
    }
    gradients: Gradients = []
    for name, sizes in (("one", [8]), ("four", [3, 1, 2, 2])):
        with monkeypatch.context() as patch:
            patch.setattr(loop, "_update", record_gradients(gradients))
            patch.setattr(planning, "make_batches", batches_of(sizes))
            run(config(tmp_path, tmp_path / name, data__batches_per_update=len(sizes), **plain))
    two = write_settings(
        tmp_path / "two.yaml", settings(tmp_path, output=str(tmp_path / "two"), data__batches_per_update=2, **plain)
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "gradients.py"]
    command += [str(two), str(tmp_path / "two.safetensors"), "4,4"]
    subprocess.run(command, cwd=TESTS, check=True, capture_output=True, timeout=60)
    gradients.append(safetensors.torch.load_file(tmp_path / "two.safetensors"))
    one, *others = (torch.cat([found[name].flatten() for name in sorted(found)]) for found in gradients)
    for other in others:
        assert float((one - other).norm() / one.norm()) < 1e-6


def test_what_cannot_be_learnt_or_should_not_is_named_and_dev_loses_nothing(tmp_path: Path) -> None:
    write_vocabulary(tmp_path / "sentencepiece.bpe.model")
    manifest = write_toy(tmp_path, "train", 8)
    lines = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]
    lines[3]["target_text"] = "ж " * 100
    lines[5]["split"] = "test"
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    printed = run(config(tmp_path, tmp_path / "run", data__dev=[str(manifest)]))
    assert "left out: train-3: a translation of more than the 64 tokens that the decoder has positions for" in printed
    assert "warning: 1 utterances of data.train are marked test" in printed
    assert "the vocabulary lacks 1 characters of the translations (ж), which 1 of them have" in printed
    [*_, last] = sorted((tmp_path / "run/dev").iterdir())
    hypotheses = [json.loads(line) for line in last.read_text(encoding="utf-8").splitlines()]
    assert [line["id"] for line in hypotheses] == [line["id"] for line in lines]
    assert not any("error" in line for line in hypotheses)


def test_an_unreadable_clip_is_counted_and_named_and_training_goes_on(tmp_path: Path) -> None:
    write_vocabulary(tmp_path / "sentencepiece.bpe.model")
    manifest = write_toy(tmp_path, "train", 12)
    (tmp_path / "train-3.wav").write_text("<html>404</html>")
    (tmp_path / "train-5.wav").write_bytes(b"")
    printed = run(config(tmp_path, tmp_path / "run", data__dev=[str(manifest)]))
    assert printed.count("warning: left out: train-3: not audio") == 1
    named = log(tmp_path / "run", "unreadable")
    assert sorted(line["id"] for line in named) == ["train-3", "train-5"]
    assert "empty file" in next(line["reason"] for line in named if line["id"] == "train-5")
    state = checkpoints.read_progress(checkpoints.checkpoints(tmp_path / "run")[-1])
    assert sorted(state.unreadable) == ["train-3", "train-5"]
    assert sum(score["failed"] for score in log(tmp_path / "run", "dev")[-1]["directions"].values()) == 2
    dev = [json.loads(line) for line in (tmp_path / "run/dev/update-00000006.jsonl").read_text().splitlines()]
    assert len(dev) == 12
    assert {line["id"]: line["text"] for line in dev if "error" in line} == {"train-3": "", "train-5": ""}


def test_if_no_clip_can_be_read_training_stops(tmp_path: Path) -> None:
    write_vocabulary(tmp_path / "sentencepiece.bpe.model")
    write_toy(tmp_path, "train", 4)
    for clip in tmp_path.glob("*.wav"):
        clip.write_bytes(b"")
    with pytest.raises(VoxlateError, match=r"no clip of 3 updates in a row, up to update 3, can .*: empty file"):
        run(config(tmp_path, tmp_path / "run"))


def test_an_update_without_any_clip_does_not_stop_training(tmp_path: Path) -> None:
    write_vocabulary(tmp_path / "sentencepiece.bpe.model")
    write_toy(tmp_path, "train", 3)
    (tmp_path / "train-1.wav").write_bytes(b"")
    printed = run(config(tmp_path, tmp_path / "run", data__batch_seconds=0.1))  # a batch for each clip
    assert "left out: train-1" in printed
    assert [line["update"] for line in log(tmp_path / "run")] == [1, 2, 3, 4, 5, 6]


def test_a_manifest_that_is_not_there_is_named_once(toy: Path, tmp_path: Path) -> None:
    missing = [str(tmp_path / "gone.jsonl")]
    with pytest.raises(VoxlateError, match=r"gone.jsonl: cannot be read") as caught:
        run(config(toy, tmp_path / "run", data__train=missing, data__dev=missing))
    assert str(caught.value).count("gone.jsonl") == 1


def test_an_unwritable_folder_has_one_line(toy: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(VoxlateError, match=r"output .*file/run: cannot be written \(Not a directory\); use another"):
        run(config(toy, tmp_path / "file" / "run"))


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "weights.safetensors"),
        safetensors.SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_has_one_line(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    run(config(toy, tmp_path / "whole"))

    save_file, calls = safetensors.torch.save_file, []

    def full(tensors: Any, path: Path, metadata: Any) -> None:
        calls.append(path)
        if len(calls) > 2:
            path.write_bytes(b"half")
            raise error
        save_file(tensors, path, metadata)

    monkeypatch.setattr("voxlate.checkpoints.weights.save_file", full)
    with pytest.raises(VoxlateError, match=r"cannot be written \(.*No space left on device.*\); mend that and rerun"):
        run(config(toy, tmp_path / "run"))
    monkeypatch.undo()
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["update-00000002"]
    assert "going on from update 2" in run(config(toy, tmp_path / "run"))
    assert same_files(tmp_path / "whole", tmp_path / "run", "best/model.safetensors")
    assert not list((tmp_path / "run" / "checkpoints").glob(".*"))


def test_a_full_device_has_one_line(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB\nmore")

    monkeypatch.setattr(loop, "_update", full)
    with pytest.raises(
        VoxlateError,
        match=r"is full \(CUDA out of memory. Tried .* GiB\); use a smaller data.batch_seconds \(now 10\)",
    ):
        run(config(toy, tmp_path / "run"))


@pytest.mark.parametrize("has_products", [True, False])
def test_bfloat16_where_the_processor_lacks_it_is_said_to_be_slow(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_products: bool
) -> None:
    monkeypatch.setattr("voxlate.training.console.has_bfloat16_products", lambda: has_products)
    printed = run(config(toy, tmp_path / "run", precision="bfloat16", optimizer__updates=2))
    assert ("no products in bfloat16" in printed) is not has_products


@pytest.mark.parametrize("has_products", [True, False])
def test_precision_is_bfloat16_where_the_processor_has_it(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_products: bool
) -> None:
    monkeypatch.setattr("voxlate.hardware.has_bfloat16_products", lambda: has_products)
    chosen = config(toy, tmp_path / "run", precision="auto")
    products = torch.ones(2, 2)
    with autocast(chosen, torch.device("cpu")):
        assert (products @ products).dtype == (torch.bfloat16 if has_products else torch.float32)


def test_training_in_bfloat16_goes_on_to_the_bit(toy: Path, tmp_path: Path) -> None:
    whole, part = (config(toy, tmp_path / name, precision="bfloat16") for name in ("whole", "part"))
    run(whole)
    run(part)
    last = checkpoints.checkpoints(tmp_path / "part")[-1]
    (last / "state.json").write_text("{}")
    assert "going on from update 4" in run(part)
    assert same_files(tmp_path / "whole", tmp_path / "part", "best/model.safetensors")
    losses = [[line["loss"] for line in log(tmp_path / name)] for name in ("whole", "part")]
    assert losses[0] == losses[1]
    assert losses[0][-1] < losses[0][0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoder": {"hidden_siz": 3}}, "model.scratch.encoder.hidden_siz: unknown setting; did you mean hidden_size"),
        ({"decoder": {"layers": 3}}, "model.scratch.decoder.layers: unknown setting"),
        (
            {"decoder": {"d_model": 50, "decoder_attention_heads": 4}},
            "d_model 50 is not a multiple of decoder_attention_h",
        ),
        ({"encoder": {"conv_dim": [8, 8]}}, r"model.scratch: .*conv_dim, conv_stride and conv_kernel have \[2, 7, 7\]"),
        (
            {"encoder": {"hidden_size": -4}},
            "model.scratch: encoder.hidden_size: expected greater than or equal to 1, got",
        ),
        (
            {"encoder": {"hidden_size": 12 * 2**16}},
            r"model.scratch: \S+ parameters need [0-9,]+ GiB, but this machine has",
        ),
        ({"encoder": {"conv_bias": "no"}}, "model.scratch: encoder.conv_bias: expected true or false, got 'no'"),
        (
            {"decoder": {"decoder_layers": 2**31}},
            "model.scratch: decoder.decoder_layers: expected less than or equal to",
        ),
        ({"vocabulary": "nowhere.model"}, "nowhere.model: not a SentencePiece model"),
        ({"encoder_type": "wav2vec3"}, "unknown speech encoder 'wav2vec3'; did you mean 'wav2vec2'"),
    ],
)
def test_models_that_cannot_be_made(toy: Path, tmp_path: Path, change: dict[str, Any], message: str) -> None:
    raw = settings(toy, output=str(tmp_path / "run"))
    raw["model"]["scratch"] = raw["model"]["scratch"] | change
    with pytest.raises(VoxlateError, match=message):
        run(TrainConfig(**raw))


def test_settings_of_a_failed_start_bind_nobody(toy: Path, tmp_path: Path) -> None:
    with pytest.raises(VoxlateError, match="nothing is left to train on"):
        run(config(toy, tmp_path / "run", data__min_seconds=20))
    run(config(toy, tmp_path / "run"))


def test_a_model_that_has_changed_underneath_is_noticed(toy: Path, tmp_path: Path) -> None:
    run(config(toy, tmp_path / "base"))
    changes = {
        "model": {"init_from": str(tmp_path / "base" / "best")},
        "trainable": {"preset": "adapter-only"},
        "optimizer__updates": 4,
    }
    run(config(toy, tmp_path / "run", **changes))
    last = checkpoints.checkpoints(tmp_path / "run")[-1]
    (last / "state.json").write_text("{}")
    run(config(toy, tmp_path / "other", seed=2))
    other = (tmp_path / "other" / "best" / "model.safetensors").read_bytes()
    (tmp_path / "base" / "best" / "model.safetensors").write_bytes(other)
    with pytest.raises(VoxlateError, match=r"update-00000002: belongs to another model; is what model.init_from, enc"):
        run(config(toy, tmp_path / "run", **changes))


def test_ctc_needs_transcripts(toy: Path, tmp_path: Path) -> None:
    lines = [json.loads(line) for line in (toy / "train.jsonl").read_text().splitlines()]
    for line in lines:
        del line["source_text"]
        line["audio"] = str(toy / line["audio"])
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    changes = {"data__train": [str(tmp_path / "m.jsonl")], "loss__ctc_weight": 0.3}
    with pytest.raises(VoxlateError, match="ctc_weight is above 0, but no utterance has a source_text; add trans"):
        run(config(toy, tmp_path / "run", **changes))


def test_two_runs_into_one_folder_are_refused(toy: Path, tmp_path: Path) -> None:
    from filelock import FileLock

    (tmp_path / "run").mkdir()
    with (
        FileLock(tmp_path / "run" / ".lock"),
        pytest.raises(VoxlateError, match="another run trains into it; wait for it"),
    ):
        run(config(toy, tmp_path / "run"))


def test_an_interrupt_saves_and_the_same_command_goes_on(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(config(toy, tmp_path / "whole", optimizer__updates=5))
    update = loop._update

    def interrupted(run: loop.Run, number: int, *rest: Any) -> Any:
        if number == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return update(run, number, *rest)

    monkeypatch.setattr(loop, "_update", interrupted)
    raw = settings(toy, output=str(tmp_path / "run"), optimizer__updates=5, checkpoints__every_updates=100)
    path = write_settings(tmp_path / "run.yaml", raw)
    result = CliRunner().invoke(app, ["train", str(path)])
    assert result.exit_code == 130
    assert "interrupted: saved at update 4; rerun the same command to resume" in result.stderr
    assert CliRunner().invoke(app, ["train", str(path)]).exit_code == 0
    assert same_files(tmp_path / "whole", tmp_path / "run", "best/model.safetensors")


def test_the_second_interrupt_does_not_wait() -> None:
    with Interrupts() as interrupts:
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupts.count == 1
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_a_loss_that_is_no_number_stops_training(toy: Path, tmp_path: Path) -> None:
    with pytest.raises(VoxlateError, match=r"not finite in 10 updates in a row, up to update \d+; lower optimizer.lr"):
        run(config(toy, tmp_path / "run", optimizer__updates=60, optimizer__lr=1e30, optimizer__warmup_updates=0))


def test_training_stops_early_when_bleu_does_not_rise(toy: Path, tmp_path: Path) -> None:
    changes = {"validation__every_updates": 1, "validation__patience": 2, "optimizer__lr": 1e-30}
    printed = run(config(toy, tmp_path / "run", data__dev=[str(toy / "dev.jsonl")], optimizer__updates=50, **changes))
    assert "stopped early after 3 updates" in printed
    assert len(log(tmp_path / "run", "dev")) == 3
    kept = [folder.name for folder in checkpoints.checkpoints(tmp_path / "run")]
    assert kept[-1] == "update-00000003"


@pytest.mark.parametrize("preset", ["lna-ed", "adapter-only", "lora"])
def test_presets_train_go_on_and_average(toy: Path, tmp_path: Path, preset: str) -> None:
    changes = {
        "trainable": {"preset": preset},
        "optimizer__updates": 4,
        "regularization__decoder_dropout": 0.1,
        "loss__ctc_weight": 0.3,
    }
    run(config(toy, tmp_path / "whole", **changes))
    part = config(toy, tmp_path / "run", **changes)
    run(part)
    last = tmp_path / "run" / "checkpoints" / "update-00000004"
    for name in ("state.json", "weights.safetensors", "optimizer-00000.safetensors"):
        (last / name).unlink()
    last.rmdir()
    assert "going on from update 2" in run(part)
    assert same_files(tmp_path / "whole", tmp_path / "run", "best/model.safetensors", "best/ctc.safetensors")

    result = CliRunner().invoke(app, ["average", str(tmp_path / "run")])
    assert result.exit_code == 0, result.stderr
    assert "mean of 2 checkpoints (update-00000002, update-00000004)" in result.stderr
    averaged = load_checkpoint(tmp_path / "run" / "averaged").model.state_dict()
    best = load_checkpoint(tmp_path / "run" / "best").model.state_dict()
    assert averaged.keys() == best.keys()
    moved = {name for name in best if not torch.equal(best[name], averaged[name])}
    assert moved
    assert all(name.startswith("adapter.") for name in moved) == (preset == "adapter-only")
    assert CliRunner().invoke(app, ["average", str(tmp_path / "run"), "--last", "1"]).exit_code == 0
    last_one = load_checkpoint(tmp_path / "run" / "averaged").model.state_dict()
    assert all(torch.equal(best[name], last_one[name]) for name in best)


def interrupted_at(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Let the next training be asked to stop during an update, counted from 0."""
    update = loop._update

    def interrupted(run: loop.Run, current: int, *rest: Any) -> Any:
        if current == number:
            os.kill(os.getpid(), signal.SIGTERM)
        return update(run, current, *rest)

    monkeypatch.setattr(loop, "_update", interrupted)


def average(folder: Path, *options: str) -> str:
    """Average a run and return what was printed."""
    result = CliRunner().invoke(app, ["average", str(folder), *options], catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    return result.stderr


@pytest.mark.parametrize("preset", ["all", "lora"])
def test_an_interruption_changes_no_average_and_the_run_folder_is_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, preset: str
) -> None:
    toy = tmp_path / "data"
    toy.mkdir()
    write_toy_corpus(toy, train=8, dev=2)
    changes = {
        "data__dev": [str(toy / "dev.jsonl")],
        "data__batch_seconds": 4,
        "optimizer__updates": 10,
        "optimizer__lr": 0.05,
        "trainable": {"preset": preset},
        "loss__ctc_weight": 0.3,
        "validation": {"every_updates": 3, "max_length": 4},
        "checkpoints": {"every_updates": 2, "keep_last": 3, "keep_around_best": 2},
    }
    run(config(toy, tmp_path / "whole", **changes))
    with Path(os.devnull).open("w") as nowhere:
        for number in (3, 5, 7):  # saved after the update that follows: 5, 7, 9
            with monkeypatch.context() as patch:
                interrupted_at(patch, number)
                assert train(config(toy, tmp_path / "part", **changes), Console(file=nowhere)) == 130
    last = [folder.name for folder in checkpoints.checkpoints(tmp_path / "part")][-1]
    assert last == "update-00000009"  # kept until there is a newer one
    run(config(toy, tmp_path / "part", **changes))
    kept = [[path.name for path in checkpoints.checkpoints(tmp_path / name)] for name in ("whole", "part")]
    assert kept[0] == kept[1]
    (tmp_path / "moved").mkdir()
    for name in ("whole", "part"):
        shutil.move(tmp_path / name, tmp_path / "moved" / name)
    shutil.rmtree(toy)  # neither data nor vocabulary is needed
    for options in ([], ["--last", "2"], ["--around-best"]):
        printed = [average(tmp_path / "moved" / name, *options) for name in ("whole", "part")]
        assert printed[0].split(": ")[1] == printed[1].split(": ")[1]
        names = ("model.safetensors", "ctc.safetensors", "config.json", "languages.json")
        whole, part = (tmp_path / "moved" / name / "averaged" for name in ("whole", "part"))
        assert same_files(whole, part, *names)
        if not options:
            assert "3 checkpoints (update-00000006, update-00000008, update-00000010)" in printed[0]
    assert sorted(load_checkpoint(tmp_path / "moved" / "part" / "averaged").targets) == ["en"]


def test_average_says_what_is_missing(toy: Path, tmp_path: Path) -> None:
    with pytest.raises(VoxlateError, match="no checkpoints; expected a run folder written by voxlate train"):
        average(tmp_path)
    run(config(toy, tmp_path / "run"))
    with pytest.raises(VoxlateError, match="--last is 9, expected 1 to 3"):
        average(tmp_path / "run", "--last", "9")
    with pytest.raises(VoxlateError, match="no best checkpoint: nothing was validated; leave --around-best out"):
        average(tmp_path / "run", "--around-best")
    shutil.rmtree(tmp_path / "run" / "frozen")
    with pytest.raises(VoxlateError, match=r"frozen.safetensors: missing or damaged; run the voxlate train command"):
        average(tmp_path / "run")
    run(config(toy, tmp_path / "run"))
    average(tmp_path / "run")
    (tmp_path / "run" / "config.yaml").write_text("")
    with pytest.raises(
        VoxlateError, match=r"settings of the run are damaged .*got nothing\n  remove .*config.yaml, an"
    ):
        average(tmp_path / "run")


def test_a_damaged_file_of_what_does_not_learn_is_named_and_written_again(toy: Path, tmp_path: Path) -> None:
    settings = config(toy, tmp_path / "run", optimizer__updates=2, trainable={"preset": "lna-ed"})
    run(settings)
    frozen = tmp_path / "run" / "frozen"
    average(tmp_path / "run")
    expected = {path.name: path.read_bytes() for path in frozen.iterdir()}
    assert {"frozen.safetensors", "config.json", "preprocessor_config.json", "sha256.json"} < expected.keys()
    again = "; run the voxlate train command of this run once more, which writes it again"
    for name, content in expected.items():
        (frozen / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))  # the last byte of weights is one of them
        reason = "not JSON" if name == "sha256.json" else f"its SHA-256 is not the one in sha256.json: altered{again}"
        with pytest.raises(VoxlateError, match=f"{name}: {reason}") as caught:
            average(tmp_path / "run")
        assert str(caught.value).endswith(again)
        (frozen / name).write_bytes(content)
    (frozen / "preprocessor_config.json").unlink()
    with pytest.raises(VoxlateError, match=f"preprocessor_config.json: missing{again}"):
        average(tmp_path / "run")
    run(settings)
    assert {path.name: path.read_bytes() for path in frozen.iterdir()} == expected
    (frozen / "sha256.json").unlink()  # as older versions left it
    average(tmp_path / "run")


def test_the_best_checkpoint_that_pruning_keeps_is_not_averaged_as_one_of_the_last(toy: Path, tmp_path: Path) -> None:
    changes = {"optimizer__updates": 5, "checkpoints": {"every_updates": 1, "keep_last": 2}}
    run(config(toy, tmp_path / "run", **changes))
    folders = checkpoints.checkpoints(tmp_path / "run")
    assert [checkpoints.update_of(folder) for folder in folders] == [4, 5]
    shutil.copytree(folders[0], folders[0].with_name("update-00000002"))
    with pytest.raises(VoxlateError, match=r"--last is 3, expected 1 to 2, .* \(update-00000004, update-00000005\)"):
        average(tmp_path / "run", "--last", "3")
    assert "mean of 2 checkpoints (update-00000004, update-00000005)" in average(tmp_path / "run")


@pytest.mark.parametrize("name", ["data.train", "data.teacher", "model.scratch.vocabulary"])
def test_a_run_does_not_continue_on_other_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    toy = tmp_path / "data"
    toy.mkdir()
    write_toy_corpus(toy, train=8, dev=2)
    teacher = tmp_path / "teacher.jsonl"
    teacher.write_text('{"id": "train-0", "text": "zwei"}\n')
    changes = {"data__teacher": [str(teacher)], "data__dev": [str(toy / "dev.jsonl")], "optimizer__updates": 4}
    with monkeypatch.context() as patch, Path(os.devnull).open("w") as nowhere:
        interrupted_at(patch, 1)
        assert train(config(toy, tmp_path / "run", **changes), Console(file=nowhere)) == 130
    shutil.copytree(toy, tmp_path / "moved")
    moved = changes | {"data__train": [str(tmp_path / "moved" / "train.jsonl")]}  # another name for the same
    file = {
        "data.train": tmp_path / "moved" / "train.jsonl",
        "data.teacher": teacher,
        "model.scratch.vocabulary": toy / "sentencepiece.bpe.model",
    }[name]
    before = file.read_bytes()
    if file.suffix == ".model":
        from tiny import write_vocabulary as write_other

        write_other(file)
    else:
        file.write_text(before.decode().replace("zwei", "drei").replace("two", "three"))
    told = "vocabulary" if name.endswith("vocabulary") else name
    with pytest.raises(
        VoxlateError, match=rf"holds a run on other data: {told}: .*{file.name} has changed .*SHA-256 w"
    ):
        run(config(toy, tmp_path / "run", **moved))
    file.write_bytes(before)
    (toy / "dev.jsonl").write_bytes((toy / "dev.jsonl").read_bytes() + b"\n")
    printed = run(config(toy, tmp_path / "run", **moved))
    assert "warning: data.dev: " in printed
    assert "the best score so far is of the old data" in printed
    (tmp_path / "run" / "data.json").write_text("")
    with pytest.raises(VoxlateError, match=r"data.json: damaged; .* remove it to resume without knowing"):
        run(config(toy, tmp_path / "run", **changes))


def test_gradient_checkpointing_changes_no_gradient(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gradients: Gradients = []
    monkeypatch.setattr(loop, "_update", record_gradients(gradients))
    changes = {
        "optimizer__updates": 1,
        "optimizer__warmup_updates": 0,
        "regularization__decoder_dropout": 0.2,
        "regularization__encoder_dropout": 0.2,
    }
    run(config(toy, tmp_path / "a", **changes))
    run(config(toy, tmp_path / "b", gradient_checkpointing=True, **changes))
    one, other = gradients
    assert all(torch.allclose(one[name], other[name], rtol=1e-5, atol=1e-7) for name in one)


def test_a_frozen_encoder_learns_later(toy: Path, tmp_path: Path) -> None:
    run(config(toy, tmp_path / "run", trainable__freeze_encoder_updates=2, optimizer__updates=4))
    tensors = [
        safetensors.torch.load_file(
            tmp_path / "run" / "checkpoints" / f"update-0000000{number}" / "weights.safetensors"
        )
        for number in (2, 4)
    ]
    start = load_checkpoint(tmp_path / "run" / "best")
    assert start.model.encoder.output_dim == 48
    encoder = [name for name in tensors[0] if name.startswith("translator.encoder.")]
    run(config(toy, tmp_path / "one", trainable__freeze_encoder_updates=2, optimizer__updates=2))
    first = safetensors.torch.load_file(tmp_path / "one" / "checkpoints" / "update-00000002" / "weights.safetensors")
    assert all(torch.equal(first[name], tensors[0][name]) for name in encoder)
    assert any(not torch.equal(tensors[0][name], tensors[1][name]) for name in encoder)


def test_a_new_language_is_learnt_and_what_was_forgotten_is_shown(toy: Path, tmp_path: Path) -> None:
    run(config(toy, tmp_path / "old"))
    write_toy(tmp_path, "welsh", 8, pairs=["en-cy"])
    raw = settings(
        toy,
        output=str(tmp_path / "new"),
        model={"init_from": str(tmp_path / "old" / "best")},
        data__train=[str(tmp_path / "welsh.jsonl")],
        data__replay=[str(toy / "train.jsonl")],
        data__dev=[str(tmp_path / "welsh.jsonl"), str(toy / "dev.jsonl")],
    )
    path = write_settings(tmp_path / "new.yaml", raw)
    with pytest.raises(VoxlateError, match=r"no token for cy; give it a new one with --add-language cy --init-from"):
        CliRunner().invoke(app, ["train", str(path)], catch_exceptions=False)
    with pytest.raises(VoxlateError, match="1 --add-language and 0 --init-from; expected one"):
        CliRunner().invoke(app, ["train", str(path), "--add-language", "cy"], catch_exceptions=False)
    command = ["train", str(path), "--add-language", "cy", "--init-from", "en"]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert result.exit_code == 0
    assert "fr-en (replay)" in result.stderr
    rows = {row["direction"]: row for row in json.loads((tmp_path / "new" / "before_after.json").read_text())}
    assert sorted(rows) == ["de-en", "en-cy", "fr-en"]
    assert all(row["change"] == row["after"] - row["before"] for row in rows.values())
    slotted = [*command, f"output={tmp_path / 'slot'}", "model.add_languages.cy.slot=fi_FI", "optimizer.updates=2"]
    assert CliRunner().invoke(app, slotted, catch_exceptions=False).exit_code == 0
    finnish = load_checkpoint(tmp_path / "slot" / "best")
    assert finnish.targets["cy"] == finnish.tokenizer.tag_id("fi_FI")
    old, new = load_checkpoint(tmp_path / "old" / "best"), load_checkpoint(tmp_path / "new" / "best")
    assert new.targets == {**old.targets, "cy": old.model.decoder.config.vocabulary_size}


def test_ctc_alone_teaches_the_encoder_first(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found: Gradients = []
    monkeypatch.setattr(loop, "_update", record_gradients(found))
    run(config(toy, tmp_path / "run", loss={"ctc_weight": 0.5, "ctc_only_updates": 2}, optimizer__updates=3))
    learning = [{name.split(".")[1] for name, gradient in update.items() if gradient.any()} for update in found]
    assert learning == [{"encoder", "projection"}] * 2 + [{"encoder", "adapter", "decoder", "projection"}]


def test_a_model_trained_without_masking_can_be_trained_with_it(toy: Path, tmp_path: Path) -> None:
    short = {"optimizer__updates": 1, "optimizer__warmup_updates": 0}
    run(config(toy, tmp_path / "base", **short))
    base = {"model": {"init_from": str(tmp_path / "base" / "best")}, **short}
    masks = {"time_masking": 0.5, "channel_masking": 0.2, "channel_mask_width": 4}
    run(config(toy, tmp_path / "masked", regularization=masks, **base))
    assert "encoder.masked_spec_embed" in safetensors.torch.load_file(
        tmp_path / "masked" / "best" / "model.safetensors"
    )


def test_what_a_fine_tuned_model_forgets_is_said(tmp_path: Path) -> None:
    write_vocabulary(tmp_path / "sentencepiece.bpe.model")
    write_toy(tmp_path, "train", 12, pairs=["fr-en", "de-en", "en-de"])
    two = write_toy(tmp_path, "two", 4, pairs=["fr-en", "en-de"])
    short = {"optimizer__updates": 1, "optimizer__warmup_updates": 0}
    run(config(tmp_path, tmp_path / "base", **short))
    base = {"model": {"init_from": str(tmp_path / "base" / "best")}, **short}
    printed = run(config(tmp_path, tmp_path / "fewer", data__train=[str(two)], **base))
    assert "best on en-de, fr-en alone will make it forget de-en; add data of" in printed
    replay = {"data__replay": [str(tmp_path / "train.jsonl")]}
    assert "forget" not in run(config(tmp_path, tmp_path / "replay", data__train=[str(two)], **base, **replay))
    assert "forget" not in run(config(tmp_path, tmp_path / "same", **base))
    languages = tmp_path / "base" / "best" / "languages.json"
    languages.write_text(json.dumps({"targets": json.loads(languages.read_text())["targets"]}))  # another's model
    printed = run(config(tmp_path, tmp_path / "unknown", data__train=[str(two)], **base))
    assert "alone will make it forget any other direction that it knows; add" in printed


@pytest.mark.parametrize(
    ("every", "updates", "expected"), [(1000, 10, [3, 6, 9, 10]), (10, 10, [10]), (4, 10, [4, 8, 10])]
)
def test_a_run_shorter_than_the_way_to_a_validation_has_some(
    toy: Path, tmp_path: Path, every: int, updates: int, expected: list[int]
) -> None:
    changes = {"validation": {"every_updates": every, "max_length": 4}, "optimizer__updates": updates}
    printed = run(config(toy, tmp_path / "run", data__dev=[str(toy / "dev.jsonl")], data__batch_seconds=3, **changes))
    assert [line["update"] for line in log(tmp_path / "run", "dev")] == expected
    assert ("validating every 3 updates: the run is shorter than validation.every_updates (1000)" in printed) == (
        every == 1000
    )


@pytest.mark.parametrize("field", ["init_from", "encoder", "decoder"])
def test_a_model_that_is_not_here_is_to_be_named_where_it_is_named(toy: Path, tmp_path: Path, field: str) -> None:
    (tmp_path / "here").mkdir()
    names = {field: "nobody/nothing"}
    if field != "init_from":
        names = {"encoder": str(tmp_path / "here"), "decoder": str(tmp_path / "here")} | names
    with pytest.raises(VoxlateError, match=rf"copy the folder here, and name it as model.{field}$"):
        run(config(toy, tmp_path / "run", model=names))


def test_a_damaged_state_is_named_and_the_checkpoint_before_it_taken(toy: Path, tmp_path: Path) -> None:
    changes = {"optimizer__updates": 2, "checkpoints__every_updates": 1}
    run(config(toy, tmp_path / "run", **changes))
    best = (tmp_path / "run" / "best" / "model.safetensors").read_bytes()
    newest = checkpoints.checkpoints(tmp_path / "run")[-1]
    state = newest / "state.json"
    flipped = state.read_bytes().replace(b'"update": 2', b'"update": 3')
    odd = [b"", b"[]", b"null", b"\xff\x00", b"[" * 100_000, b'{"progress": {}, "files": {}}', b'{"files": 3}', flipped]
    for damage in odd:
        state.write_bytes(damage)
        assert str(checkpoints.damage(newest)).startswith(f"{state}: ")
    printed = run(config(toy, tmp_path / "run", **changes))
    assert (
        f"warning: {state}: its SHA-256 is not the one that it names: altered; taking the checkpoint before" in printed
    )
    assert (tmp_path / "run" / "best" / "model.safetensors").read_bytes() == best


def test_a_damaged_log_keeps_its_whole_lines(toy: Path, tmp_path: Path) -> None:
    changes = {"optimizer__updates": 3, "checkpoints__every_updates": 1}
    run(config(toy, tmp_path / "run", **changes))
    path = tmp_path / "run" / "log.jsonl"
    one, two, three = path.read_bytes().splitlines()
    named = json.dumps({"event": "unreadable", "update": 1, "id": "a\u2028b"}, ensure_ascii=False).encode()
    path.write_bytes(b"\n".join([b"\xff\xfe", one, b"[" * 100_000, named, b"3", two, three[:7]]))
    (checkpoints.checkpoints(tmp_path / "run")[-1] / "state.json").write_text("")
    run(config(toy, tmp_path / "run", **changes))
    lines = path.read_bytes().splitlines()
    assert lines[:3] == [one, named, two]
    assert [json.loads(line)["update"] for line in lines] == [1, 1, 2, 3]


def test_other_dev_sets_than_at_the_start_end_no_training(toy: Path, tmp_path: Path) -> None:
    old = write_toy(tmp_path, "old", 2, pairs=["fr-en"])
    new = write_toy(tmp_path, "new", 4, pairs=["fr-en", "de-en"])
    changes = {"data__replay": [str(toy / "train.jsonl")], "optimizer__updates": 2, "checkpoints__every_updates": 1}
    run(config(toy, tmp_path / "run", data__dev=[str(old)], **changes))
    (checkpoints.checkpoints(tmp_path / "run")[-1] / "state.json").write_text("")
    printed = run(config(toy, tmp_path / "run", data__dev=[str(new)], **changes))
    assert "dev BLEU before and after" in printed
    [row] = json.loads((tmp_path / "run" / "before_after.json").read_text())
    assert row["direction"] == "fr-en"


@pytest.mark.parametrize("slot", [99_999_999, -5])
def test_a_slot_that_the_decoder_does_not_have_is_refused(toy: Path, tmp_path: Path, slot: int) -> None:
    raw = settings(toy, output=str(tmp_path / "run"), model__slots={"en": slot})
    with pytest.raises(VoxlateError, match=rf"model.slots: en: {slot}; expected token ids from 0 to \d+, or tags like"):
        run(TrainConfig(**raw))


def test_a_language_that_is_added_without_data_is_saved_with_the_others(toy: Path, tmp_path: Path) -> None:
    changes = {"model__add_languages": {"no": {"init_from": "en"}}, "optimizer": {"updates": 1, "lr": 1e-3}}
    run(config(toy, tmp_path / "run", **changes))
    assert sorted(load_checkpoint(tmp_path / "run" / "best").targets) == ["en", "no"]
