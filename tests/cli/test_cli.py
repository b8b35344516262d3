"""The doctor, the version, and how the command line ends when memory runs out."""

import errno
import os

import pytest
from typer.testing import CliRunner

from voxlate import cli
from voxlate.cli import app
from voxlate.errors import memory_advice


def test_the_doctor_finds_no_problem() -> None:
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 0
    titles = [line.split("  ")[0] for line in result.stdout.splitlines()]
    assert titles == [
        "voxlate", "packages", "device", "precision", "audio decoder", "hub cache", "checkpoints", "audio",
    ]  # fmt: skip
    assert "ok: the built-in clip is decoded correctly" in result.stdout


def test_the_doctor_names_a_broken_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voxlate.doctor.check_decoder", lambda: ["it decodes to nothing"])
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 1
    assert "PROBLEM          audio decoder: it decodes to nothing; reinstall PyAV" in result.stdout


def test_version() -> None:
    from voxlate import __version__

    assert CliRunner().invoke(app, ["--version"]).stdout == f"voxlate {__version__}\n"


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        ImportError("libtorch_cpu.so: failed to map segment from shared object"),
        RuntimeError("can't start new thread"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
    ],
)
def test_running_out_of_memory_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    def fail() -> None:
        raise error

    def leave(code: int) -> None:
        raise SystemExit(code)

    monkeypatch.setattr(cli, "app", fail)
    monkeypatch.setattr(os, "_exit", leave)
    with pytest.raises(SystemExit, match="2"):
        cli.main()
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("error: not enough memory; free some, or use a smaller model or --batch-size")


def test_other_errors_are_not_reported_as_running_out_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        cli.main()


def test_the_memory_limit_of_the_shell_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voxlate.errors.resource.getrlimit", lambda _: (800_000_000, -1))
    assert "limits each process to 0.8 GB (ulimit -v), expected 2 GB or more" in memory_advice()
