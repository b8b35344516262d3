"""The device and the precision chosen automatically, where torch finds accelerators of several kinds."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from voxlate.cli import app
from voxlate.errors import VoxlateError
from voxlate.hardware import NEVER_RUN, choose_device, choose_dtype, device_name


def pretend(monkeypatch: pytest.MonkeyPatch, *kinds: str) -> None:
    """Let torch report these kinds of accelerators as available."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: "cuda" in kinds)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: "mps" in kinds)
    monkeypatch.setattr("torch.xpu.is_available", lambda: "xpu" in kinds)


@pytest.mark.parametrize(
    ("kinds", "chosen"),
    [((), "cpu"), (("cuda",), "cuda"), (("mps",), "mps"), (("xpu",), "xpu"), (("xpu", "cuda"), "cuda")],
)
def test_auto_prefers_cuda_then_mps_then_xpu(
    monkeypatch: pytest.MonkeyPatch, kinds: tuple[str, ...], chosen: str
) -> None:
    pretend(monkeypatch, *kinds)
    assert choose_device("auto") == torch.device(chosen)


def test_a_device_that_torch_lacks_is_an_error_with_those_that_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, "xpu")
    with pytest.raises(VoxlateError, match=r"device 'mps' is not usable here; expected one of auto, cpu, xpu$"):
        choose_device("mps")


@pytest.mark.parametrize("kind", ["mps", "xpu"])
@pytest.mark.parametrize("has_bfloat16", [False, True])
def test_an_accelerator_runs_in_bfloat16_only_if_it_multiplies_in_it(
    monkeypatch: pytest.MonkeyPatch, kind: str, has_bfloat16: bool
) -> None:
    ones = torch.ones

    def on_the_accelerator(*sizes: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
        assert device.type == kind
        if not has_bfloat16:
            raise TypeError("BFloat16 is not supported")
        return ones(*sizes, dtype=dtype)

    monkeypatch.setattr("torch.ones", on_the_accelerator)
    expected = torch.bfloat16 if has_bfloat16 else torch.float32
    assert choose_dtype("auto", torch.device(kind)) == expected
    assert choose_dtype("float16", torch.device(kind)) == torch.float16
    with pytest.raises(VoxlateError, match="dtype int8 is for CPUs; use bfloat16 on a GPU"):
        choose_dtype("int8", torch.device(kind))


@pytest.mark.parametrize("kind", NEVER_RUN)
def test_the_doctor_says_what_was_never_run(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    pretend(monkeypatch, kind)
    monkeypatch.setattr("torch.xpu.get_device_name", lambda _: "Arc B580")
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 0
    lines = {line[:16].strip(): line[17:] for line in result.stdout.splitlines()}
    assert lines["device"].startswith({"mps": "MPS device", "xpu": "Arc B580"}[kind])
    assert lines["NOT TRIED"].startswith(f"Voxlate has never been run on {NEVER_RUN[kind]}: compare its results with")
    assert lines["precision"].startswith("float32")


def test_the_doctor_says_nothing_like_that_of_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch)
    assert "NOT TRIED" not in CliRunner().invoke(app, ["doctor"]).stdout
    assert device_name(torch.device("cpu")).startswith("CPU (")


@pytest.mark.parametrize(
    ("device", "cores", "processes", "workers"),
    [("cpu", 16, 1, 1), ("cuda", 16, 1, 8), ("cuda", 16, 4, 4), ("cuda", 2, 4, 1), ("cuda", None, 1, 1)],
)
def test_a_gpu_gets_its_share_of_the_cores_to_decode_audio(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any, device: str, cores: int | None, processes: int, workers: int
) -> None:
    from toy import settings
    from voxlate.config.schema import TrainConfig
    from voxlate.training.distributed import data_workers

    raw = settings(tmp_path, data__num_workers=None)
    monkeypatch.setattr("os.cpu_count", lambda: cores)
    accelerator: Any = SimpleNamespace(device=torch.device(device), num_processes=processes)
    assert data_workers(TrainConfig(**raw), accelerator) == workers
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")  # on each of several machines
    assert data_workers(TrainConfig(**raw), accelerator) == (
        1 if device == "cpu" else min(8, max(1, (cores or 1) // 2))
    )
    raw["data"]["num_workers"] = 3
    assert data_workers(TrainConfig(**raw), accelerator) == 3


def test_training_needs_the_device_that_accelerate_uses(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    from toy import settings
    from voxlate.config.schema import TrainConfig
    from voxlate.training.distributed import make_accelerator

    config = TrainConfig(**settings(tmp_path, output_dir=str(tmp_path / "run"), device="xpu"))
    monkeypatch.setattr("voxlate.training.distributed.choose_device", torch.device)
    with pytest.raises(VoxlateError, match="device is xpu, but accelerate uses cpu here; set device to auto or cpu"):
        make_accelerator(config)
