"""Cues over a video frame of 1280 by 720 pixels, in Chromium: they fit, and punctuation is on the right side."""

import html
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, sync_playwright

from voxlate.decoding.results import Candidate, Segment, Translation
from voxlate.decoding.subtitle_formats import to_srt

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FRAME = (1280, 720)
FONT_PIXELS = 36  # 5 % of the height, as players have it
WIDEST_SHARE = 0.9
TEXTS = {
    "en": "WHAT WOULD MAMMA MIA MEAN TO WOMEN WHO WANDER WESTWARD, WHERE THE MIGHTY MOUNTAINS MAKE WARM WINDS?",
    "de": "Doch am Ende, nach mehr als vier Stunden Debatte, waren sich die Mitglieder einig, dass die Brücke kommt.",
    "ar": "اجتمعت اللجنة يوم الثلاثاء لمناقشة مستقبل الميناء القديم المغلق منذ عاصفة الشتاء الماضي. لم يتوقع قرارا.",
}


@pytest.fixture(scope="module")
def frame() -> Iterator[Page]:
    if CHROMIUM is None:
        pytest.skip("no Chromium here")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser.new_page(viewport={"width": FRAME[0], "height": FRAME[1]})
        browser.close()


def lines(language: str) -> list[str]:
    """Return all lines of the subtitles of a text, with their direction marks."""
    segment = Segment(0.0, 20.0, (Candidate(TEXTS[language], 0.0),))
    written = to_srt(Translation("a.wav", 20.0, language, (segment,)))
    return [line for block in written.split("\n\n") for line in block.strip().split("\n")[2:]]


def show(page: Page, shown: list[str]) -> None:
    """Show lines from left to right, as players that know nothing of directions do."""
    spans = "".join(f"<div><span>{html.escape(line)}</span></div>" for line in shown)
    style = f"white-space: nowrap; text-align: center; font: {FONT_PIXELS}px sans-serif"
    page.set_content(
        f'<body style="margin: 0; width: {FRAME[0]}px" dir="ltr"><div style="{style}">{spans}</div></body>'
    )


@pytest.mark.parametrize("language", TEXTS)
def test_every_line_fits_into_the_frame(frame: Page, language: str) -> None:
    show(frame, lines(language))
    widths = frame.evaluate("[...document.querySelectorAll('span')].map(span => span.getBoundingClientRect().width)")
    assert len(widths) >= 3
    assert max(widths) <= WIDEST_SHARE * FRAME[0]


def test_the_period_of_a_line_from_right_to_left_is_on_its_left(frame: Page) -> None:
    [last] = lines("ar")[-1:]
    show(frame, [last])
    left, middle = frame.evaluate(
        """() => {
            const text = document.querySelector('span').firstChild;
            const range = document.createRange();
            const period = text.data.lastIndexOf('.');
            range.setStart(text, period); range.setEnd(text, period + 1);
            const box = document.querySelector('span').getBoundingClientRect();
            return [range.getBoundingClientRect().left, box.left + box.width / 2];
        }"""
    )
    assert left < middle
