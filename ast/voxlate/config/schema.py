"""The settings of a training run: closed models of its YAML, ``key=value`` overrides, all problems at once."""

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
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
    model_validator,
)
from pydantic import ValidationError as PydanticError

from voxlate.config.overrides import override_settings, read_settings
from voxlate.config.yaml_settings import cut, dump_yaml, shown
from voxlate.errors import VoxlateError


def _named_path(value: object) -> object:
    if value == "":
        raise ValueError("expected a path")
    return value


PositiveInt = Annotated[int, Field(gt=0, lt=2**31)]
NonNegativeInt = Annotated[int, Field(ge=0, lt=2**31)]
AdapterSize = Annotated[int, Field(gt=0, le=100)]
SettingsPath = Annotated[Path, BeforeValidator(_named_path), AfterValidator(Path.expanduser)]
ModelName = Annotated[str, Field(min_length=1)]
Slot = str | Annotated[int, Field(strict=True)]  # true is not token 1
Decibels = Annotated[float, Field(ge=-200.0, le=200.0)]
Probability = Annotated[float, Field(ge=0.0, lt=1.0)]
_MAX_PROBLEMS = 20  # in one message
Preset = Literal["all", "lna-e", "lna-d", "lna-ed", "adapter-only", "decoder-only", "lora"]


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ScratchConfig(_Closed):
    """A model without pretrained parts: fields of transformers' configs and a vocabulary in mBART-50's layout."""

    encoder: dict[str, Any] = {}
    decoder: dict[str, Any] = {}
    vocabulary: SettingsPath
    encoder_type: str = "wav2vec2"
    normalize_waveform: bool = True


class NewLanguage(_Closed):
    """A target language that the model lacks: its embedding begins as a copy of another's."""

    init_from: str
    slot: Slot | None = None  # an mBART tag or token id to reuse; a new token by default


class ModelConfig(_Closed):
    """Where the weights come from: a trained model, or an encoder and a decoder to join, or nothing (scratch)."""

    init_from: ModelName | None = None
    encoder: ModelName | None = None
    decoder: ModelName | None = None
    scratch: ScratchConfig | None = None
    adapter_layers: AdapterSize = 3
    adapter_kernel: AdapterSize = 3
    adapter_stride: AdapterSize = 2
    slots: dict[str, Slot] = {}  # token of a target language, such as ca: es_XX
    add_languages: dict[str, NewLanguage] = {}

    @model_validator(mode="after")
    def _one_source(self) -> "ModelConfig":
        joined = self.encoder is not None and self.decoder is not None
        sources = [self.init_from is not None, joined, self.scratch is not None]
        if sum(sources) != 1 or (not joined and (self.encoder or self.decoder)):
            raise ValueError("expected exactly one of init_from, scratch, or encoder together with decoder")
        return self


class DataConfig(_Closed):
    """What to train and validate on, and how utterances become batches."""

    train: list[SettingsPath] = Field(min_length=1)
    dev: list[SettingsPath] = []
    replay: list[SettingsPath] = []  # data of directions that the model knows already and shall not forget
    replay_share: float = Field(default=0.25, gt=0.0, lt=1.0)
    directions: Annotated[list[str], Field(min_length=1)] | None = None  # such as fr-en; all by default
    min_seconds: PositiveFloat = 0.1
    max_seconds: PositiveFloat = 30.0  # CoVoST 2 training drops more than 30 s (fairseq's preparation)
    max_target_characters: PositiveInt = 512  # as in the CoVoST 2 paper
    teacher: list[SettingsPath] = []  # jsonl of id and text: translations to learn instead of those of the manifests
    temperature: float = Field(default=1.0, ge=1.0)
    sample_by: Literal["utterances", "hours"] = "utterances"
    batch_seconds: PositiveFloat = 120.0
    quadratic_seconds: PositiveFloat = 120.0
    token_seconds: NonNegativeFloat = 0.03
    buckets: PositiveInt = 16
    batches_per_update: int = Field(default=1, gt=0, le=10_000)
    workers: int = Field(default=1, ge=0, le=256)


class AugmentationConfig(_Closed):
    """Changes of the sound in training, drawn again each time; see voxlate.data.augmentation."""

    speeds: list[Annotated[float, Field(ge=0.1, le=10.0)]] = []  # factors: [0.9, 1.0, 1.1]
    noise_share: Probability = 0.0
    noise_snr: tuple[Decibels, Decibels] = (5.0, 30.0)  # dB, from and to
    join_share: Probability = 0.0  # of the clips that another one of their direction follows

    @property
    def is_on(self) -> bool:
        """Whether anything is changed."""
        return bool(self.speeds or self.noise_share or self.join_share)


