"""Run `voxlate serve` as a process."""

import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_START_SECONDS = 120


@dataclass
class ServerProcess:
    """A running server, its address and its folder of temporary files; `stderr` has its messages so far."""

    process: "subprocess.Popen[str]"
    url: str
    folder: Path
    messages: Path

    @property
    def stderr(self) -> str:
        """Return what the server has written to standard error."""
        return self.messages.read_text(encoding="utf-8")

    @property
    def children(self) -> list[int]:
        """Return the ids of the server's own processes."""
        found = []
        for status in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = status.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == self.process.pid and fields[0] != "Z":
                found.append(int(status.parent.name))
        return found

    def stop(self, number: int = signal.SIGTERM, seconds: float = 60.0) -> int:
        """Send a signal; return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(seconds)


@contextmanager
def server_process(*arguments: object) -> Iterator[ServerProcess]:
    """Start a server on a free port, and wait until its models are loaded."""
    with tempfile.TemporaryDirectory() as name:
        folder, messages = Path(name) / "uploads", Path(name) / "stderr"
        folder.mkdir()
        command = [sys.executable, "-m", "voxlate", "serve", "--port", "0", "--temp-dir", folder, *arguments]
        with messages.open("w") as stderr:
            process = subprocess.Popen([str(word) for word in command], stderr=stderr, text=True)
        try:
            yield ServerProcess(process, _wait_for_address(process, messages), folder, messages)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()


def _wait_for_address(process: "subprocess.Popen[str]", messages: Path) -> str:
    for _ in range(_START_SECONDS * 10):
        found = re.search(r" at (http://\S+) ", messages.read_text())
        if found:
            return found[1]
        try:
            code = process.wait(0.1)
        except subprocess.TimeoutExpired:
            continue
        raise AssertionError(f"exit code {code}: {messages.read_text()}")
    raise AssertionError(f"not ready: {messages.read_text()}")
