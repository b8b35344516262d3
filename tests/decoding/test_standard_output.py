"""Lines on standard output: as soon as the segments before them are done, and the same as at once at the end."""

from pathlib import Path

import pytest

from voxlate.decoding.inputs import Input
from voxlate.decoding.outputs import StandardOutput
from voxlate.decoding.results import Candidate, Segment, Translation


def segment(text: str, start: float = 0.0) -> Segment:
    return Segment(start, start + 1, (Candidate(text, -0.5),))


def translation(language: str, *texts: str) -> Translation:
    segments = tuple(segment(text, float(start)) for start, text in enumerate(texts))
    return Translation("a", float(len(texts)), language, segments)


class Lines:
    """Standard output that is being written; `new` returns the lines since the last call."""

    def __init__(self, capsys: pytest.CaptureFixture[str], file_format: str, *languages: str, inputs: int = 1) -> None:
        self._capsys = capsys
        self.output = StandardOutput([file_format], languages, inputs)
        self.output.work_list([Input(Path(name)) for name in "ab"[:inputs]])

    def new(self) -> list[str]:
        return self._capsys.readouterr().out.splitlines()


def test_lines_of_text_are_written_as_soon_as_segments_are_done(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines(capsys, "txt", "de")
    lines.output.put_segment(0, "de", segment("eins"))
    assert lines.new() == ["eins"]
    lines.output.put_segment(0, "de", segment("zwei", 1.0))
    assert lines.new() == ["zwei"]
    lines.output.put(0, translation("de", "eins", "zwei", "drei"))
    assert lines.new() == ["drei"]
    lines.output.close()
    assert lines.new() == []


def test_a_result_without_segments_is_an_empty_line(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines(capsys, "txt", "de")
    lines.output.put(0, translation("de"))
    assert lines.new() == [""]


def test_a_table_has_its_header_once_and_rows_as_segments_are_done(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines(capsys, "tsv", "de")
    lines.output.put_segment(0, "de", segment("eins"))
    assert lines.new() == ["audio\tstart\tend\trank\tscore\ttext", "a\t0.000\t1.000\t1\t-0.5000\teins"]
    lines.output.put(0, translation("de", "eins", "zwei"))
    assert lines.new() == ["a\t1.000\t2.000\t1\t-0.5000\tzwei"]


def test_the_second_input_waits_for_the_first(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines(capsys, "tsv", "de", inputs=2)
    lines.output.put_segment(1, "de", segment("zwei"))
    assert lines.new() == []
    lines.output.put_segment(0, "de", segment("eins"))
    assert [line.split("\t")[0] for line in lines.new()] == ["audio", "a"]
    lines.output.put(0, translation("de", "eins"))
    assert [line.split("\t")[0::5] for line in lines.new()] == [["b", "zwei"]]
    lines.output.put(1, translation("de", "zwei"))
    assert lines.new() == []


def test_a_failed_input_does_not_hold_back_the_next(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines(capsys, "tsv", "de", inputs=2)
    lines.output.put_segment(1, "de", segment("zwei"))
    lines.output.put(0, None)
    assert [line.split("\t")[-1] for line in lines.new()] == ["text", "zwei"]


def test_the_second_language_waits_for_the_first(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines(capsys, "tsv", "de", "fr")
    lines.output.put_segment(0, "fr", segment("un"))
    assert lines.new() == []
    lines.output.put_segment(0, "de", segment("eins"))
    lines.output.put(0, translation("de", "eins", "zwei"))
    assert [line.split("\t")[1::5] for line in lines.new()] == [
        ["language", "text"],
        ["de", "eins"],
        ["de", "zwei"],
        ["fr", "un"],
    ]
    lines.output.put(0, translation("fr", "un", "deux"))
    assert [line.split("\t")[1::5] for line in lines.new()] == [["fr", "deux"]]


@pytest.mark.parametrize("file_format", ["json", "srt", "vtt"])
def test_other_formats_are_written_at_the_end(capsys: pytest.CaptureFixture[str], file_format: str) -> None:
    lines = Lines(capsys, file_format, "de")
    lines.output.put_segment(0, "de", segment("eins"))
    assert lines.new() == []
    lines.output.put(0, translation("de", "eins"))
    assert len(lines.new()) > 1


def test_the_text_of_several_inputs_is_a_line_for_each(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines(capsys, "txt", "de", inputs=2)
    lines.output.put_segment(0, "de", segment("eins"))
    assert lines.new() == []
    lines.output.put(0, translation("de", "eins", "zwei"))
    assert lines.new() == ["a\teins zwei"]


def test_an_interruption_keeps_what_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines(capsys, "tsv", "de", inputs=2)
    lines.output.put_segment(0, "de", segment("eins"))
    lines.output.put(1, translation("de", "zwei"))
    lines.output.close()
    assert [line.split("\t")[-1] for line in lines.new()] == ["text", "eins", "zwei"]
