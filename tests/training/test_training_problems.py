"""Problems in training: bad clips are left out, everything else ends with one clear line."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from toy import log, settings, write_toy, write_vocabulary
from training_runs import config, newest_checkpoint, run
from voxlate.config.schema import TrainConfig
from voxlate.errors import VoxlateError
from voxlate.training.training_state import read_training_state


def test_untrainable_utterances_are_reported_and_dev_loses_nothing(tmp_path: Path) -> None:
    write_vocabulary(tmp_path / "sentencepiece.bpe.model")
    manifest = write_toy(tmp_path, "train", 8)
    lines = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]
    lines[3]["target_text"] = "ж " * 100
    lines[5]["split"] = "test"
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    printed = run(config(tmp_path, tmp_path / "run", data__dev=[str(manifest)]))
    assert "left out: train-3: its translation has more than 64 tokens, the maximum of the decoder" in printed
    assert "warning: 1 utterances of data.train are marked test" in printed
    assert (
        "the vocabulary lacks 1 characters that occur in 1 of the translations (ж): the model cannot write" in printed
    )
    [*_, last] = sorted((tmp_path / "run/dev").iterdir())
    hypotheses = [json.loads(line) for line in last.read_text(encoding="utf-8").splitlines()]
    assert [line["id"] for line in hypotheses] == [line["id"] for line in lines]
    assert not any("error" in line for line in hypotheses)


def test_unreadable_clips_are_reported_and_training_continues(tmp_path: Path) -> None:
    write_vocabulary(tmp_path / "sentencepiece.bpe.model")
    manifest = write_toy(tmp_path, "train", 12)
    (tmp_path / "train-3.wav").write_text("<html>404</html>")
    (tmp_path / "train-5.wav").write_bytes(b"")
    printed = run(config(tmp_path, tmp_path / "run", data__dev=[str(manifest)]))
    assert printed.count("warning: left out: train-3: not audio") == 1
    named = log(tmp_path / "run", "unreadable")
    assert sorted(line["id"] for line in named) == ["train-3", "train-5"]
    assert "empty file" in next(line["reason"] for line in named if line["id"] == "train-5")
    state = read_training_state(newest_checkpoint(tmp_path / "run"))
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
    with pytest.raises(
        VoxlateError, match=r"no clip could be read in 3 consecutive updates, up to update 3, for example: .*empty file"
    ):
        run(config(tmp_path, tmp_path / "run"))


def test_an_update_without_any_clip_does_not_stop_training(tmp_path: Path) -> None:
    write_vocabulary(tmp_path / "sentencepiece.bpe.model")
    write_toy(tmp_path, "train", 3)
    (tmp_path / "train-1.wav").write_bytes(b"")
    printed = run(config(tmp_path, tmp_path / "run", data__batch_seconds=0.1))  # a batch for each clip
    assert "left out: train-1" in printed
    assert [line["update"] for line in log(tmp_path / "run")] == [1, 2, 3, 4, 5, 6]


def test_a_missing_manifest_is_reported_once(toy: Path, tmp_path: Path) -> None:
    missing = [str(tmp_path / "gone.jsonl")]
    with pytest.raises(VoxlateError, match=r"gone.jsonl: cannot be read") as caught:
        run(config(toy, tmp_path / "run", data__train=missing, data__dev=missing))
    assert str(caught.value).count("gone.jsonl") == 1


def test_an_unwritable_output_folder(toy: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(
        VoxlateError, match=r"output_dir .*file/run: cannot be written \(Not a directory\); use another"
    ):
        run(config(toy, tmp_path / "file" / "run"))


def test_a_device_without_enough_memory(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB\nmore")

    monkeypatch.setattr("voxlate.training.train.train_update", full)
    with pytest.raises(
        VoxlateError,
        match=r"is out of memory \(CUDA out of memory. Tried .* GiB\); use a smaller data.batch_seconds \(now 10\)",
    ):
        run(config(toy, tmp_path / "run"))


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
def test_invalid_models_from_scratch(toy: Path, tmp_path: Path, change: dict[str, Any], message: str) -> None:
    raw = settings(toy, output_dir=str(tmp_path / "run"))
    raw["model"]["scratch"] = raw["model"]["scratch"] | change
    with pytest.raises(VoxlateError, match=message):
        run(TrainConfig(**raw))


def test_ctc_needs_transcripts(toy: Path, tmp_path: Path) -> None:
    lines = [json.loads(line) for line in (toy / "train.jsonl").read_text().splitlines()]
    for line in lines:
        del line["source_text"]
        line["audio"] = str(toy / line["audio"])
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    changes = {"data__train": [str(tmp_path / "m.jsonl")], "loss__ctc_weight": 0.3}
    with pytest.raises(VoxlateError, match="ctc_weight is above 0, but no utterance has a source_text; add trans"):
        run(config(toy, tmp_path / "run", **changes))


def test_training_stops_if_the_loss_is_not_finite(toy: Path, tmp_path: Path) -> None:
    with pytest.raises(
        VoxlateError, match=r"not finite in 10 consecutive updates, up to update \d+; lower optimizer.lr"
    ):
        run(config(toy, tmp_path / "run", optimizer__max_updates=60, optimizer__lr=1e30, optimizer__warmup_updates=0))


@pytest.mark.parametrize("field", ["init_from", "encoder", "decoder"])
def test_a_missing_model_is_reported_with_its_setting(toy: Path, tmp_path: Path, field: str) -> None:
    (tmp_path / "here").mkdir()
    names = {field: "nobody/nothing"}
    if field != "init_from":
        names = {"encoder": str(tmp_path / "here"), "decoder": str(tmp_path / "here")} | names
    with pytest.raises(VoxlateError, match=rf"copy the folder here, and name it as model.{field}$"):
        run(config(toy, tmp_path / "run", model=names))
