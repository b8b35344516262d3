"""The pipeline of ``--ray`` in one process: a fake runs the tasks and actors in place of Ray."""

import importlib.util
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from media import sine, write_media
from translate_command import assert_refused
from voxlate.audio.speech_detection import SpeechOptions
from voxlate.decoding.ray_cluster import cpu_workers
from voxlate.decoding.ray_stream import RayStream, explained, grouped
from voxlate.decoding.ray_workers import NamedBytes, RemoteInput, unpack
from voxlate.decoding.results import Candidate, Segment, Translation
from voxlate.errors import AudioError, VoxlateError


def load(device: str, console: Console) -> Callable[..., Iterator[tuple[int, Any]]]:
    """Return a stream that "translates" an input into its name and the languages."""
    console.print("note: loaded")

    def stream(inputs: Any, *, to: Sequence[Sequence[str]], **_: Any) -> Iterator[tuple[int, Any]]:
        for index, audio in enumerate(inputs):
            for language in to[index]:
                text = f"{Path(audio.name).name} {language}"
                yield index, Translation(audio.name, 1.0, language, (Segment(0, 1, (Candidate(text, -1.0),)),))

    return stream


def broken_load(device: str, console: Console) -> Any:
    raise VoxlateError("the model is broken")


class FakeData:
    """Stands for `ray.data`. It computes the first table twice; an input named "deadly" loses its table."""

    def __init__(self) -> None:
        self.tables: list[int] = []

    @contextmanager
    def cluster(self, _: str) -> Iterator[Any]:
        context = SimpleNamespace(get_current=SimpleNamespace)
        self.DataContext, self.ActorPoolStrategy = context, SimpleNamespace
        yield SimpleNamespace(data=self, exceptions=SimpleNamespace(RayError=KeyError))

    def from_arrow(self, tables: list[Any]) -> "FakeDataset":
        self.tables.append(len(tables))
        return FakeDataset([*tables, tables[0]])


class FakeDataset:
    def __init__(self, tables: list[Any]) -> None:
        self.tables = [table for table in tables if not any(lost(item) for item in unpack(table))]

    def map_batches(self, function: Any, *, fn_constructor_args: Any = None, **_: Any) -> "FakeDataset":
        call = function if fn_constructor_args is None else function(*fn_constructor_args)
        return FakeDataset([result for table in self.tables for result in call(table)])

    def iter_batches(self, **_: Any) -> Iterator[Any]:
        yield from self.tables


def lost(item: Any) -> bool:
    return isinstance(item, RemoteInput) and isinstance(item.audio, Path) and item.audio.name == "deadly.wav"


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeData:
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b", "c", "deadly"):
        write_media(tmp_path / f"{name}.wav", sine(300, 0.3))
    fake = FakeData()
    monkeypatch.setattr("voxlate.decoding.ray_stream.ray_cluster", fake.cluster)
    monkeypatch.setattr("voxlate.decoding.ray_stream.choose_workers", lambda *_: cpu_workers([1]))
    return fake


def run(paths: Sequence[Any], to: Sequence[Any], loader: Any = load) -> tuple[list[tuple[int, str]], list[float], str]:
    """Return the results as text, the seconds that were reported, and what was printed."""
    console = Console(record=True, width=200, file=io.StringIO())
    seconds: list[float] = []
    stream = RayStream("local", "cpu", loader, console, SpeechOptions(vad=False))
    found = stream(paths, to=to, progress=lambda done, _: seconds.append(done))
    texts = [(index, str(one) if isinstance(one, AudioError) else one.text) for index, one in found]
    return texts, seconds, console.export_text()


def test_every_result_comes_once(data: FakeData) -> None:
    texts, seconds, printed = run([Path("a.wav"), Path("b.wav"), Path("c.wav")], ["de", ("de", "fr"), "fr"])
    assert sorted(texts) == [(0, "a.wav de"), (1, "b.wav de"), (1, "b.wav fr"), (2, "c.wav fr")]
    assert seconds == [1.0, 2.0, 3.0]
    assert printed == "note: loaded\n"


def test_an_input_whose_process_dies_fails_alone(data: FakeData) -> None:
    texts, _, _ = run([Path("a.wav"), Path("deadly.wav"), *[Path("b.wav")] * 4, Path("c.wav")], ["de"] * 7)
    assert [index for index, _ in texts] == [2, 3, 4, 5, 6, 0, 1]
    assert texts[-1][1].startswith("deadly.wav: each process of Ray that worked on it died")
    assert data.tables == [4, 2]  # then those of the lost table, one by one


