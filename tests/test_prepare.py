"""`voxlate prepare`: nothing disappears silently, every corpus of the table keeps the same promises."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from corpus import PAIRS, add_member, spoken, write_covost2
from media import sine, write_media
from voxlate.cli import app
from voxlate.data import CORPORA
from voxlate.data.audio import load_audio, measure_audio
from voxlate.data.clips import Clip, Finding, Journal, examine
from voxlate.data.common_voice import unescape
from voxlate.data.covost2 import CoVoST2
from voxlate.data.flac import write_flac
from voxlate.data.mirror import Parquet
from voxlate.data.preparation import Preparation
from voxlate.data.splits import official_rows
from voxlate.data.user_table import UserTable, file_name
from voxlate.errors import VoxlateError
from voxlate.languages import COVOST2_SOURCES, COVOST2_TARGETS
from voxlate.manifest import Utterance, read_manifest
from voxlate.registry import resolve


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The micro corpus, in folders by language."""
    root = tmp_path_factory.mktemp("corpus")
    write_covost2(root)
    return root


def covost2(corpus: Path, output: Path, *pairs: str, **options: Any) -> CoVoST2:
    places = {"common_voice": corpus / "common_voice", "covost": corpus / "covost"}
    return CoVoST2(output, **{**places, "pairs": pairs or ("fr-en",), **options})


def run(command: Preparation) -> int:
    kinds = {CoVoST2: "covost2", UserTable: "manifest", Parquet: "parquet"}
    code: int = resolve(CORPORA, kinds[type(command)], "corpus")(command)
    return code


def error_of(command: Preparation) -> str:
    with pytest.raises(VoxlateError) as error:
        run(command)
    return str(error.value)


def results(folder: Path) -> dict[str, bytes]:
    """Return all that a command left but what it needs to go on."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def drops(folder: Path) -> dict[str, Any]:
    contents: dict[str, Any] = json.loads((folder / "drops.json").read_text(encoding="utf-8"))["splits"]
    return contents


def counts(entries: dict[str, Any]) -> dict[str, int]:
    return {reason: entry["count"] for reason, entry in entries.items()}


# --- what every corpus of the table promises ---


def table_of(folder: Path) -> Path:
    """A user's table with four speakers, and clips of which two are broken, one of them in dev."""
    for i in range(8):
        write_media(folder / f"{i}.wav", spoken([i % 6], 16_000))
    (folder / "3.wav").write_bytes(b"")
    (folder / "6.wav").write_text("no sound")
    rows = [f"{i}\t{i}.wav\ts{i % 4}\t{'dev' if i == 3 else 'train'}\ttext {i}\tclip{'s' * i}" for i in range(8)]
    path = folder / "table.tsv"
    path.write_text("\n".join(["id\taudio\tspeaker\tsplit\ttarget_text\tother", *rows]) + "\n")
    return path


def mirror_of(folder: Path, splits: tuple[str, ...] = ("train", "validation", "test")) -> Path:
    """A parquet mirror with three rows a split, in row groups of two: one clip is broken, one translation empty."""
    (folder / "fr_en").mkdir(parents=True)
    for split in splits:
        rows = []
        for i in range(3):
            name = f"common_voice_fr_{split}{i}.mp3"
            contents = write_media(folder / "clip.mp3", spoken([i], 48_000), 48_000).read_bytes() if i != 1 else b""
            text = "" if i == 2 and split == "train" else f"text {i}"
            audio = {"bytes": contents, "path": name}
            rows.append(
                {
                    "client_id": f"s{i}",
                    "file": f"/x/{name}",
                    "audio": audio,
                    "sentence": "un",
                    "translation": text,
                    "id": name[:-4],
                }
            )
        pq.write_table(
            pa.Table.from_pylist(rows), folder / "fr_en" / f"{split}-00000-of-00001.parquet", row_group_size=2
        )
    (folder / "clip.mp3").unlink()
    return folder


Make = Callable[[Path, Path], Preparation]
COMMANDS: dict[str, Make] = {
    "covost2": lambda root, output: (write_covost2(root, pairs=["fr-en"]), covost2(root, output))[1],
    "manifest": lambda root, output: UserTable(output / "all.jsonl", table=table_of(root)),
    "parquet": lambda root, output: Parquet(output, sources=(mirror_of(root),), pair="fr-en"),
}


@pytest.fixture(params=CORPORA)
def command(request: pytest.FixtureRequest, tmp_path: Path) -> Preparation:
    (tmp_path / "in").mkdir()
    return COMMANDS[request.param](tmp_path / "in", tmp_path / "out")


