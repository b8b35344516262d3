"""`voxlate evaluate`: hypotheses in the manifest's order with their recipe, scores, and a run that goes on."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from media import sweep, write_media
from voxlate import Translator
from voxlate.cli import app
from voxlate.decoding.options import SearchOptions
from voxlate.errors import VoxlateError
from voxlate.evaluation import hypotheses
from voxlate.files import file_sha256
from voxlate_eval.metrics import corpus_score, make_metric

DIRECTIONS = ("fr-en", "en-de")
ROWS = 5


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two test sets; of each one clip is no audio, and one could not be read when it was prepared."""
    root = tmp_path_factory.mktemp("data")
    for direction in DIRECTIONS:
        source, target = direction.split("-")
        rows: list[dict[str, Any]] = []
        for number in range(ROWS):
            clip = root / direction / f"{number}.wav"
            clip.parent.mkdir(exist_ok=True)
            if number == 3:
                clip.write_bytes(b"no audio")
            else:
                write_media(clip, sweep(200, 900 + 100 * number, 0.6 + 0.1 * number))
            languages = {"source_language": source, "target_language": target}
            texts = {"source_text": "x", "target_text": f"The {number}", "split": "test", "seconds": 1.0}
            rows.append({"id": f"{direction}/{number}", "audio": clip.name, **languages, **texts})
        rows[4] |= {"error": "was empty"}
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (root / direction / "test.jsonl").write_text(lines)
    return root


def arguments(model: Path, data: Path, output: Path, *others: str) -> list[str]:
    base = ["evaluate", "--model", str(model), "--data", str(data), "--output", str(output), "--max-length", "12"]
    return [*base, "--beam", "2", "--dtype", "float32", "--device", "cpu", *others]


def run(*given: Any) -> Any:
    return CliRunner().invoke(app, arguments(*given), catch_exceptions=False)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_hypotheses_scores_and_sentences(tiny_model: Path, data: Path, tmp_path: Path) -> None:
    done = run(tiny_model, data, tmp_path / "run")
    assert done.exit_code == 1  # clips failed
    translator = Translator(tiny_model, dtype="float32", device="cpu")
    options = SearchOptions(beam=2, max_length=12)
    for direction in DIRECTIONS:
        folder = tmp_path / "run" / direction
        made = lines(folder / "hypotheses.jsonl")
        assert [row["id"] for row in made] == [f"{direction}/{number}" for number in range(ROWS)]
        for number in (0, 1, 2):
            clip = data / direction / f"{number}.wav"
            expected = translator.translate(clip, to=direction.split("-")[1], options=options)
            assert made[number]["text"] == expected.text
            assert made[number]["score"] == round(expected.segments[0].candidates[0].score, 4)
        assert (made[3]["text"], made[4]["text"]) == ("", "")
        assert "3.wav" in made[3]["error"]
        assert made[4]["error"] == "was empty"
        meta = json.loads((folder / "hypotheses.meta.json").read_text())
        assert meta == {
            **translator.recipe(options),
            "direction": direction,
            "target_language": direction.split("-")[1],
            "manifest": Path(os.path.relpath(data / direction / "test.jsonl", folder)).as_posix(),
            "manifest_sha256": file_sha256(data / direction / "test.jsonl"),
        }
        scores = json.loads((folder / "scores.json").read_text())
        texts = [row["text"] for row in made]
        references = [f"The {number}" for number in range(ROWS)]
        bleu = corpus_score(make_metric("bleu", meta["target_language"]), texts, references)
        assert (scores["metrics"]["BLEU"]["value"], scores["n"]) == (bleu.value, ROWS)
        assert scores["recipe"] == meta
        assert scores["hypotheses"]["failed"]["n"] == 2
        sentences = lines(folder / "sentences.jsonl")
        assert sentences[0]["audio"] == str(data / direction / "0.wav")
        assert [row["hypothesis"] for row in sentences] == texts
        assert f"│ {direction}" in done.stdout


def test_directions_are_chosen(tiny_model: Path, data: Path, tmp_path: Path) -> None:
    run(tiny_model, data, tmp_path / "run", "--directions", "x-en")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["fr-en"]
    with pytest.raises(VoxlateError, match=r"--data: nothing of --directions ca-en; found en-de, fr-en$"):
        run(tiny_model, data, tmp_path / "run", "--directions", "ca-en")
    with pytest.raises(VoxlateError, match=r"--data: nothing of --directions all; no DIRECTION/dev.jsonl there$"):
        run(tiny_model, data, tmp_path / "run", "--split", "dev")


