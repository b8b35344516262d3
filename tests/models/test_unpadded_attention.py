"""Attention without a mask gives the same states and gradients as with one, on a CPU with an equivalent of the kernel.

Shape letters: N frames of all clips, H heads, C channels of a head.
"""

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from host_waits import ForbidHostWaits
from random_encoders import build
from tiny import KINDS, waveforms
from voxlate.data.batching import collate_waveforms
from voxlate.models.gpu.gpu_path import compile_encoders, replace_parts
from voxlate.models.gpu.unpadded_attention import can_attend_unpadded

XLSR, HUBERT = "XLS-R, XLSR-53, wav2vec 2.0 LV-60", "HuBERT base"


class FlashAttention:
    """Takes the place of the CUDA kernels: attention within each part of a row, with dropout."""

    def __init__(self) -> None:
        self.dropouts: list[float] = []

    def forward(self, *arguments: Any, **options: Any) -> tuple[Tensor, ...]:
        queries_NHC, keys_NHC, values_NHC, starts, key_starts, longest, longest_keys, dropout, is_causal, _ = arguments
        sizes = starts.diff()
        assert starts.dtype == torch.int32
        assert torch.equal(starts, key_starts)
        assert (int(starts[0]), int(starts[-1])) == (0, len(queries_NHC))
        assert int(sizes.min()) >= 0
        assert longest == longest_keys >= int(sizes.max())
        assert not is_causal
        self.dropouts.append(dropout)
        seed = torch.randint(1 << 30, ()) if dropout else torch.tensor(0)
        parts = parts_and_weights((queries_NHC, keys_NHC, values_NHC), starts, dropout, seed, options["scale"])
        attended = [torch.einsum("hnm,mhc->nhc", weights * kept, values) for _, _, values, weights, kept in parts]
        empty = torch.empty(0)
        return torch.cat(attended), queries_NHC.new_zeros(queries_NHC.shape[1], len(queries_NHC)), seed, empty, empty

    def backward(self, gradient_NHC: Tensor, *arguments: Any, **options: Any) -> tuple[Tensor, ...]:
        starts, dropout, seed, scale = arguments[5], arguments[9], arguments[11], options["scale"]
        gradients = []
        parts = parts_and_weights(arguments[:3], starts, dropout, seed, scale)
        for (queries, keys, values, weights, kept), gradient in zip(parts, split(gradient_NHC, starts), strict=True):
            by_weight = torch.einsum("nhc,mhc->hnm", gradient, values) * kept
            by_score = scale * weights * (by_weight - (by_weight * weights).sum(2, keepdim=True))
            gradients.append(
                (
                    torch.einsum("hnm,mhc->nhc", by_score, keys),
                    torch.einsum("hnm,nhc->mhc", by_score, queries),
                    torch.einsum("hnm,nhc->mhc", weights * kept, gradient),
                )
            )
        return tuple(torch.cat(table) for table in zip(*gradients, strict=True))


def split(table_NHC: Tensor, starts: Tensor) -> tuple[Tensor, ...]:
    return torch.split(table_NHC, starts.diff().tolist())


def parts_and_weights(
    tables_NHC: Sequence[Tensor], starts: Tensor, dropout: float, seed: Tensor, scale: float
) -> Iterator[tuple[Tensor, ...]]:
    """Yield queries, keys, values, weights, and factors of dropout of each part."""
    generator = torch.Generator().manual_seed(int(seed))
    for queries, keys, values in zip(*(split(table_NHC, starts) for table_NHC in tables_NHC), strict=True):
        weights = (torch.einsum("nhc,mhc->hnm", queries, keys) * scale).softmax(2)
        kept = (torch.rand(weights.shape, generator=generator) >= dropout) / (1 - dropout)
        yield queries, keys, values, weights, kept


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[FlashAttention]:
    """Let a CPU attend without a mask."""
    monkeypatch.setattr("voxlate.models.gpu.encoder_layers.can_attend_unpadded", lambda *_: True)
    attention, library = FlashAttention(), torch.library.Library("aten", "IMPL")  # type: ignore[no-untyped-call]
    library.impl("_flash_attention_forward", attention.forward, "CPU")  # type: ignore[no-untyped-call]
    library.impl("_flash_attention_backward", attention.backward, "CPU")  # type: ignore[no-untyped-call]
    yield attention
    library._destroy()  # type: ignore[no-untyped-call]


