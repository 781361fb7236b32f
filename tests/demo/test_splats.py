"""Splats in the viewer, in its protocol; `test_legend_browser` looks at them."""

import time
from dataclasses import replace

import numpy as np
import pytest

from demo.viewer import Viewer
from recon.filters import Filters, keep
from recon.geometry import rotation_from_quaternion
from recon.placement import place
from recon.scene import Scene
from recon.surfels import from_points
from tests.demo.wire import Node, Page
from tests.helpers import labelled_scene, moving_scene, synthetic_scene

ALL = Filters(confidence=0, edges=False)


def with_gaussians(scene: Scene) -> Scene:
    scene.gaussians = from_points(scene, keep(scene, ALL))
    return scene


def in_sight(page: Page) -> list[Node]:
    return [node for name, node in sorted(page.nodes.items()) if "buffer" in node.props and page.drawn(name)]


def unpacked(node: Node) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centres ``[N,3]`` and covariances ``[N,6]`` in the viewer, and colours with opacity ``[N,4]``, of a node."""
    buffer = np.ascontiguousarray(node.props["buffer"]).reshape(-1, 8)
    scale = node.props["scale"]
    centres = buffer[:, :3].copy().view(np.float32) * scale + node.position
    covariances = buffer[:, 4:7].copy().view(np.float16).astype(np.float32) * scale**2
    return centres, covariances, buffer[:, 7:].copy().view(np.uint8).reshape(-1, 4)


def count(page: Page) -> int:
    return sum(len(unpacked(node)[0]) for node in in_sight(page))


def colours(page: Page) -> np.ndarray:
    found = np.concatenate([unpacked(node)[2][:, :3] for node in in_sight(page)])
    return np.unique(found, axis=0)


def test_a_scene_with_gaussians_is_drawn_as_splats(viewer: Viewer, page: Page) -> None:
    scene = with_gaussians(synthetic_scene(2))
    viewer.set_filters(ALL)
    viewer.show(scene)
    page.settle()
    assert len(page.points()) == 0
    centres, covariances, rgba = (np.concatenate(part) for part in zip(*map(unpacked, in_sight(page)), strict=True))
    placement = place(scene.frames)
    assert len(centres) == 2 * 48 * 64
    expected = placement.point(scene.gaussians.means)
    for axis in range(3):
        np.testing.assert_allclose(np.sort(centres[:, axis]), np.sort(expected[:, axis]), atol=1e-4)
    axes = rotation_from_quaternion(scene.gaussians.rotations) * scene.gaussians.scales[:, None, :]
    axes = placement.viewer_from_world[:3, :3] @ axes
    traces = np.square(axes).sum((1, 2))
    got = covariances[:, [0, 3, 5]].sum(1)
    assert np.median(got) == pytest.approx(np.median(traces), rel=0.5)
    assert (covariances[:, [0, 3, 5]] > 0).all()
    photo = np.concatenate([frame.image.reshape(-1, 3) for frame in scene.frames]).astype(int)
    np.testing.assert_allclose(np.sort(rgba[:, :3].astype(int), axis=0), np.sort(photo, axis=0), atol=1)
    viewer.set_splats(False)
    page.settle()
    assert not in_sight(page)
    assert len(page.points()) == len(centres)


def test_points_become_splats_when_they_are_asked_for(viewer: Viewer, page: Page) -> None:
    viewer.show(synthetic_scene(2))
    page.settle()
    assert not any("buffer" in node.props for node in page.nodes.values()), "nobody has asked yet"
    viewer.set_splats(True)
    page.settle()
    assert len(page.points()) == 0
    assert count(page) > 3000
    start = time.perf_counter()
    viewer.set_splats(False)
    viewer.set_splats(True)
    page.settle()
    assert page.received_since(start) < 2_000, "switching back and forth sends nothing"


def test_a_threshold_shows_what_the_filters_keep_and_sends_nothing(viewer: Viewer, page: Page) -> None:
    scene = synthetic_scene(3)
    viewer.show(scene)
    viewer.set_splats(True)
    for percent in (0, 60, 100, 30):
        page.settle()
        start = time.perf_counter()
        viewer.set_filters(Filters(confidence=percent))
        page.settle()
        assert count(page) == sum(mask.sum() for mask in keep(scene, Filters(confidence=percent)))
        assert page.received_since(start) < 20_000
    for chosen in (Filters(frames=frozenset({1})), Filters(frames=frozenset()), Filters(edges=False)):
        viewer.set_filters(chosen)
        page.settle()
        assert count(page) == sum(mask.sum() for mask in keep(scene, chosen))


def test_a_scene_that_grows_is_points_until_it_is_whole(viewer: Viewer, page: Page) -> None:
    whole = with_gaussians(synthetic_scene(3))
    scene = replace(whole, frames=whole.frames[:2])
    viewer.show(scene, (0, 1), growing=True)
    page.settle()
    assert not in_sight(page)
    assert len(page.points())
    scene.frames = whole.frames
    viewer.show(scene, (2,), growing=True)
    page.settle()
    assert not in_sight(page)
    viewer.show(scene, ())
    page.settle()
    assert in_sight(page)
    viewer.clear()
    page.settle()
    assert not any("buffer" in node.props for node in page.nodes.values())


def test_what_moves_is_there_at_its_moment(viewer: Viewer, page: Page) -> None:
    scene = moving_scene(4)
    viewer.set_filters(ALL)
    viewer.set_splats(True)
    viewer.show(scene)
    page.settle()
    still = sum(int((~frame.moving).sum()) for frame in scene.frames)
    seen = []
    for index in range(4):
        viewer.playback.seek(index)
        page.settle()
        seen.append(count(page) - still)
    assert seen == [int(frame.moving.sum()) for frame in scene.frames]
    viewer.set_filters(replace(ALL, confidence=50))
    page.settle()
    assert count(page) == sum(
        int((mask & (~frame.moving | (index == 3))).sum())
        for index, (mask, frame) in enumerate(zip(keep(scene, replace(ALL, confidence=50)), scene.frames, strict=True))
    )


@pytest.mark.parametrize("splats", [False, True])
def test_colours_of_what_things_are(viewer: Viewer, page: Page, splats: bool) -> None:
    scene = labelled_scene(2)
    viewer.set_filters(replace(ALL, segments=frozenset({1, 2, 102})))
    viewer.show(scene)
    viewer.set_splats(splats)

    def found() -> set[tuple[int, ...]]:
        page.settle()
        if splats:
            return set(map(tuple, colours(page).tolist()))
        clouds = [node for name, node in page.clouds().items() if page.drawn(name)]
        return set(map(tuple, np.concatenate([node.props["colors"].reshape(-1, 3) for node in clouds]).tolist()))

    viewer.set_colour("semantic")
    assert found() == {(214, 39, 40), (152, 223, 138)}
    viewer.set_colour("panoptic")
    assert len(found()) == 3
    viewer.set_colour("instance")
    assert len(found()) == 3
    viewer.set_colour("semantic")
    viewer.select({2})
    assert found() == {(214, 39, 40), (64, 11, 12), (45, 66, 41)}
    viewer.select(())
    assert found() == {(214, 39, 40), (152, 223, 138)}
    viewer.show(replace(synthetic_scene(2)))
    viewer.set_filters(ALL)
    assert len(found()) > 100, "a scene without labels is coloured as its photos are"


def test_size_of_splats(viewer: Viewer, page: Page) -> None:
    viewer.show(synthetic_scene(1))
    viewer.set_splats(True)
    page.settle()
    before = np.concatenate([unpacked(node)[1] for node in in_sight(page)])
    viewer.set_point_size(2.0)
    page.settle()
    after = np.concatenate([unpacked(node)[1] for node in in_sight(page)])
    np.testing.assert_allclose(after, 4 * before, rtol=2e-2, atol=1e-7)
