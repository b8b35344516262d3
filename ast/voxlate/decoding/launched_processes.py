"""The processes that ``accelerate launch`` or ``torchrun`` has started for one command, and the share of each."""

import heapq
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from voxlate.errors import VoxlateError

if TYPE_CHECKING:
    from accelerate import PartialState

    from voxlate.decoding.run_inputs import InputsCommand

_TIMEOUT = timedelta(days=30)  # of those that are done and wait for the one with the longest recording


@dataclass(frozen=True)
class Processes:
    """This process and its number among all. `device` is the one it should use, None if the command decides."""

    count: int = 1
    index: int = 0
    device: str | None = None

    @property
    def is_main(self) -> bool:
        """Whether this is the process that reports for all."""
        return self.index == 0

    @contextmanager
    def main_first(self) -> Iterator[None]:
        """Run a block in the main process, then in the others; leave it when all have."""
        if not self.is_main:
            self.wait()
        yield
        if self.is_main:
            self.wait()
        self.wait()

    def wait(self) -> None:
        """Wait until all processes have called this."""
        if self.count > 1:
            self.gather(None)

    def gather(self, value: Any) -> list[Any]:
        """Return the values of all processes, which must all call this."""
        if self.count == 1:
            return [value]
        from torch import distributed  # noqa: PLC0415 (torch takes seconds)

        values: list[Any] = [None] * self.count
        distributed.all_gather_object(values, value)
        return values


ALONE = Processes()


def is_launched() -> bool:
    """Return whether several processes run the command."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def join_processes(command: "InputsCommand") -> Processes:
    """Join the processes of a launch, if there are several. VoxlateError if they cannot share the command."""
    if not is_launched():
        return ALONE
    if command.output_dir is None:
        raise VoxlateError(
            "several processes cannot share standard output; name an --output-dir, or start a single process"
        )
    state, device = join_launch(command.device)
    return Processes(state.num_processes, state.process_index, device)


def join_launch(device_name: str) -> tuple["PartialState", str]:
    """Return the state of this process in its launch, and the device that it should use: a GPU for each process."""
    from accelerate import PartialState  # noqa: PLC0415 (options are checked before torch is imported)

    from voxlate.hardware import choose_device  # noqa: PLC0415

    device = choose_device(device_name)
    state = PartialState(cpu=device.type == "cpu", timeout=_TIMEOUT)
    if state.num_processes > 1 and device.index is None:
        device = state.device
    return state, str(device)


def share_of(sizes: Sequence[int], count: int, index: int) -> list[int]:
    """Return the numbers of the items of one process, ascending. Each goes to the one with the least, largest first.

    This is Graham's rule (1969), whose longest share is at most a third over the best possible. Items of unknown size
    count as one of average size.
    """
    known = [size for size in sizes if size]
    average = sum(known) // len(known) if known else 1
    shares: list[tuple[int, int, list[int]]] = [(0, process, []) for process in range(count)]
    for item in sorted(range(len(sizes)), key=lambda item: -sizes[item]):
        total, process, items = heapq.heappop(shares)
        heapq.heappush(shares, (total + (sizes[item] or average), process, [*items, item]))
    return sorted(next(items for _, process, items in shares if process == index))
