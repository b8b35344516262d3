"""`voxlate report`: tables as in the papers, next to published scores, and a page that works in a browser."""

import csv
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, sync_playwright
from typer.testing import CliRunner

from media import sine, write_media
from runs import ATTACK, edit_scores, write_run
from voxlate.cli import app
from voxlate.errors import VoxlateError
from voxlate_eval.formats import as_latex, as_markdown
from voxlate_eval.published import find_system, splits
from voxlate_eval.tables import make_tables

X_EN = [direction for direction in splits() if direction.endswith("-en")]
EN_X = [direction for direction in splits() if direction.startswith("en-")]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def run(*arguments: str | Path) -> Any:
    return CliRunner().invoke(app, ["report", *map(str, arguments)], catch_exceptions=False)


def set_bleu(folder: Path, values: dict[str, float], **changes: Any) -> None:
    """Set a run's BLEU scores, as if for the complete official test sets."""
    for direction, value in values.items():
        path = folder / direction / "scores.json"
        found = json.loads(path.read_text())
        found["metrics"]["BLEU"] |= {"value": value, "low": value - 0.4, "high": value + 0.4}
        edit_scores(folder, direction, metrics=found["metrics"], **({"n": splits()[direction].test} | changes))


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of all 36 directions with the published scores."""
    folder = write_run(tmp_path_factory.mktemp("all") / "ours", X_EN + EN_X, rows=4)
    published = find_system("XLS-R (0.3B)").scores
    set_bleu(folder, {direction: published[direction] for direction in X_EN + EN_X})
    return folder


def test_order_groups_and_averages_are_those_of_the_paper(everything: Path) -> None:
    tables = make_tables([everything], ["XLS-R (0.3B)"])
    keys = [row.key for row in tables.rows]
    assert keys[:5] == ["fr-en", "de-en", "es-en", "ca-en", "high-x-en"]
    assert [key for key in keys if "-x" in key or key.startswith("avg")] == [
        "high-x-en",
        "mid-x-en",
        "low-x-en",
        "avg-x-en",
        "avg-en-x",
    ]
    assert [key for key in keys if key in splits()] == X_EN + EN_X
    ours, theirs = tables.columns
    for key in keys:
        assert ours.cells[key].value == pytest.approx(theirs.cells[key].value, abs=0.051)
        assert theirs.cells[key].verdict == "reproduced", key
    average = ours.cells["high-x-en"]
    assert (average.high or 0) - (average.low or 0) == pytest.approx(0.8 / 2)  # mean of four independent test sets


def test_verdicts(tmp_path: Path) -> None:
    directions = ["fr-en", "de-en", "es-en", "ca-en", "en-zh", "en-ja", "it-en"]
    folder = write_run(tmp_path / "run", directions, rows=3)
    published = find_system("XLS-R (0.3B)").scores
    shifts = {"fr-en": 0.5, "de-en": 0.6, "es-en": -0.7, "ca-en": 0.0, "en-zh": 0.0, "en-ja": 0.0, "it-en": 0.0}
    set_bleu(folder, {direction: published[direction] + shift for direction, shift in shifts.items()})
    edit_scores(folder, "ca-en", n=12_000)
    edit_scores(folder, "it-en", split="dev")
    found = json.loads((folder / "en-ja/scores.json").read_text())
    found["metrics"]["BLEU"]["signature"] = "nrefs:1|case:mixed|eff:no|tok:ja-mecab|smooth:exp|version:2.6.0"
    edit_scores(folder, "en-ja", metrics=found["metrics"])
    theirs = make_tables([folder], ["XLS-R (0.3B)"]).columns[1].cells
    assert {key: cell.verdict for key, cell in theirs.items()} == {
        "fr-en": "reproduced",
        "de-en": "above",
        "es-en": "below",
        "ca-en": "not comparable: 12,000 of 12,730 sentences",
        "en-zh": "reproduced",
        "en-ja": f"not comparable: different tokenizer ({found['metrics']['BLEU']['signature']})",
        "it-en": "not comparable: split dev, published scores are for test",
        "high-x-en": "not comparable: ca-en: 12,000 of 12,730 sentences",
        "mean-x-en": "not comparable: ca-en: 12,000 of 12,730 sentences",
        "mean-en-x": f"not comparable: en-ja: different tokenizer ({found['metrics']['BLEU']['signature']})",
    }


def test_published_scores_that_are_not_comparable_are_marked(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", ["fr-en", "en-zh", "en-de"], rows=3)
    set_bleu(folder, {"fr-en": 30.0, "en-zh": 30.0, "en-de": 30.0})
    tables = make_tables([folder], ["Whisper large-v2", "Phi-4-Multimodal CoT", "[text MT] NLLB-200-distilled-600M"])
    _, whisper, phi, text = (column.cells for column in tables.columns)
    assert whisper["fr-en"].doubt == "its tokenizer is not stated"
    assert phi["fr-en"].doubt is None
    assert phi["en-zh"].doubt == "its tokenizer for Chinese and Japanese differs, or is not stated"
    assert text["en-de"].verdict == "not comparable: translates transcripts, not speech"
    assert "Phi-4-Mini/Phi-4-Multimodal report" in as_markdown(tables)


def test_runs_with_different_signatures_are_marked(tmp_path: Path) -> None:
    first, second = (write_run(tmp_path / name, ["fr-en", "de-en"], rows=3) for name in ("one", "two"))
    for folder in (first, second):
        set_bleu(folder, {"fr-en": 30.0, "de-en": 30.0})
    found = json.loads((second / "fr-en/scores.json").read_text())
    found["metrics"]["BLEU"]["signature"] += "|by:hand"
    edit_scores(second, "fr-en", metrics=found["metrics"])
    text = as_markdown(make_tables([first, second], []))
    assert "| fr→en | 30.0 ±0.4* | 30.0 ±0.4* |" in text
    assert "| de→en | 30.0 ±0.4 | 30.0 ±0.4 |" in text
    assert "one* (fr→en): not comparable, these runs are scored in different ways; see their signatures" in text


def test_all_formats_have_the_same_scores(everything: Path, tmp_path: Path) -> None:
    done = run(everything, "--output", tmp_path / "report", "--against", "XLS-R (0.3B)", "--against", "XLS-R (2B)")
    assert done.exit_code == 0
    names = ["tables.md", "tables.csv", "tables.tex", "report.html"]
    assert done.stdout.split() == [str(tmp_path / "report" / name) for name in names]
    with (tmp_path / "report/tables.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * (36 + 5)
    by_key = {(row["row"], row["system"]): row for row in rows}
    assert by_key["fr-en", "ours"]["bleu"] == "32.9000"
    assert by_key["fr-en", "XLS-R (2B)"]["verdict"] == "below"
    markdown = (tmp_path / "report/tables.md").read_text(encoding="utf-8")
    assert "| fr→en | 32.9 ±0.4 | 32.9 | +0.0 | reproduced | 37.6 | -4.7 | below |" in markdown
    latex = (tmp_path / "report/tables.tex").read_text(encoding="utf-8")
    assert r"fr$\to$en & 32.9 $\pm$0.4 & 32.9 & 37.6 \\" in latex
    assert latex == as_latex(make_tables([everything], ["XLS-R (0.3B)", "XLS-R (2B)"]))
    page = (tmp_path / "report/report.html").read_text(encoding="utf-8")
    assert page.count("<svg") >= 3
    assert "http://" not in page.replace("http://www.w3.org", "").replace("http://purl.org", "").replace(
        "http://creativecommons.org", ""
    )


def test_invalid_runs_and_names_are_errors(tmp_path: Path, everything: Path) -> None:
    with pytest.raises(VoxlateError, match=r"no DIRECTION/scores.json; expected a folder written by voxlate evaluate"):
        run(tmp_path, "--output", tmp_path / "report")
    with pytest.raises(VoxlateError, match=r"^no published system 'XLS-R 2B'; did you mean 'XLS-R \(2B\)'"):
        run(everything, "--output", tmp_path / "report", "--against", "XLS-R 2B")
    (tmp_path / "run/fr-en").mkdir(parents=True)
    (tmp_path / "run/fr-en/scores.json").write_text("[]")
    with pytest.raises(
        VoxlateError, match=r"fr-en/scores.json: not scores of voxlate evaluate with BLEU .* score that"
    ):
        run(tmp_path / "run", "--output", tmp_path / "report")


@pytest.mark.slow
def test_thirty_six_directions_take_less_than_half_a_minute(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", X_EN + EN_X, rows=100)
    started = time.perf_counter()
    assert run(folder, "--output", tmp_path / "report", "--against", "XLS-R (1B)").exit_code == 0
    assert time.perf_counter() - started < 30


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Page, list[str]]]:
    """A report in an offline browser, and its console messages."""
    if CHROMIUM is None:
        pytest.skip("no Chromium here")
    folder = tmp_path_factory.mktemp("page")
    clip = write_media(folder / "clip.wav", sine(440, 0.5))
    runs = write_run(folder / "run", ["fr-en", "de-en", "en-zh"], rows=40, audio=clip)
    set_bleu(runs, {"fr-en": 32.0, "de-en": 29.0})
    assert run(runs, "--output", folder / "report", "--against", "XLS-R (0.3B)", "--clips", folder).exit_code == 0
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = browser.new_context(offline=True)
        opened = context.new_page()
        messages: list[str] = []
        opened.on("console", lambda message: messages.append(message.text))
        opened.on("pageerror", lambda error: messages.append(str(error)))
        opened.goto((folder / "report/report.html").as_uri())
        yield opened, messages
        browser.close()


def test_the_page_logs_nothing_and_runs_no_injected_script(page: tuple[Page, list[str]]) -> None:
    opened, messages = page
    opened.fill("#search", "onerror")
    assert ATTACK in opened.inner_text("#list").replace("\n", " ")
    assert opened.evaluate("window.hacked") is None
    assert opened.locator("#list img, #list script, #list article b b").count() == 0
    opened.fill("#search", "")
    assert messages == []


def test_each_text_has_its_own_writing_direction(page: tuple[Page, list[str]]) -> None:
    opened, _ = page
    assert (
        opened.locator(
            "#list article p > span:not([dir=auto]), #list header > span:first-child:not([dir=auto])"
        ).count()
        == 0
    )
    assert opened.locator("#list article p > span[dir=auto]").count() >= 50


def test_tables_sort(page: tuple[Page, list[str]]) -> None:
    opened, _ = page

    def column(number: int) -> list[str]:
        return opened.locator(f"#scores tbody tr > :nth-child({number})").all_inner_texts()

    before = column(1)
    opened.click("#scores thead th:nth-child(2) button")
    values = [float(text.split()[0].strip("*")) for text in column(2)]
    assert values == sorted(values, reverse=True)
    opened.click("#scores thead th:nth-child(2) button")
    assert [float(text.split()[0].strip("*")) for text in column(2)] == sorted(values)
    opened.click("#scores thead th:nth-child(1) button")
    assert column(1) == sorted(before, reverse=True)
    for _ in range(2):
        opened.click("#scores thead th:nth-child(1) button")
    assert column(1) == before


def test_search_and_order(page: tuple[Page, list[str]]) -> None:
    opened, _ = page
    assert opened.locator("#list article").count() == 25
    opened.click("#more")
    assert opened.locator("#list article").count() == 40
    opened.fill("#search", "FR-EN/7")
    assert opened.locator("#list article").count() == 1
    assert opened.inner_text("#count") == "1 of 40"
    opened.fill("#search", "")
    scores = [
        float(text.split()[1]) for text in opened.locator("#list article header span:nth-child(2)").all_inner_texts()
    ]
    assert scores == sorted(scores)
    opened.select_option("#direction", index=2)
    assert "en-zh/" in opened.inner_text("#list")
    opened.select_option("#direction", index=0)


def test_clips_play(page: tuple[Page, list[str]]) -> None:
    opened, _ = page
    played = opened.evaluate(
        """async () => {
            const audio = document.querySelector("#list audio");
            audio.muted = true;
            await audio.play();
            return audio.duration;
        }"""
    )
    assert played == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_does_not_scroll_sideways(page: tuple[Page, list[str]], width: int) -> None:
    opened, _ = page
    opened.set_viewport_size({"width": width, "height": 900})
    assert opened.evaluate("document.documentElement.scrollWidth") <= width


def test_our_own_runs_have_means_and_no_marks(tmp_path: Path) -> None:
    directions = ["fr-en", "it-en", "en-ca", "en-fr"]
    runs = [write_run(tmp_path / name, directions, rows=3) for name in ("clean", "noisy")]
    tables = make_tables(runs, [])
    assert [row.label for row in tables.rows] == [
        "fr→en",
        "it→en",
        "mean of these 2 X→en",
        "en→ca",
        "en→fr",
        "mean of these 2 en→X",
    ]
    for column in tables.columns:
        assert column.cells["mean-x-en"].value == pytest.approx(
            (column.cells["fr-en"].value + column.cells["it-en"].value) / 2
        )
        assert not any(cell.doubt for cell in column.cells.values())
