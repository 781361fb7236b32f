"""Time in a real browser: what moves is elsewhere at another time, and nothing else is."""

import shutil
from collections.abc import Iterator

import numpy as np
import pytest
from playwright.sync_api import Page, expect, sync_playwright

from demo import server
from recon import CARDS
from tests.browsing import CHROMIUM, launched, page_at
from tests.demo.staged import CARD, Staged
from tests.demo.test_browser import OFFICE, canvas, changed, drop, lit, wait_for
from tests.helpers import moving_scene

pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")]

FRAMES = 5


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """The page of somebody with a scene through which a red ball runs."""
    photos = [tmp_path_factory.mktemp("photos") / f"{index}.jpg" for index in range(FRAMES)]
    for photo in photos:
        shutil.copy(OFFICE[0], photo)
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        patch.setitem(CARDS, CARD.name, CARD)
        patch.setattr(Staged, "size", (96, 128))
        patch.setattr(Staged, "render", staticmethod(moving_scene))
        Staged.reset()
        expect.set_options(timeout=20_000)
        with server.running(port=0) as running:
            browser = launched(playwright)
            page = page_at(browser, running.url, 900, 620)
            expect(page.locator("#timeline")).to_be_hidden()
            drop(page, photos)
            page.locator("#model input").click()
            page.get_by_role("option", name=CARD.title).click()
            Staged.steps.release(FRAMES)
            page.click("#run")
            page.locator("#status .done").wait_for()
            wait_for(lambda: lit(canvas(page)) > 0.05)
            yield page
            expect.set_options(timeout=5_000)
            browser.close()


def seek(page: Page, key: str) -> np.ndarray:
    """What is to be seen once the slider has heard a key."""
    before = canvas(page)
    page.locator("#moment input[type=range]").press(key)
    wait_for(lambda: changed(canvas(page), before) > 1e-3)
    return still(page)


def still(page: Page) -> np.ndarray:
    """What is to be seen once nothing changes any more."""
    pictures = [canvas(page), canvas(page)]
    wait_for(lambda: pictures.append(canvas(page)) or changed(pictures[-1], pictures[-2]) == 0)
    return pictures[-1]


def red(pixels: np.ndarray) -> np.ndarray:
    """``[H,W] bool``: the ball."""
    return (pixels[..., 0] > 180) & (pixels[..., 1:].max(-1) < 90)


def middle(mask: np.ndarray) -> float:
    """How far right a mask lies, as a share of the width."""
    return float(np.nonzero(mask)[1].mean() / mask.shape[1])


def test_at_two_times_the_pictures_differ_where_things_move_and_agree_elsewhere(page: Page) -> None:
    page.locator("#cameras input").uncheck()
    everything = still(page)
    seek(page, "End")
    last = still(page)
    expect(page.locator("#where")).to_contain_text("5 of 5 · 2.00 s")
    first = seek(page, "Home")
    expect(page.locator("#where")).to_contain_text("1 of 5 · 0.00 s")
    assert middle(red(last)) - middle(red(first)) > 0.15
    assert (red(first) & red(everything)).sum() > 0.95 * red(first).sum()
    ball = red(first) | red(last)
    near = ball.copy()
    for _ in range(3):  # the ball's own edge
        near[1:] |= near[:-1].copy()
        near[:-1] |= near[1:].copy()
        near[:, 1:] |= near[:, :-1].copy()
        near[:, :-1] |= near[:, 1:].copy()
    differ = np.abs(first.astype(int) - last.astype(int)).max(-1) > 40
    assert differ[ball].mean() > 0.9
    assert differ[~near].mean() < 0.002


def test_a_trail_shows_where_the_ball_has_been(page: Page) -> None:
    alone = seek(page, "End")
    page.locator("#trail input").click()
    page.get_by_role("option", name="Whole trail").click()
    wait_for(lambda: red(canvas(page)).sum() > 2 * red(alone).sum())
    page.locator("#trail input").click()
    page.get_by_role("option", name="No trail").click()
    wait_for(lambda: red(canvas(page)).sum() < 1.2 * red(alone).sum())


def test_hidden_and_alone(page: Page) -> None:
    before = still(page)
    page.locator("#moving label", has_text="Hide").click()
    wait_for(lambda: red(canvas(page)).sum() == 0)
    page.locator("#moving label", has_text="Only").click()
    wait_for(lambda: red(canvas(page)).sum() > 0.8 * red(before).sum())
    wait_for(lambda: lit(canvas(page)) < 0.5 * lit(before))
    page.locator("#moving label", has_text="Show").click()
    wait_for(lambda: lit(canvas(page)) > 0.9 * lit(before))


def test_time_runs_and_the_bar_keeps_abreast_also_after_a_reload(page: Page) -> None:
    page.locator("#speed input").click()
    page.get_by_role("option", name="2 frames/s", exact=True).click()
    page.click("#play")
    expect(page.locator("#pause")).to_be_visible()
    for number in (2, 3, 4):
        expect(page.locator("#where")).to_contain_text(f"{number} of 5")
        expect(page.locator("#moment input[type=range]")).to_have_value(str(number))
    page.reload()
    for number in (2, 4):
        expect(page.locator("#where")).to_contain_text(f"{number} of 5")
    page.click("#pause")
    expect(page.locator("#play")).to_be_visible()
    stood = page.inner_text("#where")
    page.wait_for_timeout(1200)
    assert page.inner_text("#where") == stood
    page.locator("#all input").check()
    expect(page.locator("#where")).to_contain_text("all 5")


def test_what_is_painted_over_is_hidden_at_once_and_comes_back(page: Page) -> None:
    page.locator("#moving label", has_text="Hide").click()
    page.wait_for_timeout(500)
    before = lit(still(page))
    page.get_by_role("tab", name="Masks").click()
    painter = page.locator(".paint canvas")
    area = """canvas => canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data
        .filter((value, place) => place % 4 == 3 && value).length"""
    wait_for(lambda: painter.evaluate(area) > 0)  # it begins with what the model found
    begun = painter.evaluate(area)
    page.locator("#brush input[type=range]").press("End")
    painter.scroll_into_view_if_needed()
    box = painter.bounding_box()
    assert box is not None
    for row in (0.2, 0.5, 0.8):
        page.mouse.move(box["x"] + 5, box["y"] + row * box["height"])
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] - 5, box["y"] + row * box["height"], steps=4)
        page.mouse.up()
    assert painter.evaluate(area) > 2 * begun
    expect(page.locator("#undo-mask")).to_be_enabled()
    page.get_by_role("tab", name="3D").click()
    wait_for(lambda: lit(canvas(page)) < 0.98 * before)
    page.get_by_role("tab", name="Masks").click()
    page.click("#undo-mask")
    expect(page.locator("#undo-mask")).to_be_disabled()
    wait_for(lambda: painter.evaluate(area) == begun)
    page.get_by_role("tab", name="3D").click()
    wait_for(lambda: lit(canvas(page)) > 0.99 * before)
