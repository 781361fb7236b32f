"""A viewer and a browser's page of it, for the tests that speak its protocol."""

from collections.abc import Iterator

import pytest

from demo.viewer import Viewer
from tests.demo.wire import Page


@pytest.fixture
def viewer() -> Iterator[Viewer]:
    viewer = Viewer()
    yield viewer
    viewer.stop()


@pytest.fixture
def page(viewer: Viewer) -> Iterator[Page]:
    with Page(f"http://127.0.0.1:{viewer.port}") as page:
        yield page
