"""Resuming: an interrupted and resumed run equals an uninterrupted one, to the bit."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from paths import TESTS
from tiny import write_vocabulary as write_other_vocabulary
from toy import DECODER, log, settings, write_settings, write_toy, write_toy_corpus
from training_runs import config, damage_newest_checkpoint, run, run_interrupted, same_files, send_sigterm
from voxlate.cli import app
from voxlate.config.schema import read_config
from voxlate.errors import VoxlateError
from voxlate.training.interrupts import InterruptCounter
from voxlate.training.retention import list_checkpoints


def logged(run: Path) -> list[dict[str, Any]]:
    """Return the lines of a run's log without the speed."""
    lines = [*log(run, "train"), *log(run, "dev")]
    return [{key: value for key, value in line.items() if key != "audio_s/s"} for line in lines]


@pytest.mark.slow
def test_killed_twenty_times_equals_uninterrupted(toy: Path, tmp_path: Path) -> None:
    changes = {
        "data__dev": [str(toy / "dev.jsonl")],
        "data__batch_seconds": 6,
        "data__batches_per_update": 2,
        "optimizer__max_updates": 24,
        "regularization__decoder_dropout": 0.1,
        "regularization__encoder_layerdrop": 0.3,
        "regularization__mask_time_prob": 0.3,
        "regularization__mask_feature_prob": 0.2,
        "regularization__mask_feature_length": 4,
        "checkpoints__every_updates": 1,
        "validation__every_updates": 5,
        "log_every": 4,
    }
    run(config(toy, tmp_path / "full", **changes))
    raw = settings(toy, output_dir=str(tmp_path / "killed"), **changes)
    command = [sys.executable, "killed.py", str(write_settings(tmp_path / "killed.yaml", raw)), "1"]
    result = subprocess.run(command, cwd=TESTS, capture_output=True, text=True, check=True, timeout=300)
    killed, in_checkpoint = map(int, result.stdout.split())
    assert killed == 20
    assert in_checkpoint >= 5
    last = "checkpoints/update-00000024"
    names = ("best/model.safetensors", f"{last}/weights.safetensors", f"{last}/optimizer-00000.safetensors")
    assert same_files(tmp_path / "full", tmp_path / "killed", *names)
    assert logged(tmp_path / "full") == logged(tmp_path / "killed")


def test_training_in_bfloat16_resumes_exactly(toy: Path, tmp_path: Path) -> None:
    full, part = (config(toy, tmp_path / name, precision="bfloat16") for name in ("full", "part"))
    run(full)
    run(part)
    damage_newest_checkpoint(tmp_path / "part")
    assert "resuming from update 4" in run(part)
    assert same_files(tmp_path / "full", tmp_path / "part", "best/model.safetensors")
    losses = [[line["loss"] for line in log(tmp_path / name)] for name in ("full", "part")]
    assert losses[0] == losses[1]
    assert losses[0][-1] < losses[0][0]


