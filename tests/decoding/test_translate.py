"""The main job: audio in, text out, through the command line and from Python."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub import snapshot_download
from typer.testing import CliRunner

from media import film, sine, truncate, video_without_audio, write_media
from tiny import transformers_model, write_model
from voxlate import AudioError, SearchOptions, Translator, VoxlateError
from voxlate.audio.loading import SAMPLE_RATE_HZ
from voxlate.cli import app
from voxlate.decoding.results import Candidate, Segment, Translation


def cli(*arguments: object, stdin: bytes | None = None) -> Any:
    """Run ``voxlate translate`` in this process."""
    return CliRunner().invoke(app, ["translate", *map(str, arguments)], input=stdin)


def results(folder: Path) -> list[str]:
    """Return the paths of all files of a folder but the journal and its lock."""
    paths = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".voxlate."))
    return sorted(str(path.relative_to(folder)) for path in paths)


def said(result: Any) -> str:
    """Return standard error but for notes that a random model's translations are as long as they may be."""
    lines = result.stderr.splitlines(keepends=True)
    return "".join(line for line in lines if not line.endswith("may be cut off; see --max-length\n"))


def fails(message: str, *arguments: object) -> None:
    """Check that the command is refused with one line."""
    result = cli(*arguments)
    assert isinstance(result.exception, VoxlateError)
    assert message in str(result.exception)
    assert "\n" not in str(result.exception)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three short clips, whose translations by a random model differ."""
    folder = tmp_path_factory.mktemp("clips")
    for number, pitch in enumerate((100, 900, 3000)):
        write_media(folder / f"{number}.wav", sine(pitch, 1.0 + number / 3))
    return folder


# --- real speech, a trained model, transformers' answers -------------------------------------------------------------


def answers(probe: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (probe / "clips.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("batch_size", [1, 16])
@pytest.mark.parametrize(("beam", "key"), [(1, "transformers_greedy"), (5, "transformers_beam5")])
@pytest.mark.parametrize("language", ["en", "de", "es", "fr"])
def test_what_transformers_said_clip_by_clip(probe: Path, language: str, beam: int, key: str, batch_size: int) -> None:
    result = cli(probe / "clips", "--model", probe, "--to", language, "--beam", beam, "--batch-size", batch_size)
    assert result.exit_code == 0
    found = dict(line.split("\t") for line in result.stdout.splitlines())
    assert len(found) == 30
    expected = {
        str(probe / row["audio"]): row[key]["text"] for row in answers(probe) if row["target_language"] == language
    }
    assert len(expected) >= 5
    assert {path: found[path] for path in expected} == expected


def test_python_gives_the_same(probe: Path) -> None:
    translator = Translator(probe)
    rows = answers(probe)
    paths, targets = [probe / row["audio"] for row in rows], [row["target_language"] for row in rows]
    found = dict(translator.stream(paths, to=targets, options=SearchOptions(max_length=48)))
    texts = [result.text for _, result in sorted(found.items()) if not isinstance(result, AudioError)]
    assert texts == [row["transformers_beam5"]["text"] for row in rows]
    assert translator.translate(paths[0], to=targets[0]).text == texts[0]


# --- results on standard output --------------------------------------------------------------------------------------


def test_one_input_gives_its_text_alone(tiny_model: Path, clips: Path) -> None:
    result = cli(clips / "0.wav", "--model", tiny_model, "--to", "de")
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) == 1
    assert "\t" not in result.stdout
    assert said(result) == ""


def test_several_inputs_come_in_their_order(tiny_model: Path, clips: Path) -> None:
    names = [str(clips / f"{number}.wav") for number in (2, 0, 1)]
    result = cli(*names, "--model", tiny_model, "--to", "German", "--from", "fr")
    assert [line.split("\t")[0] for line in result.stdout.splitlines()] == names
    assert len({line.split("\t")[1] for line in result.stdout.splitlines()}) == 3
    assert "3 translated, 0 failed" in result.stderr


def test_json_on_standard_output(tiny_model: Path, clips: Path) -> None:
    one = json.loads(
        cli(clips / "0.wav", "--model", tiny_model, "--to", "de", "--format", "json", "--n-best", 3).stdout
    )
    assert len(one["segments"][0]["candidates"]) == 3
    assert one["segments"][0]["end"] == 1.0
    recipe = one["recipe"]
    assert (recipe["search_beam"], recipe["dtype"], recipe["device"]) == (5, "float32", "cpu")
    assert len(recipe["weights_sha256"]) == 64
    assert recipe["audio_decoder"]["pyav"]
    lines = cli(clips, "--model", tiny_model, "--to", "de", "--from", "French", "--format", "json").stdout.splitlines()
    assert [json.loads(line)["audio"] for line in lines] == [str(clips / f"{number}.wav") for number in range(3)]
    assert {json.loads(line)["source_language"] for line in lines} == {"fr"}


def test_a_table_on_standard_output_has_one_header(tiny_model: Path, clips: Path) -> None:
    rows = cli(clips, "--model", tiny_model, "--to", "de", "--format", "tsv", "--n-best", 2).stdout.splitlines()
    assert rows[0].split("\t") == ["audio", "start", "end", "rank", "score", "text"]
    assert [row.split("\t")[3] for row in rows[1:]] == ["1", "2"] * 3


def test_standard_input(tiny_model: Path, clips: Path) -> None:
    expected = cli(clips / "1.wav", "--model", tiny_model, "--to", "de").stdout
    result = cli("-", "--model", tiny_model, "--to", "de", stdin=(clips / "1.wav").read_bytes())
    assert (result.exit_code, result.stdout) == (0, expected)
    result = cli("-", "--model", tiny_model, "--to", "de", stdin=b"")
    assert result.exit_code == 1
    assert "empty file" in result.stderr


def test_silence_is_not_translated(tiny_model: Path, tmp_path: Path) -> None:
    quiet = write_media(tmp_path / "quiet.wav", np.zeros(16_000, np.float32))
    result = cli(quiet, "--model", tiny_model, "--to", "de")
    assert (result.exit_code, result.stdout) == (0, "\n")
    assert "nothing but silence; its result is empty" in result.stderr


def test_a_track_is_chosen_and_choices_are_noted(tiny_model: Path, clips: Path, tmp_path: Path) -> None:
    path = tmp_path / "film.mkv"
    path.write_bytes(film({"hz": 100, "language": "eng"}, {"hz": 900, "language": "ger"}))
    common = (path, "--model", tiny_model, "--to", "de", "--format", "json")
    results = [cli(*common), cli(*common, "--audio-track", "German"), cli(*common, "--audio-track", "1")]
    assert [result.exit_code for result in results] == [0, 0, 0]
    note = "audio track 1 (English) was taken; others: 2 (German); choose with --audio-track and a number or language"
    assert said(results[0]) == f"note: {path}: {note}\n"
    assert said(results[1]) == said(results[2]) == ""
    first, german, english = (json.loads(result.stdout) for result in results)
    assert (first["notes"][0], german["recipe"]["audio_track"]) == (note, "German")
    assert note not in german["notes"]
    assert first["text"] == english["text"] != german["text"]
    translator = Translator(tiny_model)
    assert translator.translate(path, to="de", audio_track="de").text == german["text"]
    missing = cli(*common, "--audio-track", "fr")
    assert missing.exit_code == 1
    assert "no audio track 'fr'; expected the number or language of one of its audio tracks: 1 (Eng" in missing.stderr


def test_sound_too_short_for_a_word_gives_no_cue(tiny_model: Path, tmp_path: Path) -> None:
    path = write_media(tmp_path / "click.wav", sine(300, 0.01))
    result = cli(path, "--model", tiny_model, "--to", "de", "--format", "srt")
    assert (result.exit_code, result.stdout) == (0, "")
    assert (
        f"note: {path}: its sound lasts less than 0.1 s, too short to hold a word; its result is empty" in result.stderr
    )


def test_whole_utterances_are_not_cut(tiny_model: Path) -> None:
    """As test sets need it."""
    two = np.concatenate([sine(300, 1.0), np.zeros(24_000, np.float32), sine(500, 1.0)])
    translator = Translator(tiny_model)
    for whole, expected in ((False, 2), (True, 1)):
        [(_, result)] = translator.stream([two], to="de", whole=whole)
        assert isinstance(result, Translation)
        assert len(result.segments) == expected


def test_long_audio_is_translated_in_pieces(tiny_model: Path, tmp_path: Path) -> None:
    loud, pause = sine(300, 12.0), np.zeros(2 * 16_000, np.float32)
    talk = write_media(tmp_path / "talk.flac", np.concatenate([loud, pause, loud, pause, loud]))
    result = cli(talk, "--model", tiny_model, "--to", "de", "--format", "srt")
    times = [line for line in result.stdout.splitlines() if "-->" in line]
    assert len(times) == 3
    assert [time[:8] for time in times] == ["00:00:00", "00:00:13", "00:00:27"]


# --- results in files ------------------------------------------------------------------------------------------------


def test_every_format_beside_each_other(tiny_model: Path, clips: Path, tmp_path: Path) -> None:
    arguments = (clips, "--model", tiny_model, "--to", "de", "--format", "txt,srt", "--format", "json")
    result = cli(*arguments, "--output-dir", tmp_path)
    assert (result.exit_code, result.stdout) == (0, "")
    assert results(tmp_path) == sorted(f"{n}.wav.de.{suffix}" for n in range(3) for suffix in ("txt", "srt", "json"))
    assert said(result) == f"3 translated, 0 failed; wrote 9 files in {tmp_path}\n"


def test_other_languages_are_other_files(tiny_model: Path, clips: Path, tmp_path: Path) -> None:
    for language in ("de", "fr"):
        assert cli(clips, "--model", tiny_model, "--to", language, "--output-dir", tmp_path).exit_code == 0
    assert len(list(tmp_path.rglob("*.txt"))) == 6


def test_finished_work_is_not_repeated(tiny_model: Path, clips: Path, tmp_path: Path) -> None:
    arguments = (clips, "--model", tiny_model, "--to", "de", "--output-dir", tmp_path)
    assert "3 translated" in cli(*arguments).stderr
    first, *others = sorted(tmp_path.rglob("*.txt"))
    first.write_text("mine\n")
    others[0].unlink()
    again = cli(*arguments)
    assert again.exit_code == 0
    assert "1 translated, 0 failed, 2 already done (--overwrite redoes them)" in again.stderr
    assert first.read_text() == "mine\n"
    assert "3 translated, 0 failed; wrote 3 files" in cli(*arguments, "--overwrite").stderr
    assert first.read_text() != "mine\n"


def test_nothing_to_do_loads_no_model(
    tiny_model: Path, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = (clips, "--to", "de", "--output-dir", tmp_path)
    assert cli(*arguments, "--model", tiny_model).exit_code == 0
    monkeypatch.delattr("voxlate.decoding.translator.Translator")
    assert cli(*arguments, "--model", tiny_model).exit_code == 0
    fails("model no/such-model is not on this machine", *arguments, "--model", "no/such-model")


@pytest.mark.parametrize(
    "to", [["--to", "de", "--to", "French"], ["--to", "German,fra"], ["--to", "de,fr", "--to", "de"]]
)
def test_several_languages_are_asked_of_the_model_at_once(
    tiny_model: Path, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, to: list[str]
) -> None:
    asked: list[Any] = []

    def stream(translator: Translator, inputs: Any, *, to: Any, **options: Any) -> Iterator[Any]:
        asked.extend(to)
        for index, _ in enumerate(inputs):
            for language in to[index]:
                yield index, Translation("", 1.0, language, (Segment(0.0, 1.0, (Candidate(language, 0.0),)),))

    monkeypatch.setattr(Translator, "stream", stream)
    result = cli(clips, "--model", tiny_model, *to, "--output-dir", tmp_path)
    assert result.exit_code == 0
    assert asked == [("de", "fr")] * 3
    assert {path.read_text() for path in tmp_path.glob("*.wav.fr.txt")} == {"fr\n"}
    assert results(tmp_path) == sorted(
        f"{number}.wav.{language}.txt" for number in range(3) for language in ("de", "fr")
    )


def test_what_a_result_depends_on(tiny_model: Path, clips: Path, tmp_path: Path) -> None:
    """Other weights by the same name, and options, are other settings; the batch size and the GPU are not."""
    model = tmp_path / "model"
    shutil.copytree(tiny_model, model)
    arguments = (clips / "0.wav", "--to", "de", "--output-dir", tmp_path / "out", "--model")
    assert "1 translated" in cli(*arguments, model).stderr
    for same in ((tiny_model,), (model, "--batch-size", 2), (model, "--format", "txt"), (model, "--slot", "fr=fr_XX")):
        assert "other settings" not in cli(*arguments, *same).stderr
    for options, name in (
        (("--beam", 2), "beam"),
        (("--mbr",), "mbr"),
        (("--dtype", "int8"), "dtype"),
        (("--slot", "de=fr_XX"), "slot"),
        (("--shortlist",), "shortlist"),
    ):
        result = cli(*arguments, model, *options)
        assert f"note: 1 result was made with other settings ({name}); --overwrite redoes it" in result.stderr
        assert result.exit_code == 0
    (model / "model.safetensors").write_bytes(b"other weights")
    assert "made with other settings (model)" in cli(*arguments, model).stderr


# --- bad inputs ------------------------------------------------------------------------------------------------------


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the tests run as root, to whom every file is readable, make opening secret.wav fail all the same."""
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
    "nan.wav": "holds NaN or infinite samples",
    "no_samples.wav": "its audio stream holds no samples",
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


