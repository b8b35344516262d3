"""Tables by other programs: quoting by their writers is detected, and wrong types are reported in one line."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from manifests import error_of
from voxlate.errors import VoxlateError, short_repr
from voxlate.evaluation.references import read_references
from voxlate.manifest.column_names import lookalikes
from voxlate.manifest.reading import read_manifest
from voxlate.manifest.utterance import NO_AUDIO
from voxlate.manifest.writing import write_manifest

SAYING = 'He said "yes" today.'


pytestmark = pytest.mark.usefixtures("cache")


def written(path: Path, *rows: dict[str, str], **dialect: Any) -> Path:
    """Write a table as a CSV writer does: pandas and Excel use this dialect for tabs, too."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), **{"delimiter": "\t", "lineterminator": "\n", **dialect})
    writer.writeheader()
    writer.writerows(rows)
    path.write_text(text.getvalue(), encoding="utf-8")
    return path


def row(name: str, text: str, **others: str) -> dict[str, str]:
    return {"id": name, "audio": f"{name}.wav", **others, "target_text": text}


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
@pytest.mark.parametrize(
    "rows",
    [
        [row("a", SAYING), row("b", "Plain text")],
        [row("a", "plain", speaker='the "first"'), row("b", "too", speaker="x")],
        [row("a", '"'), row("b", "Yes, and no")],
    ],
    ids=["in the text", "in another column", "a quotation mark alone"],
)
def test_cells_that_a_csv_writer_quoted_are_refused(
    tmp_path: Path, rows: list[dict[str, str]], ends: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = written(tmp_path / "m.tsv", *rows)
    path.write_bytes(path.read_bytes().replace(b"\n", ends.encode()))
    message = error_of(path)
    assert message.startswith("manifest m.tsv: line 2: cells are quoted as in CSV (1 in all), such as '\"")
    assert message.endswith('or as .jsonl (to_json("table.jsonl", orient="records", lines=True))')
    with pytest.raises(VoxlateError, match="cells are quoted as in CSV"):
        read_references(path)
    assert not caplog.records
    # The suggested fixes restore the original texts.
    path.rename(tmp_path / "tabs.txt")
    with (tmp_path / "tabs.txt").open(newline="") as source, (tmp_path / "m.csv").open("w", newline="") as target:
        csv.writer(target).writerows(csv.reader(source, delimiter="\t"))
    assert read_manifest(tmp_path / "m.csv", check_audio=False).column("target_text") == [
        item["target_text"] for item in rows
    ]


def test_quotation_marks_escaped_by_a_writer_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "m.tsv", row("a", SAYING), row("b", "x"), doublequote=False, escapechar="\\")
    assert "cells are quoted as in CSV (1 in all), such as 'He said \\\\\"yes\\\\\" today.'; in a .tsv" in error_of(
        path
    )
    path.write_text(path.read_text().replace('He said \\"yes\\" today.', '"He said \\"yes\\" today."'))
    assert "cells are quoted as in CSV" in error_of(path)


@pytest.mark.parametrize("dialect", [{"quotechar": "'"}, {"doublequote": False, "escapechar": "\\"}])
@pytest.mark.parametrize("name", ["m.tsv", "m.csv"])
def test_cells_of_other_csv_dialects_are_refused(tmp_path: Path, name: str, dialect: dict[str, Any]) -> None:
    mark = dialect.get("quotechar", '"')
    dialect |= {"delimiter": ","} if name == "m.csv" else {}
    path = written(tmp_path / name, row("a", f"It{mark}s"), row("b", "x"), **dialect)
    assert ": line 2: cells are quoted as in CSV (1 in all), such as " in error_of(path)
    # With one quotation mark elsewhere, all of them are text.
    path.write_text(path.read_text() + path.read_text().splitlines()[2].replace("x", f"y{mark}z").replace("b", "c"))
    assert read_manifest(path, check_audio=False).column("target_text")[1:] == ["x", f"y{mark}z"]


def test_backslashes_before_doubled_quotation_marks_are_text(tmp_path: Path) -> None:
    texts = ['C:\\"x"\\', '\\"', "'It''s'", "it's"]
    written(tmp_path / "m.csv", *(row(str(i), text) for i, text in enumerate(texts)), delimiter=",")
    assert read_manifest(tmp_path / "m.csv", check_audio=False).column("target_text") == texts


def test_lists_and_objects_over_several_lines_are_one_problem(tmp_path: Path) -> None:
    for text in (json.dumps([row("a", "x")] * 2), json.dumps([row("a", "x")] * 2, indent=1), '{\n"id": "a"\n}\n'):
        (tmp_path / "m.jsonl").write_text(text)
        assert error_of(tmp_path / "m.jsonl") == (
            "manifest m.jsonl: line 1: starts a list or a multi-line object, expected one object on each "
            "line (pandas: to_json(orient='records', lines=True))"
        )


