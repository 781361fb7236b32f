"""The HTML file in a real browser that has no network."""

import io
import threading

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import sync_playwright

import recon
from recon.filters import Filters
from tests.browsing import CHROMIUM, launched
from tests.demo.test_browser import lit, wait_for
from tests.helpers import moving_scene, synthetic_scene


def test_nothing_of_the_recorder_is_left_and_nothing_is_said(tmp_path, capfd):
    before = threading.active_count()
    path = recon.export(moving_scene(3), tmp_path / "scene.html")
    wait_for(lambda: threading.active_count() <= before, 5)
    assert capfd.readouterr() == ("", "")
    text = path.read_text("utf-8")
    assert text.startswith("<!doctype html>")
    assert "<title>Parallax</title>" in text


def test_fewer_points_make_a_smaller_file(tmp_path):
    sizes = [
        recon.export(synthetic_scene(3), tmp_path / "scene.html", Filters(confidence=confidence)).stat().st_size
        for confidence in (0, 90)
    ]
    assert sizes[1] < sizes[0] - 30_000


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
def test_it_plays_in_a_browser_without_a_network(tmp_path):
    moving = recon.export(moving_scene(4, 96, 128), tmp_path / "moving.html")
    still = recon.export(synthetic_scene(2, 96, 128), tmp_path / "still.html")
    with sync_playwright() as playwright:
        browser = launched(playwright)
        page = browser.new_context(viewport={"width": 600, "height": 420}, offline=True).new_page()
        asked, complaints = [], []
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)

        def picture():
            pixels = np.asarray(Image.open(io.BytesIO(page.screenshot(timeout=60_000))).convert("RGB"))
            return pixels[140:-50]  # between the browser's warning and the bar

        def ball():
            pixels = picture()
            return np.nonzero((pixels[..., 0] > 180) & (pixels[..., 1:].max(-1) < 90))[1]

        page.goto(still.as_uri())
        wait_for(lambda: lit(picture()) > 0.05)
        assert not page.locator("input").first.is_visible(), "a scene that stands still has no bar"
        page.goto(moving.as_uri())
        time = page.locator("input").first
        time.wait_for()
        page.keyboard.press("Space")
        places = []
        for moment in ("0.35", "0.05"):
            time.fill(moment)
            time.press("Enter")
            wait_for(lambda: len(ball()) > 50 and (not places or abs(ball().mean() - places[0]) > 50))
            places.append(ball().mean())
        assert places[0] > places[1] + 50, "it runs from left to right"
        assert lit(picture()) > 0.05
        assert {url.split(":")[0] for url in asked} <= {"file", "data", "blob"}
        assert complaints == []
        browser.close()
