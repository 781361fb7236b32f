"""Known cameras in a real browser: dropped beside the photos, told in a table, drawn beside those that were found."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from demo import server
from recon import CARDS
from tests.browsing import CHROMIUM, launched, page_at
from tests.demo.staged import CARD, Staged
from tests.demo.test_browser import canvas, changed, drop, lit, wait_for
from tests.demo.test_knowing import transforms
from tests.known.photographed import photographed

pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")]


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    """The page of somebody new, who chose the staged model."""
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        patch.setitem(CARDS, CARD.name, CARD)
        patch.setattr(Staged, "size", (72, 96))
        Staged.reset()
        expect.set_options(timeout=20_000)
        with server.running(port=0) as running:
            browser = launched(playwright)
            page = page_at(browser, running.url, 1120, 700)
            yield page
            expect.set_options(timeout=5_000)
            browser.close()


def test_known_cameras_are_told_and_drawn(page: Page, tmp_path: Path) -> None:
    scene, _ = photographed(tmp_path / "photos", 3)
    known, said = page.locator("#known-files input[type=file]"), page.locator("#known-said")
    page.locator("#know > button").click()
    letter = tmp_path / "letter.json"
    letter.write_text("Dear reader")
    page.set_input_files("#known-files input[type=file]", letter)
    expect(said).to_contain_text("once there are some")
    drop(page, sorted((tmp_path / "photos").iterdir()))
    expect(said.locator(".failed")).to_contain_text("letter.json")
    known.set_input_files(transforms(tmp_path / "known", scene))
    expect(page.locator(".known tbody tr")).to_have_count(3)
    expect(said).to_contain_text("poses of all photos")
    page.reload()
    page.locator("#know > button").click()
    expect(page.locator(".known tbody tr")).to_have_count(3)
    page.locator("#model input").click()
    page.get_by_role("option", name=CARD.title, exact=True).click()
    expect(said).to_contain_text("Staged does not heed known intrinsics and poses")

    Staged.steps.release(3)
    page.click("#run")
    page.locator("#status .done").wait_for()
    expect(page.locator("#legend")).to_contain_text("All 3 cameras were given: on average 0.0°")
    wait_for(lambda: lit(canvas(page)) > 0.05)
    before = canvas(page)
    page.locator("#given input").uncheck()
    wait_for(lambda: changed(canvas(page), before) > 5e-5)
    page.click("#clear-known")
    expect(page.locator(".known")).to_have_count(0)
    expect(page.locator("#legend")).to_contain_text("given")  # the scene remembers
