"""The real page in a real browser: photos in, a scene on the canvas, a file out."""

import io
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

from recon import CARDS
from tests.browsing import CHROMIUM, launched
from tests.hub_server import GATED, HubServer, write_small_vggt

pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")]

ROOT = Path(__file__).parents[2]
DESK = sorted((ROOT / "tests/data/desk").glob("*.jpg"))
OFFICE = sorted((ROOT / "tests/data/office").glob("*.jpg"))
RUN = 120_000  # milliseconds a run may take on a slow machine that draws without a graphics card


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubServer]:
    """Where the app downloads models from."""
    folder = tmp_path_factory.mktemp("hub")
    write_small_vggt(folder)
    with HubServer(folder, {GATED}) as hub:
        yield hub


@pytest.fixture(scope="module")
def address(hub: HubServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the app listens; at the end it must go quietly and leave nothing behind."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("temporary")
    log = folder.parent / "app.log"
    with log.open("w") as output:
        app = subprocess.Popen(
            [sys.executable, str(ROOT / "app.py"), "--port", str(port)], cwd=ROOT, stdout=output, stderr=output,
            env={
                **os.environ, "TMPDIR": str(folder), "HF_ENDPOINT": hub.endpoint, "HF_HOME": str(folder.parent / "hf"),
                "TORCHINDUCTOR_CACHE_DIR": str(folder.parent / "torch"),  # which it makes wherever networks are built
            },
        )  # fmt: skip
    url = f"http://127.0.0.1:{port}/"
    try:
        for _ in range(300):
            assert app.poll() is None, log.read_text()
            try:
                urllib.request.urlopen(url, timeout=5)
                break
            except OSError:
                time.sleep(0.2)
        yield url
        app.send_signal(signal.SIGTERM)
        assert app.wait(30) == 0, log.read_text()
        assert list(folder.iterdir()) == []
        assert "Traceback" not in log.read_text()
    finally:
        app.kill()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = launched(playwright)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def asked() -> list[str]:
    """All that the pages have asked for."""
    return []


@pytest.fixture(scope="module")
def visitor(browser: Browser, address: str, asked: list[str]) -> Iterator[Callable[[], Page]]:
    """Opens the page as somebody new."""
    contexts = []

    def somebody() -> Page:
        context = browser.new_context(viewport={"width": 860, "height": 600})
        context.set_default_timeout(60_000)
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address)
        page.frame_locator("iframe.canvas").locator("canvas").first.wait_for()
        return page

    yield somebody
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def desk(visitor: Callable[[], Page]) -> Page:
    """A page after a run on three real photos."""
    page = visitor()
    drop(page, DESK)
    reconstruct(page)
    return page


def drop(page: Page, files: list[Path]) -> None:
    present = page.locator("#strip label").count()
    page.set_input_files("#files input[type=file]", files)
    expect(page.locator("#strip label")).to_have_count(present + len(files), timeout=30_000)


def reconstruct(page: Page) -> None:
    page.click("#run")
    page.locator("#status .done, #status .failed").first.wait_for(timeout=RUN)
    assert page.locator("#status .failed").count() == 0, page.inner_text("#status")
    wait_for(lambda: lit(canvas(page)) > 0.05)


def choose(page: Page, title: str) -> None:
    page.locator("#model input").click()
    page.get_by_role("option", name=title, exact=True).click()
    expect(page.locator("#model input")).to_have_value(title)


