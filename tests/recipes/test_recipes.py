"""Every YAML file of recipes/ is valid, trains with tiny models instead of its own, and saves a model that loads."""

import re
from pathlib import Path

import pytest
from rich.console import Console

from fairseq2_layout import tiny_config, write_fairseq2
from m2m100_models import write_nllb, write_seamless
from paths import ROOT
from tiny import write_kind, write_mbart
from toy import log, write_toy
from voxlate.checkpoints.model_folder import load_checkpoint
from voxlate.config.schema import TrainConfig, read_config
from voxlate.published_models import hub_id
from voxlate.training.train import train

# Tiny equivalents of encoders that differ from XLS-R.
KINDS = {"microsoft/wavlm-large": "WavLM large", "facebook/w2v-bert-2.0": "w2v-BERT 2.0"}
RECIPES = sorted((ROOT / "recipes").rglob("*.yaml"))


def write_parts(config: TrainConfig, folder: Path, vocabulary: Path) -> dict[str, Path]:
    """Write tiny equivalents of the models that a recipe starts from; return them by setting."""
    model = config.model
    if model.scratch is not None:
        return {"scratch.vocabulary": vocabulary}
    if model.init_from is not None:
        assert hub_id(str(model.init_from)) == "facebook/seamless-m4t-v2-large"
        write_seamless(folder / "seamless")
        return {"init_from": folder / "seamless"}
    parts = {"encoder": folder / "encoder", "decoder": folder / "decoder"}
    if str(model.encoder).startswith("omniasr"):
        parts["encoder"] = folder / "omniASR-W2V.pt"
        write_fairseq2(parts["encoder"], tiny_config())
    else:
        write_kind(parts["encoder"], KINDS.get(hub_id(str(model.encoder)), "XLS-R, XLSR-53, wav2vec 2.0 LV-60"))
    if str(model.decoder).startswith("nllb"):
        write_nllb(parts["decoder"])
    else:
        write_mbart(parts["decoder"], vocabulary)
    return parts


def test_there_are_recipes() -> None:
    assert RECIPES


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_recipe_trains_at_reduced_size(recipe: Path, tmp_path: Path, vocabulary: Path) -> None:
    config = read_config(recipe)
    parts = write_parts(config, tmp_path, vocabulary)
    pairs = [path.parent.name for path in config.data.train]
    manifest = write_toy(tmp_path, "train", max(16, len(pairs)), pairs=pairs)
    small = [
        f"output_dir={tmp_path / 'run'}",
        *(f"model.{part}={path}" for part, path in parts.items()),
        f"data.train=[{manifest}]",
        f"data.dev=[{manifest}]",
        "data.batch_seconds=2",
        "data.num_workers=0",
        "optimizer.max_updates=2",
        "optimizer.warmup_updates=1",
        "optimizer.hold_updates=0",
        "trainable.freeze_encoder_updates=1",
        "validation.max_length=8",
        "precision=float32",
        "sharded=false",  # it needs several processes; test_distributed covers it
        "device=cpu",
    ]
    reduced: TrainConfig = read_config(recipe, small)
    assert train(reduced, Console(quiet=True)) == 0
    assert log(tmp_path / "run", "dev")[-1]["update"] == 2
    targets = load_checkpoint(tmp_path / "run" / "best").targets.keys()
    trained = {pair.split("-")[1] for pair in pairs}
    assert targets == trained or (config.model.init_from is not None and targets > trained)


def test_readmes_list_every_recipe_and_their_commands_have_valid_settings() -> None:
    for readme in (ROOT / "recipes").rglob("README.md"):
        text = readme.read_text(encoding="utf-8")
        for path, settings in re.findall(r"voxlate train (\S+\.yaml)((?: [a-z_.]+=\S+)*)", text):
            read_config(ROOT / path, settings.replace("'", "").split())
    named = {path.name for path in RECIPES if path.name in (path.parent / "README.md").read_text(encoding="utf-8")}
    assert named == {path.name for path in RECIPES}
