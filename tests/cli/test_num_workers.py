"""The option --num-workers: processes decode the same audio as the thread."""

from pathlib import Path

import pytest

import evaluating
from translate_command import messages, translate
from voxlate import Translator
from voxlate.audio.decoding_pool import Decode, DecodingPool
from voxlate.decoding.segmenting import SegmentationOptions


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[int | None]:
    """The numbers of processes with which inputs are decoded, one for each pool."""
    numbers: list[int | None] = []

    class RecordedPool(DecodingPool):
        def __init__(self, decode: Decode, seconds: float, num_workers: int | None) -> None:
            numbers.append(num_workers)
            super().__init__(decode, seconds, num_workers)

    monkeypatch.setattr("voxlate.audio.prefetch.DecodingPool", RecordedPool)
    return numbers


def test_translations_do_not_depend_on_it(
    tiny_model: Path, clips: Path, tmp_path: Path, started: list[int | None]
) -> None:
    (tmp_path / "damaged.wav").write_bytes(b"no audio")
    inputs = [clips / "0.wav", tmp_path / "damaged.wav", clips / "1.wav", clips / "2.wav"]
    shared = [
        "--model",
        tiny_model,
        "--to",
        "de",
        "--max-length",
        9,
        "--no-vad",
        "--format",
        "json",
        "--no-coverage-check",
    ]
    thread, default, processes = (
        translate(*inputs, *shared, *option) for option in (["--num-workers", 0], [], ["--num-workers", 2])
    )
    assert started == [0, None, 2]
    assert thread.stdout.count("segments") == 3
    assert thread.stdout == default.stdout == processes.stdout
    assert messages(thread) == messages(default) == messages(processes)
    assert f"error: {tmp_path / 'damaged.wav'}: " in processes.stderr
    assert translate(inputs[0], "--to", "de", "--num-workers", "-1").exit_code == 2


def test_hypotheses_do_not_depend_on_it(tiny_model: Path, tmp_path: Path, started: list[int | None]) -> None:
    (tmp_path / "data").mkdir()
    data = evaluating.write_test_sets(tmp_path / "data")
    rows = []
    for number in ("0", "1"):
        output = tmp_path / number
        evaluating.run(tiny_model, data, output, "--directions", "fr-en", "--num-workers", number)
        rows.append(evaluating.lines(output / "fr-en" / "hypotheses.jsonl"))
    assert rows[0] == rows[1]
    assert started == [0, 1]


def test_python_decodes_in_a_thread_by_default(tiny_model: Path, clips: Path, started: list[int | None]) -> None:
    translator, options = Translator(tiny_model), SegmentationOptions(vad=False)
    inputs = [clips / "0.wav", clips / "1.wav"]
    [thread, process] = (
        {index: str(getattr(result, "text", result)) for index, result in results}
        for results in (
            translator.stream(inputs, to="de", segmentation=options),
            translator.stream(inputs, to="de", segmentation=options, num_workers=1),
        )
    )
    assert thread == process
    assert started == [0, 1]
