"""Which parameters learn: presets as data, and LoRA.

LNA trains the layer norms and attentions of a part and freezes the rest of it (Li et al. 2021, "Multilingual Speech
Translation from Efficient Finetuning of Pretrained Models"; fairseq's --finetune-w2v-params layer_norm,self_attn and
--finetune-decoder-params encoder_attn,layer_norm,self_attn).
"""

import re
from collections.abc import Mapping

from torch import Tensor, nn

from voxlate.config.schema import LoraConfig, TrainableConfig
from voxlate.errors import VoxlateError

_ADAPTER = r"(translator\.(adapter|enc_to_dec_proj)|ctc)\."
_ENCODER = r"translator\.encoder\."
_ENCODER_LNA = r"translator\.encoder\..*(layer_norm|\.attention|\.self_attn)\b"
_DECODER = r"translator\.decoder\."
_DECODER_LNA = r"translator\.decoder\..*(layer_?norm\w*|self_attn|encoder_attn)\."

# Names of parameters that learn, as regular expressions.
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
_CONFORMER_NAMES = {"q_proj": "linear_q", "k_proj": "linear_k", "v_proj": "linear_v", "out_proj": "linear_out"}
_LORA_NAME = "default"  # peft's own


def choose_trainable(model: nn.Module, settings: TrainableConfig, *, masks_time: bool) -> None:
    """Add LoRA if the preset has it, and let only the preset's parameters require gradients.

    The convolutions on the waveform learn only where `feature_encoder` says so, and the embedding of masked frames
    only where frames are masked: a parameter that no gradient reaches would stop DDP.
    """
    if settings.preset == "lora":
        add_lora(model, settings.lora)
    patterns = [re.compile(pattern) for pattern in PRESETS[settings.preset]]
    for name, parameter in model.named_parameters():
        learns = any(pattern.match(name) for pattern in patterns)
        if re.match(_FEATURE_ENCODER, name):
            learns = settings.feature_encoder and settings.preset != "lora"
        if re.match(_MASK_EMBEDDING, name):
            learns = learns and masks_time
        parameter.requires_grad_(learns)


def add_lora(model: nn.Module, settings: LoraConfig) -> None:
    """Put low-rank updates beside the attention projections of encoder and decoder, in place."""
    try:
        import peft  # noqa: PLC0415 (an extra of the package)
    except ImportError:
        raise VoxlateError("the lora preset needs peft; install it with pip install 'voxlate[lora]'") from None
    names = [*settings.projections, *(_CONFORMER_NAMES[name] for name in settings.projections)]  # w2v-BERT's differ
    peft.inject_adapter_in_model(
        peft.LoraConfig(
            r=settings.rank,
            lora_alpha=settings.alpha,
            lora_dropout=settings.dropout,
            target_modules=rf".*\.({'|'.join(names)})",
        ),
        model,
        _LORA_NAME,
    )


def merge_lora(tensors: Mapping[str, Tensor], settings: LoraConfig) -> dict[str, Tensor]:
    """Return the weights of the model without LoRA that computes the same: W + alpha / rank · B A."""
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
