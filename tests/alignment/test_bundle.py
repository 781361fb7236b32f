import numpy as np
import pytest

from recon import geometry
from recon.alignment.bundle import Mapping, adjust
from recon.alignment.mapping import triangulate

FOCAL = 800.0


def mapping(views: int, prior: float, deviation: float, step: float = 0.4, noise: float = 0.3) -> Mapping:
    """Every point seen by every view, the cameras on a line and turned towards the middle, start slightly wrong."""
    random = np.random.default_rng(0)
    points = random.uniform([-2, -1.5, 3], [2, 1.5, 8], (200, 3))
    poses, seen = {}, []
    for view in range(views):
        angle = 0.08 * view
        turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
        poses[view] = geometry.rigid(turn, np.array([-step * view, 0.05 * view, 0]))
        local = geometry.transform(poses[view], points)
        seen.append(local[:, :2] / local[:, 2:] * FOCAL + [512, 384] + random.normal(0, noise, (200, 2)))
    return Mapping(
        group=np.zeros(views, int), size=np.tile([1024.0, 768.0], (views, 1)), focal=np.array([prior]),
        focal_prior=np.array([prior]), focal_deviation=np.array([deviation]), view=np.repeat(np.arange(views), 200),
        point=np.tile(np.arange(200), views), pixels=np.concatenate(seen), points=np.full((200, 3), np.nan),
        used=np.zeros(200 * views, bool), poses=poses,
    )  # fmt: skip


def test_triangulation_meets_the_points():
    scene = mapping(3, FOCAL, 0.1)
    triangulate(scene)
    assert scene.used.mean() > 0.95
    assert np.median(scene.errors()[scene.used]) < 0.5


def test_many_views_correct_a_wrong_focal_length():
    scene = mapping(6, 1.2 * FOCAL, 0.3)
    scene.points[:] = np.random.default_rng(0).uniform([-2, -1.5, 3], [2, 1.5, 8], (200, 3))
    scene.used[:] = True
    adjust(scene, refine_focal=True, iterations=100)
    assert scene.focal[0] == pytest.approx(FOCAL, rel=0.02)


def test_a_sure_prior_holds_the_focal_length():
    focals = []
    for deviation in (1e-4, 0.5):
        scene = mapping(3, 1.1 * FOCAL, deviation)
        triangulate(scene)
        adjust(scene, refine_focal=True, iterations=50)
        focals.append(scene.focal[0])
    assert focals[0] == pytest.approx(1.1 * FOCAL, rel=2e-3)
    assert abs(focals[1] - FOCAL) < abs(focals[0] - FOCAL)


def test_a_focal_length_that_is_not_asked_for_stays():
    scene = mapping(4, 1.1 * FOCAL, 0.3)
    triangulate(scene)
    adjust(scene, refine_focal=False)
    assert scene.focal[0] == 1.1 * FOCAL
