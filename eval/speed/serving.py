"""Measure `voxlate serve` under load: throughput, latency and memory, with every text checked.

    python eval/speed/serving.py MODEL [--clips FOLDER] [--to en] [--clients 64] [--seconds 120] [--quick] [--keep]

The recordings are the clips of a folder and all pairs of them, joined by half a second of silence. `voxlate translate`
first translates enough copies of them for `--seconds`, which gives the texts and the throughput to compare with (the
start of the process is subtracted). Then so many clients send them in random order, each on its own connection. At the
end, 8 clients send the clip whose length is closest to 3 s. Memory is that of the server and its processes. `--quick`
takes a few seconds; its figures mean nothing.
"""

import argparse
import itertools
import json
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from speed.record import save_result
from speed.synthetic import write_clip
from voxlate.audio.loading import SAMPLE_RATE_HZ, load_audio

_CLIPS = Path(__file__).resolve().parents[2] / "recipes/demo/clips"
_PAUSE_SECONDS = 0.5
_LATENCY_CLIENTS, _LATENCY_CLIP_SECONDS = 8, 3.0
_BOUNDARY = "voxlate-benchmark"
_POLL_SECONDS = 1.0


@dataclass
class Recordings:
    """Paths of recordings by name, their seconds, and their texts by `voxlate translate`."""

    paths: dict[str, Path]
    seconds: dict[str, float]
    texts: dict[str, str] = field(default_factory=dict)


@dataclass
class Load:
    """What clients have seen: latencies of answers in seconds, problems by kind, seconds of translated audio."""

    latencies: list[float] = field(default_factory=list)
    problems: Counter[str] = field(default_factory=Counter)
    retries: int = 0
    audio_seconds: float = 0.0
    wall_seconds: float = 0.0


def write_recordings(clips: Path, folder: Path) -> Recordings:
    """Write the clips of a folder and all pairs of them as FLAC."""
    waveforms = {path.stem: load_audio(path).waveform for path in sorted(clips.glob("*.flac"))}
    pause_T = np.zeros(round(_PAUSE_SECONDS * SAMPLE_RATE_HZ), np.float32)
    for first, second in itertools.product([*waveforms], repeat=2):
        waveforms[f"{first}_{second}"] = np.concatenate((waveforms[first], pause_T, waveforms[second]))
    folder.mkdir()
    paths = {name: folder / f"{name}.flac" for name in waveforms}
    for name, waveform_T in waveforms.items():
        write_clip(paths[name], waveform_T, SAMPLE_RATE_HZ)
    return Recordings(paths, {name: len(waveform_T) / SAMPLE_RATE_HZ for name, waveform_T in waveforms.items()})


def translate_all(model: Path, language: str, recordings: Recordings, folder: Path, copies: int) -> float:
    """Translate copies of all recordings with the command; return the seconds that it took, and keep the texts."""
    inputs = folder / f"inputs-{copies}"
    inputs.mkdir()
    for name, path in recordings.paths.items():
        for copy in range(copies):
            (inputs / f"{name}.{copy}.flac").hardlink_to(path)
    command = ["translate", inputs, "--to", language, "--model", model, "--output-dir", folder / f"texts-{copies}"]
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "voxlate", *map(str, command)], check=True, capture_output=True)
    seconds = time.perf_counter() - started
    texts = {path.name: path.read_text(encoding="utf-8") for path in (folder / f"texts-{copies}").rglob("*.txt")}
    recordings.texts = {name: texts[f"{name}.0.flac.{language}.txt"] for name in recordings.paths}
    return seconds


@contextmanager
def running_server(model: Path, folder: Path) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """Start a server on a free port; yield its process, and its address once the model is loaded."""
    command = [sys.executable, "-m", "voxlate", "serve", "--model", f"m={model}", "--port", "0", "--no-access-log"]
    with (folder / "messages").open("w") as messages:
        process = subprocess.Popen(command, stderr=messages, text=True)
    try:
        while (found := re.search(r" at http://(\S+) ", (folder / "messages").read_text())) is None:
            if process.poll() is not None:
                raise SystemExit((folder / "messages").read_text())
            time.sleep(0.1)
        yield process, found[1]
    finally:
        process.terminate()
        if process.wait(60) != 0:
            print(f"the server ended with {process.returncode}: {(folder / 'messages').read_text()}", file=sys.stderr)


