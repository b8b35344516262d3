"""Settings: closed, overridable, and wrong in every place at once."""

from pathlib import Path

import pytest

from voxlate.config import dump_config, read_config
from voxlate.errors import VoxlateError

GOOD = """
output: runs/fr-en
model: {encoder: facebook/wav2vec2-xls-r-300m, decoder: facebook/mbart-large-50-many-to-one-mmt}
data: {train: [data/fr-en/train.jsonl]}
optimizer: {updates: 1000, lr: 1e-4}
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def problems(path: Path, *overrides: str) -> str:
    with pytest.raises(VoxlateError) as error:
        read_config(path, overrides)
    return str(error.value)


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    config = read_config(write(tmp_path, GOOD), ["optimizer.lr=3e-5", "data.dev=[a.jsonl, b.jsonl]", "seed=7"])
    assert (config.optimizer.lr, config.seed) == (3e-5, 7)
    assert config.data.dev == [Path("a.jsonl"), Path("b.jsonl")]
    assert read_config(write(tmp_path, dump_config(config))) == config


def test_a_file_is_based_on_another(tmp_path: Path) -> None:
    write(tmp_path, GOOD + "loss: {label_smoothing: 0.2}\n")
    over = tmp_path / "recipes" / "over.yaml"
    over.parent.mkdir()
    over.write_text(
        "base: ../config.yaml\nmodel: {encoder: other}\ndata: {train: [b.jsonl], batch_seconds: 60}\nseed: 3"
    )
    config = read_config(over, ["optimizer.lr=3e-5"])
    assert (config.model.encoder, config.model.decoder) == ("other", "facebook/mbart-large-50-many-to-one-mmt")
    assert (config.data.train, config.data.batch_seconds, config.seed) == ([Path("b.jsonl")], 60, 3)
    assert (config.optimizer.lr, config.optimizer.updates, config.loss.label_smoothing) == (3e-5, 1000, 0.2)


def test_a_base_that_is_missing_or_goes_round(tmp_path: Path) -> None:
    path = write(tmp_path, "base: missing.yaml\n")
    assert f"{tmp_path}/missing.yaml (the base of {path}): cannot be read" in problems(path)
    (tmp_path / "missing.yaml").write_text("base: config.yaml\n")
    assert "its base" in problems(path)
    assert "is based on it; expected another file, or none" in problems(path)


def test_a_wrong_key_has_a_suggestion(tmp_path: Path) -> None:
    assert problems(write(tmp_path, GOOD), "optimizer.updats=3") == (
        f"{tmp_path}/config.yaml: a problem\n  optimizer.updats: unknown setting; did you mean updates?"
    )
    assert "  zzz: unknown setting; expected one of output, model, data" in problems(write(tmp_path, GOOD), "zzz=1")
    assert "trainable.lora.rang: unknown setting; did you mean rank?" in problems(
        write(tmp_path, GOOD), "trainable.lora.rang=1"
    )


def test_all_problems_come_at_once(tmp_path: Path) -> None:
    text = problems(
        write(tmp_path, GOOD.replace("output: runs/fr-en", "")), "optimizer.lr=fast", "data.temperature=0.5", "nonsense"
    )
    assert text.splitlines() == [
        f"{tmp_path}/config.yaml: 4 problems",
        "  override 'nonsense': expected key=value, such as optimizer.lr=1e-4",
        "  output: missing",
        "  data.temperature: Input should be greater than or equal to 1, got 0.5",
        "  optimizer.lr: Input should be a valid number, unable to parse string as a number, got 'fast'",
    ]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.init_from=x"], "model: expected exactly one of init_from, scratch, or encoder together with decoder"),
        (["model.decoder=null"], "model: expected exactly one of init_from, scratch, or encoder together with decoder"),
        (["data.min_seconds=40"], "data.min_seconds 40 is not below data.max_seconds"),
        (["validation.patience=3"], "validation.patience needs data.dev"),
        (["loss.ctc_only_updates=100"], "loss.ctc_only_updates needs a loss.ctc_weight above 0"),
        (["trainable.cache_encoder=true"], "trainable.cache_encoder needs an encoder that always gives the same"),
        (["sharded=true", "regularization.encoder_layerdrop=0.1"], "layerdrop cannot be sharded"),
        (["optimizer.warmup_updates=2000"], "optimizer: warm-up and hold are 2000 updates of 1000"),
        (["trainable.preset=lna"], "trainable.preset: Input should be 'all', 'lna-e'"),
        (["seed='{'"], "seed: Input should be a valid integer"),
        (["seed={"], "override 'seed={': its value is not YAML; quote it"),
        (["data.train=[]"], "data.train: List should have at least 1 item"),
    ],
)
def test_what_does_not_fit(tmp_path: Path, overrides: list[str], message: str) -> None:
    assert message in problems(write(tmp_path, GOOD), *overrides)


def test_files_that_are_no_settings(tmp_path: Path) -> None:
    assert "cannot be read (No such file or directory)" in problems(tmp_path / "missing.yaml")
    assert "expected settings such as 'output: runs/fr-en', got list" in problems(write(tmp_path, "[1, 2]"))
    assert "not YAML" in problems(write(tmp_path, "a: [1"))
    assert "not YAML" in problems(write(tmp_path, "a: !!python/object/apply:os.system ['true']"))
