"""The tab of the tracks in a real browser, with a model that knows where its points are."""

from collections.abc import Iterator

import numpy as np
import pytest
from playwright.sync_api import Page, expect, sync_playwright

from demo import server
from demo.trails import colours
from recon import CARDS
from tests.browsing import CHROMIUM, launched, page_at
from tests.demo.staged import CARD, Staged
from tests.demo.test_browser import DESK, canvas, changed, drop, lit, wait_for

pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """The tab of somebody with a scene of three photos; a phone's narrow, dense screen."""
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        patch.setitem(CARDS, CARD.name, CARD)
        patch.setattr(Staged, "size", (240, 320))
        Staged.reset()
        expect.set_options(timeout=20_000)
        with server.running(port=0) as running:
            browser = launched(playwright)
            page = page_at(browser, running.url, 480, 800, device_scale_factor=1.5)
            drop(page, DESK)
            page.locator("#model input").click()
            page.get_by_role("option", name=CARD.title).click()
            Staged.steps.release(3)
            page.click("#run")
            page.locator("#status .done").wait_for()
            yield page
            expect.set_options(timeout=5_000)
            browser.close()


def tab(page: Page, name: str) -> None:
    page.get_by_role("tab", name=name).click()


def click(page: Page, x: float, y: float) -> None:
    """Click the photo at a share of its width and height."""
    photo = page.locator(".pick")
    box = photo.bounding_box()
    assert box is not None
    photo.click(position={"x": x * box["width"], "y": y * box["height"]})


def test_points_that_are_clicked_follow_through_all_photos_and_stand_in_the_scene(page: Page) -> None:
    wait_for(lambda: lit(canvas(page)) > 0.05)
    tab(page, "Tracks")
    marks, pictures = page.locator(".pick i"), page.locator("#trails img")
    expect(page.locator("#follow")).to_be_disabled()
    for count, (x, y) in enumerate([(0.25, 0.25), (0.5, 0.5), (0.8, 0.3), (0.6, 0.8)], start=1):
        click(page, x, y)
        expect(marks).to_have_count(count)
    click(page, 0.505, 0.5)
    expect(marks).to_have_count(3)
    colour = marks.nth(0).evaluate("mark => getComputedStyle(mark).backgroundColor.match(/\\d+/g).map(Number)")
    np.testing.assert_allclose(colour, colours(np.array([[0.25, 0.25]]), (1, 1))[0], atol=2)
    Staged.steps.release()
    page.click("#follow")
    expect(pictures).to_have_count(3)
    expect(page.locator("#track-status")).to_contain_text("3 points followed")
    expect(page.locator("#follow")).to_be_disabled()
    tab(page, "3D")
    wait_for(lambda: lit(canvas(page)) > 0.05)
    before = canvas(page)
    tab(page, "Tracks")
    page.locator("#lines input").uncheck()
    tab(page, "3D")
    wait_for(lambda: changed(canvas(page), before) > 5e-5)
    tab(page, "Tracks")
    page.locator("#lines input").check()


def test_a_followed_point_that_is_taken_away_is_gone_from_the_pictures(page: Page) -> None:
    first = page.locator("#trails img").first
    before = first.get_attribute("src")
    click(page, 0.8, 0.3)
    expect(page.locator(".pick i")).to_have_count(2)
    wait_for(lambda: first.get_attribute("src") != before)


def test_a_reload_finds_points_and_pictures_again(page: Page) -> None:
    page.reload()
    tab(page, "Tracks")
    expect(page.locator(".pick i")).to_have_count(2)
    expect(page.locator("#trails img")).to_have_count(3)


def test_following_can_be_cancelled_also_after_a_reload(page: Page) -> None:
    page.locator("#track-frame input[type=range]").press("ArrowRight")
    expect(page.locator(".pick i")).to_have_count(0)
    click(page, 0.4, 0.4)
    page.click("#follow")
    expect(page.locator("#track-status .busy")).to_contain_text("Looking closely")
    page.click("#run")
    expect(page.locator("#status .failed")).to_contain_text("being followed")
    page.reload()
    tab(page, "Tracks")
    page.click("#track-cancel")
    expect(page.locator("#track-status")).to_contain_text("Stopped")
    expect(page.locator("#follow")).to_be_enabled()
    expect(page.locator(".pick i")).to_have_count(1)


def test_points_can_be_found_and_cleared(page: Page) -> None:
    Staged.steps.release()
    page.click("#find-points")
    expect(page.locator("#trails img")).to_have_count(3)
    assert page.locator(".pick i").count() > 20
    page.click("#clear-points")
    expect(page.locator(".pick i")).to_have_count(0)
    expect(page.locator("#trails img")).to_have_count(0)
