import os
from pathlib import Path

import pytest

from voxlate.decoding.inputs import find_inputs


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def touch(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def found(*arguments: str) -> list[str]:
    return [item.name for item in find_inputs(arguments).items]


def failed(*arguments: str) -> list[str]:
    return [str(error) for error in find_inputs(arguments).failed]


def test_named_files_are_inputs_whatever_their_suffix() -> None:
    touch("b.wav", "a.odd")
    assert found("b.wav", "a.odd", "missing.wav", "b.wav") == ["b.wav", "a.odd", "missing.wav"]


def test_folders_are_searched_for_media_files() -> None:
    touch("in/b.MP3", "in/a.wav", "in/deep/er/c.opus", "in/notes.txt", "in/.hidden.wav", "in/.git/d.wav")
    inputs = find_inputs(["in"])
    assert [item.name for item in inputs.items] == ["in/a.wav", "in/b.MP3", "in/deep/er/c.opus"]
    assert [path.name for path in inputs.skipped] == [".hidden.wav", "notes.txt"]
    assert not inputs.failed


def test_folders_without_audio_are_errors() -> None:
    touch("in/a.wav", "text/notes.txt")
    Path("in/x.wav").mkdir()
    Path("empty").mkdir()
    assert failed("in") == ["in/x.wav: is a directory, not an audio file"]
    [message] = failed("empty")
    assert message.startswith("empty: no audio files in this folder; known suffixes: .wav")
    assert failed("text")[0].startswith("text: no audio files")


def test_globs() -> None:
    touch("in/a.wav", "in/b.wav", "in/c.mp3", "in/deep/d.wav", "odd[1].wav")
    assert found("in/*.wav") == ["in/a.wav", "in/b.wav"]
    assert found("in/**/*.wav") == ["in/a.wav", "in/b.wav", "in/deep/d.wav"]
    assert found("i?") == ["in/a.wav", "in/b.wav", "in/c.mp3", "in/deep/d.wav"]
    assert found("odd[1].wav") == ["odd[1].wav"]
    assert failed("in/*.flac") == ["in/*.flac: no file matches"]


def test_a_file_given_by_several_names_is_one_input() -> None:
    touch("in/a.wav")
    assert found("in/a.wav", "./in/a.wav", "in/../in/a.wav", f"{Path.cwd()}/in/a.wav", "-", "-") == [
        "in/a.wav",
        "stdin",
    ]


def test_pipes_in_folders_are_skipped() -> None:
    touch("in/a.wav")
    os.mkfifo("in/pipe.wav")
    inputs = find_inputs(["in"])
    assert [item.name for item in inputs.items] == ["in/a.wav"]
    assert [path.name for path in inputs.skipped] == ["pipe.wav"]


def test_impossible_names_are_errors() -> None:
    assert failed("http://example.org/a.wav") == [
        "http://example.org/a.wav: URLs are not supported; download the file and give its path"
    ]
    assert found("~nobody.wav", "a" * 300) == ["~nobody.wav", "a" * 300]


def test_links_to_a_parent_folder_are_not_followed() -> None:
    touch("in/a.wav")
    Path("in/loop").symlink_to(Path.cwd() / "in")
    assert found("in") == ["in/a.wav"]


def test_standard_input() -> None:
    assert found("-") == ["stdin"]
