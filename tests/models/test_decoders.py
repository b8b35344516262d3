"""Contract of every text decoder: transformers' logits, steps like the whole, no influence of padding."""

import re
from dataclasses import replace
from typing import Any

import pytest
import torch
from transformers import AutoConfig
from transformers.models.m2m_100.modeling_m2m_100 import M2M100Decoder as TheirM2M100
from transformers.models.mbart.modeling_mbart import MBartDecoder as TheirMBart

from voxlate.checkpoints.conversion import decoder_fields
from voxlate.models import DECODERS
from voxlate.models.caches import KVCache
from voxlate.models.cpu.install import install_cpu_path
from voxlate.models.decoder import DecoderConfig, TextDecoder
from voxlate.registry import resolve
from voxlate.training.freezing import PRESETS

THEIRS: dict[str, Any] = {"m2m_100": TheirM2M100, "mbart": TheirMBart}
CONFIG = DecoderConfig(70, 32, 2, 4, 48, max_positions=40)
IDS = torch.tensor([[2, 63, 7, 9, 30, 12, 5], [2, 64, 8, 8, 8, 4, 11]])


@pytest.fixture(params=sorted(DECODERS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def make(name: str, config: DecoderConfig = CONFIG) -> TextDecoder:
    torch.manual_seed(3)
    decoder: TextDecoder = resolve(DECODERS, name, "text decoder")(config)
    for parameter in decoder.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    return decoder.eval()


def encoder_states() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(2, 9, 32, generator=torch.Generator().manual_seed(1)), torch.tensor([9, 4])


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("pad_id", [1, 0])
@torch.inference_mode()
def test_logits_equal_those_of_transformers(name: str, pad_id: int, fast: bool) -> None:
    if name == "mbart" and pad_id == 0:
        pytest.skip("the ids of mBART-50 are always the same")
    decoder = make(name, replace(CONFIG, pad_id=pad_id))
    fields = decoder_fields(decoder.config)
    theirs = THEIRS[name](AutoConfig.for_model(name, **fields | {"is_decoder": True})).eval()
    report = theirs.load_state_dict(decoder.state_dict(), strict=False)
    assert not report.unexpected_keys
    assert not report.missing_keys
    if fast:
        install_cpu_path(decoder)
    states_USD, lengths_U = encoder_states()
    for row, length in enumerate(lengths_U.tolist()):
        states = theirs(input_ids=IDS[row : row + 1], encoder_hidden_states=states_USD[row : row + 1, :length])
        expected = states.last_hidden_state @ decoder.embed_tokens.weight.T
        cache = decoder.cross_attention_cache(states_USD[row : row + 1, :length], lengths_U[row : row + 1])
        found = decoder.logits(decoder(IDS[row : row + 1], cache))
        assert expected.std() > 0.1
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


@torch.inference_mode()
def test_steps_equal_the_whole_and_padding_has_no_influence(name: str) -> None:
    decoder = make(name)
    states_USD, lengths_U = encoder_states()
    expected_UTD = decoder(IDS, decoder.cross_attention_cache(states_USD, lengths_U))
    alone_1TD = decoder(IDS[1:], decoder.cross_attention_cache(states_USD[1:, :4], lengths_U[1:]))
    torch.testing.assert_close(expected_UTD[1:], alone_1TD, atol=1e-5, rtol=0)
    states_USD[1, 4:] = torch.nan
    cross_cache = decoder.cross_attention_cache(states_USD, lengths_U)
    torch.testing.assert_close(decoder(IDS, cross_cache), expected_UTD, atol=0, rtol=0)

    kv_cache = KVCache.of_prefix(cross_cache, 2, 16)
    states_UTD = decoder.step(IDS[:, :2], torch.arange(2).expand(2, -1), cross_cache, kv_cache)
    torch.testing.assert_close(states_UTD, expected_UTD[:, :2], atol=1e-5, rtol=0)
    kv_cache = kv_cache.reordered(torch.ones(2, 1, dtype=torch.long))
    for position in range(2, IDS.shape[1]):
        kv_cache = kv_cache.extended(torch.full((2,), position))
        positions_UK = torch.full((2, 1), position)
        states_UKD = decoder.step(IDS[:, position : position + 1], positions_UK, cross_cache, kv_cache)
        torch.testing.assert_close(states_UKD, expected_UTD[:, position : position + 1], atol=1e-5, rtol=0)
        kv_cache = kv_cache.reordered(torch.zeros(2, 1, dtype=torch.long))


@torch.inference_mode()
def test_attention_weights_are_those_of_its_layers(name: str) -> None:
    decoder = make(name)
    cache = decoder.cross_attention_cache(*encoder_states())
    weights_UHTS = decoder.cross_attention(IDS, cache, [0, 1])
    assert weights_UHTS.shape == (2, 8, 7, 9)
    torch.testing.assert_close(weights_UHTS.sum(3), torch.ones(2, 8, 7))
    assert weights_UHTS[1, :, :, 4:].max() == 0


def test_gradients_reach_all_weights_and_presets_know_their_names(name: str) -> None:
    decoder: Any = make(name).train()
    states_USD, lengths_U = encoder_states()
    decoder.logits(decoder(IDS, decoder.cross_attention_cache(states_USD, lengths_U))).square().mean().backward()
    assert all(part.grad is not None and part.grad.isfinite().all() for part in decoder.parameters())
    names = [f"translator.decoder.{name}" for name, _ in decoder.named_parameters()]
    trained = {part for part in names if any(re.match(pattern, part) for pattern in PRESETS["lna-d"])}
    assert {part.rsplit(".", 2)[-2] for part in {*names} - trained} <= {"fc1", "fc2", "embed_tokens", "embed_positions"}
    assert trained


@pytest.mark.parametrize("moved", [False, True])
def test_a_decoder_without_memory_has_its_positions_again(name: str, moved: bool) -> None:
    with torch.device("meta"):
        decoder = resolve(DECODERS, name, "text decoder")(CONFIG)
    if moved:
        decoder.to("meta")
    decoder.load_state_dict(make(name).state_dict(), assign=True)
    cache = make(name).cross_attention_cache(*encoder_states())
    with torch.inference_mode():
        torch.testing.assert_close(decoder.eval()(IDS, cache), make(name)(IDS, cache))