class Client:
    """A client with one connection."""

    def __init__(self, address: str, language: str) -> None:
        self._connection = HTTPConnection(address, timeout=600)
        self._fields = {"model": "m", "to_language": language, "response_format": "text"}

    def translate(self, path: Path) -> tuple[int, str, float]:
        """Send a recording; return the status, the text and the seconds to wait before trying again."""
        parts = [
            f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in self._fields.items()
        ]
        head = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{path.name}"\r\n\r\n'
        body = "".join([*parts, head]).encode() + path.read_bytes() + f"\r\n--{_BOUNDARY}--\r\n".encode()
        headers = {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"}
        self._connection.request("POST", "/v1/audio/translations", body, headers)
        answer = self._connection.getresponse()
        return answer.status, answer.read().decode(), float(answer.headers.get("Retry-After", 0))


def apply_load(address: str, language: str, recordings: Recordings, clients: int, seconds: float) -> Load:
    """Let clients send random recordings for some seconds, and check each text."""
    load, lock = Load(), threading.Lock()
    started = time.perf_counter()

    def send(seed: int) -> None:
        client, chosen = Client(address, language), random.Random(seed)  # noqa: S311
        while time.perf_counter() - started < seconds:
            name = chosen.choice([*recordings.paths])
            began, problem, status, wait_seconds = time.perf_counter(), "", 0, 0.0
            try:
                status, text, wait_seconds = client.translate(recordings.paths[name])
            except Exception as error:
                problem, client = type(error).__name__, Client(address, language)
            else:
                problem = "" if status in (200, 429) else f"status {status}"
                if status == 200 and text != recordings.texts[name]:
                    problem = "wrong text"
            with lock:
                if problem:
                    load.problems[problem] += 1
                elif status == 200:
                    load.latencies.append(time.perf_counter() - began)
                    load.audio_seconds += recordings.seconds[name]
                else:
                    load.retries += 1
            time.sleep(wait_seconds)

    threads = [threading.Thread(target=send, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    load.wall_seconds = time.perf_counter() - started
    return load


@contextmanager
def watched_memory(process: "subprocess.Popen[str]") -> Iterator[list[float]]:
    """Record the memory of a process and its children, in MiB, while the body runs."""
    done, mebibytes = threading.Event(), []

    def watch() -> None:
        server = psutil.Process(process.pid)
        while not done.wait(_POLL_SECONDS):
            total = 0
            for one in [server, *server.children(recursive=True)]:
                try:
                    total += one.memory_info().rss
                except psutil.NoSuchProcess:
                    continue
            mebibytes.append(total / 2**20)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield mebibytes
    finally:
        done.set()
        watcher.join()


def measure_command(arguments: argparse.Namespace, recordings: Recordings, folder: Path) -> float:
    """Return the seconds of audio per second of the command, without its start unless in a quick run."""
    model, audio_seconds = arguments.model.resolve(), sum(recordings.seconds.values())
    once = translate_all(model, arguments.to, recordings, folder, 1)
    if arguments.quick:
        return audio_seconds / once
    copies: int = 1 + max(
        4, round(arguments.seconds / once)
    )  # the start is part of `once`, so this is a rough estimate
    many = translate_all(model, arguments.to, recordings, folder, copies)
    return audio_seconds * (copies - 1) / (many - once)


def measure(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run the command and the server; return all figures."""
    recordings = write_recordings(arguments.clips, folder / "recordings")
    model, language = arguments.model.resolve(), arguments.to
    command_rate = measure_command(arguments, recordings, folder)
    nearest = min(recordings.seconds, key=lambda name: abs(recordings.seconds[name] - _LATENCY_CLIP_SECONDS))
    single = Recordings({nearest: recordings.paths[nearest]}, recordings.seconds, recordings.texts)
    with running_server(model, folder) as (process, address):
        apply_load(address, language, recordings, arguments.clients, arguments.seconds / 10)  # warm-up
        with watched_memory(process) as mebibytes:
            load = apply_load(address, language, recordings, arguments.clients, arguments.seconds)
        short = apply_load(address, language, single, _LATENCY_CLIENTS, arguments.seconds / 4)
    tenth = max(1, len(mebibytes) // 10)
    return {
        "command_audio_per_second": command_rate,
        "server_audio_per_second": load.audio_seconds / load.wall_seconds,
        "requests": len(load.latencies),
        "recordings": len(recordings.paths),
        "retries": load.retries + short.retries,
        "problems": dict(load.problems + short.problems),
        "latency_seconds": percentiles(load.latencies),
        "clip_seconds": recordings.seconds[nearest],
        "clip_latency_seconds": percentiles(short.latencies),
        "memory_mib": {
            "start": float(np.mean(mebibytes[:tenth])),
            "end": float(np.mean(mebibytes[-tenth:])),
            "peak": max(mebibytes),
        },
    }


def percentiles(seconds: list[float]) -> dict[str, float]:
    """Return the median, the 95th percentile and the maximum."""
    return dict(zip(("p50", "p95", "max"), np.percentile(seconds, (50, 95, 100)).tolist(), strict=True))


def main() -> int:
    """Measure, print the figures, and return 1 if a text was wrong or a request failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--clips", type=Path, default=_CLIPS, help="folder with FLAC files")
    parser.add_argument("--to", default="en")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--quick", action="store_true", help="a few clients for 5 s")
    parser.add_argument("--keep", action="store_true", help="write results/serving.json")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.clients, arguments.seconds = min(arguments.clients, 8), 5.0
    with tempfile.TemporaryDirectory() as folder:
        result = measure(arguments, Path(folder))
    server, command = result["server_audio_per_second"], result["command_audio_per_second"]
    clip, memory = result["clip_latency_seconds"], result["memory_mib"]
    print(f"voxlate translate   {command:7.1f} s of audio per second")
    print(
        f"voxlate serve       {server:7.1f} s of audio per second, {arguments.clients} clients: {server / command:.0%}"
    )
    print(f"requests            {result['requests']:7} answered, {result['retries']} to be retried, every text checked")
    print(f"problems            {json.dumps(result['problems'])}")
    print(f"latency             p95 {result['latency_seconds']['p95']:.2f} s with {arguments.clients} clients")
    print(f"a clip of {result['clip_seconds']:.1f} s     p95 {clip['p95']:.2f} s with {_LATENCY_CLIENTS} clients")
    print(f"memory              {memory['start']:.0f} MiB at the start, {memory['end']:.0f} at the end")
    save_result("serving", arguments, result)
    return 1 if result["problems"] else 0


if __name__ == "__main__":
    sys.exit(main())
