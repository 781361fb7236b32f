import pytest

from recon.evaluation.rendering import likeness
from recon.filters import Filters
from tests.helpers import synthetic_scene

ALL = Filters(confidence=0, edges=False)


def test_a_scene_looks_like_its_pictures_and_worse_where_a_camera_is_wrong():
    scene = synthetic_scene(3, 72, 96)
    good = likeness(scene, ALL, 96)
    assert good.covered > 22
    assert good.share > 0.97
    assert good.everywhere == pytest.approx(good.covered, abs=1)
    scene.frames[1].camera.world_from_camera[:3, 3] += 0.2
    assert likeness(scene, ALL, 96).covered < good.covered - 1


def test_what_is_not_covered_counts_everywhere_alone():
    scene = synthetic_scene(2, 72, 96)
    half = likeness(scene, Filters(confidence=50), 96)
    assert 0.3 < half.share < 0.8
    assert half.everywhere < half.covered - 5
    assert half.gaussians == pytest.approx(72 * 96, rel=0.1)