def encoders(kind: str, **fields: Any) -> tuple[Any, Any]:
    """Return a plain encoder and one with the parts for GPUs."""
    name, small, normalize = KINDS[kind]
    plain: Any = build((name, {**small, **fields}, normalize))
    fast = copy.deepcopy(plain)
    replace_parts(fast)
    return plain, fast


def states_and_gradients(encoder: Any, *seconds: float) -> list[Tensor]:
    waveform_BT, lengths_B = collate_waveforms(waveforms(2, *seconds), normalize=True)
    for waveform_T, length in zip(waveform_BT, lengths_B.tolist(), strict=True):
        waveform_T[length:] = torch.nan
    torch.manual_seed(4)
    states_BSD, _ = encoder(waveform_BT, lengths_B)
    states_BSD.square().sum().backward()
    gradients = [parameter.grad for parameter in encoder.parameters() if parameter.grad is not None]
    return [states_BSD.detach(), *gradients]


@pytest.mark.parametrize("kind", [XLSR, HUBERT])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_states_and_gradients_are_those_with_a_mask(kernel: FlashAttention, kind: str, checkpointing: bool) -> None:
    found = []
    for encoder in encoders(kind, layerdrop=0.3, hidden_dropout=0.1, attention_dropout=0.0):
        if checkpointing:
            encoder.checkpoint_gradients()
        found.append(states_and_gradients(encoder.train(), 0.5, 1.1, 1.1, 0.03))
    assert kernel.dropouts
    (their_states, *their_gradients), (our_states, *our_gradients) = found
    torch.testing.assert_close(our_states, their_states, rtol=1e-3, atol=1e-4)
    ours_N, theirs_N = (torch.cat([table.flatten() for table in found]) for found in (our_gradients, their_gradients))
    assert float((ours_N - theirs_N).norm() / theirs_N.norm()) < 1e-4


def test_a_batch_of_two_equals_two_batches_of_one(kernel: FlashAttention) -> None:
    _, encoder = encoders(XLSR)
    waveform_BT, lengths_B = collate_waveforms(waveforms(3, 0.7, 1.3), normalize=True)
    with torch.inference_mode():
        states_BSD, frames_B = encoder(waveform_BT, lengths_B)
        for row, length in enumerate(lengths_B.tolist()):
            alone, _ = encoder(waveform_BT[row : row + 1, :length], lengths_B[row : row + 1])
            torch.testing.assert_close(states_BSD[row : row + 1, : frames_B[row]], alone, rtol=1e-4, atol=1e-4)
    assert kernel.dropouts


def test_training_has_the_dropout_of_attention_and_evaluation_has_none(kernel: FlashAttention) -> None:
    _, encoder = encoders(XLSR, attention_dropout=0.4, hidden_dropout=0.0, feat_proj_dropout=0.0)
    trained = states_and_gradients(encoder.train(), 0.5, 1.1)
    evaluated = states_and_gradients(encoder.eval(), 0.5, 1.1)
    assert kernel.dropouts == [0.4, 0.4, 0.0, 0.0]
    assert not torch.allclose(trained[0], evaluated[0], atol=1e-2)


def test_the_host_does_not_wait(kernel: FlashAttention) -> None:
    _, encoder = encoders(XLSR)
    waveform_BT, lengths_B = collate_waveforms(waveforms(3, 0.7, 1.3), normalize=True)
    with ForbidHostWaits([waveform_BT, *encoder.parameters()]):
        encoder.train()(waveform_BT, lengths_B)
    assert kernel.dropouts


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # torch.compile looks at it
def test_compiled_layers_attend_without_a_mask(kernel: FlashAttention) -> None:
    plain, fast = encoders(XLSR)
    compile_encoders(fast, "eager")
    ours, theirs = (states_and_gradients(encoder, 0.5, 1.1)[0] for encoder in (fast, plain))
    assert kernel.dropouts
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


def test_a_cpu_keeps_the_mask() -> None:
    assert not can_attend_unpadded(torch.zeros(2, 3, 128, dtype=torch.bfloat16), 2)
