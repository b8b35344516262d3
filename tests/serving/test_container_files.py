"""The files for Docker, read: no container engine runs in tests."""

import re
import shlex
import tomllib
from fnmatch import fnmatch
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from documentation import commands, read
from paths import ROOT
from voxlate.cli import app

PAGE = "docs/docker.md"
DOCKER = commands(PAGE, "docker ")


def instructions() -> list[tuple[str, str]]:
    """Return the instructions of the Dockerfile and their arguments, in order."""
    lines = re.sub(r"^#.*\n", "", read("Dockerfile"), flags=re.MULTILINE).replace("\\\n", "").splitlines()
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in lines if line)]


def arguments(instruction: str) -> list[str]:
    """Return the list of the last such instruction."""
    [*_, last] = [rest for word, rest in instructions() if word == instruction]
    words: list[str] = yaml.safe_load(last[last.index("[") :])
    return words


def service(file: str) -> dict[str, Any]:
    [only] = yaml.safe_load(read(file))["services"].values()
    found: dict[str, Any] = only
    return found


def check_arguments(words: list[str]) -> None:
    """Fail unless a command of voxlate has these options."""
    result = CliRunner().invoke(app, [*words, "--help"])
    assert result.exit_code == 0, result.output


def test_the_base_is_pinned_and_the_last_stage_has_the_installation() -> None:
    bases = [rest.split()[0] for word, rest in instructions() if word == "FROM"]
    assert len(bases) == 2
    assert all(re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", base) for base in bases)
    assert ("COPY", "--from=build /opt/voxlate /opt/voxlate") in instructions()


def test_versions_are_those_of_the_constraints() -> None:
    installs = [rest for word, rest in instructions() if word == "RUN" and "pip install" in rest]
    assert len(installs) == 2
    assert all("--constraint constraints.txt" in install for install in installs)
    assert installs[1].endswith('".[serve]"')
    assert ("ARG", "TORCH_INDEX=https://download.pytorch.org/whl/cpu") in instructions()


def test_what_is_copied_exists_and_is_sent_to_the_builder() -> None:
    copied = [
        path for word, rest in instructions() if word == "COPY" and "--from" not in rest for path in rest.split()[:-1]
    ]
    packaged = tomllib.loads(read("pyproject.toml"))["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]
    assert set(packaged) <= set(copied)
    everything, *rules = [line for line in read(".dockerignore").splitlines() if not line.startswith("#")]
    assert everything == "*"
    kept = [rule.removeprefix("!") for rule in rules if rule.startswith("!")]
    for path in copied:
        assert (ROOT / path).exists()
        assert any(fnmatch(path, rule) or path.startswith(f"{rule}/") for rule in kept)


def test_the_container_has_no_root_and_says_whether_it_is_healthy() -> None:
    words = [word for word, _ in instructions()]
    users = [rest for word, rest in instructions() if word == "USER"]
    assert users == ["voxlate"]
    assert words.index("USER") < words.index("ENTRYPOINT")
    assert any("useradd --uid 1000" in rest for word, rest in instructions() if word == "RUN")
    program = arguments("HEALTHCHECK")[-1]
    compile(program, "HEALTHCHECK", "exec")
    assert "http://127.0.0.1:8000/health" in program
    assert not re.search("key|token|secret", read("Dockerfile"), re.IGNORECASE)


def test_the_same_server_is_started_by_docker_and_compose() -> None:
    assert arguments("ENTRYPOINT") == ["voxlate"]
    start = arguments("CMD")
    check_arguments(start)
    compose = service("compose.yaml")
    assert [re.sub(r"\$\{\w+:-(.*)\}", r"\1", word) for word in compose["command"]] == start
    [port] = compose["ports"]
    assert port == "${VOXLATE_ADDRESS:-127.0.0.1:8000}:8000"
    assert ("EXPOSE", "8000") in instructions()
    assert compose["volumes"] == ["models:/models"]
    assert ("VOLUME", "/models") in instructions()
    assert any("HF_HOME=/models/" in rest for word, rest in instructions() if word == "ENV")
    assert "models" in yaml.safe_load(read("compose.yaml"))["volumes"]
    assert compose["cap_drop"] == ["ALL"]
    serve_help = " ".join(CliRunner().invoke(app, ["serve", "--help"]).stdout.split())
    [grace] = re.findall(r"--grace-seconds .*?\[default: ([\d.]+);", serve_help)
    assert int(compose["stop_grace_period"].removesuffix("s")) > float(grace)


def test_the_gpu_has_another_image_of_the_same_file() -> None:
    gpu = service("compose.gpu.yaml")
    assert gpu["image"] != service("compose.yaml")["image"]
    assert set(gpu["build"]["args"]) == {"TORCH_INDEX"}
    [device] = gpu["deploy"]["resources"]["reservations"]["devices"]
    assert device["capabilities"] == ["gpu"]


def test_the_page_has_the_variables_of_compose() -> None:
    names = set(re.findall(r"\$\{(\w+)", read("compose.yaml"))) | set(service("compose.yaml")["environment"])
    assert set(re.findall(r"^\| `(\w+)`", read(PAGE), re.MULTILINE)) == names


@pytest.mark.parametrize("command", DOCKER)
def test_the_pages_commands_name_what_exists(command: str) -> None:
    words = shlex.split(command.partition(" > ")[0])
    images = {service(file)["image"] for file in ("compose.yaml", "compose.gpu.yaml")}
    if words[1] == "compose":
        files = [words[index + 1] for index, word in enumerate(words) if word == "-f"]
        assert all((ROOT / file).exists() for file in files)
    elif words[1] == "build":
        [argument] = [words[index + 1] for index, word in enumerate(words) if word == "--build-arg"]
        assert argument.partition("=")[2] == service("compose.gpu.yaml")["build"]["args"]["TORCH_INDEX"]
        assert {words[words.index("--tag") + 1]} <= images
    else:
        assert words[1] == "run"
        image = next(index for index, word in enumerate(words) if word in images)
        mounted = {words[index + 1] for index, word in enumerate(words[:image]) if word == "--volume"}
        local = [mount.partition(":")[0] for mount in mounted if mount.startswith(".")]
        assert set(local) <= {".", "./my-model"}
        check_arguments(words[image + 1 :] or arguments("CMD"))


def test_the_command_of_compose_is_first_on_the_page() -> None:
    assert DOCKER[0] == "docker compose up --detach"
    assert f"`{arguments('CMD')[-1]}`" in read(PAGE)
