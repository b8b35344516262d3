"""Choose which parameters are trained, by presets and LoRA.

LNA trains the layer norms and attention of the encoder or decoder and freezes its other layers (Li et al. 2021,
"Multilingual Speech Translation from Efficient Finetuning of Pretrained Models"; fairseq's --finetune-w2v-params
layer_norm,self_attn and --finetune-decoder-params encoder_attn,layer_norm,self_attn).
"""

import re
from collections.abc import Mapping

from torch import Tensor, nn

from voxlate.config.sections import LoraConfig, TrainableConfig
from voxlate.errors import VoxlateError

_ADAPTER = r"(translator\.(adapter|enc_to_dec_proj)|ctc)\."
_ENCODER = r"translator\.encoder\."
_ENCODER_LNA = r"translator\.encoder\..*(layer_norm|\.attention|\.self_attn)\b"
_DECODER = r"translator\.decoder\."
_DECODER_LNA = r"translator\.decoder\..*(layer_?norm\w*|self_attn|encoder_attn)\."

# Names of the trained parameters, as regular expressions.
PRESETS: dict[str, tuple[str, ...]] = {
    "all": (_ADAPTER, _ENCODER, _DECODER),
    "lna-e": (_ADAPTER, _ENCODER_LNA, _DECODER),
    "lna-d": (_ADAPTER, _ENCODER, _DECODER_LNA),
    "lna-ed": (_ADAPTER, _ENCODER_LNA, _DECODER_LNA),
    "adapter-only": (_ADAPTER,),
    "decoder-only": (_ADAPTER, _DECODER),
    "lora": (_ADAPTER, r".*\.lora_[AB]\."),
}
_FEATURE_ENCODER = r"translator\.encoder\..*\bfeature_extractor\."
_MASK_EMBEDDING = r"translator\.encoder\..*\bmasked_spec_embed$"
# Names of the same projections in w2v-BERT 2.0.
_CONFORMER_NAMES = {"q_proj": "linear_q", "k_proj": "linear_k", "v_proj": "linear_v", "out_proj": "linear_out"}
_LORA_NAME = "default"  # peft's default


def choose_trainable(model: nn.Module, settings: TrainableConfig, *, masks_time: bool) -> None:
    """Add LoRA if the preset has it, and make exactly the preset's parameters require gradients.

    The convolutions on the waveform are trained only with `feature_encoder`, and the embedding of masked frames only if
    frames are masked: DDP fails if a trained parameter gets no gradient.
    """
    if settings.preset == "lora":
        add_lora(model, settings.lora)
    patterns = [re.compile(pattern) for pattern in PRESETS[settings.preset]]
    for name, parameter in model.named_parameters():
        trained = any(pattern.match(name) for pattern in patterns)
        if re.match(_FEATURE_ENCODER, name):
            trained = settings.feature_encoder and settings.preset != "lora"
        if re.match(_MASK_EMBEDDING, name):
            trained = trained and masks_time
        parameter.requires_grad_(trained)


def add_lora(model: nn.Module, settings: LoraConfig) -> None:
    """Add LoRA to the attention projections of encoder and decoder, in place (Hu et al. 2021).

    VoxlateError if peft is not installed.
    """
    try:
        import peft  # noqa: PLC0415 (an optional dependency)
    except ImportError:
        raise VoxlateError("the lora preset needs peft; install it with pip install 'voxlate[lora]'") from None
    names = [*settings.target_modules, *(_CONFORMER_NAMES[name] for name in settings.target_modules)]
    peft.inject_adapter_in_model(
        peft.LoraConfig(
            r=settings.rank,
            lora_alpha=settings.alpha,
            lora_dropout=settings.dropout,
            target_modules=rf"(.*\.)?(encoder|decoder)\..*\.({'|'.join(names)})",
        ),
        model,
        _LORA_NAME,
    )


def merge_lora(tensors: Mapping[str, Tensor], settings: LoraConfig) -> dict[str, Tensor]:
    """Return the weights of an equivalent model without LoRA: W + alpha / rank · B A."""
    merged = {}
    for name, tensor in tensors.items():
        if ".lora_" in name:
            continue
        stem, base, field = name.rpartition(".base_layer.")
        if base and field == "weight":
            down = tensors[f"{stem}.lora_A.{_LORA_NAME}.weight"]
            up = tensors[f"{stem}.lora_B.{_LORA_NAME}.weight"]
            tensor = tensor + settings.alpha / settings.rank * (up @ down)  # noqa: PLW2901
        merged[f"{stem}.{field}" if base else name] = tensor
    return merged
