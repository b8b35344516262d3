"""The engine of the server, with tiny models: results, turns, cancellation, limits, idle models, shutdown."""

import asyncio
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

from child_processes import LINUX, children
from media import write_media
from random_encoders import build, save_preprocessor, write_ctc_model
from tiny import KINDS, waveforms
from voxlate import SearchOptions, SegmentationOptions, Transcriber, Translator, VoxlateError
from voxlate.checkpoints.identifier_files import save_identifier
from voxlate.decoding.identifier import Identifier
from voxlate.decoding.results import Translation
from voxlate.errors import OptionError
from voxlate.models.language_identifier import LanguageIdentifier
from voxlate.serving.engine import ServingEngine
from voxlate.serving.engine_options import EngineOptions
from voxlate.serving.request_stream import (
    AudioRequest,
    EngineStopping,
    QueueFull,
    RequestDone,
    RequestFailed,
    RequestStream,
    SegmentReady,
    UnsupportedRequestError,
)

SEARCH = SearchOptions(beam_size=2, max_length=12)
SEGMENTATION = SegmentationOptions(segmentation=2.0, vad=False)
OPTIONS = EngineOptions(
    search=SEARCH, segmentation=SEGMENTATION, batch_size=8, max_audio_seconds=300.0, max_requests=40, decoding_workers=1
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings: 0.wav to 4.wav, each of other noise, silent.wav, and long.wav of two minutes."""
    folder = tmp_path_factory.mktemp("recordings")
    for number, clip in enumerate(waveforms(2, 1.0, 7.3, 0.8, 1.7, 3.9)):
        write_media(folder / f"{number}.wav", clip.numpy())
    write_media(folder / "silent.wav", np.zeros(16_000, np.float32))
    write_media(folder / "long.wav", waveforms(3, 120.0)[0].numpy())
    return folder


@pytest.fixture(scope="module")
def identifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("identifier")
    encoder: Any = build(KINDS["XLS-R, XLSR-53, wav2vec 2.0 LV-60"])
    width = encoder.output_dim
    save_identifier(folder, LanguageIdentifier(encoder, nn.Linear(width, 8), nn.Linear(8, 2), ["de", "fr"]))
    save_preprocessor(encoder, folder)
    return folder


@pytest.fixture(scope="module")
def ctc_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ctc")
    write_ctc_model(folder, KINDS["XLS-R, XLSR-53, wav2vec 2.0 LV-60"])
    return folder


@pytest.fixture(scope="module")
def engine(tiny_model: Path, ctc_model: Path, identifier: Path) -> Iterator[ServingEngine]:
    engine = ServingEngine({"tiny": tiny_model, "ctc": ctc_model}, options=OPTIONS, identifier=identifier)
    assert not engine.ready
    engine.start()
    wait_until(lambda: engine.ready)
    yield engine
    engine.shutdown(0.0)


def wait_until(condition: Any, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def done(stream: RequestStream) -> RequestDone:
    """Return the last event of a stream, whose segments agree with those that came before."""
    *segments, last = stream
    assert isinstance(last, RequestDone), last
    assert [event.id for event in segments if isinstance(event, SegmentReady)] == [*range(len(last.segments))]
    assert tuple(event.segment for event in segments if isinstance(event, SegmentReady)) == last.segments
    assert stream.has_ended
    return last


def failed(stream: RequestStream) -> tuple[str, str]:
    [event] = stream
    assert isinstance(event, RequestFailed)
    return event.kind, event.message


def test_32_requests_at_once_have_the_texts_of_translate(engine: ServingEngine, folder: Path, tiny_model: Path) -> None:
    requests = [
        AudioRequest(folder / f"{number % 5}.wav", "tiny", target_language=("de", "French", "gl")[number % 3])
        for number in range(32)
    ]
    streams = [engine.submit(request) for request in requests]
    results = [done(stream) for stream in streams]
    translator = Translator(tiny_model, word_timestamps=True)
    translations = translator.stream(
        [request.path for request in requests[:15]],
        to=[[str(request.target_language)] for request in requests[:15]],
        options=SEARCH,
        segmentation=SEGMENTATION,
    )
    expected = {
        (requests[index].path, found.target_language): found
        for index, found in translations
        if isinstance(found, Translation)
    }
    assert len({result.text for result in expected.values()}) > 10
    for request, result in zip(requests, results, strict=True):
        same = expected[request.path, result.language]
        assert (result.text, result.duration_seconds) == (same.text, same.seconds)
        times = [(segment.start, segment.end, segment.text) for segment in same.segments]
        assert [(segment.start, segment.end, segment.text) for segment in result.segments] == times
    assert any(segment.words for result in results for segment in result.segments)
    statistics = engine.statistics
    assert (statistics.unfinished, statistics.finished) == (0, 32)
    assert statistics.audio_seconds == pytest.approx(sum(result.duration_seconds for result in results))


def test_a_short_request_overtakes_a_long_one(engine: ServingEngine, folder: Path) -> None:
    long = engine.submit(AudioRequest(folder / "long.wav", "tiny", target_language="de"))
    first = next(long)
    assert isinstance(first, SegmentReady)
    assert (first.id, first.start_seconds) == (0, 0.0)
    short = done(engine.submit(AudioRequest(folder / "0.wav", "tiny", target_language="de")))
    assert short.text
    assert not long.has_ended
    long.cancel()


def test_a_request_that_is_cancelled_ends_at_once(engine: ServingEngine, folder: Path) -> None:
    stream = engine.submit(AudioRequest(folder / "long.wav", "tiny", target_language="de"))
    assert isinstance(next(stream), SegmentReady)
    stream.cancel()
    *_, last = stream
    assert last == RequestFailed("cancelled", "the request was cancelled")
    assert engine.statistics.unfinished == 0
    stream.cancel()  # changes nothing
    waiting = engine.submit(AudioRequest(folder / "long.wav", "tiny", target_language="de"))
    waiting.cancel()
    assert failed(waiting)[0] == "cancelled"
    assert done(engine.submit(AudioRequest(folder / "0.wav", "tiny", target_language="de"))).text


def test_a_transcript_is_that_of_transcribe(engine: ServingEngine, folder: Path, ctc_model: Path) -> None:
    paths = [folder / f"{number}.wav" for number in range(5)]
    streams = [engine.submit(AudioRequest(path, "ctc", "transcribe", source_language="de")) for path in paths]
    results = [done(stream) for stream in streams]
    expected = Transcriber(ctc_model).transcribe([*map(str, paths)], language="de", segmentation=SEGMENTATION)
    assert [result.text for result in results] == [result.text for result in expected]
    assert all(result.language == "de" and result.segments[0].words for result in results)
    assert engine.can_transcribe("ctc")
    assert not engine.can_transcribe("tiny")


def test_the_language_spoken_is_that_of_identify(engine: ServingEngine, folder: Path, identifier: Path) -> None:
    paths = [folder / f"{number}.wav" for number in range(5)] + [folder / "silent.wav"]
    results = [done(engine.submit(AudioRequest(path, "", "identify"))) for path in paths]
    expected = Identifier(identifier).identify([*map(str, paths)])
    assert [result.language for result in results] == [found.language for found in expected]
    assert results[0].probabilities == pytest.approx(expected[0].probabilities, abs=1e-5)
    assert results[-1].language is None


def test_samples_without_a_header_are_a_file_of_their_own(engine: ServingEngine, folder: Path, tmp_path: Path) -> None:
    samples_T = np.frombuffer((folder / "1.wav").read_bytes()[44:], "<i2")
    write_media(tmp_path / "same.wav", np.asarray(samples_T / 32_768, np.float32))
    (tmp_path / "raw").write_bytes(samples_T.tobytes() + b"\x01")  # half a sample
    request = AudioRequest(tmp_path / "same.wav", "tiny", target_language="de")
    expected = done(engine.submit(request))
    result = done(engine.submit(replace(request, path=tmp_path / "raw", raw=True, name="talk.pcm")))
    assert result.text == expected.text
    assert result.result is not None
    assert result.result.audio == "talk.pcm"


def test_words_are_found_if_they_are_wanted(engine: ServingEngine, folder: Path) -> None:
    request = AudioRequest(folder / "1.wav", "tiny", target_language="de")
    first, second = engine.submit(request), engine.submit(replace(request, words=False))
    with_words, without = done(first), done(second)
    assert any(segment.words for segment in with_words.segments)
    assert not any(segment.words for segment in without.segments)
    assert with_words.text == without.text


def test_silence_has_an_empty_result(engine: ServingEngine, folder: Path) -> None:
    result = done(engine.submit(AudioRequest(folder / "silent.wav", "tiny", target_language="de")))
    assert (result.text, result.segments, result.duration_seconds) == ("", (), 1.0)


def test_what_a_file_lacks_is_reported(engine: ServingEngine, folder: Path, tmp_path: Path) -> None:
    request = AudioRequest(tmp_path / "upload", "tiny", target_language="de")
    (tmp_path / "upload").touch()
    assert failed(engine.submit(request)) == ("empty", "the file is empty (0 bytes); expected an audio or video file")
    (tmp_path / "upload").write_text("no sound")
    assert failed(engine.submit(request)) == (
        "undecodable",
        "the file cannot be read: not audio or video that FFmpeg's libraries can read",
    )
    write_media(tmp_path / "upload.flac", np.zeros(16_000 * 301, np.float32))
    assert failed(engine.submit(replace(request, path=tmp_path / "upload.flac"))) == (
        "too_long",
        "the recording is longer than 300 s, the limit of this server (--max-seconds)",
    )
    assert failed(engine.submit(replace(request, path=tmp_path / "missing")))[0] == "undecodable"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model": "other"}, "no model 'other'; expected tiny, ctc"),
        ({"target_language": "xx"}, "xx"),
        ({"target_language": "ca"}, "tiny does not translate into Catalan (ca); expected one of af, ar, "),
        ({"target_language": None}, "no target language; expected one of af, ar, "),
        ({"source_language": "klingon"}, "klingon"),
        ({"task": "transcribe"}, "tiny has no CTC head, which transcription needs; name a target language"),
        ({"model": "ctc"}, "ctc does not translate into German (de)"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_no_model_can_do_is_refused(
    engine: ServingEngine, folder: Path, fields: dict[str, Any], message: str
) -> None:
    request = AudioRequest(folder / "0.wav", "tiny", target_language="de")
    with pytest.raises(UnsupportedRequestError) as error:
        engine.submit(replace(request, **fields))
    assert message in str(error.value)


def test_more_requests_than_fit_are_refused(engine: ServingEngine, folder: Path) -> None:
    request = AudioRequest(folder / "long.wav", "tiny", target_language="de")
    streams = [engine.submit(request) for _ in range(40)]
    with pytest.raises(QueueFull, match=r"busy with 40 requests, as many as it takes; try again in [0-9]+ s") as error:
        engine.submit(request)
    assert 1 <= error.value.retry_after_seconds <= 60
    for stream in streams:
        stream.cancel()
    assert engine.statistics.unfinished == 0


def test_coroutines_read_streams_and_cancel_what_they_leave(engine: ServingEngine, folder: Path) -> None:
    async def read(number: int) -> RequestDone:
        events = engine.submit(AudioRequest(folder / f"{number}.wav", "tiny", target_language="de")).events()
        *segments, last = [event async for event in events]
        assert isinstance(last, RequestDone)
        assert len(segments) == len(last.segments)
        return last

    async def leave() -> RequestStream:
        stream = engine.submit(AudioRequest(folder / "long.wav", "tiny", target_language="de"))
        events = stream.events()
        await anext(events)
        await events.aclose()  # type: ignore[attr-defined]
        return stream

    async def several() -> list[Any]:
        return await asyncio.gather(*map(read, range(5)), leave())

    *results, left = asyncio.run(several())
    assert [result.duration_seconds for result in results] == pytest.approx([1.0, 7.3, 0.8, 1.7, 3.9], abs=0.01)
    assert left.has_ended
    assert engine.statistics.unfinished == 0


@LINUX
def test_an_idle_model_is_unloaded_and_comes_back(tiny_model: Path, folder: Path) -> None:
    others = {*children()}
    engine = ServingEngine({"tiny": tiny_model}, options=replace(OPTIONS, idle_minutes=0.02 / 60))
    engine.start()
    request = AudioRequest(folder / "0.wav", "tiny", target_language="de")
    before = done(engine.submit(request)).text
    wait_until(lambda: not engine.statistics.loaded_models)
    assert engine.ready  # it can be asked
    assert "de" in engine.languages("tiny")
    assert done(engine.submit(request)).text == before
    [worker] = {*children()} - others
    engine.shutdown(5.0)
    assert worker not in children()


def test_a_shutdown_finishes_what_it_can_and_refuses_the_rest(tiny_model: Path, folder: Path) -> None:
    engine = ServingEngine({"tiny": tiny_model}, options=OPTIONS)
    engine.start()
    short = engine.submit(AudioRequest(folder / "0.wav", "tiny", target_language="de"))
    closing = threading.Thread(target=engine.shutdown, args=(60.0,))
    closing.start()
    time.sleep(0.1)
    with pytest.raises(EngineStopping, match="the server is shutting down"):
        engine.submit(AudioRequest(folder / "0.wav", "tiny", target_language="de"))
    assert done(short).text
    closing.join()
    late = ServingEngine({"tiny": tiny_model}, options=OPTIONS)
    late.start()
    long = late.submit(AudioRequest(folder / "long.wav", "tiny", target_language="de"))
    next(long)
    late.shutdown(0.0)
    *_, last = long
    assert last == RequestFailed("stopped", "the server was shut down before the request was done")


def test_models_that_cannot_be_loaded_are_reported(tiny_model: Path, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(VoxlateError, match="missing"):
        ServingEngine({"tiny": tiny_model, "other": tmp_path / "missing"})
    with pytest.raises(VoxlateError, match="no model"):
        ServingEngine({})
    (tmp_path / "config.json").write_text('{"model_type": "speech-encoder-decoder"}')
    engine = ServingEngine({"broken": tmp_path}, options=OPTIONS)
    engine.start()
    wait_until(lambda: engine.failure)
    assert "broken: " in str(engine.failure)
    assert not engine.ready
    kind, message = failed(engine.submit(AudioRequest(folder / "0.wav", "broken", target_language="de")))
    assert (kind, message.partition(": ")[0]) == ("internal", "broken cannot be loaded")
    engine.shutdown(0.0)


def test_limits_out_of_range_are_errors() -> None:
    with pytest.raises(OptionError, match="max_requests is 0, expected 1 or more; idle_minutes is -1, expected more"):
        EngineOptions(max_requests=0, idle_minutes=-1)


def test_a_failing_search_fails_its_requests_alone(
    engine: ServingEngine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = AudioRequest(folder / "0.wav", "tiny", target_language="de")
    with monkeypatch.context() as patch:
        patch.setattr(
            "voxlate.decoding.search.Search.step", lambda _: (_ for _ in ()).throw(RuntimeError("out of luck"))
        )
        assert failed(engine.submit(request)) == ("internal", "tiny: out of luck")
    assert done(engine.submit(request)).text
