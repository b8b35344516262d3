"""The sections of the settings of a training run. The docstring of each field is its description in the reference."""

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


class ClosedModel(BaseModel):
    """Settings that refuse unknown keys. The docstring of a field is its description in the reference."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class ScratchConfig(ClosedModel):
    """A model without pretrained parts.

    `encoder` and `decoder` hold fields of transformers' configs; the vocabulary has the layout of mBART-50, with an
    `m2m_100` decoder that of NLLB.
    """

    encoder: dict[str, Any] = {}
    """Fields of transformers' config of the encoder that differ from its defaults."""
    decoder: dict[str, Any] = {}
    """Fields of transformers' config of the decoder that differ from its defaults."""
    vocabulary: SettingsPath
    """SentencePiece vocabulary of the target texts (`voxlate prepare vocabulary`)."""
    encoder_type: str = "wav2vec2"
    """Kind of encoder: `wav2vec2`, `wavlm`, `hubert` or `wav2vec2-bert`."""
    decoder_type: str = "mbart"
    """Kind of decoder: `mbart` or `m2m_100`."""
    normalize_waveform: bool = True
    """Scale each waveform to a mean of 0 and a variance of 1."""


class NewLanguage(ClosedModel):
    """A target language to add; its token embedding is initialized with that of another language."""

    init_from: str
    """Language whose token embedding the new one starts from."""
    token: LanguageToken | None = None
    """Existing token to reuse, as a tag or an id. Default: a new token is added."""


class ModelConfig(ClosedModel):
    """The initial weights: a trained model, an encoder joined to a decoder, or random weights (scratch)."""

    init_from: ModelName | None = None
    """Trained model to continue from: a folder, Hub id or short name. Excludes `encoder`, `decoder` and `scratch`."""
    encoder: ModelName | None = None
    """Pretrained speech encoder: a folder, Hub id, short name, or fairseq2 checkpoint (`.pt`)."""
    decoder: ModelName | None = None
    """Pretrained mBART, M2M-100 or NLLB model, of which the decoder is used: a folder, Hub id or short name."""
    scratch: ScratchConfig | None = None
    """Build a model without pretrained parts."""
    adapter: Literal["strided", "conformer"] = "strided"
    """Kind of length adapter: convolutions as in XLS-R's models, or convolutions and attention as in SeamlessM4T."""
    num_adapter_layers: AdapterSize | None = None
    """Number of layers in the length adapter. Default: 3, if it is a conformer 1."""
    adapter_kernel_size: AdapterSize | None = None
    """Kernel size of its convolutions. Default: 3, if it is a conformer 8."""
    adapter_stride: AdapterSize | None = None
    """Stride of its layers: each shortens the encoder's output by this factor. Default: 2, if it is a conformer 8."""
    language_tokens: dict[str, LanguageToken] = {}
    """Tokens of target languages, as tags or ids, such as `{ca: es_XX}`. Default: those of the decoder's vocabulary."""
    add_languages: dict[str, NewLanguage] = {}
    """Target languages to add to a trained model, by code, such as `{cy: {init_from: en}}`."""

    @model_validator(mode="after")
    def _one_source(self) -> "ModelConfig":
        joined = self.encoder is not None and self.decoder is not None
        sources = [self.init_from is not None, joined, self.scratch is not None]
        if sum(sources) != 1 or (not joined and (self.encoder or self.decoder)):
            raise ValueError("expected exactly one of init_from, scratch, or encoder together with decoder")
        return self


