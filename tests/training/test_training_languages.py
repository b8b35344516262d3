"""Target languages in training: new ones, reused tokens, forgotten directions."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from toy import settings, write_settings, write_toy, write_vocabulary
from training_runs import config, run
from voxlate.checkpoints.model_folder import load_checkpoint
from voxlate.cli import app
from voxlate.config.schema import TrainConfig
from voxlate.errors import VoxlateError


def test_a_new_language_and_the_scores_of_the_old_ones(toy: Path, tmp_path: Path) -> None:
    run(config(toy, tmp_path / "old"))
    write_toy(tmp_path, "welsh", 8, pairs=["en-cy"])
    raw = settings(
        toy,
        output_dir=str(tmp_path / "new"),
        model={"init_from": str(tmp_path / "old" / "best")},
        data__train=[str(tmp_path / "welsh.jsonl")],
        data__replay=[str(toy / "train.jsonl")],
        data__dev=[str(tmp_path / "welsh.jsonl"), str(toy / "dev.jsonl")],
    )
    path = write_settings(tmp_path / "new.yaml", raw)
    with pytest.raises(VoxlateError, match=r"no token for cy; add one with --add-language cy --init-from"):
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
    with_token = [
        *command,
        f"output_dir={tmp_path / 'token'}",
        "model.add_languages.cy.token=fi_FI",
        "optimizer.max_updates=2",
    ]
    assert CliRunner().invoke(app, with_token, catch_exceptions=False).exit_code == 0
    finnish = load_checkpoint(tmp_path / "token" / "best")
    assert finnish.targets["cy"] == finnish.tokenizer.tag_id("fi_FI")
    old, new = load_checkpoint(tmp_path / "old" / "best"), load_checkpoint(tmp_path / "new" / "best")
    assert new.targets == {**old.targets, "cy": old.model.decoder.config.vocabulary_size}


def test_a_language_that_is_added_without_data_is_saved_with_the_others(toy: Path, tmp_path: Path) -> None:
    changes = {"model__add_languages": {"no": {"init_from": "en"}}, "optimizer": {"max_updates": 1, "lr": 1e-3}}
    run(config(toy, tmp_path / "run", **changes))
    assert sorted(load_checkpoint(tmp_path / "run" / "best").targets) == ["en", "no"]


@pytest.mark.parametrize("token", [99_999_999, -5])
def test_a_token_id_outside_the_vocabulary(toy: Path, tmp_path: Path, token: int) -> None:
    raw = settings(toy, output_dir=str(tmp_path / "run"), model__language_tokens={"en": token})
    with pytest.raises(
        VoxlateError, match=rf"model.language_tokens: en: {token}; expected token ids from 0 to \d+, or tags like"
    ):
        run(TrainConfig(**raw))


def test_a_warning_lists_the_directions_that_a_model_will_forget(tmp_path: Path) -> None:
    write_vocabulary(tmp_path / "sentencepiece.bpe.model")
    write_toy(tmp_path, "train", 12, pairs=["fr-en", "de-en", "en-de"])
    two = write_toy(tmp_path, "two", 4, pairs=["fr-en", "en-de"])
    short = {"optimizer__max_updates": 1, "optimizer__warmup_updates": 0}
    run(config(tmp_path, tmp_path / "base", **short))
    base = {"model": {"init_from": str(tmp_path / "base" / "best")}, **short}
    printed = run(config(tmp_path, tmp_path / "fewer", data__train=[str(two)], **base))
    assert (
        "best on en-de, fr-en alone will make it forget de-en; add data of the directions to keep to data.replay"
        in printed
    )
    replay = {"data__replay": [str(tmp_path / "train.jsonl")]}
    assert "forget" not in run(config(tmp_path, tmp_path / "replay", data__train=[str(two)], **base, **replay))
    assert "forget" not in run(config(tmp_path, tmp_path / "same", **base))
    languages = tmp_path / "base" / "best" / "languages.json"
    languages.write_text(
        json.dumps({"targets": json.loads(languages.read_text())["targets"]})
    )  # as in models of other projects
    printed = run(config(tmp_path, tmp_path / "unknown", data__train=[str(two)], **base))
    assert "alone will make it forget any other direction that it supports; add" in printed
