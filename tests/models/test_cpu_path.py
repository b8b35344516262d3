"""The fast CPU path: the same results with and without it, and with each private operator of torch missing."""

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import nn

from parity import ours
from paths import DEMO
from random_encoders import batch, build, random_translator
from tiny import KINDS, transformers_model, waveforms
from voxlate import Translator
from voxlate.data.batching import collate_waveforms
from voxlate.decoding.search import search
from voxlate.manifest.reading import read_manifest
from voxlate.models.cpu.install import Weights, install_cpu_path
from voxlate.models.cpu.int8_linears import Int8Linear
from voxlate.models.cpu.linears import PackedLinear
from voxlate.models.cpu.operators import (
    can_pack_linears,
    int8_product,
    int8_weight_limit,
    onednn_supports_bfloat16,
    softmax,
)
from voxlate.models.speech_translator import SpeechTranslator
from voxlate.search_options import SearchOptions

TOKENS = torch.tensor([[2, 52, 9, 7]] * 3)
TAGS = [52, 53, 52]
OPTIONS = SearchOptions(beam_size=3, max_length=20, n_best=3)
needs_onednn = pytest.mark.skipif(not onednn_supports_bfloat16(), reason="oneDNN has no bfloat16 on this processor")


def installed(model: SpeechTranslator, weights: Weights = "shared") -> SpeechTranslator:
    """Return a copy of a model with the fast path."""
    fast = copy.deepcopy(model)
    install_cpu_path(fast, weights)
    return fast


@torch.inference_mode()
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_float32_results_are_the_same_with_and_without_it(kind: tuple[str, dict[str, Any], bool]) -> None:
    plain = random_translator(build(kind))
    clips = batch(plain.encoder, 0.02, 1.3, 2.1)
    expected_USD, lengths_U = plain.encode(*clips)
    hypotheses = search(plain.decoder, plain.decoder.cross_attention_cache(expected_USD, lengths_U), TAGS, OPTIONS)
    for fast in (installed(plain), installed(plain, "packed")):
        states_USD, fast_lengths_U = fast.encode(*clips)
        assert torch.equal(fast_lengths_U, lengths_U)
        torch.testing.assert_close(states_USD, expected_USD, atol=2e-5, rtol=1e-4)
        torch.testing.assert_close(fast(*clips, TOKENS), plain(*clips, TOKENS), atol=1e-4, rtol=1e-4)
        found = search(fast.decoder, fast.cross_attention_cache(*clips), TAGS, OPTIONS)
        assert [[one.ids for one in row] for row in found] == [[one.ids for one in row] for row in hypotheses]
        scores = [one.score for row in hypotheses for one in row]
        assert [one.score for row in found for one in row] == pytest.approx(scores, abs=1e-5)


@pytest.mark.parametrize("seconds", [(0.5, 1.2), (5.3,)], ids=["short clips", "a long clip"])
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_gradients_are_the_same_with_and_without_it(
    kind: tuple[str, dict[str, Any], bool], seconds: tuple[float, ...]
) -> None:
    dropouts = [
        "hidden_dropout",
        "attention_dropout",
        "activation_dropout",
        "feat_proj_dropout",
        "conformer_conv_dropout",
    ]
    rates = ["mask_time_prob", "layerdrop", *dropouts]
    plain = random_translator(build((kind[0], {**kind[1], **dict.fromkeys(rates, 0.0)}, kind[2])))
    clips = batch(plain.encoder, *seconds)
    fast = installed(plain)
    names = [*plain.state_dict()]
    assert [*fast.state_dict()] == names
    for model in (plain, fast):
        model.train()
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        model(*clips, TOKENS[: len(seconds)]).square().mean().backward()
    for (name, parameter), other in zip(plain.named_parameters(), fast.parameters(), strict=True):
        assert (parameter.grad is None) == (other.grad is None), name
        if parameter.grad is not None and other.grad is not None:
            scale = float(parameter.grad.norm()) + 1e-4
            assert float((other.grad - parameter.grad).norm()) < 1e-3 * scale, name


def test_a_copy_of_a_model_runs_on_its_own_weights() -> None:
    fast = installed(random_translator(build(KINDS["HuBERT large"])))
    other = copy.deepcopy(fast)
    norm: Any = other.encoder.model.encoder.layer_norm
    nn.init.zeros_(norm.weight)
    nn.init.zeros_(norm.bias)
    with torch.inference_mode():
        states_BSD, _ = other.encoder(*batch(other.encoder, 0.7))
    assert not states_BSD.any()


def near(first: torch.Tensor, second: torch.Tensor, *, share: float = 0.05) -> bool:
    """Return whether two tensors differ by less than a share of their norm."""
    return bool((first - second).float().norm() < share * second.float().norm())


def test_float32_weights_stay_as_they_are() -> None:
    model = installed(ours(transformers_model(3)), "packed")
    assert not any(isinstance(module, PackedLinear) for module in model.modules())


