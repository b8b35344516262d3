"""Chromium for tests of web pages, with a made-up microphone, and what a visitor and a reviewer of a page do."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_MICROPHONE = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")


def start_chromium(*options: str) -> Iterator[Browser]:
    """Yield a browser until the test module ends; skip the tests if there is none here."""
    if CHROMIUM is None:
        pytest.skip("no Chromium here")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *_MICROPHONE, *options])
        yield browser
        browser.close()


@contextmanager
def new_page(browser: Browser, url: str, **options: Any) -> Iterator[tuple[Page, list[str]]]:
    """Open a page without history, and yield it with the messages of its console and its uncaught errors."""
    context = browser.new_context(locale="en-US", **options)
    page = context.new_page()
    page.set_default_timeout(10_000)
    messages: list[str] = []
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.goto(url)
    yield page, messages
    context.close()


def drop_files(page: Page, paths: Sequence[Path]) -> None:
    """Drag files and folders from outside the browser, and drop them on the page."""
    session = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, "x": 200, "y": 200, "data": data})


# The contrast of every visible text with the background under it, as WCAG 2.2 defines it.
_CONTRASTS = """() => {
  const parse = (color) => {
    const [red, green, blue, alpha = 1] = color.match(/[\\d.]+/g).map(Number);
    return [red, green, blue, alpha];
  };
  const luminance = (color) => {
    const linear = color.slice(0, 3).map((part) => {
      const share = part / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  };
  const backgroundOf = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const color = parse(getComputedStyle(one).backgroundColor);
      if (color[3] === 1) return color;
    }
    return [255, 255, 255, 1];
  };
  const isShown = (element) => element.checkVisibility() && element.getClientRects().length > 0;
  const hasText = (element) => element.matches("textarea, select") ||
    [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
  return [...document.querySelectorAll("body *")]
    .filter((element) => isShown(element) && hasText(element) && !element.closest("svg, :disabled, option"))
    .map((element) => {
      const [one, other] = [parse(getComputedStyle(element).color), backgroundOf(element)].map(luminance);
      const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
      return [contrast, `${element.tagName} ${element.className}: ${element.textContent.trim().slice(0, 40)}`];
    });
}"""


def poor_contrasts(page: Page, least: float = 4.5) -> list[str]:
    """Return the visible texts whose contrast with their background is less than `least`."""
    found = page.evaluate(_CONTRASTS)
    assert len(found) > 5
    return [f"{contrast:.2f} {text}" for contrast, text in found if contrast < least]
