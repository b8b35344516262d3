"""The mean of checkpoints: its values, which checkpoints it takes, and what it reports."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from toy import write_toy_corpus
from training_runs import average, config, newest_checkpoint, run, run_interrupted, same_files
from voxlate.checkpoints.model_folder import load_checkpoint
from voxlate.errors import VoxlateError
from voxlate.training.retention import checkpoint_update, list_checkpoints


@pytest.mark.parametrize("preset", ["lna-ed", "adapter-only", "lora"])
def test_presets_train_resume_and_average(toy: Path, tmp_path: Path, preset: str) -> None:
    changes = {
        "trainable": {"preset": preset},
        "optimizer__max_updates": 4,
        "regularization__decoder_dropout": 0.1,
        "loss__ctc_weight": 0.3,
    }
    run(config(toy, tmp_path / "full", **changes))
    part = config(toy, tmp_path / "run", **changes)
    run(part)
    last = tmp_path / "run" / "checkpoints" / "update-00000004"
    for name in ("state.json", "weights.safetensors", "optimizer-00000.safetensors"):
        (last / name).unlink()
    last.rmdir()
    assert "resuming from update 2" in run(part)
    assert same_files(tmp_path / "full", tmp_path / "run", "best/model.safetensors", "best/ctc.safetensors")

    assert "mean of 2 checkpoints (update-00000002, update-00000004)" in average(tmp_path / "run")
    averaged = load_checkpoint(tmp_path / "run" / "averaged").model.state_dict()
    best = load_checkpoint(tmp_path / "run" / "best").model.state_dict()
    assert averaged.keys() == best.keys()
    moved = {name for name in best if not torch.equal(best[name], averaged[name])}
    assert moved
    assert all(name.startswith("adapter.") for name in moved) == (preset == "adapter-only")
    average(tmp_path / "run", "--last", "1")
    last_one = load_checkpoint(tmp_path / "run" / "averaged").model.state_dict()
    assert all(torch.equal(best[name], last_one[name]) for name in best)


@pytest.mark.parametrize("preset", ["all", "lora"])
def test_an_interruption_does_not_change_the_average_and_the_run_folder_is_enough(tmp_path: Path, preset: str) -> None:
    toy = tmp_path / "data"
    toy.mkdir()
    write_toy_corpus(toy, train=8, dev=2)
    changes = {
        "data__dev": [str(toy / "dev.jsonl")],
        "data__batch_seconds": 4,
        "optimizer__max_updates": 10,
        "optimizer__lr": 0.05,
        "trainable": {"preset": preset},
        "loss__ctc_weight": 0.3,
        "validation": {"every_updates": 3, "max_length": 4},
        "checkpoints": {"every_updates": 2, "keep_last": 3, "keep_around_best": 2},
    }
    run(config(toy, tmp_path / "full", **changes))
    for update in (3, 5, 7):  # saved after the next update: 5, 7, 9
        run_interrupted(config(toy, tmp_path / "part", **changes), update)
    assert newest_checkpoint(tmp_path / "part").name == "update-00000009"  # kept until there is a newer one
    run(config(toy, tmp_path / "part", **changes))
    kept = [[path.name for path in list_checkpoints(tmp_path / name)] for name in ("full", "part")]
    assert kept[0] == kept[1]
    (tmp_path / "moved").mkdir()
    for name in ("full", "part"):
        shutil.move(tmp_path / name, tmp_path / "moved" / name)
    shutil.rmtree(toy)  # averaging needs neither data nor vocabulary
    for options in ([], ["--last", "2"], ["--around-best"]):
        printed = [average(tmp_path / "moved" / name, *options) for name in ("full", "part")]
        assert printed[0].split(": ")[1] == printed[1].split(": ")[1]
        names = ("model.safetensors", "ctc.safetensors", "config.json", "languages.json")
        full, part = (tmp_path / "moved" / name / "averaged" for name in ("full", "part"))
        assert same_files(full, part, *names)
        if not options:
            assert "3 checkpoints (update-00000006, update-00000008, update-00000010)" in printed[0]
    assert sorted(load_checkpoint(tmp_path / "moved" / "part" / "averaged").targets) == ["en"]


def test_average_reports_what_is_missing(toy: Path, tmp_path: Path) -> None:
    with pytest.raises(VoxlateError, match="no checkpoints; expected a run folder written by voxlate train"):
        average(tmp_path)
    run(config(toy, tmp_path / "run"))
    with pytest.raises(VoxlateError, match="--last is 9, expected 1 to 3"):
        average(tmp_path / "run", "--last", "9")
    with pytest.raises(VoxlateError, match="no best checkpoint, because nothing was validated; omit --around-best"):
        average(tmp_path / "run", "--around-best")
    shutil.rmtree(tmp_path / "run" / "frozen")
    with pytest.raises(VoxlateError, match=r"frozen.safetensors: missing or damaged; rerun the voxlate train command"):
        average(tmp_path / "run")
    run(config(toy, tmp_path / "run"))
    average(tmp_path / "run")
    (tmp_path / "run" / "config.yaml").write_text("")
    with pytest.raises(
        VoxlateError, match=r"settings of the run are damaged .*got nothing\n  remove .*config.yaml and"
    ):
        average(tmp_path / "run")


def test_damaged_frozen_weights_are_reported_and_written_again(toy: Path, tmp_path: Path) -> None:
    settings = config(toy, tmp_path / "run", optimizer__max_updates=2, trainable={"preset": "lna-ed"})
    run(settings)
    frozen = tmp_path / "run" / "frozen"
    average(tmp_path / "run")
    expected = {path.name: path.read_bytes() for path in frozen.iterdir()}
    assert {"frozen.safetensors", "config.json", "preprocessor_config.json", "sha256.json"} < expected.keys()
    again = "; rerun the voxlate train command of this run to restore it"
    for name, content in expected.items():
        (frozen / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))  # the last byte of weights is one of them
        reason = (
            "not JSON" if name == "sha256.json" else f"does not match its SHA-256 in sha256.json; it was altered{again}"
        )
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


def test_only_consecutive_checkpoints_count_as_the_last_ones(toy: Path, tmp_path: Path) -> None:
    changes = {"optimizer__max_updates": 5, "checkpoints": {"every_updates": 1, "keep_last": 2}}
    run(config(toy, tmp_path / "run", **changes))
    folders = list_checkpoints(tmp_path / "run")
    assert [checkpoint_update(folder) for folder in folders] == [4, 5]
    shutil.copytree(folders[0], folders[0].with_name("update-00000002"))
    with pytest.raises(VoxlateError, match=r"--last is 3, expected 1 to 2, .* \(update-00000004, update-00000005\)"):
        average(tmp_path / "run", "--last", "3")
    assert "mean of 2 checkpoints (update-00000004, update-00000005)" in average(tmp_path / "run")


def test_the_average_is_the_mean_of_the_checkpoints(toy: Path, tmp_path: Path) -> None:
    changes = {"optimizer__max_updates": 3, "optimizer__lr": 0.05, "checkpoints": {"every_updates": 1, "keep_last": 3}}
    run(config(toy, tmp_path / "run", **changes))
    checkpoints = [load_file(folder / "weights.safetensors") for folder in list_checkpoints(tmp_path / "run")]
    assert len(checkpoints) == 3
    average(tmp_path / "run")
    averaged = load_checkpoint(tmp_path / "run" / "averaged").model.state_dict()
    for name, tensor in averaged.items():
        stored = [checkpoint.get(f"translator.{name}") for checkpoint in checkpoints]
        values = [value for value in stored if value is not None]  # weights that are not trained are not stored
        if values:
            torch.testing.assert_close(tensor, torch.stack(values).mean(0), rtol=1e-5, atol=1e-6)
    trained = {name.removeprefix("translator.") for name in checkpoints[0]}
    assert "decoder.layers.0.fc1.weight" in trained & averaged.keys()
    name = "decoder.layers.0.fc1.weight"
    assert not torch.allclose(averaged[name], checkpoints[-1][f"translator.{name}"], atol=1e-4)
    average(tmp_path / "run", "--last", "2")
    last_two = load_checkpoint(tmp_path / "run" / "averaged").model.state_dict()[name]
    expected = (checkpoints[1][f"translator.{name}"] + checkpoints[2][f"translator.{name}"]) / 2
    torch.testing.assert_close(last_two, expected)
