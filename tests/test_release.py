"""What is released: the wheel has what the commands need, versions agree, and workflows run what the Makefile does."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
import yaml
from packaging.specifiers import SpecifierSet

import voxlate
from paths import ROOT

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def jobs(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / f".github/workflows/{name}.yml").read_text())["jobs"]
    return found


def commands(name: str) -> list[str]:
    """Return the commands of a workflow, once for each value of its matrix."""
    found = []
    for job in jobs(name).values():
        matrix = job.get("strategy", {}).get("matrix", {"": [""]})
        [(key, values)] = matrix.items()
        for step in job.get("steps", []):
            if "run" in step:
                found += [step["run"].replace(f"${{{{ matrix.{key} }}}}", value) for value in values]
    return found


def test_the_workflows_run_the_checks_of_the_project() -> None:
    in_ci = re.findall(r"^(make .*)$", (ROOT / ".ci/run").read_text(), re.MULTILINE)
    assert {*in_ci} == {*commands("tests"), *commands("docs")}
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    made = [line.split()[1:] for path in WORKFLOWS for line in commands(path.stem) if line.startswith("make ")]
    assert {target for line in made for target in line} <= targets


def test_workflows_are_well_formed_and_have_no_more_permissions_than_they_need() -> None:
    assert [path.stem for path in WORKFLOWS] == ["docs", "release", "tests"]
    for path in WORKFLOWS:
        workflow = yaml.safe_load(path.read_text())
        assert workflow["permissions"] == {"contents": "read"}
        for job in workflow["jobs"].values():
            assert "uses" in job or job["runs-on"] == "ubuntu-latest"
            needs = job.get("needs", [])
            assert {*([needs] if isinstance(needs, str) else needs)} <= {*workflow["jobs"]}
    release = jobs("release")
    assert release["publish"]["permissions"] == {"id-token": "write"}
    assert release["publish"]["needs"] == ["tests", "install"]
    assert all("password" not in str(step) for step in release["publish"]["steps"])


def test_every_python_that_is_accepted_is_tested() -> None:
    for name, job in (("tests", "test"), ("release", "install")):
        pythons = jobs(name)[job]["strategy"]["matrix"]["python"]
        accepted = SpecifierSet(PROJECT["requires-python"])
        assert pythons == [f"3.{minor}" for minor in range(8, 15) if f"3.{minor}" in accepted]


def test_versions_agree() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert str(citation["version"]) == voxlate.__version__
    assert f"version = {{{voxlate.__version__}}}" in (ROOT / "docs/licenses.md").read_text()


@pytest.mark.slow
def test_the_wheel_has_what_the_commands_need(tmp_path: Path) -> None:
    pytest.importorskip("hatchling")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    [wheel] = tmp_path.glob("*.whl")
    assert wheel.name == f"voxlate-{voxlate.__version__}-py3-none-any.whl"
    contents = ZipFile(wheel)
    names = {*contents.namelist()}
    for source, folder in (("ast/voxlate", "voxlate"), ("eval/voxlate_eval", "voxlate_eval")):
        tracked = subprocess.run(
            ["git", "-C", str(ROOT / source), "ls-files"], check=True, capture_output=True, text=True
        ).stdout.split()
        assert tracked
        assert {f"{folder}/{name}" for name in tracked} <= names
    recipes = [*(ROOT / "recipes").glob("*/*.yaml"), *(ROOT / "recipes/demo").glob("[cm][lo]*/*")]
    assert {f"voxlate/{path.relative_to(ROOT).as_posix()}" for path in recipes if path.is_file()} <= names
    metadata = contents.read(f"voxlate-{voxlate.__version__}.dist-info/METADATA").decode()
    assert f"Requires-Python: {PROJECT['requires-python']}" in metadata
    assert wheel.stat().st_size < 30 << 20
    assert not any(name.startswith(("tests/", "docs/")) or "__pycache__" in name for name in names)