def test_every_corpus_keeps_the_promises(
    command: Preparation, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(command) == 1  # each has broken clips
    first = capsys.readouterr()
    assert "clips failed; see the rows' errors and drops.json" in first.err
    assert re.search(r"split +rows +official +hours +errors", first.out)
    before = results(tmp_path / "out")
    for path in (tmp_path / "out").rglob("*.jsonl"):
        if path.parent.name == "durations":
            continue
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
    shutil.rmtree(tmp_path / "out")  # the same place, for paths in the manifests are relative
    assert run(replace(command, workers=2)) == 1
    assert results(tmp_path / "out") == before


def test_every_corpus_becomes_flac(command: Preparation, tmp_path: Path) -> None:
    assert run(replace(command, transcode=True)) == 1
    audio = [path for path in (tmp_path / "out").rglob("*") if path.suffix in (".flac", ".mp3", ".wav")]
    assert audio
    assert {path.suffix for path in audio} == {".flac"}
    for path in (tmp_path / "out").rglob("*.jsonl"):
        if path.parent.name != "durations":
            for utterance in read_manifest(path):
                assert utterance.error or load_audio(str(utterance.audio)).seconds == utterance.seconds
    written = {path: path.stat().st_mtime_ns for path in audio}
    audio[0].unlink()
    assert run(replace(command, transcode=True)) == 1  # what is missing is made again, and nothing else
    assert audio[0].exists()
    assert all(path.stat().st_mtime_ns == time_ns for path, time_ns in written.items() if path != audio[0])


def test_every_corpus_names_an_output_that_cannot_be_written(command: Preparation, tmp_path: Path) -> None:
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


# --- CoVoST-2 ---


def test_each_defect_is_counted_and_test_loses_nothing(corpus: Path, tmp_path: Path) -> None:
    assert run(covost2(corpus, tmp_path, "fr-en,de_en", "zh-CN_en", "en_sv-SE,en-de")) == 1
    assert {path.name for path in tmp_path.iterdir()} >= {"fr-en", "de-en", "zh-en", "en-sv", "en-de"}
    found = drops(tmp_path / "fr-en")
    assert {split: counts(found[split]["left_out"]) for split in found} == {
        "train": {
            "not in validated.tsv": 1,
            "duplicate of an earlier row's path": 1,
            "clip of 0 bytes": 1,
            "clip missing": 1,
            "clip unreadable": 1,
            "no translation": 1,
        },
        "dev": {"labelled 'dev_covost', not of the split": 1},
        "test": {"labelled 'test_covost', not of the split": 1},
    }
    assert {split: counts(found[split]["kept"]) for split in found} == {
        "train": {},
        "dev": {"clip missing": 1, "clip of 0 bytes": 1},
        "test": {"clip unreadable": 2},
    }
    assert found["train"]["left_out"]["clip missing"]["first"] == ["common_voice_fr_1011.flac"]
    assert [found[split]["rows"] for split in found] == [8, 4, 5]
    assert (found["dev"]["official"], found["dev"]["difference"], found["dev"]["errors"]) == (14760, 4 - 14760, 2)
    rows = lines(tmp_path / "fr-en" / "train.jsonl")
    assert "NA" in {row["target_text"] for row in rows}
    assert any(row["target_text"].startswith('"') and row["source_text"].startswith('"') for row in rows)
    errors = [row["error"] for row in lines(tmp_path / "fr-en" / "dev.jsonl") if "error" in row]
    assert errors == ["common_voice_fr_1020.flac: no such file", "common_voice_fr_1021.mp3: empty file (0 bytes)"]
    everything = [
        row["id"] for path in tmp_path.glob("*/*.jsonl") if path.parent.name != "durations" for row in lines(path)
    ]
    assert len(set(everything)) == len(everything) == 5 * 17
    first = read_manifest(tmp_path / "zh-en" / "train.jsonl")[0]
    assert replace(first, seconds=None, audio=Path(), source_text="", target_text="") == Utterance(
        "zh-en/common_voice_zh-CN_1000", Path(), None, "zh", "en", "", "", "speaker0", "train"
    )
    assert first.source_text
    assert re.fullmatch("[一二三四五六]+", first.source_text)
    assert len(lines(tmp_path / "durations" / "en.jsonl")) == 22  # each clip once, though two pairs use it


@pytest.mark.parametrize("layout", ["flat", "version", "tar.gz"])
def test_other_layouts_give_the_same_rows(corpus: Path, tmp_path: Path, layout: str) -> None:
    run(covost2(corpus, tmp_path / "1"))
    write_covost2(tmp_path / "in", layout=layout, pairs=["fr-en"])
    assert run(covost2(tmp_path / "in", tmp_path / "2")) == 1
    for split in ("train", "dev", "test"):
        one, two = ([{**row, "audio": ""} for row in lines(tmp_path / i / "fr-en" / f"{split}.jsonl")] for i in "12")
        assert one == two
        for utterance in read_manifest(tmp_path / "2" / "fr-en" / f"{split}.jsonl"):
            assert utterance.error or load_audio(str(utterance.audio)).seconds == utterance.seconds
    clips = [*(tmp_path / "2").rglob("*.mp3")]
    assert bool(clips) == (layout == "tar.gz")  # referenced where they are files


def test_archives_of_other_names_and_nested_folders(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "voice").mkdir()
    with tarfile.open(tmp_path / "voice" / "fr-v4.tar.gz", "w:gz") as tar:
        tar.add(corpus / "common_voice" / "fr", "cv-corpus-4/fr")
    (tmp_path / "covost" / "fr_en").mkdir(parents=True)
    name = "covost_v2.fr_en.tsv"
    with tarfile.open(tmp_path / "covost" / "fr_en" / f"{name}.tar.gz", "w:gz") as tar:
        tar.add(corpus / "covost" / name, name)
    places = {"common_voice": tmp_path / "voice" / "fr-v4.tar.gz", "covost": tmp_path / "covost"}
    assert run(covost2(corpus, tmp_path / "out", **places, transcode=True)) == 1
    assert [drops(tmp_path / "out" / "fr-en")[split]["rows"] for split in ("train", "dev", "test")] == [8, 4, 5]
    assert not list((tmp_path / "out").rglob("*.mp3"))


def test_archives_cannot_write_outside(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "in/voice").mkdir(parents=True)
    victim = tmp_path / "in" / "victim"
    victim.write_text("whole")
    with tarfile.open(tmp_path / "in/voice/fr.tar.gz", "w:gz") as tar:
        for name in ("../evil.mp3", "/tmp/evil.mp3", "clips/../../evil.mp3", "clips/../clips/common_voice_fr_1000.mp3"):
            add_member(tar, name)
        add_member(tar, "clips/common_voice_fr_1003.mp3", link=str(victim))
        add_member(tar, "clips/unwanted.mp3")
        for path in ("validated.tsv", "clips/common_voice_fr_1000.mp3"):
            tar.add(corpus / "common_voice" / "fr" / path, path)
    assert run(covost2(corpus, tmp_path / "out", common_voice=tmp_path / "in/voice")) == 1
    assert victim.read_text() == "whole"
    assert not list(tmp_path.rglob("*evil*"))
    assert not Path("/tmp/evil.mp3").exists()
    clips = [path.name for path in (tmp_path / "out/clips/fr").iterdir() if path.suffix != ".tsv"]
    assert clips == ["common_voice_fr_1000.mp3"]
    assert [row["id"] for row in lines(tmp_path / "out/fr-en/train.jsonl")] == ["fr-en/common_voice_fr_1000"]


def test_paths_in_translations_stay_in_the_clips_folder(tmp_path: Path) -> None:
    write_covost2(tmp_path / "in", pairs=["fr-en"], defects=False)
    voice, table = tmp_path / "in/common_voice/fr", tmp_path / "in/covost/covost_v2.fr_en.tsv"
    write_media(voice / "out.wav", sine(440, 0.5))
    with (voice / "validated.tsv").open("a") as file:
        file.write("s\t../out.wav\tx\t2\t0\t\t\t\n")
    with table.open("a") as file:
        file.write("../out.wav\tx\ttrain\n../out.wav\tx\ttest\n")
    assert run(covost2(tmp_path / "in", tmp_path / "out")) == 1
    assert (
        lines(tmp_path / "out/fr-en/test.jsonl")[-1]["error"] == "../out.wav: its path leads out of the folder of clips"
    )


def test_a_damaged_archive_is_named(corpus: Path, tmp_path: Path) -> None:
    write_covost2(tmp_path, layout="tar.gz", pairs=["fr-en"])
    archive = tmp_path / "common_voice" / "cv-corpus-4-2019-12-10-fr.tar.gz"
    contents = archive.read_bytes()
    archive.write_bytes(contents[: len(contents) // 2])
    message = error_of(covost2(tmp_path, tmp_path / "out"))
    assert re.search(r"fr.tar.gz: damaged behind \d+ wanted files \(.+\); fetch it again", message)
    archive.write_bytes(contents)
    assert run(covost2(tmp_path, tmp_path / "out")) == 1
    with tarfile.open(archive, "w:gz") as tar:
        add_member(tar, "readme")
    assert "holds no validated.tsv; is it a release of Common Voice?" in error_of(covost2(tmp_path, tmp_path / "new"))


def test_duplicate_paths_between_splits(tmp_path: Path) -> None:
    write_covost2(tmp_path, pairs=["fr-en"], defects=False)
    with (tmp_path / "covost" / "covost_v2.fr_en.tsv").open("a") as file:
        file.write("common_voice_fr_1003.mp3\tother\ttest\ncommon_voice_fr_1004.wav\tx\ttrain\n")
        file.write("common_voice_fr_1003.mp3\tthird\tdev\n")
    assert run(covost2(tmp_path, tmp_path / "out")) == 0
    assert [row["id"] for row in lines(tmp_path / "out/fr-en/test.jsonl")][-1] == "fr-en/common_voice_fr_1003#2"
    assert [row["id"] for row in lines(tmp_path / "out/fr-en/dev.jsonl")][-1] == "fr-en/common_voice_fr_1003#3"
    found = drops(tmp_path / "out/fr-en")
    assert counts(found["train"]["left_out"]) == {"its clip is in dev or test": 1}
    assert counts(found["dev"]["kept"]) == {"path is there more than once": 1}


def test_what_is_there_is_not_done_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_covost2(tmp_path, pairs=["fr-en"], defects=False)
    command = covost2(tmp_path, tmp_path / "out")
    assert run(command) == 0
    manifest = tmp_path / "out/fr-en/train.jsonl"
    before = manifest.stat().st_mtime_ns
    capsys.readouterr()
    assert run(command) == 0
    assert "there already: fr-en; --overwrite does them again" in capsys.readouterr().err
    assert manifest.stat().st_mtime_ns == before
    assert run(replace(command, overwrite=True)) == 0
    assert manifest.stat().st_mtime_ns != before
    table = tmp_path / "covost" / "covost_v2.fr_en.tsv"
    table.write_text(table.read_text().replace("\ttrain\n", "!\ttrain\n", 1))
    assert run(command) == 0
    assert lines(manifest)[0]["target_text"].endswith("!")
    manifest.unlink()
    assert run(command) == 0
    assert manifest.exists()


def test_a_clip_that_comes_later_is_found(tmp_path: Path) -> None:
    write_covost2(tmp_path, pairs=["fr-en"], defects=False)
    clip = tmp_path / "common_voice/fr/clips/common_voice_fr_1003.mp3"
    clip.rename(tmp_path / "away.mp3")
    assert run(covost2(tmp_path, tmp_path / "out")) == 1
    (tmp_path / "away.mp3").rename(clip)
    assert run(covost2(tmp_path, tmp_path / "out")) == 0
    assert all("error" not in row for row in lines(tmp_path / "out/fr-en/dev.jsonl"))


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "kill"])
@pytest.mark.parametrize("transcode", [False, True])
def test_an_interrupted_run_goes_on(tmp_path: Path, sent: signal.Signals, transcode: bool) -> None:
    voice, covost = write_covost2(tmp_path / "in", pairs=["fr-en"], utterances=6)
    clips = voice / "fr" / "clips"
    long = write_media(tmp_path / "long.mp3", sine(440, 40), 48_000)
    with (voice / "fr/validated.tsv").open("a") as file, (covost / "covost_v2.fr_en.tsv").open("a") as table:
        for i in range(300):
            (clips / f"common_voice_fr_{5000 + i}.mp3").hardlink_to(long)
            file.write(f"s\tcommon_voice_fr_{5000 + i}.mp3\tun\t2\t0\t\t\t\n")
            table.write(f"common_voice_fr_{5000 + i}.mp3\tone\ttrain\n")
    command = covost2(tmp_path / "in", tmp_path / "out", transcode=transcode, workers=2)
    names = {
        "--common-voice": voice,
        "--covost": covost,
        "--pairs": "fr-en",
        "--output": tmp_path / "out",
        "--workers": 2,
    }
    arguments = [str(part) for pair in names.items() for part in pair] + (["--transcode", "flac"] if transcode else [])
    journal = tmp_path / "out/durations" / f"fr{'.flac' if transcode else ''}.jsonl"
    process = subprocess.Popen(
        [sys.executable, "-m", "voxlate", "prepare", "covost2", *map(str, arguments)], stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 30
    while (not journal.exists() or not journal.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(sent)
    _, errors = process.communicate(timeout=30)
    if sent == signal.SIGINT:
        assert (process.returncode, errors) == (130, "interrupted; the same command goes on from here\n")
    assert not (tmp_path / "out/fr-en").exists()
    with journal.open("ab") as file_:
        file_.write(b'{"name": "torn li')
    known = len(journal.read_bytes().splitlines()) - 1
    assert 0 < known < 300
    examined: list[str] = []
    finding = Finding("", "", 40.0)

    def cheaply(clip: Clip) -> Finding:
        examined.append(clip.name)
        if clip.flac is not None:
            clip.flac.touch()
        return replace(finding, name=clip.name, state=clip.state)

    with pytest.MonkeyPatch.context() as patch:  # they need not all be decoded to see which would be
        patch.setattr("voxlate.data.clips._examine", cheaply)
        run(replace(command, workers=1))
    assert len(examined) == 318 - known
    assert len(lines(journal)) == 318
    assert len(lines(tmp_path / "out/fr-en/train.jsonl")) > 300
    assert not list((tmp_path / "out").rglob("*.part"))


def test_an_interrupted_run_gives_identical_files(corpus: Path, tmp_path: Path) -> None:
    assert run(covost2(corpus, tmp_path / "whole")) == 1
    journal = (tmp_path / "whole/durations/fr.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "part/durations").mkdir(parents=True)
    (tmp_path / "part/durations/fr.jsonl").write_bytes(b"".join(journal[:7]) + journal[7][:20])
    assert run(covost2(corpus, tmp_path / "part")) == 1
    assert results(tmp_path / "part") == results(tmp_path / "whole")


def test_all_that_is_wrong_is_said_at_once(corpus: Path, tmp_path: Path) -> None:
    message = error_of(covost2(corpus, tmp_path / "out", "fr-xx", "es-en", "ca-en"))
    pairs, *others = message.splitlines()[1:]
    assert pairs == (
        "  --pairs: 'fr-xx' (did you mean fr-en?): not among the 36 pairs of CoVoST-2; expected pairs such as fr-en "
        "and en-de, or x-en, en-x or all"
    )
    voice, covost = corpus / "common_voice", corpus / "covost"
    assert others == [
        *(
            f"  no covost_v2.{code}_en.tsv under {covost}; expected it, covost_v2.{code}_en.tsv.tar.gz or "
            f"covost_v2.{code}_en.train.tsv, .dev.tsv and .test.tsv there or in {code}_en/"
            for code in ("es", "ca")
        ),
        *(
            f"  no Common Voice in {name} under {voice}; expected clips/, {code}/clips/, VERSION/{code}/clips/ or an "
            f"archive such as {code}.tar.gz"
            for code, name in (("es", "Spanish"), ("ca", "Catalan"))
        ),
    ]
    places = {"common_voice": tmp_path / "cv", "covost": tmp_path / "st"}
    assert error_of(covost2(corpus, tmp_path / "out", **places)).splitlines() == [
        "nothing was prepared:",
        f"  --covost {tmp_path / 'st'}: no such folder",
        f"  --common-voice {tmp_path / 'cv'}: no such folder",
    ]
    assert "--pairs: '': not among the 36 pairs" in error_of(covost2(corpus, tmp_path / "out", ""))
    assert not (tmp_path / "out").exists()


def test_releases_that_cannot_be_used(corpus: Path, tmp_path: Path) -> None:
    voice = tmp_path / "voice"
    shutil.copytree(corpus / "common_voice/fr", voice / "v4/fr")
    shutil.copytree(corpus / "common_voice/fr", voice / "v5/fr")
    options = {"common_voice": voice}
    message = error_of(covost2(corpus, tmp_path / "out", **options))
    assert message == (
        f"several releases of fr ({voice / 'v4/fr'}, {voice / 'v5/fr'}); name the folder of one with --common-voice"
    )
    shutil.rmtree(voice / "v5")
    (voice / "v4/fr/validated.tsv").rename(voice / "v4/fr/train.tsv")
    assert "no validated.tsv, which holds the sentences" in error_of(covost2(corpus, tmp_path / "out", **options))
    (voice / "v4/fr/validated.tsv").write_text("path\tsentence\n")
    message = error_of(covost2(corpus, tmp_path / "out", **options))
    assert "validated.tsv: no column client_id in its first line; expected a TSV of Common Voice" in message
    flat = {"common_voice": corpus / "common_voice/de"}  # German, and says so
    assert "no Common Voice in French under" in error_of(covost2(corpus, tmp_path / "out", **flat))


@pytest.mark.parametrize(
    ("contents", "expected"),
    [
        ("", "holds nothing; fetch it again"),
        ("path\ttranslation\n", "no column split; its columns: path, translation"),
        ("path\ttranslation\tsplit\na.mp3\tx\n", "line 2: 2 columns, expected 3 as in the first line"),
    ],
)
def test_translations_that_cannot_be_used(corpus: Path, tmp_path: Path, contents: str, expected: str) -> None:
    (tmp_path / "covost_v2.fr_en.tsv").write_text(contents)
    assert expected in error_of(covost2(corpus, tmp_path / "out", covost=tmp_path))


def test_archives_of_translations_that_cannot_be_used(corpus: Path, tmp_path: Path) -> None:
    path = tmp_path / "covost_v2.fr_en.tsv.tar.gz"
    path.touch()  # as those of two pairs once were
    assert "damaged or empty archive" in error_of(covost2(corpus, tmp_path / "out", covost=tmp_path))
    with tarfile.open(path, "w:gz") as tar:
        add_member(tar, "readme")
    assert "holds 0 TSV files, expected one" in error_of(covost2(corpus, tmp_path / "out", covost=tmp_path))


def test_escapes_are_undone_and_other_backslashes_stay(tmp_path: Path) -> None:
    assert unescape('say \\"hi\\"') == 'say "hi"'
    assert unescape("C:\\new \\\\x") == "C:\\new \\x"
    write_covost2(tmp_path, pairs=["fr-en"], defects=False)
    with (tmp_path / "covost" / "covost_v2.fr_en.tsv").open("a") as file:
        file.write("common_voice_fr_1003.mp3\tone\\\ttwo\ttest\n")
        file.write("common_voice_fr_1003.mp3\tends so \\\ttest\n")
    assert run(covost2(tmp_path, tmp_path / "out")) == 0
    texts = [row["target_text"] for row in lines(tmp_path / "out/fr-en/test.jsonl")][-2:]
    assert texts == ["one\ttwo", "ends so \\"]


def test_the_real_german_texts_are_kept_to_the_byte(
    shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = tmp_path / "voice" / "clips"
    clips.mkdir(parents=True)
    sound = write_media(tmp_path / "clip.wav", sine(440, 0.1), 16_000)
    once = lru_cache(lambda inode: measure_audio(sound))  # all clips are links to one
    monkeypatch.setattr("voxlate.data.clips.measure_audio", lambda path, name: once(path.stat().st_ino))
    official = {}
    for split in ("dev", "test"):
        table = shared / "covost2-de-en" / f"covost_v2.de_en.{split}.tsv"
        official[split] = [line.split("\t") for line in table.read_text(encoding="utf-8").split("\n")[1:] if line]
        for row in official[split]:
            (clips / row[0]).hardlink_to(sound)
    command = CoVoST2(
        tmp_path / "out", common_voice=tmp_path / "voice", covost=shared / "covost2-de-en", pairs=("de-en",)
    )
    assert run(command) == 0
    printed = capsys.readouterr()
    assert "de-en: no file of train among its translations" in printed.err
    damaged = 0
    for split, rows in official.items():
        written = lines(tmp_path / "out/de-en" / f"{split}.jsonl")
        keys = ("source_text", "target_text", "speaker")
        assert [[row["audio"].split("/")[-1], *(row[key] for key in keys)] for row in written] == rows
        table = shared / "covost2-de-en" / f"covost_v2.de_en.{split}.tsv"
        with table.open(encoding="utf-8", newline="") as file:
            quoted = list(csv.reader(file, delimiter="\t"))[1:]
        damaged += sum(one != other for one, other in zip(quoted, rows, strict=True))
        assert re.search(rf"de-en +{split} +13,509 +13,511 +\(−2\) +0\.38 +0", printed.out)
        assert drops(tmp_path / "out/de-en")[split]["difference"] == -2
    assert damaged == 59


def test_the_official_numbers_are_those_of_36_pairs() -> None:
    pairs = [f"{code}-en" for code in COVOST2_SOURCES] + [f"en-{code}" for code in COVOST2_TARGETS]
    assert sorted(official_rows()) == sorted(pairs)
    assert official_rows()["de-en"] == {"train": 127834, "dev": 13511, "test": 13511}
    assert {tuple(official_rows()[f"en-{code}"].values()) for code in COVOST2_TARGETS} == {(289430, 15531, 15531)}


# --- tables of one's own ---


def test_a_table_keeps_what_it_can(tmp_path: Path) -> None:
    command = UserTable(
        tmp_path / "out/all.jsonl", table=table_of(tmp_path), source_language="de", target_language="English"
    )
    assert run(command) == 1
    manifest = read_manifest(tmp_path / "out/all.jsonl", need=("audio", "seconds", "source_language"))
    assert manifest.column("id") == ["0", "1", "2", "3", "4", "5", "7"]
    assert manifest.column("target_language") == ["en"] * 7
    assert [bool(utterance.error) for utterance in manifest] == [False] * 3 + [True] + [False] * 3
    assert manifest[3].error == "3: empty file (0 bytes)"
    found = json.loads((tmp_path / "out/all.drops.json").read_text())["splits"]
    assert counts(found["train"]["left_out"]) == {"clip unreadable": 1}
    assert counts(found["dev"]["kept"]) == {"clip of 0 bytes": 1}


def test_a_table_is_split_by_speaker(tmp_path: Path) -> None:
    write_media(tmp_path / "a.wav", sine(440, 0.1))
    rows = [f"{i}\ta.wav\tspeaker{i % 40}" for i in range(200)]
    (tmp_path / "t.csv").write_text("\n".join(["id\taudio\tspeaker", *rows]).replace("\t", ","))
    command = UserTable(tmp_path / "out", table=tmp_path / "t.csv", split_by="speaker", dev=0.1, test=0.05)
    assert run(command) == 0
    parts = {split: read_manifest(tmp_path / "out" / f"{split}.jsonl") for split in ("train", "dev", "test")}
    assert {split: len(part) for split, part in parts.items()} == {"train": 170, "dev": 20, "test": 10}
    speakers = [set(part.column("speaker")) for part in parts.values()]
    assert sum(map(len, speakers)) == len(set.union(*speakers)) == 40
    assert all(set(part.column("split")) == {split} for split, part in parts.items())
    before = results(tmp_path / "out")
    assert run(command) == 0
    assert results(tmp_path / "out") == before
    assert run(replace(command, output=tmp_path / "2", seed=2)) == 0
    assert set(read_manifest(tmp_path / "2/test.jsonl").column("speaker")) != speakers[2]
    message = error_of(replace(command, dev=0.001))
    assert message.startswith("no speaker is left for dev: of 40, the smallest has 5 of 200 rows; give other shares")


def test_a_table_with_audio_in_it(tmp_path: Path) -> None:
    sound = write_media(tmp_path / "a.wav", sine(440, 0.1)).read_bytes()
    rows = [{"id": f"a/{i}", "audio": {"bytes": sound, "path": None}} for i in range(2)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    command = UserTable(tmp_path / "out/m.jsonl", table=tmp_path / "t.parquet")
    assert error_of(command).endswith(
        "t.parquet: holds its audio, which a jsonl manifest cannot; name an --output that ends in .parquet, or write "
        "the clips to files with --transcode flac"
    )
    assert run(replace(command, transcode=True)) == 0
    assert [row["audio"] for row in lines(tmp_path / "out/m.jsonl")] == ["audio/a%2F0.flac", "audio/a%2F1.flac"]
    assert run(replace(command, output=tmp_path / "2/m.parquet")) == 0
    assert read_manifest(tmp_path / "2/m.parquet")[0].seconds == 0.1


def test_options_of_a_table_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_text("id\taudio\na\ta.wav\n")
    message = error_of(
        UserTable(tmp_path / "m.txt", table=tmp_path / "t.tsv", split_by=None, dev=2, source_language="qq")
    )
    assert message.splitlines()[1:] == [
        f"  --output {tmp_path / 'm.txt'}: expected a file that ends in .jsonl or .parquet",
        "  --dev 2 --test 0.05: expected shares of the rows, below 1 together",
        "  unknown language 'qq'; give a code such as de, an ISO 639-3 code, or an English name",
    ]
    message = error_of(UserTable(tmp_path / "t.tsv", table=tmp_path / "t.tsv", split_by="age"))
    assert "--split-by age: expected speaker" in message
    assert "t.tsv: is a file, expected a folder for train, dev and test" in message
    (tmp_path / "t.jsonl").touch()
    assert "is the table itself" in error_of(UserTable(tmp_path / "t.jsonl", table=tmp_path / "t.jsonl"))
    assert "no column 'speaker'; its columns: id, audio" in error_of(
        UserTable(tmp_path / "out", table=tmp_path / "t.tsv", split_by="speaker")
    )
    assert "line 2: audio 'a.wav' not found" in error_of(UserTable(tmp_path / "m.jsonl", table=tmp_path / "t.tsv"))


def test_file_names_of_any_id() -> None:
    names = ["a", "a/b", "a%2Fb", "..", ".a", "x" * 300, "x" * 301, "ä\0", "A"]
    files = [file_name(name) for name in names]
    assert len(set(files)) == len(files)
    assert all(len(file.encode()) <= 255 and "/" not in file and not file.startswith(".") for file in files)


# --- parquet mirrors ---


def test_a_mirror_gives_manifests(tmp_path: Path) -> None:
    command = Parquet(tmp_path / "out", sources=(mirror_of(tmp_path / "in"),), pair="fr_en")
    assert run(command) == 1
    found = drops(tmp_path / "out/fr-en")
    assert [found[split]["rows"] for split in ("train", "dev", "test")] == [1, 3, 3]
    assert counts(found["train"]["left_out"]) == {"clip of 0 bytes": 1, "no translation": 1}
    assert found["dev"]["difference"] == 3 - 14760
    first = lines(tmp_path / "out/fr-en/dev.jsonl")[0]
    assert first == {
        "id": "fr-en/common_voice_fr_validation0",
        "audio": "../clips/fr/common_voice_fr_validation0.mp3",
        "seconds": first["seconds"],
        "source_language": "fr",
        "target_language": "en",
        "source_text": "un",
        "target_text": "text 0",
        "speaker": "s0",
        "split": "dev",
    }
    assert load_audio(tmp_path / "out/clips/fr/common_voice_fr_validation0.mp3").seconds == first["seconds"]


def test_splits_of_a_mirror_come_one_after_the_other(tmp_path: Path) -> None:
    command = Parquet(tmp_path / "out", sources=(mirror_of(tmp_path / "in"),), pair="fr-en", split="test")
    assert run(command) == 1
    assert [*drops(tmp_path / "out/fr-en")] == ["test"]
    assert run(replace(command, split="train")) == 1
    assert (tmp_path / "out/fr-en/test.jsonl").exists()
    assert [*drops(tmp_path / "out/fr-en")] == ["test", "train"]
    folder = tmp_path / "elsewhere" / "fr_en"
    folder.mkdir(parents=True)
    (tmp_path / "in/fr_en/validation-00000-of-00001.parquet").rename(folder / "part0.parquet")
    assert run(replace(command, sources=(folder,), split="validation")) == 1
    assert (tmp_path / "out/fr-en/dev.jsonl").exists()


def test_mirrors_without_names_and_with_bad_ones(tmp_path: Path) -> None:
    sound = write_media(tmp_path / "a.wav", sine(440, 0.1)).read_bytes()
    texts = {"sentence": "x", "translation": "y"}
    rows = [{"audio": {"bytes": sound, "path": path}, **texts} for path in ("../../a.wav", None, "/b/.c.wav", "a.wav")]
    rows.append({"audio": {"bytes": None, "path": "d.wav"}, **texts})
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "test.parquet")
    assert run(Parquet(tmp_path / "out", sources=(tmp_path / "test.parquet",), pair="de-fr")) == 1
    rows = lines(tmp_path / "out/de-fr/test.jsonl")
    assert [row["id"] for row in rows] == ["de-fr/a", "de-fr/test-1", "de-fr/c", "de-fr/a#2", "de-fr/d"]
    assert sorted(path.name for path in (tmp_path / "out/clips/de").iterdir()) == ["a.wav", "c.wav", "test-1"]
    assert "error" in rows[4]


def test_mirrors_that_cannot_be_used(tmp_path: Path) -> None:
    pq.write_table(pa.table({"audio": ["a.wav"], "sentence": ["x"], "translation": ["x"]}), tmp_path / "train.parquet")
    pq.write_table(pa.table({"text": ["x"]}), tmp_path / "test.parquet")
    (tmp_path / "dev.parquet").write_text("no more than text")
    (tmp_path / "empty").mkdir()
    sources = [tmp_path / name for name in ("train.parquet", "test.parquet", "dev.parquet", "x.parquet", "empty")]
    message = error_of(Parquet(tmp_path / "out", sources=(*sources, tmp_path / "gone_test.parquet"), pair="frenglish"))
    parts = message.replace(f"{tmp_path}/", "").splitlines()
    assert parts[1:4] == [
        "  --pair frenglish: expected two languages, such as fr-en",
        "  empty: no .parquet files in this folder",
        "  train.parquet: column audio is string, expected a struct of bytes and path",
    ]
    assert parts[4] == "  test.parquet: no column audio, sentence, translation; its columns: text"
    assert parts[5].startswith("  dev.parquet: not a whole parquet file (Parquet magic bytes not found")
    assert parts[6:] == [
        "  x.parquet: its name does not say of which split it is; say so with --split",
        "  gone_test.parquet: no such file",
    ]
    assert "--split best: expected train, dev, test" in error_of(
        Parquet(tmp_path / "out", sources=(tmp_path / "x.parquet",), pair="fr-en", split="best")
    )
    assert "no files of the split dev among 1" in error_of(
        Parquet(tmp_path / "out", sources=(tmp_path / "test.parquet",), pair="fr-en", split="dev")
    )


# --- clips ---


def test_measuring_is_as_long_as_decoding(tmp_path: Path) -> None:
    for name, rate in (("a.mp3", 48_000), ("b.mp3", 22_050), ("c.mp3", 8_000), ("d.wav", 44_100), ("e.flac", 16_000)):
        path = write_media(tmp_path / name, spoken([1, 2], rate), rate)
        audio = load_audio(path)
        seconds, warnings = measure_audio(path)
        assert seconds == pytest.approx(audio.seconds, abs=1 / 16_000)
        assert warnings == audio.warnings
    whole = write_media(tmp_path / "f.mp3", np.tile(sine(440, 4, 48_000), (2, 1)), 48_000)
    whole.write_bytes(whole.read_bytes()[:20_000])
    seconds, warnings = measure_audio(whole)
    assert seconds == pytest.approx(load_audio(whole).seconds, abs=1 / 16_000)
    assert [text[:13] for text in warnings] == [text[:13] for text in load_audio(whole).warnings] == ["truncated: 1."]


def test_flac_is_true_to_a_16_bit_step(tmp_path: Path) -> None:
    waveform_T = np.concatenate([sine(440, 2.34, amplitude=0.9), np.array([1.2, -1.2, 0], np.float32)])
    write_flac(tmp_path / "new" / "a.flac", waveform_T)
    read_T = load_audio(tmp_path / "new" / "a.flac").waveform
    assert len(read_T) == len(waveform_T)
    assert np.abs(read_T - np.clip(waveform_T, -1, 1)).max() <= 0.5 / 32768 + 1 / 32768


def test_a_killed_worker_is_reported(tmp_path: Path) -> None:
    clips = [Clip(f"clip{i}", tmp_path / "none.wav", "x") for i in range(40)]
    with Journal(tmp_path / "journal.jsonl") as journal, pytest.MonkeyPatch.context() as patch:
        patch.setattr("voxlate.data.clips._start_worker", die)
        with pytest.raises(VoxlateError, match=r"a worker process was killed, .* clip0 to clip15; the same"):
            examine(clips, journal, 2, lambda count: None)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


# --- the command line ---


def test_the_command_line(corpus: Path, tmp_path: Path) -> None:
    def invoke(*arguments: str) -> Any:
        return CliRunner().invoke(app, ["prepare", *arguments])

    folders = ["--common-voice", str(corpus / "common_voice"), "--covost", str(corpus / "covost")]
    result = invoke("covost2", *folders, "--pairs", "fr-en,en-de", "--output", str(tmp_path / "out"), "--workers", "1")
    assert result.exit_code == 1
    assert "en-de" in result.stdout
    assert PAIRS[0] in result.stdout
    table = table_of(tmp_path)
    assert invoke("manifest", str(table), "--output", str(tmp_path / "m.jsonl"), "--workers", "1").exit_code == 1
    mirror = mirror_of(tmp_path / "in")
    result = invoke("parquet", str(mirror), "--pair", "fr-en", "--output", str(tmp_path / "p"), "--transcode", "flac")
    assert result.exit_code == 1
    result = invoke("parquet", str(mirror), "--pair", "fr-en", "--output", str(tmp_path / "p"), "--transcode", "mp3")
    assert str(result.exception) == "--transcode mp3: expected flac"
    assert "covost2" in invoke("--help").stdout
