"""Start or join a Ray cluster for one command, and choose how many processes translate on it."""

import importlib.util
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from voxlate.decoding.launched_processes import is_launched
from voxlate.errors import VoxlateError

LOCAL = "local"  # an address: start a cluster on this machine
_CORES = 8  # of an actor that translates on a CPU: more are better used by another one
_DECODING_CORES = 0.5  # of a decoding task on a CPU, which takes a small share of the time of the translation
_CALLS = {"cpu": 4, "cuda": 16}  # tables that an actor translates at once: more audio than its search waits for
_BLOCK_BYTES = {"cpu": 8 << 20, "cuda": 32 << 20}  # of decoded audio in a table: 2 or 8 minutes


@dataclass(frozen=True)
class Workers:
    """The processes that translate: their device, how many the cluster has room for, and what each takes of it."""

    device: str
    count: int
    cpus: float
    gpus: int

    @property
    def cores(self) -> int:
        """Threads of a process."""
        return max(1, round(self.cpus + 0.1))

    @property
    def decoding_cpus(self) -> float:
        """Cores of a decoding task."""
        return _DECODING_CORES if self.device == "cpu" else 1.0

    @property
    def calls(self) -> int:
        """Number of tables that a process translates at once."""
        return _CALLS[self.device]

    @property
    def block_bytes(self) -> int:
        """Bytes of decoded audio in a table."""
        return _BLOCK_BYTES[self.device]


def check_ray(device: str) -> None:
    """Raise VoxlateError if Ray is not installed, cannot use a device, or would be started by several processes."""
    if is_launched():
        raise VoxlateError("--ray starts its own processes; run the command without accelerate launch or torchrun")
    if importlib.util.find_spec("ray") is None:
        raise VoxlateError("--ray needs Ray, which is not installed; run pip install 'voxlate[ray]'")
    if device not in ("auto", "cpu", "cuda"):
        raise VoxlateError(f"--device {device} with --ray: expected auto, cpu or cuda; Ray chooses among GPUs")


@contextmanager
def ray_cluster(address: str) -> Iterator[Any]:
    """Start a cluster on this machine, or join the one at `address`; yield the module `ray`, and leave it at the end.

    Inside another such context, its cluster is used.
    VoxlateError if there is none at the address. Ray's own reports are off: those to its makers, and those on standard
    error.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # or Ray prints a notice about it
    os.environ.setdefault("RAY_worker_niceness", "0")  # as the command itself
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # or its C++ code writes to standard error
    import ray  # noqa: PLC0415 (an extra, which takes seconds)
    import ray.data  # noqa: PLC0415

    if ray.is_initialized():  # by a command that uses it several times
        yield ray
        return
    own: dict[str, Any] = {"include_dashboard": False} if address == LOCAL else {}
    try:
        with _without_native_messages():
            ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **own)
    except (ConnectionError, ValueError, RuntimeError, ImportError, OSError) as error:
        reason = " ".join(str(error).split())
        raise VoxlateError(
            f"--ray {address}: no Ray cluster there ({reason[:200]}); start one with `ray start --head`, or use --ray "
            "alone for a cluster on this machine"
        ) from None
    try:
        logging.getLogger("ray.data").setLevel(logging.CRITICAL)
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = context.print_on_execution_start = False
        context.execution_no_progress_timeout_s = -1  # a long recording takes its time
        # What is lost is translated again, then reported: see `ray_stream`.
        context.max_errored_blocks = -1
        context.max_consecutive_actor_init_deaths = 3
        yield ray
    finally:
        ray.shutdown()


@contextmanager
def _without_native_messages() -> Iterator[None]:
    """Discard what code in C++ writes to standard error, such as which environment variable sets its log level."""
    try:
        kept = os.dup(2)
    except OSError:  # standard error is closed
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def choose_workers(ray: Any, device: str) -> Workers:
    """Return the processes that translate in the cluster: one for each GPU or, without GPUs, for up to 8 cores."""
    gpus = int(ray.cluster_resources().get("GPU", 0))
    if device == "cuda" or (device == "auto" and gpus):
        return Workers("cuda", max(1, gpus), 1.0, 1)
    nodes = [node["Resources"].get("CPU", 0.0) for node in ray.nodes() if node["Alive"]]
    return cpu_workers([cores for cores in nodes if cores])


def cpu_workers(nodes: list[float]) -> Workers:
    """Return the processes that translate on machines with these numbers of cores, which leave some for decoding."""
    cores = min(_CORES, *nodes, _CORES) if nodes else 1.0
    return Workers("cpu", max(1, sum(int(node // cores) for node in nodes)), cores - _DECODING_CORES, 0)
