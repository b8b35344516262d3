"""What learns under each preset, LoRA's arithmetic, learning rates."""

from itertools import pairwise
from typing import get_args

import pytest
import torch

from tiny import transformers_model
from voxlate.checkpoints.conversion import from_transformers
from voxlate.checkpoints.model_folder import _build
from voxlate.config.schema import LoraConfig, OptimizerConfig, Preset, TrainableConfig
from voxlate.models.speech_translator import SpeechTranslator
from voxlate.training.freezing import PRESETS, choose_trainable, merge_lora
from voxlate.training.objective import Objective
from voxlate.training.optimizer import SCHEDULES, learning_rate, make_optimizer


@pytest.fixture
def objective() -> Objective:
    theirs = transformers_model(1)
    model: SpeechTranslator = _build(theirs.config, normalize_waveform=True)
    model.load_state_dict(from_transformers(theirs.state_dict(), tied=True))
    return Objective(model, None, 0.1)


def learning(objective: Objective, preset: str, **changes: bool) -> set[str]:
    settings = TrainableConfig.model_validate({"preset": preset, "feature_encoder": changes.get("features", False)})
    choose_trainable(objective, settings, masks_time=changes.get("masks", True))
    names = {name for name, parameter in objective.named_parameters() if parameter.requires_grad}
    return {name.removeprefix("translator.") for name in names}


def test_every_preset_is_a_setting_and_the_other_way_round() -> None:
    assert set(PRESETS) == set(get_args(Preset))


def test_all_but_the_convolutions_on_the_waveform(objective: Objective) -> None:
    everything = {name.removeprefix("translator.") for name, _ in objective.named_parameters()}
    learnt = learning(objective, "all")
    assert learnt == {name for name in everything if "feature_extractor" not in name}
    assert learning(objective, "all", features=True) == everything
    assert "encoder.model.masked_spec_embed" not in learning(objective, "all", masks=False)


def test_lna_trains_norms_and_attentions_of_its_part(objective: Objective) -> None:
    encoder, decoder, both = (learning(objective, f"lna-{part}") for part in ("e", "d", "ed"))
    layer = "encoder.model.encoder.layers.0."
    assert {layer + "attention.q_proj.weight", layer + "final_layer_norm.bias", layer + "layer_norm.weight"} <= encoder
    assert not {name for name in encoder if "feed_forward" in name or "pos_conv" in name}
    assert {"decoder.layers.0.fc1.weight", "decoder.embed_tokens.weight"} <= encoder
    kept = {"decoder.layers.0.encoder_attn.k_proj.weight", "decoder.layers.0.self_attn_layer_norm.weight"}
    assert kept <= decoder
    assert kept <= both
    assert not {name for name in decoder if ".fc" in name or "embed_" in name}
    assert "encoder.model.encoder.layers.0.feed_forward.output_dense.weight" in decoder
    assert both == encoder & decoder
    assert {"adapter.layers.0.conv.weight"} <= both


def test_adapter_and_decoder_alone(objective: Objective) -> None:
    assert {name.split(".")[0] for name in learning(objective, "adapter-only")} == {"adapter"}
    assert {name.split(".")[0] for name in learning(objective, "decoder-only")} == {"adapter", "decoder"}


def test_lora_starts_as_the_model_and_merges_into_it(objective: Objective) -> None:
    clip_BT, lengths_B = torch.randn(1, 8000), torch.tensor([8000])
    tokens_BT = torch.tensor([[2, 60, 5, 6]])
    objective.eval()
    before = objective.translator(clip_BT, lengths_B, tokens_BT).detach()
    names = set(objective.state_dict())
    assert {name.split(".")[0] for name in learning(objective, "lora")} == {"adapter", "encoder", "decoder"}
    # Not to the bit: convolutions that are frozen now are products of matrices.
    assert torch.allclose(objective.translator(clip_BT, lengths_B, tokens_BT), before, atol=1e-5)
    with torch.no_grad():
        for name, parameter in objective.named_parameters():
            if ".lora_B" in name:
                parameter.normal_(std=0.1)
    changed = objective.translator(clip_BT, lengths_B, tokens_BT).detach()
    assert not torch.allclose(changed, before, atol=1e-2)
    merged = merge_lora(objective.state_dict(), LoraConfig())
    assert set(merged) == names
    theirs = transformers_model(1)
    plain: SpeechTranslator = _build(theirs.config, normalize_waveform=True).eval()
    plain.load_state_dict({name.removeprefix("translator."): tensor for name, tensor in merged.items()})
    assert torch.allclose(plain(clip_BT, lengths_B, tokens_BT), changed, atol=1e-4)


def schedule(name: str, updates: int = 1000, **changes: int) -> list[float]:
    settings = OptimizerConfig.model_validate({"updates": updates, "lr": 2.0, "schedule": name, **changes})
    return [learning_rate(update, settings) for update in range(updates)]


def test_tri_stage_rises_holds_and_falls() -> None:
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


def test_norms_biases_and_embeddings_do_not_decay(objective: Objective) -> None:
    settings = OptimizerConfig.model_validate({"updates": 1, "lr": 1.0, "weight_decay": 0.1})
    decayed, other = make_optimizer(objective, settings, fused=True).param_groups
    assert decayed["weight_decay"] == 0.1
    assert other["weight_decay"] == 0.0
    assert all(parameter.ndim > 1 for parameter in decayed["params"])
    embedding = objective.translator.decoder.embed_tokens.weight
    assert any(parameter is embedding for parameter in other["params"])
    count = len(decayed["params"]) + len(other["params"])
    assert count == len(list(objective.parameters()))
