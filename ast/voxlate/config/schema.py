"""Schema of the settings of a training run, read from YAML and ``key=value`` overrides."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from voxlate.config.overrides import apply_overrides, read_settings
from voxlate.config.problems import describe_errors, list_problems
from voxlate.config.renamed_keys import rename_keys
from voxlate.config.yaml_settings import dump_yaml
from voxlate.errors import VoxlateError


def _nonempty_path(value: object) -> object:
    if value == "":
        raise ValueError("expected a path")
    return value


def _auto_or_positive(value: object) -> object:
    try:
        return value if value == "auto" else TypeAdapter(PositiveFloat).validate_python(value)
    except ValidationError:
        raise ValueError("expected auto, or a number above 0") from None


DEFAULT_BATCH_SECONDS = 120.0
PositiveInt = Annotated[int, Field(gt=0, lt=2**31)]
NonNegativeInt = Annotated[int, Field(ge=0, lt=2**31)]
AdapterSize = Annotated[int, Field(gt=0, le=100)]
SettingsPath = Annotated[Path, BeforeValidator(_nonempty_path), AfterValidator(Path.expanduser)]
ModelName = Annotated[str, Field(min_length=1)]
LanguageToken = str | Annotated[int, Field(strict=True)]  # an mBART tag or a token id; `true` is not id 1
Decibels = Annotated[float, Field(ge=-200.0, le=200.0)]
BatchSeconds = Annotated[float | Literal["auto"], BeforeValidator(_auto_or_positive)]
Probability = Annotated[float, Field(ge=0.0, lt=1.0)]
Preset = Literal["all", "lna-e", "lna-d", "lna-ed", "adapter-only", "decoder-only", "lora"]


class _ClosedModel(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ScratchConfig(_ClosedModel):
    """A model without pretrained parts.

    `encoder` and `decoder` hold fields of transformers' configs; the vocabulary has mBART-50's layout.
    """

    encoder: dict[str, Any] = {}
    decoder: dict[str, Any] = {}
    vocabulary: SettingsPath
    encoder_type: str = "wav2vec2"
    normalize_waveform: bool = True


class NewLanguage(_ClosedModel):
    """A target language to add; its token embedding is initialized with that of another language."""

    init_from: str
    token: LanguageToken | None = None  # a token to reuse; by default, a new one is added


class ModelConfig(_ClosedModel):
    """The initial weights: a trained model, an encoder joined to a decoder, or random weights (scratch)."""

    init_from: ModelName | None = None
    encoder: ModelName | None = None
    decoder: ModelName | None = None
    scratch: ScratchConfig | None = None
    num_adapter_layers: AdapterSize = 3
    adapter_kernel_size: AdapterSize = 3
    adapter_stride: AdapterSize = 2
    language_tokens: dict[str, LanguageToken] = {}  # target language to token, such as ca: es_XX
    add_languages: dict[str, NewLanguage] = {}

    @model_validator(mode="after")
    def _one_source(self) -> "ModelConfig":
        joined = self.encoder is not None and self.decoder is not None
        sources = [self.init_from is not None, joined, self.scratch is not None]
        if sum(sources) != 1 or (not joined and (self.encoder or self.decoder)):
            raise ValueError("expected exactly one of init_from, scratch, or encoder together with decoder")
        return self


class DataConfig(_ClosedModel):
    """Training and validation data, and how utterances are batched."""

    train: list[SettingsPath] = Field(min_length=1)
    dev: list[SettingsPath] = []
    replay: list[SettingsPath] = []  # data of directions that the model must not forget
    replay_share: float = Field(default=0.25, gt=0.0, lt=1.0)
    directions: Annotated[list[str], Field(min_length=1)] | None = None  # such as [fr-en]; default: all
    min_seconds: PositiveFloat = 0.1
    max_seconds: PositiveFloat = 30.0  # as in fairseq's CoVoST 2 preparation
    max_target_characters: PositiveInt = 512  # as in the CoVoST 2 paper
    teacher: list[SettingsPath] = []  # JSON lines with id and text: targets that replace those of the manifests
    sampling_temperature: float = Field(default=1.0, ge=1.0)
    sample_by: Literal["utterances", "hours"] = "utterances"
    batch_seconds: BatchSeconds = DEFAULT_BATCH_SECONDS  # auto: as much as a GPU's memory holds; else 120
    quadratic_seconds: PositiveFloat = 120.0
    token_seconds: NonNegativeFloat = 0.03
    buckets: PositiveInt = 16
    batches_per_update: int = Field(default=1, gt=0, le=10_000)
    num_workers: Annotated[int, Field(ge=0, le=256)] | None = None  # per process; default: 1, on a GPU up to 8

    @property
    def known_batch_seconds(self) -> float:
        """`batch_seconds`, or the default while a run has not replaced "auto"."""
        return DEFAULT_BATCH_SECONDS if self.batch_seconds == "auto" else self.batch_seconds

    @property
    def shown_batch_seconds(self) -> str:
        """`batch_seconds` for a message."""
        return "auto" if self.batch_seconds == "auto" else f"{self.batch_seconds:g}"


class AugmentationConfig(_ClosedModel):
    """Random changes to training audio, redrawn in each epoch; see voxlate.data.augmentation."""

    speeds: list[Annotated[float, Field(ge=0.1, le=10.0)]] = []  # factors, such as [0.9, 1.0, 1.1]
    noise_share: Probability = 0.0
    noise_snr: tuple[Decibels, Decibels] = (5.0, 30.0)  # dB, [from, to]
    join_share: Probability = 0.0  # share of clips to which another of the same direction is appended

    @property
    def is_on(self) -> bool:
        """Whether any augmentation is enabled."""
        return bool(self.speeds or self.noise_share or self.join_share)


class RegularizationConfig(_ClosedModel):
    """Dropout and SpecAugment masking; None keeps the value of the checkpoint."""

    encoder_dropout: Probability | None = None
    encoder_attention_dropout: Probability | None = None
    encoder_activation_dropout: Probability | None = None
    encoder_layerdrop: Probability | None = None
    decoder_dropout: Probability | None = None
    decoder_attention_dropout: Probability | None = None
    decoder_activation_dropout: Probability | None = None
    decoder_layerdrop: Probability | None = None
    mask_time_prob: Probability | None = None
    mask_time_length: PositiveInt | None = None  # frames
    mask_feature_prob: Probability | None = None
    mask_feature_length: PositiveInt | None = None  # channels


class LoraConfig(_ClosedModel):
    """LoRA (Hu et al. 2021) on the attention projections, with PEFT."""

    rank: int = Field(default=16, gt=0, le=4096)
    alpha: PositiveInt = 32
    dropout: Probability = 0.0
    target_modules: list[Literal["q_proj", "k_proj", "v_proj", "out_proj"]] = Field(
        default=["q_proj", "v_proj"], min_length=1
    )


class TrainableConfig(_ClosedModel):
    """Which parameters are trained; see voxlate.training.freezing for the presets."""

    preset: Preset = "all"
    feature_encoder: bool = False  # whether to train the convolutions on the waveform
    freeze_encoder_updates: NonNegativeInt = 0
    cache_encoder: bool = False  # store the hidden states of a frozen encoder in OUTPUT_DIR/states
    lora: LoraConfig = LoraConfig()


class OptimizerConfig(_ClosedModel):
    """AdamW (Loshchilov and Hutter 2019) and its learning rate."""

    max_updates: PositiveInt
    lr: Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
    lr_scheduler: Literal["tri_stage", "inverse_sqrt", "linear", "constant"] = "tri_stage"
    warmup_updates: NonNegativeInt | None = None  # default: a tenth of max_updates
    hold_updates: NonNegativeInt | None = None  # tri_stage only; default: four tenths of max_updates
    final_lr_scale: float = Field(default=0.05, ge=0.0, le=1.0)  # tri_stage only
    betas: tuple[Probability, Probability] = (0.9, 0.98)
    eps: Annotated[float, Field(gt=0.0, allow_inf_nan=False)] = 1e-8
    weight_decay: Annotated[float, Field(ge=0.0, allow_inf_nan=False)] = 0.0
    clip_norm: PositiveFloat = 1.0


class LossConfig(_ClosedModel):
    """Label-smoothed cross-entropy, plus CTC on the characters of the source text if `ctc_weight` is above 0."""

    label_smoothing: Probability = 0.1
    ctc_weight: Annotated[float, Field(ge=0.0, allow_inf_nan=False)] = 0.0
    # A decoder trained together with a randomly initialized encoder may learn to ignore it; training the encoder with
    # CTC alone first avoids that. The learning rate warms up again when training of the decoder starts.
    ctc_only_updates: NonNegativeInt = 0


class ValidationConfig(_ClosedModel):
    """Dev loss and BLEU per direction; the best checkpoint has the highest BLEU averaged over directions."""

    every_updates: PositiveInt = 1000
    beam_size: PositiveInt = 1
    max_length: int = Field(default=200, ge=3)
    batch_seconds: PositiveFloat = 120.0
    patience: PositiveInt | None = None  # validations without improvement before training stops
    at_start: bool = False


class CheckpointConfig(_ClosedModel):
    """How often checkpoints are written, and how many of the last and of those around the best are kept."""

    every_updates: PositiveInt = 500
    keep_last: PositiveInt = 3
    keep_around_best: NonNegativeInt = 0  # for voxlate average --around-best


class TrainConfig(_ClosedModel):
    """One training run. Paths are relative to the working directory."""

    output_dir: SettingsPath
    model: ModelConfig
    data: DataConfig
    optimizer: OptimizerConfig
    loss: LossConfig = LossConfig()
    trainable: TrainableConfig = TrainableConfig()
    augmentation: AugmentationConfig = AugmentationConfig()
    regularization: RegularizationConfig = RegularizationConfig()
    validation: ValidationConfig = ValidationConfig()
    checkpoints: CheckpointConfig = CheckpointConfig()
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    gradient_checkpointing: bool = False
    compile_encoder: bool = False  # with torch.compile, which takes a minute or so at every start
    sharded: bool = False  # shard parameters, gradients and optimizer state over the processes (FSDP)
    device: str = "auto"
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 1
    log_every: PositiveInt = 20
    log_with: list[Literal["tensorboard", "wandb", "mlflow"]] = ["tensorboard"]  # accelerate's trackers

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

    A file with ``base: OTHER.yaml`` (a path relative to it) inherits the settings of that file. Values of overrides
    are parsed as YAML. Old names of settings are accepted, with a warning unless `warn` is False. VoxlateError lists
    every problem of the file and the overrides, one per line.
    """
    path = Path(path)
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
