"""The options of the server's engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from voxlate.decoding.segmenting import DEFAULT_SEGMENTATION, SegmentationOptions
from voxlate.errors import OptionError
from voxlate.search_options import SearchOptions


@dataclass(frozen=True)
class EngineOptions:
    """How the engine translates, and its limits.

    - `device`, `dtype`, `batch_size`, `language_tokens`, `word_timestamps`: as for `Translator`.
    - `search`, `segmentation`: as for `Translator.stream`.
    - `max_audio_seconds`: of sound in a request.
    - `max_requests`: that may be unfinished at a time, waiting or not.
    - `idle_minutes`: after which a model that has nothing to do leaves memory; None for never.
    - `decoding_workers`: number of processes that decode uploads.
    - `decoding_memory_bytes`: address space of each of them; None for no limit.
    - `decoding_timeout_seconds`: to decode an upload; None for as long as its size can explain, at least a minute.

    OptionError names every value out of its range.
    """

    device: str = "auto"
    dtype: str = "auto"
    batch_size: int | None = None
    language_tokens: Mapping[str, int | str] = field(default_factory=dict)
    word_timestamps: bool = True
    search: SearchOptions = field(default_factory=SearchOptions)
    segmentation: SegmentationOptions = DEFAULT_SEGMENTATION
    max_audio_seconds: float = 4 * 3600.0
    max_requests: int = 128
    idle_minutes: float | None = None
    decoding_workers: int = 2
    decoding_memory_bytes: int | None = 4 << 30
    decoding_timeout_seconds: float | None = None

    def __post_init__(self) -> None:
        valid = {
            "max_audio_seconds": (self.max_audio_seconds > 0, "more than 0 seconds"),
            "max_requests": (self.max_requests >= 1, "1 or more"),
            "idle_minutes": (self.idle_minutes is None or self.idle_minutes > 0, "more than 0 minutes"),
            "decoding_workers": (self.decoding_workers >= 1, "1 or more"),
            "decoding_memory_bytes": (
                self.decoding_memory_bytes is None or self.decoding_memory_bytes >= 1 << 30,
                "1 GiB or more",
            ),
            "decoding_timeout_seconds": (
                self.decoding_timeout_seconds is None or self.decoding_timeout_seconds > 0,
                "more than 0 seconds",
            ),
        }
        problems = {
            name: f"is {getattr(self, name)}, expected {expected}"
            for name, (is_valid, expected) in valid.items()
            if not is_valid
        }
        if problems:
            raise OptionError(problems)
