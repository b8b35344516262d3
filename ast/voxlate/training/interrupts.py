"""Count Ctrl-C and SIGTERM, which the training loop checks between updates."""

import signal
from types import FrameType
from typing import Any


class InterruptCounter:
    """Counts interrupts within a ``with`` block; the second one raises KeyboardInterrupt at once."""

    def __init__(self) -> None:
        self.count = 0
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "InterruptCounter":
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        self.count += 1
        if self.count > 1:
            raise KeyboardInterrupt
