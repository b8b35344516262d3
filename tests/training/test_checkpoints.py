"""Checkpoints and logs that are damaged, incomplete, or of another model."""

import errno
import json
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch

from training_runs import config, damage_newest_checkpoint, newest_checkpoint, run, same_files
from voxlate.errors import VoxlateError
from voxlate.training.checkpoint import find_damage
from voxlate.training.retention import list_checkpoints


def test_a_damaged_checkpoint_is_reported_and_the_one_before_it_is_used(toy: Path, tmp_path: Path) -> None:
    run(config(toy, tmp_path / "full", optimizer__max_updates=8))
    newest = tmp_path / "full" / "checkpoints" / "update-00000008"
    weights = (newest / "weights.safetensors").read_bytes()
    for damaged, reason in (
        (weights[:-10], "bytes, expected"),
        (weights[:-1] + bytes([weights[-1] ^ 1]), "SHA-256"),
    ):
        (newest / "weights.safetensors").write_bytes(damaged)
        printed = run(config(toy, tmp_path / "full", optimizer__max_updates=8))
        assert f"warning: {newest / 'weights.safetensors'}: " in printed
        assert reason in printed
        assert "resuming from update 6" in printed
        assert (newest / "weights.safetensors").read_bytes() == weights
    for folder in list_checkpoints(tmp_path / "full"):
        (folder / "state.json").write_text("{")
    with pytest.raises(
        VoxlateError, match=r"state.json: cannot be read .* no checkpoint is intact: remove .*checkpoints"
    ):
        run(config(toy, tmp_path / "full", optimizer__max_updates=8))


def test_a_damaged_state_is_reported_and_the_checkpoint_before_it_is_used(toy: Path, tmp_path: Path) -> None:
    changes = {"optimizer__max_updates": 2, "checkpoints__every_updates": 1}
    run(config(toy, tmp_path / "run", **changes))
    best = (tmp_path / "run" / "best" / "model.safetensors").read_bytes()
    newest = newest_checkpoint(tmp_path / "run")
    state = newest / "state.json"
    flipped = state.read_bytes().replace(b'"update": 2', b'"update": 3')
    odd = [b"", b"[]", b"null", b"\xff\x00", b"[" * 100_000, b'{"progress": {}, "files": {}}', b'{"files": 3}', flipped]
    for damage in odd:
        state.write_bytes(damage)
        assert str(find_damage(newest)).startswith(f"{state}: ")
    printed = run(config(toy, tmp_path / "run", **changes))
    assert (
        f"warning: {state}: does not match the SHA-256 that it contains; it was altered; using the checkpoint before"
        in printed
    )
    assert (tmp_path / "run" / "best" / "model.safetensors").read_bytes() == best


def test_a_damaged_log_keeps_its_intact_lines(toy: Path, tmp_path: Path) -> None:
    changes = {"optimizer__max_updates": 3, "checkpoints__every_updates": 1}
    run(config(toy, tmp_path / "run", **changes))
    path = tmp_path / "run" / "log.jsonl"
    one, two, three = path.read_bytes().splitlines()
    named = json.dumps({"event": "unreadable", "update": 1, "id": "a\u2028b"}, ensure_ascii=False).encode()
    path.write_bytes(b"\n".join([b"\xff\xfe", one, b"[" * 100_000, named, b"3", two, three[:7]]))
    damage_newest_checkpoint(tmp_path / "run")
    run(config(toy, tmp_path / "run", **changes))
    lines = path.read_bytes().splitlines()
    assert lines[:3] == [one, named, two]
    assert [json.loads(line)["update"] for line in lines] == [1, 1, 2, 3]


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "weights.safetensors"),
        safetensors.SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    run(config(toy, tmp_path / "full"))

    save_file, calls = safetensors.torch.save_file, []

    def full(tensors: Any, path: Path, metadata: Any) -> None:
        calls.append(path)
        if len(calls) > 2:
            path.write_bytes(b"half")
            raise error
        save_file(tensors, path, metadata)

    monkeypatch.setattr("voxlate.checkpoints.weights.save_file", full)
    with pytest.raises(VoxlateError, match=r"cannot be written \(.*No space left on device.*\); fix that and rerun"):
        run(config(toy, tmp_path / "run"))
    monkeypatch.undo()
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["update-00000002"]
    assert "resuming from update 2" in run(config(toy, tmp_path / "run"))
    assert same_files(tmp_path / "full", tmp_path / "run", "best/model.safetensors")
    assert not list((tmp_path / "run" / "checkpoints").glob(".*"))


def test_a_changed_base_model_is_detected(toy: Path, tmp_path: Path) -> None:
    run(config(toy, tmp_path / "base"))
    changes = {
        "model": {"init_from": str(tmp_path / "base" / "best")},
        "trainable": {"preset": "adapter-only"},
        "optimizer__max_updates": 4,
    }
    run(config(toy, tmp_path / "run", **changes))
    damage_newest_checkpoint(tmp_path / "run")
    run(config(toy, tmp_path / "other", seed=2))
    other = (tmp_path / "other" / "best" / "model.safetensors").read_bytes()
    (tmp_path / "base" / "best" / "model.safetensors").write_bytes(other)
    with pytest.raises(
        VoxlateError,
        match=r"update-00000002: belongs to another model; has the model changed that model.init_from, enc",
    ):
        run(config(toy, tmp_path / "run", **changes))
