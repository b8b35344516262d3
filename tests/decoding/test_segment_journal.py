"""The journal of a result's finished segments: what is read is what was written, and nothing else."""

import errno
from pathlib import Path

import pytest

from voxlate.decoding.results import Candidate, Segment, SpanResult, Word
from voxlate.decoding.segment_journal import SegmentJournal, known_segments, segment_journal_path

SPAN = (160, 32_001)
CUT_AGAIN = SpanResult(
    (
        Segment(
            1 / 3, 0.7, (Candidate("„Grüße“\u2028\n", -1 / 7), Candidate("", -0.0)), (Word("Grüße", 0.1 + 0.2, 0.7),)
        ),
        Segment(0.7, 2.000062500000001, (Candidate("日本", -12.0),)),
    ),
    cut_off=1,
)
WITHOUT_CANDIDATES = b'{"start": 0, "end": 1, "candidates": [], "words": []}'
ONE = SpanResult((Segment(2.5, 3.0, (Candidate("one", -0.5),)),))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return segment_journal_path(tmp_path / "talk.mp3", "de")


def journal(path: Path, origin: str = "a") -> SegmentJournal:
    """Open a journal that must not have anything to report."""
    return SegmentJournal(path, origin, pytest.fail)


def test_a_new_journal_is_empty_and_writes_nothing(path: Path) -> None:
    new = journal(path)
    assert (new.spans, new.until, new.finished) == ([], 0, {})
    assert not path.exists()
    new.remove()


def test_the_journal_is_a_hidden_file_beside_the_result(path: Path) -> None:
    journal(path).add(SPAN, ONE)
    assert [file.name for file in path.parent.iterdir()] == [".talk.mp3.de.jsonl"]


def test_segments_are_read_exactly_as_they_were_written(path: Path) -> None:
    first = journal(path)
    first.add_spans([SPAN, (40_000, 48_000)], 50_000)
    first.add(SPAN, CUT_AGAIN)
    first.add_spans([(50_000, 60_000)], 64_000)
    first.add((50_000, 60_000), ONE)
    second = journal(path)
    assert second.spans == [SPAN, (40_000, 48_000), (50_000, 60_000)]
    assert second.until == 64_000
    assert second.finished == {SPAN: CUT_AGAIN, (50_000, 60_000): ONE}
    assert repr(second.finished) == repr(first.finished)  # the sign of a zero, too
    second.remove()
    assert not path.exists()


def test_another_origin_is_ignored_and_removed(path: Path) -> None:
    journal(path, "a").add(SPAN, ONE)
    changed = journal(path, "b")
    assert changed.finished == {}
    assert not path.exists()


def test_two_origins_share_a_file(path: Path) -> None:
    """Two processes with different settings work on the same input at the same time."""
    one, other = journal(path, "a"), journal(path, "b")
    one.add(SPAN, ONE)
    other.add(SPAN, CUT_AGAIN)
    one.add_spans([SPAN], 50_000)
    assert journal(path, "a").finished == {SPAN: ONE}
    assert journal(path, "b").finished == {SPAN: CUT_AGAIN}
    assert (journal(path, "a").until, journal(path, "b").until) == (50_000, 0)


def test_two_processes_of_the_same_command_repeat_each_other_harmlessly(path: Path) -> None:
    for each in (journal(path), journal(path)):
        each.add_spans([SPAN], 50_000)
        each.add(SPAN, ONE)
    assert (journal(path).spans, journal(path).finished) == ([SPAN], {SPAN: ONE})


@pytest.mark.parametrize(
    "damage",
    [
        b'{"origin": "a", "span": [160, 32001], "segm',
        b"\0\0\0\0\n",
        b"\xff\xfe\n[]\n7\nnull\n",
        b'{"origin": "a", "span": [160], "segments": [], "cut_off": 0}\n',
        b'{"origin": "a", "span": [2, 1], "segments": [], "cut_off": 0}\n',
        b'{"origin": "a", "span": [0, true], "segments": [], "cut_off": 0}\n',
        b'{"origin": "a", "span": [0, 1], "segments": [{}], "cut_off": 0}\n',
        b'{"origin": "a", "span": [0, 1], "segments": [%s], "cut_off": 0}\n' % WITHOUT_CANDIDATES,
        b'{"origin": "a", "span": [0, 1], "segments": []}\n',
        b'{"origin": "a", "from": 50000, "until": "x", "spans": []}\n',
        b'{"origin": "a", "from": 50000, "until": 40000, "spans": []}\n',
        b"[" * 100_000 + b"\n",
    ],
)
def test_damaged_lines_are_dropped(path: Path, damage: bytes) -> None:
    first = journal(path)
    first.add_spans([SPAN], 50_000)
    first.add(SPAN, CUT_AGAIN)
    with path.open("ab") as file:
        file.write(damage)
    second = journal(path)
    assert (second.spans, second.until, second.finished) == ([SPAN], 50_000, {SPAN: CUT_AGAIN})
    second.add((50_000, 60_000), ONE)  # after half a line
    assert journal(path).finished == {SPAN: CUT_AGAIN, (50_000, 60_000): ONE}


def test_spans_after_a_lost_line_are_unknown_but_their_segments_are_not(path: Path) -> None:
    first = journal(path)
    first.add_spans([SPAN], 50_000)
    first.add_spans([(50_000, 60_000)], 64_000)
    first.add((50_000, 60_000), ONE)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[1] + lines[2])
    second = journal(path)
    assert (second.spans, second.until, second.finished) == ([], 0, {(50_000, 60_000): ONE})


def test_an_unusable_journal_is_reported_once(path: Path) -> None:
    path.mkdir()
    warnings: list[str] = []
    unusable = SegmentJournal(path, "a", warnings.append)
    unusable.add(SPAN, ONE)
    unusable.add(SPAN, ONE)
    unusable.remove()
    [warning] = warnings
    assert warning == (
        f"warning: {path} cannot be written (Is a directory); if this run is interrupted, a rerun will not find all "
        "finished segments"
    )


def test_a_full_disk_is_reported(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("voxlate.decoding.segment_journal.append_json_lines", full)
    warnings: list[str] = []
    journal_of_full_disk = SegmentJournal(path, "a", warnings.append)
    journal_of_full_disk.add(SPAN, ONE)
    [warning] = warnings
    assert "cannot be written (No space left on device); if this run is interrupted" in warning
    assert journal_of_full_disk.finished == {SPAN: ONE}


def test_languages_share_their_spans(path: Path) -> None:
    german, french = journal(path), journal(path.with_name(".talk.mp3.fr.jsonl"))
    german.add_spans([SPAN], 50_000)
    french.add_spans([SPAN], 50_000)
    german.add_spans([(50_000, 60_000)], 64_000)
    french.add((50_000, 60_000), ONE)
    known = known_segments({"de": german, "fr": french})
    assert (known.spans, known.until) == ([SPAN, (50_000, 60_000)], 64_000)
    assert known.finished == {"de": {}, "fr": {(50_000, 60_000): ONE}}
    again = journal(path.with_name(".talk.mp3.fr.jsonl"))
    assert (again.spans, again.until) == (known.spans, known.until)


def test_an_input_without_journals_has_no_known_segments() -> None:
    known = known_segments({})
    assert (known.spans, known.until, known.finished) == ([], 0, {})
