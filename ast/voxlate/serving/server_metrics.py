"""Metrics of the server in Prometheus's format."""

from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.responses import Response

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)


class ServerMetrics:
    """Counts requests and audio. Labels are routes, statuses and models of this server, never what a client sends."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._requests = Counter(
            "voxlate_requests", "Requests by route and status (499: the client left)", ["route", "status"],
            registry=self._registry,
        )  # fmt: skip
        self._seconds = Histogram(
            "voxlate_request_seconds", "Seconds until a request was answered", ["route"],
            buckets=_SECONDS, registry=self._registry,
        )  # fmt: skip
        self._audio = Counter(
            "voxlate_audio_seconds", "Seconds of audio that were translated or transcribed", ["model", "task"],
            registry=self._registry,
        )  # fmt: skip
        self._uploaded = Counter("voxlate_upload_bytes", "Bytes of received files", registry=self._registry)

    def count_request(self, route: str, status: int, seconds: float) -> None:
        """Count an answered request."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def count_audio(self, model: str, task: str, seconds: float) -> None:
        """Count the audio of a finished request."""
        self._audio.labels(model, task).inc(seconds)

    def count_upload(self, size: int) -> None:
        """Count a received file of so many bytes."""
        self._uploaded.inc(size)

    def watch(self, gauges: Mapping[str, tuple[str, Callable[[], float]]]) -> None:
        """Add gauges by name, each with its description and a function that returns its value."""
        for name, (description, value) in gauges.items():
            Gauge(name, description, registry=self._registry).set_function(value)

    def response(self) -> Response:
        """Return all metrics."""
        return Response(generate_latest(self._registry), media_type=CONTENT_TYPE_LATEST)
