"""The command `voxlate serve`: its options, and a server process with a real model."""

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fake_engine import FakeEngine
from media import write_media
from paths import DEMO
from recordings import demo_sentences, record
from served import ask, error_of
from server_process import ServerProcess, server_process
from voxlate.cli import app
from voxlate.serving.model_names import ModelNames

CLIPS = sorted((DEMO / "clips").glob("*.flac"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--model nothing", "model 'nothing': no such folder; expected a folder or a Hub id such as owner/name"),
        ("--model =x", "--model '=x': expected a model folder, a Hub id, or NAME=MODEL"),
        ("--model a=x --model a=y", "--model a=y: there is already a model named a; expected NAME=MODEL"),
        ("--model a:b=x", "--model a:b=x: the name 'a:b' contains a colon or control character; choose another"),
        (
            "--model a=x --alias b=c",
            "--alias b=c: expected NAME=MODEL or NAME=MODEL:LANGUAGE with a model of --model: a",
        ),
        ("--model a=x --alias b=a:xx", "unknown language 'xx'; "),
        ("--model a=x --alias a=a:de", "--alias a=a:de: there is already a model named a; expected another name"),
        ("--model x --to Klingonish", "unknown language 'Klingonish'; "),
        ("--model x --max-upload 0", "--max-upload is 0, expected more than 0"),
        ("--model x --max-seconds 0", "--max-seconds is 0.0, expected more than 0 seconds"),
        ("--model x --idle-minutes -1", "--idle-minutes is -1.0, expected more than 0 minutes"),
        ("--model x --temp-dir /nowhere", "--temp-dir is /nowhere, expected an existing folder"),
        ("--model x --api-key é", "--api-key is empty, or has spaces or other characters that no header can have"),
        ("--model x --beam-size 0", "--beam-size is 0, expected 1 (greedy) to 1000"),
        (
            "--model x --segmentation some",
            "--segmentation some: expected auto, none, or a number of seconds such as 20",
        ),
        ("--model x --host no.such.host.invalid", "cannot listen on --host no.such.host.invalid --port 0: "),
    ],
)
def test_wrong_options_are_one_line(options: str, message: str) -> None:
    result = CliRunner().invoke(app, ["serve", "--port", "0", *options.split()])
    assert str(result.exception).startswith(message)


def test_a_port_in_use_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = CliRunner().invoke(app, ["serve", "--model", "x", "--port", str(port)])
    assert str(result.exception) == (
        f"cannot listen on --host 127.0.0.1 --port {port}: Address already in use; choose another port, or end the "
        "program that uses it"
    )


def test_an_address_of_another_machine_is_explained() -> None:
    result = CliRunner().invoke(app, ["serve", "--model", "x", "--host", "192.0.2.1", "--port", "0"])
    assert str(result.exception) == (
        "cannot listen on --host 192.0.2.1 --port 0: Cannot assign requested address; --host is an address of this "
        "machine, such as 127.0.0.1, or 0.0.0.0 for all of them"
    )


def test_a_folder_without_a_model_is_one_line(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["serve", "--port", "0", "--model", f"none={tmp_path}"])
    assert str(result.exception) == f"none: {tmp_path}: no config.json; expected the folder of a model"
    assert result.stderr == "loading none\n"


def test_a_language_that_no_model_has_is_refused_at_start() -> None:
    end = threading.Timer(60, os.kill, (os.getpid(), signal.SIGTERM))  # if the server starts nevertheless
    end.start()
    result = CliRunner().invoke(app, ["serve", "--port", "0", "--model", f"demo={DEMO / 'model'}", "--to", "es"])
    end.cancel()
    assert str(result.exception) == "--to es: no model translates into it; expected ca, de, en, fr"
    assert result.stderr == "loading demo\n"


def test_an_alias_with_a_language_that_its_model_lacks_is_named() -> None:
    aliases = {"good": "travel:fr", "bad": "travel:ca"}
    assert ModelNames(FakeEngine(), aliases, "de").problem() == (
        "--alias bad=travel:ca: model travel does not translate into Catalan (ca); expected de, en, fr"
    )
    assert ModelNames(FakeEngine(), {"good": "travel:fr"}, "ca").problem() is None


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voxlate.cli.serve.find_spec", lambda name: None if name == "uvicorn" else name)
    result = CliRunner().invoke(app, ["serve", "--model", "x"])
    assert str(result.exception) == (
        "voxlate serve needs uvicorn; install the extra: python -m pip install 'voxlate[serve]'"
    )


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with server_process("--model", f"demo={DEMO / 'model'}") as running:
        yield running


