"""`voxlate score` and `compare` with recordings: rows with a list of sentences, and `--resegment`."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from voxlate.cli import app
from voxlate.errors import VoxlateError

SENTENCES = ["Guten Morgen, zusammen.", "Heute  spreche ich über das Meer. ", "Es bedeckt den Planeten."]
SPOKEN = ["Good morning, everybody.", "Today I talk about the sea.", "It covers the planet."]
TEXT = "Guten Morgen! Heute spreche ich über das Meer, es bedeckt den ganzen Planeten."
PARTS = ["Guten Morgen!", "Heute spreche ich über das Meer,", "es bedeckt den ganzen Planeten."]


def row(name: str, text: Any, **others: Any) -> dict[str, Any]:
    languages = {"source_language": "en", "target_language": "de", "split": "test"}
    return {"id": name, "audio": f"{name}.flac", "target_text": text, **languages, **others}


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join((x if isinstance(x, str) else json.dumps(x, ensure_ascii=False)) + "\n" for x in rows))
    return path


def score(*arguments: str | Path) -> tuple[Any, dict[str, Any]]:
    """Run a command that scores; return its result and the JSON that it writes."""
    output = Path(str(arguments[1])).parent / "scores.json"
    done = CliRunner().invoke(
        app, [*map(str, arguments), "--output", str(output), "--samples", "100"], catch_exceptions=False
    )
    return done, json.loads(output.read_text())


@pytest.fixture
def talk(tmp_path: Path) -> Path:
    """A manifest with a recording and a clip."""
    recording = row("talk", SENTENCES, source_text=SPOKEN, seconds=9.0, speaker="s1")
    return write(tmp_path / "talk.jsonl", [recording, row("clip", "Danke.", source_text="Thanks.", seconds=1.0)])


def test_a_recording_is_scored_by_sentence_beside_a_clip(talk: Path, tmp_path: Path) -> None:
    hypotheses = write(tmp_path / "h.jsonl", [{"id": "clip", "text": "Danke."}, {"id": "talk", "text": TEXT}])
    by_sentence = write(tmp_path / "r.txt", [*SENTENCES, "Danke."])
    cut = write(tmp_path / "h.txt", [*PARTS, "Danke."])
    done, found = score("score", hypotheses, "--references", talk)
    _, expected = score("score", cut, "--references", by_sentence, "--target-language", "de")
    assert found["n"] == 4
    assert found["official_n"] is None  # although split and direction are those of a split of CoVoST-2
    for name, metric in found["metrics"].items():
        assert metric["value"] == expected["metrics"][name]["value"]
        assert metric["signature"] == f"{expected['metrics'][name]['signature']}|reseg:softsegmenter.words.1"
    assert found["recipe"]["resegmentation"] == {
        "tool": "voxlate_eval",
        "method": "softsegmenter",
        "version": 1,
        "units": "words",
        "recordings": 1,
        "sentences": 3,
    }
    assert "en-de: resegmented: 1 recordings into 3 reference sentences (softsegmenter, by words)" in done.stdout
    assert "resegmentation" not in expected["recipe"]


def test_an_hypothesis_that_failed_is_empty_for_every_sentence(talk: Path, tmp_path: Path) -> None:
    failed = {"id": "talk", "text": "", "error": "no audio stream"}
    _, found = score("score", write(tmp_path / "h.jsonl", [failed, {"id": "clip", "text": ""}]), "--references", talk)
    assert found["hypotheses"]["failed"] == {"n": 3, "first": ["talk#1", "talk#2", "talk#3"]}
    assert found["hypotheses"]["empty"] == {"n": 1, "first": ["clip"]}


def test_results_of_translate_and_transcripts_are_resegmented(talk: Path, tmp_path: Path) -> None:
    result = {"audio": str(tmp_path / "talk.flac"), "text": " ".join(SPOKEN)}
    hypotheses = write(tmp_path / "h.jsonl", [result, {"audio": str(tmp_path / "clip.flac"), "text": "thanks"}])
    _, found = score("score", hypotheses, "--references", talk, "--transcripts", "--metrics", "wer,bleu")
    assert found["metrics"]["WER"]["value"] == 0
    assert found["recipe"]["resegmentation"]["sentences"] == 3


def test_the_text_of_a_whole_talk_is_divided_on_request(tmp_path: Path) -> None:
    talk, references = write(tmp_path / "talk.txt", [TEXT]), write(tmp_path / "r.txt", SENTENCES)
    command = ("score", talk, "--references", references, "--target-language", "de")
    with pytest.raises(VoxlateError, match=r"talk.txt has 1 lines, .*r.txt 3; .* --resegment divides it among the ref"):
        score(*command)
    done, found = score(*command, "--resegment")
    assert (done.exit_code, found["n"], found["recipe"]["resegmentation"]["sentences"]) == (0, 3, 3)
    lines = write(tmp_path / "lines.txt", ["Guten", "", "Morgen! Heute spreche", TEXT.partition("spreche ")[2]])
    done, compared = score("compare", lines, *command[1:], "--resegment")
    assert {metric["difference"] for metric in compared["metrics"].values()} == {0.0}
    assert compared["metrics"]["BLEU"]["signature"].endswith("|reseg:softsegmenter.words.1")
    _, whole = score("score", lines, "--references", write(tmp_path / "m.jsonl", [row("t", SENTENCES)]), "--resegment")
    assert whole["metrics"]["BLEU"]["value"] == found["metrics"]["BLEU"]["value"]


def test_results_of_one_input_are_divided_and_those_of_several_refused(talk: Path, tmp_path: Path) -> None:
    references = write(tmp_path / "r.jsonl", [row(f"s{number}", text) for number, text in enumerate(SENTENCES)])
    one = write(tmp_path / "one.json", [{"audio": "elsewhere.mp3", "text": TEXT}])
    with pytest.raises(VoxlateError, match=r"has hypotheses of 1 inputs, .* has 3 rows; .*, add --resegment$"):
        score("score", one, "--references", references)
    assert score("score", one, "--references", references, "--resegment")[1]["n"] == 3
    two = write(tmp_path / "two.json", [{"audio": name, "text": TEXT} for name in ("a.mp3", "b.mp3")])
    with pytest.raises(VoxlateError, match=r"two.json has hypotheses of 2 inputs, --resegment expects .* of one recor"):
        score("score", two, "--references", references, "--resegment")
    several = write(tmp_path / "two.jsonl", [row("a", SENTENCES), row("b", SENTENCES)])
    assert score("score", two, "--references", several, "--resegment")[1]["n"] == 6  # not needed, but harmless


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (
            {"target_text": []},
            r"r.jsonl:1: target_text is a list, but it is empty; expected one sentence in each item$",
        ),
        ({"target_text": ["A", " "]}, "target_text is a list, but item 2 is empty; expected one sentence"),
        ({"target_text": ["A", 5]}, "target_text is a list, but item 2 is a number; expected one sentence"),
        ({"source_text": ["A"]}, "source_text is a list of 1, target_text a list of 3; expected as many sentences"),
        ({"source_text": "A"}, "source_text is one text, target_text a list of 3; expected as many sentences in both"),
        ({"target_text": "A"}, "source_text is a list of 3, target_text one text; expected as many sentences"),
    ],
)
def test_lists_that_are_not_sentences_are_refused(texts: dict[str, Any], message: str, tmp_path: Path) -> None:
    references = write(tmp_path / "r.jsonl", [row("talk", SENTENCES, source_text=SPOKEN) | texts])
    hypotheses = write(tmp_path / "h.jsonl", [{"id": "talk", "text": TEXT}])
    with pytest.raises(VoxlateError, match=message):
        score("score", hypotheses, "--references", references)


def test_ids_of_sentences_that_are_also_those_of_clips_are_refused(tmp_path: Path) -> None:
    references = write(tmp_path / "r.jsonl", [row("talk", SENTENCES), row("talk#2", "Danke.")])
    hypotheses = write(tmp_path / "h.jsonl", [{"id": name, "text": "Danke."} for name in ("talk", "talk#2")])
    with pytest.raises(VoxlateError, match=r"r.jsonl: 1 ids occur twice: talk#2$"):
        score("score", hypotheses, "--references", references)
