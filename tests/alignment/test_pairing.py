"""Photos with next to no features, whose places are told apart by descriptors made from true geometry."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from recon import View, geometry
from recon.alignment.bundle import pinhole
from recon.alignment.dense_matching import Description, dense_matches
from recon.alignment.matching import extract, working_size
from recon.alignment.pairing import Joined, Seen, dense_pixels, join, merge, strange
from recon.evaluation.metrics import pair_errors
from recon.scene import Frame
from tests.alignment.test_dense_matching import describe
from tests.helpers import synthetic_scene


def seen(frame: Frame, described: bool, blur: float) -> Seen:
    """``blur`` in pixels takes the texture, and with it the features, away."""
    image = cv2.GaussianBlur(frame.image, (0, 0), blur) if blur else frame.image
    view = View(cv2.resize(image, None, fx=3, fy=3), frame.name)
    scale = working_size(view)[0] / frame.size[0]
    return Seen(
        features=extract(view),
        description=describe(frame, frame.view, noise=0.1) if described else None,
        camera=pinhole(frame.camera.intrinsics[0, 0] * scale, np.array(working_size(view))),
        world_from_camera=frame.camera.world_from_camera.astype(float),
        depth=frame.depth,
        depth_from_working=np.diag([1 / scale, 1 / scale, 1.0]),
    )


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    return synthetic_scene(3, 192, 256).frames


def error(frames: list[Frame], pose: np.ndarray) -> float:
    truth = np.stack([frame.camera.world_from_camera for frame in frames[:2]]).astype(float)
    return float(pair_errors(truth, np.stack([np.eye(4), geometry.invert(pose)])).worst[0])


def test_features_decide_where_there_are_features(frames):
    found = join(0, 1, [seen(frame, True, 0) for frame in frames])
    assert found.pair is not None
    assert error(frames, found.pair.second_from_first) < 2
    assert len(found.added[0]) == 0


def test_descriptors_stand_in_for_features(frames):
    alone = join(0, 1, [seen(frame, False, 12) for frame in frames])
    assert alone.pair is None
    helped = join(0, 1, [seen(frame, True, 12) for frame in frames])
    assert helped.pair is not None
    assert error(frames, helped.pair.second_from_first) < 5
    assert len(helped.added[0]) == len(helped.added[1]) >= len(helped.pair.matches) > 50


def test_descriptors_of_something_else_verify_nothing(frames):
    first, second = (seen(frame, True, 12) for frame in frames[:2])
    random = np.random.default_rng(0)
    patches, cells = random.normal(size=(12, 16, 64)), random.normal(size=(48, 64, 32))
    noise = Description(*(np.float32(grid / np.linalg.norm(grid, axis=-1, keepdims=True)) for grid in (patches, cells)))
    other = replace(second, description=noise)
    assert join(0, 1, [first, other]).pair is None


def test_views_are_strange_whose_best_matches_are_unsure(frames):
    here, there = (describe(frame, frame.view, noise=0.1) for frame in frames[:2])
    found = dense_matches(here, there)
    assert not strange(found, here)
    assert strange(replace(found, confidence=0.05 * found.confidence), here)
    rows, columns = here.patches.shape[:2]
    assert not strange(found.strongest(columns, rows), here)  # what else a patch matches with does not count
    nowhere = np.zeros((0, 2))
    assert strange(replace(found, first=nowhere, second=nowhere, confidence=np.zeros(0)), here)


def test_a_place_that_several_pairs_share_is_one_feature(frames):
    views = [seen(frame, True, 12) for frame in frames]
    joined: list[tuple[tuple[int, int], Joined]] = [((i, j), join(i, j, views)) for i, j in ((0, 1), (0, 2), (1, 2))]
    features, matches, pairs = merge([view.features for view in views], joined)
    assert [(pair.first, pair.second) for pair in pairs] == [(0, 1), (0, 2), (1, 2)]
    to_second, to_third = (set(pair.matches[:, 0]) for pair in pairs[:2])
    assert len(to_second & to_third) > 20  # a track through three views
    here, there = dense_pixels(views[0], views[2])
    numbers = matches[0, 2][-len(here) :]
    np.testing.assert_allclose(features[0].pixels[numbers[:, 0]], here, atol=1e-5)
    np.testing.assert_allclose(features[2].pixels[numbers[:, 1]], there, atol=1e-5)
