"""Optimizations of training do not change gradients."""

import copy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tiny import waveforms
from voxlate.checkpoints.model_folder import load_checkpoint
from voxlate.data.batching import collate_waveforms
from voxlate.models.loss import smoothed_cross_entropy


def gradients(states_ND: Tensor, weight_VD: Tensor, total: Tensor) -> list[Tensor]:
    return [total.detach(), *torch.autograd.grad(total / 7, [states_ND, weight_VD])]


def test_a_batch_without_targets_has_gradients_of_zero() -> None:
    states_ND, weight_VD = torch.randn(3, 8, requires_grad=True), torch.randn(61, 8, requires_grad=True)
    ours = smoothed_cross_entropy(states_ND[:0], weight_VD, torch.arange(0), 0.1)
    assert all(not tensor.any() for tensor in gradients(states_ND, weight_VD, ours))


def test_a_sparse_gradient_of_tied_embeddings_equals_the_dense_one(tiny_model: Path) -> None:
    model = load_checkpoint(tiny_model).model
    waveform_BT, lengths_B = collate_waveforms(waveforms(0, 0.5, 0.8), normalize=True)
    tokens_BT = torch.tensor([[2, 60, 7, 7], [2, 60, 9, 1]])  # a piece twice, and padding
    dense = copy.deepcopy(model)
    model.decoder.sparse_embedding_gradient = True
    found = []
    for one in (model, dense):
        assert one.decoder.lm_head is None
        states_BTD = one.decoder(tokens_BT, one.cross_attention_cache(waveform_BT, lengths_B))
        states_ND = states_BTD.flatten(0, 1)[[1, 2, 3, 5, 6]]
        smoothed_cross_entropy(states_ND, one.decoder.output_weight, torch.tensor([7, 7, 2, 9, 2]), 0.1).backward()  # type: ignore[no-untyped-call]
        gradient = one.decoder.embed_tokens.weight.grad
        assert gradient is not None
        assert not gradient.is_sparse
        found.append(gradient)
    torch.testing.assert_close(*found, rtol=1e-6, atol=1e-6)


def test_the_backward_pass_stops_at_frozen_layers(tiny_model: Path) -> None:
    encoder: Any = load_checkpoint(tiny_model).model.encoder
    encoder.train()
    waveform_BT, lengths_B = collate_waveforms(waveforms(0, 0.5, 0.8), normalize=True)
    encoder.requires_grad_(False)
    states_BSD, _ = encoder(waveform_BT, lengths_B)
    assert not states_BSD.requires_grad
    encoder.requires_grad_(True)
    states_BSD, _ = encoder(waveform_BT, lengths_B)
    states_BSD.sum().backward()
    assert all(parameter.grad is not None for parameter in encoder.model.feature_extractor.parameters())