def test_a_column_without_a_name_is_named(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text(",id\n0,a\n")
    assert error_of(tmp_path / "m.csv").endswith("no column 'audio'; its columns: '', id")


def test_a_header_in_quotation_marks_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "m.tsv", row("a", "x"), quoting=csv.QUOTE_ALL)
    assert error_of(path).startswith(
        "manifest m.tsv: line 1: the column names are in quotation marks ('\"id\"'), expected them without;"
    )


def test_tabs_and_line_ends_in_quoted_cells_are_explained(tmp_path: Path) -> None:
    hint = "in a .tsv, a cell in quotation marks cannot contain a tab or a line end"
    message = error_of(written(tmp_path / "m.tsv", row("a", "one\ttwo")))
    assert message.endswith(f"line 2: 4 columns, expected 3 as in the first line; {hint}")
    message = error_of(written(tmp_path / "m.tsv", row("a", "one\ntwo")))
    assert message.endswith(f"line 3: 1 columns, expected 3 as in the first line; {hint}")


LITERAL = [
    ['"Yes," he said, "no."', 'He said "yes".', '"'],
    ['""Twice""', "plain", '"Open'],
    ['5" of snow', '"""Three"""', 'an "end"'],
]


@pytest.mark.parametrize("texts", LITERAL)
def test_literal_quotation_marks_are_kept(tmp_path: Path, texts: list[str]) -> None:
    rows = "".join(f"{i}\t{i}.wav\t{text}\n" for i, text in enumerate(texts))
    (tmp_path / "m.tsv").write_text(f"id\taudio\ttarget_text\n{rows}")
    assert read_manifest(tmp_path / "m.tsv", check_audio=False).column("target_text") == texts


def test_cells_that_may_be_quoted_are_kept_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "m.tsv").write_text('id\taudio\ttarget_text\na\ta.wav\t"Well, yes"\nb\tb.wav\tNo\n')
    for _ in range(2):  # also from the cache
        assert read_manifest(tmp_path / "m.tsv", check_audio=False)[0].target_text == '"Well, yes"'
        assert "cells look quoted as in CSV (1 in all), first in line 2: '\"Well, yes\"'; they are" in caplog.text
        caplog.clear()


@pytest.mark.parametrize(
    ("contents", "expected"),
    [
        (b"id\taudio\ra\ta.wav\r", "its lines end with \\r alone, expected \\n or \\r\\n"),
        ("id\taudio\na\ta.wav\n".encode("utf-16-le"), "contains zero bytes, expected text; if it is UTF-16"),
        ("id\taudio\na\ta.wav\n".encode("utf-32"), "is UTF-32, expected UTF-8"),
        (b"id;audio\na;a.wav\n", "line 1: its columns look separated by semicolons, expected tabs in a .tsv"),
    ],
)
def test_tables_of_other_systems(tmp_path: Path, contents: bytes, expected: str) -> None:
    (tmp_path / "m.tsv").write_bytes(contents)
    assert expected in error_of(tmp_path / "m.tsv")


def test_unused_columns_with_names_of_other_tools_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "m.tsv"
    path.write_text("id\taudio\tn_frames\ttgt_text\tspeaker\tnote\na\ta.wav\t37000\thello\tx\ty\n")
    for _ in range(2):
        assert len(read_manifest(path, check_audio=False)) == 1
        assert "m.tsv: unused columns: n_frames (for seconds?), tgt_text (for target_text?); re" in caplog.text
        caplog.clear()
    assert "no column 'target_text'; is it 'tgt_text'? rename that column" in error_of(path, need=["target_text"])
    assert "n_frames (for seconds?)" in caplog.text
    path.write_text("id\taudio\ttarget_language\na\ta.wav\ten\n")
    assert "no column 'target_text'; its columns: id, audio, target_language" in error_of(path, need=["target_text"])


def test_column_names_of_other_tools() -> None:
    wanted = ["audio", "seconds", "source_text", "target_text", "target_language", "speaker"]
    found = lookalikes(["path", "Duration", "sentence", "Target Text", "tgt_lang", "client_id", "age"], wanted)
    assert found == {
        "path": "audio",
        "Duration": "seconds",
        "sentence": "source_text",
        "Target Text": "target_text",
        "tgt_lang": "target_language",
        "client_id": "speaker",
    }
    assert lookalikes(["audio_filepath", "audio", "translation"], ["audio"]) == {}


