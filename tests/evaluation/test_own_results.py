"""`voxlate score` reads every format of `voxlate translate` and rejects text that is not one hypothesis per line."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from voxlate.decoding.results import Candidate, Segment, Translation
from voxlate.decoding.subtitle_formats import to_srt
from voxlate.decoding.writers import to_json, to_json_line, to_line, to_tsv, to_txt, tsv_rows
from voxlate.errors import VoxlateError
from voxlate.evaluation.hypothesis_tables import read_hypotheses
from voxlate.evaluation.references import read_references as read_manifest_references
from voxlate_eval import EvaluationError
from voxlate_eval.records import Records, join, read_references

TSV_HEADER = "audio\tstart\tend\trank\tscore\ttext\n"
TEXTS = {"b.flac": ("Two short", "segments."), "a.flac": ("One segment.",), "c.flac": ()}
WHOLE = {"b.flac": "Two short segments.", "a.flac": "One segment.", "c.flac": ""}


def result(name: str, texts: tuple[str, ...], language: str = "en") -> Translation:
    segments = tuple(
        Segment(start, start + 1, (Candidate(text, -0.1), Candidate(f"not {text}", -0.5)))
        for start, text in enumerate(texts)
    )
    return Translation(f"clips/{name}", 3.0, language, segments, recipe={"model": "tiny"})


RESULTS = [result(name, texts) for name, texts in TEXTS.items()]


def manifest(folder: Path, names: tuple[str, ...] = ("a.flac", "b.flac", "c.flac"), language: str = "en") -> Path:
    """Write references in another order than the results, with integers as ids."""
    rows = [
        {"id": number, "audio": f"../clips/{name}", "target_text": WHOLE[name], "target_language": language}
        for number, name in enumerate(names)
    ]
    path = folder / "de-en" / "test.jsonl"
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def joined(hypotheses: Path, references: Path, language: str | None = None) -> Records:
    return join(read_hypotheses(hypotheses), read_references(references), language)


@pytest.mark.parametrize(
    ("name", "write", "count"),
    [
        ("printed.txt", to_line, 3),
        ("printed.jsonl", to_json_line, 3),
        ("printed.txt", to_json_line, 3),  # whatever the suffix
        ("indented.json", to_json, 3),
        ("printed.tsv", tsv_rows, 2),  # a table has no row for a clip without speech
        ("printed.out", tsv_rows, 2),
    ],
)
def test_results_of_several_inputs_are_joined_with_their_clips(
    tmp_path: Path, name: str, write: Callable[[Translation], str], count: int
) -> None:
    printed = tmp_path / name
    header = TSV_HEADER if write is tsv_rows else ""
    printed.write_text(header + "".join(map(write, RESULTS)), encoding="utf-8")
    records = joined(printed, manifest(tmp_path, ("a.flac", "b.flac", "c.flac")[:count]))
    assert records.hypotheses == ["One segment.", "Two short segments.", ""][:count]
    assert [reference.id for _, reference in records.rows] == ["0", "1", "2"][:count]
    plain = tmp_path / "references.txt"
    plain.write_text("".join(f"{text}\n" for text in [*WHOLE.values()][:count]))
    assert joined(printed, plain, "en").hypotheses == [*WHOLE.values()][:count]


@pytest.mark.parametrize(("suffix", "write"), [("json", to_json), ("tsv", to_tsv), ("txt", to_txt)])
def test_a_folder_of_results_may_have_several_languages(
    tmp_path: Path, suffix: str, write: Callable[[Translation], str]
) -> None:
    for name in ("a.flac", "b.flac"):
        for language in ("en", "zh"):
            path = tmp_path / "out" / "clips" / f"{name}.{language}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(write(result(name, TEXTS[name], language)))
    references = manifest(tmp_path, ("a.flac", "b.flac"))
    assert joined(tmp_path / "out", references).hypotheses == ["One segment.", "Two short segments."]
    plain = tmp_path / "r.txt"
    plain.write_text("a\nb\n")
    with pytest.raises(EvaluationError, match=r"out has several target languages \(en, zh\); add --target-language"):
        joined(tmp_path / "out", plain)
    with pytest.raises(EvaluationError, match=r"out: a folder has no order, .* expected a manifest with audio"):
        joined(tmp_path / "out", plain, "zh")


def test_printed_results_in_several_languages_are_separated(tmp_path: Path) -> None:
    lines = [f"clips/{name}\t{language}\t{name} in {language}\n" for name in "ab" for language in ("de", "zh")]
    (tmp_path / "h.txt").write_text("".join(lines))
    (tmp_path / "r.txt").write_text("a\nb\n")
    assert joined(tmp_path / "h.txt", tmp_path / "r.txt", "zh").hypotheses == ["a in zh", "b in zh"]
    header = TSV_HEADER.replace("start", "language\tstart")
    cells = [
        f"{name}\t{language}\t0\t1\t1\t-0.1\t{text}\n" for name, language, text in (line.split("\t") for line in lines)
    ]
    (tmp_path / "h.tsv").write_text(header + "".join(cell.replace("\n\n", "\n") for cell in cells))
    assert joined(tmp_path / "h.tsv", tmp_path / "r.txt", "de").hypotheses == ["a in de", "b in de"]


def test_a_single_result_is_one_hypothesis(tmp_path: Path) -> None:
    plain = tmp_path / "r.txt"
    plain.write_text("Two short segments.\n")
    for name, text in (("one.tsv", to_tsv(RESULTS[0])), ("one.json", to_json(RESULTS[0]))):
        (tmp_path / name).write_text(text)
        assert joined(tmp_path / name, plain, "en").hypotheses == ["Two short segments."]
    assert joined(tmp_path / "one.json", plain).meta == {"model": "tiny", "target_language": "en"}
    (tmp_path / "one.txt").write_text(to_txt(RESULTS[0]))
    with pytest.raises(EvaluationError, match=r"one.txt has 2 lines, .*r.txt 1; .*--format json keeps its text togeth"):
        joined(tmp_path / "one.txt", plain, "en")


def test_text_that_is_not_one_hypothesis_per_line_is_rejected(tmp_path: Path) -> None:
    def refused(name: str, text: str, message: str) -> None:
        (tmp_path / name).write_text(text)
        with pytest.raises((EvaluationError, VoxlateError), match=message) as caught:
            joined(tmp_path / name, manifest(tmp_path))
        assert "\n" not in str(caught.value)

    refused("h.srt", to_srt(RESULTS[0]), r"h.srt: subtitles, whose cues are not sentences; .*--format json")
    refused("h.txt", to_srt(RESULTS[0]), r"h.txt: subtitles")
    refused("h.txt", "One.\nTwo\tthree.\n", r"h.txt:2: holds a tab; expected one hypothesis on each line, or NAME")
    refused(
        "h.txt", "".join(map(to_line, RESULTS[:2])), r"does not fit .*: 1 clips have no hypothesis: ../clips/c.flac"
    )
    refused("h.txt", "x.wav\tX\ny.wav\tY\nz.wav\tZ\n", r"have no clip in common \(x.wav against ../clips/a.flac\)")
    refused("h.txt", to_line(RESULTS[0]) * 2, r"h.txt: 1 ids occur twice: clips/b.flac")
    refused("h.tsv", TSV_HEADER + "a.flac\t0\n", r"h.tsv: line 2: 2 columns, expected 6")
    refused("h.csv", "name,words\na,b\n", r"h.csv: no columns id and text; its columns: name, words")


def test_tables_of_hypotheses_have_ids(tmp_path: Path) -> None:
    (tmp_path / "h.csv").write_text('id,text\n1,"Two short segments."\n0,One segment.\n2,\n')
    assert joined(tmp_path / "h.csv", manifest(tmp_path)).hypotheses == ["One segment.", "Two short segments.", ""]


def test_a_table_without_a_header_is_rejected_as_references(tmp_path: Path) -> None:
    (tmp_path / "r.txt").write_text("".join(map(to_line, RESULTS)))
    with pytest.raises(EvaluationError, match=r"r.txt: a tab in every line, as in a table; expected references alone"):
        read_references(tmp_path / "r.txt")


def test_unprintable_shortened_and_moved_names_are_joined_with_their_clips(tmp_path: Path) -> None:
    names = ["a/x.flac", "b/x.flac", "c/t\tab\nx.flac", "c/caf\u00e9.flac"]
    rows = [{"id": name, "audio": f"/gone/data/{name}", "target_text": name, "target_language": "en"} for name in names]
    references = tmp_path / "references.jsonl"
    references.write_text("".join(json.dumps(row) + "\n" for row in rows))
    spelled = [*names[:3], "c/cafe\u0301.flac"]
    results = [
        Translation(f"there/data/{name}", 3.0, "en", (Segment(0, 1, (Candidate(text, -0.1),)),), recipe={})
        for name, text in zip(spelled, "ABCD", strict=True)
    ]
    for file, write in (("h.txt", to_line), ("h.tsv", tsv_rows), ("h.jsonl", to_json_line)):
        header = TSV_HEADER if write is tsv_rows else ""
        (tmp_path / file).write_text(header + "".join(map(write, results)), encoding="utf-8")
        assert joined(tmp_path / file, references).hypotheses == [*"ABCD"], file

    folder = tmp_path / "out"
    (folder / "c").mkdir(parents=True)
    for place, found in zip(("x.flac", "x.flac~1", "c/t\tab\nx.flac", "c~409.flac"), results, strict=True):
        (folder / f"{place}.en.txt").write_text(to_txt(found))
    with pytest.raises(EvaluationError, match="clips have no hypothesis"):
        joined(folder, references)
    owners = [("x.flac", 0), ("x.flac~1", 1), ("c~409.flac", 3)]
    lines = [json.dumps({"place": place, "input": f"/there/data/{names[number]}"}) for place, number in owners]
    (folder / ".voxlate.jsonl").write_text("\n".join(["damaged", *lines]) + "\n")
    assert joined(folder, references).hypotheses == [*"ABCD"]


def test_text_before_a_tab_is_not_a_file_name(tmp_path: Path) -> None:
    (tmp_path / "h.txt").write_text("It costs 3.5 euros.\t-0.51\nNo.\t-0.2\n")
    (tmp_path / "r.txt").write_text("It costs 3.5 euros.\nNo.\n")
    with pytest.raises(
        EvaluationError, match=r"h.txt: text before a tab is not a file name \(It costs 3.5 euros.\); expected NAME"
    ):
        joined(tmp_path / "h.txt", tmp_path / "r.txt", "en")


def test_languages_of_references_may_be_names(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text(json.dumps({"id": 1, "target_text": "x", "source_language": "deu", "target_language": "French"}))
    (row,) = read_manifest_references(path).rows
    assert (row.source_language, row.target_language) == ("de", "fr")
