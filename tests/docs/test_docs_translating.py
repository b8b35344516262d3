"""The commands of docs/translating.md run word for word with the bundled demo model and clips."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from documentation import commands, run
from paths import DEMO
from voxlate.manifest.reading import read_manifest
from voxlate.manifest.utterance import Utterance
from voxlate.manifest.writing import write_manifest

PAGE = "docs/translating.md"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(DEMO / "model", "my-model")
    return tmp_path


@pytest.fixture
def clips() -> list[Utterance]:
    return list(read_manifest(DEMO / "clips/clips.jsonl"))


def test_every_command_belongs_to_a_test_of_this_module() -> None:
    found = commands(PAGE)
    assert len(found) == 9
    assert all(re.search("shortlist|trim-to|transcribe|identif|bilingual", command) for command in found)


def test_a_shortlist_is_prepared_and_used(folder: Path, clips: list[Utterance]) -> None:
    """The vocabulary of one manifest's sentences is enough to translate one of its clips."""
    [row, *_] = [row for row in clips if row.target_language == "de"]
    shutil.copy(str(row.audio), "talk.mp3")
    write_manifest(folder / "data/en-de/train.jsonl", [row])
    (folder / "news.de.txt").write_text("Guten Tag.\n", encoding="utf-8")
    prepare, translate, convert = (line for line in commands(PAGE) if re.search("shortlist|trim-to", line))
    assert re.match(r"my-model/shortlists/de.json: \d+ of 1,7\d\d ids, from 2 lines", run(prepare).stdout)
    assert run(translate).stdout.strip() == row.target_text
    assert "4.8 million" in run(convert).stdout
    trimmed = translate.replace("my-model --shortlist", "my-german-model")
    assert run(trimmed).stdout.strip() == row.target_text


def test_bilingual_subtitles_are_written(folder: Path) -> None:
    shutil.copy(DEMO / "clips/en-63.flac", "talk.mp3")
    [command] = (line for line in commands(PAGE) if "bilingual" in line)
    assert run(command).exit_code == 0
    for suffix in ("srt", "ass"):
        assert "for the brakes" in (folder / f"subtitles/talk.mp3.de.{suffix}").read_text(encoding="utf-8")


def test_a_transcript_has_words(folder: Path) -> None:
    shutil.copy(DEMO / "clips/en-63.flac", "talk.mp3")
    [command] = commands(PAGE, "voxlate transcribe ")
    assert len(json.loads(run(command).stdout)["segments"][0]["words"]) > 2


def test_an_identifier_is_trained_and_used(folder: Path, clips: list[Utterance]) -> None:
    for direction, split in (("fr-en", "train"), ("en-de", "train"), ("fr-en", "test")):
        rows = [row for row in clips if row.source_language == direction[:2]]
        write_manifest(folder / "data" / direction / f"{split}.jsonl", rows)
    [french, *_] = [str(row.audio) for row in clips if row.source_language == "fr"]
    shutil.copy(french, "talk.mp3")
    (folder / "recordings").mkdir()
    shutil.copy(french, "recordings/a.flac")
    results: Iterator[Any] = map(run, (line for line in commands(PAGE) if "identif" in line))
    assert "2 languages" in next(results).stdout
    assert next(results).stdout.split("\t")[:2] == ["talk.mp3", "fr"]
    assert "100.0%" in next(results).stdout
    translated = next(results)
    assert "French 1" in translated.stderr
    assert translated.stdout.strip()


def test_a_copied_model_works_offline(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(DEMO / "clips/fr-25.flac", "talk.mp3")
    [command] = commands("docs/offline.md", "voxlate ")
    Path("my-model").rename(command.split()[-1])
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert run(command).stdout == "I would like to visit the cathedral this afternoon.\n"