@needs_onednn
@torch.inference_mode()
@pytest.mark.parametrize("seed", [3, 4])
def test_a_packed_model_has_the_states_of_the_plain_one(seed: int) -> None:
    plain = ours(transformers_model(seed)).bfloat16().eval()
    packed = installed(plain, "packed")
    kinds = {name.rpartition(".")[2]: type(module) for name, module in packed.named_modules()}
    assert {kinds[name] for name in ("q_proj", "fc1", "fc2", "intermediate_dense", "output_dense")} == {PackedLinear}
    assert not any(isinstance(module, nn.Conv1d) for module in packed.encoder.model.feature_extractor.modules())
    clips = collate_waveforms(waveforms(7, 0.02, 1.3, 2.1), normalize=True)
    expected_USD, lengths_U = plain.encode(*clips)
    assert near(packed.encode(*clips)[0], expected_USD)
    states = [
        model.decoder(TOKENS, model.decoder.cross_attention_cache(expected_USD, lengths_U)) for model in (packed, plain)
    ]
    assert near(*states)


@torch.inference_mode()
def test_int8_replaces_the_linear_layers_of_encoder_and_decoder_alone() -> None:
    plain = ours(transformers_model(4))
    model = installed(plain, "int8")
    kinds = {name.rpartition(".")[2]: type(module) for name, module in model.named_modules()}
    assert {kinds[name] for name in ("q_proj", "out_proj", "fc1", "intermediate_dense")} == {Int8Linear}
    assert kinds["projection"] is nn.Linear
    linears = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    assert not any(".layers." in name and not name.startswith(("adapter", "encoder.model.feature")) for name in linears)
    clips = collate_waveforms(waveforms(7, 1.3, 2.1), normalize=True)
    assert near(model.encode(*clips)[0], plain.encode(*clips)[0], share=0.1)


PRIVATE = [
    "ops.mkldnn._linear_pointwise",
    "ops.mkldnn._reorder_linear_weight",
    "ops.mkldnn._is_mkldnn_bf16_supported",
    "_C._has_mkldnn",
    "ops.onednn.qlinear_prepack",
    "ops.onednn.qlinear_pointwise",
    "_int_mm",
    "Tensor.to_mkldnn",
]


@pytest.fixture
def hide(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Return a function that hides an attribute of torch."""

    def hidden(name: str) -> None:
        owner_name, _, attribute = name.rpartition(".")
        if owner_name.startswith("ops."):
            others = [one.rpartition(".")[2] for one in PRIVATE if one.startswith(owner_name) and one != name]
            namespace = owner_name.removeprefix("ops.")
            operators = getattr(torch.ops, namespace)
            kept = {other: getattr(operators, other) for other in others if hasattr(operators, other)}
            monkeypatch.setattr(torch.ops, namespace, SimpleNamespace(**kept))
        elif owner_name == "Tensor":
            monkeypatch.setattr(torch.Tensor, attribute, None)
        else:
            monkeypatch.delattr(torch._C if owner_name else torch, attribute)
        clear_caches()

    yield hidden
    monkeypatch.undo()
    clear_caches()


def clear_caches() -> None:
    """Let the next call see which operators there are."""
    onednn_supports_bfloat16.cache_clear()
    int8_weight_limit.cache_clear()


@torch.inference_mode()
@pytest.mark.parametrize("name", PRIVATE)
def test_without_a_private_operator_results_are_the_same(name: str, hide: Callable[[str], None]) -> None:
    plain = ours(transformers_model(3))
    clips = collate_waveforms(waveforms(7, 0.5, 1.3, 0.9), normalize=True)
    exact_USD, _ = plain.encode(*clips)
    rows, weight = (torch.randint(-127, 128, shape, dtype=torch.int8) for shape in ((5, 3000), (3000, 7)))
    product = int8_product(rows, weight)
    quantized_USD, _ = installed(plain, "int8").encode(*clips)
    scores = torch.randn(3, 4, 9).bfloat16()
    probabilities = softmax(scores)

    hide(name)
    assert torch.equal(int8_product(rows, weight), product)
    assert torch.equal(int8_product(rows, weight, torch.empty_like(product)), product)
    torch.testing.assert_close(softmax(scores), probabilities, atol=1e-2, rtol=0)
    float32 = installed(plain, "packed")
    torch.testing.assert_close(float32.encode(*clips)[0], exact_USD, atol=2e-5, rtol=1e-4)
    assert near(installed(plain, "int8").encode(*clips)[0], quantized_USD)  # weights may have another bit
    packed = installed(copy.deepcopy(plain).bfloat16(), "packed")
    assert any(isinstance(module, PackedLinear) for module in packed.modules()) == can_pack_linears()
    assert near(packed.encode(*clips)[0], exact_USD)
    hypotheses = search(packed.decoder, packed.cross_attention_cache(*clips), TAGS, OPTIONS)
    assert all(len(row) == 3 and row[0].score > -20 for row in hypotheses)


@pytest.mark.parametrize("dtype", ["bfloat16", "int8"])
@pytest.mark.parametrize("complete", [True, False], ids=["all operators", "no private operator"])
def test_the_demo_clips_are_translated_in_any_precision(
    dtype: str, complete: bool, hide: Callable[[str], None]
) -> None:
    if not complete:
        for name in ("_C._has_mkldnn", "_int_mm", "Tensor.to_mkldnn", PRIVATE[0], "ops.onednn.qlinear_prepack"):
            hide(name)
    rows = list(read_manifest(DEMO / "clips/clips.jsonl"))
    translator = Translator(DEMO / "model", dtype=dtype, device="cpu")
    targets = [row.target_language for row in rows]
    clips = [cast("Path", row.audio) for row in rows]
    found = dict(translator.stream(clips, to=[target or "en" for target in targets]))
    right = sum(found[index].text == row.target_text for index, row in enumerate(rows))  # type: ignore[union-attr]
    assert right >= len(rows) - 1
