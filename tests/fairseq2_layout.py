"""Random checkpoints in the layout of fairseq2's wav2vec 2.0, and the same computation, written from that layout."""

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import Wav2Vec2Config, Wav2Vec2ForPreTraining

from tiny import KINDS

# Names of transformers' `Wav2Vec2ForPreTraining` and of fairseq2 (its models/wav2vec2).
NAMES = (
    (r"wav2vec2\.feature_extractor\.conv_layers\.", "encoder_frontend.feature_extractor.layers."),
    (r"wav2vec2\.feature_projection\.layer_norm\.", "encoder_frontend.post_extract_layer_norm."),
    (r"wav2vec2\.feature_projection\.projection\.", "encoder_frontend.model_dim_proj."),
    (r"wav2vec2\.masked_spec_embed", "masker.temporal_mask_embed"),
    (r".*pos_conv_embed\.conv\.parametrizations\.weight\.original0", "encoder_frontend.pos_encoder.conv.weight_g"),
    (r".*pos_conv_embed\.conv\.parametrizations\.weight\.original1", "encoder_frontend.pos_encoder.conv.weight_v"),
    (r".*pos_conv_embed\.conv\.", "encoder_frontend.pos_encoder.conv."),
    (r"wav2vec2\.encoder\.layers\.(\d+)\.attention\.out_proj\.", r"encoder.layers.\1.self_attn.output_proj."),
    (r"wav2vec2\.encoder\.layers\.(\d+)\.attention\.", r"encoder.layers.\1.self_attn."),
    (r"wav2vec2\.encoder\.layers\.(\d+)\.layer_norm\.", r"encoder.layers.\1.self_attn_layer_norm."),
    (r"wav2vec2\.encoder\.layers\.(\d+)\.feed_forward\.intermediate_dense\.", r"encoder.layers.\1.ffn.inner_proj."),
    (r"wav2vec2\.encoder\.layers\.(\d+)\.feed_forward\.output_dense\.", r"encoder.layers.\1.ffn.output_proj."),
    (r"wav2vec2\.encoder\.layers\.(\d+)\.final_layer_norm\.", r"encoder.layers.\1.ffn_layer_norm."),
    (r"wav2vec2\.encoder\.", "encoder."),
    (r"quantizer\.codevectors", "quantizer.entries"),
    (r"quantizer\.weight_proj\.", "quantizer.entry_proj."),
    (r"project_hid\.", "final_proj."),
    (r"project_q\.", "final_target_proj."),
)


def tiny_config(kind: str = "XLS-R, XLSR-53, wav2vec 2.0 LV-60") -> Wav2Vec2Config:
    """Return the config of one of `tiny.KINDS`, with heads of pretraining."""
    return Wav2Vec2Config(**KINDS[kind][1], codevector_dim=8, proj_codevector_dim=8)


def fairseq2_tensors(config: Any, device: str = "cpu") -> dict[str, Tensor]:
    """Return random tensors of an encoder with the heads of pretraining, under fairseq2's names."""
    torch.manual_seed(3)
    with torch.device(device):
        model = Wav2Vec2ForPreTraining(config)
    tensors = {}
    for name, tensor in model.state_dict().items():
        pattern, theirs = next((pattern, theirs) for pattern, theirs in NAMES if re.match(pattern, name))
        new = re.sub(pattern, theirs, name)
        if not config.do_stable_layer_norm:
            new = new.replace("encoder.layer_norm.", "encoder_frontend.layer_norm.")
            new = re.sub(r"(feature_extractor\.layers\.0\.)layer_norm", r"\1group_norm", new)
        tensors[new] = tensor
        if tensor.dim() > 1 and device == "cpu":  # larger than in an untrained network, so that states differ in time
            tensors[new] = torch.randn_like(tensor) * 0.2
    tensors["quantizer.num_updates"] = torch.zeros((), dtype=torch.int64)
    return tensors


def write_fairseq2(path: Path, config: Any) -> dict[str, Tensor]:
    """Save a random checkpoint as fairseq2 does; return its tensors."""
    tensors = fairseq2_tensors(config)
    torch.save({"model": tensors}, path)
    return tensors


def fairseq2_states(tensors: dict[str, Tensor], waveform_BT: Tensor, heads: int) -> Tensor:
    """Return the states of normalized waveforms, (B, S, D), as fairseq2 computes them."""

    def norm(states: Tensor, name: str) -> Tensor:
        weight = tensors.get(f"{name}.weight")
        return (
            states if weight is None else functional.layer_norm(states, weight.shape, weight, tensors[f"{name}.bias"])
        )

    def linear(states: Tensor, name: str) -> Tensor:
        return functional.linear(states, tensors[f"{name}.weight"], tensors[f"{name}.bias"])

    states = waveform_BT[:, None]
    for index, stride in enumerate((5, 2, 2, 2, 2, 2, 2)):
        front = f"encoder_frontend.feature_extractor.layers.{index}"
        weight, bias = tensors[f"{front}.conv.weight"], tensors.get(f"{front}.conv.bias")
        states = functional.conv1d(states, weight, bias, stride)
        if f"{front}.group_norm.weight" in tensors:
            scale, shift = tensors[f"{front}.group_norm.weight"], tensors[f"{front}.group_norm.bias"]
            states = functional.group_norm(states, len(scale), scale, shift)
        states = functional.gelu(norm(states.transpose(1, 2), f"{front}.layer_norm").transpose(1, 2))
    states = norm(states.transpose(1, 2), "encoder_frontend.post_extract_layer_norm")
    states = linear(states, "encoder_frontend.model_dim_proj")

    position = "encoder_frontend.pos_encoder.conv"
    weight_v = tensors[f"{position}.weight_v"]
    weight = tensors[f"{position}.weight_g"] * weight_v / weight_v.norm(dim=(0, 1), keepdim=True)
    kernel, groups = weight.shape[2], states.shape[2] // weight.shape[1]
    encoded = functional.conv1d(
        states.transpose(1, 2), weight, tensors[f"{position}.bias"], padding=kernel // 2, groups=groups
    )
    states = states + functional.gelu(encoded[:, :, : states.shape[1]]).transpose(1, 2)
    states = norm(states, "encoder_frontend.layer_norm")

    is_pre = "encoder.layer_norm.weight" in tensors
    layers = {int(name.split(".")[2]) for name in tensors if name.startswith("encoder.layers.")}
    for layer in (f"encoder.layers.{index}" for index in sorted(layers)):
        for block, norm_name in ((f"{layer}.self_attn", "self_attn_layer_norm"), (f"{layer}.ffn", "ffn_layer_norm")):
            before = norm(states, f"{layer}.{norm_name}") if is_pre else states
            if block.endswith("ffn"):
                update = linear(functional.gelu(linear(before, f"{block}.inner_proj")), f"{block}.output_proj")
            else:
                shape = (*before.shape[:2], heads, -1)
                q, k, v = (linear(before, f"{block}.{part}_proj").view(shape).transpose(1, 2) for part in "qkv")
                mixed = functional.scaled_dot_product_attention(q, k, v)
                update = linear(mixed.transpose(1, 2).flatten(2), f"{block}.output_proj")
            states = states + update
            if not is_pre:
                states = norm(states, f"{layer}.{norm_name}")
    return norm(states, "encoder.layer_norm")
