"""Long recordings: an interrupted run is resumed after its last finished segments, and gives the same result."""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn
from typer.testing import CliRunner

from media import write_media
from random_encoders import build, write_ctc_model
from tiny import KINDS
from translate_command import translate
from voxlate import AudioError, SearchOptions, SegmentationOptions, Translator
from voxlate.audio.resampling import SAMPLE_RATE_HZ, Waveform
from voxlate.audio.segmentation import Span, Stretch, cut_stretch
from voxlate.audio.speech_detection import Speech
from voxlate.checkpoints.ctc_models import CtcCheckpoint
from voxlate.checkpoints.identifier_files import save_identifier
from voxlate.cli import app
from voxlate.decoding import segmenting, transcriber
from voxlate.decoding.results import Segment
from voxlate.decoding.schedule import AudioSegment, Schedule
from voxlate.decoding.segment_journal import SegmentJournal
from voxlate.models.language_identifier import LanguageIdentifier

FORMATS = ("--format", "txt,tsv,srt,json")
QUICK = ("--no-vad", "--max-length", 6)
BURSTS = 24


def bursts(count: int, seed: int = 0) -> Waveform:
    """Return bursts of noise of 1 to 2 s with pauses of 1.5 s, each of which is a segment without speech detection."""
    rng = np.random.default_rng(seed)
    pause = np.zeros(SAMPLE_RATE_HZ * 3 // 2, np.float32)
    sounds = [rng.uniform(-0.5, 0.5, SAMPLE_RATE_HZ + rng.integers(SAMPLE_RATE_HZ)) for _ in range(count)]
    return np.concatenate([part for sound_T in sounds for part in (np.asarray(sound_T, np.float32), pause)])


@pytest.fixture
def searched(monkeypatch: pytest.MonkeyPatch) -> list[AudioSegment]:
    """The segments that have reached the model."""
    segments: list[AudioSegment] = []
    search = Schedule.translate

    def counted(self: Schedule, added: Sequence[AudioSegment]) -> Iterator[Any]:
        segments.extend(added)
        yield from search(self, added)

    monkeypatch.setattr(Schedule, "translate", counted)
    return segments


@pytest.fixture
def cut(monkeypatch: pytest.MonkeyPatch) -> list[Stretch]:
    """The stretches that have been cut into segments."""
    stretches: list[Stretch] = []

    def counted(speech: Speech, stretch: Stretch, *arguments: Any, **options: Any) -> list[Span]:
        stretches.append(stretch)
        return cut_stretch(speech, stretch, *arguments, **options)

    monkeypatch.setattr(segmenting, "cut_stretch", counted)
    return stretches


@pytest.fixture
def talk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recording of over a minute, in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    write_media(Path("talk.wav"), bursts(BURSTS))
    return Path("talk.wav")


def run(model: Path, out: str, *options: object, inputs: Sequence[str] = ("talk.wav",), to: str = "de") -> Any:
    """Translate the recording into a folder, two segments at a time."""
    common = ("--model", model, "--to", to, "--output-dir", out, *QUICK, "--batch-size", 2)
    return translate(*inputs, *common, *FORMATS, *options)


def interrupt_after(count: int, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Press Ctrl-C when a number of results has been recorded."""
    record = SegmentJournal.add
    left = count

    def interrupted(self: SegmentJournal, *arguments: Any) -> None:
        nonlocal left
        if not left:
            raise KeyboardInterrupt
        left -= 1
        record(self, *arguments)

    monkeypatch.setattr(SegmentJournal, "add", interrupted)
    return monkeypatch


def journal_lines(path: str) -> list[dict[str, Any]]:
    """Return the lines of a journal."""
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def files(folder: str) -> dict[str, bytes]:
    """Return the contents of all files of a folder but the journal of its results and the lock."""
    paths = [path for path in Path(folder).rglob("*") if path.is_file() and not path.name.startswith(".voxlate.")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


@pytest.mark.usefixtures("talk")
def test_a_rerun_does_only_what_is_missing(
    tiny_model: Path, searched: list[AudioSegment], cut: list[Stretch], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(tiny_model, "whole", to="de,fr").exit_code == 0
    assert (len(searched), len(cut)) == (BURSTS, BURSTS)
    with monkeypatch.context() as patch:
        interrupt_after(25, patch)
        stopped = run(tiny_model, "out", to="de,fr")
    assert stopped.exit_code == 130
    assert stopped.stderr.endswith(
        "interrupted: 0 translated, 0 failed; rerun the same command to process the remaining input, of which 25 "
        "segments are done\n"
    )
    assert sorted(files("out")) == [".talk.wav.de.jsonl", ".talk.wav.fr.jsonl"]
    known = [span for line in journal_lines("out/.talk.wav.de.jsonl") for span in line.get("spans", [])]
    searched.clear()
    cut.clear()
    done = run(tiny_model, "out", to="de,fr")
    assert done.exit_code == 0
    assert "talk.wav: continuing after 25 segments that an interrupted run finished\n" in done.stderr
    assert 0 < len(cut) == BURSTS - len(known) < BURSTS
    assert len(searched) in (BURSTS - 12, BURSTS - 11)  # one segment may be done in one language only
    assert files("out") == files("whole")


def test_results_in_a_subfolder_are_resumed(tiny_model: Path, talk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("rec").mkdir()
    talk.rename("rec/talk.wav")
    write_media(Path("other.wav"), bursts(1))
    command = ("rec/talk.wav", "other.wav", "--model", tiny_model, "--to", "de", "--output-dir", "out", *QUICK)
    with monkeypatch.context() as patch:
        interrupt_after(4, patch)
        stopped = translate(*command, "--batch-size", 2)
    assert "cannot be written" not in stopped.stderr
    assert Path("out/rec/.talk.wav.de.jsonl").is_file()
    assert "rec/talk.wav: continuing after 4 segments" in translate(*command).stderr
    assert [*map(str, sorted(Path("out").rglob("*.txt")))] == ["out/other.wav.de.txt", "out/rec/talk.wav.de.txt"]


@pytest.mark.usefixtures("talk")
def test_languages_and_formats_are_resumed_separately(
    tiny_model: Path, searched: list[AudioSegment], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(tiny_model, "whole", to="de,fr").exit_code == 0
    with monkeypatch.context() as patch:
        interrupt_after(10, patch)
        assert run(tiny_model, "out").exit_code == 130
    searched.clear()
    assert run(tiny_model, "out", to="fr,de").exit_code == 0
    assert len(searched) == BURSTS  # French has no results yet
    assert files("out") == files("whole")


@pytest.mark.usefixtures("talk")
def test_recordings_whose_language_is_identified_are_resumed(
    tiny_model: Path, searched: list[AudioSegment], monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder: Any = build(next(iter(KINDS.values())))
    Path("identifier").mkdir()
    save_identifier(Path("identifier"), LanguageIdentifier(encoder, nn.Linear(32, 4), nn.Linear(4, 2), ["fr", "de"]))
    Path("broken.wav").write_text("no sound")  # so that the recording has another number in the stream of its model
    inputs, options = ("broken.wav", "talk.wav"), ("--from", "auto", "--identifier", "identifier")
    assert "1 translated, 1 failed" in run(tiny_model, "whole", *options, inputs=inputs).stderr
    with monkeypatch.context() as patch:
        interrupt_after(10, patch)
        assert run(tiny_model, "out", *options, inputs=inputs).exit_code == 130
    searched.clear()
    assert "1 translated, 1 failed" in run(tiny_model, "out", *options, inputs=inputs).stderr
    assert len(searched) == BURSTS - 10
    assert files("out") == files("whole")
    searched.clear()
    assert "1 translated, 1 failed" in run(tiny_model, "out", *options, inputs=inputs, to="de,fr").stderr
    assert {len(segment.tag_ids) for segment in searched} == {1}  # German is done


@pytest.mark.usefixtures("talk")
def test_segments_are_reported_in_order_as_soon_as_they_are_done(tiny_model: Path) -> None:
    model = Translator(tiny_model, dtype="float32", batch_size=2)
    reported: list[tuple[int, str, Segment]] = []
    options = SearchOptions(max_length=6)
    stream = model.stream(
        [Path("talk.wav"), bursts(2)],
        to=[["de", "fr"], "de"],
        options=options,
        segmentation=SegmentationOptions(vad=False),
        on_segment=lambda *segment: reported.append(segment),
        progress=lambda done, _: seconds.append((done, len(reported))),
    )
    seconds: list[tuple[float, int]] = []
    results = list(stream)
    for index, result in results:
        assert not isinstance(result, AudioError)
        language = result.target_language
        assert [one for number, to, one in reported if (number, to) == (index, language)] == [*result.segments]
    assert len(results) == 3
    assert min(done for done, count in seconds if count) < seconds[-1][0] / 2


@pytest.mark.usefixtures("searched")
def test_a_changed_input_begins_anew(tiny_model: Path, talk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        interrupt_after(10, patch)
        run(tiny_model, "out")
    write_media(talk, bursts(BURSTS, seed=1))
    assert run(tiny_model, "out").exit_code == 0
    assert run(tiny_model, "whole").exit_code == 0
    assert files("out") == files("whole")


@pytest.mark.usefixtures("talk")
def test_changed_settings_begin_anew(
    tiny_model: Path, searched: list[AudioSegment], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        interrupt_after(10, patch)
        run(tiny_model, "out")
    searched.clear()
    assert run(tiny_model, "out", "--beam-size", 2).exit_code == 0
    assert len(searched) == BURSTS
    assert not Path("out/.talk.wav.de.jsonl").exists()


@pytest.mark.usefixtures("talk")
def test_a_damaged_line_is_computed_again(
    tiny_model: Path, searched: list[AudioSegment], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(tiny_model, "whole").exit_code == 0
    with monkeypatch.context() as patch:
        interrupt_after(10, patch)
        run(tiny_model, "out")
    journal = Path("out/.talk.wav.de.jsonl")
    lines = journal.read_bytes().splitlines(keepends=True)
    [first, *_] = [number for number, line in enumerate(lines) if b'"segments"' in line]
    lines[first] = lines[first][:40] + b"\n"
    journal.write_bytes(b"".join(lines))
    searched.clear()
    assert run(tiny_model, "out").exit_code == 0
    assert len(searched) == BURSTS - 9
    assert files("out") == files("whole")


@pytest.mark.usefixtures("talk")
def test_transcripts_are_resumed_and_reported_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ctc").mkdir()
    write_ctc_model(tmp_path / "ctc", next(iter(KINDS.values())))

    def transcribe(*options: str) -> Any:
        common = ["transcribe", "talk.wav", "--model", "ctc", "--no-vad"]
        return CliRunner().invoke(app, [*common, *options])

    transcribed: list[AudioSegment] = []
    transcribe_batch = transcriber.transcribe_batch

    def counted(checkpoint: CtcCheckpoint, segments: Sequence[AudioSegment]) -> list[Segment]:
        transcribed.extend(segments)
        return transcribe_batch(checkpoint, segments)

    monkeypatch.setattr(transcriber, "transcribe_batch", counted)
    assert transcribe("--output-dir", "whole", *FORMATS).exit_code == 0
    with monkeypatch.context() as patch:
        interrupt_after(10, patch)
        assert transcribe("--output-dir", "out", *FORMATS).exit_code == 130
    assert [*files("out")] == [".talk.wav.transcript.jsonl"]
    transcribed.clear()
    assert transcribe("--output-dir", "out", *FORMATS).exit_code == 0
    assert len(transcribed) == BURSTS - 10
    assert files("out") == files("whole")
    assert transcribe().stdout.encode() == files("whole")["talk.wav.transcript.txt"]


@pytest.mark.usefixtures("talk")
def test_only_files_of_over_a_minute_are_recorded(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        pytest.fail("a journal was written")

    monkeypatch.setattr(SegmentJournal, "add", refuse)
    write_media(Path("short.wav"), bursts(5))
    options = ("--model", tiny_model, "--to", "de", *QUICK)
    assert translate("short.wav", *options, "--output-dir", "out").exit_code == 0
    assert translate("-", *options, "--output-dir", "out", stdin=Path("talk.wav").read_bytes()).exit_code == 0
    assert translate("talk.wav", *options).exit_code == 0


@pytest.mark.usefixtures("talk")
def test_a_journal_that_cannot_be_written_is_reported_and_the_result_is_complete(tiny_model: Path) -> None:
    Path("out/.talk.wav.de.jsonl").mkdir(parents=True)
    done = run(tiny_model, "out")
    assert done.exit_code == 0
    assert len(re.findall(r"warning: out/\.talk\.wav\.de\.jsonl cannot be written", done.stderr)) == 1
    assert len(Path("out/talk.wav.de.txt").read_text().splitlines()) == BURSTS


@pytest.mark.usefixtures("talk")
def test_a_journal_that_a_killed_process_left_beside_its_result_is_removed(tiny_model: Path) -> None:
    assert run(tiny_model, "out").exit_code == 0
    Path("out/.talk.wav.de.jsonl").write_text("{}\n")
    assert "1 already done" in run(tiny_model, "out").stderr
    assert ".talk.wav.de.jsonl" not in files("out")
