"""Routes that take audio: OpenAI's translations and transcriptions, and those of whisper-asr-webservice."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Literal, TypeAlias

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from voxlate.languages import find_language
from voxlate.serving.api_errors import ApiError
from voxlate.serving.audio_fields import AudioFields, checked_choice, is_true, openai_fields
from voxlate.serving.audio_service import AudioService, unless_gone
from voxlate.serving.model_names import source_code
from voxlate.serving.request_stream import AudioRequest, RequestDone
from voxlate.serving.response_formats import ASR_FORMATS, asr_response, openai_response

Answer: TypeAlias = Callable[[Request], AbstractAsyncContextManager[Response]]

ASR_FILE_FIELD = "audio_file"


class AudioEndpoint:
    """An endpoint whose upload is kept until the response is sent. If the client leaves before, all work ends."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        request = Request(scope, receive)
        async with self._answer(request) as response:
            await unless_gone(request, response(scope, receive, send))


def audio_routes(service: AudioService) -> list[BaseRoute]:
    """Return the routes, those of OpenAI with and without /v1."""

    def answer(translates: bool) -> Answer:
        @asynccontextmanager
        async def openai(request: Request) -> AsyncIterator[Response]:
            async with service.form(request, "file") as form:
                fields = openai_fields(form, service.names, translates=translates)
                async with service.submitted(form, fields) as stream:
                    if fields.stream:
                        yield await service.event_stream(request, stream, fields)
                    else:
                        result = await service.result(request, stream, fields)
                        yield openai_response(
                            result, fields.response_format, words=fields.words, subtitles=service.subtitles
                        )

        return openai

    @asynccontextmanager
    async def asr(request: Request) -> AsyncIterator[Response]:
        async with service.form(request, ASR_FILE_FIELD) as form:
            fields = _asr_fields(request, service)
            async with service.submitted(form, fields, raw=_is_raw(request)) as stream:
                result = await service.result(request, stream, fields)
                yield asr_response(result, fields.response_format, words=fields.words, subtitles=service.subtitles)

    @asynccontextmanager
    async def detect_language(request: Request) -> AsyncIterator[Response]:
        if not service.engine.can_identify:
            raise ApiError(
                501, "this server has no language identifier; start it with --identifier", code="unsupported"
            )
        async with service.form(request, ASR_FILE_FIELD) as form:
            assert form.path is not None
            wanted = AudioRequest(form.path, "", "identify", raw=_is_raw(request), name=form.name)
            async with service.taken(wanted) as stream:
                yield JSONResponse(_detected(await service.outcome(request, stream)))

    endpoints = {
        "/audio/translations": AudioEndpoint(answer(translates=True)),
        "/audio/transcriptions": AudioEndpoint(answer(translates=False)),
    }
    return [
        *(Route(prefix + path, end, methods=["POST"]) for prefix in ("/v1", "") for path, end in endpoints.items()),
        Route("/asr", AudioEndpoint(asr), methods=["POST"]),
        Route("/detect-language", AudioEndpoint(detect_language), methods=["POST"]),
    ]


def _is_raw(request: Request) -> bool:
    """Return whether the client has decoded the audio: 16-bit samples at 16 kHz without a header."""
    return not is_true(request.query_params.get("encode"), default=True)


def _detected(done: RequestDone) -> dict[str, object]:
    """Return a language as whisper-asr-webservice does; undetermined if there is no speech."""
    if done.language is None:
        return {"detected_language": "undetermined", "language_code": "und", "confidence": 0.0}
    return {
        "detected_language": find_language(done.language).name.lower(),
        "language_code": done.language,
        "confidence": round(done.probabilities[done.language], 4),
    }


def _asr_fields(request: Request, service: AudioService) -> AudioFields:
    """Read the query of whisper-asr-webservice: task, language, output, word_timestamps.

    `model` and `to_language` are Voxlate's own. `encode`, `vad_filter` and others do not belong to the result.
    """
    query = request.query_params
    named = service.names.find(query.get("model") or None)
    tasks: tuple[Literal["transcribe"], Literal["translate"]] = ("transcribe", "translate")
    task = checked_choice("task", query.get("task") or None, tasks)
    given = query.get("to_language") or query.get("target_language")
    target = service.names.target(named.model, given, param="to_language") if given else named.target_language
    if task == "translate" and target is None:
        target = service.names.default_target(named.model)
    output = checked_choice("output", query.get("output") or None, ASR_FORMATS)
    return AudioFields(
        named.model,
        target,
        source_code(query.get("language") or None),
        output,
        words=is_true(query.get("word_timestamps")),
    )
