"""Schema of the settings of a training run, read from YAML and ``key=value`` overrides."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from voxlate.bundled import find_bundled
from voxlate.config.overrides import apply_overrides, read_settings
from voxlate.config.problems import describe_errors, list_problems
from voxlate.config.renamed_keys import rename_keys
from voxlate.config.sections import (
    AugmentationConfig,
    CheckpointConfig,
    ClosedModel,
    DataConfig,
    LossConfig,
    ModelConfig,
    OptimizerConfig,
    PositiveInt,
    RegularizationConfig,
    SettingsPath,
    TrainableConfig,
    ValidationConfig,
)
from voxlate.config.yaml_settings import dump_yaml
from voxlate.errors import VoxlateError


class TrainConfig(ClosedModel):
    """One training run. Paths are relative to the working directory."""

    output_dir: SettingsPath
    """Run folder."""
    model: ModelConfig
    data: DataConfig
    optimizer: OptimizerConfig
    loss: LossConfig = LossConfig()
    trainable: TrainableConfig = TrainableConfig()
    augmentation: AugmentationConfig = AugmentationConfig()
    regularization: RegularizationConfig = RegularizationConfig()
    validation: ValidationConfig = ValidationConfig()
    checkpoints: CheckpointConfig = CheckpointConfig()
    precision: Literal["auto", "float32", "bfloat16", "bfloat16-weights"] = "auto"
    """Precision of matrix products; the weights that are trained and saved, and the optimizer, are float32.

    `auto`: bfloat16 where the GPU has it. `bfloat16-weights`: everything is computed by a bfloat16 copy of the model.
    """
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass, which saves memory and takes time."""
    compile_encoder: bool = False
    """Compile the encoder's layers with `torch.compile`, which takes a minute or so at every start."""
    sharded: bool = False
    """Shard parameters, gradients and optimizer state over the processes (FSDP)."""
    device: str = "auto"
    """Device: `auto`, `cpu`, `cuda`, `cuda:1`, `mps` or `xpu`."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 1
    """Random seed."""
    log_every: PositiveInt = 20
    """Updates between lines of the log."""
    log_with: list[Literal["tensorboard", "wandb", "mlflow"]] = Field(default=["tensorboard"])
    """Trackers of accelerate that record the run."""

    @property
    def has_working_copy(self) -> bool:
        """Whether a bfloat16 copy of the model computes the losses; a sharded one gathers its weights in bfloat16."""
        return self.precision == "bfloat16-weights" and not self.sharded

    @property
    def compares_directions(self) -> bool:
        """Whether to score the dev sets before training too, to show what the model forgets."""
        return bool(self.model.add_languages or self.data.replay)

    @property
    def validation_updates(self) -> int:
        """Updates between validations: validation.every_updates, or a quarter of a run that is shorter than that."""
        every, updates = self.validation.every_updates, self.optimizer.max_updates
        return every if every <= updates else -(-updates // 4)

    @model_validator(mode="before")
    @classmethod
    def _rename_keys(cls, raw: Any) -> Any:
        return rename_keys(raw, "TrainConfig") if isinstance(raw, dict) else raw

    @model_validator(mode="after")
    def _check_combinations(self) -> "TrainConfig":
        problems = []
        if self.data.min_seconds >= self.data.max_seconds:
            problems.append(f"data.min_seconds {self.data.min_seconds:g} is not below data.max_seconds")
        if self.validation.patience and not self.data.dev:
            problems.append("validation.patience needs data.dev")
        if self.sharded and (self.regularization.encoder_layerdrop or self.regularization.decoder_layerdrop):
            problems.append("layerdrop cannot be sharded: processes would skip different layers; set it to 0")
        if self.trainable.cache_encoder:
            masks = self.regularization.mask_time_prob or self.regularization.mask_feature_prob
            frozen = self.trainable.preset in ("decoder-only", "adapter-only")
            if not frozen or masks or self.augmentation.is_on or self.sharded:
                problems.append(
                    "trainable.cache_encoder needs a frozen, deterministic encoder: the preset decoder-only or "
                    "adapter-only, no masking, no augmentation, and sharded=false"
                )
        if self.augmentation.noise_snr[0] > self.augmentation.noise_snr[1]:
            problems.append(f"augmentation.noise_snr is {[*self.augmentation.noise_snr]}, expected [from, to]")
        if self.loss.ctc_only_updates and not self.loss.ctc_weight:
            problems.append("loss.ctc_only_updates needs a loss.ctc_weight above 0")
        warmup, hold = self.optimizer.warmup_updates or 0, self.optimizer.hold_updates or 0
        if warmup + hold > self.optimizer.max_updates:
            problems.append(f"optimizer: warm-up and hold are {warmup + hold} updates of {self.optimizer.max_updates}")
        if problems:
            raise ValueError("; ".join(problems))
        return self


def read_config(path: str | Path, overrides: Sequence[str] = (), *, warn: bool = True) -> TrainConfig:
    """Return the settings of a YAML file with ``key=value`` overrides such as ``optimizer.lr=1e-4`` applied.

    A file with ``base: OTHER.yaml`` inherits the settings of that file, whose path is relative to it, or that of a
    bundled recipe. Values of overrides are parsed as YAML. Old names of settings are accepted, with a warning unless
    `warn` is False. VoxlateError lists every problem of the file and the overrides, one per line.
    """
    path = find_bundled(path)
    raw = read_settings(path, warn=warn)
    problems = list(apply_overrides(raw, overrides))
    try:
        config = TrainConfig.model_validate(raw)
    except ValidationError as error:
        problems += describe_errors(error, TrainConfig)
    if problems:
        raise VoxlateError(f"{path}: {list_problems(problems)}")
    return config


def dump_config(config: TrainConfig) -> str:
    """Return all settings as YAML that `read_config` reads."""
    return dump_yaml(config.model_dump(mode="json"))
