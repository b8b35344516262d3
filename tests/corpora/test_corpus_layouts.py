"""MuST-C, Multilingual TEDx, Europarl-ST, FLEURS and LibriSpeech in their own layouts."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from corpus_layouts import TALK, write_europarl_st, write_fleurs, write_librispeech, write_talks
from micro_corpus import spoken
from preparing import counts, drops, error_of, lines, run
from voxlate.audio.loading import load_audio
from voxlate.cli import app
from voxlate.corpora.europarl_st import EuroparlSTPreparation
from voxlate.corpora.fleurs import FleursPreparation
from voxlate.corpora.librispeech import LibriSpeechPreparation
from voxlate.corpora.mtedx import MTedxPreparation
from voxlate.corpora.must_c import MustCPreparation
from voxlate.manifest.reading import read_manifest

pytestmark = pytest.mark.usefixtures("cache")


def test_segments_of_must_c_become_clips(tmp_path: Path) -> None:
    """The first talk is whole; the second ends within a segment and before another; the third cannot be read."""
    command = MustCPreparation(tmp_path / "out", corpus=write_talks(tmp_path / "in"), pairs=("en_de",))
    assert run(command) == 1
    rows = lines(tmp_path / "out/en-de/tst-COMMON.jsonl")
    assert [row["id"] for row in rows] == [
        f"en-de/tst-COMMON/{name}" for name in ("ted_1_0", "ted_1_1", "ted_2_0", "ted_2_1", "ted_3_0")
    ]
    assert rows[1] == {
        "id": "en-de/tst-COMMON/ted_1_1",
        "audio": "../audio/en-de/tst-COMMON/ted_1_1.flac",
        "seconds": 0.5,
        "source_language": "en",
        "target_language": "de",
        "source_text": "two",
        "target_text": "zwei",
        "speaker": "spk.1",
        "split": "test",
    }
    clip_T = load_audio(tmp_path / "out/audio/en-de/tst-COMMON/ted_1_1.flac").waveform
    talk_T = spoken(TALK, 16_000)
    assert np.abs(clip_T - talk_T[16_000:24_000]).max() < 2 / 32768
    assert rows[2]["seconds"] == pytest.approx(1.05 - 0.5)  # of 2 s
    talk = tmp_path / "in/en-de/data/tst-COMMON/wav/ted_2.wav"
    reason = "its segment 4.00–5.00 s is empty, or after the end of its recording (1.05 s)"
    assert rows[3]["error"] == f"{talk}: {reason}"
    found = drops(tmp_path / "out/en-de")
    assert counts(found["tst-COMMON"]["kept"]) == {"clip is cut short": 1, "clip unreadable": 2}
    assert counts(found["train"]["left_out"]) == {"clip unreadable": 2}
    assert [row["split"] for row in lines(tmp_path / "out/en-de/train.jsonl")] == ["train"] * 3


def test_whole_talks_of_must_c_are_recordings_with_all_their_sentences(tmp_path: Path) -> None:
    command = MustCPreparation(tmp_path / "out", corpus=write_talks(tmp_path / "in"), pairs=("en-de",))
    assert run(command) == 1
    talks = tmp_path / "out/talks/en-de"
    assert sorted(path.name for path in talks.iterdir()) == ["dev.jsonl", "tst-COMMON.jsonl"]
    recordings = list(read_manifest(talks / "tst-COMMON.jsonl", recordings=True))
    assert [recording.id for recording in recordings] == [f"en-de/tst-COMMON/ted_{number}" for number in (1, 2, 3)]
    assert recordings[0].audio == tmp_path / "in/en-de/data/tst-COMMON/wav/ted_1.wav"
    assert recordings[0].source_sentences == ("one", "two")
    assert [recording.target_sentences for recording in recordings] == [("eins", "zwei"), ("drei", "vier"), ("fünf",)]


def test_subsets_and_pairs_can_be_chosen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpus = write_talks(tmp_path / "in/MUSTC_v2.0", ["en-de", "en-zh"], ["dev", "tst-HE"])
    command = MustCPreparation(tmp_path / "out", corpus=tmp_path / "in", pairs=("en-x",), subsets=("tst-HE",))
    assert run(command) == 1
    written = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").glob("en-*/*"))
    assert written == [f"{pair}/{name}" for pair in ("en-de", "en-zh") for name in ("drops.json", "tst-HE.jsonl")]
    for path in corpus.glob("*/data/*/wav/ted_3.wav"):
        path.write_bytes(path.with_name("ted_1.wav").read_bytes())
    for path in corpus.glob("*/data/*/wav/ted_2.wav"):
        path.write_bytes(path.with_name("ted_1.wav").read_bytes())
    for path in corpus.glob("*/data/*/txt/*.yaml"):
        path.write_text(path.read_text().replace("offset: 4.0", "offset: 0.4"))
    assert run(command) == 0
    capsys.readouterr()
    assert run(command) == 0
    assert "already done: en-de tst-HE; --overwrite redoes them" in capsys.readouterr().err
    single = replace(command, corpus=corpus / "en-zh", pairs=("all",), subsets=(), output=tmp_path / "2")
    assert run(single) == 0
    assert [*drops(tmp_path / "2/en-zh")] == ["dev", "tst-HE"]
    assert lines(tmp_path / "2/en-zh/dev.jsonl")[0]["target_text"] == "one"


def test_transcripts_of_mtedx(tmp_path: Path) -> None:
    """Its tables call the recordings .wav, but they are .flac; the split valid is dev."""
    corpus = write_talks(tmp_path / "in", ["es-es", "es-en"], ["train", "valid", "test"], ".flac")
    assert run(MTedxPreparation(tmp_path / "out", corpus=corpus, pairs=("es-es",))) == 1
    row = lines(tmp_path / "out/es-es/valid.jsonl")[0]
    assert (row["split"], row["source_text"], row["target_text"]) == ("dev", "uno", "uno")


def test_speeches_of_europarl_st(tmp_path: Path) -> None:
    corpus = write_europarl_st(tmp_path / "in/v1.1", ["en-de", "en-es"]).parent
    assert run(EuroparlSTPreparation(tmp_path / "out", corpus=corpus, pairs=("en-de", "en-es"))) == 1
    rows = lines(tmp_path / "out/en-es/test.jsonl")
    assert [(row["id"], row["speaker"], row["seconds"]) for row in rows[:2]] == [
        ("en-es/test/en.20080904.3.3-120_0", "spk_1", 0.75),
        ("en-es/test/en.20080904.3.3-120_1", "spk_1", 0.5),
    ]
    assert rows[1]["target_text"] == "dos"
    assert "no such file" in rows[2]["error"]
    noisy = lines(tmp_path / "out/en-de/train-noisy.jsonl")
    assert [row["split"] for row in noisy] == ["train"] * 2


@pytest.mark.parametrize("packed", [False, True])
def test_recordings_of_fleurs_get_the_sentence_of_their_number(tmp_path: Path, packed: bool) -> None:
    command = FleursPreparation(tmp_path / "out", corpus=write_fleurs(tmp_path / "in", packed=packed), pairs=("x-en",))
    assert run(command) == 1
    rows = lines(tmp_path / "out/de-en/test.jsonl")
    assert [row["source_text"] for row in rows] == ['"zwei."', '"drei."', '"drei."', '"vier."']
    assert [row["target_text"] for row in rows] == ['"two."', '"three."', '"three."', '"four."']
    assert [row["id"] for row in rows] == [f"de-en/test/test{index}" for index in range(4)]
    assert "error" in rows[0]
    assert (tmp_path / "out/clips/de/test/test1.wav").is_file() == packed
    found = drops(tmp_path / "out/de-en")
    assert counts(found["test"]["left_out"]) == {"no sentence with its number in the target language": 1}
    assert run(replace(command, pairs=("en-de", "de-en"))) == 1
    assert len(lines(tmp_path / "out/en-de/dev.jsonl")) == 3


def test_archives_of_fleurs_are_not_kept_unpacked_besides_flac_files(tmp_path: Path) -> None:
    corpus = write_fleurs(tmp_path / "in", packed=True)
    command = FleursPreparation(tmp_path / "out", corpus=corpus, pairs=("de-en",), transcode=True)
    code = run(command)
    rows = lines(tmp_path / "out/de-en/test.jsonl")
    assert rows
    assert all(row["audio"].endswith(".flac") for row in rows if "audio" in row)
    clips = sorted((tmp_path / "out/audio").rglob("*.flac"))
    assert clips
    assert not (tmp_path / "out/clips").exists()
    clips[0].unlink()
    assert run(replace(command, overwrite=True)) == code  # what is missing is unpacked again, and only that
    assert sorted((tmp_path / "out/audio").rglob("*.flac")) == clips
    assert lines(tmp_path / "out/de-en/test.jsonl") == rows


def test_a_damaged_archive_of_fleurs_leaves_no_clips(tmp_path: Path) -> None:
    corpus = write_fleurs(tmp_path / "in", packed=True)
    archive = corpus / "data/de_de/audio/dev.tar.gz"
    archive.write_bytes(archive.read_bytes()[:-9])
    command = FleursPreparation(tmp_path / "out", corpus=corpus, pairs=("de-en",), subsets=("dev",))
    assert str(archive) in error_of(command)
    assert not [*(tmp_path / "out").rglob("*.wav")]


def test_transcripts_of_librispeech(tmp_path: Path) -> None:
    corpus = write_librispeech(tmp_path / "in")
    command = LibriSpeechPreparation(tmp_path / "out", corpus=corpus, subsets=("test-other", "train-clean-100"))
    assert run(command) == 1
    rows = lines(tmp_path / "out/en-en/test-other.jsonl")
    assert rows[2] == {
        "id": "en-en/test-other/84-121123-0002",
        "audio": "../../in/test-other/84/121123/84-121123-0002.flac",
        "seconds": rows[2]["seconds"],
        "source_language": "en",
        "target_language": "en",
        "source_text": "THREE TWO",
        "target_text": "THREE TWO",
        "speaker": "84",
        "split": "test",
    }
    assert "error" in rows[1]
    assert len(lines(tmp_path / "out/en-en/train-clean-100.jsonl")) == 2


def test_what_is_not_a_corpus(tmp_path: Path) -> None:
    gone, output = tmp_path / "gone", tmp_path / "out"
    for kind in (MustCPreparation, MTedxPreparation, EuroparlSTPreparation, FleursPreparation):
        command = kind(output, corpus=gone, pairs=("en-de",))
        assert error_of(command) == f"--corpus {gone}: no such folder"
        expected = f"--corpus {tmp_path}: no language pairs; expected folders "
        assert error_of(replace(command, corpus=tmp_path)).startswith(expected)
    assert error_of(LibriSpeechPreparation(output, corpus=gone)) == f"--corpus {gone}: no such folder"
    assert "no transcripts; expected files such as dev-clean/84/" in error_of(
        LibriSpeechPreparation(output, corpus=tmp_path)
    )
    corpus = write_talks(tmp_path / "in")
    command = MustCPreparation(output, corpus=corpus, pairs=("en-fr", "fr-x"))
    assert error_of(replace(command, pairs=("en-fr", "zz"))) == f"--pairs en-fr, zz: not in {corpus}; it has en-de"
    assert error_of(replace(command, pairs=("fr-x",))) == f"--pairs fr-x: not in {corpus}; it has en-de"
    command = replace(command, pairs=("en-de",), subsets=("tst-HE",))
    assert error_of(command) == f"--subsets tst-HE: not in {corpus / 'en-de'}; it has dev, train, tst-COMMON"


@pytest.mark.parametrize(
    ("file", "contents", "message"),
    [
        ("dev.de", "eins\n", "dev.de: 1 lines, expected 5, one for each segment; fetch it again"),
        ("dev.de", None, "dev.de: no such file; it holds the texts of dev.yaml"),
        ("dev.yaml", "- {", "dev.yaml: cannot be read as YAML (while parsing a flow node); fetch it again"),
        ("dev.yaml", "a: b", "dev.yaml: expected a list of segments with offset, duration and wav"),
        ("dev.yaml", "- {offset: x, duration: 1, wav: a}", "dev.yaml: segment 1 is {'duration': '1', 'offset': 'x', "),
        ("dev.yaml", "- {offset: 0, duration: 1, wav: ../a}", "expected offset, duration and wav"),
        ("dev.en", b"\xff\n" * 5, "dev.en: 5 problems"),
    ],
)
def test_damaged_tables_of_must_c(tmp_path: Path, file: str, contents: str | bytes | None, message: str) -> None:
    corpus = write_talks(tmp_path / "in", subsets=["dev"])
    path = corpus / "en-de/data/dev/txt" / file
    if contents is None:
        path.unlink()
    else:
        path.write_bytes(contents if isinstance(contents, bytes) else contents.encode())
    assert message in error_of(MustCPreparation(tmp_path / "out", corpus=corpus, pairs=("en-de",)))
    assert not (tmp_path / "out").exists()


def test_damaged_tables_of_others(tmp_path: Path) -> None:
    table = write_europarl_st(tmp_path / "in") / "en/de/dev/segments.lst"
    for line in ("a 2.0 1.0", "a 1.0", "../a 1.0 2.0", "a 0 inf"):
        table.write_text(line + "\n")
        message = error_of(EuroparlSTPreparation(tmp_path / "out", corpus=tmp_path / "in", pairs=("en-de",)))
        assert message == f"{table}: line 1 is {line!r}, expected a speech, and its start and end in seconds"
    table = write_fleurs(tmp_path / "fleurs") / "data/de_de/dev.tsv"
    table.write_text("1\tx.wav\n")
    message = error_of(FleursPreparation(tmp_path / "out", corpus=tmp_path / "fleurs", pairs=("de-en",)))
    assert message.startswith(f"{table}: line 1 is '1\\tx.wav', expected the tab-separated columns of FLEURS")
    table = write_librispeech(tmp_path / "libri") / "dev-clean/84/121123/84-121123.trans.txt"
    table.write_text("84-121123-0000\n")
    message = error_of(LibriSpeechPreparation(tmp_path / "out", corpus=tmp_path / "libri"))
    assert message == f"{table}: line 1 is '84-121123-0000', expected a name and a transcript"


def test_the_commands_have_help_and_an_example(tmp_path: Path) -> None:
    for name in ("must-c", "mtedx", "europarl-st", "fleurs", "librispeech"):
        help_text = CliRunner().invoke(app, ["prepare", name, "--help"]).stdout
        assert "--corpus" in help_text
        assert "--subsets" in help_text
        assert f"Example:\n    voxlate prepare {name} --corpus" in help_text
        assert name in CliRunner().invoke(app, ["prepare", "--help"]).stdout
    write_talks(tmp_path / "in", subsets=["dev"])
    words = ["prepare", "must-c", "--corpus", str(tmp_path / "in"), "--pairs", "en-de", "-o", str(tmp_path / "out")]
    result = CliRunner().invoke(app, [*words, "--num-workers", "1"])
    assert result.exit_code == 1
    assert "en-de  dev" in result.stdout