def target_of(clip: Path) -> str:
    return "de" if clip.name.startswith("en") else "en"


def translate(server: ServerProcess, clip: Path, response_format: str = "text") -> tuple[int, str]:
    url, model = f"{server.url}/v1/audio/translations", f"demo:{target_of(clip)}"
    return ask(url, clip.read_bytes(), model=model, response_format=response_format)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half a minute of speech in several sentences."""
    waveform_T = record(demo_sentences(10), "en", seed=3).waveform_T
    path = tmp_path_factory.mktemp("recording") / "en-long.wav"
    return write_media(path, waveform_T)


@pytest.mark.slow
@pytest.mark.vad
def test_answers_are_those_of_translate(server: ServerProcess, recording: Path, tmp_path: Path) -> None:
    """Alone, and 32 at once, in several formats."""
    inputs = [*CLIPS, recording]
    for language in ("de", "en"):
        paths = [str(clip) for clip in inputs if target_of(clip) == language]
        options = ["--to", language, "--model", str(DEMO / "model"), "--format", "txt,srt,vtt", "-o", str(tmp_path)]
        assert CliRunner().invoke(app, ["translate", *paths, *options]).exit_code == 0
    formats = {"text": "txt", "srt": "srt", "vtt": "vtt"}
    expected = {
        (clip, name): next(tmp_path.rglob(f"{clip.name}.*.{suffix}")).read_text(encoding="utf-8")
        for clip in inputs
        for name, suffix in formats.items()
    }
    alone = (inputs[-1], "srt")
    assert translate(server, *alone) == (200, expected[alone])
    many = [(inputs[index % len(inputs)], [*formats][index % 3]) for index in range(32)]
    with ThreadPoolExecutor(32) as pool:
        answers = pool.map(lambda one: translate(server, *one), many)
        for one, answer in zip(many, answers, strict=True):
            assert answer == (200, expected[one])


@pytest.mark.slow
def test_the_decoding_processes_may_be_killed(server: ServerProcess) -> None:
    """A request that loses its process is decoded again, and the server keeps running."""
    expected = translate(server, CLIPS[0])
    done = threading.Event()

    def kill() -> None:
        while not done.is_set():
            for pid in server.children:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.5)

    killer = threading.Thread(target=kill)
    killer.start()
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: translate(server, CLIPS[0]), range(12)))
    done.set()
    killer.join()
    assert {status for status, _ in answers} <= {200, 400}
    assert {answer for answer in answers if answer[0] == 200} <= {expected}
    assert translate(server, CLIPS[0]) == expected
    deadline = time.monotonic() + 10
    while list(server.folder.glob("*/*")) and time.monotonic() < deadline:  # an upload is deleted after its answer
        time.sleep(0.05)
    assert list(server.folder.glob("*/*")) == []


@pytest.mark.slow
def test_a_stopped_server_finishes_what_runs(recording: Path) -> None:
    options = ["--model", f"demo={DEMO / 'model'}", "--host", "0.0.0.0", "--api-key", "not-to-be-printed"]
    with server_process(*options) as running, ThreadPoolExecutor(1) as pool:
        key, url = "not-to-be-printed", running.url.replace("0.0.0.0", "127.0.0.1")
        translations = f"{url}/v1/audio/translations"
        assert ask(translations, b"x")[0] == 401
        fields = {"key": key, "model": "demo:de", "stream": "true"}
        answer = pool.submit(lambda: ask(translations, recording.read_bytes(), **fields))
        while "voxlate_requests_unfinished 1.0" not in ask(f"{url}/metrics", key=key)[1]:
            time.sleep(0.02)
        running.process.send_signal(signal.SIGTERM)
        while "stopping; unfinished requests have 30 s" not in running.stderr:
            time.sleep(0.01)
        status, text = ask(translations, b"x", key=key)
        assert (status, error_of(text)["message"]) == (503, "the server is stopping")
        assert ask(f"{url}/health") == (503, '{"status":"stopping"}')
        assert "transcript.text.done" in answer.result()[1]
        assert running.process.wait(30) == 0
        assert list(running.folder.iterdir()) == []
        assert "not-to-be-printed" not in running.stderr
        assert "Traceback" not in running.stderr


@pytest.mark.slow
def test_a_server_for_other_machines_needs_a_key(tiny_model: Path) -> None:
    with server_process("--model", f"tiny={tiny_model}", "--host", "0.0.0.0", "--no-access-log") as running:
        assert "warning: other machines can use this server, and no --api-key is set" in running.stderr
        assert running.stop(signal.SIGINT) == 130
        assert list(running.folder.iterdir()) == []