class RegularizationConfig(_Closed):
    """Dropout and masking; what is not given stays as the checkpoint has it."""

    encoder_dropout: Probability | None = None
    encoder_attention_dropout: Probability | None = None
    encoder_activation_dropout: Probability | None = None
    encoder_layerdrop: Probability | None = None
    decoder_dropout: Probability | None = None
    decoder_attention_dropout: Probability | None = None
    decoder_activation_dropout: Probability | None = None
    decoder_layerdrop: Probability | None = None
    time_masking: Probability | None = None
    time_mask_frames: PositiveInt | None = None
    channel_masking: Probability | None = None
    channel_mask_width: PositiveInt | None = None


class LoraConfig(_Closed):
    """Low-rank updates (Hu et al. 2021) of the attention projections, through peft."""

    rank: int = Field(default=16, gt=0, le=4096)
    alpha: PositiveInt = 32
    dropout: Probability = 0.0
    projections: list[Literal["q_proj", "k_proj", "v_proj", "out_proj"]] = Field(
        default=["q_proj", "v_proj"], min_length=1
    )


class TrainableConfig(_Closed):
    """Which parameters learn. See voxlate.training.freezing for the presets."""

    preset: Preset = "all"
    feature_encoder: bool = False  # whether the convolutions on the waveform learn
    freeze_encoder_updates: NonNegativeInt = 0
    cache_encoder: bool = False  # keep the states of an encoder that does not learn in OUTPUT/states
    lora: LoraConfig = LoraConfig()


class OptimizerConfig(_Closed):
    """AdamW (Loshchilov and Hutter 2019) and its learning rate."""

    updates: PositiveInt
    lr: Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
    schedule: Literal["tri_stage", "inverse_sqrt", "linear", "constant"] = "tri_stage"
    warmup_updates: NonNegativeInt | None = None  # default: a tenth
    hold_updates: NonNegativeInt | None = None  # tri_stage only; default: four tenths
    final_lr_scale: float = Field(default=0.05, ge=0.0, le=1.0)  # tri_stage only
    betas: tuple[Probability, Probability] = (0.9, 0.98)
    eps: Annotated[float, Field(gt=0.0, allow_inf_nan=False)] = 1e-8
    weight_decay: Annotated[float, Field(ge=0.0, allow_inf_nan=False)] = 0.0
    clip_norm: PositiveFloat = 1.0


class LossConfig(_Closed):
    """Label-smoothed cross-entropy, and CTC on the characters of the source text if its weight is above 0."""

    label_smoothing: Probability = 0.1
    ctc_weight: Annotated[float, Field(ge=0.0, allow_inf_nan=False)] = 0.0
    # A decoder that starts beside an encoder of random weights may learn not to listen; CTC can teach that one first.
    # When the decoder begins, the learning rate warms up again.
    ctc_only_updates: NonNegativeInt = 0


class ValidationConfig(_Closed):
    """Dev loss and BLEU per direction; the best checkpoint is the one with the best mean BLEU over directions."""

    every_updates: PositiveInt = 1000
    beam: PositiveInt = 1
    max_length: int = Field(default=200, ge=3)
    batch_seconds: PositiveFloat = 120.0
    patience: PositiveInt | None = None  # validations without a better BLEU before training stops; None: never
    at_start: bool = False


class CheckpointConfig(_Closed):
    """How often the state is saved, and how many of the last ones and of those around the best one are kept."""

    every_updates: PositiveInt = 500
    keep_last: PositiveInt = 3
    keep_around_best: NonNegativeInt = 0  # for voxlate average --around-best