@pytest.mark.usefixtures("secrets")
def test_ten_good_files_and_ten_bad_ones(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    audio, out = Path("audio"), Path("out")
    audio.mkdir()
    write_good_and_bad(audio)
    arguments = (audio, "--model", tiny_model, "--to", "de", "--output-dir", out)

    first = cli(*arguments)
    assert first.exit_code == 1
    for name, reason in BAD.items():
        assert f"audio/{name}: {reason}" in first.stderr
    assert "10 translated, 1 in part, 9 failed" in first.stderr
    # Of the truncated file, what decoded is translated.
    names = {*(f"good{number}.wav" for number in range(10)), "truncated.flac"}
    written = {name: (out / name).stat().st_mtime_ns for name in results(out)}
    assert set(written) == {f"audio/{name}.de.txt" for name in names}

    second = cli(*arguments)
    assert second.exit_code == 1
    assert "0 translated, 9 failed, 11 already done" in second.stderr
    assert "audio/truncated.flac: truncated: " in second.stderr  # no rerun makes it whole
    assert {name: (out / name).stat().st_mtime_ns for name in results(out)} == written


def test_a_result_that_cannot_be_written_stops_no_other(tiny_model: Path, clips: Path, tmp_path: Path) -> None:
    taken = tmp_path / "1.wav.de.txt"
    taken.mkdir(parents=True)
    result = cli(clips, "--model", tiny_model, "--to", "de", "--output-dir", tmp_path)
    assert result.exit_code == 1
    assert f"error: {clips / '1.wav'}: its result cannot be written (Is a directory)" in result.stderr
    assert "2 translated, 1 failed" in result.stderr


def test_a_missing_file_is_a_failure_among_others(tiny_model: Path, clips: Path) -> None:
    result = cli(clips / "0.wav", clips / "nowhere.wav", clips / "1.wav", "--model", tiny_model, "--to", "de")
    assert result.exit_code == 1
    assert f"error: {clips / 'nowhere.wav'}: no such file" in result.stderr
    assert "2 translated, 1 failed" in result.stderr
    assert len(result.stdout.splitlines()) == 2


def test_interrupted_on_standard_output_writes_what_is_done(
    tiny_model: Path, clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stream(translator: Translator, *arguments: Any, **options: Any) -> Iterator[Any]:
        yield 2, Translation("", 1.0, "de", ())
        yield 1, Translation("", 1.0, "de", ())
        raise KeyboardInterrupt

    monkeypatch.setattr(Translator, "stream", stream)
    result = cli(clips, "--model", tiny_model, "--to", "de")
    assert result.exit_code == 130
    assert result.stdout == f"{clips / '1.wav'}\t\n{clips / '2.wav'}\t\n"
    assert "interrupted: 2 translated, 0 failed; with --output-dir, finished inputs are kept" in result.stderr


def test_interrupted_and_run_again(probe: Path, tmp_path: Path) -> None:
    """Ctrl-C in the middle leaves whole files; the next run makes the rest."""
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
    before = results(out)
    assert 0 < len(before) < 100
    [left] = re.findall(r"rerun the same command to do the remaining (\d+) inputs from their beginning", stderr)
    assert int(left) in (100 - len(before), 101 - len(before))  # it may have come between writing and counting

    done = subprocess.run(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, check=True, timeout=120)
    assert f"{100 - len(before)} translated, 0 failed, {len(before)} already done" in done.stderr
    after = {name: (out / name).read_text() for name in results(out)}
    assert after == {f"audio/{number:03}.flac.en.txt": "I would like coffee and bread.\n" for number in range(100)}


# --- wrong commands --------------------------------------------------------------------------------------------------


def test_wrong_commands(tiny_model: Path, clips: Path, tmp_path: Path) -> None:
    model = ("--model", tiny_model)
    fails("unknown language 'Klingon'", clips, *model, "--to", "Klingon")
    fails(
        "unknown format 'doc', 'pdf'; expected txt, tsv, json, srt, vtt", clips, "--to", "de", "--format", "doc,txt,pdf"
    )
    fails("several formats (txt, srt) need --output-dir", clips, *model, "--to", "de", "--format", "txt,srt")
    fails("srt of several inputs needs --output-dir", clips, *model, "--to", "de", "--format", "srt")
    table = ("--format", "tsv")
    fails(
        "n_best is 3, expected 1 to the beam size, 2", clips, *model, *table, "--to", "de", "--beam", 2, "--n-best", 3
    )
    for device in ("tpu9", "meta"):
        fails(
            f"device '{device}' is not usable here; expected one of auto, cpu",
            clips,
            *model,
            "--to",
            "de",
            "--device",
            device,
        )
    fails("an input or --model is an empty string; is a shell variable unset?", "", *model, "--to", "de")
    fails("is an empty string", clips, "--model", "", "--to", "de")
    fails(
        "--n-best 2 needs --format json or tsv; txt can hold only the best one",
        clips,
        *model,
        "--to",
        "de",
        "--n-best",
        2,
    )
    fails("unknown dtype 'int3'; expected one of auto, float32", clips, *model, "--to", "de", "--dtype", "int3")
    fails("batch_size is 0", clips, *model, "--to", "de", "--batch-size", 0)
    fails("does not translate into Catalan (ca)", clips, *model, "--to", "ca")
    fails("--to 'de,': an empty name; expected languages", clips, *model, "--to", "de,")
    fails("srt of several languages needs --output-dir", clips / "0.wav", *model, "--to", "de,fr", "--format", "srt")
    fails("--slot lv: expected LANGUAGE=TOKEN", clips, *model, "--to", "lv", "--slot", "lv")
    taken = tmp_path / "taken"
    taken.touch()
    fails(f"--output-dir {taken}: is a file", clips, *model, "--to", "de", "--output-dir", taken)
    assert cli(clips, *model).exit_code == 2  # --to is missing


def test_names_of_every_kind(tiny_model: Path, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
    lines = cli("in", "--model", tiny_model, "--to", "de").stdout.splitlines()
    assert [line.split("\t")[0] for line in lines] == [
        "in/-dash.wav", "in/a b.wav", "in/bad\\xff.wav", "in/line break.wav", f"in/{'m' * 250}.wav", "in/ü[red]%s.wav",
    ]  # fmt: skip
    result = cli("in", "--model", tiny_model, "--to", "de", "--format", "json", "--output-dir", "out")
    assert "6 translated, 0 failed" in result.stderr
    written = sorted(os.fsencode(name) for name in results(Path("out")))
    [shortened] = [name for name in written if len(name) > 200]
    assert re.fullmatch(rb"in/m{222}~[0-9a-f]{8}\.wav\.de\.json", shortened)
    assert sorted({*written} - {shortened}) == sorted(b"in/" + name + b".de.json" for name in names if len(name) < 250)
    assert json.loads(Path(os.fsdecode(b"out/in/bad\xff.wav.de.json")).read_text())["audio"] == "in/bad\\xff.wav"


def shell(rest: str, probe: Path) -> "subprocess.CompletedProcess[str]":
    """Run ``voxlate translate`` in bash, with redirections; CLIP stands for a clip."""
    rest = rest.replace("CLIP", str(probe / "clips" / "fr-en_00.flac"))
    line = f"{sys.executable} -m voxlate translate --model {probe} --to en {rest}"
    return subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("CLIP --output-dir /dev/null/x", "--output-dir /dev/null/x: cannot be made (Not a directory)"),
        ("CLIP > /dev/full", "results cannot be written (No space left on device: standard output); 0 translated, "),
        ("CLIP >&-", "standard output is closed; open it, or name an --output-dir"),
        ("- <&-", "'-' reads audio from standard input, but that is closed; pipe a file into it"),
    ],
)
def test_results_and_inputs_that_have_no_place(probe: Path, command: str, message: str) -> None:
    result = shell(command, probe)
    assert result.returncode == 2
    assert result.stderr.startswith(f"error: {message}")
    assert result.stderr.count("\n") == 1


def test_results_are_utf8_in_every_locale(probe: Path) -> None:
    line = f"{sys.executable} -m voxlate translate --model {probe} --to fr {probe}/clips/en-fr_15.flac"
    result = subprocess.run(
        ["bash", "-c", f"PYTHONIOENCODING=ascii {line}"], capture_output=True, check=True, timeout=60
    )
    assert result.stdout.decode() == "On se voit samedi 30 décembre.\n"


def test_a_name_too_long_for_any_file(tiny_model: Path, tmp_path: Path) -> None:
    result = cli("a" * 300, "--model", tiny_model, "--to", "de", "--output-dir", tmp_path)
    assert result.exit_code == 1
    assert "cannot be opened: [Errno 36] File name too long" in result.stderr


def test_a_reader_that_leaves_is_no_error_of_ours(probe: Path) -> None:
    result = shell(f"{probe}/clips --format json | (exec 0<&-; sleep 5)", probe)
    assert "Traceback" not in result.stderr
    assert "error" not in result.stderr


@pytest.mark.parametrize(
    ("target", "checkpoint"),
    [("de", "facebook/wav2vec2-xls-r-300m-en-to-15"), ("en", "facebook/wav2vec2-xls-r-300m-21-to-en")],
)
def test_offline_without_a_model_says_which_and_how(clips: Path, tmp_path: Path, target: str, checkpoint: str) -> None:
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "voxlate", "translate", str(clips / "0.wav"), "--to", target]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == (
        f"error: model {checkpoint} is not on this machine and HF_HUB_OFFLINE forbids downloading it; run "
        f"`hf download {checkpoint}` where there is a network, copy the folder here, and name it with --model\n"
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
        result = cli(clips / "0.wav", "--model", name, "--to", "de", "--format", "json")
        assert json.loads(result.stdout)["recipe"]["revision"] == COMMIT
    assert asked == [None, "main", COMMIT]  # each once, though more than one place looks
    (repository / "snapshots" / COMMIT / "model.safetensors").unlink()
    fails("me/tiny is only in part on this machine", clips / "0.wav", "--model", "me/tiny", "--to", "de")


# --- the published layout --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def published(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A narrow random model with the real vocabulary, in a folder named after a published checkpoint."""
    folder = tmp_path_factory.mktemp("published") / "wav2vec2-xls-r-300m-en-to-15"
    model = transformers_model(1, decoder={"vocab_size": 250_054})
    return write_model(folder, shared / "xlmr-sentencepiece" / "sentencepiece.bpe.model", model)


def test_borrowed_slots_of_the_published_checkpoints(published: Path, clips: Path) -> None:
    translator = Translator(published)
    assert {code: translator.checkpoint.target_id(code) for code in ("de", "ca", "cy", "Latvian")} == {
        "de": 250_003,
        "ca": 250_005,
        "cy": 250_007,
        "Latvian": 250_017,
    }
    fails("does not translate into Spanish (es); it has ar, ca, cy", clips, "--model", published, "--to", "es")


def test_the_slot_of_latvian_is_said_to_be_unsettled(published: Path, clips: Path) -> None:
    arguments = (clips / "0.wav", "--model", published, "--to", "lv", "--max-length", 5)
    result = cli(*arguments)
    assert result.exit_code == 0
    assert "the token of lv is ambiguous: the model cards say 250017" in result.stderr
    assert said(cli(*arguments, "--slot", "lv=lv_LV")) == said(cli(*arguments, "--slot", "lv=250016")) == ""


# --- from Python -----------------------------------------------------------------------------------------------------


def test_arrays_bytes_and_file_objects(tiny_model: Path, clips: Path) -> None:
    translator = Translator(tiny_model)
    path = clips / "0.wav"
    expected = translator.translate(path, to="de")
    assert expected.audio == str(path)
    assert expected.seconds == 1.0
    assert translator.translate(path.read_bytes(), to="de").text == expected.text
    with path.open("rb") as file:
        assert translator.translate(file, to="de").text == expected.text
    wave = sine(100, 1.0)
    assert translator.translate(np.round(wave * 32768) / np.float32(32768), to="de").text == expected.text


def test_arrays_that_are_no_waveforms(tiny_model: Path) -> None:
    translator = Translator(tiny_model)
    for array in (np.zeros((2, 100), np.float32), np.zeros(100, np.int32), np.full(100, np.nan, np.float32)):
        with pytest.raises(AudioError, match="array: expected "):
            translator.translate(array, to="de")


def test_every_input_needs_a_language(tiny_model: Path) -> None:
    translator = Translator(tiny_model)
    with pytest.raises(VoxlateError, match="`to` has 2 languages, expected one for each input"):
        list(translator.stream([sine(300, 0.2)] * 3, to=["de", "fr"]))
    with pytest.raises(VoxlateError, match="unknown language 'xx'"):
        next(translator.stream([sine(300, 0.2)] * 3, to=["de", "fr", "xx"]))
    with pytest.raises(VoxlateError, match="inputs is one str, expected several; put it into a list"):
        next(translator.stream("a.wav", to="de"))


def test_several_languages_of_an_input_share_its_encoding(tiny_model: Path, clips: Path) -> None:
    translator = Translator(tiny_model, batch_size=2)
    long = np.concatenate([sine(300, 1.0), np.zeros(31 * SAMPLE_RATE_HZ, np.float32), sine(700, 1.0)])
    inputs: list[Any] = [
        clips / "0.wav",
        clips / "none.wav",
        long,
        np.zeros(SAMPLE_RATE_HZ, np.float32),
        clips / "1.wav",
    ]
    targets = [["de", "fr", "en"], ["de", "fr"], ["fr", "German"], ["en", "de"], "en"]
    options, told, encoded = SearchOptions(beam_size=2, max_length=12), [(0.0, 0.0)], []
    encoder: Any = translator.checkpoint.model.encoder
    hook = encoder.register_forward_hook(lambda _, given, __: encoded.append(len(given[0])))
    found = list(translator.stream(inputs, to=targets, options=options, progress=lambda *pair: told.append(pair)))
    hook.remove()
    assert sum(encoded) == 4  # a clip, two segments of the long input, and another clip
    seconds = sum(
        result.seconds for result in {index: one for index, one in found if isinstance(one, Translation)}.values()
    )
    assert told[-1] == pytest.approx((seconds, seconds))
    assert [(index, type(result)) for index, result in found if index == 1] == [(1, AudioError)]
    texts = {
        (index, result.target_language): [segment.text for segment in result.segments]
        for index, result in found
        if isinstance(result, Translation)
    }
    assert len(texts) == len(found) - 1
    for language, own in (("de", [0, 2, 3]), ("fr", [0, 2]), ("en", [0, 3, 4])):
        alone = dict(translator.stream([inputs[index] for index in own], to=language, options=options))
        for place, index in enumerate(own):
            result = alone[place]
            assert isinstance(result, Translation)
            assert texts.pop((index, language)) == [segment.text for segment in result.segments]
    assert not texts


def test_one_input_into_several_languages(tiny_model: Path) -> None:
    translator, options = Translator(tiny_model), SearchOptions(beam_size=1, max_length=12)
    found = translator.translate(sine(300, 0.5), to=["fr", "de", "French"], options=options)
    assert [one.target_language for one in found] == ["fr", "de"]
    for one in found:
        assert one.text == translator.translate(sine(300, 0.5), to=str(one.target_language), options=options).text
    with pytest.raises(VoxlateError, match="has no language to translate into; expected one or more"):
        translator.translate(sine(300, 0.5), to=[])


def test_results_come_when_they_are_complete_and_count_their_seconds(tiny_model: Path, clips: Path) -> None:
    translator = Translator(tiny_model, batch_size=2)
    told: list[tuple[float, float]] = []
    inputs = [sine(200 + 50 * n, 0.3 + 0.1 * (n % 5)) for n in range(40)]
    inputs[7] = np.zeros(SAMPLE_RATE_HZ, np.float32)
    inputs[9] = np.concatenate([sine(300, 1.0), np.zeros(31 * SAMPLE_RATE_HZ, np.float32), sine(300, 1.0)])
    stream = translator.stream(
        inputs, to="de", options=SearchOptions(beam_size=1), progress=lambda done, read: told.append((done, read))
    )
    order = [index for index, _ in stream]
    assert sorted(order) == list(range(40))
    total = sum(len(tone) for tone in inputs) / SAMPLE_RATE_HZ
    assert told[-1] == pytest.approx((total, total))
    assert all(done <= read + 1e-6 for done, read in told)


def test_inputs_are_read_as_they_are_needed(tiny_model: Path) -> None:
    """What waits is bounded by what is read ahead, not by the number of inputs."""
    taken = 0

    def inputs() -> Iterator[np.ndarray]:
        nonlocal taken
        for _ in range(1000):
            taken += 1
            yield sine(300, 0.2)

    stream = Translator(tiny_model, batch_size=1).stream(inputs(), to="de", options=SearchOptions(beam_size=1))
    next(stream)
    assert taken <= 30
