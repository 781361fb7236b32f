"""Chromium, drawing without a graphics card, for tests that look at pages as a visitor does."""

import shutil
from typing import Any

from playwright.sync_api import Browser, Page, Playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def launched(playwright: Playwright) -> Browser:
    """A browser with a webcam that shows a test picture."""
    return playwright.chromium.launch(
        executable_path=CHROMIUM,
        args=[
            "--no-sandbox",
            "--use-gl=angle",
            "--use-angle=swiftshader",
            "--enable-unsafe-swiftshader",
            "--use-fake-device-for-media-stream",
            "--use-fake-ui-for-media-stream",
        ],
    )


def page_at(browser: Browser, url: str, width: int, height: int, **context: Any) -> Page:
    """The app's page as somebody new sees it in a window of that size, its canvas drawn."""
    own = browser.new_context(viewport={"width": width, "height": height}, **context)
    own.set_default_timeout(30_000)
    page = own.new_page()
    page.goto(url)
    page.frame_locator("iframe.canvas").locator("canvas").first.wait_for()
    return page
