"""Which device and precision are chosen."""

import pytest
import torch

from voxlate import VoxlateError
from voxlate.hardware import SMALL_BYTES, choose_device, choose_dtype, without_cudnn_attention


@pytest.mark.parametrize("bfloat16", [True, False])
def test_auto_depends_on_the_processor_and_the_size_of_the_model(
    bfloat16: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
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