def test_an_input_that_cannot_be_read_fails(data: FakeData) -> None:
    Path("empty.wav").touch()
    texts, _, _ = run([Path("empty.wav"), Path("missing.wav"), Path("a.wav")], ["de"] * 3)
    assert sorted(texts) == [
        (0, "empty.wav: empty file (0 bytes)"),
        (1, "missing.wav: no such file"),
        (2, "a.wav de"),
    ]


def test_standard_input_is_sent_to_the_workers(data: FakeData) -> None:
    stdin = NamedBytes(Path("a.wav").read_bytes(), "<stdin>").open()
    assert run([stdin], ["de"])[0] == [(0, "<stdin> de")]


def test_a_model_that_cannot_be_loaded_is_one_error(data: FakeData) -> None:
    with pytest.raises(VoxlateError, match=r"^the model is broken$"):
        run([Path("a.wav")], ["de"], broken_load)


def test_a_file_that_only_the_driver_sees_is_explained(tmp_path: Path) -> None:
    (tmp_path / "talk.wav").write_bytes(b"x")
    for name, expected in (("talk.wav", " on the Ray node n7; all nodes must see the inputs"), ("none.wav", "")):
        path = tmp_path / name
        result = explained(AudioError(f"{path}: no such file"), RemoteInput(0, ("de",), path), "n7")
        assert str(result).startswith(f"{path}: no such file{expected}")
        assert bool(expected) == ("shared file system" in str(result))


def test_tables_leave_work_for_all_and_begin_with_the_longest(tmp_path: Path) -> None:
    sizes = [10, 20 << 20, 30, *[1] * 997]
    items = [RemoteInput(number, ("de",), NamedBytes(b"", str(size))) for number, size in enumerate(sizes)]
    for size, item in zip(sizes[:3], items, strict=False):
        item.audio.__dict__["data"] = bytes(size)
    assert [len(table) for table in grouped(items, 2)][:3] == [1, 1, 64]
    ordered = [item.index for table in grouped(items, 2, longest_first=True) for item in table]
    assert ordered[:3] == [1, 2, 0]
    assert sorted(ordered) == [item.index for item in items]
    assert [len(table) for table in grouped(items[3:11], 2)] == [1] * 8


@pytest.mark.parametrize(
    ("nodes", "count", "cpus", "cores"), [([1.0, 1.0], 2, 0.5, 1), ([2.0], 1, 1.5, 2), ([64.0, 32.0], 12, 7.5, 8)]
)
def test_workers_of_a_cpu_share_the_cores(nodes: list[float], count: int, cpus: float, cores: int) -> None:
    workers = cpu_workers(nodes)
    assert (workers.count, workers.cpus, workers.cores) == (count, cpus, cores)


def test_what_ray_cannot_do_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_media(tmp_path / "a.wav", sine(300, 0.3))
    given = (tmp_path / "a.wav", "--to", "de", "--model", tmp_path, "-o", tmp_path / "out", "--ray")
    assert_refused("--device cuda:1 with --ray: expected auto, cpu or cuda", *given, "--device", "cuda:1")
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "ray" else find(name, *more))
    assert_refused("--ray needs Ray, which is not installed; run pip install 'voxlate[ray]'", *given)


@pytest.mark.parametrize(
    ("words", "address", "audio"),
    [
        (["a.wav"], None, ["a.wav"]),
        (["--ray", "a.wav"], "local", ["a.wav"]),
        (["a.wav", "--ray"], "local", ["a.wav"]),
        (["--ray", "auto", "a.wav"], "auto", ["a.wav"]),
        (["--ray", "ray://head:10001", "a.wav"], "ray://head:10001", ["a.wav"]),
        (["--ray", "10.0.0.1:6379", "a.wav"], "10.0.0.1:6379", ["a.wav"]),
        (["--ray=auto", "a.wav"], "auto", ["a.wav"]),
        (["a.wav", "--", "--ray"], None, ["a.wav", "--ray"]),
    ],
)
def test_the_address_may_be_omitted(
    words: list[str], address: str | None, audio: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from typer.testing import CliRunner

    from voxlate.cli import app

    commands: list[Any] = []

    def record(command: Any) -> int:
        commands.append(command)
        return 0

    monkeypatch.setattr("voxlate.decoding.commands.translate", record)
    result = CliRunner().invoke(app, ["translate", "--to", "de", *words])
    assert result.exit_code == 0, result.output
    assert (commands[0].ray, [*commands[0].audio]) == (address, audio)
