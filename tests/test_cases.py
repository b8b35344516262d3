"""Inputs that once failed, beside the project: each command gives what the README of its case expects.

Each of these faults has a test with inputs of its own, too; this module skips where the cases are not there.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from paths import ROOT as REPO
from voxlate.cli import app
from voxlate.errors import VoxlateError

DEMO = REPO / "recipes" / "demo"
MODEL = DEMO / "model"
CASES = REPO.parent / "shared" / "cases"
OPERATION = "The operation begins on the third of February."
COUGH = "I have had a cough for seventeen hours."

pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason="../shared/cases is not here")


@dataclass(frozen=True)
class Outcome:
    """What a command printed, and its exit code; its one line of refusal is part of `stderr`."""

    code: int
    stdout: str
    stderr: str


def voxlate(*arguments: object, stdin: bytes | None = None) -> Outcome:
    """Run the command line in this process, as `voxlate.cli.main` would end it."""
    result = CliRunner().invoke(app, [*map(str, arguments)], input=stdin)
    if isinstance(result.exception, VoxlateError):
        return Outcome(2, result.stdout, f"{result.stderr}error: {result.exception}\n")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Outcome(result.exit_code, result.stdout, result.stderr)


def translate(*arguments: object, stdin: bytes | None = None) -> Outcome:
    """Run ``voxlate translate`` with the bundled model, into English."""
    return voxlate("translate", *arguments, "--model", MODEL, "--to", "en", stdin=stdin)


def starts(subtitles: str) -> list[float]:
    """Return the times at which the cues of a SubRip file begin, in seconds."""
    found = re.findall(r"^(\d+):(\d+):(\d+),(\d+) -->", subtitles, re.MULTILINE)
    return [int(h) * 3600 + int(m) * 60 + int(s) + int(ms) / 1000 for h, m, s, ms in found]


Case = Callable[[str], Path]


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    """Copy a case's folder, write the project's path into its texts, and make it the working directory."""

    def enter(name: str) -> Path:
        folder = tmp_path / name
        shutil.copytree(CASES / name, folder, copy_function=shutil.copyfile)
        for path in [folder, *folder.rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)
            if path.suffix in (".jsonl", ".yaml", ".txt", ".bak"):
                path.write_bytes(path.read_bytes().replace(b"REPO/", f"{REPO}/".encode()))
        monkeypatch.chdir(folder)
        return folder

    return enter


def test_every_case_is_in_this_module() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    missing = [folder.name for folder in sorted(CASES.iterdir()) if folder.is_dir() and folder.name not in source]
    assert missing == []


# --- audio -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["late.mp4", "late.mkv"])
def test_audio_that_starts_late(case: Case, name: str) -> None:
    case("01-late-audio")
    result = translate(name, "--format", "srt")
    assert (result.code, len(starts(result.stdout))) == (0, 3)
    assert starts(result.stdout) == pytest.approx([4.94, 24.9, 45.4], abs=0.3)


def test_missing_packets(case: Case) -> None:
    case("02-pts-gap")
    result = translate("gap.mkv", "--format", "srt")
    assert result.code == 0
    assert starts(result.stdout)[1:] == pytest.approx([19.92, 40.42], abs=0.3)


@pytest.mark.parametrize(
    ("name", "clip"), [("04-out-of-phase", "oop.flac"), ("05-third-channel", "n3.wav"), ("06-quiet-clip", "quiet.flac")]
)
def test_sound_is_found_where_it_is(case: Case, name: str, clip: str) -> None:
    case(name)
    result = translate(clip)
    assert (result.code, result.stdout) == (0, f"{COUGH}\n")


@pytest.mark.parametrize("clip", ["over30.opus", "over32.opus"])
def test_six_sentences_of_any_length(case: Case, clip: str) -> None:
    case("08-thirty-second-cliff")
    result = translate(clip, "--format", "srt")
    assert (result.code, len(starts(result.stdout))) == (0, 6)


@pytest.mark.parametrize("video", ["first_silent.mp4", "first_unknown.mkv"])
def test_the_track_that_can_be_heard(case: Case, video: str) -> None:
    case("09-audio-tracks")
    result = translate(video)
    assert (result.code, result.stdout) == (0, f"{OPERATION}\n")
    assert "--audio-track" in result.stderr
    chosen = translate(video, "--audio-track", "2")
    assert (chosen.code, chosen.stdout) == (0, f"{OPERATION}\n")


def test_two_recordings_on_standard_input(case: Case) -> None:
    folder = case("10-stdin-twice")
    for clip in ("es.flac", "de.flac"):
        result = translate("-", "--output-dir", "o", stdin=(folder / clip).read_bytes())
        assert (result.code, "1 translated" in result.stderr or "o/" in result.stderr) == (0, True)
    texts = sorted(path.read_text(encoding="utf-8") for path in (folder / "o").glob("stdin*.txt"))
    assert f"{OPERATION}\n" in texts


def test_undamaged_files(case: Case) -> None:
    case("11-false-damaged")
    result = translate("zeros.mp3", "concat_same.mp3")
    assert result.code == 0
    assert "damaged" not in result.stderr


def test_links_of_a_chained_ogg(case: Case) -> None:
    case("12-chained-ogg")
    result = translate("chained.ogg", "--format", "json")
    assert result.code == 0
    assert json.loads(result.stdout)["seconds"] == pytest.approx(4.73, abs=0.05)


def test_five_samples(case: Case) -> None:
    case("24-zero-cue")
    result = translate("five.wav", "--format", "srt")
    assert (result.code, result.stdout.strip()) == (0, "")
    assert "note: five.wav: " in result.stderr


# --- texts, scores, reports ------------------------------------------------------------------------------------------


def test_chinese_segments_are_joined_without_spaces(case: Case) -> None:
    folder = case("15-cjk-join")
    script = subprocess.run([sys.executable, "join.py"], capture_output=True, text=True, check=True, timeout=120)
    assert script.stdout == "'我们明天去北京。他说你好。'\n"
    (folder / "joined.txt").write_text(
        (folder / "zj.txt").read_text(encoding="utf-8").replace(" ", ""), encoding="utf-8"
    )
    result = voxlate("score", "joined.txt", "--references", "zr.txt", "--target-language", "zh")
    assert result.code == 0
    assert "100.00" in result.stdout


def test_own_output_is_scored(case: Case) -> None:
    case("16-own-output-scored")
    result = voxlate("score", "tr.txt", "--references", "trr.txt", "--target-language", "en")
    assert result.code == 0
    assert "100.00" in result.stdout


def test_a_table_that_pandas_wrote(case: Case) -> None:
    case("17-pandas-tsv")
    result = voxlate("prepare", "manifest", "pd.tsv", "--output", "pd_out.jsonl")
    if result.code == 0:
        rows = [json.loads(line) for line in Path("pd_out.jsonl").read_text(encoding="utf-8").splitlines()]
        assert rows[0]["target_text"] == 'He said "yes" today.' or "quotes" in result.stderr
    else:
        assert "quote" in result.stderr
        assert "pd.tsv" in result.stderr


def test_parquet_of_paths(case: Case) -> None:
    case("18-parquet-paths")
    result = voxlate("prepare", "parquet", "path", "--pair", "es-en", "--output", "out")
    assert "out/clips/es/c1.flac" not in result.stderr  # a name that nobody gave
    [path] = {row["path"] for row in pq.read_table("path")["audio"].to_pylist()}
    errors = [json.loads(line).get("error") for line in Path("out/es-en/test.jsonl").read_text().splitlines()]
    assert result.code == (1 if any(errors) else 0)
    assert all(error is None or path in error for error in errors)


def test_no_is_norwegian(case: Case, caplog: pytest.LogCaptureFixture) -> None:
    case("19-yaml-norwegian")
    result = voxlate("train", "no.yaml")
    assert result.code == 0
    assert "line 5: no is read as text ('no')" in caplog.text  # other readers of YAML need the quotes
    assert json.loads(Path("runNo/best/languages.json").read_text(encoding="utf-8"))["targets"].keys() >= {"no"}


def test_columns_of_other_tools_are_named(case: Case) -> None:
    case("20-other-columns")
    given = ("fs.tsv", "--output", "o.jsonl", "--source-language", "es", "--target-language", "en")
    refused = voxlate("prepare", "manifest", *given)
    assert refused.code == 2
    assert "tgt_text" in refused.stderr
    allowed = voxlate("prepare", "manifest", *given, "--allow", "target_text")
    assert allowed.code == 0
    assert "tgt_text" in allowed.stderr
    assert "n_frames" in allowed.stderr


def test_arabic_in_a_report(case: Case) -> None:
    folder = case("25-rtl-report")
    assert voxlate("report", "run", "--output", "rep").code == 0
    assert 'dir="auto"' in (folder / "rep" / "report.html").read_text(encoding="utf-8")


def test_a_report_of_a_file_that_was_cut_off(case: Case) -> None:
    case("27-report-inputs")
    result = voxlate("report", "run", "--output", "rep")
    assert result.code == 2
    assert re.search(r"sentences\.jsonl:\d+", result.stderr)


@pytest.mark.parametrize("hypotheses", ["h.jsonl", "deep.jsonl"])
def test_lists_where_a_text_belongs(case: Case, hypotheses: str) -> None:
    case("28-score-inputs")
    result = voxlate("score", hypotheses, "--references", "r.jsonl")
    assert result.code == 2
    assert len(result.stderr.strip().splitlines()) == 1
    assert len(result.stderr) < 1000


# --- tables and training ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("manifest", ["a.jsonl", "b.jsonl", "b2.jsonl", "nul.jsonl", "d.parquet"])
@pytest.mark.parametrize("command", ["prepare", "evaluate"])
def test_rows_of_manifests(case: Case, manifest: str, command: str) -> None:
    case("26-manifests")
    arguments = (
        ("prepare", "manifest", manifest, "--output", "o.jsonl")
        if command == "prepare"
        else ("evaluate", "--model", MODEL, "--data", manifest, "--output", "out")
    )
    result = voxlate(*arguments)
    assert result.code in (0, 1, 2)
    if result.code == 2:
        assert manifest in result.stderr


@pytest.mark.parametrize(
    ("voice", "covost", "file"),
    [("cv", "covost", "de"), ("cvu", "covost", "validated.tsv"), ("cv", "covost_bad", "covost_v2.de_en.tsv")],
)
def test_headers_that_are_not_utf8(case: Case, voice: str, covost: str, file: str) -> None:
    case("29-tsv-header")
    result = voxlate(
        "prepare", "covost2", "--common-voice", voice, "--covost", covost, "--pairs", "de-en", "--output", "o"
    )
    assert result.code == 2
    assert "not UTF-8" in result.stderr
    assert file in result.stderr


def test_yaml_whose_anchors_multiply(case: Case) -> None:
    case("30-yaml-bomb")
    result = voxlate("train", "bomb.yaml")
    assert result.code == 2
    assert len(result.stderr.strip().splitlines()) == 1
    assert len(result.stderr) < 1000


def test_resuming_on_other_data(case: Case) -> None:
    folder = case("14-resume-other-data")
    train = folder / "allp.jsonl"
    rows = [json.loads(line) for line in (folder / "clean.jsonl").read_text(encoding="utf-8").splitlines()]
    train.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    settings = ("d.yaml", "optimizer.updates=2", "data.batch_seconds=5", "data.batches_per_update=1")
    assert voxlate("train", *settings).code == 0
    train.write_text("".join(json.dumps({**row, "target_text": "No."}) + "\n" for row in rows), encoding="utf-8")
    result = voxlate("train", *settings)
    assert result.code == 2
    assert "allp.jsonl" in result.stderr


# --- models and names ------------------------------------------------------------------------------------------------


def test_a_lora_adapter_as_model(case: Case, tmp_path: Path) -> None:
    case("21-model-messages")
    adapter = tmp_path / "lora"
    adapter.mkdir()
    settings = {"peft_type": "LORA", "base_model_name_or_path": "no/such-model", "r": 4, "target_modules": ["q_proj"]}
    (adapter / "adapter_config.json").write_text(json.dumps(settings), encoding="utf-8")
    (adapter / "adapter_model.safetensors").write_bytes(b"\2\0\0\0\0\0\0\0{}")
    result = voxlate("translate", DEMO / "clips" / "es-18.flac", "--model", adapter, "--to", "en")
    assert result.code == 2
    assert "adapter" in result.stderr
    assert "no weights" not in result.stderr


def test_weights_that_are_not_numbers(case: Case, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    case("21-model-messages")
    folder = tmp_path / "nanw"
    shutil.copytree(MODEL, folder)
    weights = load_file(folder / "model.safetensors")
    next(value for name, value in weights.items() if name.endswith("fc1.weight")).fill_(float("nan"))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    result = voxlate("translate", DEMO / "clips" / "es-18.flac", "--model", folder, "--to", "en", "--dtype", "float32")
    assert result.code in (1, 2)
    assert "try float32" not in result.stderr
    assert "weights" in result.stderr


def test_lower_case_of_ctc_tokenizers(case: Case) -> None:
    folder = case("22-lower-case")
    environment = {**os.environ, "C": str(DEMO / "clips")}
    script = [sys.executable, "-W", "ignore", "mk.py"]
    subprocess.run(script, env=environment, capture_output=True, check=True, timeout=300)
    result = voxlate("transcribe", DEMO / "clips" / "es-18.flac", "--model", folder / "lower")
    expected = re.sub(r"<.*?>", "", (folder / "lower.expected").read_text(encoding="utf-8"))  # special tokens
    assert (result.code, result.stdout) == (0, f"{expected}\n")


def test_long_names_and_carriage_returns(case: Case) -> None:
    folder = case("23-names")
    long = folder / f"{'x' * 250}.flac"
    shutil.copy(DEMO / "clips" / "de-28.flac", long)
    for code_text in (("1 translated", f"{OPERATION}\n"), None):
        result = translate(long.name, "--output-dir", "o")
        assert result.code == 0
        if code_text is not None:
            [output] = (folder / "o").glob("*.en.txt")
            assert output.read_text(encoding="utf-8") == code_text[1]
    shutil.copy(DEMO / "clips" / "de-28.flac", folder / "a\rb.flac")
    rows = translate("a\rb.flac", "--format", "tsv").stdout.splitlines()
    assert len(rows) == 2
    assert rows[1].endswith(OPERATION)
