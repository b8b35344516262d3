"""Parts of the fast CPU path, each beside the plain operation that it replaces."""

import copy
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from voxlate.models.cpu.attention import attention, plain_attention
from voxlate.models.cpu.convolutions import convolve
from voxlate.models.cpu.int8_linears import Int8Linear, quantize_states
from voxlate.models.cpu.linears import PackedLinear
from voxlate.models.cpu.operators import (
    INT8_SHIFT,
    int8_linear,
    int8_weight_limit,
    onednn_supports_bfloat16,
    pack_int8_weight,
)
from voxlate.models.cpu.parallel import in_parallel


def test_plain_attention_equals_the_fused_kernel() -> None:
    torch.manual_seed(0)
    queries, keys, values = torch.randn(3, 2, 5, 8), torch.randn(3, 2, 9, 8), torch.randn(3, 2, 9, 8)
    mask = torch.rand(3, 1, 5, 9) > 0.4
    mask[..., 0] = True
    for chosen in (None, mask):
        expected = nn.functional.scaled_dot_product_attention(queries, keys, values, attn_mask=chosen)
        torch.testing.assert_close(plain_attention(queries, keys, values, chosen), expected)
        with torch.inference_mode():
            torch.testing.assert_close(attention(queries, keys, values, chosen), expected)
        rounded = plain_attention(queries.bfloat16(), keys.bfloat16(), values.bfloat16(), chosen)
        torch.testing.assert_close(rounded.float(), expected, atol=3e-2, rtol=3e-2)


ACTIVATIONS: dict[str, nn.Module] = {"none": nn.Identity(), "relu": nn.ReLU(), "gelu": nn.GELU()}


@torch.inference_mode()
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("rows", [0, 1, 3, 300])
def test_an_int8_layer_is_near_the_exact_one(rows: int, activation: str) -> None:
    torch.manual_seed(0)
    linear, states = nn.Linear(96, 37), torch.randn(rows, 2, 96)
    states[:1, 0] = 0.0
    layer = Int8Linear(linear, activation)
    found, expected = layer(states), ACTIVATIONS[activation](linear(states))
    assert found.shape == expected.shape
    assert float((found - expected).norm()) <= 0.02 * float(expected.norm())
    assert layer(states.bfloat16()).dtype == torch.bfloat16
    for row, own in zip(states, found, strict=True):  # no row depends on the others
        torch.testing.assert_close(layer(row), own)
    assert torch.equal(layer(quantize_states(states)), found)


@torch.inference_mode()
def test_an_int8_layer_never_overflows() -> None:
    """On x86 processors without VNNI, products of the largest weights and states would, in 16 bits."""
    linear = nn.Linear(256, 64, bias=False)
    nn.init.ones_(linear.weight)
    states = torch.ones(5, 256)
    for signs in (1.0, -1.0):
        torch.testing.assert_close(Int8Linear(linear)(signs * states), signs * linear(states))
    assert Int8Linear(linear)(torch.full((1, 256), torch.nan)).isnan().all()


@torch.inference_mode()
@pytest.mark.skipif(not int8_weight_limit(), reason="oneDNN has no int8 layers on this processor")
def test_onednn_and_the_plain_fallback_compute_the_same_int8_products(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    limit = int8_weight_limit()
    weight_OI = torch.randint(-limit, limit + 1, (37, 3000), dtype=torch.int8)
    rows_NI = torch.randint(-127, 128, (50, 3000), dtype=torch.int8)
    shifted_NI = (rows_NI.int() + INT8_SHIFT).to(torch.uint8)
    scale_O = torch.rand(37) + 0.5
    shift_O = weight_OI.sum(1) * scale_O * -INT8_SHIFT
    found_NO = int8_linear(shifted_NI, pack_int8_weight(weight_OI), scale_O, shift_O)
    expected_NO = (rows_NI.double() @ weight_OI.double().T * scale_O).float()
    torch.testing.assert_close(found_NO, expected_NO, atol=2.0, rtol=1e-5)

    monkeypatch.setattr(torch.ops, "onednn", SimpleNamespace())
    int8_weight_limit.cache_clear()
    try:
        plain_NO = int8_linear(shifted_NI, pack_int8_weight(weight_OI), scale_O, shift_O)
    finally:
        monkeypatch.undo()
        int8_weight_limit.cache_clear()
    torch.testing.assert_close(plain_NO, expected_NO)


@pytest.mark.skipif(not onednn_supports_bfloat16(), reason="oneDNN has no bfloat16 on this processor")
@torch.inference_mode()
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("rows", [0, 1, 3, 40])
def test_a_packed_layer_equals_the_plain_one(rows: int, activation: str) -> None:
    torch.manual_seed(0)
    linear, states = nn.Linear(96, 37).bfloat16(), torch.randn(rows, 2, 96).bfloat16()
    found = PackedLinear.of(linear, activation)(states)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found, ACTIVATIONS[activation](linear(states)), atol=1e-2, rtol=1e-2)


@pytest.mark.parametrize(("items", "cores"), [(1, 3), (2, 3), (7, 3), (5, 1)])
def test_parallel_results_are_in_the_order_of_the_items(
    items: int, cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: cores)
    parts: list[list[int]] = []

    def double(part: list[int]) -> list[int]:
        assert torch.is_inference_mode_enabled()
        parts.append(part)
        return [2 * item for item in part]

    with torch.inference_mode():
        assert in_parallel(double, [*range(items)], [10, 1, 9, 2, 8, 3, 7][:items]) == [2 * i for i in range(items)]
    assert len(parts) == min(items, cores)
    with pytest.raises(ZeroDivisionError):
        in_parallel(lambda part: [1 // 0 for _ in part], [*range(items)], [1] * items)


def test_the_number_of_threads_is_restored() -> None:
    cores = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        in_parallel(lambda part: part, [1, 2, 3], [1, 1, 1])
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(torch.get_num_threads).result() == torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(cores)


@pytest.mark.parametrize("bfloat16", [False, True])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (2, 2), (5, 2), (2, 3)])
def test_convolutions_as_matrix_products_have_the_same_gradients(kernel: int, stride: int, bfloat16: bool) -> None:
    """With windows that overlap, that touch, and that skip frames."""
    torch.manual_seed(0)
    layer: Any = torch.nn.Module()
    layer.conv, layer.layer_norm = torch.nn.Conv1d(1, 6, kernel, stride), torch.nn.LayerNorm(6)
    layer.activation = torch.nn.functional.gelu
    other = copy.deepcopy(layer)
    other.conv = torch.nn.Conv1d(6, 6, kernel, stride)
    waveform_BT = torch.randn(3, 61)

    def gradients(products: bool) -> list[Tensor]:
        for module in (layer, other):
            module.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            if products:
                extractor = SimpleNamespace(conv_layers=[layer, other])
                found = convolve(extractor, waveform_BT).transpose(1, 2)
            else:
                found = waveform_BT[:, :, None]
                for module in (layer, other):
                    convolved = module.conv(found.transpose(1, 2)).transpose(1, 2)
                    found = module.activation(module.layer_norm(convolved))
        torch.autograd.backward(found.float().square().sum())
        return [
            found.detach().float(),
            *(parameter.grad.clone() for module in (layer, other) for parameter in module.parameters()),
        ]

    by_products = gradients(True)
    for module in (layer, other):  # or DDP warns
        assert module.conv.weight.grad.stride() == module.conv.weight.stride()
    for one, expected in zip(by_products, gradients(False), strict=True):
        assert float((one - expected).norm() / expected.norm()) < (0.03 if bfloat16 else 1e-5)
