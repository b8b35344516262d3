"""Trained parameters of each preset, LoRA, learning rates, weight decay."""

from itertools import pairwise
from pathlib import Path
from typing import get_args

import pytest
import torch

from voxlate.checkpoints.model_folder import load_checkpoint
from voxlate.config.sections import LoraConfig, OptimizerConfig, Preset, TrainableConfig
from voxlate.training.freezing import PRESETS, choose_trainable, merge_lora
from voxlate.training.objective import Objective
from voxlate.training.optimizer import SCHEDULES, learning_rate, make_optimizer


@pytest.fixture
def objective(tiny_model: Path) -> Objective:
    return Objective(load_checkpoint(tiny_model).model, None, 0.1)


def trained(objective: Objective, preset: str, **changes: bool) -> set[str]:
    settings = TrainableConfig.model_validate({"preset": preset, "feature_encoder": changes.get("features", False)})
    choose_trainable(objective, settings, masks_time=changes.get("masks", True))
    names = {name for name, parameter in objective.named_parameters() if parameter.requires_grad}
    return {name.removeprefix("translator.") for name in names}


def test_the_presets_are_those_of_the_settings() -> None:
    assert set(PRESETS) == set(get_args(Preset))


def test_all_trains_all_but_the_convolutions_on_the_waveform(objective: Objective) -> None:
    everything = {name.removeprefix("translator.") for name, _ in objective.named_parameters()}
    names = trained(objective, "all")
    assert names == {name for name in everything if "feature_extractor" not in name}
    assert trained(objective, "all", features=True) == everything
    assert "encoder.model.masked_spec_embed" not in trained(objective, "all", masks=False)


def test_lna_trains_norms_and_attention_of_encoder_or_decoder(objective: Objective) -> None:
    encoder, decoder, both = (trained(objective, f"lna-{part}") for part in ("e", "d", "ed"))
    layer = "encoder.model.encoder.layers.0."
    assert {layer + "attention.q_proj.weight", layer + "final_layer_norm.bias", layer + "layer_norm.weight"} <= encoder
    assert not {name for name in encoder if "feed_forward" in name or "pos_conv" in name}
    assert {"decoder.layers.0.fc1.weight", "decoder.embed_tokens.weight"} <= encoder
    lna = {"decoder.layers.0.encoder_attn.k_proj.weight", "decoder.layers.0.self_attn_layer_norm.weight"}
    assert lna <= decoder
    assert lna <= both
    assert not {name for name in decoder if ".fc" in name or "embed_" in name}
    assert "encoder.model.encoder.layers.0.feed_forward.output_dense.weight" in decoder
    assert both == encoder & decoder
    assert {"adapter.layers.0.conv.weight"} <= both


def test_adapter_only_and_decoder_only(objective: Objective) -> None:
    assert {name.split(".")[0] for name in trained(objective, "adapter-only")} == {"adapter"}
    assert {name.split(".")[0] for name in trained(objective, "decoder-only")} == {"adapter", "decoder"}


def test_lora_starts_as_the_model_and_merges_into_it(objective: Objective, tiny_model: Path) -> None:
    clip_BT, lengths_B = torch.randn(1, 8000), torch.tensor([8000])
    tokens_BT = torch.tensor([[2, 60, 5, 6]])
    objective.eval()
    before = objective.translator(clip_BT, lengths_B, tokens_BT).detach()
    names = set(objective.state_dict())
    assert {name.split(".")[0] for name in trained(objective, "lora")} == {"adapter", "encoder", "decoder"}
    # Not bit for bit: frozen convolutions are computed as matrix products.
    assert torch.allclose(objective.translator(clip_BT, lengths_B, tokens_BT), before, atol=1e-5)
    with torch.no_grad():
        for name, parameter in objective.named_parameters():
            if ".lora_B" in name:
                parameter.normal_(std=0.1)
    changed = objective.translator(clip_BT, lengths_B, tokens_BT).detach()
    assert not torch.allclose(changed, before, atol=1e-2)
    merged = merge_lora(objective.state_dict(), LoraConfig())
    assert set(merged) == names
    plain = load_checkpoint(tiny_model).model.eval()
    plain.load_state_dict({name.removeprefix("translator."): tensor for name, tensor in merged.items()})
    assert torch.allclose(plain(clip_BT, lengths_B, tokens_BT), changed, atol=1e-4)


def schedule(name: str, updates: int = 1000, **changes: int) -> list[float]:
    settings = OptimizerConfig.model_validate({"max_updates": updates, "lr": 2.0, "lr_scheduler": name, **changes})
    return [learning_rate(update, settings) for update in range(updates)]


def test_tri_stage_warms_up_holds_and_decays() -> None:
    rates = schedule("tri_stage")
    assert rates[0] == pytest.approx(0.02)
    assert rates[100:500] == [2.0] * 400
    assert rates[-1] == pytest.approx(0.1, rel=0.02)
    assert all(later < earlier for earlier, later in pairwise(rates[500:]))


def test_the_other_schedules() -> None:
    inverse = schedule("inverse_sqrt", warmup_updates=100)
    assert inverse[99] == 2.0
    assert inverse[399] == pytest.approx(1.0)
    linear = schedule("linear", warmup_updates=10)
    assert linear[9] == 2.0
    assert linear[-1] == pytest.approx(2 / 990)
    assert schedule("constant", warmup_updates=4)[:5] == [0.5, 1.0, 1.5, 2.0, 2.0]
    assert all(schedule(name, updates=1, warmup_updates=0) for name in SCHEDULES)


def test_norms_biases_and_embeddings_have_no_weight_decay(objective: Objective) -> None:
    settings = OptimizerConfig.model_validate({"max_updates": 1, "lr": 1.0, "weight_decay": 0.1})
    decayed, other = make_optimizer(objective, settings).param_groups
    assert decayed["weight_decay"] == 0.1
    assert other["weight_decay"] == 0.0
    assert all(parameter.ndim > 1 for parameter in decayed["params"])
    embedding = objective.translator.decoder.embed_tokens.weight
    assert any(parameter is embedding for parameter in other["params"])
    count = len(decayed["params"]) + len(other["params"])
    assert count == len(list(objective.parameters()))
