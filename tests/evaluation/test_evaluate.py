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
from voxlate.errors import VoxlateError
from voxlate.evaluation import hypotheses
from voxlate.files import file_sha256
from voxlate.search_options import SearchOptions
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


def test_directions_are_chosen(tiny_model: Path, data: Path, tmp_path: Path) -> None:
    run(tiny_model, data, tmp_path / "run", "--directions", "x-en")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["fr-en"]
    with pytest.raises(VoxlateError, match=r"--data has nothing for --directions ca-en; it has en-de, fr-en$"):
        run(tiny_model, data, tmp_path / "run", "--directions", "ca-en")
    with pytest.raises(VoxlateError, match=r"--data .*: no DIRECTION/dev.jsonl \(such as fr-en/dev.jsonl\); name"):
        run(tiny_model, data, tmp_path / "run", "--split", "dev")


def test_a_language_that_the_model_lacks_is_refused_first(tiny_model: Path, data: Path, tmp_path: Path) -> None:
    shutil.copytree(data / "fr-en", tmp_path / "data" / "ar-en")  # before en-ca in the order of the work
    shutil.copytree(data / "en-de", tmp_path / "data" / "en-ca")
    rows = (data / "en-de" / "test.jsonl").read_text().replace('"de"', '"ca"')
    (tmp_path / "data" / "en-ca" / "test.jsonl").write_text(rows)
    with pytest.raises(VoxlateError, match=r"does not translate into Catalan \(ca\)"):
        run(tiny_model, tmp_path / "data", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_split_that_is_asked_for_is_scored(tiny_model: Path, data: Path, tmp_path: Path) -> None:
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
    assert "all.jsonl: 2 rows of test are scored, left out are 1 of train, 1 of dev, 1 of no split" in done.stderr
    assert [row["id"] for row in lines(tmp_path / "run/fr-en/hypotheses.jsonl")] == ["0", "3"]
    scores = json.loads((tmp_path / "run/fr-en/scores.json").read_text())
    assert (scores["n"], scores["recipe"]["split"], scores["split"]) == (2, "test", "test")
    with pytest.raises(VoxlateError, match=r"hypotheses made with other settings \(split was 'test', is 'dev'\)"):
        run(tiny_model, table, tmp_path / "run", "--split", "dev")
    with pytest.raises(VoxlateError, match=r"no rows of the split valid; it has 2 of test, 1 of train, 1 of dev, 1 of"):
        run(tiny_model, table, tmp_path / "run", "--split", "valid")
    with pytest.raises(VoxlateError, match=r"test.jsonl: no rows of the split dev; it has 5 of test: choose one with"):
        run(tiny_model, data / "fr-en/test.jsonl", tmp_path / "run", "--split", "dev")
    taught = data / "fr-en/taught.jsonl"  # a folder's file is named after the split, whatever its rows are called
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
    assert "interrupted; rerun the same command to resume" in done.stderr
    assert not (interrupted / "fr-en/hypotheses.jsonl").exists()

    first, appended[:] = [*appended], []

    def count(file: Any, name: str, text: str, **others: object) -> None:
        appended.append(name)
        original(file, name, text, **others)

    monkeypatch.setattr(hypotheses, "_append", count)
    run(tiny_model, data, interrupted, "--directions", "fr-en")
    assert sorted({*first, *appended}) == [f"fr-en/{number}" for number in range(ROWS)]
    assert {*first} & {*appended} <= {"fr-en/3"}
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
    assert appended == ["fr-en/3"]  # which failed: the clip may have been repaired since
    assert (interrupted / "fr-en/hypotheses.jsonl").read_bytes() == expected


def test_other_settings_are_not_mixed_in(tiny_model: Path, data: Path, tmp_path: Path) -> None:
    run(tiny_model, data, tmp_path, "--directions", "fr-en")
    with pytest.raises(
        VoxlateError, match=r"fr-en holds hypotheses made with other settings \(search_length_penalty was 1.0, is 0"
    ):
        run(tiny_model, data, tmp_path, "--directions", "fr-en", "--length-penalty", "0.5")
    left = tmp_path / "fr-en/hypotheses.part-00007.jsonl"  # by an interrupted run
    left.write_text('{"id": "fr-en/0", "text": "of other settings"}\n')
    done = run(tiny_model, data, tmp_path, "--directions", "fr-en", "--length-penalty", "0.5", "--overwrite")
    assert "of other settings" not in (tmp_path / "fr-en/hypotheses.jsonl").read_text()
    assert done.exit_code == 1
    assert json.loads((tmp_path / "fr-en/hypotheses.meta.json").read_text())["search_length_penalty"] == 0.5


def test_what_is_done_is_told_by_content(
    tiny_model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Repaired and changed clips are translated again, moved manifests are not."""
    copy, output = tmp_path / "copy", tmp_path / "run"
    shutil.copytree(data / "fr-en", copy / "fr-en")
    run(tiny_model, copy, output)
    before = lines(output / "fr-en/hypotheses.jsonl")
    shutil.copy(copy / "fr-en/0.wav", copy / "fr-en/3.wav")  # repaired
    shutil.copy(copy / "fr-en/0.wav", copy / "fr-en/1.wav")  # changed
    (copy / "fr-en/2.wav").touch()
    shutil.move(copy, moved := tmp_path / "moved")
    appended: list[str] = []
    original = hypotheses._append

    def count(file: Any, name: str, text: str, **others: object) -> None:
        appended.append(name)
        original(file, name, text, **others)

    monkeypatch.setattr(hypotheses, "_append", count)
    done = run(tiny_model, moved, output)
    assert sorted(appended) == ["fr-en/1", "fr-en/3"]
    assert "fr-en: translating again 1 clips that failed and 1 whose audio changed" in done.stderr
    after = lines(output / "fr-en/hypotheses.jsonl")
    assert [row["text"] for row in after] == [
        before[0]["text"],
        before[0]["text"],
        before[2]["text"],
        before[0]["text"],
        "",
    ]
    manifest = moved / "fr-en/test.jsonl"
    manifest.write_text("".join(manifest.read_text().splitlines(keepends=True)[1:]))
    with pytest.raises(
        VoxlateError, match=r"fr-en holds hypotheses of 1 clips that .*test.jsonl lacks, first 'fr-en/0'; "
    ):
        run(tiny_model, moved, output)


@pytest.fixture(scope="module")
def whole(tiny_model: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("whole")
    run(tiny_model, data, output, "--directions", "fr-en")
    return output


class TestDamagedState:
    """State that evaluate keeps is made again where it is damaged, or named with what to do."""

    def evaluate(self, tiny_model: Path, data: Path, output: Path) -> Any:
        return run(tiny_model, data, output, "--directions", "fr-en")

    def test_it_is_made_again(self, whole: Path, tiny_model: Path, data: Path, tmp_path: Path) -> None:
        output = shutil.copytree(whole, tmp_path / "run")
        folder = output / "fr-en"
        rows = (folder / "hypotheses.jsonl").read_bytes().splitlines(keepends=True)
        damaged = [rows[0], b"\0" * 50 + b"\n", b'{"id": 5}\n', b"[]\n", b"\xff\n", b"[" * 5000 + b"\n", rows[1][:-9]]
        (folder / "hypotheses.jsonl").write_bytes(b"".join(damaged))
        (folder / "hypotheses.part-00003.jsonl").write_bytes(b'"x"\n{"id": NaN}\n')
        for name in ("scores.json", "sentences.jsonl"):
            (folder / name).write_bytes(b"")
        self.evaluate(tiny_model, data, output)
        for name in ("hypotheses.jsonl", "sentences.jsonl"):
            assert (folder / name).read_bytes() == (whole / "fr-en" / name).read_bytes()
        assert json.loads((folder / "scores.json").read_text())["n"] == ROWS
        assert not [*folder.glob("hypotheses.part-*")]

    @pytest.mark.parametrize("meta", [b"", b"{", b"[]", b"\0\0", b"\xff\xfe", None])
    def test_what_says_how_hypotheses_were_made_is_missed(
        self, whole: Path, tiny_model: Path, data: Path, tmp_path: Path, meta: bytes | None
    ) -> None:
        output = shutil.copytree(whole, tmp_path / "run")
        path = output / "fr-en/hypotheses.meta.json"
        path.unlink()
        if meta is not None:
            path.write_bytes(meta)
        with pytest.raises(
            VoxlateError, match=r"hypotheses.meta.json.*were made: use another --output, or --overwrite"
        ):
            self.evaluate(tiny_model, data, output)
        (output / "fr-en/hypotheses.jsonl").write_bytes(b"")  # then nothing is lost
        if meta == b"":
            self.evaluate(tiny_model, data, output)
            assert json.loads(path.read_text())["direction"] == "fr-en"

    @pytest.mark.parametrize("name", ["hypotheses.meta.json", "hypotheses.jsonl"])
    def test_a_folder_in_the_way_is_named(self, tiny_model: Path, data: Path, tmp_path: Path, name: str) -> None:
        (tmp_path / "fr-en" / name).mkdir(parents=True)
        with pytest.raises(VoxlateError, match=rf"fr-en/{name}: is a folder, expected a file; move it away$"):
            self.evaluate(tiny_model, data, tmp_path)


def test_a_slot_can_be_named(tiny_model: Path, data: Path, tmp_path: Path) -> None:
    given = ["--directions", "fr-en", "--slot"]
    run(tiny_model, data, tmp_path / "tag", *given, "en=de_DE")
    expected = Translator(tiny_model, dtype="float32", device="cpu", language_tokens={"en": "de_DE"}).translate(
        data / "fr-en/0.wav", to="en", options=SearchOptions(beam_size=2, max_length=12, max_repeats=None)
    )
    assert lines(tmp_path / "tag/fr-en/hypotheses.jsonl")[0]["text"] == expected.text
    for wrong in ("en", "en=", "²"):
        with pytest.raises(VoxlateError, match=rf"--slot {wrong}: expected LANGUAGE=TOKEN, such as lv=250016"):
            run(tiny_model, data, tmp_path / "wrong", *given, wrong)


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
    with pytest.raises(VoxlateError, match=r"mixed.jsonl: several directions \(en-de, fr-en\), expected one; divide"):
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
    assert "holds hypotheses made with other settings (search_beam was" in refused.stderr
    assert "Connection closed by peer" not in refused.stderr  # of a process that waited for the other
