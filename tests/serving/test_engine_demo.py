"""The engine with the demo model: the results of `voxlate translate` and `transcribe`, in steady memory."""

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from child_processes import LINUX, children, open_files, resident_bytes
from media import write_media
from paths import DEMO
from recordings import demo_sentences, record
from voxlate import Transcriber, Translator
from voxlate.decoding.results import Translation
from voxlate.serving.engine import ServingEngine
from voxlate.serving.engine_options import EngineOptions
from voxlate.serving.request_stream import AudioRequest, RequestDone

pytestmark = [pytest.mark.slow, pytest.mark.vad]

OPTIONS = EngineOptions(device="cpu", dtype="float32", decoding_workers=1)


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The demo's clips, two sentences that the model takes for one, and a recording of a minute and a half."""
    folder = tmp_path_factory.mktemp("recordings")
    two = record(demo_sentences(2), "fr", pauses=[0.5, 0.2], seed=0)
    long = record(demo_sentences(34)[4:], "de", speakers=2, seed=2)
    return [
        *sorted((DEMO / "clips").glob("*.flac")),
        write_media(folder / "two.wav", two.waveform_T),
        write_media(folder / "long.flac", long.waveform_T),
    ]


@pytest.fixture(scope="module")
def engine() -> Iterator[ServingEngine]:
    engine = ServingEngine({"demo": DEMO / "model"}, options=OPTIONS)
    engine.start()
    yield engine
    engine.shutdown(0.0)


def done(event: object) -> RequestDone:
    assert isinstance(event, RequestDone), event
    return event


def described(result: Translation) -> object:
    segments = [(one.start, one.end, one.text, one.warnings) for one in result.segments]
    return result.text, result.seconds, result.target_language, result.notes, result.left_out, segments


def test_results_are_those_of_translate_alone_and_with_32_at_once(engine: ServingEngine, paths: list[Path]) -> None:
    languages = ["en", "de", "fr"]
    translator = Translator(DEMO / "model", device="cpu", dtype="float32", word_timestamps=True)
    expected = {
        (paths[index], result.target_language): result
        for index, result in translator.stream([*paths], to=[languages] * len(paths))
        if isinstance(result, Translation)
    }
    recordings = [result for (path, _), result in expected.items() if path == paths[-1]]
    assert all(len(result.segments) > 20 for result in recordings)
    requests = [
        AudioRequest(path, "demo", target_language=language, name=str(path)) for path in paths for language in languages
    ]
    alone = [done([*engine.submit(request)][-1]) for request in requests[::4]]
    streams = [engine.submit(request) for request in (requests * 2)[:32]]
    together = [done([*stream][-1]) for stream in streams]
    for request, result in zip([*requests[::4], *(requests * 2)[:32]], [*alone, *together], strict=True):
        assert result.result is not None
        same = expected[request.path, request.target_language]
        assert described(result.result) == described(same)
        words = [(word.text, word.start) for segment in same.segments for word in segment.words]
        found = [(word.text, word.start) for segment in result.segments for word in segment.words]
        assert [text for text, _ in found] == [text for text, _ in words]
        assert [start for _, start in found] == pytest.approx([start for _, start in words], abs=0.05)
    assert any(segment.warnings for result in together for segment in result.segments)


def test_transcripts_are_those_of_transcribe(engine: ServingEngine, paths: list[Path]) -> None:
    streams = [engine.submit(AudioRequest(path, "demo", "transcribe")) for path in paths]
    results = [done([*stream][-1]) for stream in streams]
    expected = Transcriber(DEMO / "model", device="cpu", dtype="float32").transcribe([*map(str, paths)])
    assert [result.text for result in results] == [result.text for result in expected]
    assert len(results[-1].segments) == len(expected[-1].segments) > 10


@LINUX
def test_a_worker_that_is_killed_loses_nothing(engine: ServingEngine, paths: list[Path]) -> None:
    texts: dict[Path, set[str]] = {path: set() for path in paths}
    for delay_seconds in (0.0, 0.1, 0.5, 2.0):
        streams = [engine.submit(AudioRequest(path, "demo", target_language="en")) for path in paths]
        time.sleep(delay_seconds)
        for child in children():
            os.kill(child, signal.SIGKILL)
        for path, stream in zip(paths, streams, strict=True):  # what it was decoding is decoded again
            texts[path].add(done([*stream][-1]).text)
    assert all(len(found) == 1 for found in texts.values())


@LINUX
def test_memory_and_open_files_stay_what_they_are(engine: ServingEngine, paths: list[Path]) -> None:
    def run(times: int) -> None:
        for number in range(times):
            streams = [engine.submit(AudioRequest(path, "demo", target_language="en")) for path in paths]
            streams[number % len(streams)].cancel()
            for stream in streams:
                assert [*stream]

    run(4)
    before, files = resident_bytes(), open_files()
    run(8)
    assert resident_bytes() < before + (48 << 20)
    assert open_files() <= files


@LINUX
def test_an_idle_model_frees_its_memory() -> None:
    engine = ServingEngine({"demo": DEMO / "model"}, options=replace(OPTIONS, idle_minutes=1 / 60))
    engine.start()
    request = AudioRequest(DEMO / "clips/en-63.flac", "demo", target_language="de")
    sizes = []
    for _ in range(3):
        text = done([*engine.submit(request)][-1]).text
        loaded = resident_bytes()
        while engine.statistics.loaded_models:
            time.sleep(0.05)
        time.sleep(0.5)  # the memory is returned after the model has gone
        sizes.append((loaded, resident_bytes()))
    engine.shutdown(0.0)
    assert text == "Ich habe dreiunddreißig Euro für die Bremsen bezahlt."
    assert all(unloaded < loaded - (10 << 20) for loaded, unloaded in sizes), sizes
    assert sizes[-1][1] < sizes[0][1] + (16 << 20)
