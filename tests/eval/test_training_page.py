"""The page of a training run, from any log: empty, short, long, of many directions, damaged."""

import json
import math
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import sync_playwright

from voxlate_eval.training_log import read_training_log
from voxlate_eval.training_page import training_page
from voxlate_eval.training_plots import thin

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def write_log(path: Path, directions: Sequence[str], updates: int, *extra: str) -> Path:
    """Write a log with a line for each update, and a validation at every fourth one."""
    lines: list[dict[str, Any]] = []
    for update in range(1, updates + 1):
        numbers = {"loss": 8 / update, "lr": 1e-4, "gradient_norm": 1.5, "audio_s/s": 120.0, "epoch": update // 10}
        lines.append({"event": "train", "update": update, **numbers})
        if update % 4 == 0:
            scores = {
                name: {"bleu": update + number, "loss": 9 / update, "utterances": 20, "failed": 1, "signature": "s"}
                for number, name in enumerate(directions)
            }
            lines.append({"event": "dev", "update": update, "mean_bleu": 0.0, "directions": scores})
    path.write_text("".join(f"{line}\n" for line in [*map(json.dumps, lines), *extra]))
    return path


def page_of(log: Path, best: int | None = None, *, finished: bool = False, max_updates: int = 100) -> str:
    settings: dict[str, Any] = {"output_dir": "runs/<x>", "data.dev": [], "validation.patience": None, "sharded": False}
    return training_page(log, "my run", settings, max_updates=max_updates, best_update=best, finished=finished)


def facts(page: str) -> dict[str, str]:
    return {label: value for value, label in re.findall(r"<li><b>(.*?)</b>(.*?)</li>", page)}


def headings(page: str) -> list[str]:
    return re.findall(r"<h2.*?>(.*?)</h2>", page)


def test_the_page_of_a_run(tmp_path: Path) -> None:
    page = page_of(write_log(tmp_path / "log.jsonl", ["de-en", "fr-en"], 12), 8)
    assert facts(page) == {
        "update of 100 (12%)": "12",
        "best mean dev BLEU, at update 8": "8.5",
        "latest mean dev BLEU, at update 12": "12.5",
        "training loss": "0.667",
        "learning rate": "1.00e-04",
        "seconds of audio per second, lately": "120",
    }
    assert headings(page)[:5] == ["Dev BLEU", "Loss", "Learning rate", "Speed", "Gradient norm"]
    assert "<title>fr→en, update 8: 9.0</title>" in page
    assert ">1e-4</text>" in page
    cells = re.findall(r"<t[hd][^>]*>([^<]*)</t[hd]>", page[page.index('id="directions"') :])
    expected = ["BLEU, update 4", "BLEU, update 8 (best)", "BLEU, update 12", "loss", "utterances", "without audio"]
    assert cells[:7] == ["direction", *expected]
    assert cells[14:21] == ["fr→en", "5.0", "9.0", "13.0", "0.750", "20", "1"]
    assert cells[21:26] == ["mean", "4.5", "8.5", "12.5", "0.750"]
    assert "runs/&lt;x&gt;" in page
    assert "None" not in page


@pytest.mark.parametrize("lines", ["", "not json\n", '{"event": "train", "update": 1, "loss": NaN}\n'])
def test_there_is_a_page_before_there_are_numbers(tmp_path: Path, lines: str) -> None:
    (tmp_path / "log.jsonl").write_text(lines)
    page = page_of(tmp_path / "log.jsonl")
    assert "my run" in page
    assert "<svg" not in page
    assert ("has no losses yet" in page) == ("train" not in lines)
    assert "has no losses yet" in page_of(tmp_path / "none.jsonl")


def test_one_line_is_a_page(tmp_path: Path) -> None:
    page = page_of(write_log(tmp_path / "log.jsonl", ["fr-en"], 1))
    assert headings(page)[:2] == ["Loss", "Learning rate"]
    assert "Dev scores" not in page


def test_damaged_lines_are_counted_and_never_end_training(tmp_path: Path) -> None:
    damaged = ['{"event": "tr', "[1]", '{"event": "dev", "update": 3, "directions": 4}', "[" * 100_000]
    damaged += ['{"event": "train", "update": "x"}', '{"event": "dev", "update": 9, "directions": {"fr-en": 1}}']
    log = read_training_log(write_log(tmp_path / "log.jsonl", ["fr-en"], 4, *damaged))
    assert (len(log.lines), len(log.validations), log.invalid) == (4, 1, 6)
    assert "Damaged lines of log.jsonl, which are not shown: 6." in page_of(tmp_path / "log.jsonl")


def test_skipped_updates_and_clips_left_out_are_on_the_page(tmp_path: Path) -> None:
    clip = {"event": "unreadable", "update": 2, "id": "a", "reason": "clips/<a>.mp3: no audio"}
    more = {"event": "train", "update": 5, "loss": 1.0, "lr": 1e-3, "skipped": 2}
    page = page_of(write_log(tmp_path / "log.jsonl", ["fr-en"], 4, json.dumps(clip), json.dumps(more)))
    assert "2 updates were skipped: the gradient was not finite." in page
    assert "clips/&lt;a&gt;.mp3: no audio" in page


def test_a_run_that_stopped_early_says_so(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log.jsonl", ["fr-en"], 12)
    assert "update of 100 (stopped early)" in facts(page_of(log, 8, finished=True))
    assert "update of 12 (finished)" in facts(page_of(log, 8, finished=True, max_updates=12))


def test_long_curves_are_averaged() -> None:
    points = [(float(update), float(update % 2)) for update in range(1, 10_001)]
    found = thin(points)
    assert len(found) == 200
    assert found[-1] == (10_000, 0.5)
    assert thin(points[:200]) == points[:200]
    assert thin([]) == []


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_no_part_is_wider_than_the_page(tmp_path: Path) -> None:
    directions = [
        f"{language}-en" for language in ("fr", "de", "es", "ca", "it", "ru", "zh-CN", "pt", "fa", "et", "mn")
    ]
    log = write_log(tmp_path / "log.jsonl", directions, 48)
    (tmp_path / "training.html").write_text(page_of(log, 48))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_context(offline=True, viewport={"width": 390, "height": 900}).new_page()
        problems: list[str] = []
        page.on("console", lambda message: problems.append(message.text))
        page.goto((tmp_path / "training.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert problems == []
        assert page.locator("svg[role=img] > title").count() == 5
        curve, chart = page.locator(".curve.mean").bounding_box(), page.locator("svg[role=img]").first.bounding_box()
        browser.close()
    assert curve is not None
    assert chart is not None
    assert math.isclose(curve["x"] + curve["width"], chart["x"] + 0.975 * chart["width"], abs_tol=3)
