"""`voxlate score` and `voxlate compare` on the command line: scores, checks, breakdowns and paired tests."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from voxlate.cli import app
from voxlate.errors import VoxlateError
from voxlate_eval.checks import is_loop, length_outlier, off_target
from voxlate_eval.metrics import corpus_score, make_metric

GERMAN = [
    "Der Zug nach Köln fährt um sieben Uhr ab.",
    "Meine Schwester kauft heute einen neuen Mantel.",
    "Wir möchten bitte noch eine Flasche Wasser.",
    "Können Sie mir sagen, wo der Bahnhof ist?",
    "Gestern hat es den ganzen Tag geregnet.",
    "Danke.",
]


def write_lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def manifest(path: Path) -> Path:
    return write_lines(
        path,
        [
            {
                "id": f"en-de/{number}",
                "audio": f"{number}.flac",
                "seconds": 1.0 + number,
                "source_language": "en",
                "target_language": "de",
                "source_text": f"Sentence {number}.",
                "target_text": text,
                "speaker": f"s{number % 2}",
                "split": "test",
            }
            for number, text in enumerate(GERMAN)
        ],
    )


def hypotheses(path: Path, texts: list[str], errors: dict[int, str] | None = None) -> Path:
    rows = [{"id": f"en-de/{number}", "text": text} for number, text in enumerate(texts)]
    for number, error in (errors or {}).items():
        rows[number]["error"] = error
    return write_lines(path, rows[::-1])


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    texts = [
        GERMAN[0],
        "My sister is buying a new coat today.",
        "Wir möchten bitte " + "noch eine " * 12 + "Flasche.",
        "",
        "",
        "Danke.",
    ]
    return manifest(tmp_path / "test.jsonl"), hypotheses(tmp_path / "h.jsonl", texts, {4: "no audio stream"})


def run(*arguments: str | Path) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)


def test_score_writes_metrics_counts_and_checks(files: tuple[Path, Path], tmp_path: Path) -> None:
    references, made = files
    done = run("score", made, "--references", references, "--metrics", "bleu,chrf,ter", "--output", tmp_path / "s.json")
    assert done.exit_code == 0
    found = json.loads((tmp_path / "s.json").read_text())
    texts = [json.loads(line)["text"] for line in made.read_text().splitlines()][::-1]
    for name in ("bleu", "chrf", "ter"):
        metric = make_metric(name, "de")
        expected = corpus_score(metric, texts, GERMAN)
        scored = found["metrics"][metric.name]
        assert (scored["value"], scored["signature"]) == (expected.value, expected.signature)
        assert scored["low"] <= scored["value"] <= scored["high"]
        assert f"{expected.value:.2f} [" in done.stdout
        assert f"{metric.name}: {expected.signature}" in done.stdout
    assert (found["n"], found["official_n"], found["direction"], found["split"]) == (6, 15_531, "en-de", "test")
    suspicious = found["hypotheses"]
    assert suspicious["failed"] == {"n": 1, "first": ["en-de/4"]}
    assert suspicious["empty"] == {"n": 1, "first": ["en-de/3"]}
    assert suspicious["loops"] == {"n": 1, "first": ["en-de/2"]}
    assert suspicious["length_outliers"] == {"n": 1, "first": ["en-de/2"]}
    assert suspicious["off_target"] == {"n": 3, "wrong": 1, "languages": {"en": 1}}
    assert suspicious["off_target_of_references"] == {"n": 5, "wrong": 0, "languages": {}}
    for line in ("6 sentences, the official split has 15,531: not comparable", "1 failed: en-de/4", "1 loops: en-de/2"):
        assert f"en-de: {line}" in done.stderr


def test_breakdowns_are_scores_of_groups(files: tuple[Path, Path], tmp_path: Path) -> None:
    references, made = files
    train = write_lines(tmp_path / "train.jsonl", [{"id": "x", "target_text": "y", "speaker": "s0"}])
    run("score", made, "--references", references, "--seen-in", train, "--output", tmp_path / "s.json")
    parts = json.loads((tmp_path / "s.json").read_text())["breakdown"]
    assert [(group["group"], group["n"]) for group in parts["duration"]] == [
        ("up to 2 s", 1),
        ("2–4 s", 2),
        ("4–6 s", 2),
        ("6–8 s", 1),
    ]
    assert [(group["group"], group["n"]) for group in parts["reference length in words"]] == [
        ("up to 5 words", 1),
        ("6–10 words", 5),
    ]
    assert [(group["group"], group["n"]) for group in parts["speaker"]] == [("in training", 3), ("not in training", 3)]
    assert parts["duration"][0]["chrF"] == pytest.approx(100)


def test_references_may_be_any_table_or_plain_text(files: tuple[Path, Path], tmp_path: Path) -> None:
    rows = [json.loads(line) for line in files[0].read_text().splitlines()]
    table = tmp_path / "test.tsv"
    header = ("id", "audio", "source_language", "target_language", "target_text")
    lines = ["\t".join(header), *("\t".join(row[name] for name in header) for row in rows)]
    table.write_text("".join(f"{line}\n" for line in lines))
    from_table = run("score", files[1], "--references", table)
    assert from_table.exit_code == 0
    plain = tmp_path / "h.txt"
    texts = [json.loads(line)["text"] for line in files[1].read_text().splitlines()][::-1]
    plain.write_text("".join(f"{text}\n" for text in texts))
    (tmp_path / "r.txt").write_text("".join(f"{text}\n" for text in GERMAN))
    from_text = run("score", plain, "--references", tmp_path / "r.txt", "--target-language", "German")
    value = from_table.stdout.split("[")[0].split()[-1]
    assert value in from_text.stdout
    assert "?-de" in from_text.stdout


def test_errors_are_one_line(files: tuple[Path, Path], tmp_path: Path) -> None:
    references, made = files
    with pytest.raises(VoxlateError, match=r"^unknown tokenizer 'zz'; expected one of 13a, 13a\+char, zh"):
        run("score", made, "--references", references, "--tokenize", "zz")
    with pytest.raises(VoxlateError, match=r"ids have no hypothesis: en-de/5;"):
        run("score", hypotheses(tmp_path / "x.jsonl", GERMAN[:5]), "--references", references)
    nobody = write_lines(tmp_path / "n.jsonl", [{"id": "x", "target_text": "y"}])
    with pytest.raises(VoxlateError, match=r"--seen-in .*: names no speaker; expected a manifest with that column"):
        run("score", made, "--references", references, "--seen-in", nobody)


def test_transcripts_are_scored_against_source_text(files: tuple[Path, Path], tmp_path: Path) -> None:
    said = hypotheses(tmp_path / "said.jsonl", [f"sentence {number}" for number in range(5)] + ["sentence"])
    done = run("score", said, "--references", files[0], "--transcripts", "--metrics", "wer,cer")
    assert "│ en-en     │ 6 │" in done.stdout
    assert f"│ {100 / 12:.2f} [" in done.stdout  # one word of twelve is missing
    nothing = write_lines(tmp_path / "n.jsonl", [{"id": "a", "target_text": "b"}])
    with pytest.raises(VoxlateError, match=r"n.jsonl: 1 rows without source_text, first a; expected the transcript"):
        run("score", said, "--references", nothing, "--transcripts")


def test_compare_shows_differences_and_the_sentences_that_differ_most(files: tuple[Path, Path], tmp_path: Path) -> None:
    references, made = files
    better = hypotheses(tmp_path / "better.jsonl", [*GERMAN[:5], "Dank."])
    done = run("compare", better, made, "--references", references, "--output", tmp_path / "c.json", "--sentences", "2")
    assert done.exit_code == 0
    found = json.loads((tmp_path / "c.json").read_text())
    bleu = found["metrics"]["BLEU"]
    assert bleu["difference"] == pytest.approx(bleu["a"] - bleu["b"])
    assert bleu["difference"] > 20
    assert bleu["p_bootstrap"] < 0.2
    assert [row["id"] for row in found["sentences"]["b_better"]] == ["en-de/5"]
    assert [row["difference"] for row in found["sentences"]["a_better"]] == [pytest.approx(100)] * 2
    assert f"A {better}" in done.stdout
    assert "Sentences for which A is better" in done.stdout
    assert "  reference Gestern hat es den ganzen Tag geregnet." in done.stdout
    said = " ".join(done.stdout.split())
    assert "p is the probability that two equally good systems differ by at least as much by chance" in said
    assert "BLEU: overlap with the reference in n-grams of 1 to 4 tokens; 0 to 100, higher is better" in said


def test_every_metric_has_a_definition_and_a_direction(files: tuple[Path, Path], tmp_path: Path) -> None:
    references, made = files
    names = ("bleu", "chrf", "chrf++", "ter", "wer", "cer")
    done = run("score", made, "--references", references, "--metrics", ",".join(names), "--output", tmp_path / "s.json")
    for name, metric in json.loads((tmp_path / "s.json").read_text())["metrics"].items():
        better = "higher" if make_metric(name.lower(), "de").higher_is_better else "lower"
        assert metric["about"].endswith(f"{better} is better")
        assert f"{name}: {metric['about']}" in done.stdout
    assert "[low, high]: 95 % interval by bootstrap" in done.stdout
    with pytest.raises(VoxlateError, match=r"^no metrics given; expected some of bleu, chrf"):
        run("score", made, "--references", references, "--metrics", ",")


def test_texts_are_printed_literally(tmp_path: Path) -> None:
    rows = [{"id": "[/b]", "target_text": "[red]:smile:[/red]", "source_language": "[/x]", "target_language": "de"}]
    references = write_lines(tmp_path / "r.jsonl", rows)
    made = [
        write_lines(tmp_path / f"{name}.jsonl", [{"id": "[/b]", "text": text}])
        for name, text in (("a", ""), ("b", ":cat:"))
    ]
    done = run("score", made[0], "--references", references)
    assert "[/x]-de" in done.stdout
    assert "[/x]-de: 1 empty: [/b]" in done.stderr
    compared = run("compare", *made, "--references", references).stdout
    assert "  reference [red]:smile:[/red]" in compared
    assert "  B         :cat:" in compared


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("so so so so so weiter", True),
        ("no no no no", False),
        ("a b c a b c a b c a b c a b c", True),
        ("ha" * 30, True),
        ("谢谢谢谢谢谢谢谢谢谢", True),
        ("10000000 Euro", False),
        ("Der Zug, der Zug und noch ein Zug.", False),
        ("", False),
    ],
)
def test_loops(text: str, expected: bool) -> None:
    assert is_loop(text) == expected


def test_lengths_and_languages() -> None:
    assert length_outlier("x" * 21, "x" * 10)
    assert not length_outlier("x" * 20, "x" * 10)
    assert not length_outlier("", "x" * 10)  # counted as empty
    assert not length_outlier("x" * 90, "x" * 9)
    assert off_target(GERMAN, "de-DE") == {"n": 5, "wrong": 0, "languages": {}}
    assert off_target(["whatever this is"], "tlh") is None
    assert off_target(["Jutro rano jedziemy do Warszawy."], "pl") == {"n": 1, "wrong": 0, "languages": {}}
    mixed = random.Random(1).sample(GERMAN, 6) + ["Le train part à sept heures demain matin."] * 2
    assert off_target(mixed, "de") == {"n": 7, "wrong": 2, "languages": {"fr": 2}}
