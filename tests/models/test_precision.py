"""Precision: which one is chosen, what it changes, and that the ways to compute agree."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

import pytest
import torch
from torch import nn

from parity import ours
from paths import DEMO
from tiny import transformers_model, waveforms
from voxlate import Translator, VoxlateError
from voxlate.data.batching import collate_waveforms
from voxlate.hardware import SMALL_BYTES, choose_device, choose_dtype, without_cudnn_attention
from voxlate.manifest.reading import read_manifest
from voxlate.models.cpu.attention import plain_attention
from voxlate.models.cpu.convolutions import PackedConvolution
from voxlate.models.cpu.layers import to_int8, to_packed
from voxlate.models.cpu.linears import Int8Linear, PackedLinear
from voxlate.models.cpu.parallel import in_parallel
from voxlate.models.precision import onednn_takes_bfloat16


@pytest.mark.parametrize("bfloat16", [True, False])
def test_auto_goes_by_the_processor_and_the_size_of_the_model(bfloat16: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voxlate.hardware.has_bfloat16_products", lambda: bfloat16)
    cpu, fast = torch.device("cpu"), torch.bfloat16 if bfloat16 else torch.float32
    assert choose_dtype("auto", cpu) == choose_dtype("auto", cpu, SMALL_BYTES - 1) == torch.float32
    assert choose_dtype("auto", cpu, SMALL_BYTES) == choose_dtype("int8", cpu) == fast
    assert choose_dtype("float32", cpu, SMALL_BYTES) == torch.float32
    with pytest.raises(VoxlateError, match="dtype int8 is for CPUs; use bfloat16 on a GPU"):
        choose_dtype("int8", torch.device("cuda"))


def test_cudnn_attention_is_off_only_inside_the_block() -> None:
    assert torch.backends.cuda.cudnn_sdp_enabled()  # type: ignore[no-untyped-call]
    with without_cudnn_attention():
        assert not torch.backends.cuda.cudnn_sdp_enabled()  # type: ignore[no-untyped-call]
    choose_device("cpu")
    assert torch.backends.cuda.cudnn_sdp_enabled()  # type: ignore[no-untyped-call]


@pytest.mark.parametrize(("seed", "stable"), [(3, True), (4, False)])
def test_packed_clips_have_the_states_of_padded_ones(seed: int, stable: bool) -> None:
    """Without gradients nothing is computed for padding; with them the network is transformers' own."""
    settings = {"do_stable_layer_norm": stable, "feat_extract_norm": "layer" if stable else "group"}
    encoder = ours(transformers_model(seed, encoder=settings)).encoder
    batch = collate_waveforms(waveforms(7, 0.02, 1.3, 0.7, 2.1), normalize=True)
    padded_BSD, lengths_B = encoder(*batch)
    with torch.inference_mode():
        packed_BSD, packed_lengths_B = encoder(*batch)
    assert padded_BSD.requires_grad
    assert torch.equal(lengths_B, packed_lengths_B)
    torch.testing.assert_close(packed_BSD, padded_BSD.detach(), atol=2e-5, rtol=1e-4)


def test_plain_attention_is_the_fused_one() -> None:
    torch.manual_seed(0)
    queries, keys, values = torch.randn(3, 2, 5, 8), torch.randn(3, 2, 9, 8), torch.randn(3, 2, 9, 8)
    mask = torch.rand(3, 1, 5, 9) > 0.4
    mask[..., 0] = True
    for chosen in (None, mask):
        expected = nn.functional.scaled_dot_product_attention(queries, keys, values, attn_mask=chosen)
        torch.testing.assert_close(plain_attention(queries, keys, values, chosen), expected)
        rounded = plain_attention(queries.bfloat16(), keys.bfloat16(), values.bfloat16(), chosen)
        torch.testing.assert_close(rounded.float(), expected, atol=3e-2, rtol=3e-2)


@torch.inference_mode()
@pytest.mark.parametrize("rows", [1, 3, 40])
def test_eight_bits_are_near(rows: int) -> None:
    torch.manual_seed(0)
    linear, states = nn.Linear(96, 37), torch.randn(rows, 2, 96)
    states[0, 0] = 0.0
    found, expected = Int8Linear(linear)(states), linear(states)
    assert found.shape == expected.shape
    assert float((found - expected).norm() / expected.norm()) < 0.02
    assert Int8Linear(linear)(states.bfloat16()).dtype == torch.bfloat16


