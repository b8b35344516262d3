"""The chunked loss equals torch's in value and gradient; CTC loss and SpecAugment masks."""

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F  # noqa: N812 (its usual name)

from voxlate.checkpoints.ctc_files import copy_ctc_rows, read_ctc, write_ctc
from voxlate.models import loss
from voxlate.models.ctc_head import CtcHead
from voxlate.models.loss import smoothed_cross_entropy
from voxlate.models.masking import span_mask


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("rows", [1, 7, 100])
def test_the_chunked_loss_equals_that_of_torch(smoothing: float, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loss, "CHUNK_SCORES", 301 * rows)
    monkeypatch.setattr(loss, "PART_SCORES", 301 * 3)
    monkeypatch.setattr(loss, "WEIGHT_ROWS", 100)
    torch.manual_seed(0)
    states_ND, weight_VD = torch.randn(50, 16, requires_grad=True), torch.randn(301, 16, requires_grad=True)
    labels_N = torch.randint(0, 301, (50,))
    found = []
    for function in (
        lambda: smoothed_cross_entropy(states_ND, weight_VD, labels_N, smoothing),
        lambda: F.cross_entropy(states_ND @ weight_VD.T, labels_N, label_smoothing=smoothing, reduction="sum"),
    ):
        value = function()  # type: ignore[no-untyped-call]
        (value / 50).backward()  # type: ignore[no-untyped-call]
        assert states_ND.grad is not None
        assert weight_VD.grad is not None
        found.append((value.detach(), states_ND.grad.clone(), weight_VD.grad.clone()))
        states_ND.grad = weight_VD.grad = None
    for ours, plain in zip(*found, strict=True):
        assert torch.allclose(ours, plain, rtol=1e-5, atol=1e-6)


def test_frozen_embeddings_get_no_gradient() -> None:
    states_ND, weight_VD = torch.randn(5, 4, requires_grad=True), torch.randn(9, 4)
    value = smoothed_cross_entropy(states_ND, weight_VD, torch.arange(5), 0.1)
    value.backward()  # type: ignore[no-untyped-call]
    assert states_ND.grad is not None
    with torch.no_grad():
        assert torch.equal(smoothed_cross_entropy(states_ND, weight_VD, torch.arange(5), 0.1), value)
    nothing = smoothed_cross_entropy(states_ND[:0], weight_VD, torch.arange(0), 0.1)
    assert nothing.item() == 0


def test_under_autocast_probabilities_stay_in_float32() -> None:
    torch.manual_seed(0)
    states_ND, weight_VD = torch.randn(40, 16), torch.randn(200, 16)
    labels_N = torch.randint(0, 200, (40,))
    exact = smoothed_cross_entropy(states_ND, weight_VD, labels_N, 0.1)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = smoothed_cross_entropy(states_ND, weight_VD, labels_N, 0.1)
    assert rounded.dtype == torch.float32
    assert float(rounded) == pytest.approx(float(exact), rel=5e-3)


def test_ctc_sums_utterances_with_labels_and_enough_frames() -> None:
    torch.manual_seed(0)
    head = CtcHead(8, 6)
    states_BSD, lengths_B = torch.randn(4, 7, 8), torch.tensor([7, 3, 2, 7])
    labels_BL = torch.tensor([[1, 2, 3], [4, 4, 0], [5, 5, 0], [0, 0, 0]])
    label_lengths_B = torch.tensor([3, 2, 2, 0])
    total = head(states_BSD, lengths_B, labels_BL, label_lengths_B)
    log_probs = F.log_softmax(head.projection(states_BSD), -1).transpose(0, 1)
    singles = F.ctc_loss(log_probs[:, :2], labels_BL[:2], lengths_B[:2], label_lengths_B[:2], reduction="none")
    assert torch.allclose(
        total, singles.sum()
    )  # equal labels need a blank between them: two frames are too few for the third row


def test_a_ctc_head_is_written_read_and_copied(tmp_path: Path) -> None:
    assert read_ctc(tmp_path) is None
    head = CtcHead(4, 4)
    write_ctc(tmp_path, head.state_dict(), {"b": 2, "a": 1, "ü": 3})
    stored = read_ctc(tmp_path)
    assert stored is not None
    assert stored[1] == {"a": 1, "b": 2, "ü": 3}
    other = CtcHead(4, 3)
    copy_ctc_rows(other, {"ü": 1, "z": 2}, tmp_path)
    assert torch.equal(other.projection.weight[:2], head.projection.weight[[0, 3]])
    wider = CtcHead(5, 3)
    before = wider.projection.weight.clone()
    copy_ctc_rows(wider, {"ü": 1, "z": 2}, tmp_path)
    assert torch.equal(wider.projection.weight, before)


def test_masks_are_spans_within_the_length() -> None:
    torch.manual_seed(0)
    lengths_B = torch.tensor([500, 60, 9, 10, 0])
    mask_BS = span_mask(lengths_B, 500, probability=0.3, span=10)
    assert not any(mask_BS[row, length:].any() for row, length in enumerate(lengths_B.tolist()))
    assert not mask_BS[2].any()
    runs = [len(run) for run in "".join("x" if masked else " " for masked in mask_BS[0].tolist()).split()]
    assert min(runs) >= 10
    shares = torch.stack([span_mask(torch.full((8,), 500), 500, probability=0.3, span=10) for _ in range(20)])
    assert 0.2 < shares.float().mean() < 0.3  # overlapping spans cover less
    torch.manual_seed(0)
    assert torch.equal(mask_BS, span_mask(lengths_B, 500, probability=0.3, span=10))
