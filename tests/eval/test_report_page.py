"""The page of `voxlate report` for several runs: side by side, filtered, with significance, in both color schemes."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, sync_playwright

from runs import edit_scores, write_run
from voxlate_eval.formats import as_markdown
from voxlate_eval.recipe_table import recipe_tables
from voxlate_eval.report import write_report
from voxlate_eval.run_comparison import compare_runs
from voxlate_eval.svg import Axis, nice_axis
from voxlate_eval.tables import EvaluatedRun, make_tables, read_run

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
NEURAL = {"value": 81.2, "low": 80.0, "high": 82.0, "signature": "nrefs:1|model:m", "about": "higher is better"}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two runs of two directions, one of which is better, with COMET and chrF++."""
    folder = tmp_path_factory.mktemp("several")
    found = [
        write_run(folder / name, ["fr-en", "en-zh"], rows=30, errors=errors)
        for name, errors in (("weak", 0.5), ("strong", 0.1))
    ]
    for run in found:
        scores = json.loads((run / "fr-en/scores.json").read_text())
        recipe = scores["recipe"] | {"name": run.name, "device": None, "vad": True, "slots": {"en": 250004}}
        edit_scores(run, "fr-en", metrics=scores["metrics"] | {"COMET": NEURAL, "chrF++": NEURAL}, recipe=recipe)
    return found


