"""The output layer on a GPU: its kernel, and the plain path where that does not work.

The kernel is tested on a GPU if there is one, or with Triton's interpreter: `TRITON_INTERPRET=1 pytest ...`, for which
triton must be installed, as it is with torch for CUDA.
"""

import logging
import os

import pytest
import torch

from parity import ours
from tiny import transformers_model
from voxlate.decoding.output_layer import Vocabulary, shortlisted, top_k_ids
from voxlate.models.gpu.fused_scores import FusedOutputRows, install_fused_scores, summarize
from voxlate.models.score_table import OutputRows, ScoreTable

TAGS_R = torch.tensor([52, 53] * 80)
PARTS = {52: [*range(2, 9_000, 3)], 53: [*range(2, 10_000, 7)]}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.skipif(
    not torch.cuda.is_available() and "TRITON_INTERPRET" not in os.environ, reason="no GPU and no TRITON_INTERPRET=1"
)
def test_the_kernel_summarizes_as_the_plain_path_does(dtype: torch.dtype, masked: bool) -> None:
    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    states_RD, weight_VD = torch.randn(3, 16).to(device, dtype), torch.randn(9_000, 16).to(device, dtype)
    allowed_RV = torch.rand(3, 9_000, device=device) < 0.3 if masked else None
    if allowed_RV is not None:
        allowed_RV[:, 4_096:8_192] = False  # a block without any
    expected = ScoreTable(states_RD, weight_VD, dtype).summary(allowed_RV)
    found = summarize(states_RD @ weight_VD.T, allowed_RV)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("short", [False, True])
def test_without_the_kernel_the_top_k_are_the_same(
    short: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A kernel that cannot be compiled is named once, and not tried again."""

    def fail(*_: object) -> None:
        raise RuntimeError("Failed to find C compiler\nhint")

    monkeypatch.setattr("voxlate.models.gpu.fused_scores.summarize", fail)
    monkeypatch.setattr(FusedOutputRows, "kernel_works", True)
    torch.manual_seed(0)
    states_RD, weight_VD = torch.randn(160, 16), torch.randn(10_000, 16)
    tables = []
    for rows in (OutputRows(weight_VD), FusedOutputRows(weight_VD)):
        vocabulary = shortlisted(rows, PARTS) if short else Vocabulary(rows)
        tables.append([top_k_ids(states_RD, vocabulary, 10, TAGS_R) for _ in range(2)])
    for (log_probs, ids), (expected_log_probs, expected_ids) in zip(*tables, strict=True):
        torch.testing.assert_close(log_probs, expected_log_probs)
        assert torch.equal(ids, expected_ids)
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert "runs without its kernel, which is slower (RuntimeError: Failed to find C compiler)" in record.getMessage()
    assert not FusedOutputRows.kernel_works


def test_on_a_cpu_there_is_no_kernel() -> None:
    decoder = ours(transformers_model(4)).decoder
    install_fused_scores(decoder)
    assert type(decoder.output_rows()) is OutputRows
