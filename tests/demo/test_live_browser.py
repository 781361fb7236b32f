"""A live run in a real browser, whose webcam is Chromium's own test picture."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from playwright.sync_api import Page, expect, sync_playwright

from demo import models, server
from recon import CARDS
from tests.browsing import CHROMIUM, launched, page_at
from tests.demo.test_browser import canvas, choose, lit, wait_for
from tests.demo.test_live import PICTURES
from tests.mjpeg_server import Camera
from tests.networks.small_must3r import DECODER, ENCODER, save_checkpoint, tiny

pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")]


def see_walls(path: Path) -> None:
    """Let a network that was never trained see a wall in each patch of a picture: its noise could not be drawn."""
    content = torch.load(path, weights_only=False)
    decoder = content["decoder"]
    y, x = torch.meshgrid(torch.arange(16) - 7.5, torch.arange(16) - 7.5, indexing="ij")
    wall = [x / 12, y / 12, torch.full_like(x, 1.2)]
    decoder["head_dec.proj.weight"] *= 0.03
    decoder["head_dec.proj.bias"].copy_(torch.stack([*wall, *wall, torch.zeros_like(x)]).flatten())
    torch.save(content, path)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """The page of somebody who chose a model that takes pictures as they come."""
    weights = save_checkpoint(tmp_path_factory.mktemp("must3r") / "MUSt3R.pth", tiny(ENCODER), tiny(DECODER))
    see_walls(weights)
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        patch.setitem(models._local, "must3r", weights)
        expect.set_options(timeout=20_000)
        with server.running(port=0, streams=True) as running:
            browser = launched(playwright)
            page = page_at(browser, running.url, 1100, 800)
            expect(page.locator("#live")).to_be_hidden()
            choose(page, CARDS["must3r"].title)
            page.locator("#live").get_by_role("button", name="Live").click()
            yield page
            expect.set_options(timeout=5_000)
            browser.close()
        models._loaded.pop("must3r", None)


def count(page: Page, name: str) -> int:
    return int(page.locator(f'[data-count="{name}"] b').inner_text())


def test_points_of_the_webcam_appear_and_stay_after_a_stop(page: Page) -> None:
    page.get_by_role("button", name="Start with the webcam").click()
    expect(page.locator('[data-count="used"] b')).to_have_text(re.compile(r"^([3-9]|\d\d+)$"), timeout=60_000)
    wait_for(lambda: lit(canvas(page)) > 0.01)
    expect(page.locator("#status")).to_contain_text("Placed Webcam at")
    page.click("#live-stop")
    page.locator("#status .done").wait_for()
    assert count(page, "seen") == count(page, "used") + count(page, "black") + count(page, "dropped")
    assert count(page, "keyframes in memory") >= 1
    expect(page.locator("#notes")).to_contain_text("were used")
    expect(page.get_by_role("button", name="Start with the webcam")).to_be_enabled()
    assert lit(canvas(page)) > 0.01


def test_a_stream_at_an_address_goes_the_same_way(page: Page) -> None:
    def script() -> Iterator:
        while True:
            for picture in PICTURES:
                yield picture
                yield 0.1

    page.locator("#live-start").click()
    expect(page.locator("#status .failed")).to_contain_text("address of a stream")
    with Camera(script) as camera:
        page.locator("#address textarea, #address input").fill(camera.address)
        page.locator("#live-start").click()
        expect(page.locator("#status")).to_contain_text("/video at")
        page.click("#live-stop")
        page.locator("#status .done").wait_for()
    expect(page.locator("#live-start")).to_be_visible()