@pytest.fixture(scope="module")
def page(runs: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    if CHROMIUM is None:
        pytest.skip("no Chromium here")
    output = tmp_path_factory.mktemp("report")
    write_report(runs, output, ["XLS-R (0.3B)", "XLS-R (*B)"])
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        opened = browser.new_context(offline=True).new_page()
        opened.goto((output / "report.html").as_uri())
        yield opened
        browser.close()


def test_hypotheses_are_side_by_side(page: Page) -> None:
    card = page.locator("#list article").first
    labels = card.locator(".systems b").all_inner_texts()
    assert [label.split(" · ")[0] for label in labels] == ["weak", "strong"]
    tops = [box["y"] for box in (part.bounding_box() for part in card.locator(".systems > div").all()) if box]
    assert tops[0] == tops[1]


def test_sentences_are_filtered(page: Page) -> None:
    def count() -> int:
        return int(page.inner_text("#count").split()[0])

    everything = count()
    assert everything == 30
    page.check("#differ")
    differing = count()
    assert 0 < differing < everything
    page.uncheck("#differ")
    page.fill("#lowest", "60")
    scores = [float(text.split()[1]) for text in page.locator("#list header span:nth-child(2)").all_inner_texts()]
    assert scores
    assert min(scores) >= 60
    page.fill("#lowest", "")
    page.fill("#shortest", "10")
    page.fill("#longest", "12")
    lengths = {
        len(text.split("\n")[-1].split()) for text in page.locator("#list article > p:nth-of-type(2)").all_inner_texts()
    }
    assert lengths <= {10, 11, 12}
    page.fill("#shortest", "")
    page.fill("#longest", "")
    page.select_option("#order", "spread")
    assert count() == everything
    page.select_option("#order", "worst")


def test_published_systems_have_one_column_with_the_difference_beneath(page: Page) -> None:
    assert page.locator("#scores thead th").all_inner_texts()[3].startswith("XLS-R (0.3B)")
    assert page.locator("#scores thead th").count() == 1 + 2 + 3
    assert re.fullmatch(r"32.9\s+\([+−]\d+\.\d\)", page.inner_text("#scores tbody tr:first-child td:nth-child(4)"))


@pytest.mark.parametrize("width", [390, 1280])
def test_no_section_is_wider_than_the_page(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for section in page.locator("#significance table, svg, .controls").all():
        box = section.bounding_box()
        assert box is None or box["x"] + box["width"] <= width
    page.set_viewport_size({"width": 1280, "height": 900})


def test_colors_follow_the_system(page: Page) -> None:
    colors = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        colors.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert colors == ["rgb(255, 255, 255)", "rgb(15, 20, 26)"]


def test_plots_are_described_for_screen_readers(page: Page) -> None:
    assert page.locator("svg[role=img] > title").count() == page.locator("svg").count() >= 4
    points = page.locator("svg circle > title").all_text_contents()
    assert any(re.fullmatch(r"weak, fr→en: \d+\.\d \[\d+\.\d, \d+\.\d\]", text) for text in points)
    assert "None" not in page.inner_text("main")


def test_every_bucket_has_its_number_and_interval(page: Page) -> None:
    table = page.locator("#plots details table").first
    table.locator("xpath=ancestor::details").evaluate("element => element.open = true")
    header, *lines = (row.split("\t") for row in table.inner_text().splitlines())
    assert header == ["direction", "up to 2 s", "2–4 s", "4–6 s", "6–8 s", "over 8 s"]
    cells = [cell for line in lines for cell in line[1:]]
    assert len(cells) == 10
    assert all(re.fullmatch(r"\d+\.\d ±\d+\.\d \(n \d+\)", cell) for cell in cells)


def test_runs_are_ranked_in_the_report(runs: list[Path], page: Page) -> None:
    assert page.locator("#significance ol").first.locator("li").count() == 2
    assert page.locator("#significance ol li").first.inner_text().startswith("strong ")
    found = compare_runs([read_run(run) for run in runs], samples=100)
    assert [one.direction for one in found] == ["fr-en", "en-zh"]
    for one in found:
        assert one.ranking is not None
        assert one.ranking.clusters == [[1], [0]]


def test_runs_that_cannot_be_compared_say_why(runs: list[Path], tmp_path: Path) -> None:
    def problem(change: Any) -> str:
        copy = shutil.copytree(runs[1], tmp_path / "other", dirs_exist_ok=True)
        change(copy / "fr-en")
        return compare_runs([read_run(runs[0]), read_run(copy)], samples=100)[0].problem

    def edit_bleu(folder: Path, **changes: Any) -> None:
        metrics = json.loads((folder / "scores.json").read_text())["metrics"]
        edit_scores(folder.parent, "fr-en", metrics=metrics | {"BLEU": metrics["BLEU"] | changes})

    lines = (runs[1] / "fr-en/sentences.jsonl").read_text().splitlines(keepends=True)
    assert problem(lambda folder: edit_bleu(folder, value=1.0)).endswith("of other do not belong together")
    assert problem(lambda folder: edit_bleu(folder, signature="x")) == "the signatures of BLEU differ"
    shorter = "".join(lines[1:])
    assert (
        problem(lambda folder: (folder / "sentences.jsonl").write_text(shorter)) == "the runs have different references"
    )
    assert problem(lambda folder: (folder / "sentences.jsonl").unlink()) == "other has no sentences.jsonl"


def test_other_metrics_are_columns_of_both_tables(runs: list[Path], page: Page) -> None:
    header = page.locator("#metrics thead th").all_inner_texts()
    assert header[0] == "direction"
    assert {"COMET, weak", "COMET, strong", "chrF++, weak", "chrF, strong"} < {*header}
    markdown = as_markdown(make_tables(runs, []))
    assert (
        "| direction | chrF, weak | chrF, strong | COMET, weak | COMET, strong | chrF++, weak | chrF++, strong |"
        in markdown
    )
    assert "| 81.2 ±1.0 | 81.2 ±1.0 |" in markdown


def test_a_recipe_is_shown_once_and_without_python(runs: list[Path]) -> None:
    sections = dict(recipe_tables([read_run(run) for run in runs]))
    assert sections["All runs"] == [("model", "made-up"), ("search_beam", "5")]
    assert sections["weak"] == [
        ("name", "fr→en: weak; en→zh: –"),
        ("vad", "fr→en: yes; en→zh: –"),
        ("slots.en", "fr→en: 250004; en→zh: –"),
    ]
    one = EvaluatedRun("one", {"fr-en": read_run(runs[0]).scores["fr-en"]}, {})
    assert [heading for heading, _ in recipe_tables([one])] == [""]


def test_axes_have_round_numbers() -> None:
    assert Axis(1, 500, 0, 100, is_logarithmic=True).ticks() == [1, 2, 5, 10, 20, 50, 100, 200, 500]
    axis = nice_axis([3.2, 54.8], 0, 100)
    assert (axis.low, axis.high) == (0, 60)
    assert axis.ticks() == [0, 10, 20, 30, 40, 50, 60]
    assert axis.place(30) == 50
    assert nice_axis([-3.0, 0.5], 0, 1).low <= -3
