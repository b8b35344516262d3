"""`voxlate card`: metadata of the Hub with scores of the model's own weights, licenses, and what training used."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import metadata_load
from huggingface_hub.repocard_data import model_index_to_eval_results
from typer.testing import CliRunner

from runs import edit_scores, write_run
from voxlate.checkpoints.weights import weights_sha256
from voxlate.cli import app
from voxlate.errors import VoxlateError


@pytest.fixture
def model(tiny_model: Path, tmp_path: Path) -> Path:
    """The best model of a run that was started from a folder whose card states a license."""
    best = shutil.copytree(tiny_model, tmp_path / "run" / "best")
    (best / "languages.json").write_text(json.dumps({"targets": {"en": 250004}, "directions": ["fr-en", "no-en"]}))
    base = tmp_path / "base"
    base.mkdir()
    (base / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n# Base\n")
    settings = {
        "output_dir": str(best.parent),
        "model": {"encoder": str(base), "decoder": "nobody/no-such-decoder"},
        "data": {"train": ["secret/folder/fr.jsonl"]},
        "optimizer": {"max_updates": 1234, "lr": 3e-4},
    }
    (best.parent / "config.yaml").write_text(yaml.safe_dump(settings))
    return best


@pytest.fixture
def scores(model: Path, tmp_path: Path) -> Path:
    folder = write_run(tmp_path / "scores", ["en-de", "fr-en"])
    for direction in ("en-de", "fr-en"):
        edit_scores(folder, direction, recipe={"weights_sha256": weights_sha256(model)}, official_n=14760)
    return folder


def card(*words: str | Path) -> Any:
    return CliRunner().invoke(app, ["card", *map(str, words)], catch_exceptions=False)


def test_the_card_has_scores_licenses_and_settings(model: Path, scores: Path) -> None:
    result = card(model.parent, "--scores", scores, "--license", "cc-by-nc-4.0", "--name", "me/french")
    assert result.exit_code == 0
    assert result.stderr == f"wrote {model / 'README.md'}; upload the model with: hf upload me/french {model}\n"
    metadata: dict[str, Any] = metadata_load(model / "README.md") or {}
    name, results = model_index_to_eval_results(metadata["model-index"])
    assert (name, metadata["license"], metadata["language"]) == ("french", "cc-by-nc-4.0", ["de", "en", "fr", "no"])
    bleu = json.loads((scores / "fr-en/scores.json").read_text())["metrics"]["BLEU"]
    [found] = [one for one in results if (one.dataset_config, one.metric_type) == ("fr-en", "bleu")]
    assert found.metric_value == round(bleu["value"], 2)
    assert found.metric_args == {"signature": bleu["signature"]}
    text = (model / "README.md").read_text()
    assert f"| fr→en | test | 30 of 14,760 | {bleu['value']:.1f} |" in text
    assert text.index("| fr→en |") < text.index("| en→de |")
    assert "voxlate translate talk.mp3 --model me/french --to " in text
    assert "French to English; Norwegian to English" in text
    assert "`base` (license: cc-by-nc-4.0) and `nobody/no-such-decoder` (license: see its card)" in text
    assert "1,234 updates, learning rate 0.0003" in text
    assert "`fr.jsonl`" in text
    assert "secret" not in text
    assert str(model.parent.parent) not in text


def test_what_a_card_lacks_is_a_note(model: Path, tiny_model: Path, tmp_path: Path) -> None:
    result = card(model)
    assert "note: the card states no license; choose one with --license (it was started from" in result.stderr
    assert "nobody/no-such-decoder: license unknown" in result.stderr
    assert "note: the card has no scores; add those of voxlate evaluate with --scores" in result.stderr
    assert (metadata_load(model / "README.md") or {}).get("base_model") == ["nobody/no-such-decoder"]
    with pytest.raises(VoxlateError, match=r"README\.md: exists; --overwrite replaces it, --output writes elsewhere"):
        card(model)
    assert card(model, "--overwrite").exit_code == 0
    assert card(tiny_model, "-o", tmp_path / "card.md").exit_code == 0
    assert "## Training" not in (tmp_path / "card.md").read_text()


def test_wrong_models_and_scores_are_one_line(model: Path, scores: Path, tmp_path: Path) -> None:
    for words, message in (
        ((tmp_path,), "no model; expected a model folder, or a run folder written by voxlate train"),
        ((model, "--scores", tmp_path / "none"), "no scores.json; expected a folder written by voxlate evaluate"),
        ((model, "--scores", scores, "--scores", scores), "a second score of en-de on the same data; give only one"),
    ):
        with pytest.raises(VoxlateError, match=message):
            card(*words)
    edit_scores(scores, "fr-en", recipe={"weights_sha256": "0" * 64})
    with pytest.raises(
        VoxlateError, match=r"fr-en/scores\.json: scores of other weights than those of .*000000000000…"
    ):
        card(model, "--scores", scores)
    assert not (model / "README.md").exists()
