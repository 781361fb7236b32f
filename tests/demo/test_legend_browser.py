"""Splats and the legend in a real browser: what is drawn, and what a tick, a click and a download do."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

from demo import server
from demo.recognised import recognised_of
from demo.session import Session
from demo.visit import visit
from recon.filters import Filters
from tests.browsing import CHROMIUM, launched, page_at
from tests.demo.test_browser import canvas, lit, wait_for
from tests.demo.test_measuring_browser import seen, still
from tests.helpers import labelled_scene

pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")]

BALL, FLOOR = (214, 39, 40), (152, 223, 138)


@pytest.fixture(scope="module")
def opened() -> Iterator[tuple[Page, Session]]:
    """The page of somebody with a scene in which things are recognised."""
    with sync_playwright() as playwright, server.running(port=0) as running:
        expect.set_options(timeout=20_000)
        browser = launched(playwright)
        page = page_at(browser, running.url, 1120, 480)
        session = running.sessions.get((page.locator("iframe.canvas").get_attribute("src") or "").split("/")[1])
        assert session is not None
        session.filters = Filters(confidence=0)
        session.viewer.set_filters(session.filters)
        session.scene = labelled_scene(2, 84, 112)
        session.viewer.set_cameras_visible(False)
        session.viewer.show(session.scene)
        page.reload()
        expect(page.locator(".classes li")).to_have_count(4)
        wait_for(lambda: lit(canvas(page)) > 0.05)
        yield page, session
        expect.set_options(timeout=5_000)
        browser.close()


def picture(page: Page) -> np.ndarray:
    """``[H,W,3]``: what the canvas shows."""
    shot = page.frame_locator("iframe.canvas").locator("canvas").first.screenshot()
    return np.array(Image.open(io.BytesIO(shot)).convert("RGB")).astype(int)


def like(page: Page, colour: tuple[int, int, int]) -> float:
    """The share of the canvas that has about this colour."""
    return float((np.abs(picture(page) - colour).max(-1) < 30).mean())


def test_splats_are_drawn_in_colours_of_their_classes_and_the_legend_hides_them(opened: tuple[Page, Session]) -> None:
    page, session = opened
    wait_for(lambda: still(session))
    photo = picture(page)
    page.get_by_label("Splats", exact=True).check()
    wait_for(lambda: session.viewer._splats.visible)
    wait_for(lambda: np.abs(picture(page) - photo).mean() > 0.2)
    wait_for(lambda: np.abs(picture(page) - photo).mean() < 25)  # they stand where the points stood, and fade in
    page.get_by_label("Class", exact=True).check()
    wait_for(lambda: like(page, BALL) > 0.01 and like(page, FLOOR) > 0.03)
    page.get_by_label("Show floor").uncheck()
    wait_for(lambda: like(page, FLOOR) < 0.001)
    assert like(page, BALL) > 0.01
    page.get_by_label("Show floor").check()
    wait_for(lambda: like(page, FLOOR) > 0.03)


def test_a_click_in_the_scene_selects_a_thing_and_a_file_holds_it_alone(
    opened: tuple[Page, Session], tmp_path: Path
) -> None:
    page, session = opened
    scene = session.scene
    assert scene is not None
    known = recognised_of(visit(session))
    points, places = seen(page, session, scene)
    ids = np.concatenate([frame.segments.ravel() for frame in scene.frames])
    every = np.concatenate([frame.world_points().reshape(-1, 3) for frame in scene.frames])
    here = np.array([ids[np.argmin(np.square(every - point).sum(-1))] for point in points])
    ball = places[here == 2]
    page.mouse.click(*ball[np.argmin(np.square(ball - ball.mean(0)).sum(-1))])
    wait_for(lambda: known.selected == {2})
    expect(page.locator("#recognised-sentence")).to_contain_text("points selected")
    expect(page.get_by_label("Select ball 2")).to_have_attribute("aria-pressed", "true")
    wait_for(lambda: like(page, FLOOR) < 0.001)
    page.get_by_label("Files of the selection alone").check()
    wait_for(lambda: known.alone)
    with page.expect_download() as download:
        page.click("#download-splats")
    download.value.save_as(tmp_path / "ball.splat.ply")
    vertex = trimesh.load(tmp_path / "ball.splat.ply").metadata["_ply_raw"]["vertex"]["data"]
    assert set(np.ravel(vertex["instance"])) == {2}
    assert set(np.ravel(vertex["semantic"])) == {3}
    page.get_by_label("Select ball 2").click()
    wait_for(lambda: not known.selected)
    wait_for(lambda: like(page, FLOOR) > 0.03)
    page.get_by_role("tab", name="Depth and confidence").click()
    expect(page.locator("#figures .named")).to_contain_text("ball")
