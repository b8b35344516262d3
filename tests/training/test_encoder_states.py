"""Cached states of a frozen encoder: computed once, equivalent to audio, and never those of another encoder."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tiny import KINDS
from toy import DECODER, log, write_toy, write_vocabulary
from training_runs import config, run
from voxlate.config.schema import TrainConfig
from voxlate.errors import VoxlateError
from voxlate.models import ENCODERS

FROZEN = {"preset": "decoder-only", "feature_encoder": False}


def frozen(toy: Path, output: Path, *, cached: bool, **changes: Any) -> TrainConfig:
    return config(toy, output, trainable={**FROZEN, "cache_encoder": cached}, **changes)


def losses(folder: Path) -> list[float]:
    return [line["loss"] for line in log(folder)]


def test_training_on_cached_states_equals_training_on_audio(toy: Path, tmp_path: Path) -> None:
    changes = {"loss": {"label_smoothing": 0.0, "ctc_weight": 0.3}, "data__dev": [str(toy / "dev.jsonl")]}
    run(frozen(toy, tmp_path / "audio", cached=False, **changes))
    printed = run(frozen(toy, tmp_path / "states", cached=True, **changes))
    assert "computing them once" in printed
    assert losses(tmp_path / "states") == pytest.approx(losses(tmp_path / "audio"), rel=2e-3)  # float16
    [audio], [states] = (
        [line["directions"] for line in log(folder, "dev")][-1:] for folder in (tmp_path / "audio", tmp_path / "states")
    )
    assert states["fr-en"]["loss"] == pytest.approx(audio["fr-en"]["loss"], rel=1e-2)


@pytest.mark.parametrize("family", sorted(ENCODERS))
def test_states_of_every_family(toy: Path, tmp_path: Path, family: str) -> None:
    encoder, normalizes = next((fields, normalizes) for kind, fields, normalizes in KINDS.values() if kind == family)
    scratch = {"encoder_type": family, "encoder": encoder, "decoder": DECODER, "normalize_waveform": normalizes}
    model = {"scratch": {**scratch, "vocabulary": str(toy / "sentencepiece.bpe.model")}, "num_adapter_layers": 2}
    printed = run(frozen(toy, tmp_path, cached=True, model=model, optimizer={"max_updates": 1, "lr": 1e-3}))
    assert "encoder states: 24 clips" in printed


def test_a_second_run_reuses_states_unless_they_are_of_another_encoder(toy: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    run(frozen(toy, output, cached=True))
    [file] = (output / "states").glob("*.float16")
    before = file.stat().st_mtime_ns
    shutil.rmtree(output / "checkpoints")  # the run starts over
    run(frozen(toy, output, cached=True))
    assert file.stat().st_mtime_ns == before
    shutil.rmtree(output / "checkpoints")
    index = json.loads((output / "states/index.json").read_text(encoding="utf-8"))
    (output / "states/index.json").write_text(json.dumps({**index, "mark": "another"}), encoding="utf-8")
    run(frozen(toy, output, cached=True))
    assert file.stat().st_mtime_ns != before


def test_unreadable_clips_are_reported(tmp_path: Path) -> None:
    write_vocabulary(tmp_path / "sentencepiece.bpe.model")
    write_toy(tmp_path, "train", 24)
    (tmp_path / "train-3.wav").write_bytes(b"not audio")
    printed = run(frozen(tmp_path, tmp_path / "run", cached=True))
    assert "warning: left out:" in printed
    assert "train-3" in printed


def test_a_disk_that_is_too_small(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    with pytest.raises(
        VoxlateError, match=r"take 0\.0 GiB in .*states, but only 0\.0 GiB are free; choose another output"
    ):
        run(frozen(toy, tmp_path / "run", cached=True))


def test_incomplete_states_are_computed_again(toy: Path, tmp_path: Path) -> None:
    short = {"optimizer": {"max_updates": 1, "lr": 1e-3}, "data__batch_seconds": 2}
    run(frozen(toy, tmp_path, cached=True, **short))
    for name, damage in (("index.json", b""), ("index.json", b'{"mark": 3}'), ("00000.float16", b"")):
        before = (tmp_path / "states" / name).read_bytes()
        (tmp_path / "states" / name).write_bytes(damage)
        shutil.rmtree(tmp_path / "checkpoints")
        assert "computing them once" in run(frozen(toy, tmp_path, cached=True, **short))
        assert (tmp_path / "states" / name).read_bytes() == before


def test_states_of_a_clip_that_was_replaced_are_computed_again(tmp_path: Path) -> None:
    write_vocabulary(tmp_path / "sentencepiece.bpe.model")
    write_toy(tmp_path, "train", 6)
    short = {"optimizer": {"max_updates": 1, "lr": 1e-3}}
    run(frozen(tmp_path, tmp_path / "run", cached=True, **short))
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    clip = tmp_path / "train-2.wav"
    clip.write_bytes(clip.read_bytes()[:-1000])
    assert "computing them once" in run(frozen(tmp_path, tmp_path / "run", cached=True, **short))
