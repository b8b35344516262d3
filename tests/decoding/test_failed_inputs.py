"""Inputs that cannot be translated, interruptions, and wrong commands."""

import json
import os
import shutil
import subprocess
import sys
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub import snapshot_download

from media import sine, truncate, video_without_audio, write_media
from translate_command import assert_refused, result_paths, translate
from voxlate import Translator
from voxlate.decoding.results import Translation


@pytest.fixture
def unreadable_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make opening secret.wav fail even for root, who may read every file."""
    open_file = Path.open

    def guarded(path: Path, *arguments: Any, **options: Any) -> Any:
        if path.name == "secret.wav":
            raise PermissionError(13, "Permission denied", str(path))
        return open_file(path, *arguments, **options)

    if os.geteuid() == 0:
        monkeypatch.setattr(Path, "open", guarded)


BAD = {
    "empty.wav": "empty file (0 bytes)",
    "text.mp3": "not audio or video that FFmpeg's libraries can read",
    "truncated.flac": "truncated: ",
    "directory.wav": "is a directory, not an audio file",
    "secret.wav": "no permission to read it",
    "silent_film.mp4": "no audio stream (its streams: 1 video)",
    "nan.wav": "contains NaN or infinite samples",
    "no_samples.wav": "its audio stream contains no samples",
    "no_index.m4a": "MP4 file without a readable index ('moov')",
    "gone.ogg": "no such file",
}


def write_good_and_bad(folder: Path) -> None:
    for number in range(10):
        write_media(folder / f"good{number}.wav", sine(200 + 300 * number, 0.5 + number / 10))
    (folder / "empty.wav").touch()
    (folder / "text.mp3").write_text("this is no sound\n" * 100)
    truncate(write_media(folder / "truncated.flac", sine(300, 3.0)), 0.5)
    (folder / "directory.wav").mkdir()
    write_media(folder / "secret.wav", sine(300, 1.0)).chmod(0)
    video_without_audio(folder / "silent_film.mp4")
    write_media(folder / "nan.wav", np.full(8_000, np.nan, np.float32), codec="pcm_f32le")
    with wave.open(str(folder / "no_samples.wav"), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", "not compressed"))
    truncate(write_media(folder / "no_index.m4a", sine(300, 1.0)), 0.6)
    (folder / "gone.ogg").symlink_to(folder / "nowhere.ogg")


@pytest.mark.usefixtures("unreadable_file")
def test_ten_good_files_and_ten_bad_ones(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    audio, out = Path("audio"), Path("out")
    audio.mkdir()
    write_good_and_bad(audio)
    arguments = (audio, "--model", tiny_model, "--to", "de", "--output-dir", out)

    first = translate(*arguments)
    assert first.exit_code == 1
    for name, reason in BAD.items():
        assert f"audio/{name}: {reason}" in first.stderr
    assert "10 translated, 1 in part, 9 failed" in first.stderr
    # The part of the truncated file that can be decoded is translated.
    names = {*(f"good{number}.wav" for number in range(10)), "truncated.flac"}
    written = {name: (out / name).stat().st_mtime_ns for name in result_paths(out)}
    assert set(written) == {f"audio/{name}.de.txt" for name in names}

    second = translate(*arguments)
    assert second.exit_code == 1
    assert "0 translated, 9 failed, 11 already done" in second.stderr
    assert "audio/truncated.flac: truncated: " in second.stderr  # a rerun would not complete it
    assert {name: (out / name).stat().st_mtime_ns for name in result_paths(out)} == written


def test_other_inputs_are_translated_if_one_is_missing(tiny_model: Path, clips: Path) -> None:
    result = translate(clips / "0.wav", clips / "nowhere.wav", clips / "1.wav", "--model", tiny_model, "--to", "de")
    assert result.exit_code == 1
    assert f"error: {clips / 'nowhere.wav'}: no such file" in result.stderr
    assert "2 translated, 1 failed" in result.stderr
    assert len(result.stdout.splitlines()) == 2


def test_an_interruption_prints_finished_results(
    tiny_model: Path, clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stream(translator: Translator, *arguments: Any, **options: Any) -> Iterator[Any]:
        yield 2, Translation("", 1.0, "de", ())
        yield 1, Translation("", 1.0, "de", ())
        raise KeyboardInterrupt

    monkeypatch.setattr(Translator, "stream", stream)
    result = translate(clips, "--model", tiny_model, "--to", "de")
    assert result.exit_code == 130
    assert result.stdout == f"{clips / '1.wav'}\t\n{clips / '2.wav'}\t\n"
    assert "interrupted: 2 translated, 0 failed; with --output-dir, finished inputs are kept" in result.stderr


def test_wrong_commands(tiny_model: Path, clips: Path, tmp_path: Path) -> None:
    model = ("--model", tiny_model)
    assert_refused("unknown language 'Klingon'", clips, *model, "--to", "Klingon")
    assert_refused(
        "unknown format 'doc', 'pdf'; expected txt, tsv, json, srt, vtt", clips, "--to", "de", "--format", "doc,txt,pdf"
    )
    assert_refused("several formats (txt, srt) need --output-dir", clips, *model, "--to", "de", "--format", "txt,srt")
    assert_refused("srt of several inputs needs --output-dir", clips, *model, "--to", "de", "--format", "srt")
    table = ("--format", "tsv")
    assert_refused(
        "--n-best is 3, expected 1 to the beam size, 2",
        clips,
        *model,
        *table,
        "--to",
        "de",
        "--beam-size",
        2,
        "--n-best",
        3,
    )
    for device in ("tpu9", "meta"):
        assert_refused(
            f"device '{device}' is not usable here; expected one of auto, cpu",
            clips,
            *model,
            "--to",
            "de",
            "--device",
            device,
        )
    assert_refused("an input or --model is an empty string; is a shell variable unset?", "", *model, "--to", "de")
    assert_refused("is an empty string", clips, "--model", "", "--to", "de")
    for options, needed in (
        (("--n-best", 2), "--n-best 2 needs --format json or tsv; txt"),
        (
            ("--word-timestamps", "--format", "txt,tsv"),
            "--word-timestamps needs --format json, srt, vtt or ass; txt, tsv",
        ),
        (("--bilingual",), "--bilingual needs --format json, srt, vtt or ass; txt"),
    ):
        assert_refused(f"{needed} cannot hold it", clips, *model, "--to", "de", *options)
    assert_refused(
        "unknown dtype 'int3'; expected one of auto, float32", clips, *model, "--to", "de", "--dtype", "int3"
    )
    for option, value, expected in (
        ("--batch-size", 0, "1 or more"),
        ("--beam-size", 0, "1 (greedy) to 1000"),
        ("--segmentation", 0.5, "auto, none, or 1 to 3600 seconds"),
        ("--vad-threshold", 1.5, "a probability between 0 and 1, such as 0.5"),
        ("--min-pause", 11.0, "0 to 10 seconds"),
    ):
        assert_refused(f"{option} is {value}, expected {expected}", clips, *model, "--to", "de", option, value)
    assert_refused("does not translate into Catalan (ca)", clips, *model, "--to", "ca")
    assert_refused("--to 'de,': an empty name; expected languages", clips, *model, "--to", "de,")
    assert_refused(
        "srt of several languages needs --output-dir", clips / "0.wav", *model, "--to", "de,fr", "--format", "srt"
    )
    assert_refused(
        "--language-token lv: expected LANGUAGE=TOKEN", clips, *model, "--to", "lv", "--language-token", "lv"
    )
    taken = tmp_path / "taken"
    taken.touch()
    assert_refused(f"--output-dir {taken}: is a file", clips, *model, "--to", "de", "--output-dir", taken)
    assert translate(clips, *model).exit_code == 2  # --to is missing


def shell(rest: str, probe: Path) -> "subprocess.CompletedProcess[str]":
    """Run ``voxlate translate`` in bash, with redirections; CLIP stands for a clip."""
    rest = rest.replace("CLIP", str(probe / "clips" / "fr-en_00.flac"))
    line = f"{sys.executable} -m voxlate translate --model {probe} --to en {rest}"
    return subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize(
    ("command", "code", "message"),
    [
        ("CLIP --output-dir /dev/null/x", 2, "--output-dir /dev/null/x: cannot be created (Not a directory)"),
        ("CLIP > /dev/full", 1, "results cannot be written (No space left on device: standard output); 0 translated, "),
        ("CLIP >&-", 2, "standard output is closed; open it, or name an --output-dir"),
        ("- <&-", 2, "'-' reads audio from standard input, but that is closed; pipe a file into it"),
    ],
)
def test_outputs_and_inputs_that_cannot_be_opened(probe: Path, command: str, code: int, message: str) -> None:
    result = shell(command, probe)
    assert result.returncode == code
    assert result.stderr.startswith(f"error: {message}")
    assert result.stderr.count("\n") == 1


def test_results_are_utf8_in_every_locale(probe: Path) -> None:
    line = f"{sys.executable} -m voxlate translate --model {probe} --to fr {probe}/clips/en-fr_15.flac"
    result = subprocess.run(
        ["bash", "-c", f"PYTHONIOENCODING=ascii {line}"], capture_output=True, check=True, timeout=60
    )
    assert result.stdout.decode() == "On se voit samedi 30 décembre.\n"


def test_an_impossible_file_name_is_reported(tiny_model: Path, tmp_path: Path) -> None:
    result = translate("a" * 300, "--model", tiny_model, "--to", "de", "--output-dir", tmp_path)
    assert result.exit_code == 1
    assert "cannot be opened: [Errno 36] File name too long" in result.stderr


def test_a_closed_pipe_prints_no_error(probe: Path) -> None:
    result = shell(f"{probe}/clips --format json | (exec 0<&-; sleep 5)", probe)
    assert "Traceback" not in result.stderr
    assert "error" not in result.stderr


@pytest.mark.parametrize(
    ("target", "checkpoint"),
    [("de", "facebook/wav2vec2-xls-r-300m-en-to-15"), ("en", "facebook/wav2vec2-xls-r-300m-21-to-en")],
)
def test_a_missing_model_is_reported_offline_with_instructions(
    clips: Path, tmp_path: Path, target: str, checkpoint: str
) -> None:
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "voxlate", "translate", str(clips / "0.wav"), "--to", target]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == (
        f"error: model {checkpoint} is not on this machine and HF_HUB_OFFLINE forbids downloading it; run "
        f"`hf download {checkpoint}` on a machine with network access, copy the folder here, and name it with --model\n"
    )


COMMIT = "0123456789abcdef0123456789abcdef01234567"


def test_a_model_in_the_hub_cache_is_found_offline(
    tiny_model: Path, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = tmp_path / "models--me--tiny"
    shutil.copytree(tiny_model, repository / "snapshots" / COMMIT)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    asked: list[str | None] = []

    def download(repository: str, *, revision: str | None, **options: Any) -> str:
        asked.append(revision)
        return str(snapshot_download(repository, revision=revision, **options))

    monkeypatch.setattr("voxlate.checkpoints.hub.snapshot_download", download)
    for name in ("me/tiny", "me/tiny@main", f"me/tiny@{COMMIT}"):
        result = translate(clips / "0.wav", "--model", name, "--to", "de", "--format", "json")
        assert json.loads(result.stdout)["recipe"]["revision"] == COMMIT
    assert asked == [None, "main", COMMIT]  # each once, although several places look for it
    (repository / "snapshots" / COMMIT / "model.safetensors").unlink()
    assert_refused("me/tiny is incomplete on this machine", clips / "0.wav", "--model", "me/tiny", "--to", "de")
