"""The commands, programs and facts of docs/server.md, with an engine that needs no model."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from documentation import blocks, commands, read, run
from fake_engine import FakeEngine
from paths import DEMO
from served import Served, serving

PAGE = "docs/server.md"
CURL = [line for block in blocks(PAGE, "bash") for line in block.splitlines() if line.startswith("curl")]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("uploads"), FakeEngine(name="my-model")) as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "talk.mp3").write_text("hello\nworld")
    return tmp_path


@pytest.mark.parametrize("command", CURL)
def test_curl(served: Served, folder: Path, command: str) -> None:
    line = command.replace("localhost:8000", served.url.removeprefix("http://"))
    answer = subprocess.run(line.replace("curl", "curl -sS"), shell=True, capture_output=True, text=True, check=True)
    shown = answer.stdout
    if "models" in command:
        assert [model["id"] for model in json.loads(shown)["data"]][:3] == ["my-model", "ca", "my-model:de"]
    elif "stream" in command:
        assert shown.endswith("data: [DONE]\n\n")
    elif "srt" in command:
        assert shown == "1\n00:00:00,000 --> 00:00:04,000\nhello [de] world [de]\n"
    else:
        assert shown == "hello [de]\nworld [de]\n"


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")
@pytest.mark.parametrize("number", [0, 1])
def test_python(served: Served, folder: Path, capsys: pytest.CaptureFixture[str], number: int) -> None:
    programs = blocks(PAGE, "py")
    assert len(programs) == 2
    exec(programs[number].replace("http://localhost:8000", served.url), {})
    shown = capsys.readouterr().out
    assert "hello [de]" in shown
    assert shown.startswith("1\n00:00:00") == (number == 0)


@pytest.mark.parametrize("command", [*commands(PAGE), "voxlate serve --model my-model --host 0.0.0.0"])
def test_servers_are_started_with_what_the_command_says(
    folder: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """Everything runs but the models and the endless loop."""
    for name in ("my-model", "my-identifier", "recipes/demo/model"):
        shutil.copytree(DEMO / "model", name)
    started: dict[str, Any] = {}

    class StartedEngine(FakeEngine):
        failure = None

        def __init__(self, models: dict[str, str], **options: Any) -> None:
            super().__init__(name=next(iter(models)))
            started.update(options, models=models)

        def start(self) -> None:
            started["engine"] = self

        def shutdown(self, grace_seconds: float) -> None:
            """Do nothing."""

    monkeypatch.setattr("voxlate.serving.serve_command.ServingEngine", StartedEngine)
    monkeypatch.setattr("voxlate.serving.server.SignaledServer.run", lambda server, sockets: None)
    monkeypatch.setenv("VOXLATE_API_KEY", "abc")
    result = run(f"{command} --port 0")
    assert (result.exit_code, "warning" in result.stderr) == (0, False)
    assert started["models"]["my-model"] == "my-model"
    assert started["identifier"] == ("my-identifier" if "my-identifier" in command else None)
    assert started["engine"].ready


def test_options_and_defaults_are_those_of_the_command() -> None:
    help_text = " ".join(run("voxlate serve --help").stdout.split())
    for name, default in re.findall(r"^\| `(--[\w-]+)` \| (\d+) \|", read(PAGE), re.MULTILINE):
        assert re.search(rf"{name} [^\[]*\[default: {default}(\.0)?[;\]]", help_text), name
    for name in set(re.findall(r"--[a-z][\w-]+", read(PAGE))) - {"--no-buffer"}:
        assert name in help_text
    assert set(re.findall(r"^\| `POST ([^`]+)`", read(PAGE), re.MULTILINE)) == {"/v1/audio/translations", "/asr"}