class DataConfig(ClosedModel):
    """Training and validation data, and how utterances are batched."""

    train: list[SettingsPath] = Field(min_length=1)
    """Training manifests."""
    dev: list[SettingsPath] = []
    """Manifests for validation. Without them, nothing is validated."""
    replay: list[SettingsPath] = []
    """Manifests of directions that the model must not forget."""
    replay_share: float = Field(default=0.25, gt=0.0, lt=1.0)
    """Share of training utterances drawn from `replay`."""
    directions: Annotated[list[str], Field(min_length=1)] | None = None
    """Directions to train on, such as `[fr-en]`. Default: all of the manifests."""
    min_seconds: PositiveFloat = 0.1
    """Leave out training clips shorter than this."""
    max_seconds: PositiveFloat = 30.0
    """Leave out training clips longer than this. The default is that of fairseq's CoVoST 2 preparation."""
    max_target_characters: PositiveInt = 512
    """Leave out training utterances with longer translations. The default is that of the CoVoST 2 paper."""
    teacher: list[SettingsPath] = []
    """JSON lines with `id` and `text`: translations that replace those of the manifests as targets."""
    sampling_temperature: float = Field(default=1.0, ge=1.0)
    """Temperature for sampling directions: 1 samples them in proportion to their size, higher values more evenly."""
    sample_by: Literal["utterances", "hours"] = "utterances"
    """Measure of that size."""
    batch_seconds: BatchSeconds = DEFAULT_BATCH_SECONDS
    """Seconds of audio in a batch. `auto`: as much as the GPU's memory holds; 120 on other devices."""
    quadratic_seconds: PositiveFloat = 120.0
    """Clip length at which a clip counts twice in `batch_seconds`, because attention grows with its square."""
    token_seconds: NonNegativeFloat = 0.03
    """Seconds that each target token counts in `batch_seconds`."""
    buckets: PositiveInt = 16
    """Largest number of groups of similar length from which batches are formed."""
    batches_per_update: int = Field(default=1, gt=0, le=10_000)
    """Number of batches that make up an update, regardless of the number of processes."""
    num_workers: Annotated[int, Field(ge=0, le=256)] | None = None
    """Processes that decode audio, for each training process. Default: 1, on a GPU up to 8."""

    @property
    def known_batch_seconds(self) -> float:
        """`batch_seconds`, or the default while a run has not replaced "auto"."""
        return DEFAULT_BATCH_SECONDS if self.batch_seconds == "auto" else self.batch_seconds

    @property
    def shown_batch_seconds(self) -> str:
        """`batch_seconds` for a message."""
        return "auto" if self.batch_seconds == "auto" else f"{self.batch_seconds:g}"


class AugmentationConfig(ClosedModel):
    """Random changes to training audio, redrawn in each epoch; see voxlate.data.augmentation."""

    speeds: list[Annotated[float, Field(ge=0.1, le=10.0)]] = []
    """Factors by which the speed is changed at random, such as `[0.9, 1.0, 1.1]`."""
    noise_share: Probability = 0.0
    """Share of clips to which noise is added."""
    noise_snr: tuple[Decibels, Decibels] = (5.0, 30.0)
    """Range of the signal-to-noise ratio of that noise, in dB."""
    join_share: Probability = 0.0
    """Share of clips to which another clip of the same direction is joined, with a pause of 0 to 1 s."""

    @property
    def is_on(self) -> bool:
        """Whether any augmentation is enabled."""
        return bool(self.speeds or self.noise_share or self.join_share)


class RegularizationConfig(ClosedModel):
    """Dropout and SpecAugment masking; None keeps the value of the checkpoint."""

    encoder_dropout: Probability | None = None
    """Dropout of the encoder."""
    encoder_attention_dropout: Probability | None = None
    """Dropout of its attention weights."""
    encoder_activation_dropout: Probability | None = None
    """Dropout within its feed-forward layers."""
    encoder_layerdrop: Probability | None = None
    """Probability of skipping a layer of the encoder."""
    decoder_dropout: Probability | None = None
    """Dropout of the decoder."""
    decoder_attention_dropout: Probability | None = None
    """Dropout of its attention weights."""
    decoder_activation_dropout: Probability | None = None
    """Dropout within its feed-forward layers."""
    decoder_layerdrop: Probability | None = None
    """Probability of skipping a layer of the decoder."""
    mask_time_prob: Probability | None = None
    """Share of frames that SpecAugment masks."""
    mask_time_length: PositiveInt | None = None
    """Length of a masked span, in frames."""
    mask_feature_prob: Probability | None = None
    """Share of channels that SpecAugment masks."""
    mask_feature_length: PositiveInt | None = None
    """Width of a masked band, in channels."""


class LoraConfig(ClosedModel):
    """LoRA (Hu et al. 2021) on the attention projections, with PEFT."""

    rank: int = Field(default=16, gt=0, le=4096)
    """Rank of the added matrices."""
    alpha: PositiveInt = 32
    """Scale: the added matrices are multiplied by alpha / rank."""
    dropout: Probability = 0.0
    """Dropout before the added matrices."""
    target_modules: list[Literal["q_proj", "k_proj", "v_proj", "out_proj"]] = Field(
        default=["q_proj", "v_proj"], min_length=1
    )
    """Projections of the attention that are adapted."""


