"""Old names of settings: accepted with a warning, refused together with the new name."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from voxlate.config.renamed_keys import RENAMED_KEYS
from voxlate.config.schema import TrainConfig, dump_config, read_config
from voxlate.errors import VoxlateError

OLD = """
output: runs/welsh
model:
  encoder: xls-r
  decoder: mbart
  adapter_layers: 2
  adapter_kernel: 5
  slots: {ca: es_XX}
  add_languages: {cy: {init_from: en, slot: fi_FI}}
data: {train: [train.jsonl], workers: 4, temperature: 2}
trainable: {preset: lora, lora: {projections: [q_proj]}}
optimizer: {updates: 1000, lr: 1.0e-4, schedule: linear}
regularization: {time_masking: 0.3, time_mask_frames: 5, channel_masking: 0.2, channel_mask_width: 4}
validation: {beam: 5}
"""
NEW = """
output_dir: runs/welsh
model:
  encoder: xls-r
  decoder: mbart
  num_adapter_layers: 2
  adapter_kernel_size: 5
  language_tokens: {ca: es_XX}
  add_languages: {cy: {init_from: en, token: fi_FI}}
data: {train: [train.jsonl], num_workers: 4, sampling_temperature: 2}
trainable: {preset: lora, lora: {target_modules: [q_proj]}}
optimizer: {max_updates: 1000, lr: 1.0e-4, lr_scheduler: linear}
regularization: {mask_time_prob: 0.3, mask_time_length: 5, mask_feature_prob: 0.2, mask_feature_length: 4}
validation: {beam_size: 5}
"""
RENAMED = {
    "output": "output_dir",
    "model.adapter_layers": "model.num_adapter_layers",
    "model.adapter_kernel": "model.adapter_kernel_size",
    "model.slots": "model.language_tokens",
    "model.add_languages.cy.slot": "model.add_languages.cy.token",
    "data.workers": "data.num_workers",
    "data.temperature": "data.sampling_temperature",
    "trainable.lora.projections": "trainable.lora.target_modules",
    "optimizer.updates": "optimizer.max_updates",
    "optimizer.schedule": "optimizer.lr_scheduler",
    "regularization.time_masking": "regularization.mask_time_prob",
    "regularization.time_mask_frames": "regularization.mask_time_length",
    "regularization.channel_masking": "regularization.mask_feature_prob",
    "regularization.channel_mask_width": "regularization.mask_feature_length",
    "validation.beam": "validation.beam_size",
}


def write(tmp_path: Path, text: str, name: str = "config.yaml") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def problem(path: Path, *overrides: str) -> str:
    with pytest.raises(VoxlateError) as error:
        read_config(path, overrides)
    return str(error.value)


def old_keys(table: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in table.items():
        if isinstance(value, str):
            yield f"{prefix}{key}"
        else:
            yield from old_keys(value, f"{prefix}{key}.")


def test_the_table_of_this_test_has_every_old_name() -> None:
    assert {key.replace("*", "cy") for key in old_keys(RENAMED_KEYS)} == RENAMED.keys()


def test_a_file_with_old_names_means_the_same(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    new = read_config(write(tmp_path, NEW))
    assert not caplog.messages
    path = write(tmp_path, OLD)
    assert read_config(path) == new
    assert caplog.messages == [f"{path}: {old} is deprecated; use {now}" for old, now in RENAMED.items()]
    assert dump_config(new).startswith("output_dir: runs/welsh\n")


def test_a_stored_configuration_is_read_without_warnings(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert read_config(write(tmp_path, OLD), warn=False).optimizer.max_updates == 1000
    assert not caplog.messages


@pytest.mark.parametrize("old", RENAMED)
def test_an_override_may_use_the_old_name(tmp_path: Path, caplog: pytest.LogCaptureFixture, old: str) -> None:
    values = {"output": "runs/other", "optimizer.schedule": "constant", "model.slots": "{de: de_DE}"}
    values |= {"trainable.lora.projections": "[v_proj]", "model.add_languages.cy.slot": "250040"}
    value = values.get(old, "7" if "mask" not in old or old.endswith(("frames", "width")) else "0.7")
    path = write(tmp_path, NEW)
    changed = read_config(path, [f"{old}={value}"])
    assert changed == read_config(path, [f"{RENAMED[old]}={value}"])
    assert changed != read_config(path)
    assert caplog.messages == [f"override '{old}={value}': {old} is deprecated; use {RENAMED[old]}"]


def test_an_override_of_a_whole_section_may_use_old_names(tmp_path: Path) -> None:
    path = write(tmp_path, NEW)
    changed = read_config(path, ["model={init_from: best, slots: {fr: fr_XX}}", "optimizer={updates: 5, lr: 1}"])
    assert (changed.model.language_tokens, changed.optimizer.max_updates) == ({"fr": "fr_XX"}, 5)


def test_files_and_overrides_replace_each_others_values_under_either_name(tmp_path: Path) -> None:
    write(tmp_path, OLD, "old.yaml")
    write(tmp_path, NEW, "new.yaml")
    over_old = write(tmp_path, "base: old.yaml\noptimizer: {max_updates: 2000}\n", "a.yaml")
    over_new = write(tmp_path, "base: new.yaml\noptimizer: {updates: 2000}\n", "b.yaml")
    for path in (over_old, over_new):
        assert read_config(path).optimizer.max_updates == 2000
        for name in ("updates", "max_updates"):
            assert read_config(path, [f"optimizer.{name}=3000"]).optimizer.max_updates == 3000


def test_a_setting_under_both_names_is_an_error(tmp_path: Path) -> None:
    both = OLD.replace("updates: 1000", "updates: 1000, max_updates: 1000")
    path = write(tmp_path, both)
    same = "optimizer.updates and optimizer.max_updates are the same setting; keep optimizer.max_updates"
    assert problem(path) == f"{path}: {same}"
    base = write(tmp_path, f"base: {path.name}\n", "derived.yaml")
    assert problem(base) == f"{path} (the base of {base}): {same}"
    path = write(tmp_path, NEW)
    assert problem(path, "optimizer={updates: 3, max_updates: 4, lr: 1}") == (
        f"{path}: 1 problem\n  override 'optimizer={{updates: 3, max_updates: 4, lr: 1}}': {same}"
    )
    assert problem(path, "optimizer.max_updates=3", "optimizer.updates=4") == (
        f"{path}: 1 problem\n  override 'optimizer.updates=4': {same}"
    )


def test_suggestions_for_misspelt_names_are_the_new_names(tmp_path: Path) -> None:
    path = write(tmp_path, NEW)
    for wrong, meant in (
        ("outputdir", "output_dir"),
        ("outptu", "output_dir"),
        ("optimizer.update", "max_updates"),
        ("optimizer.maxupdates", "max_updates"),
        ("regularization.time_maskin", "mask_time_prob"),
        ("regularization.channel_mask_widht", "mask_feature_length"),
        ("model.slot", "language_tokens"),
        ("model.add_languages.cy.slots", "token"),
        ("data.worker", "num_workers"),
    ):
        section = wrong.rpartition(".")[0]
        assert f"  {wrong}: unknown setting; did you mean {meant}?" in problem(path, f"{wrong}=1"), section


def test_settings_in_python_may_use_old_names(caplog: pytest.LogCaptureFixture) -> None:
    optimizer = {"updates": 5, "lr": 1e-3}
    model = {"encoder": "a", "decoder": "b"}
    config = TrainConfig.model_validate(
        {"output": "run", "model": model, "data": {"train": ["t"]}} | {"optimizer": optimizer}
    )
    assert (config.output_dir, config.optimizer.max_updates) == (Path("run"), 5)
    assert caplog.messages == [
        "TrainConfig: output is deprecated; use output_dir",
        "TrainConfig: optimizer.updates is deprecated; use optimizer.max_updates",
    ]
