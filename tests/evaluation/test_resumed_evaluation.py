"""``voxlate evaluate`` resumed: after interruptions, with other settings or clips, and with damaged files."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from evaluating import ROWS, lines, record_translated, run, write_test_sets
from voxlate.errors import VoxlateError


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_test_sets(tmp_path_factory.mktemp("data"))


def test_a_resumed_run_translates_only_the_missing_clips(
    tiny_model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tmp_path / "whole"
    run(tiny_model, data, whole, "--directions", "fr-en")
    expected = (whole / "fr-en/hypotheses.jsonl").read_bytes()

    interrupted = tmp_path / "interrupted"
    translated = record_translated(monkeypatch, stop_after=2)
    done = run(tiny_model, data, interrupted, "--directions", "fr-en")
    assert done.exit_code == 130
    assert "interrupted; rerun the same command to resume" in done.stderr
    assert not (interrupted / "fr-en/hypotheses.jsonl").exists()
    part = interrupted / "fr-en/hypotheses.part-00000.jsonl"
    first = [row["id"] for row in lines(part)]
    assert len(first) == 3  # two results, and the clip that could not be read when it was prepared
    with part.open("a") as file:
        file.write('{"id": "half a li')

    translated = record_translated(monkeypatch)
    run(tiny_model, data, interrupted, "--directions", "fr-en")
    assert sorted({*first, *translated}) == [f"fr-en/{number}" for number in range(ROWS)]
    assert {*first} & {*translated} <= {"fr-en/3"}
    assert (interrupted / "fr-en/hypotheses.jsonl").read_bytes() == expected
    assert sorted(path.name for path in (interrupted / "fr-en").iterdir()) == [
        ".lock",
        "hypotheses.jsonl",
        "hypotheses.meta.json",
        "scores.json",
        "sentences.jsonl",
    ]

    translated.clear()
    run(tiny_model, data, interrupted, "--directions", "fr-en")
    assert translated == ["fr-en/3"]  # a clip that failed may have been repaired
    assert (interrupted / "fr-en/hypotheses.jsonl").read_bytes() == expected


def test_hypotheses_of_other_settings_are_not_mixed(tiny_model: Path, data: Path, tmp_path: Path) -> None:
    run(tiny_model, data, tmp_path, "--directions", "fr-en")
    with pytest.raises(
        VoxlateError, match=r"fr-en holds hypotheses made with other settings \(search_length_penalty was 1.0, is 0"
    ):
        run(tiny_model, data, tmp_path, "--directions", "fr-en", "--length-penalty", "0.5")
    left = tmp_path / "fr-en/hypotheses.part-00007.jsonl"  # by an interrupted run
    left.write_text('{"id": "fr-en/0", "text": "of other settings"}\n')
    done = run(tiny_model, data, tmp_path, "--directions", "fr-en", "--length-penalty", "0.5", "--overwrite")
    assert "of other settings" not in (tmp_path / "fr-en/hypotheses.jsonl").read_text()
    assert done.exit_code == 1
    assert json.loads((tmp_path / "fr-en/hypotheses.meta.json").read_text())["search_length_penalty"] == 0.5


def test_changed_clips_are_translated_again(
    tiny_model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Repaired and changed clips are translated again, moved manifests are not."""
    copy, output = tmp_path / "copy", tmp_path / "run"
    shutil.copytree(data / "fr-en", copy / "fr-en")
    run(tiny_model, copy, output)
    before = lines(output / "fr-en/hypotheses.jsonl")
    shutil.copy(copy / "fr-en/0.wav", copy / "fr-en/3.wav")  # repaired
    shutil.copy(copy / "fr-en/0.wav", copy / "fr-en/1.wav")  # changed
    (copy / "fr-en/2.wav").touch()
    shutil.move(copy, moved := tmp_path / "moved")
    translated = record_translated(monkeypatch)
    done = run(tiny_model, moved, output)
    assert sorted(translated) == ["fr-en/1", "fr-en/3"]
    assert "fr-en: translating again 1 clips that failed and 1 whose audio or kind of reference changed" in done.stderr
    after = lines(output / "fr-en/hypotheses.jsonl")
    assert [row["text"] for row in after] == [
        before[0]["text"],
        before[0]["text"],
        before[2]["text"],
        before[0]["text"],
        "",
    ]
    manifest = moved / "fr-en/test.jsonl"
    manifest.write_text("".join(manifest.read_text().splitlines(keepends=True)[1:]))
    with pytest.raises(
        VoxlateError, match=r"fr-en holds hypotheses of 1 clips that .*test.jsonl lacks, first 'fr-en/0'; "
    ):
        run(tiny_model, moved, output)


@pytest.fixture(scope="module")
def whole(tiny_model: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("whole")
    run(tiny_model, data, output, "--directions", "fr-en")
    return output


class TestDamagedState:
    """Damaged files of an earlier run are rebuilt, or reported with advice."""

    def evaluate(self, tiny_model: Path, data: Path, output: Path) -> Any:
        return run(tiny_model, data, output, "--directions", "fr-en")

    def test_damaged_files_are_rebuilt(self, whole: Path, tiny_model: Path, data: Path, tmp_path: Path) -> None:
        output = shutil.copytree(whole, tmp_path / "run")
        folder = output / "fr-en"
        rows = (folder / "hypotheses.jsonl").read_bytes().splitlines(keepends=True)
        damaged = [rows[0], b"\0" * 50 + b"\n", b'{"id": 5}\n', b"[]\n", b"\xff\n", b"[" * 5000 + b"\n", rows[1][:-9]]
        (folder / "hypotheses.jsonl").write_bytes(b"".join(damaged))
        (folder / "hypotheses.part-00003.jsonl").write_bytes(b'"x"\n{"id": NaN}\n')
        for name in ("scores.json", "sentences.jsonl"):
            (folder / name).write_bytes(b"")
        self.evaluate(tiny_model, data, output)
        for name in ("hypotheses.jsonl", "sentences.jsonl"):
            assert (folder / name).read_bytes() == (whole / "fr-en" / name).read_bytes()
        assert json.loads((folder / "scores.json").read_text())["n"] == ROWS
        assert not [*folder.glob("hypotheses.part-*")]

    @pytest.mark.parametrize("meta", [b"", b"{", b"[]", b"\0\0", b"\xff\xfe", None])
    def test_a_missing_recipe_is_an_error(
        self, whole: Path, tiny_model: Path, data: Path, tmp_path: Path, meta: bytes | None
    ) -> None:
        output = shutil.copytree(whole, tmp_path / "run")
        path = output / "fr-en/hypotheses.meta.json"
        path.unlink()
        if meta is not None:
            path.write_bytes(meta)
        with pytest.raises(
            VoxlateError, match=r"hypotheses.meta.json.*next to it: use another --output, or --overwrite"
        ):
            self.evaluate(tiny_model, data, output)
        (output / "fr-en/hypotheses.jsonl").write_bytes(b"")  # then nothing is lost
        if meta == b"":
            self.evaluate(tiny_model, data, output)
            assert json.loads(path.read_text())["direction"] == "fr-en"

    @pytest.mark.parametrize("name", ["hypotheses.meta.json", "hypotheses.jsonl"])
    def test_a_folder_in_place_of_a_file_is_an_error(
        self, tiny_model: Path, data: Path, tmp_path: Path, name: str
    ) -> None:
        (tmp_path / "fr-en" / name).mkdir(parents=True)
        with pytest.raises(VoxlateError, match=rf"fr-en/{name}: is a folder, expected a file; move it away$"):
            self.evaluate(tiny_model, data, tmp_path)