def canvas(page: Page) -> np.ndarray:
    """``[H,W,3]``: what is to be seen of the scene, below the browser's warnings."""
    picture = Image.open(io.BytesIO(page.locator("#screen").screenshot(timeout=60_000))).convert("RGB")
    pixels = np.asarray(picture)
    return pixels[len(pixels) // 3 : -8, 8:-8]


def lit(pixels: np.ndarray) -> float:
    """The share of pixels brighter than the ground ever is."""
    return float((pixels.max(-1) > 110).mean())


def changed(pixels: np.ndarray, others: np.ndarray) -> float:
    """The share of pixels that look different."""
    return float((np.abs(pixels.astype(int) - others.astype(int)).max(-1) > 40).mean())


def wait_for(condition: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.2)


def token(page: Page) -> str:
    return page.locator("iframe.canvas").get_attribute("src") or ""


def slide(page: Page, key: str) -> None:
    page.locator("#confidence input[type=range]").press(key)


def test_a_new_visitor_is_told_what_to_do(visitor: Callable[[], Page]) -> None:
    page = visitor()
    expect(page.locator("#welcome")).to_contain_text("photos")
    expect(page.locator("#run")).to_be_disabled()
    expect(page.locator("#download-glb")).to_be_disabled()
    page.context.close()


def test_the_list_of_models_folds_behind_the_keyboard(visitor: Callable[[], Page]) -> None:
    page = visitor()
    page.locator("#model input").press("ArrowDown")
    expect(page.get_by_role("listbox")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("listbox")).to_have_count(0)
    page.context.close()


def test_cancel_stops_the_run_and_one_can_begin_again(visitor: Callable[[], Page]) -> None:
    page = visitor()
    drop(page, DESK)
    page.locator("#strip input").nth(2).uncheck()
    expect(page.locator("#plan")).to_contain_text("2 views")
    page.click("#run")
    page.click("#cancel")
    expect(page.locator("#status")).to_contain_text("Stopped", timeout=30_000)
    expect(page.locator("#run")).to_be_enabled()
    expect(page.locator("#cancel")).to_be_hidden()
    page.click("#run")
    expect(page.locator("#cancel")).to_be_visible()
    page.click("#cancel")
    expect(page.locator("#status")).to_contain_text("Stopped", timeout=30_000)
    page.context.close()


def test_a_large_model_is_downloaded_once_its_licence_is_accepted_and_runs(
    visitor: Callable[[], Page], hub: HubServer
) -> None:
    page = visitor()
    drop(page, DESK[:2])
    choose(page, "VGGT")
    expect(page.locator("#card")).to_contain_text("not for commercial use")
    expect(page.locator("#card")).to_contain_text("5.0 GB to download once")
    expect(page.locator("#plan")).to_contain_text("needs")
    expect(page.locator("#run")).to_be_disabled()
    hub.faults.speed = 300_000
    page.get_by_label("I accept the licence CC-BY-NC-4.0").check()
    expect(page.locator("#run")).to_be_enabled()
    page.click("#run")
    expect(page.locator("#status")).to_contain_text("of 1.7 MB")
    page.click("#cancel")
    expect(page.locator("#status")).to_contain_text("Stopped", timeout=5_000)
    hub.faults.speed = None
    reconstruct(page)
    assert any(request.start for request in hub.asked("model.safetensors")), "it went on where it was stopped"
    expect(page.locator("#card")).to_contain_text("on this machine already")
    expect(page.locator("#consent")).to_be_hidden()
    expect(page.locator("#run")).to_have_text("Reconstruct")
    page.get_by_role("tab", name="Tracks").click()
    expect(page.locator("#track-photo img")).to_be_visible()
    page.context.close()


def test_a_gated_model_says_where_to_ask(visitor: Callable[[], Page]) -> None:
    page = visitor()
    drop(page, DESK[:1])
    choose(page, "VGGT (commercial licence)")
    page.get_by_label("I accept the licence VGGT License v1").check()
    expect(page.locator("#run")).to_be_enabled()
    page.click("#run")
    expect(page.locator("#status .failed")).to_contain_text(CARDS["vggt-commercial"].licence_url)
    expect(page.locator("#run")).to_be_enabled()
    expect(page.locator("#strip label")).to_have_count(1)
    page.context.close()


def test_the_camera_adds_pictures(visitor: Callable[[], Page]) -> None:
    page = visitor()
    page.get_by_role("button", name="Use the camera").click()
    page.get_by_role("button", name="Start the camera").click()
    for number in (1, 2):
        page.get_by_role("button", name="Take a picture").click()
        expect(page.locator("#strip label")).to_have_count(number, timeout=30_000)
    expect(page.locator("#run")).to_be_enabled()
    page.context.close()


def test_photos_become_a_scene_on_the_canvas(desk: Page) -> None:
    pixels = canvas(desk)
    assert lit(pixels) > 0.1
    assert len(np.unique(pixels.reshape(-1, 3) // 32, axis=0)) > 40, "many colours, as in the photos"
    expect(desk.locator("#status")).to_contain_text("3 views")
    expect(desk.locator("#welcome")).to_be_hidden()


def test_the_slider_hides_points_and_brings_them_back(desk: Page) -> None:
    before = lit(canvas(desk))
    slide(desk, "End")
    wait_for(lambda: lit(canvas(desk)) < 0.5 * before)
    slide(desk, "Home")
    wait_for(lambda: lit(canvas(desk)) > 0.9 * before)


def test_a_frame_ticked_off_is_gone_from_the_canvas(desk: Page) -> None:
    before = canvas(desk)
    boxes = desk.locator("#frames label input")
    for i in (1, 2):
        boxes.nth(i + 1 if boxes.count() == 4 else i).uncheck()
    wait_for(lambda: changed(canvas(desk), before) > 0.03)
    for i in (1, 2):
        boxes.nth(i + 1 if boxes.count() == 4 else i).check()


def test_the_glb_holds_the_points_and_the_filter(desk: Page, tmp_path: Path) -> None:
    counts = []
    for key in ("Home", "End"):
        slide(desk, key)
        desk.wait_for_timeout(500)
        with desk.expect_download(timeout=60_000) as download:
            desk.click("#download-glb")
        path = tmp_path / f"{key}.glb"
        download.value.save_as(path)
        clouds = [g for g in trimesh.load_scene(path).geometry.values() if isinstance(g, trimesh.PointCloud)]
        counts.append(sum(len(cloud.vertices) for cloud in clouds))
    slide(desk, "Home")
    assert counts[0] > 100_000
    assert 0 < counts[1] < 0.1 * counts[0]


def test_depth_and_confidence_are_shown_with_their_scale(desk: Page) -> None:
    desk.get_by_role("tab", name="Depth").click()
    figures = desk.locator("#figures figure")
    expect(figures).to_have_count(3)
    expect(desk.locator("#figures")).to_contain_text("model units")
    assert desk.locator("#figures .ticks span").count() == 10
    first = figures.nth(1).locator("img").get_attribute("src")
    desk.locator("#frame input[type=range]").press("ArrowRight")
    wait_for(lambda: figures.nth(1).locator("img").get_attribute("src") != first)
    desk.get_by_role("tab", name="3D").click()


def test_a_reload_finds_everything_again(desk: Page) -> None:
    before = token(desk)
    desk.locator("#hide label", has_text="White").click()
    desk.wait_for_timeout(500)
    desk.reload()
    desk.frame_locator("iframe.canvas").locator("canvas").first.wait_for()
    assert token(desk) == before
    wait_for(lambda: lit(canvas(desk)) > 0.05)
    expect(desk.locator("#strip label")).to_have_count(3)
    expect(desk.locator("#status")).to_contain_text("3 views")
    expect(desk.locator("#hide label", has_text="White").locator("input")).to_be_checked()
    desk.locator("#hide label", has_text="White").click()


def test_a_bad_file_is_one_sentence_and_the_scene_stays(desk: Page, tmp_path: Path) -> None:
    for name in ("letter.jpg", "letter.txt"):
        (tmp_path / name).write_text("Dear reader, this is no picture.")
        desk.set_input_files("#files input[type=file]", tmp_path / name)
        failed = desk.locator("#status .failed")
        expect(failed).to_contain_text(f"'{name}' is of an unknown kind", timeout=20_000)
    assert "Traceback" not in desk.inner_text("body")
    expect(desk.locator("#strip label")).to_have_count(3)
    expect(desk.locator("#run")).to_be_enabled()
    assert lit(canvas(desk)) > 0.05


def test_each_visitor_sees_only_their_own_scene(desk: Page, visitor: Callable[[], Page]) -> None:
    before = canvas(desk)
    slide(desk, "End")  # few points, so that a machine without a graphics card can draw both canvases
    other = visitor()
    assert token(other) != token(desk)
    drop(other, OFFICE)
    reconstruct(other)
    expect(other.locator("#status")).to_contain_text("2 views")
    theirs = canvas(other)
    other.context.close()
    slide(desk, "Home")
    wait_for(lambda: changed(canvas(desk), before) < 0.1)
    assert changed(theirs, before) > 0.2


def test_nothing_is_asked_of_other_machines(desk: Page, address: str, asked: list[str]) -> None:
    assert any("viewer" in url for url in asked)
    assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []
