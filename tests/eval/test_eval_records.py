"""Hypotheses and references are joined by id, by clip or line by line; every mismatch is a one-line error."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from voxlate_eval import EvaluationError
from voxlate_eval.records import join, read_hypotheses, read_references

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def lines(name: str, rows: list[Any]) -> Path:
        path = tmp_path / name
        texts = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
        path.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
        return path

    return lines


def hypothesis(name: str, text: str = "Ja.", **others: Any) -> dict[str, Any]:
    return {"id": name, "text": text, **others}


def reference(name: str, text: str = "Ja.", **others: Any) -> dict[str, Any]:
    languages = {"source_language": "en", "target_language": "de", "split": "test"}
    return {"id": name, "target_text": text, **languages, **others}


def joined(hypotheses: Path, references: Path, language: str | None = None) -> Any:
    return join(read_hypotheses(hypotheses), read_references(references), language)


def test_rows_are_joined_by_id_in_the_order_of_the_references(write: Write) -> None:
    hypotheses = write("h.jsonl", [hypothesis("b", "B"), hypothesis("a", "", error="no audio stream")])
    write("h.meta.json", ['{"beam": 5, "target_language": "de"}'])
    records = joined(hypotheses, write("r.jsonl", [reference("a", "Eins  zwei "), reference("b", "", seconds=1.5)]))
    assert records.hypotheses == ["", "B"]
    assert records.references == ["Eins  zwei ", ""]  # unchanged
    assert (records.direction, records.split, records.target_language) == ("en-de", "test", "de")
    assert records.official_n == 15_531
    assert records.rows[0][0].error == "no audio stream"
    assert records.meta == {"beam": 5, "target_language": "de"}


def test_plain_text_is_joined_line_by_line(write: Write) -> None:
    hypotheses, plain = write("h.txt", ["Eins", "", "drei\u2028vier"]), write("r.txt", ["Eins", "zwei", "drei"])
    records = joined(hypotheses, plain, "de")
    assert records.hypotheses == ["Eins", "", "drei\u2028vier"]
    assert (records.direction, records.official_n) == (None, None)
    rows = [reference(name, target_language="zh-CN") for name in "abc"]
    assert joined(hypotheses, write("r.jsonl", rows), "cmn").direction == "en-zh"


def test_synthetic_speech_is_not_a_split_of_covost2(write: Write) -> None:
    name = "en-de/spoken_en_1"
    assert joined(write("h.jsonl", [hypothesis(name)]), write("r.jsonl", [reference(name)])).official_n is None


MANY = [str(number) for number in range(9)]


@pytest.mark.parametrize(
    ("hypotheses", "references", "message"),
    [
        (MANY[2:], MANY, r"h.jsonl does not fit .*r.jsonl: 2 ids have no hypothesis: 0, 1; a clip that failed has an"),
        (
            MANY,
            MANY[:2],
            r"h.jsonl does not fit .*: 7 ids have no reference: 2, 3, 4, 5, 6 and 2 more; they belong to",
        ),
        (["a", "b", "a"], ["a", "b"], r"h.jsonl: 1 ids occur twice: a$"),
        (["a", "b"], ["a", "b", "b"], r"r.jsonl: 1 ids occur twice: b$"),
        (["x"], ["a"], r"have no id in common \(x against a\); they belong to different splits$"),
        ([], ["a"], r"h.jsonl is empty; expected one line for each sentence$"),
        (["a"], [], r"r.jsonl is empty; expected one line for each sentence$"),
    ],
)
def test_ids_that_do_not_match(write: Write, hypotheses: list[str], references: list[str], message: str) -> None:
    paths = write("h.jsonl", [*map(hypothesis, hypotheses)]), write("r.jsonl", [*map(reference, references)])
    with pytest.raises(EvaluationError, match=message) as caught:
        joined(*paths)
    assert "\n" not in str(caught.value)


def test_unequal_numbers_of_lines(write: Write) -> None:
    with pytest.raises(
        EvaluationError, match=r"h.txt has 2 lines, .*r.txt 3; expected one for each, with an empty line"
    ):
        joined(write("h.txt", ["a", "b"]), write("r.txt", ["a", "b", "c"]), "de")


def test_languages_must_agree(write: Write) -> None:
    hypotheses = write("h.jsonl", [hypothesis("a"), hypothesis("b")])
    mixed = write("m.jsonl", [reference("a"), reference("b", target_language="ca")])
    with pytest.raises(
        EvaluationError, match=r"m.jsonl: several directions \(en-ca, en-de\); expected one direction per"
    ):
        joined(hypotheses, mixed)
    plain = write("r.jsonl", [reference("a"), reference("b")])
    with pytest.raises(
        EvaluationError, match=r"target languages differ: de \(the references\), fr \(--target-language\)"
    ):
        joined(hypotheses, plain, "fr")
    write("h.meta.json", ['{"target_language": "fr"}'])
    with pytest.raises(EvaluationError, match=r"target languages differ: de \(the references\), fr \(the hypotheses\)"):
        joined(hypotheses, plain)
    with pytest.raises(EvaluationError, match=r"r.txt has no target language; add --target-language, such as de or zh"):
        joined(write("h.txt", ["a"]), write("r.txt", ["a"]))


def test_ids_need_a_manifest(write: Write) -> None:
    with pytest.raises(EvaluationError, match=r"h.jsonl has ids, .*r.txt has none; give the manifest as references"):
        joined(write("h.jsonl", [hypothesis("a")]), write("r.txt", ["a"]), "de")


def test_integers_are_accepted_as_ids(write: Write) -> None:
    hypotheses = write("h.jsonl", [hypothesis("7"), {"id": 8, "text": "Nein."}])
    references = write("r.jsonl", [{**reference("x"), "id": 8, "speaker": 3}, {**reference("x"), "id": 7}])
    records = joined(hypotheses, references)
    assert [(row.id, row.text, known.id, known.speaker) for row, known in records.rows] == [
        ("8", "Nein.", "8", "3"),
        ("7", "Ja.", "7", None),
    ]
    assert records.official_n == 15_531


DEEP = "[" * 100_000


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("id", '["a"]', r"r.jsonl:1: id is a list, expected text$"),
        ("id", "true", r"r.jsonl:1: id is true or false, expected text$"),
        ("id", "null", r"r.jsonl:1: id is missing; expected id and target_text in every line$"),
        ("target_text", '{"de": "Ja."}', r"r.jsonl:1: target_text is an object, expected text$"),
        ("split", '["test"]', r"r.jsonl:1: split is a list, expected text$"),
        ("target_language", "5", r"r.jsonl:1: target_language is a number, expected text$"),
        ("audio", '{"bytes": 5}', r"r.jsonl:1: audio is an object, expected text$"),
        ("seconds", '"long"', r"r.jsonl:1: seconds is .long., expected a number$"),
        ("seconds", "NaN", r"r.jsonl:1: not JSON \(NaN is not a JSON number\); expected one object on each line$"),
        ("seconds", "1" + "0" * 400, r"r.jsonl:1: seconds is 10+…, expected a number$"),
        ("id", DEEP, r"r.jsonl:1: not JSON \(nested too deeply\); expected one object on each line$"),
        ("id", "[" * 200 + "]" * 200, r"r.jsonl:1: not JSON \(nested too deeply\)"),
        ("id", '"\\ud800"', r"r.jsonl:1: not JSON \(unpaired surrogate, \\ud800 to \\udfff\)"),
    ],
)
def test_values_of_the_wrong_type_are_reported(write: Write, name: str, value: str, message: str) -> None:
    row = json.dumps({**reference("a"), "seconds": 1.0, "audio": "a.wav", name: "HERE"}).replace('"HERE"', value)
    with pytest.raises(EvaluationError, match=message) as caught:
        read_references(write("r.jsonl", [row]))
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)


def test_files_that_are_not_text(tmp_path: Path) -> None:
    for content, message in (
        ("a".encode("utf-16"), r"is UTF-16, expected UTF-8; save it as UTF-8$"),
        (b"a\nb\0c\n", r"h.txt:2: holds a NUL character, expected text"),
    ):
        (tmp_path / "h.txt").write_bytes(content)
        with pytest.raises(EvaluationError, match=message):
            read_hypotheses(tmp_path / "h.txt")
    (tmp_path / "h.txt").write_bytes(b"\xef\xbb\xbfa\r\nb\r\n")
    assert [row.text for row in read_hypotheses(tmp_path / "h.txt").rows] == ["a", "b"]


def test_invalid_lines(write: Write, tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match=r"h.jsonl:2: is a list, expected one object on each line$"):
        read_hypotheses(write("h.jsonl", [hypothesis("a"), "[1]"]))
    with pytest.raises(EvaluationError, match=r"h.jsonl:1: text is missing; expected id and text in every line$"):
        read_hypotheses(write("h.jsonl", [{"id": 3, "hypothesis": "x"}]))
    with pytest.raises(
        EvaluationError, match=r"r.jsonl:1: target_text is missing; expected id and target_text in every line$"
    ):
        read_references(write("r.jsonl", [{"id": "a"}]))
    with pytest.raises(EvaluationError, match=r"nothing.jsonl: cannot be read \(No such file or directory\)$"):
        read_hypotheses(tmp_path / "nothing.jsonl")
    (tmp_path / "latin.txt").write_bytes("é".encode("latin-1"))
    with pytest.raises(EvaluationError, match=r"latin.txt: not UTF-8 \(byte 0\); save it as UTF-8$"):
        read_references(tmp_path / "latin.txt")
    write("h.meta.json", ["{"])
    with pytest.raises(
        EvaluationError, match=r"h.meta.json:2: not JSON .*expected one JSON object; it describes how .*delete it$"
    ):
        read_hypotheses(write("h.jsonl", [hypothesis("a")]))
