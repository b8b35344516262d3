"""Identify a model by the contents of its files, without reading gigabytes each time."""

import json
import shutil
from pathlib import Path

import pytest

from voxlate.checkpoints import model_identity as identity
from voxlate.checkpoints.model_identity import contents_sha256, model_identity
from voxlate.files import file_sha256


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("config.json", "model.safetensors", "sentencepiece.bpe.model", "languages.json"):
        (folder / name).write_text(f"this is {name}")
    return folder


def test_the_identity_depends_on_contents_alone(model: Path, tmp_path: Path) -> None:
    known = model_identity(model)
    copy = tmp_path / "other name"
    shutil.copytree(model, copy)
    assert model_identity(copy) == known
    for name in ("README.md", "scores.json", "pytorch_model.bin"):  # no result depends on these
        (copy / name).write_text("more")
    (copy / "shortlists").mkdir()
    (copy / "shortlists/de.json").write_text("{}")
    assert model_identity(copy) == known
    for path in model.iterdir():
        before = path.read_text()
        path.write_text("other")
        assert model_identity(model) != known
        path.write_text(before)
    assert model_identity(model) == known


def test_digests_of_large_files_are_cached(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(identity, "LARGE_FILE_BYTES", 22)
    read: list[str] = []

    def recorded(path: Path) -> str:
        read.append(path.name)
        return file_sha256(path)

    monkeypatch.setattr(identity, "file_sha256", recorded)
    weights = model / "model.safetensors"
    first = contents_sha256(weights)
    assert (first, contents_sha256(weights)) == (file_sha256(weights), first)
    assert read == ["model.safetensors"]
    weights.write_text("THIS IS MODEL.SAFETENSORS")
    assert contents_sha256(weights) == file_sha256(weights) != first
    assert len(read) == 2
    cache = tmp_path / "cache/voxlate/digests.json"
    for damaged in ("", "[", "[]", json.dumps({str(weights.resolve()): 3}), json.dumps({str(weights.resolve()): []})):
        cache.write_text(damaged)
        assert contents_sha256(weights) == file_sha256(weights)


def test_names_in_the_hub_cache_are_digests(model: Path) -> None:
    blobs = model / "blobs"
    blobs.mkdir()
    digest = "0123456789abcdef" * 4
    (blobs / digest).write_text("not read")
    (model / "model.safetensors").unlink()
    (model / "model.safetensors").symlink_to(blobs / digest)
    assert contents_sha256(model / "model.safetensors") == digest


def test_without_a_home_folder_nothing_is_cached(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null/nowhere")
    monkeypatch.setattr(identity, "LARGE_FILE_BYTES", 0)
    assert contents_sha256(model / "config.json") == file_sha256(model / "config.json")