def test_a_row_with_an_error_may_lack_audio(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text('{"id": "a", "audio": "c.wav"}\n{"id": "b", "error": "was not readable"}\n')
    manifest = read_manifest(path, check_audio=False)
    assert (manifest[1].audio, manifest[1].error) == (NO_AUDIO, "was not readable")
    for name in ("again.jsonl", "again.parquet"):
        write_manifest(tmp_path / name, manifest)
        assert list(read_manifest(tmp_path / name, check_audio=False)) == list(manifest)
    assert json.loads((tmp_path / "again.jsonl").read_text().splitlines()[1]) == {
        "id": "b",
        "error": "was not readable",
    }


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"bytes": 5, "path": "c.wav"}, "audio has bytes that are a number (5), expected a path"),
        ({"bytes": "abc"}, "audio has bytes that are text ('abc'), expected a path"),
        ({"path": 5}, "audio is a number (5), expected text"),
        (
            {"array": [0.5], "sampling_rate": 16000},
            "audio is {'array': [0.5], 'sampling_rate': 16000}, expected a path",
        ),
        ({"path": None}, "audio is {'path': None}, expected a path"),
        ({}, "audio is empty"),
        (["c.wav"], "audio is a list (['c.wav']), expected text"),
        ("c\0.wav", "audio 'c\\x00.wav' not found (looked for c\\x00.wav)"),
    ],
)
def test_invalid_audio_values(tmp_path: Path, value: object, expected: str) -> None:
    (tmp_path / "m.jsonl").write_text(json.dumps({"id": "a", "audio": value}) + "\n")
    assert error_of(tmp_path / "m.jsonl", check_audio=True) == f"manifest m.jsonl: line 1: {expected}"


def test_parquet_columns_of_wrong_types_are_named(tmp_path: Path) -> None:
    days = pa.Array.from_buffers(pa.date32(), 1, [None, pa.py_buffer((-(10**9)).to_bytes(4, "little", signed=True))])
    times = pa.array([1], pa.timestamp("ns", tz="Nowhere/At_all"))
    columns = {"id": pa.array(["a"]), "audio": pa.array(["a.wav"]), "split": days, "speaker": times, "other": days}
    pq.write_table(pa.table(columns), tmp_path / "m.parquet")
    assert error_of(tmp_path / "m.parquet").splitlines() == [
        "manifest m.parquet: 2 problems",
        "  column 'speaker' is timestamp[ns, tz=Nowhere/At_all], expected text or numbers, or bytes and path for audio",
        "  column 'split' is date32[day], expected text or numbers, or bytes and path for audio",
    ]
    raw = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xff\xfe")])
    pq.write_table(pa.table({"id": raw, "audio": pa.array(["a.wav"])}), tmp_path / "m.parquet")
    assert "row 1: not UTF-8 (byte 0xFF), in this row or one of the next 500" in error_of(tmp_path / "m.parquet")
    pq.write_table(pa.Table.from_arrays([pa.array(["a"])] * 3, names=["id", "audio", "id"]), tmp_path / "m.parquet")
    assert "column 'id' occurs 2 times" in error_of(tmp_path / "m.parquet")


def test_a_repeated_name_in_an_object_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_text('{"id": "a", "audio": "a.wav", "target_text": "x", "target_text": "y"}\n')
    assert "line 1: not JSON (a name occurs twice in an object)" in error_of(tmp_path / "m.jsonl")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "id,audio\ra,b\r",
            "line 1: not CSV (new-line character seen in unquoted field); expected lines that end with",
        ),
        ('"id";"audio"\na;b\n', "line 1: its columns look separated by semicolons, expected tabs in a .tsv, commas"),
        ("i\0d\0,\0", "line 1: contains zero bytes, expected text; if it is UTF-16"),
        ("'id','audio'\na,b\n", "line 1: the column names are in quotation marks (\"'id'\")"),
        (f"id,audio\na,{'x' * 200_000}\n", "line 2: not CSV (field larger than field limit (131072))"),
    ],
)
def test_problems_of_csv_files(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "m.csv").write_text(text)
    assert expected in error_of(tmp_path / "m.csv")


def test_messages_shorten_long_values(tmp_path: Path) -> None:
    long = "x" * 100_000
    rows: list[dict[str, Any]] = [
        {"id": long, "audio": long, "source_language": long, "seconds": long, "split": [long] * 99}
    ] * 2
    nested: list[Any] = []
    for _ in range(300):
        nested = [nested]
    rows.append({"id": "c", "audio": nested, long: 1})
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(item) + "\n" for item in rows))
    message = error_of(tmp_path / "m.jsonl", check_audio=True, need=["audio", "target_text"])
    assert len(message) < 5_000
    assert "id 'xxx" in message
    assert len(short_repr({str(i): long for i in range(99)})) < 500


def test_some_problems_of_each_kind_are_shown(tmp_path: Path) -> None:
    rows = [{"id": f"r{i}", "audio": "gone.wav"} for i in range(100)]
    rows[90] |= {"target_language": "frensh"}
    rows[95] |= {"id": "r0"}
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(item) + "\n" for item in rows))
    message = error_of(tmp_path / "m.jsonl", check_audio=True)
    assert len(message.splitlines()) == 22
    assert "line 91: target_language: unknown language 'frensh'; did you mean fr (French)?" in message
    assert "line 96: id 'r0' occurs twice, first in line 1" in message
    assert message.endswith("… and 82 more")


def test_many_unknown_languages_are_found_at_once(tmp_path: Path) -> None:
    rows = [{"id": str(i), "audio": "a.wav", "source_language": f"sentence {i}"} for i in range(5_000)]
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(item) + "\n" for item in rows))
    assert error_of(tmp_path / "m.jsonl").startswith("manifest m.jsonl: 5,000 problems")
