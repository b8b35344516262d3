"""``voxlate translate --output-dir``: results in files, and which of them are already done."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from translate_command import assert_refused, messages, result_paths, translate
from voxlate import Translator
from voxlate.decoding.journal import settings_digest
from voxlate.decoding.results import Candidate, Segment, Translation


def test_several_formats_are_written_side_by_side(tiny_model: Path, clips: Path, tmp_path: Path) -> None:
    arguments = (clips, "--model", tiny_model, "--to", "de", "--format", "txt,srt", "--format", "json")
    result = translate(*arguments, "--output-dir", tmp_path)
    assert (result.exit_code, result.stdout) == (0, "")
    assert result_paths(tmp_path) == sorted(
        f"{n}.wav.de.{suffix}" for n in range(3) for suffix in ("txt", "srt", "json")
    )
    assert messages(result).endswith(f"3 translated, 0 failed; wrote 9 files in {tmp_path}\n")


def test_each_language_has_its_own_files(tiny_model: Path, clips: Path, tmp_path: Path) -> None:
    for language in ("de", "fr"):
        assert translate(clips, "--model", tiny_model, "--to", language, "--output-dir", tmp_path).exit_code == 0
    assert len(list(tmp_path.rglob("*.txt"))) == 6


def test_existing_results_are_skipped(tiny_model: Path, clips: Path, tmp_path: Path) -> None:
    arguments = (clips, "--model", tiny_model, "--to", "de", "--output-dir", tmp_path)
    assert "3 translated" in translate(*arguments).stderr
    first, *others = sorted(tmp_path.rglob("*.txt"))
    first.write_text("mine\n")
    others[0].unlink()
    again = translate(*arguments)
    assert again.exit_code == 0
    assert "1 translated, 0 failed, 2 already done (--overwrite redoes them)" in again.stderr
    assert first.read_text() == "mine\n"
    assert "3 translated, 0 failed; wrote 3 files" in translate(*arguments, "--overwrite").stderr
    assert first.read_text() != "mine\n"


def test_no_model_is_loaded_if_everything_is_done(
    tiny_model: Path, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = (clips, "--to", "de", "--output-dir", tmp_path)
    assert translate(*arguments, "--model", tiny_model).exit_code == 0
    monkeypatch.delattr("voxlate.decoding.translator.Translator")
    assert translate(*arguments, "--model", tiny_model).exit_code == 0
    assert_refused("model no/such-model is not on this machine", *arguments, "--model", "no/such-model")


@pytest.mark.parametrize(
    "to", [["--to", "de", "--to", "French"], ["--to", "German,fra"], ["--to", "de,fr", "--to", "de"]]
)
def test_several_languages_are_translated_in_one_pass(
    tiny_model: Path, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, to: list[str]
) -> None:
    asked: list[Any] = []

    def stream(translator: Translator, inputs: Any, *, to: Any, **options: Any) -> Iterator[Any]:
        asked.extend(to)
        for index, _ in enumerate(inputs):
            for language in to[index]:
                yield index, Translation("", 1.0, language, (Segment(0.0, 1.0, (Candidate(language, 0.0),)),))

    monkeypatch.setattr(Translator, "stream", stream)
    result = translate(clips, "--model", tiny_model, *to, "--output-dir", tmp_path)
    assert result.exit_code == 0
    assert asked == [("de", "fr")] * 3
    assert {path.read_text() for path in tmp_path.glob("*.wav.fr.txt")} == {"fr\n"}
    assert result_paths(tmp_path) == sorted(
        f"{number}.wav.{language}.txt" for number in range(3) for language in ("de", "fr")
    )


def test_changed_settings_are_reported(tiny_model: Path, clips: Path, tmp_path: Path) -> None:
    """Settings include options and the contents of weights, but neither batch size nor device."""
    model = tmp_path / "model"
    shutil.copytree(tiny_model, model)
    arguments = (clips / "0.wav", "--to", "de", "--output-dir", tmp_path / "out", "--model")
    assert "1 translated" in translate(*arguments, model).stderr
    for same in (
        (tiny_model,),
        (model, "--batch-size", 2),
        (model, "--format", "txt"),
        (model, "--language-token", "fr=fr_XX"),
    ):
        assert "other settings" not in translate(*arguments, *same).stderr
    for options, name in (
        (("--beam-size", 2), "beam"),
        (("--mbr",), "mbr"),
        (("--dtype", "int8"), "dtype"),
        (("--language-token", "de=fr_XX"), "slot"),
        (("--shortlist",), "shortlist"),
    ):
        result = translate(*arguments, model, *options)
        assert f"note: 1 result was made with other settings ({name}); --overwrite redoes it" in result.stderr
        assert result.exit_code == 0
    (model / "model.safetensors").write_bytes(b"other weights")
    assert "made with other settings (model)" in translate(*arguments, model).stderr


def test_other_results_are_written_if_one_cannot_be(tiny_model: Path, clips: Path, tmp_path: Path) -> None:
    taken = tmp_path / "1.wav.de.txt"
    taken.mkdir(parents=True)
    result = translate(clips, "--model", tiny_model, "--to", "de", "--output-dir", tmp_path)
    assert result.exit_code == 1
    assert f"error: {clips / '1.wav'}: its result cannot be written (Is a directory)" in result.stderr
    assert "2 translated, 1 failed" in result.stderr


def test_unusual_file_names(tiny_model: Path, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = [
        b"-dash.wav",
        b"a b.wav",
        b"bad\xff.wav",
        b"line\nbreak.wav",
        b"m" * 250 + b".wav",
        "ü[red]%s.wav".encode(),
    ]
    Path("in").mkdir()
    for name in names:
        shutil.copy(os.fsencode(clips / "0.wav"), b"in/" + name)
    lines = translate("in", "--model", tiny_model, "--to", "de").stdout.splitlines()
    assert [line.split("\t")[0] for line in lines] == [
        "in/-dash.wav", "in/a b.wav", "in/bad\\xff.wav", "in/line break.wav", f"in/{'m' * 250}.wav", "in/ü[red]%s.wav",
    ]  # fmt: skip
    result = translate("in", "--model", tiny_model, "--to", "de", "--format", "json", "--output-dir", "out")
    assert "6 translated, 0 failed" in result.stderr
    written = sorted(os.fsencode(name) for name in result_paths(Path("out")))
    [shortened] = [name for name in written if len(name) > 200]
    assert re.fullmatch(rb"in/m{222}~[0-9a-f]{8}\.wav\.de\.json", shortened)
    assert sorted({*written} - {shortened}) == sorted(b"in/" + name + b".de.json" for name in names if len(name) < 250)
    assert json.loads(Path(os.fsdecode(b"out/in/bad\xff.wav.de.json")).read_text())["audio"] == "in/bad\\xff.wav"


def test_an_interrupted_run_is_completed_by_a_rerun(probe: Path, tmp_path: Path) -> None:
    """Ctrl-C leaves only complete files; the next run writes the others."""
    audio, out = tmp_path / "audio", tmp_path / "out"
    audio.mkdir()
    clip = (probe / "clips" / "fr-en_00.flac").read_bytes()
    for number in range(100):
        (audio / f"{number:03}.flac").write_bytes(clip)
    command = [sys.executable, "-m", "voxlate", "translate", "audio", "--model", str(probe), "--to", "en"]
    command += ["--output-dir", "out", "--batch-size", "1"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not any(out.rglob("*.txt")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted: " in stderr
    assert "Traceback" not in stderr
    before = result_paths(out)
    assert 0 < len(before) < 100
    [left] = re.findall(r"rerun the same command to process the remaining (\d+) inputs", stderr)
    assert int(left) in (
        100 - len(before),
        101 - len(before),
    )  # the interruption may come after writing and before counting

    done = subprocess.run(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, check=True, timeout=120)
    assert f"{100 - len(before)} translated, 0 failed, {len(before)} already done" in done.stderr
    after = {name: (out / name).read_text() for name in result_paths(out)}
    assert after == {f"audio/{number:03}.flac.en.txt": "I would like coffee and bread.\n" for number in range(100)}


def test_journals_of_earlier_versions_are_recognized(tiny_model: Path, clips: Path, tmp_path: Path) -> None:
    """Renamed options keep their names in the journal, so that the digest of unchanged settings does not change."""
    assert translate(clips / "0.wav", "--model", tiny_model, "--to", "de", "--output-dir", tmp_path).exit_code == 0
    lines = [json.loads(line) for line in (tmp_path / ".voxlate.jsonl").read_text().splitlines()]
    assert [sorted(line) for line in lines] == [
        ["input", "place"],
        ["settings", "values"],
        ["empty", "formats", "input", "language", "place", "settings", "sha256", "stamp", "warnings"],
    ]
    assert settings_digest(lines[1]["values"]) == lines[1]["settings"]
    lines[1]["values"]["model"] = "f2b305c65a3dfdc4"
    assert settings_digest(lines[1]["values"]) == "31d2fa32bd2e9042"
    assert lines[1]["values"] == {
        "command": "translate",
        "model": "f2b305c65a3dfdc4",
        "device": "auto",
        "dtype": "auto",
        "beam": 5,
        "length_penalty": 1.0,
        "max_length": 200,
        "early_stopping": True,
        "n_best": 1,
        "max_repeats": 4,
    }