def test_eight_bits_replace_the_layers_and_nothing_else() -> None:
    model = ours(transformers_model(4))
    to_int8(model)
    kinds = {name.rpartition(".")[2]: type(module) for name, module in model.named_modules()}
    assert {kinds[name] for name in ("q_proj", "out_proj", "fc1", "intermediate_dense")} == {Int8Linear}
    assert kinds["projection"] is nn.Linear
    linears = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    assert not any(".layers." in name and not name.startswith(("adapter", "encoder.model.feature")) for name in linears)


needs_onednn = pytest.mark.skipif(not onednn_takes_bfloat16(), reason="the processor is of less than AVX-512")


def test_without_onednn_for_bfloat16_layers_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    for place in ("cpu", "attention"):
        monkeypatch.setattr(f"voxlate.models.{place}.onednn_takes_bfloat16", lambda: False)
    monkeypatch.setattr(torch.Tensor, "to_mkldnn", None)
    model = ours(transformers_model(3)).bfloat16().eval()
    to_packed(model)
    assert not any(isinstance(module, PackedLinear) for module in model.modules())
    with torch.inference_mode():
        states_USD, _ = model.encode(*collate_waveforms(waveforms(7, 0.5, 1.3), normalize=True))
    assert states_USD.isfinite().all()


@needs_onednn
@torch.inference_mode()
@pytest.mark.parametrize("activation", ["none", "relu", "gelu"])
@pytest.mark.parametrize("rows", [0, 1, 3, 40])
def test_packed_layers_are_the_same_layers(rows: int, activation: str) -> None:
    torch.manual_seed(0)
    linear, states = nn.Linear(96, 37).bfloat16(), torch.randn(rows, 2, 96).bfloat16()
    after = {"none": nn.Identity(), "relu": nn.ReLU(), "gelu": nn.GELU()}[activation]
    found = PackedLinear.of(linear, activation)(states)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found, after(linear(states)), atol=1e-2, rtol=1e-2)


@needs_onednn
@torch.inference_mode()
@pytest.mark.parametrize("seed", [3, 4])
def test_a_packed_model_says_the_same(seed: int) -> None:
    """In a part of the frames, too, that the convolutions are given at once."""
    plain, packed = (ours(transformers_model(seed)).bfloat16().eval() for _ in range(2))
    to_packed(packed)
    kinds = {name.rpartition(".")[2]: type(module) for name, module in packed.named_modules()}
    assert {kinds[name] for name in ("q_proj", "fc1", "fc2", "intermediate_dense", "output_dense")} == {PackedLinear}
    assert {type(layer) for layer in packed.encoder.model.feature_extractor.conv_layers} == {PackedConvolution}
    batch = collate_waveforms(waveforms(7, 0.02, 1.3, 2.1), normalize=True)
    expected_USD, lengths_U = plain.encode(*batch)
    found_USD, _ = packed.encode(*batch)
    assert (found_USD - expected_USD).float().norm() < 0.05 * expected_USD.float().norm()
    tokens_UT = torch.tensor([[2, 52, 9, 7]] * 3)
    expected_UTD = plain.decoder(tokens_UT, plain.decoder.cross_attention_cache(expected_USD, lengths_U))
    found_UTD = packed.decoder(tokens_UT, packed.decoder.cross_attention_cache(expected_USD, lengths_U))
    assert (found_UTD - expected_UTD).norm() < 0.05 * expected_UTD.norm()


def test_float32_is_not_packed() -> None:
    model = ours(transformers_model(3))
    to_packed(model)
    assert not any(isinstance(module, PackedLinear) for module in model.modules())


@pytest.mark.parametrize(("items", "cores"), [(1, 3), (2, 3), (7, 3), (5, 1)])
def test_pieces_side_by_side_come_back_in_their_order(items: int, cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_threads_of_the_user_keep_all_cores() -> None:
    cores = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        in_parallel(lambda part: part, [1, 2, 3], [1, 1, 1])
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(torch.get_num_threads).result() == torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(cores)


@pytest.mark.parametrize("dtype", ["bfloat16", "int8"])
def test_the_bundled_clips_come_out_in_any_precision(dtype: str) -> None:
    rows = list(read_manifest(DEMO / "clips/clips.jsonl"))
    translator = Translator(DEMO / "model", dtype=dtype, device="cpu")
    targets = [row.target_language for row in rows]
    clips = [cast("Path", row.audio) for row in rows]
    found = dict(translator.stream(clips, to=[target or "en" for target in targets]))
    right = sum(found[index].text == row.target_text for index, row in enumerate(rows))  # type: ignore[union-attr]
    assert right >= len(rows) - 1
