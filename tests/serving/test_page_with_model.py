"""The page and `voxlate serve` together, with the bundled demo model: a dropped recording, and a spoken sentence."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from media import write_media
from paths import DEMO
from recordings import demo_sentences, record
from voxlate import Translation, Translator
from voxlate.audio.loading import load_audio
from web_pages import drop_files, new_page, start_chromium

pytestmark = [pytest.mark.slow, pytest.mark.vad]
PATIENCE = 60_000.0  # milliseconds


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    command = [sys.executable, "-m", "voxlate", "serve", "--model", f"demo={DEMO / 'model'}", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        yield next(found[1] for line in process.stderr if (found := re.match(r"serving demo at (\S+)", line)))
        process.terminate()
        assert process.stderr.read().count("Traceback") == 0
        assert process.wait(timeout=60) == 0


@pytest.fixture(scope="module")
def sentence(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the microphone hears."""
    waveform_T = load_audio(DEMO / "clips/en-63.flac").waveform
    return write_media(tmp_path_factory.mktemp("sentence") / "said.wav", waveform_T)


@pytest.fixture
def page(address: str, sentence: Path) -> Iterator[Page]:
    for browser in start_chromium(f"--use-file-for-fake-audio-capture={sentence}"):
        with new_page(browser, address) as (page, messages):
            expect(page.locator("#choose")).to_be_enabled()
            page.get_by_label("Translate into").select_option(label="German")
            yield page
            assert messages == []


def test_a_recording_is_translated_as_by_the_command(page: Page, tmp_path: Path) -> None:
    talk = write_media(tmp_path / "talk.mp3", record(demo_sentences(8), "en", seed=3).waveform_T)
    expected = Translator(DEMO / "model").translate(talk, to="de")
    assert isinstance(expected, Translation)
    drop_files(page, [talk])
    expect(page.locator(".transcript")).to_have_attribute("data-state", "done", timeout=PATIENCE)
    areas = page.locator(".segments textarea").all()
    assert [area.input_value() for area in areas] == [segment.text for segment in expected.segments]
    areas[2].fill("Berichtigt.")
    with page.expect_download() as found:
        page.get_by_role("button", name="Download SRT").click()
    written = Path(found.value.path()).read_text(encoding="utf-8")
    shown = " ".join(line for line in written.splitlines() if re.match(r"\D", line))
    texts = [segment.text for segment in expected.segments]
    assert shown == " ".join([*texts[:2], "Berichtigt.", *texts[3:]])


def test_a_spoken_sentence_is_translated(page: Page) -> None:
    """Chromium plays the sentence to its microphone again and again."""
    page.get_by_role("button", name="Record", exact=True).click()
    expect(page.locator("#recorded")).to_have_text("0:07", timeout=PATIENCE)
    page.get_by_role("button", name="Stop and translate").click()
    expect(page.locator(".transcript")).to_have_attribute("data-state", "done", timeout=PATIENCE)
    texts = [area.input_value() for area in page.locator(".segments textarea").all()]
    assert "Ich habe dreiunddreißig Euro für die Bremsen bezahlt." in texts
