"""The commands besides translate."""

import pytest
from typer.testing import CliRunner

from voxlate.cli import app


def test_the_doctor_finds_nothing_wrong() -> None:
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 0
    titles = [line.split("  ")[0] for line in result.stdout.splitlines()]
    assert titles == [
        "voxlate", "packages", "device", "precision", "audio decoder", "hub cache", "checkpoints", "audio",
    ]  # fmt: skip
    assert "sound: the built-in clip decodes as it should" in result.stdout


def test_the_doctor_names_a_broken_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voxlate.doctor.check_decoder", lambda: ["it decodes to nothing"])
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 1
    assert "PROBLEM          audio decoder: it decodes to nothing; reinstall PyAV" in result.stdout


def test_version() -> None:
    from voxlate import __version__

    assert CliRunner().invoke(app, ["--version"]).stdout == f"voxlate {__version__}\n"