class TrainableConfig(ClosedModel):
    """Which parameters are trained; see voxlate.training.freezing for the presets."""

    preset: Preset = "all"
    """Weights to train. `lna-e`, `lna-d` and `lna-ed` train only layer norms and attention in the encoder, the decoder
    or both (Li et al. 2021). `adapter-only` trains the length adapter, `decoder-only` also the decoder, and `lora`
    the length adapter and LoRA matrices."""
    feature_encoder: bool = False
    """Also train the encoder's convolutions on the waveform."""
    freeze_encoder_updates: NonNegativeInt = 0
    """Number of updates at the beginning during which the encoder is frozen."""
    cache_encoder: bool = False
    """Compute the states of a frozen encoder once and keep them in `OUTPUT_DIR/states`."""
    lora: LoraConfig = LoraConfig()
    """LoRA, if that is the preset."""


class OptimizerConfig(ClosedModel):
    """AdamW (Loshchilov and Hutter 2019) and its learning rate."""

    max_updates: PositiveInt
    """Number of updates of the run."""
    lr: Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
    """Peak learning rate."""
    lr_scheduler: Literal["tri_stage", "inverse_sqrt", "linear", "constant"] = "tri_stage"
    """Shape of the learning rate after warm-up. `tri_stage` holds it, then lets it decay exponentially."""
    warmup_updates: NonNegativeInt | None = None
    """Updates during which the learning rate rises. Default: a tenth of `max_updates`."""
    hold_updates: NonNegativeInt | None = None
    """Updates at the peak, with `tri_stage`. Default: four tenths of `max_updates`."""
    final_lr_scale: float = Field(default=0.05, ge=0.0, le=1.0)
    """Learning rate at the end relative to the peak, with `tri_stage`."""
    betas: tuple[Probability, Probability] = (0.9, 0.98)
    """Decay rates of AdamW's averages of the gradient and of its square."""
    eps: Annotated[float, Field(gt=0.0, allow_inf_nan=False)] = 1e-8
    """AdamW's epsilon."""
    weight_decay: Annotated[float, Field(ge=0.0, allow_inf_nan=False)] = 0.0
    """Decoupled weight decay."""
    clip_norm: PositiveFloat = 1.0
    """Norm to which the gradient is clipped."""


class LossConfig(ClosedModel):
    """Label-smoothed cross-entropy, plus CTC on the characters of the source text if `ctc_weight` is above 0."""

    label_smoothing: Probability = 0.1
    """Probability that is spread over all tokens."""
    ctc_weight: Annotated[float, Field(ge=0.0, allow_inf_nan=False)] = 0.0
    """Weight of an additional CTC loss on the characters of `source_text`. The model can then transcribe."""
    # A decoder trained together with a randomly initialized encoder may learn to ignore it; training the encoder with
    # CTC alone first avoids that. The learning rate warms up again when training of the decoder starts.
    ctc_only_updates: NonNegativeInt = 0
    """Train a new encoder with CTC alone for this many updates."""


class ValidationConfig(ClosedModel):
    """Dev loss and BLEU per direction; the best checkpoint has the highest BLEU averaged over directions."""

    every_updates: PositiveInt = 1000
    """Updates between validations. A run that is shorter validates four times."""
    beam_size: PositiveInt = 1
    """Beam size for the dev BLEU."""
    max_length: int = Field(default=200, ge=3)
    """Maximum number of tokens of a hypothesis."""
    batch_seconds: PositiveFloat = 120.0
    """Seconds of audio in a validation batch."""
    patience: PositiveInt | None = None
    """Number of validations without improvement after which training stops. Default: it does not stop."""
    at_start: bool = False
    """Also validate before the first update."""


class CheckpointConfig(ClosedModel):
    """How often checkpoints are written, and how many of the last and of those around the best are kept."""

    every_updates: PositiveInt = 500
    """Updates between checkpoints."""
    keep_last: PositiveInt = 3
    """Number of the last checkpoints to keep."""
    keep_around_best: NonNegativeInt = 0
    """Number of checkpoints around the best one to keep, for `voxlate average --around-best`."""
