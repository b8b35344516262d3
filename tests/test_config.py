"""Settings: a closed schema, overrides, base files, and messages that list all problems."""

from pathlib import Path

import pytest

from voxlate.config.schema import dump_config, read_config
from voxlate.errors import VoxlateError

GOOD = """
output_dir: runs/fr-en
model: {encoder: facebook/wav2vec2-xls-r-300m, decoder: facebook/mbart-large-50-many-to-one-mmt}
data: {train: [data/fr-en/train.jsonl]}
optimizer: {max_updates: 1000, lr: 1e-4}
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def problems(path: Path, *overrides: str) -> str:
    with pytest.raises(VoxlateError) as error:
        read_config(path, overrides)
    return str(error.value)


def test_dumped_settings_are_read_unchanged(tmp_path: Path) -> None:
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
    assert (config.optimizer.lr, config.optimizer.max_updates, config.loss.label_smoothing) == (3e-5, 1000, 0.2)


def test_a_missing_or_circular_base_file(tmp_path: Path) -> None:
    path = write(tmp_path, "base: missing.yaml\n")
    assert f"{tmp_path}/missing.yaml (the base of {path}): cannot be read" in problems(path)
    (tmp_path / "missing.yaml").write_text("base: config.yaml\n")
    assert "its base" in problems(path)
    assert "is based on it; expected another file, or none" in problems(path)


def test_an_unknown_setting_gets_a_suggestion(tmp_path: Path) -> None:
    assert problems(write(tmp_path, GOOD), "optimizer.updats=3") == (
        f"{tmp_path}/config.yaml: 1 problem\n  optimizer.updats: unknown setting; did you mean max_updates?"
    )
    assert "  zzz: unknown setting; expected one of output_dir, model, data" in problems(write(tmp_path, GOOD), "zzz=1")
    assert "trainable.lora.rang: unknown setting; did you mean rank?" in problems(
        write(tmp_path, GOOD), "trainable.lora.rang=1"
    )


def test_all_problems_are_reported_at_once(tmp_path: Path) -> None:
    text = problems(
        write(tmp_path, GOOD.replace("output_dir: runs/fr-en", "")),
        "optimizer.lr=fast",
        "data.sampling_temperature=0.5",
        "nonsense",
    )
    assert text.splitlines() == [
        f"{tmp_path}/config.yaml: 4 problems",
        "  override 'nonsense': expected key=value, such as optimizer.lr=1e-4",
        "  output_dir: missing",
        "  data.sampling_temperature: Input should be greater than or equal to 1, got 0.5",
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
        (["trainable.cache_encoder=true"], "trainable.cache_encoder needs a frozen, deterministic encoder"),
        (["sharded=true", "regularization.encoder_layerdrop=0.1"], "layerdrop cannot be sharded"),
        (["optimizer.warmup_updates=2000"], "optimizer: warm-up and hold are 2000 updates of 1000"),
        (["trainable.preset=lna"], "trainable.preset: Input should be 'all', 'lna-e'"),
        (["seed='{'"], "seed: Input should be a valid integer"),
        (["seed={"], "override 'seed={': its value is not YAML; quote it"),
        (["data.train=[]"], "data.train: List should have at least 1 item"),
    ],
)
def test_invalid_combinations(tmp_path: Path, overrides: list[str], message: str) -> None:
    assert message in problems(write(tmp_path, GOOD), *overrides)


def test_files_that_are_not_settings(tmp_path: Path) -> None:
    assert "cannot be read (No such file or directory)" in problems(tmp_path / "missing.yaml")
    assert "expected settings such as 'output_dir: runs/fr-en', got list" in problems(write(tmp_path, "[1, 2]"))
    assert "not YAML" in problems(write(tmp_path, "a: [1"))
    assert "not YAML" in problems(write(tmp_path, "a: !!python/object/apply:os.system ['true']"))


@pytest.mark.parametrize("word", ["no", "on", "y", "off", "yes", "12:30:45", "2026-01-02", "007", "0b11", "1e"])
def test_booleans_dates_and_times_of_yaml_1_1_are_text(tmp_path: Path, word: str) -> None:
    text = (
        GOOD.replace("optimizer", f"  directions: [{word}]\noptimizer")
        .replace("{train: ", "\n  train: ")
        .replace("]}", "]")
    )
    path = write(tmp_path, text.replace("runs/fr-en", word))
    config = read_config(
        path, [f"model.add_languages={{{word}: {{init_from: {word}}}}}", f"model.language_tokens.{word}={word}"]
    )
    assert config.output_dir == Path(word)
    assert config.data.directions == [word]
    assert config.model.language_tokens == {word: word}
    assert {code: new.init_from for code, new in config.model.add_languages.items()} == {word: word}
    assert read_config(write(tmp_path, dump_config(config))) == config


def test_a_boolean_word_of_yaml_1_1_is_reported_with_its_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    read_config(write(tmp_path, GOOD + "validation: {at_start: yes}\n"), ["gradient_checkpointing=on"])
    assert not caplog.messages
    config = read_config(write(tmp_path, GOOD.replace("model: {", "model: {language_tokens: {no: nb_NO}, ")))
    assert config.model.language_tokens == {"no": "nb_NO"}
    [message] = caplog.messages
    assert message.startswith("line 3: no is read as text ('no'), not as true or false; write 'no' in quotes")


def test_numbers_and_switches(tmp_path: Path) -> None:
    changes = [
        "optimizer.max_updates=20_000",
        "gradient_checkpointing=yes",
        "sharded=off",
        "data.sampling_temperature=.inf",
    ]
    config = read_config(write(tmp_path, GOOD), [*changes, "model.language_tokens={lv: 250016}", "optimizer.eps=1e-9"])
    assert (config.optimizer.max_updates, config.gradient_checkpointing, config.sharded) == (20_000, True, False)
    assert (config.data.sampling_temperature, config.model.language_tokens, config.optimizer.eps) == (
        float("inf"),
        {"lv": 250016},
        1e-9,
    )
    assert read_config(write(tmp_path, dump_config(config))) == config


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed=2026-02-30", "seed: Input should be a valid integer, unable to parse string"),
        ('seed=!!int "x"', "its value is not YAML; quote it"),
        ('seed=!!float "1:2:x"', "its value is not YAML; quote it"),
        ('seed=!!timestamp "x"', "its value is not YAML; quote it"),
        ("seed=!!bool x", "its value is not YAML; quote it"),
        ("seed=!!binary x", "its value is not YAML; quote it"),
        ("seed=&a [*a]", "the anchor a contains itself; write the values out"),
        ("seed=" + "[" * 5000, "nested more than 40 deep"),
        ("model.scratch.encoder" + ".a" * 5000 + "=1", "more than 20 names; expected key=value"),
        ("seed=" + "9" * 5000, "seed: Unable to parse input string as an integer, exceeded maximum size, got '999"),
        ("optimizer.max_updates=1e300", "optimizer.max_updates: Unable to parse input string as an integer"),
        (
            "optimizer.max_updates=3000000000",
            "optimizer.max_updates: Input should be less than 2147483648, got 3000000000",
        ),
        ('output_dir="a\\0b"', r"'a\x00b' contains a character that names and texts cannot have"),
        ('output_dir="\\uD800"', "contains a character that names and texts cannot have"),
        ("optimizer.betas=[2, 0.9]", "optimizer.betas.0: Input should be less than 1, got 2"),
        ("optimizer.lr=.inf", "optimizer.lr: Input should be a finite number, got inf"),
        ("augmentation.speeds=[.inf]", "augmentation.speeds.0: Input should be less than or equal to 10, got inf"),
        ("augmentation.noise_snr=[.nan, 1]", "augmentation.noise_snr.0: Input should be"),
        ("output_dir=12", "output_dir: expected a path, got 12; write it in quotes if it is text: '12'"),
        ("output_dir=", "output_dir: expected a path, got null; give a value, or write 'null' in quotes"),
        ("model.encoder=true", "got true; write it in quotes if it is text: 'true'"),
        ("model.add_languages={true: {init_from: de}}", "model.add_languages.1: expected text as a name, got true; wr"),
        ("data.train=" + "x" * 100_000, "data.train: Input should be a valid list, got 'xxx"),
        ("data.train=[" + "1," * 5000 + "]", "and 4980 more"),
        ("x" * 100_000 + "=1", " …: unknown setting"),
        ('output_dir=""', "output_dir: expected a path, got ''"),
        ('data.train=[""]', "data.train.0: expected a path, got ''"),
        ("data.directions=[]", "data.directions: List should have at least 1 item"),
        ("data.num_workers=2147483647", "data.num_workers: Input should be less than or equal to 256"),
        ("data.batches_per_update=2147483647", "data.batches_per_update: Input should be less than or equal to 10000"),
        ("model.num_adapter_layers=2147483647", "model.num_adapter_layers: Input should be less than or equal to 100"),
        ("model.language_tokens={fr: true}", "model.language_tokens.fr.int: Input should be a valid integer, got true"),
        ('model.encoder=""', "model.encoder: String should have at least 1 character, got ''"),
        ("optimizer.weight_decay=.inf", "optimizer.weight_decay: Input should be a finite number, got inf"),
        ("loss.ctc_weight=.inf", "loss.ctc_weight: Input should be a finite number, got inf"),
        ("trainable.lora.rank=100000", "trainable.lora.rank: Input should be less than or equal to 4096"),
        ("trainable.lora.target_modules=[]", "trainable.lora.target_modules: List should have at least 1 item"),
    ],
)
def test_invalid_values_get_a_short_line_each(tmp_path: Path, override: str, message: str) -> None:
    found = problems(write(tmp_path, GOOD), override)
    assert message in found
    assert max(map(len, found.splitlines())) < 500 + len(str(tmp_path))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("base: [a]", "base is ['a'], expected the path of another YAML file"),
        ('base: "a\\0b"', r"line 1: 'a\x00b' contains a character that names and texts cannot have"),
        ("a: 1\nb: {c: 1}\na: 2", "line 3: a is given twice, first in line 1; keep one"),
        ("a: &a {b: *a}", "line 1: the anchor a contains itself"),
        ("a: 1\n---\nb: 1", "line 2: not YAML (expected a single document in the stream"),
        ("\n1: 2" + GOOD, "1: expected text as a name, got 1"),
        ("", "expected settings such as 'output_dir: runs/fr-en', got nothing"),
        ("a: [" + "1," * 600_000 + "]", "more than 1 MiB; expected a YAML file of settings"),
    ],
)
def test_invalid_files_get_a_short_line(tmp_path: Path, text: str, message: str) -> None:
    assert message in problems(write(tmp_path, text))
    (tmp_path / "config.yaml").write_bytes(b"output_dir: \xff")
    assert "not UTF-8 (byte 12)" in problems(tmp_path / "config.yaml")


def test_exponential_aliases_are_an_error(tmp_path: Path) -> None:
    for first, many in (("[a, a, a, a]", "[{0}]"), ("{a: 1}", "{{<<: [{0}]}}")):
        levels = [f"a0: &a0 {first}"]
        levels += [f"a{n}: &a{n} " + many.format(",".join([f"*a{n - 1}"] * 10)) for n in range(1, 9)]
        assert "aliases repeat too much; write the values out" in problems(write(tmp_path, "\n".join(levels)))
    shared = GOOD.replace("train: [data", "dev: &d [a.jsonl, b.jsonl], replay: *d, train: [data")
    assert read_config(write(tmp_path, shared)).data.replay == [Path("a.jsonl"), Path("b.jsonl")]


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    config = read_config(write(tmp_path, GOOD), ["output_dir=~/run", "data.train=[~/train.jsonl]"])
    assert (config.output_dir, config.data.train) == (tmp_path / "home/run", [tmp_path / "home/train.jsonl"])


def test_a_long_chain_of_bases_ends(tmp_path: Path) -> None:
    for number in range(40):
        (tmp_path / f"{number}.yaml").write_text(f"base: {number + 1}.yaml")
    assert "more than 16 files, each the base of another; join some of them" in problems(tmp_path / "0.yaml")
    (tmp_path / "loop.yaml").symlink_to("loop.yaml")
    (tmp_path / "a.yaml").write_text("base: loop.yaml")
    assert "cannot be read (Too many levels of symbolic links)" in problems(tmp_path / "a.yaml")
