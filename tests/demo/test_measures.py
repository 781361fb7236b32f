"""What is measured in a scene, and a length that is known; `test_measuring_browser` clicks it on the page."""

import time
from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import numpy as np
import pytest

from demo import measuring
from demo.following import Picks
from demo.measures import Measures, measures_of
from demo.measuring import Measuring
from demo.picking import Hit
from demo.session import Sessions
from demo.visit import Visit, visit
from demo.widgets import widgets
from recon import InputError
from recon.placement import Placement, place
from recon.scene import Scene
from tests.demo.staged import wait
from tests.demo.test_viewer import assert_same_points
from tests.demo.wire import Page
from tests.helpers import synthetic_scene

FIRST, SECOND = Hit(0, (12, 30)), Hit(2, (50, 20))


@pytest.fixture
def visitor(tmp_path: Path) -> Iterator[Visit]:
    """Somebody with a scene of three frames, not in metres."""
    sessions = Sessions(tmp_path)
    somebody = visit(sessions.create())
    show(somebody, 3)
    yield somebody
    sessions.close()


@pytest.fixture
def measures(visitor: Visit) -> Measures:
    return measures_of(visitor)


@pytest.fixture
def page(visitor: Visit) -> Iterator[Page]:
    with Page(f"http://127.0.0.1:{visitor.session.viewer.port}") as page:
        page.settle()
        yield page


def show(visitor: Visit, frames: int) -> Scene:
    scene = synthetic_scene(frames)
    scene.metric = False
    visitor.session.scene = scene
    visitor.session.viewer.show(scene)
    return scene


def click(page: Page, placement: Placement, scene: Scene, hit: Hit) -> None:
    """Click in the viewer where the point of a pixel is, from where its frame stood."""
    frame, (x, y) = scene.frames[hit.frame], hit.pixel
    start, end = placement.point(np.stack([frame.camera.centre, frame.world_points()[y, x]]))
    page.send(
        "ScenePointerMessage", event_type="click", ray_origin=start.tolist(), ray_direction=(end - start).tolist(),
        screen_pos=((0.5, 0.5),), modifier=None,
    )  # fmt: skip


def words(page: Page) -> list[str]:
    """What stands at the lines, in order."""
    return [node.props["text"] for name, node in sorted(page.nodes.items()) if "text" in node.props]


def test_two_clicks_in_the_viewer_make_a_length(visitor: Visit, measures: Measures, page: Page) -> None:
    scene, placement = measures.scene, place(measures.scene.frames)
    click(page, placement, scene, FIRST)
    page.settle()
    assert measures.begun is None, "clicks do nothing before measuring is on"
    measures.turn(True)
    click(page, placement, scene, FIRST)
    page.wait_for(lambda: "/measurements/dots" in page.nodes)
    assert (measures.begun, scene.measurements) == (FIRST, [])
    click(page, placement, scene, SECOND)
    page.wait_for(lambda: "/measurements/lines" in page.nodes)
    points = scene.frames[0].world_points()[30, 12], scene.frames[2].world_points()[20, 50]
    length = float(np.linalg.norm(points[0] - points[1]))
    assert scene.measurements[0].length(scene.frames) == pytest.approx(length, rel=1e-5)
    assert words(page) == [f"{length:.2f} model units"]
    drawn = page.nodes["/measurements/lines"].props["points"].reshape(2, 3)
    np.testing.assert_allclose(drawn, placement.point(np.stack(points)), atol=0.05)
    page.send(
        "ScenePointerMessage", event_type="click", ray_origin=(9, 9, 9), ray_direction=(1, 1, 1),
        screen_pos=((0.5, 0.5),), modifier=None,
    )  # fmt: skip
    wait(lambda: "no point there" in measures.said)
    measures.turn(False)
    click(page, placement, scene, FIRST)
    page.settle()
    assert measures.begun is None
    assert len(scene.measurements) == 1


def test_while_measuring_a_click_on_a_camera_moves_nobody(visitor: Visit, measures: Measures, page: Page) -> None:
    measures.turn(True)
    page.camera.clear()
    page.click("/cameras/1")
    page.settle()
    assert page.camera == {}
    measures.turn(False)
    page.click("/cameras/1")
    page.wait_for(lambda: page.camera != {})


def test_what_is_hidden_is_not_measured(visitor: Visit, measures: Measures, page: Page) -> None:
    measures.turn(True)
    session = visitor.session
    session.viewer.set_filters(type(session.filters)(confidence=0, edges=False, frames=frozenset({1})))
    click(page, place(measures.scene.frames), measures.scene, Hit(1, (30, 30)))
    wait(lambda: measures.begun)
    assert measures.begun.frame == 1


def test_measurements_are_removed_one_by_one_or_all(measures: Measures, page: Page) -> None:
    for x in (10, 20, 30):
        measures.click(Hit(0, (x, 30)))
        measures.click(Hit(1, (x, 10)))
    assert measures.chosen == 2
    kept = measures.scene.measurements[1:]
    measures.remove(0)
    assert (measures.scene.measurements, measures.chosen) == (kept, 1)
    page.wait_for(lambda: len(words(page)) == 2)
    assert words(page)[0].startswith("1 · ")
    measures.clear()
    page.wait_for(lambda: not any(name.startswith("/measurements/") for name in page.nodes))
    assert measures.scene.measurements == []
    measures.remove(5)


