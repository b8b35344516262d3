"""An engine of the server without a model: it reads what to answer from the upload itself, a text file."""

import threading
from contextlib import suppress

from voxlate.decoding.results import Candidate, Segment, Translation, Word
from voxlate.serving.request_stream import (
    AudioRequest,
    EngineStopping,
    QueueFull,
    RequestDone,
    RequestFailed,
    RequestStream,
)

_SEGMENT_SECONDS = 2.0
_FAILURES = {"broken": "undecodable", "endless": "too_long", "bug": "internal"}


class FakeEngine:
    """Two models, `travel` or another name (de, en, fr; transcribes) and `ca` (only ca; does not).

    Each line of an upload is a segment. The lines broken, endless and bug are failures, and `wait` is a segment that
    is not final until `go` is set. `requests` and `cancelled` are what came.
    """

    def __init__(self, max_requests: int = 8, name: str = "travel") -> None:
        self._name = name
        self.ready = True
        self.can_identify = True
        self.max_requests = max_requests
        self.requests: list[AudioRequest] = []
        self.cancelled: list[AudioRequest] = []
        self.go = threading.Event()
        self.stops = False
        self._running = 0

    @property
    def model_names(self) -> list[str]:
        """The names of the models."""
        return [self._name, "ca"]

    def languages(self, model: str) -> list[str]:
        """Return the target languages of a model."""
        return {self._name: ["de", "en", "fr"], "ca": ["ca"]}[model]

    def can_transcribe(self, model: str) -> bool:
        """Return whether a model has a CTC head."""
        return model == self._name

    def submit(self, request: AudioRequest) -> RequestStream:
        """Begin a request."""
        if self.stops:
            raise EngineStopping
        if self._running >= self.max_requests:
            raise QueueFull(self._running, 7)
        self.requests.append(request)
        stream = RequestStream(request, lambda: self._cancel(stream))
        self._running += 1
        threading.Thread(target=self._answer, args=(stream,), daemon=True).start()
        return stream

    def _cancel(self, stream: RequestStream) -> None:
        if stream.end(RequestFailed("cancelled", "the request was cancelled")):
            self.cancelled.append(stream.request)
            self._running -= 1

    def _answer(self, stream: RequestStream) -> None:
        request = stream.request
        try:
            contents = request.path.read_bytes()
        except FileNotFoundError:  # the client has left
            self._cancel(stream)
            return
        lines = [f"{len(contents)} bytes"] if request.raw else contents.decode("utf-8", "replace").splitlines()
        segments: list[Segment] = []
        event: RequestDone | RequestFailed | None = None
        for line in lines:
            if line in _FAILURES:
                event = RequestFailed(_FAILURES[line], f"the file cannot be read: {line}")  # type: ignore[arg-type]
                break
            if line.strip() == "":
                continue
            if line == "wait":
                while not (stream.has_ended or self.go.wait(0.01)):
                    pass
            segments.append(_segment(len(segments), f"{line} [{request.target_language or 'said'}]"))
            stream.put_segment(segments[-1])
        if event is None:
            seconds = _SEGMENT_SECONDS * len(segments)
            result = Translation(
                request.name, seconds, request.target_language, tuple(segments), request.source_language
            )
            event = RequestDone(seconds, request.target_language, result)
            if request.task == "identify":
                event = RequestDone(seconds, "fr", None, {"fr": 0.9, "en": 0.1})
        if stream.end(event):
            with suppress(ValueError):
                self._running -= 1


def _segment(index: int, text: str) -> Segment:
    start, end = _SEGMENT_SECONDS * index, _SEGMENT_SECONDS * (index + 1)
    words = text.split()
    step = (end - start) / len(words)
    timed = tuple(Word(word, start + step * number, start + step * (number + 1)) for number, word in enumerate(words))
    return Segment(start, end, (Candidate(text, -0.25),), timed)
