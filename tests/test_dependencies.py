"""The dependency ranges of pyproject.toml: both ends are versions that the tests run with."""

import tomllib
from collections.abc import Iterable

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from paths import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def ranges(*extras: str) -> dict[str, SpecifierSet]:
    """Return the versions that the project accepts of each dependency, with those of some extras."""
    listed = [*PROJECT["dependencies"], *(line for extra in extras for line in PROJECT["optional-dependencies"][extra])]
    found: dict[str, SpecifierSet] = {}
    for requirement in map(Requirement, listed):
        name = requirement.name.lower()
        found[name] = found.get(name, SpecifierSet()) & requirement.specifier
    return found


def pins(name: str) -> dict[str, Version]:
    """Return the versions that a file of constraints pins."""
    pinned = {}
    for line in (ROOT / name).read_text().splitlines():
        if line and not line.startswith("#"):
            requirement = Requirement(line)
            (specifier,) = requirement.specifier
            assert specifier.operator == "==", line
            pinned[requirement.name.lower()] = Version(specifier.version)
    return pinned


def lower_bound(specifiers: Iterable[object]) -> Version:
    (version,) = {Version(str(one).removeprefix(">=")) for one in specifiers if str(one).startswith(">=")}
    return version


def test_the_oldest_constraints_are_the_lower_bounds() -> None:
    accepted = ranges("ja", "lora", "ray", "serve", "spoken")
    tools = {name: versions for name, versions in ranges("test").items() if name in {"pytest", "pytest-xdist"}}
    assert pins("constraints-oldest.txt") == {
        name: lower_bound(versions) for name, versions in {**accepted, **tools}.items()
    }


def test_constraints_lie_within_the_bounds() -> None:
    accepted = ranges("docs", "ja", "lora", "ray", "serve", "spoken", "test")
    outside = {
        name: str(pin) for name, pin in pins("constraints.txt").items() if pin not in accepted.get(name, SpecifierSet())
    }
    assert outside == {}


@pytest.mark.parametrize("library", ["sacrebleu", "torch", "transformers"])
def test_libraries_with_private_names_in_use_have_an_upper_bound(library: str) -> None:
    assert any(one.operator == "<" for one in ranges()[library])