class TrainConfig(_Closed):
    """One training run. Paths are relative to the working directory."""

    output: SettingsPath
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
    sharded: bool = False  # parameters, gradients and optimiser state over the processes (FSDP)
    device: str = "auto"
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 1
    log_every: PositiveInt = 20
    log_with: list[Literal["tensorboard", "wandb", "mlflow"]] = ["tensorboard"]  # trackers of accelerate

    @property
    def compares_directions(self) -> bool:
        """Whether a trained model learns something new, so that scores before and after tell what it forgot."""
        return bool(self.model.add_languages or self.data.replay)

    @property
    def validation_updates(self) -> int:
        """Updates between validations: a quarter of the run where that is shorter than validation.every_updates."""
        every, updates = self.validation.every_updates, self.optimizer.updates
        return every if every <= updates else -(-updates // 4)

    @model_validator(mode="after")
    def _fits_together(self) -> "TrainConfig":
        problems = []
        if self.data.min_seconds >= self.data.max_seconds:
            problems.append(f"data.min_seconds {self.data.min_seconds:g} is not below data.max_seconds")
        if self.validation.patience and not self.data.dev:
            problems.append("validation.patience needs data.dev")
        if self.sharded and (self.regularization.encoder_layerdrop or self.regularization.decoder_layerdrop):
            problems.append("layerdrop cannot be sharded: processes would skip different layers; set it to 0")
        if self.trainable.cache_encoder:
            masks = self.regularization.time_masking or self.regularization.channel_masking or self.augmentation.is_on
            if self.trainable.preset not in ("decoder-only", "adapter-only") or masks or self.sharded:
                problems.append(
                    "trainable.cache_encoder needs an encoder that always gives the same: the preset decoder-only or "
                    "adapter-only, no masking, no augmentation, and sharded=false"
                )
        if self.augmentation.noise_snr[0] > self.augmentation.noise_snr[1]:
            problems.append(f"augmentation.noise_snr is {[*self.augmentation.noise_snr]}, expected [from, to]")
        if self.loss.ctc_only_updates and not self.loss.ctc_weight:
            problems.append("loss.ctc_only_updates needs a loss.ctc_weight above 0")
        warmup, hold = self.optimizer.warmup_updates or 0, self.optimizer.hold_updates or 0
        if warmup + hold > self.optimizer.updates:
            problems.append(f"optimizer: warm-up and hold are {warmup + hold} updates of {self.optimizer.updates}")
        if problems:
            raise ValueError("; ".join(problems))
        return self


def read_config(path: str | Path, overrides: Sequence[str] = ()) -> TrainConfig:
    """Return the settings of a YAML file with ``key=value`` overrides such as ``optimizer.lr=1e-4``.

    A file with ``base: OTHER.yaml`` (relative to it) has that one's settings but for its own. A value is read as YAML.
    VoxlateError names every problem of the file and the overrides, one a line.
    """
    path = Path(path)
    raw = read_settings(path)
    problems = list(override_settings(raw, overrides))
    try:
        config = TrainConfig.model_validate(raw)
    except PydanticError as error:
        problems += _explain(error)
    if problems:
        raise VoxlateError(f"{path}: {_listed(problems)}")
    return config


def dump_config(config: TrainConfig) -> str:
    """Return every setting as YAML that `read_config` takes."""
    return dump_yaml(config.model_dump(mode="json"))


def _explain(error: PydanticError) -> Iterator[str]:
    for problem in error.errors(include_url=False):
        where = ".".join(cut(str(part)) for part in problem["loc"])
        kind, got = problem["type"], problem["input"]
        if kind == "extra_forbidden":
            yield f"{where}: unknown setting{_suggestion(problem['loc'])}"
        elif kind == "missing":
            yield f"{where}: missing"
        elif kind == "invalid_key" or problem["loc"][-1:] == ("[key]",):
            yield f"{where.removesuffix('.[key]')}: expected text as a name, got {shown(got)}{_quotes(got)}"
        elif isinstance(got, dict | BaseModel) and kind == "value_error":
            message = problem["msg"].removeprefix("Value error, ")
            yield f"{where}: {message}" if where else message
        else:
            hint = _quotes(got) if kind in ("string_type", "path_type") else ""
            message = "expected a path" if kind == "path_type" else problem["msg"].removeprefix("Value error, ")
            yield f"{where}: {message}, got {shown(got)}{hint}"


def _quotes(value: object) -> str:
    """Return what to do with a value that YAML took for something other than text."""
    if isinstance(value, bool | int | float):
        return f"; write it in quotes where a text is meant: '{shown(value)}'"
    return "; give a value, or write 'null' in quotes where that text is meant" if value is None else ""


def _suggestion(location: tuple[int | str, ...]) -> str:
    fields: Mapping[str, Any] = TrainConfig.model_fields
    for part in location[:-1]:
        annotation = getattr(fields.get(str(part)), "annotation", None)
        fields = getattr(annotation, "model_fields", {})
    close = get_close_matches(str(location[-1])[:100], fields, n=1)
    return f"; did you mean {close[0]}?" if close else f"; expected one of {', '.join(fields)}" if fields else ""


def _listed(problems: Sequence[str]) -> str:
    """Return problems one a line, headed by their number."""
    count = f"{len(problems)} problem{'s' * (len(problems) > 1)}"
    more = len(problems) - _MAX_PROBLEMS
    return "\n  ".join([count, *problems[:_MAX_PROBLEMS], *([f"and {more} more"] if more > 0 else [])])
