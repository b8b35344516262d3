"""``voxlate evaluate``: hypotheses in the order of the manifest, their recipe, and scores."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from evaluating import DIRECTIONS, ROWS, arguments, lines, run, write_test_sets
from voxlate import Translator
from voxlate.errors import VoxlateError
from voxlate.files import file_sha256
from voxlate.search_options import SearchOptions
from voxlate_eval.metrics import corpus_score, make_metric


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_test_sets(tmp_path_factory.mktemp("data"))


def test_hypotheses_scores_and_sentences(tiny_model: Path, data: Path, tmp_path: Path) -> None:
    done = run(tiny_model, data, tmp_path / "run")
    assert done.exit_code == 1  # clips failed
    translator = Translator(tiny_model, dtype="float32", device="cpu")
    options = SearchOptions(beam_size=2, max_length=12, max_repeats=None)
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
        assert made[0]["audio_sha256"] == file_sha256(data / direction / "0.wav")
        assert "3.wav" in made[3]["error"]
        assert made[4]["error"] == "was empty"
        meta = json.loads((folder / "hypotheses.meta.json").read_text())
        assert meta == {
            **translator.recipe(options, direction.split("-")[1]),
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


def test_directions_can_be_selected(tiny_model: Path, data: Path, tmp_path: Path) -> None:
    run(tiny_model, data, tmp_path / "run", "--directions", "x-en")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["fr-en"]
    with pytest.raises(VoxlateError, match=r"--data has nothing for --directions ca-en; it has en-de, fr-en$"):
        run(tiny_model, data, tmp_path / "run", "--directions", "ca-en")
    with pytest.raises(VoxlateError, match=r"--data .*: no DIRECTION/dev.jsonl \(such as fr-en/dev.jsonl\); name"):
        run(tiny_model, data, tmp_path / "run", "--split", "dev")


def test_a_language_that_the_model_lacks_is_reported_first(tiny_model: Path, data: Path, tmp_path: Path) -> None:
    shutil.copytree(data / "fr-en", tmp_path / "data" / "ar-en")  # processed before en-ca
    shutil.copytree(data / "en-de", tmp_path / "data" / "en-ca")
    rows = (data / "en-de" / "test.jsonl").read_text().replace('"de"', '"ca"')
    (tmp_path / "data" / "en-ca" / "test.jsonl").write_text(rows)
    with pytest.raises(VoxlateError, match=r"does not translate into Catalan \(ca\)"):
        run(tiny_model, tmp_path / "data", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_chosen_split_is_scored(tiny_model: Path, data: Path, tmp_path: Path) -> None:
    rows = lines(data / "fr-en/test.jsonl")[:3]
    splits = ("test", "train", "dev", "test", None)
    table = data / "fr-en/all.jsonl"
    table.write_text(
        "".join(
            json.dumps({**rows[number % 3], "id": str(number), "split": split}) + "\n"
            for number, split in enumerate(splits)
        )
    )
    done = run(tiny_model, table, tmp_path / "run")
    assert "all.jsonl: scoring 2 rows of test, leaving out 1 of train, 1 of dev, 1 of no split" in done.stderr
    assert [row["id"] for row in lines(tmp_path / "run/fr-en/hypotheses.jsonl")] == ["0", "3"]
    scores = json.loads((tmp_path / "run/fr-en/scores.json").read_text())
    assert (scores["n"], scores["recipe"]["split"], scores["split"]) == (2, "test", "test")
    with pytest.raises(VoxlateError, match=r"hypotheses made with other settings \(split was 'test', is 'dev'\)"):
        run(tiny_model, table, tmp_path / "run", "--split", "dev")
    with pytest.raises(VoxlateError, match=r"no rows of the split valid; it has 2 of test, 1 of train, 1 of dev, 1 of"):
        run(tiny_model, table, tmp_path / "run", "--split", "valid")
    with pytest.raises(VoxlateError, match=r"test.jsonl: no rows of the split dev; it has 5 of test: choose one with"):
        run(tiny_model, data / "fr-en/test.jsonl", tmp_path / "run", "--split", "dev")
    taught = data / "fr-en/taught.jsonl"  # a folder's file is named after the split, whatever its rows state
    taught.write_bytes((data / "fr-en/test.jsonl").read_bytes())
    run(tiny_model, data, tmp_path / "taught", "--split", "taught", "--directions", "fr-en")
    assert len(lines(tmp_path / "taught/fr-en/hypotheses.jsonl")) == ROWS
    only = data / "fr-en/only.jsonl"  # one split needs no choice, and a row with an error no text
    failed = {"id": "failed", "source_language": "fr", "target_language": "en", "split": "dev", "error": "was empty"}
    only.write_text(json.dumps({**rows[0], "split": "dev"}) + "\n" + json.dumps(failed) + "\n")
    assert "left out" not in run(tiny_model, only, tmp_path / "dev").stderr
    assert json.loads((tmp_path / "dev/fr-en/scores.json").read_text())["n"] == 2
    table.unlink()
    only.unlink()


def test_language_tokens_can_be_given(tiny_model: Path, data: Path, tmp_path: Path) -> None:
    given = ["--directions", "fr-en", "--language-token"]
    run(tiny_model, data, tmp_path / "tag", *given, "en=de_DE")
    expected = Translator(tiny_model, dtype="float32", device="cpu", language_tokens={"en": "de_DE"}).translate(
        data / "fr-en/0.wav", to="en", options=SearchOptions(beam_size=2, max_length=12, max_repeats=None)
    )
    assert lines(tmp_path / "tag/fr-en/hypotheses.jsonl")[0]["text"] == expected.text
    for wrong in ("en", "en=", "²"):
        with pytest.raises(
            VoxlateError, match=rf"--language-token {wrong}: expected LANGUAGE=TOKEN, such as lv=250016"
        ):
            run(tiny_model, data, tmp_path / "wrong", *given, wrong)


def test_two_manifests_of_one_direction_and_mixed_ones_are_errors(tiny_model: Path, data: Path, tmp_path: Path) -> None:
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
    with pytest.raises(VoxlateError, match=r"mixed.jsonl: several directions \(en-de, fr-en\), expected one; split it"):
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
    refused = evaluate("--beam-size", "3")
    assert "error: " in refused.stderr
    assert "holds hypotheses made with other settings (search_beam was" in refused.stderr
    assert "Connection closed by peer" not in refused.stderr  # of a process that waited for the other
