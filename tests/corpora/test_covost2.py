"""CoVoST-2: rows are joined as in the official script, every dropped row is counted, archives are not trusted."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import time
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import pytest

from media import sine, write_media
from micro_corpus import write_covost2
from preparing import counts, covost2, drops, error_of, lines, results, run
from voxlate.audio.loading import load_audio, measure_audio
from voxlate.corpora.clip_checks import Clip, ClipResult
from voxlate.corpora.covost2 import CoVoST2Preparation
from voxlate.corpora.splits import official_rows
from voxlate.languages import COVOST2_SOURCES, COVOST2_TARGETS
from voxlate.manifest.reading import read_manifest
from voxlate.manifest.utterance import Utterance

pytestmark = pytest.mark.usefixtures("cache")


def test_each_defect_is_counted_and_the_test_split_keeps_all_rows(corpus: Path, tmp_path: Path) -> None:
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
        "dev": {"labeled 'dev_covost', not of the split": 1},
        "test": {"labeled 'test_covost', not of the split": 1},
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
    assert len(lines(tmp_path / "durations" / "en.jsonl")) == 22  # each clip once, although two pairs use it


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
    assert bool(clips) == (layout == "tar.gz")  # files are not copied but referenced


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
        lines(tmp_path / "out/fr-en/test.jsonl")[-1]["error"] == "../out.wav: its path is outside the folder of clips"
    )


def test_nothing_from_an_archive_with_a_wrong_checksum_counts_as_done(tmp_path: Path) -> None:
    """A repaired copy with the same size and time is read again."""
    write_covost2(tmp_path, layout="tar.gz", pairs=["fr-en"])
    archive = tmp_path / "common_voice" / "cv-corpus-4-2019-12-10-fr.tar.gz"
    contents, times = archive.read_bytes(), archive.stat()
    assert run(covost2(tmp_path, tmp_path / "whole")) == 1
    archive.write_bytes(contents[:-6] + bytes([contents[-6] ^ 1]) + contents[-5:])
    os.utime(archive, ns=(times.st_atime_ns, times.st_mtime_ns))
    for _ in range(2):
        message = error_of(covost2(tmp_path, tmp_path / "out"))
        assert re.search(r"fr.tar.gz: damaged before byte [\d,]+ \(CRC check failed .+\); fetch it again", message)
        assert not [*(tmp_path / "out").rglob("*.tsv"), *(tmp_path / "out").rglob("train.jsonl")]
    spoiled = tmp_path / "out/clips/fr/common_voice_fr_1000.mp3"
    spoiled.write_bytes(spoiled.read_bytes()[:-1] + b"x")
    archive.write_bytes(contents)
    os.utime(archive, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert run(covost2(tmp_path, tmp_path / "out")) == 1
    clips = ["clips/fr/common_voice_fr_1000.mp3", "fr-en/train.jsonl", "fr-en/test.jsonl"]
    assert [(tmp_path / "out" / name).read_bytes() for name in clips] == [
        (tmp_path / "whole" / name).read_bytes() for name in clips
    ]


def test_damaged_state_is_written_again(tmp_path: Path) -> None:
    write_covost2(tmp_path, pairs=["fr-en"], defects=False)
    out = tmp_path / "out"
    assert run(covost2(tmp_path, out)) == 0
    whole = results(out)
    journal, drops = out / "durations/fr.jsonl", out / "fr-en/drops.json"
    lines = journal.read_bytes().splitlines(keepends=True)
    fields = json.loads(drops.read_text())
    for damage in (
        b"", b"\n", b"null\n", b"[]\n", b"{}\n", b'{"name": 1, "state": 2}\n', b'{"name": "a", "x": 1}\n',
        b"\xff\xfe\n", b"[" * 100_000 + b"\n", lines[0][:20] + b"\n", lines[0].replace(b'"seconds": ', b'"seconds": -'),
        lines[0].replace(b'"seconds": ', b'"seconds": "x", "warning": '),
        lines[0].split(b'"seconds"')[0] + b'"seconds": NaN}\n',
    ):  # fmt: skip
        journal.write_bytes(damage + b"".join(lines[1:]))
        drops.unlink()
        assert run(covost2(tmp_path, out)) == 0
        assert results(out).keys() == whole.keys()
        assert sorted(journal.read_bytes().splitlines()) == sorted(line.rstrip() for line in lines)
    counts = fields["splits"]["train"]
    for damaged in (
        "", "null", "[]", "{}", "[" * 100_000, json.dumps({**fields, "splits": []}),
        json.dumps({**fields, "inputs": 3}), json.dumps({**fields, "splits": {"train": 3}}),
        json.dumps({**fields, "splits": {"train": {"rows": 3}}}),
        json.dumps({**fields, "splits": {**fields["splits"], "train": {**counts, "rows": "8"}}}),
        json.dumps({**fields, "splits": {**fields["splits"], "train": {**counts, "kept": {"x": 1}}}}),
    ):  # fmt: skip
        drops.write_text(damaged)
        assert run(covost2(tmp_path, out)) == 0
        assert results(out)["fr-en/drops.json"] == whole["fr-en/drops.json"]


def test_a_clip_emptied_by_a_power_failure_is_written_again(tmp_path: Path) -> None:
    write_covost2(tmp_path, layout="tar.gz", pairs=["fr-en"], defects=False)
    out = tmp_path / "out"
    assert run(covost2(tmp_path, out, transcode=True)) == 0
    clip = next((out / "audio/fr").iterdir())
    contents = clip.read_bytes()
    clip.write_bytes(b"")
    (out / "fr-en/drops.json").unlink()
    assert run(covost2(tmp_path, out, transcode=True)) == 0
    assert clip.read_bytes() == contents


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
    assert counts(found["dev"]["kept"]) == {"path occurs more than once": 1}


def test_finished_work_is_not_repeated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_covost2(tmp_path, pairs=["fr-en"], defects=False)
    command = covost2(tmp_path, tmp_path / "out")
    assert run(command) == 0
    manifest = tmp_path / "out/fr-en/train.jsonl"
    before = manifest.stat().st_mtime_ns
    capsys.readouterr()
    assert run(command) == 0
    assert "already done: fr-en; --overwrite redoes them" in capsys.readouterr().err
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


def test_a_clip_that_is_added_later_is_found(tmp_path: Path) -> None:
    write_covost2(tmp_path, pairs=["fr-en"], defects=False)
    clip = tmp_path / "common_voice/fr/clips/common_voice_fr_1003.mp3"
    clip.rename(tmp_path / "away.mp3")
    assert run(covost2(tmp_path, tmp_path / "out")) == 1
    (tmp_path / "away.mp3").rename(clip)
    assert run(covost2(tmp_path, tmp_path / "out")) == 0
    assert all("error" not in row for row in lines(tmp_path / "out/fr-en/dev.jsonl"))


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "kill"])
@pytest.mark.parametrize("transcode", [False, True])
def test_an_interrupted_run_resumes(tmp_path: Path, sent: signal.Signals, transcode: bool) -> None:
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
        "--num-workers": 2,
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
        assert (process.returncode, errors) == (130, "interrupted; rerun the same command to resume\n")
    assert not (tmp_path / "out/fr-en").exists()
    with journal.open("ab") as file_:
        file_.write(b'{"name": "torn li')
    known = len(journal.read_bytes().splitlines()) - 1
    assert 0 < known < 300
    examined: list[str] = []
    finding = ClipResult("", "", 40.0)

    def cheaply(clip: Clip) -> ClipResult:
        examined.append(clip.name)
        if clip.flac is not None:
            clip.flac.touch()
        return replace(finding, name=clip.name, state=clip.state)

    with pytest.MonkeyPatch.context() as patch:  # recording the calls is enough; nothing is decoded
        patch.setattr("voxlate.corpora.clip_checks.check_clip", cheaply)
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


def test_real_german_texts_are_kept_byte_for_byte(
    shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = tmp_path / "voice" / "clips"
    clips.mkdir(parents=True)
    sound = write_media(tmp_path / "clip.wav", sine(440, 0.1), 16_000)
    once = lru_cache(lambda inode: measure_audio(sound))  # all clips are links to one
    monkeypatch.setattr("voxlate.corpora.clip_checks.measure_audio", lambda path, name: once(path.stat().st_ino))
    official = {}
    for split in ("dev", "test"):
        table = shared / "covost2-de-en" / f"covost_v2.de_en.{split}.tsv"
        official[split] = [line.split("\t") for line in table.read_text(encoding="utf-8").split("\n")[1:] if line]
        for row in official[split]:
            (clips / row[0]).hardlink_to(sound)
    command = CoVoST2Preparation(
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


def test_official_row_counts_exist_for_36_pairs() -> None:
    pairs = [f"{code}-en" for code in COVOST2_SOURCES] + [f"en-{code}" for code in COVOST2_TARGETS]
    assert sorted(official_rows()) == sorted(pairs)
    assert official_rows()["de-en"] == {"train": 127834, "dev": 13511, "test": 13511}
    assert {tuple(official_rows()[f"en-{code}"].values()) for code in COVOST2_TARGETS} == {(289430, 15531, 15531)}