def test_a_pixel_without_depth_and_the_same_point_twice_are_named(measures: Measures) -> None:
    measures.scene.frames[0].depth[5, 7] = 0
    with pytest.raises(InputError, match="no depth"):
        measures.click(Hit(0, (7, 5)))
    measures.click(FIRST)
    with pytest.raises(InputError, match="first point again"):
        measures.click(FIRST)
    assert measures.begun == FIRST


def test_a_known_length_rescales_all_and_sends_no_point(visitor: Visit, measures: Measures, page: Page) -> None:
    former = visitor.session.scene
    visitor.picks = Picks(former)
    measures.click(FIRST)
    measures.click(SECOND)
    page.settle()
    page.camera.clear()
    start, points = time.perf_counter(), page.points()
    measures.set_length(50, "cm")
    page.wait_for(lambda: words(page) == ["50.0 cm"])
    page.settle()
    assert page.received_since(start) < 3_000
    assert page.camera == {}
    scene = visitor.session.scene
    factor = 0.5 / former.measurements[0].length(former.frames)
    np.testing.assert_allclose(scene.frames[1].depth, factor * former.frames[1].depth, rtol=1e-5)
    assert (scene.metric, visitor.picks.scene is scene, measures.scene is scene) == (True, True, True)
    visitor.session.viewer.set_filters(type(visitor.session.filters)(confidence=20, edges=False))
    visitor.session.viewer.set_filters(type(visitor.session.filters)(confidence=20, edges=True))
    page.settle()
    assert_same_points(page.points(), points)  # drawn anew they stand where they stood
    measures.turn(True)
    click(page, place(scene.frames), scene, Hit(1, (20, 20)))
    wait(lambda: measures.begun)
    measures.set_length(2, "ft")
    assert visitor.session.scene.measurements[0].length(visitor.session.scene.frames) == pytest.approx(0.6096)
    measures.unset()
    page.wait_for(lambda: words(page)[0].endswith("model units"))
    assert not visitor.session.scene.metric
    np.testing.assert_allclose(visitor.session.scene.frames[1].depth, former.frames[1].depth, rtol=1e-5)


def test_lengths_that_say_nothing_are_refused(visitor: Visit, measures: Measures) -> None:
    with pytest.raises(InputError, match="Measure something"):
        measures.set_length(1, "m")
    measures.click(FIRST)
    measures.click(SECOND)
    scene = visitor.session.scene
    for length in (None, 0, -1):
        with pytest.raises(InputError, match="greater than zero"):
            measures.set_length(length, "m")
    assert visitor.session.scene is scene


def test_a_new_scene_has_no_measurements_and_the_one_before_has_them_again(
    visitor: Visit, measures: Measures, page: Page
) -> None:
    measures.click(FIRST)
    measures.click(SECOND)
    measures.click(FIRST)
    scene = measures.scene
    page.wait_for(lambda: len(words(page)) == 1)
    show(visitor, 2)
    page.wait_for(lambda: words(page) == [])
    assert measures_of(visitor).begun is None
    visitor.session.viewer.show(scene)  # as after a run that was cancelled
    page.wait_for(lambda: len(words(page)) == 1)
    visitor.session.viewer.clear()
    page.wait_for(lambda: words(page) == [])
    visitor.session.scene = None
    assert measures_of(visitor).scene is None
    with pytest.raises(InputError, match="nothing to measure"):
        measures.click(FIRST)


# --- the widgets ---------------------------------------------------------------------------------------------------


@pytest.fixture
def tool() -> Measuring:
    with gr.Blocks():
        return measuring.panel(*measuring.overlay(), measuring.tab())


def test_a_reload_finds_lengths_photo_and_scale(tool: Measuring, visitor: Visit, measures: Measures) -> None:
    updates = tool.restored(visitor)
    assert (updates[tool.toggle].visible, updates[tool.section].visible) == (True, False)
    measures.frame = 2
    measures.click(SECOND)
    assert updates.keys() <= set(widgets(tool))
    begun = tool.restored(visitor)[tool.on_photo.marks]["begun"]
    np.testing.assert_allclose(begun, [[50.5, 20.5]], atol=0.1)
    measures.click(Hit(2, (20, 40)))
    measures.set_length(1.5, "m")
    updates = tool.restored(visitor)
    assert updates[tool.list] == {"rows": ["1.50 m"], "chosen": 0}
    assert (updates[tool.section].visible, updates[tool.unset].visible) == (True, True)
    assert "model units is 1.50 m" in updates[tool.scale]
    marks = updates[tool.on_photo.marks]
    assert (marks["frame"], marks["width"], marks["lines"][0]["words"]) == (2, 64, "1.50 m")
    np.testing.assert_allclose(marks["lines"][0]["ends"], [[50.5, 20.5], [20.5, 40.5]], atol=0.1)
    visitor.session.scene = None
    updates = tool.restored(visitor)
    assert (updates[tool.toggle].visible, updates[tool.on_photo.marks], updates[tool.on_photo.photo]) == (
        False, None, "",
    )  # fmt: skip
