"""The subtitles that the page writes are those of `voxlate translate`, for the same segments."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from playwright.sync_api import Page

from page_server import serve_page
from voxlate.decoding.results import Candidate, Segment, Translation, Word
from voxlate.decoding.writers import WRITERS
from web_pages import new_page, start_chromium

_WRITE = """async ([format, translation]) => (await import("./subtitles.js")).WRITERS[format](translation)"""
# Languages without a list of function words: only Python avoids to end lines with them.
TEXTS = {
    "eo": [
        "Doch am Ende, nach mehr als vier Stunden Debatte, waren sich die Mitglieder einig, dass die Brücke kommt.",
        "Ja. Nein!",
        "Das kostet {etwa} 3 < 5 --> \\N und <i>mehr</i> & mehr, z. B. 10 %.",
        "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft.",
    ],
    "he": [
        "اجتمعت اللجنة يوم الثلاثاء لمناقشة مستقبل الميناء القديم المغلق منذ عاصفة الشتاء الماضي.",
        "لم يتوقع أحد قرارا (2026).",
    ],
    "la": [
        "One " * 60 + "end.",
        "",
        "Two\u2028lines of text.",
        "This was said very fast indeed, far too fast to read it.",
    ],
}


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    for browser in start_chromium():
        with serve_page() as server, new_page(browser, server.url) as (page, _):
            yield page


def made(texts: list[str], language: str, seconds_each: float, pause: float) -> tuple[dict[str, Any], Translation]:
    """Return a translation as the page has it and as Python has it; the words of each second segment have times."""
    segments, shown, start = [], [], 0.25
    for number, text in enumerate(texts):
        end = start + (0.4 if text == texts[-1] else seconds_each)
        middle = start + (end - start) / 3
        half = len(text) // 2
        words = (Word(text[:half], start, middle), Word(text[half:], middle, end)) if number % 2 and text else ()
        segments.append(Segment(start, end, (Candidate(text, 0.0),), words=words))
        timed = [{"text": word.text, "start": word.start, "end": word.end} for word in words]
        shown.append({"start": start, "end": end, "text": text, "original": text, "words": timed})
        start = end + pause
    translation = {"name": "a.wav", "language": language, "model": "m", "seconds": start, "segments": shown}
    return translation, Translation("a.wav", start, language, tuple(segments))


@pytest.mark.parametrize("language", TEXTS)
@pytest.mark.parametrize("pause", [0.0, 0.6])
def test_cues_lines_times_and_escapes_are_the_same(page: Page, language: str, pause: float) -> None:
    shown, translation = made(TEXTS[language], language, 7.5, pause)
    for name in ("srt", "vtt", "txt"):
        assert page.evaluate(_WRITE, [name, shown]) == WRITERS[name](translation)


def test_chinese_lines_are_within_their_limits(page: Page) -> None:
    """The page finds words with Intl.Segmenter instead of BudouX."""
    text = "我们从早上七点开始一直在等火车，谁也不能告诉我们为什么没有来。今天下午我想去参观大教堂，请问怎么走？" * 2
    shown, _ = made([text, "好。"], "zh", 30.0, 0.5)
    cues = page.evaluate("async (one) => (await import('./subtitles.js')).makeCues(one.segments, 'zh', 40)", shown)
    lines = [line for cue in cues for line in cue["lines"]]
    assert "".join(lines) == f"{text}好。"
    assert all(len(line) <= 16 and line[0] not in "，。？" for line in lines)
    assert all(earlier["end"] <= later["start"] for earlier, later in pairwise(cues))
    assert max(cue["end"] - cue["start"] for cue in cues) <= 7