def test_an_interrupted_run_saves_and_the_same_command_resumes(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(config(toy, tmp_path / "full", optimizer__max_updates=5))
    send_sigterm(monkeypatch, 2)
    raw = settings(toy, output_dir=str(tmp_path / "run"), optimizer__max_updates=5, checkpoints__every_updates=100)
    path = write_settings(tmp_path / "run.yaml", raw)
    result = CliRunner().invoke(app, ["train", str(path)])
    assert result.exit_code == 130
    assert "interrupted: saved at update 4; rerun the same command to resume" in result.stderr
    assert CliRunner().invoke(app, ["train", str(path)]).exit_code == 0
    assert same_files(tmp_path / "full", tmp_path / "run", "best/model.safetensors")


def test_the_second_interrupt_does_not_wait() -> None:
    with InterruptCounter() as interrupts:
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupts.count == 1
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_a_finished_run_and_other_settings(toy: Path, tmp_path: Path) -> None:
    run(config(toy, tmp_path / "run"))
    before = (tmp_path / "run" / "log.jsonl").read_bytes()
    assert "finished at update 6" in run(config(toy, tmp_path / "run"))
    assert (tmp_path / "run" / "log.jsonl").read_bytes() == before
    with pytest.raises(VoxlateError, match=r"holds a run with other settings: optimizer.lr was 0.002, is 0.1; restore"):
        run(config(toy, tmp_path / "run", optimizer__lr=0.1))


def test_settings_may_change_after_a_failed_start(toy: Path, tmp_path: Path) -> None:
    with pytest.raises(VoxlateError, match="nothing is left to train on"):
        run(config(toy, tmp_path / "run", data__min_seconds=20))
    run(config(toy, tmp_path / "run"))


def test_two_runs_into_one_folder_are_refused(toy: Path, tmp_path: Path) -> None:
    from filelock import FileLock

    (tmp_path / "run").mkdir()
    with (
        FileLock(tmp_path / "run" / ".lock"),
        pytest.raises(VoxlateError, match="in use by another run; wait for it to end"),
    ):
        run(config(toy, tmp_path / "run"))


@pytest.mark.parametrize("name", ["data.train", "data.teacher", "model.scratch.vocabulary"])
def test_a_run_does_not_continue_on_other_data(tmp_path: Path, name: str) -> None:
    toy = tmp_path / "data"
    toy.mkdir()
    write_toy_corpus(toy, train=8, dev=2)
    teacher = tmp_path / "teacher.jsonl"
    teacher.write_text('{"id": "train-0", "text": "zwei"}\n')
    changes = {"data__teacher": [str(teacher)], "data__dev": [str(toy / "dev.jsonl")], "optimizer__max_updates": 4}
    run_interrupted(config(toy, tmp_path / "run", **changes), 1)
    shutil.copytree(toy, tmp_path / "moved")
    moved = changes | {"data__train": [str(tmp_path / "moved" / "train.jsonl")]}  # the same data elsewhere
    file = {
        "data.train": tmp_path / "moved" / "train.jsonl",
        "data.teacher": teacher,
        "model.scratch.vocabulary": toy / "sentencepiece.bpe.model",
    }[name]
    before = file.read_bytes()
    if file.suffix == ".model":
        write_other_vocabulary(file)
    else:
        file.write_text(before.decode().replace("zwei", "drei").replace("two", "three"))
    shown = "vocabulary" if name.endswith("vocabulary") else name
    with pytest.raises(
        VoxlateError, match=rf"holds a run on other data: {shown}: .*{file.name} has changed .*SHA-256 w"
    ):
        run(config(toy, tmp_path / "run", **moved))
    file.write_bytes(before)
    (toy / "dev.jsonl").write_bytes((toy / "dev.jsonl").read_bytes() + b"\n")
    printed = run(config(toy, tmp_path / "run", **moved))
    assert "warning: data.dev: " in printed
    assert "the best score so far is that of the old data" in printed
    (tmp_path / "run" / "data.json").write_text("")
    with pytest.raises(VoxlateError, match=r"data.json: damaged; .* remove it to resume without checking for changes"):
        run(config(toy, tmp_path / "run", **changes))


def test_dev_sets_may_change(toy: Path, tmp_path: Path) -> None:
    old = write_toy(tmp_path, "old", 2, pairs=["fr-en"])
    new = write_toy(tmp_path, "new", 4, pairs=["fr-en", "de-en"])
    changes = {"data__replay": [str(toy / "train.jsonl")], "optimizer__max_updates": 2, "checkpoints__every_updates": 1}
    run(config(toy, tmp_path / "run", data__dev=[str(old)], **changes))
    damage_newest_checkpoint(tmp_path / "run")
    printed = run(config(toy, tmp_path / "run", data__dev=[str(new)], **changes))
    assert "dev BLEU before and after" in printed
    [row] = json.loads((tmp_path / "run" / "before_after.json").read_text())
    assert row["direction"] == "fr-en"


OLD_FIELDS = {
    "sampler_state": "place",
    "best_score": "best",
    "validations_since_best": "worse_in_a_row",
    "frozen_fingerprint": "frozen",
    "initial_scores": "before",
    "latest_scores": "scores",
    "log_sums": "window",
    "previous_scheduled": "scheduled_before",
}
OLD_SETTINGS = {"output_dir": "output", "max_updates": "updates", "lr_scheduler": "schedule", "num_workers": "workers"}
OLD_SETTINGS |= {"mask_time_prob": "time_masking", "mask_feature_prob": "channel_masking", "beam_size": "beam"}


def rename_tensors(path: Path) -> None:
    """Rename the projection to the decoder as in the first version, in the tensors and in the metadata."""
    with safe_open(path, framework="pt") as file:
        metadata = {key: value.replace("enc_to_dec_proj.", "bridge.") for key, value in file.metadata().items()}
    tensors = {name.replace("enc_to_dec_proj.", "bridge."): tensor for name, tensor in load_file(path).items()}
    save_file(tensors, path, metadata)


def as_in_older_versions(run: Path) -> None:
    """Rename the fields of a run's checkpoints and its settings as in older versions."""
    for folder in list_checkpoints(run):
        contents = json.loads((folder / "state.json").read_text())
        for path in folder.glob("*.safetensors"):
            rename_tensors(path)
            sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
            contents["files"][path.name] = {"bytes": path.stat().st_size, "sha256": sha256}
        fields = contents["progress"]
        sums = {"cross_entropy": "translation", "consecutive_skipped": "not_finite_in_a_row"}
        fields["log_sums"] = {sums.get(name, name): value for name, value in fields["log_sums"].items()}
        contents["progress"] = {OLD_FIELDS.get(name, name): value for name, value in fields.items()}
        del contents["sha256"]
        (folder / "state.json").write_text(json.dumps(contents))
    config_file = run / "config.yaml"
    text = config_file.read_text()
    for new, old in OLD_SETTINGS.items():
        text = re.sub(rf"^( {{0,2}}){new}:", rf"\1{old}:", text, flags=re.MULTILINE)
    config_file.write_text(text)


def test_a_run_of_an_older_version_resumes(toy: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    changes = {
        "model__scratch__decoder": DECODER | {"d_model": 32, "decoder_ffn_dim": 64},  # needs a projection
        "data__dev": [str(toy / "dev.jsonl")],
        "optimizer__max_updates": 5,
        "optimizer__lr_scheduler": "linear",
        "regularization__mask_time_prob": 0.3,
        "validation": {"every_updates": 2, "max_length": 4, "beam_size": 2, "at_start": True},
        "log_every": 2,
    }
    run(config(toy, tmp_path / "full", **changes))
    run_interrupted(config(toy, tmp_path / "part", **changes), 1)
    as_in_older_versions(tmp_path / "part")
    caplog.clear()
    assert "resuming from update 3" in run(config(toy, tmp_path / "part", **changes))
    assert not caplog.messages  # the user did not write the stored settings
    files = ("best/model.safetensors", "checkpoints/update-00000005/optimizer-00000.safetensors", "before_after.json")
    assert same_files(tmp_path / "full", tmp_path / "part", *files)
    assert logged(tmp_path / "full") == logged(tmp_path / "part")


def test_the_command_may_use_old_or_new_names_of_settings_when_it_resumes(toy: Path, tmp_path: Path) -> None:
    raw = settings(toy, output_dir=str(tmp_path / "run"), optimizer__max_updates=4)
    path = write_settings(tmp_path / "run.yaml", raw)
    run_interrupted(read_config(path), 0)
    text = path.read_text().replace("max_updates: 4", "updates: 4").replace("num_workers:", "workers:")
    path.write_text(text.replace("output_dir:", "output:"))
    result = CliRunner().invoke(app, ["train", str(path)], catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    assert "resuming from update 2" in result.stderr
    path.write_text(path.read_text().replace("updates: 4", "updates: 5"))
    with pytest.raises(VoxlateError, match=r"other settings: optimizer.max_updates was 4, is 5; restore them"):
        CliRunner().invoke(app, ["train", str(path)], catch_exceptions=False)
