"""The measuring tool in a real browser: points of a scene that is known, clicked where they are seen."""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import trimesh
from playwright.sync_api import Page, expect, sync_playwright

from demo import server
from demo.measures import UNITS
from demo.session import Session
from recon import filters, geometry
from recon.export import cloud
from recon.placement import place
from recon.scene import Scene
from tests.browsing import CHROMIUM, launched, page_at
from tests.demo.test_browser import canvas, lit, wait_for
from tests.helpers import synthetic_scene

pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")]


@pytest.fixture(scope="module")
def scene() -> Scene:
    scene = synthetic_scene(3, 192, 256)
    scene.metric = False
    return scene


@pytest.fixture(scope="module")
def opened(scene: Scene) -> Iterator[tuple[Page, Session]]:
    """The page of somebody with that scene."""
    with sync_playwright() as playwright, server.running(port=0) as running:
        expect.set_options(timeout=20_000)
        browser = launched(playwright)
        page = page_at(browser, running.url, 1120, 640)
        session = running.sessions.get((page.locator("iframe.canvas").get_attribute("src") or "").split("/")[1])
        assert session is not None
        session.scene = scene
        session.viewer.show(scene)
        page.reload()
        wait_for(lambda: lit(canvas(page)) > 0.05)
        yield page, session
        expect.set_options(timeout=5_000)
        browser.close()


def still(session: Session) -> bool:
    """Whether the page's eye has stopped flying."""
    client = next(iter(session.viewer._server.get_clients().values()))
    before = client.camera.position
    time.sleep(0.5)
    return np.array_equal(before, client.camera.position)


def seen(page: Page, session: Session, scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Points of ``scene`` that the page's eye sees: ``[N,3]`` in the world and ``[N,2]`` on the page."""
    client = next(iter(session.viewer._server.get_clients().values()))
    box = page.locator("iframe.canvas").bounding_box()
    assert box is not None
    eye = geometry.rigid(geometry.rotation_from_quaternion(client.camera.wxyz), client.camera.position)
    intrinsics = np.diag([1.0, 1.0, 1.0])
    intrinsics[[0, 1], [0, 1]] = box["height"] / 2 / np.tan(client.camera.fov / 2)
    intrinsics[:2, 2] = box["width"] / 2, box["height"] / 2
    masks = filters.keep(scene, session.filters)
    points = np.concatenate([frame.world_points()[mask] for frame, mask in zip(scene.frames, masks, strict=True)])
    in_eye = geometry.transform(geometry.invert(eye), place(scene.frames).point(points))
    pixels = geometry.project(in_eye, intrinsics)
    middle = (np.abs(pixels / intrinsics[:2, 2] - 1) < 0.7).all(-1) & (in_eye[:, 2] > 0)
    cells = np.round(pixels[middle] / 8).astype(int)
    order = np.argsort(in_eye[middle, 2])
    foremost = order[np.unique(cells[order], axis=0, return_index=True)[1]]  # of each square of 8 pixels
    return points[middle][foremost], pixels[middle][foremost] + (box["x"], box["y"])


def test_a_length_between_two_known_points_and_a_scale_from_it(
    opened: tuple[Page, Session], scene: Scene, tmp_path: Path
) -> None:
    page, session = opened
    rows = page.locator(".measures li")
    page.click("#measure")
    expect(page.locator("#measure-hint")).to_contain_text("Click two points")
    wait_for(lambda: still(session))
    points, places = seen(page, session, scene)
    first, second = np.argmin(places[:, 0]), np.argmax(places[:, 0])
    page.mouse.click(*places[first])
    expect(page.locator("#measure-hint")).to_contain_text("second point")
    page.mouse.click(*places[second])
    expect(rows).to_have_count(1)
    length = float(np.linalg.norm(points[first] - points[second]))
    said = rows.inner_text()
    assert "model units" in said
    assert float(said.split()[1]) == pytest.approx(length, rel=0.02)

    page.fill("#length input", "250")
    page.locator("#unit input").click()
    page.get_by_role("option", name="cm", exact=True).click()
    page.click("#set-length")
    expect(rows).to_contain_text("2.50 m")
    expect(page.locator("#scale")).to_contain_text("is 2.50 m")
    expect(page.locator("#notes, #figures", has_text="model units")).to_have_count(0)
    with page.expect_download() as download:
        page.click("#download-ply")
    path = tmp_path / "after.ply"
    download.value.save_as(path)
    before = cloud.positions(scene, filters.keep(scene, session.filters))
    after = np.asarray(trimesh.load(path).vertices)
    np.testing.assert_allclose(np.ptp(after, axis=0), 2.5 / length * np.ptp(before, axis=0), rtol=0.02)


def test_turning_the_view_is_no_click_and_escape_ends(opened: tuple[Page, Session]) -> None:
    page, session = opened
    eye = next(iter(session.viewer._server.get_clients().values())).camera
    before = np.array(eye.position)
    page.mouse.move(500, 350)
    page.mouse.down()
    page.mouse.move(560, 380, steps=5)
    page.mouse.up()
    wait_for(lambda: np.linalg.norm(eye.position - before) > 0.05)
    expect(page.locator("#measure-hint")).to_contain_text("Click two points")
    expect(page.locator(".measures li")).to_have_count(1)
    page.keyboard.press("Escape")  # the viewer has the keyboard
    expect(page.locator("#measure")).to_have_text("Measure")
    expect(page.locator("#measure-hint")).not_to_contain_text("Click")


def test_lengths_are_taken_on_a_photo_and_stay_when_the_page_is_loaded_again(opened: tuple[Page, Session]) -> None:
    page, session = opened
    assert session.scene is not None
    session.scene.frames[0].depth[148:153, 98:103] = 0
    page.get_by_role("tab", name="Measure").click()
    photo, rows = page.locator("#measure-photo .pick"), page.locator(".measures li")
    box = photo.bounding_box()
    assert box is not None

    def click(x: int, y: int) -> None:
        photo.click(position={"x": (x + 0.5) * box["width"] / 256, "y": (y + 0.5) * box["height"] / 192})

    click(100, 150)
    expect(page.locator("#measure-sentence")).to_contain_text("has no depth")
    click(60, 100)
    expect(photo.locator("i")).to_have_count(3)
    click(200, 150)
    expect(rows).to_have_count(2)
    points = session.scene.frames[0].world_points()
    length = float(np.linalg.norm(points[100, 60] - points[150, 200]))
    expect(photo.locator("b").last).to_have_text(rows.nth(1).inner_text().split("\n")[0].split(maxsplit=1)[1])
    number, unit = photo.locator("b").last.inner_text().split()
    assert float(number) * UNITS[unit] == pytest.approx(length, rel=0.03)
    page.reload()
    expect(rows).to_have_count(2)
    page.locator("[data-remove='0']").click()
    expect(rows).to_have_count(1)
    page.click("#unset-length")
    expect(rows).to_contain_text("model units")
    page.click("#clear-measures")
    expect(rows).to_have_count(0)
