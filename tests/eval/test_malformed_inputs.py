"""Mutated inputs of `voxlate score`, `compare` and `report` give a result or one clear line, never a traceback."""

import json
import random
import re
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from runs import write_run
from voxlate.errors import VoxlateError
from voxlate.evaluation.comparing import compare_files
from voxlate.evaluation.scoring import Scoring, score_files
from voxlate_eval import EvaluationError
from voxlate_eval.report import write_report

VALUES: list[Any] = [None, True, -1, 0, 10**400, 1e308, -1e308, 0.5, "", "x", "\ud800", "\0", "<b>", [], {}]
VALUES += [[None], {"": None}, [[[]]], {"a": {"b": None}}, float("nan"), float("inf"), "9" * 5000]


def write_inputs(folder: Path) -> None:
    """Write hypotheses in three formats with their recipe, and references."""
    texts = ["The train leaves at seven.", "My sister buys a coat.", "No."]
    languages = {"source_language": "de", "target_language": "en", "split": "test"}
    references = [
        {"id": f"a/{n}", "audio": f"clips/{n}.wav", "seconds": 1.5, "speaker": "s", "source_text": "Ja.", **languages}
        | {"target_text": text}
        for n, text in enumerate(texts)
    ]
    results = [
        {"audio": f"clips/{n}.wav", "text": text, "target_language": "en", "recipe": {"model": "m"}, "segments": []}
        for n, text in enumerate(texts)
    ]
    hypotheses = [{"id": f"a/{n}", "text": text, "error": None, "score": -0.1} for n, text in enumerate(texts)]
    for name, rows in (("r.jsonl", references), ("h.jsonl", hypotheses), ("t.json", results)):
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    meta = {"target_language": "en", "model": "m", "resegmentation": None, "direction": "de-en", "beam_size": 5}
    (folder / "h.meta.json").write_text(json.dumps(meta))
    lines = [f"clips/{n}.wav\t0\t1\t1\t-0.1\t{text}\n" for n, text in enumerate(texts)]
    (folder / "t.tsv").write_text("audio\tstart\tend\trank\tscore\ttext\n" + "".join(lines))


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the containers in a JSON value, each with every key."""
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from places(value[key])


def mutate(raw: bytes, rng: random.Random) -> bytes:
    """Return damaged contents: other values, missing or unknown keys, truncated or other bytes, another encoding."""
    kind = rng.randrange(10)
    if kind == 0:
        return raw[: rng.randrange(len(raw))]
    if kind == 1:
        return raw.decode().encode(rng.choice(["utf-16", "utf-32", "cp037"]), "replace")
    if kind == 2:
        place = rng.randrange(len(raw))
        return raw[:place] + rng.randbytes(rng.randint(1, 3)) + raw[place + 1 :]
    if kind == 3:
        lines = raw.splitlines(keepends=True)
        return b"".join(rng.choices(lines, k=rng.randint(0, len(lines) + 1)))
    try:
        rows = [json.loads(line) for line in raw.splitlines()]
    except ValueError:
        try:
            rows = [json.loads(raw)]
        except ValueError:  # a table
            cells = raw.decode().split("\t")
            cells[rng.randrange(len(cells))] = rng.choice(["", "x", "-1", "9" * 400, "\r", "\n"])
            return "\t".join(cells).encode()
    for _ in range(rng.randint(1, 2)):
        container, key = rng.choice([*places(rows)])
        if kind == 4:
            del container[key]
            break
        if kind == 5 and isinstance(container, dict):
            container[rng.choice(["unknown", "text", "id", "audio", str(key).upper()])] = rng.choice(VALUES)
        else:
            container[key] = rng.choice(VALUES)
    ascii_only = rng.random() < 0.5
    text = "\n".join(json.dumps(row, ensure_ascii=ascii_only) for row in rows) + "\n"
    return text.encode("utf-8", "surrogatepass")


def survives(action: Callable[[], object]) -> bool:
    """Return whether an action succeeds; an error must be one short line."""
    try:
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            action()
    except (EvaluationError, VoxlateError) as error:
        message = str(error)
        if not re.match(r".*: \d+ problems\n", message):  # of a table, one line for each
            assert message.isprintable(), message
        assert len(message) < 900, message
        return False
    return True


@pytest.mark.parametrize("name", ["h.jsonl", "h.meta.json", "r.jsonl", "t.json", "t.tsv"])
def test_damaged_inputs_of_score_and_compare(tmp_path: Path, name: str) -> None:
    write_inputs(tmp_path)
    original, rng = (tmp_path / name).read_bytes(), random.Random(name)
    mutated = name if name.startswith("t") else "h.jsonl"
    scoring, references = Scoring(samples=100), tmp_path / "r.jsonl"
    outcomes = set()
    for number in range(50):
        (tmp_path / name).write_bytes(mutate(original, rng))
        if number % 5:
            action = partial(score_files, tmp_path / mutated, references, scoring, tmp_path / "o.json")
        else:
            action = partial(compare_files, [tmp_path / mutated, tmp_path / "h.jsonl"], references, scoring, 2, None)
        outcomes.add(survives(action))
    assert outcomes == {True, False}


@pytest.mark.parametrize("name", ["scores.json", "sentences.jsonl"])
def test_damaged_runs_of_report(tmp_path: Path, name: str) -> None:
    run = write_run(tmp_path / "run", ["de-en"], rows=6)
    path = run / "de-en" / name
    original, rng = path.read_bytes(), random.Random(name)
    outcomes = set()
    for number in range(50):
        path.write_bytes(mutate(original, rng))
        against = ["XLS-R (0.3B)"] if number % 2 else []
        outcomes.add(survives(partial(write_report, [run], tmp_path / "report", against, sentences=4)))
    assert outcomes == {True, False}
