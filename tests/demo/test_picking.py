"""Clicks in 3D: what is picked is what stands there to the eye."""

import time

import numpy as np
import pytest

from demo.picking import Hit, Ray, pick
from recon import geometry
from recon.filters import Filters, confidence_levels, depth_edges
from recon.measurement import position
from recon.placement import place
from recon.scene import Scene
from tests.helpers import synthetic_scene

EVERYTHING = Filters(confidence=0, edges=False)
RADIUS = 0.004


def clicked(scene: Scene, origin: np.ndarray, target: np.ndarray, filters: Filters = EVERYTHING) -> Hit | None:
    """What a click picks that goes from ``origin`` through ``target``."""
    level = confidence_levels(scene, [filters.confidence])[0] if filters.confidence else -np.inf
    return pick(scene, filters, float(level), Ray(origin, target - origin, RADIUS))


def where(scene: Scene, hit: Hit | None) -> np.ndarray:
    assert hit is not None
    return position(scene.frames[hit.frame], hit.pixel)


@pytest.mark.parametrize("own_points", [False, True])
def test_a_click_on_a_point_picks_it_from_wherever_it_is_seen(own_points: bool) -> None:
    scene = synthetic_scene(3, 96, 128)
    points = [frame.world_points() for frame in scene.frames]
    if own_points:
        for frame, own in zip(scene.frames, points, strict=True):
            frame.points = own
    for frame, (row, column) in ((0, (20, 30)), (1, (80, 64)), (2, (50, 110))):
        target = points[frame][row, column]
        origin = scene.frames[frame].camera.centre + np.array([0.1, -0.2, -0.3])
        assert np.linalg.norm(where(scene, clicked(scene, origin, target)) - target) < 0.02


def test_of_points_behind_each_other_the_foremost_is_picked() -> None:
    scene = synthetic_scene(2, 96, 128)
    frame = scene.frames[0]
    ball = np.unravel_index(np.argmin(np.where(depth_edges(frame), np.inf, frame.depth)), frame.depth.shape)
    target = frame.world_points()[ball]
    origin = frame.camera.centre
    behind = origin + 1.5 * (target - origin)  # the wall, as another frame may see it
    other = scene.frames[1]
    other.points = np.full_like(other.world_points(), np.nan)
    other.points[0, 0] = behind
    np.testing.assert_allclose(where(scene, clicked(scene, origin, behind)), target, atol=0.01)
    frame.depth[:] = 0
    np.testing.assert_allclose(where(scene, clicked(scene, origin, behind)), behind, atol=1e-5)


def test_a_click_into_a_gap_picks_what_is_next_to_it_and_far_from_everything_nothing() -> None:
    scene = synthetic_scene(1, 96, 128)
    frame = scene.frames[0]
    target = frame.world_points()[60, 60]
    frame.depth[59:62, 59:62] = 0
    picked = where(scene, clicked(scene, frame.camera.centre, target))
    assert 0 < np.linalg.norm(picked - target) < 4 * frame.depth[58, 60] / frame.camera.intrinsics[0, 0]
    frame.depth[40:80, 40:80] = 0
    assert clicked(scene, frame.camera.centre, target) is None
    assert clicked(scene, frame.camera.centre, 2 * frame.camera.centre - target) is None, "behind the eye"


def test_what_filters_hide_is_not_picked() -> None:
    scene = synthetic_scene(2, 96, 128)
    frame = scene.frames[0]
    origin = frame.camera.centre
    row, column = np.argwhere(depth_edges(frame))[200]
    edge = frame.world_points()[row, column]
    assert clicked(scene, origin, edge, Filters(confidence=0, frames=frozenset({0}), edges=False)) == Hit(
        0, (column, row)
    )
    hit = clicked(scene, origin, edge, Filters(confidence=0, frames=frozenset({0})))
    assert hit is None or not depth_edges(frame)[hit.pixel[1], hit.pixel[0]]
    target = frame.world_points()[48, 64]
    assert where(scene, clicked(scene, origin, target, Filters(confidence=0, frames=frozenset({1})))) is not None
    assert clicked(scene, origin, target, Filters(confidence=0, frames=frozenset())) is None
    level = float(confidence_levels(scene, [60])[0])
    for row in range(8, 96, 16):
        hit = clicked(scene, origin, frame.world_points()[row, 64], Filters(confidence=60))
        assert hit is None or scene.frames[hit.frame].confidence[hit.pixel[1], hit.pixel[0]] >= level


def test_what_is_gone_at_the_moment_is_not_picked() -> None:
    scene = synthetic_scene(1, 96, 128)
    frame = scene.frames[0]
    ray = Ray(frame.camera.centre, frame.world_points()[48, 64] - frame.camera.centre, RADIUS)
    gone = np.zeros(frame.depth.shape, bool)
    assert pick(scene, EVERYTHING, -np.inf, ray, {0: gone}) == Hit(0, (64, 48))
    gone[48, 64] = True
    beside = pick(scene, EVERYTHING, -np.inf, ray, {0: gone})
    assert beside is not None
    assert not gone[beside.pixel[1], beside.pixel[0]]


def test_a_ray_of_the_viewer_means_the_same_points_in_the_world() -> None:
    scene = synthetic_scene(2)
    placement = place(scene.frames).rescaled(3.0)
    origin, target = np.array([0.1, -0.2, 0.3]), scene.frames[0].world_points()[10, 20].astype(float)
    start, end = placement.point(np.stack([origin, target]))
    ray = Ray.in_viewer(placement, tuple(start), tuple(end - start), 0.5)
    np.testing.assert_allclose(ray.origin, origin, atol=1e-6)
    assert ray.radius == pytest.approx(0.5 / placement.scale)
    np.testing.assert_allclose(geometry.transform(ray.from_world(), target)[:2], 0, atol=1e-5)


def test_a_million_points_are_picked_from_without_a_pause() -> None:
    scene = synthetic_scene(20, 192, 264)
    target = scene.frames[9].world_points()[100, 130]
    durations = []
    for _ in range(5):
        start = time.perf_counter()
        assert clicked(scene, scene.frames[9].camera.centre, target, Filters(confidence=0)) is not None
        durations.append(time.perf_counter() - start)
    assert min(durations) < 0.1  # about 0.01 s on an idle machine
