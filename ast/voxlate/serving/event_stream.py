"""Send the segments of a result as server-sent events while they are finished.

The events are those of OpenAI's streamed transcriptions, `transcript.text.delta` and `transcript.text.done`, followed
by `[DONE]`. Each delta also has its segment with times.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from voxlate.decoding.results import Segment, Translation
from voxlate.serving.response_formats import language_name
from voxlate.text import join_texts

_KEEP_ALIVE_SECONDS = 15.0  # proxies close connections that are silent for a minute
_HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
    "x-accel-buffering": "no",  # of nginx, which would hold events back
}


class EventStream(Response):
    """A response that sends events as they come, and a comment after each pause."""

    def __init__(self, events: AsyncIterator[str]) -> None:
        super().__init__(headers=_HEADERS)
        del self.headers["content-length"]
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Send all events."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        next_event = asyncio.ensure_future(anext(self._events, None))
        try:
            while True:
                done, _ = await asyncio.wait([next_event], timeout=_KEEP_ALIVE_SECONDS)
                text = ": waiting\n\n" if not done else next_event.result()
                if text is None:
                    break
                await send({"type": "http.response.body", "body": text.encode(), "more_body": True})
                if done:
                    next_event = asyncio.ensure_future(anext(self._events, None))
        finally:
            next_event.cancel()
        await send({"type": "http.response.body", "body": b""})


class SegmentEvents:
    """Makes the events of one result. `language` is that of its text, which decides how segments are joined."""

    def __init__(self, language: str | None) -> None:
        self._language = language
        self._text = ""
        self._segments: list[dict[str, Any]] = []

    def delta(self, segment: Segment) -> str:
        """Return the event of the next segment."""
        joined = join_texts([self._text, segment.text], self._language)
        delta = joined.removeprefix(self._text)
        shown = {
            "id": len(self._segments),
            "start": round(segment.start, 3),
            "end": round(segment.end, 3),
            "text": segment.text,
        }
        self._text = joined
        self._segments.append(shown)
        return event({"type": "transcript.text.delta", "delta": delta, "segment": shown})

    def done(self, translation: Translation) -> str:
        """Return the last events."""
        last = {
            "type": "transcript.text.done",
            "text": translation.text,
            "duration": round(translation.seconds, 3),
            "language": language_name(translation),
            "segments": self._segments,
            **({"warnings": list(translation.warnings)} if translation.warnings else {}),
        }
        return event(last) + "data: [DONE]\n\n"


def event(data: dict[str, Any]) -> str:
    """Return a server-sent event."""
    return f"data: {json.dumps(data)}\n\n"