def test_an_interrupted_run_translates_only_what_is_left(
    tiny_model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tmp_path / "whole"
    run(tiny_model, data, whole, "--directions", "fr-en")
    expected = (whole / "fr-en/hypotheses.jsonl").read_bytes()

    interrupted = tmp_path / "interrupted"
    appended: list[str] = []
    original = hypotheses._append

    def append(file: Any, name: str, text: str, **others: object) -> None:
        if len(appended) == 2:
            file.write('{"id": "half a li')
            raise KeyboardInterrupt
        appended.append(name)
        original(file, name, text, **others)

    monkeypatch.setattr(hypotheses, "_append", append)
    done = run(tiny_model, data, interrupted, "--directions", "fr-en")
    assert done.exit_code == 130
    assert "interrupted; the same command goes on from here" in done.stderr
    assert not (interrupted / "fr-en/hypotheses.jsonl").exists()

    first, appended[:] = [*appended], []

    def count(file: Any, name: str, text: str, **others: object) -> None:
        appended.append(name)
        original(file, name, text, **others)

    monkeypatch.setattr(hypotheses, "_append", count)
    run(tiny_model, data, interrupted, "--directions", "fr-en")
    assert sorted([*first, *appended]) == [f"fr-en/{number}" for number in range(ROWS)]
    assert (interrupted / "fr-en/hypotheses.jsonl").read_bytes() == expected
    assert sorted(path.name for path in (interrupted / "fr-en").iterdir()) == [
        ".lock",
        "hypotheses.jsonl",
        "hypotheses.meta.json",
        "scores.json",
        "sentences.jsonl",
    ]

    appended.clear()
    run(tiny_model, data, interrupted, "--directions", "fr-en")
    assert appended == []


def test_other_settings_are_not_mixed_in(tiny_model: Path, data: Path, tmp_path: Path) -> None:
    run(tiny_model, data, tmp_path, "--directions", "fr-en")
    with pytest.raises(
        VoxlateError, match=r"fr-en holds hypotheses made otherwise \(search_length_penalty was 1.0, is 0"
    ):
        run(tiny_model, data, tmp_path, "--directions", "fr-en", "--length-penalty", "0.5")
    (data / "elsewhere/fr-en").mkdir(parents=True)
    shutil.copytree(data / "fr-en", data / "elsewhere/fr-en", dirs_exist_ok=True)
    with pytest.raises(VoxlateError, match=r"fr-en holds hypotheses made otherwise \(manifest was .*, is .*elsewhere"):
        run(tiny_model, data / "elsewhere", tmp_path, "--directions", "fr-en")
    left = tmp_path / "fr-en/hypotheses.part-00007.jsonl"  # by an interrupted run
    left.write_text('{"id": "fr-en/0", "text": "of other settings"}\n')
    done = run(tiny_model, data, tmp_path, "--directions", "fr-en", "--length-penalty", "0.5", "--overwrite")
    assert "of other settings" not in (tmp_path / "fr-en/hypotheses.jsonl").read_text()
    assert done.exit_code == 1
    assert json.loads((tmp_path / "fr-en/hypotheses.meta.json").read_text())["search_length_penalty"] == 0.5


def test_two_manifests_of_one_direction_and_mixed_ones_are_refused(
    tiny_model: Path, data: Path, tmp_path: Path
) -> None:
    given = ["--data", str(data / "fr-en/test.jsonl")]
    with pytest.raises(VoxlateError, match=r"are both fr-en; evaluate one into another --output$"):
        run(tiny_model, data, tmp_path / "run", *given)
    mixed = data / "mixed.jsonl"
    rows = [
        row | {"audio": f"{direction}/0.wav"}
        for direction in DIRECTIONS
        for row in lines(data / direction / "test.jsonl")
    ]
    mixed.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(VoxlateError, match=r"mixed.jsonl: several directions \(en-de, fr-en\); expected one in each"):
        run(tiny_model, mixed, tmp_path / "run")


def test_two_processes_share_the_work(tiny_model: Path, data: Path, tmp_path: Path) -> None:
    run(tiny_model, data, tmp_path / "one")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "voxlate"]

    def evaluate(*more: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [*launch, *arguments(tiny_model, data, tmp_path / "two"), *more],
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
            env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
        )

    done = evaluate()
    for direction in DIRECTIONS:
        one, two = (tmp_path / name / direction / "hypotheses.jsonl" for name in ("one", "two"))
        assert one.read_bytes() == two.read_bytes(), done.stderr
    assert done.stdout.count("│ fr-en") == 1
    refused = evaluate("--beam", "3")
    assert "error: " in refused.stderr
    assert "holds hypotheses made otherwise (search_beam was" in refused.stderr
    assert "Connection closed by peer" not in refused.stderr  # of a process that waited for the other
