"""The states of a frozen encoder are computed once, give the same training, and are not mixed with others."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tiny import KINDS
from toy import DECODER, log
from training_runs import config, run
from voxlate.config.schema import TrainConfig
from voxlate.models import ENCODERS

FROZEN = {"preset": "decoder-only", "feature_encoder": False}


def frozen(toy: Path, output: Path, *, cached: bool, **changes: Any) -> TrainConfig:
    return config(toy, output, trainable={**FROZEN, "cache_encoder": cached}, **changes)


def losses(folder: Path) -> list[float]:
    return [line["loss"] for line in log(folder)]


def test_training_on_kept_states_is_training_on_sound(toy: Path, tmp_path: Path) -> None:
    changes = {"loss": {"label_smoothing": 0.0, "ctc_weight": 0.3}, "data__dev": [str(toy / "dev.jsonl")]}
    run(frozen(toy, tmp_path / "sound", cached=False, **changes))
    printed = run(frozen(toy, tmp_path / "states", cached=True, **changes))
    assert "computing them once" in printed
    assert losses(tmp_path / "states") == pytest.approx(losses(tmp_path / "sound"), rel=2e-3)  # float16
    [sound], [states] = (
        [line["directions"] for line in log(folder, "dev")][-1:] for folder in (tmp_path / "sound", tmp_path / "states")
    )
    assert states["fr-en"]["loss"] == pytest.approx(sound["fr-en"]["loss"], rel=1e-2)


@pytest.mark.parametrize("family", sorted(ENCODERS))
def test_states_of_every_family(toy: Path, tmp_path: Path, family: str) -> None:
    encoder, normalizes = next((fields, normalizes) for kind, fields, normalizes in KINDS.values() if kind == family)
    scratch = {"encoder_type": family, "encoder": encoder, "decoder": DECODER, "normalize_waveform": normalizes}
    model = {"scratch": {**scratch, "vocabulary": str(toy / "sentencepiece.bpe.model")}, "adapter_layers": 2}
    printed = run(frozen(toy, tmp_path, cached=True, model=model, optimizer={"updates": 1, "lr": 1e-3}))
    assert "encoder states: 24 clips" in printed


def test_a_second_run_takes_what_is_there_unless_it_is_of_another_encoder(toy: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    run(frozen(toy, output, cached=True))
    [file] = (output / "states").glob("*.float16")
    before = file.stat().st_mtime_ns
    shutil.rmtree(output / "checkpoints")  # the run begins again
    run(frozen(toy, output, cached=True))
    assert file.stat().st_mtime_ns == before
    shutil.rmtree(output / "checkpoints")
    index = json.loads((output / "states/index.json").read_text(encoding="utf-8"))
    (output / "states/index.json").write_text(json.dumps({**index, "mark": "another"}), encoding="utf-8")
    run(frozen(toy, output, cached=True))
    assert file.stat().st_mtime_ns != before


def test_clips_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    from toy import write_toy, write_vocabulary

    write_vocabulary(tmp_path / "sentencepiece.bpe.model")
    write_toy(tmp_path, "train", 24)
    (tmp_path / "train-3.wav").write_bytes(b"no sound")
    printed = run(frozen(tmp_path, tmp_path / "run", cached=True))
    assert "warning: left out:" in printed
    assert "train-3" in printed


def test_a_disk_that_is_too_small(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from voxlate.errors import VoxlateError

    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    with pytest.raises(
        VoxlateError, match=r"take 0\.0 GiB in .*states, where 0\.0 GiB are free; choose another output"
    ):
        run(frozen(toy, tmp_path / "run", cached=True))


def test_states_that_are_not_whole_are_computed_again(toy: Path, tmp_path: Path) -> None:
    short = {"optimizer": {"updates": 1, "lr": 1e-3}, "data__batch_seconds": 2}
    run(frozen(toy, tmp_path, cached=True, **short))
    for name, damage in (("index.json", b""), ("index.json", b'{"mark": 3}'), ("00000.float16", b"")):
        before = (tmp_path / "states" / name).read_bytes()
        (tmp_path / "states" / name).write_bytes(damage)
        shutil.rmtree(tmp_path / "checkpoints")
        assert "computing them once" in run(frozen(toy, tmp_path, cached=True, **short))
        assert (tmp_path / "states" / name).read_bytes() == before


def test_states_of_a_clip_that_was_replaced_are_computed_again(tmp_path: Path) -> None:
    from toy import write_toy, write_vocabulary

    write_vocabulary(tmp_path / "sentencepiece.bpe.model")
    write_toy(tmp_path, "train", 6)
    short = {"optimizer": {"updates": 1, "lr": 1e-3}}
    run(frozen(tmp_path, tmp_path / "run", cached=True, **short))
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    clip = tmp_path / "train-2.wav"
    clip.write_bytes(clip.read_bytes()[:-1000])
    assert "computing them once" in run(frozen(tmp_path, tmp_path / "run", cached=True, **short))
