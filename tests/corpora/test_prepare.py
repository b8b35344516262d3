"""`voxlate prepare`: the contract of every corpus in the table."""

import os
import re
import shutil
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from media import sine, write_media
from micro_corpus import PAIRS, spoken
from preparing import COMMANDS, error_of, mirror_of, results, run, table_of
from voxlate.audio.flac import write_flac
from voxlate.audio.loading import load_audio, measure_audio
from voxlate.cli import app
from voxlate.corpora import CORPORA
from voxlate.corpora.clip_checks import Clip, ClipJournal, ClipResult, check_clip, check_clips
from voxlate.corpora.preparation import Preparation
from voxlate.manifest.reading import read_manifest
from voxlate.processes import map_in_processes

pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture(params=CORPORA)
def command(request: pytest.FixtureRequest, tmp_path: Path) -> Preparation:
    (tmp_path / "in").mkdir()
    return COMMANDS[request.param](tmp_path / "in", tmp_path / "out")


def manifests(folder: Path) -> list[Path]:
    """Return the manifests of clips in a folder."""
    return [path for path in folder.rglob("*.jsonl") if not {"durations", "talks"} & {*path.parts}]


def test_contract_of_every_corpus(command: Preparation, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(command) == 1  # each has broken clips
    first = capsys.readouterr()
    assert "clips failed; see the rows' errors and drops.json" in first.err
    assert re.search(r"split +rows +official +hours +errors", first.out)
    before = results(tmp_path / "out")
    for path in manifests(tmp_path / "out"):
        manifest = read_manifest(path, need=("audio", "target_text"))
        for utterance in manifest:
            assert utterance.error or load_audio(str(utterance.audio)).seconds == utterance.seconds
            assert not (utterance.error and utterance.split == "train")
    assert run(command) == 1
    assert capsys.readouterr().out == first.out
    assert results(tmp_path / "out") == before
    other = replace(command, output=tmp_path / "2" / command.output.relative_to(tmp_path / "out"), workers=2)
    assert run(other) == 1
    assert {name: text.count(b"\n") for name, text in results(tmp_path / "2").items()} == {
        name: text.count(b"\n") for name, text in before.items()
    }
    shutil.rmtree(tmp_path / "out")  # in the same place, because paths in manifests are relative
    assert run(replace(command, workers=2)) == 1
    assert results(tmp_path / "out") == before


def test_every_corpus_can_be_transcoded_to_flac(command: Preparation, tmp_path: Path) -> None:
    assert run(replace(command, transcode=True)) == 1
    audio = [path for path in (tmp_path / "out").rglob("*") if path.suffix in (".flac", ".mp3", ".wav")]
    assert audio
    assert {path.suffix for path in audio} == {".flac"}
    for path in manifests(tmp_path / "out"):
        for utterance in read_manifest(path):
            assert utterance.error or load_audio(str(utterance.audio)).seconds == utterance.seconds
    written = {path: path.stat().st_mtime_ns for path in audio}
    audio[0].unlink()
    assert run(replace(command, transcode=True)) == 1  # only missing files are written again
    assert audio[0].exists()
    assert all(path.stat().st_mtime_ns == time_ns for path, time_ns in written.items() if path != audio[0])


def test_an_output_that_cannot_be_written_is_reported_by_every_corpus(command: Preparation, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    output = tmp_path / "file" / command.output.relative_to(tmp_path)
    assert "cannot be written (Not a directory)" in error_of(replace(command, output=output))
    if os.geteuid():
        (tmp_path / "out").mkdir(mode=0o555)
        assert "cannot be written (Permission denied)" in error_of(command)


def test_two_commands_do_not_share_an_output(command: Preparation, tmp_path: Path) -> None:
    import fcntl

    (tmp_path / "out").mkdir()
    with (tmp_path / "out" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "another command is preparing data there" in error_of(command)


def test_measured_durations_equal_decoded_ones(tmp_path: Path) -> None:
    files = {"a.mp3": 48_000, "b.mp3": 22_050, "c.mp3": 8_000, "d.wav": 44_100, "e.flac": 16_000, "f.flac": 44_100}
    for name, rate in files.items():
        path = write_media(tmp_path / name, spoken([1, 2], rate), rate)
        audio = load_audio(path)
        seconds, warnings = measure_audio(path)
        assert seconds == pytest.approx(audio.seconds, abs=1 / 16_000)
        assert warnings == audio.warnings
    for name in ("g.mp3", "g.flac"):
        whole = write_media(tmp_path / name, np.tile(sine(440, 4, 48_000), (2, 1)), 48_000)
        whole.write_bytes(whole.read_bytes()[: len(whole.read_bytes()) // 3])
        seconds, warnings = measure_audio(whole)
        assert seconds == pytest.approx(load_audio(whole).seconds, abs=1 / 16_000)
        assert [text[:13] for text in warnings] == [text[:13] for text in load_audio(whole).warnings]
        assert warnings[0].startswith("truncated: ")


def test_flac_differs_by_at_most_one_16_bit_step(tmp_path: Path) -> None:
    waveform_T = np.concatenate([sine(440, 2.34, amplitude=0.9), np.array([1.2, -1.2, 0], np.float32)])
    write_flac(tmp_path / "new" / "a.flac", waveform_T)
    read_T = load_audio(tmp_path / "new" / "a.flac").waveform
    assert len(read_T) == len(waveform_T)
    assert np.abs(read_T - np.clip(waveform_T, -1, 1)).max() <= 0.5 / 32768 + 1 / 32768


def test_a_clip_whose_process_dies_is_checked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clips = [Clip(f"clip{number}", tmp_path / "none.wav", "x") for number in range(18)]
    with ClipJournal(tmp_path / "journal.jsonl") as journal, monkeypatch.context() as patch:
        patch.setattr("voxlate.corpora.clip_checks.map_in_processes", with_killed_process)
        check_clips(clips, journal, 2, lambda count: None)
    with ClipJournal(tmp_path / "journal.jsonl") as journal:
        errors = {name: result.error for name, result in journal.results.items()}
        assert errors.pop("clip17") == (
            "clip17: the process that read it was killed (SIGKILL), perhaps for lack of memory"
        )
        assert errors == {clip.name: f"{clip.name}: no such file" for clip in clips if clip.name != "clip17"}
        assert [clip.name for clip in clips if not journal.is_current(clip.name, clip.state)] == ["clip17"]


def with_killed_process(_: object, *arguments: Any, **others: Any) -> Iterator[list[ClipResult]]:
    return map_in_processes(killed_at_17, *arguments, **others)


def killed_at_17(clips: list[Clip]) -> list[ClipResult]:
    """Check clips; the clip with a certain name kills the process."""
    if any(clip.name == "clip17" for clip in clips):
        os.kill(os.getpid(), signal.SIGKILL)
    return [check_clip(clip) for clip in clips]


def test_the_command_line(corpus: Path, tmp_path: Path) -> None:
    def invoke(*arguments: str) -> Any:
        return CliRunner().invoke(app, ["prepare", *arguments])

    folders = ["--common-voice", str(corpus / "common_voice"), "--covost", str(corpus / "covost")]
    result = invoke(
        "covost2", *folders, "--pairs", "fr-en,en-de", "--output", str(tmp_path / "out"), "--num-workers", "1"
    )
    assert result.exit_code == 1
    assert "en-de" in result.stdout
    assert PAIRS[0] in result.stdout
    table = table_of(tmp_path)
    assert invoke("manifest", str(table), "--output", str(tmp_path / "m.jsonl"), "--num-workers", "1").exit_code == 1
    mirror = mirror_of(tmp_path / "in")
    result = invoke("parquet", str(mirror), "--pair", "fr-en", "--output", str(tmp_path / "p"), "--transcode", "flac")
    assert result.exit_code == 1
    result = invoke("parquet", str(mirror), "--pair", "fr-en", "--output", str(tmp_path / "p"), "--transcode", "mp3")
    assert str(result.exception) == "--transcode mp3: expected flac"
    assert "covost2" in invoke("--help").stdout
