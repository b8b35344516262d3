"""The unmodified OpenAI client translates and transcribes, in every format, and gets its own errors."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from fake_engine import FakeEngine
from served import Served, ask, serving

# OpenAI's own translations end in 2027, which its client says.
pytestmark = pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")

UPLOAD = ("talk.mp3", b"hello\nworld")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("uploads"), api_keys=["secret", "other"]) as running:
        yield running


@pytest.fixture(scope="module")
def client(served: Served) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key="secret", max_retries=0) as made:
        yield made


def test_a_translation_is_into_english_by_default(client: openai.OpenAI, served: Served) -> None:
    result = client.audio.translations.create(model="travel", file=UPLOAD)
    assert result.text == "hello [en] world [en]"
    served.wait_until_idle()


@pytest.mark.parametrize("field", ["to_language", "target_language"])
def test_a_translation_is_into_the_language_that_is_asked_for(client: openai.OpenAI, field: str) -> None:
    for name in ("fr", "French", "fra", "fr-CA"):
        result = client.audio.translations.create(model="travel", file=UPLOAD, extra_body={field: name})
        assert result.text == "hello [fr] world [fr]"


@pytest.mark.parametrize(("model", "language"), [("travel:fr", "fr"), ("travel:German", "de"), ("ca", "ca"),
                                                 ("whisper-1", "de")])  # fmt: skip
def test_the_name_of_a_model_can_include_the_language(client: openai.OpenAI, model: str, language: str) -> None:
    assert client.audio.translations.create(model=model, file=UPLOAD).text.endswith(f"[{language}]")


def test_a_transcription_is_a_translation_if_a_language_is_named(client: openai.OpenAI, served: Served) -> None:
    create = client.audio.transcriptions.create
    assert create(model="travel", file=UPLOAD, language="es").text == "hello [said] world [said]"
    assert served.engine.requests[-1].source_language == "es"
    assert create(model="travel:de", file=UPLOAD).text == "hello [de] world [de]"
    assert create(model="travel:de", file=UPLOAD, extra_body={"to_language": "fr"}).text == "hello [fr] world [fr]"
    with pytest.raises(openai.BadRequestError, match=r"model ca has no CTC head.* set to_language, or use .* ca:ca"):
        create(model="ca", file=UPLOAD)


@pytest.mark.parametrize(("response_format", "words"), [("json", False), ("srt", True), ("vtt", True), ("text", False)])
def test_the_times_of_words_are_found_for_subtitles(
    client: openai.OpenAI, served: Served, response_format: Any, words: bool
) -> None:
    client.audio.translations.create(model="travel", file=UPLOAD, response_format=response_format)
    assert served.engine.requests[-1].words == words


def test_text_and_subtitles_are_those_of_the_writers(client: openai.OpenAI) -> None:
    create = client.audio.translations.create
    assert create(model="travel", file=UPLOAD, response_format="text") == "hello [en]\nworld [en]\n"
    srt = create(model="travel", file=UPLOAD, response_format="srt")
    assert srt.startswith("1\n00:00:00,000 --> 00:00:0")
    assert "hello [en]" in srt
    vtt: Any = client.audio.transcriptions.create(model="travel", file=UPLOAD, response_format="vtt")
    assert vtt.startswith("WEBVTT\n")
    assert "world [said]" in vtt


def test_verbose_json_parses_into_the_clients_classes(client: openai.OpenAI) -> None:
    made = client.audio.translations.create(model="travel:de", file=UPLOAD, response_format="verbose_json")
    assert type(made).__name__ == "TranslationVerbose"
    strict = type(made).model_validate(made.model_dump(), strict=True)
    assert (strict.language, strict.duration, strict.text) == ("de", 4.0, "hello [de] world [de]")
    assert strict.segments is not None
    [first, second] = strict.segments
    assert (first.id, first.start, first.end, second.id, second.start, second.end) == (0, 0.0, 2.0, 1, 2.0, 4.0)
    assert (second.text, second.seek, second.avg_logprob) == ("world [de]", 200, -0.25)


def test_words_have_times_if_they_are_asked_for(client: openai.OpenAI) -> None:
    said = client.audio.transcriptions.create(
        model="travel", file=UPLOAD, response_format="verbose_json", timestamp_granularities=["word", "segment"]
    )
    assert said.words is not None
    assert [(word.word, word.start, word.end) for word in said.words[:2]] == [("hello", 0.0, 1.0), ("[said]", 1.0, 2.0)]
    assert client.audio.transcriptions.create(model="travel", file=UPLOAD, response_format="verbose_json").words is None


def test_a_streamed_transcription_has_a_delta_for_each_segment(client: openai.OpenAI) -> None:
    events = list(client.audio.transcriptions.create(model="travel:de", file=UPLOAD, stream=True))
    assert [event.type for event in events] == ["transcript.text.delta"] * 2 + ["transcript.text.done"]
    first, second, done = (event.model_dump() for event in events)
    assert first["delta"] + second["delta"] == done["text"] == "hello [de] world [de]"
    assert second["segment"] == {"id": 1, "start": 2.0, "end": 4.0, "text": "world [de]"}
    assert (done["duration"], done["language"], len(done["segments"])) == (4.0, "de", 2)


def test_segments_arrive_while_others_are_translated(client: openai.OpenAI, served: Served) -> None:
    served.engine.go.clear()
    stream = client.audio.transcriptions.create(model="travel:de", file=("a.wav", b"first\nwait"), stream=True)
    assert next(stream).model_dump()["delta"] == "first [de]"
    served.engine.go.set()
    assert [event.type for event in stream] == ["transcript.text.delta", "transcript.text.done"]


def test_an_error_ends_a_stream_or_comes_before_it(client: openai.OpenAI) -> None:
    create = client.audio.transcriptions.create
    with pytest.raises(openai.BadRequestError, match="the file cannot be read: broken"):
        create(model="travel", file=("a.wav", b"broken"), stream=True)
    with pytest.raises(openai.APIError, match="the file cannot be read: broken"):
        list(create(model="travel", file=("a.wav", b"first\nbroken"), stream=True))


def test_models_are_listed_with_their_languages(client: openai.OpenAI) -> None:
    listed = {model.id: model.model_dump()["target_languages"] for model in client.models.list()}
    assert listed == {
        "travel": ["de", "en", "fr"], "ca": ["ca"],
        "travel:de": ["de"], "travel:en": ["en"], "travel:fr": ["fr"], "ca:ca": ["ca"], "whisper-1": ["de"],
    }  # fmt: skip
    assert client.models.retrieve("travel:fr").owned_by == "voxlate"
    with pytest.raises(openai.NotFoundError, match="unknown model 'no/model'; expected travel, ca"):
        client.models.retrieve("no/model")


WRONG: list[tuple[dict[str, Any], type[openai.APIStatusError], str, str | None]] = [
    ({"model": "nothing"}, openai.NotFoundError, "unknown model 'nothing'; expected travel, ca, whisper-1", "model"),
    ({"model": "travel:xx"}, openai.BadRequestError, "unknown language 'xx'", "model"),
    ({"model": "travel:ca"}, openai.BadRequestError, r"not translate into Catalan \(ca\); expected de, en", "model"),
    ({"file": ("a.wav", b"")}, openai.BadRequestError, r"the uploaded file is empty \(0 bytes\)", "file"),
    ({"file": ("a.wav", b"broken")}, openai.BadRequestError, "the file cannot be read: broken", "file"),
    ({"file": ("a.wav", b"endless")}, openai.APIStatusError, "the file cannot be read: endless", "file"),
    ({"file": ("a.wav", b"bug")}, openai.InternalServerError, "failed to answer this request; its log has", None),
    ({"response_format": "docx"}, openai.BadRequestError, "response_format is 'docx', expected one of json, text,",
     "response_format"),
    ({"extra_body": {"to_language": "ca"}}, openai.BadRequestError, "does not translate into Catalan", "to_language"),
    ({"extra_body": {"language": "Klingonish"}}, openai.BadRequestError, "unknown language 'Klingonish'", "language"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "kind", "message", "param"), WRONG)
def test_what_is_wrong_is_said_in_openais_form(
    client: openai.OpenAI,
    served: Served,
    fields: dict[str, Any],
    kind: type[openai.APIStatusError],
    message: str,
    param: str | None,
) -> None:
    with pytest.raises(kind, match=message) as raised:
        client.audio.translations.create(**{"model": "travel", "file": UPLOAD, **fields})
    assert raised.value.param == param
    served.wait_until_idle()


def test_a_request_needs_one_of_the_keys(served: Served) -> None:
    for key in ("other", "secret"):
        assert openai.OpenAI(base_url=served.url, api_key=key).models.list().data
    with pytest.raises(openai.AuthenticationError, match="the API key is wrong") as raised:
        openai.OpenAI(base_url=served.url, api_key="secre").audio.translations.create(model="travel", file=UPLOAD)
    assert raised.value.code == "invalid_api_key"
    assert raised.value.response.headers["www-authenticate"] == "Bearer"
    assert [ask(f"{served.url}{path}")[0] for path in ("/", "/app.js", "/health", "/metrics")] == [200, 200, 200, 401]
    status, text = ask(f"{served.url}/metrics", key="secret")
    assert status == 200
    assert 'voxlate_requests_total{route="/metrics",status="401"} 1.0' in text
    assert 'voxlate_audio_seconds_total{model="travel",task="translate"}' in text


def test_too_many_requests_are_asked_to_wait_and_the_client_does(tmp_path: Path) -> None:
    engine = FakeEngine(max_requests=1)
    with serving(tmp_path, engine) as running, openai.OpenAI(base_url=running.url, api_key="x") as patient:
        blocked = patient.audio.transcriptions.create(model="travel", file=("a.wav", b"a\nwait"), stream=True)
        next(blocked)
        with pytest.raises(openai.RateLimitError, match=r"busy with 1 requests.* try again in 7 s") as raised:
            patient.with_options(max_retries=0).audio.translations.create(model="travel", file=UPLOAD)
        assert raised.value.response.headers["retry-after"] == "7"
        engine.go.set()
        list(blocked)


def test_a_server_that_loads_or_stops_takes_no_requests(tmp_path: Path) -> None:
    engine = FakeEngine()
    with serving(tmp_path, engine) as running, openai.OpenAI(base_url=running.url, api_key="x", max_retries=0) as asker:
        engine.ready = False
        with pytest.raises(openai.InternalServerError, match="the models are being loaded"):
            asker.audio.translations.create(model="travel", file=UPLOAD)
        with pytest.raises(openai.InternalServerError, match="the models are being loaded"):
            asker.models.list()
        engine.ready, engine.stops = True, True
        with pytest.raises(openai.InternalServerError, match="the server is shutting down"):
            asker.audio.translations.create(model="travel", file=UPLOAD)
