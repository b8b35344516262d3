"""The page in Chromium: files and the microphone in, segments with times, corrections and subtitles out."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Dialog, Locator, Page, expect

from media import sweep, write_media
from page_server import PageServer, serve_page
from web_pages import drop_files, new_page, poor_contrasts, start_chromium

SENTENCES = ("Where is the station?", "The train left at seven & we <b>waited</b>.", "Thank you.")
SEGMENTS = [
    {"start": 0.5, "end": 2.0, "text": SENTENCES[0]},
    {"start": 2.5, "end": 5.25, "text": SENTENCES[1]},
    {"start": 6.0, "end": 7.0, "text": SENTENCES[2]},
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    yield from start_chromium()


@pytest.fixture(scope="module")
def running() -> Iterator[PageServer]:
    with serve_page() as server:
        yield server


@pytest.fixture
def server(running: PageServer) -> PageServer:
    running.reset()
    running.segments, running.seconds = SEGMENTS, 8.0
    return running


@pytest.fixture
def page(browser: Browser, server: PageServer) -> Iterator[Page]:
    """The page in a tab of its own. A message on the console or an uncaught error fails the test."""
    with new_page(browser, server.url) as (page, messages):
        expect(page.locator("#choose")).to_be_enabled()
        yield page
        assert [message for message in messages if "status of 4" not in message] == []  # Chromium's, for any 4xx


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_media(tmp_path_factory.mktemp("sound") / "talk.wav", sweep(200, 900, 8.0))


def texts(page: Page) -> list[str]:
    return [area.input_value() for area in page.locator(".segments textarea").all()]


def job(page: Page, name: str) -> Locator:
    return page.locator(".job", has_text=name)


def download(page: Page, kind: str) -> str:
    with page.expect_download() as found:
        page.get_by_role("button", name=f"Download {kind}").click()
    assert found.value.suggested_filename == f"talk.wav.en.{kind.lower()}"
    return Path(found.value.path()).read_text(encoding="utf-8")


def translate(page: Page, *files: Path) -> None:
    page.set_input_files("#files", files)
    expect(page.locator(".transcript")).to_have_attribute("data-state", "done")


def test_a_file_is_dropped_and_its_segments_arrive_one_by_one(page: Page, server: PageServer, talk: Path) -> None:
    page.get_by_label("Translate into").select_option(label="Arabic")
    server.gate.clear()
    drop_files(page, [talk])
    expect(page.locator(".segments li")).to_have_count(1)
    expect(page.locator(".state")).to_have_text("Translated 0:02 of 0:08 …")
    assert page.locator(".job progress").evaluate("bar => bar.value") == 0.25
    server.gate.set()
    expect(page.locator(".state")).to_have_text("Done · 3 segments")
    assert texts(page) == [*SENTENCES]
    assert page.locator(".segments .time").nth(1).inner_text().split() == ["0:02.5", "0:05.2"]
    [request] = server.requests
    assert request.pop("contents") == talk.read_bytes()
    assert request == {"model": "demo", "to_language": "ar", "stream": "true", "name": "talk.wav"}
    expect(page.locator("#announcer")).to_have_text("talk.wav: done, 3 segments")


def test_corrected_texts_are_in_all_downloads(page: Page, talk: Path) -> None:
    translate(page, talk)
    area = page.get_by_label("Segment 1, 0:00.5 to 0:02.0")
    area.fill("Where is\nthe port?")
    for kind in ("TXT", "SRT", "VTT", "JSON"):
        assert "station" not in download(page, kind).partition("uncorrected")[0]
    assert download(page, "TXT").splitlines() == ["Where is the port?", *SENTENCES[1:]]
    assert "00:00:00,500 --> 00:00:02,000\nWhere is the port?\n\n2\n" in download(page, "SRT")
    assert "&amp; we &lt;b&gt;waited&lt;/b&gt;." in download(page, "VTT")
    contents = json.loads(download(page, "JSON"))
    assert contents["segments"][0] == {
        "start": 0.5,
        "end": 2.0,
        "text": "Where is the port?",
        "uncorrected_text": SENTENCES[0],
    }
    assert contents["text"] == f"Where is the port? {SENTENCES[1]} {SENTENCES[2]}"
    page.get_by_label("Restore segment 1").click()
    assert texts(page) == [*SENTENCES]
    assert download(page, "TXT").splitlines() == [*SENTENCES]


def test_the_microphone_is_recorded(page: Page, server: PageServer) -> None:
    page.get_by_role("button", name="Record").click()
    expect(page.locator("#recorded")).to_have_text("0:01")
    page.get_by_role("button", name="Stop and translate").click()
    expect(page.locator(".state")).to_have_text("Done · 3 segments")
    [request] = server.requests
    assert re.fullmatch(r"recording-\d{4}-\d\d-\d\d-\d\d-\d\d-\d\d\.webm", request["name"])
    assert request["contents"].startswith(b"\x1aE\xdf\xa3")  # EBML, as in all Matroska files
    expect(page.locator(".times")).to_have_text(re.compile("0:00 / 0:0[12]"))
    page.get_by_role("button", name="Record", exact=True).click()
    page.get_by_role("button", name="Discard").click()
    expect(page.locator(".job")).to_have_count(1)


def test_the_sound_of_a_segment_is_played(page: Page, talk: Path) -> None:
    translate(page, talk)
    expect(page.locator(".times")).to_have_text("0:00 / 0:08")
    page.get_by_label("Play from 0:02.5").click()
    row = page.locator(".segments li").nth(1)
    expect(row).to_have_attribute("aria-current", "true")
    expect(page.get_by_role("button", name="Pause", exact=True)).to_be_visible()
    page.get_by_label("Play from 0:02.5").click()
    expect(page.get_by_role("button", name="Play", exact=True)).to_be_visible()
    assert 2.5 <= float(page.get_by_label("Position in talk.wav").input_value()) < 5


def test_segments_are_corrected_with_the_keyboard_alone(page: Page, talk: Path) -> None:
    translate(page, talk)
    page.locator(".segments .time").first.focus()
    page.keyboard.press("Tab")
    page.keyboard.press("End")
    page.keyboard.type(" Here?")
    page.keyboard.press("Enter")
    page.keyboard.press("End")
    page.keyboard.type("!")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".segments li").nth(1)).to_have_attribute("aria-current", "true")
    assert texts(page) == [f"{SENTENCES[0]} Here?", f"{SENTENCES[1]}!", SENTENCES[2]]


@pytest.mark.parametrize("is_late", [False, True])
def test_the_servers_error_is_shown(page: Page, server: PageServer, talk: Path, is_late: bool) -> None:
    """What arrived before an error can be downloaded; the file can be sent again."""
    message = "The audio has no sound; expected an audio or video file."
    sent = "the audio has no sound; expected an audio or video file"
    server.refusals, server.late_error = ([], sent) if is_late else ([(400, {}, sent)], "")
    page.set_input_files("#files", talk)
    expect(page.locator(".transcript > .error")).to_have_text(message)
    expect(page.locator(".state")).to_have_text("Failed")
    expect(page.locator("#announcer")).to_have_text(f"talk.wav: {message}")
    assert page.get_by_role("button", name="Download SRT").is_visible() is is_late
    server.late_error = ""
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".state")).to_have_text("Done · 3 segments")
    expect(page.locator(".transcript > .error")).to_be_hidden()
    assert texts(page) == [*SENTENCES]


@pytest.mark.slow
def test_a_server_that_is_busy_is_asked_again(page: Page, server: PageServer, talk: Path) -> None:
    server.refusals = [(429, {"Retry-After": "1"}, "32 requests are waiting.")]
    page.set_input_files("#files", talk)
    expect(page.locator(".transcript > .error")).to_have_text("32 requests are waiting. Next attempt in 1 s.")
    expect(page.locator(".state")).to_have_text("Done · 3 segments")
    assert len(server.requests) == 2


def test_an_api_key_is_asked_for_and_forgotten(browser: Browser, server: PageServer, talk: Path) -> None:
    server.key = "secret"
    with new_page(browser, server.url) as (page, _):
        key = page.get_by_label("API key", exact=True)
        expect(key).to_be_focused()
        expect(page.locator("#choose")).to_be_hidden()
        drop_files(page, [talk])  # waits until the models are known
        key.fill("wrong")
        key.press("Enter")
        expect(page.get_by_role("alert").filter(has_text="Incorrect API key provided.")).to_be_visible()
        key.fill("secret")
        key.press("Enter")
        expect(page.locator("#choose")).to_be_focused()
        expect(page.locator(".transcript")).to_have_attribute("data-state", "done")
        kept = page.evaluate("() => [JSON.stringify(localStorage), document.cookie, JSON.stringify(sessionStorage)]")
        assert ["secret" in storage for storage in kept] == [False, False, True]
        page.get_by_role("button", name="Forget the API key").click()
        expect(key).to_be_visible()
        assert "secret" not in page.evaluate("() => JSON.stringify(sessionStorage)")
        server.key = "changed"  # a key that is refused later stops nothing: the file waits for the new one
        page.set_input_files("#files", talk)
        key.fill("changed")
        key.press("Enter")
        expect(page.locator(".job[data-state=done]")).to_have_count(2)


def test_files_wait_for_each_other_and_are_cancelled(page: Page, server: PageServer, tmp_path: Path) -> None:
    (tmp_path / "talks").mkdir()
    for name in ("a.wav", "talks/b.wav", "talks/c.wav"):
        write_media(tmp_path / name, sweep(200, 900, 0.5))
    server.gate.clear()
    drop_files(page, [tmp_path / "a.wav", tmp_path / "talks"])  # a folder counts as its files
    expect(page.locator(".job[data-state=translating]")).to_have_count(2)
    expect(page.locator(".job[data-state=waiting]")).to_have_count(1)
    page.get_by_label("Cancel a.wav").click()
    expect(job(page, "a.wav")).to_have_attribute("data-state", "cancelled")
    expect(page.locator(".job[data-state=translating]")).to_have_count(2)
    for _ in range(100):
        if server.left:
            break
        page.wait_for_timeout(20)
    assert server.left == 1
    server.gate.set()
    expect(page.locator("#count")).to_have_text("3 of 3 finished")
    job(page, "a.wav").locator(".select").click()
    assert texts(page) == [SENTENCES[0]]  # what had arrived is kept
    page.get_by_label("Remove a.wav").click()
    expect(page.get_by_role("heading", name="b.wav")).to_be_visible()


def test_a_file_that_the_browser_cannot_play_is_translated(page: Page, tmp_path: Path) -> None:
    (tmp_path / "talk.wma").write_bytes(b"not for browsers")
    translate(page, tmp_path / "talk.wma")
    expect(page.get_by_text("This browser can't play this file.")).to_be_visible()
    assert texts(page) == [*SENTENCES]


def test_another_language_is_one_click_away(page: Page, server: PageServer, talk: Path) -> None:
    translate(page, talk)
    page.get_by_label("Model").select_option("large")
    page.get_by_label("Translate into").select_option(label="Chinese")
    page.get_by_role("button", name="Translate into Chinese").click()
    expect(page.locator(".job[data-state=done]")).to_have_count(2)
    assert [(one["model"], one["to_language"]) for one in server.requests] == [("demo", "en"), ("large", "zh")]
    page.reload()  # the choice is remembered
    expect(page.get_by_label("Model")).to_have_value("large")
    expect(page.get_by_label("Translate into")).to_have_value("zh")


def test_corrections_are_not_lost_by_a_slip(page: Page, talk: Path) -> None:
    """Removing the file and closing the page ask first, until the corrections are downloaded."""
    asked: list[str] = []

    def dismiss(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.dismiss()

    page.on("dialog", dismiss)
    translate(page, talk)
    page.locator(".segments textarea").first.fill("Corrected.")
    page.get_by_label("Remove talk.wav").click()
    page.close(run_before_unload=True)
    expect(job(page, "talk.wav")).to_be_visible()
    for _ in range(100):
        if len(asked) == 2:
            break
        page.wait_for_timeout(20)
    assert asked == ["confirm", "beforeunload"]
    download(page, "TXT")
    page.get_by_label("Remove talk.wav").click()
    expect(page.locator(".job")).to_have_count(0)
    expect(page.locator("#choose")).to_be_focused()


def test_silence_and_warnings_are_reported(page: Page, server: PageServer, talk: Path) -> None:
    server.segments, server.warnings = [], ["the file is truncated: its last 2.0 s are missing"]
    translate(page, talk)
    expect(page.get_by_text("No speech was found in this file.")).to_be_visible()
    expect(page.get_by_text("the file is truncated: its last 2.0 s are missing")).to_be_visible()
    expect(page.get_by_role("button", name="Download SRT")).to_be_hidden()


@pytest.mark.slow
def test_everything_has_a_name_and_enough_contrast(browser: Browser, server: PageServer, talk: Path) -> None:
    """At the width of a phone and of a laptop, in light and dark, with all that the page can show."""
    server.segments = [
        *SEGMENTS,
        {"start": 7.0, "end": 8.0, "text": "شكرا جزيلا.", "warnings": ["speech may be missing"]},
    ]
    for width, scheme in ((390, "light"), (1280, "dark"), (1280, "light")):
        options = {"viewport": {"width": width, "height": 844}, "color_scheme": scheme}
        with new_page(browser, server.url, **options) as (page, _):
            expect(page.locator("#choose")).to_be_enabled()
            assert poor_contrasts(page) == []
            server.refusals = [(400, {}, "the audio cannot be decoded")]
            page.set_input_files("#files", talk)
            expect(page.locator(".transcript > .error")).to_be_visible()
            page.set_input_files("#files", talk)
            expect(page.locator(".transcript")).to_have_attribute("data-state", "done")
            page.locator(".segments textarea").first.fill("Corrected.")
            page.get_by_label("Play from 0:02.5").click()
            expect(page.locator("[aria-current=true] .until")).to_be_visible()
            assert poor_contrasts(page) == []
            assert page.evaluate("() => document.documentElement.scrollWidth") == width
            arabic = page.locator(".segments textarea").last
            assert arabic.evaluate("area => getComputedStyle(area).direction") == "rtl"
            snapshot = page.locator("body").aria_snapshot()
            assert re.findall(r"- (?:button|combobox|slider|textbox|progressbar)(?:$|:)", snapshot, re.MULTILINE) == []
