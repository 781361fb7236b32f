"""The rule of keyframes, and what is remembered of a video."""

import numpy as np
import pytest
import torch

from recon.models.must3r_cameras import OwnCameras, SharedFocal, focal_lengths, poses
from recon.models.must3r_looking import Looker
from recon.models.must3r_online import Online
from recon.models.must3r_overlap import FARTHEST, Overlap, Rule
from recon.networks.must3r import Encoded, Must3r, Pointmaps
from tests.networks.small_must3r import stand_in_network
from tests.networks.stand_in import smooth_images
from tests.parity_networks.must3r_trajectory import smoothed

EYE = torch.eye(4)


@pytest.fixture(scope="module")
def network() -> Must3r:
    return stand_in_network()


@pytest.fixture(scope="module")
def images(network) -> list[Encoded]:
    with torch.inference_mode():
        encoded = network.encode(smooth_images(12, 32, 48)[0])
    return [encoded[i : i + 1] for i in range(12)]


def wall(depth: float, shift: float = 0.0, confidence: float = 3.0) -> Pointmaps:
    """A wall before a camera that looks straight at it, from ``shift`` beside the middle."""
    y, x = np.mgrid[:32, :48].astype(np.float32)
    local = torch.from_numpy(np.stack([(x - 24) / 40 * depth, (y - 16) / 40 * depth, np.full_like(x, depth)], -1))[None]
    return Pointmaps(local + torch.tensor([shift, 0, 0]), local, torch.full((1, 32, 48), confidence))


class Always:
    """Takes every frame for a keyframe, or none."""

    def __init__(self, verdict: bool = True) -> None:
        self.verdict = verdict

    def clear(self) -> None: ...
    def score(self, maps, pose) -> float:
        return 0.0

    def accepts(self, score, maps) -> bool:
        return self.verdict

    def add(self, label, maps, pose) -> None: ...
    def remove(self, label) -> None: ...


def remembered(network, images, verdict=True, **settings) -> list[list[int]]:
    """Which frames are remembered after each."""
    looker = Looker(network)
    online = Online(looker, Always(verdict), OwnCameras(), **settings)
    seen = []
    with torch.inference_mode():
        for image in images:
            online.step(image)
            seen.append(looker.memory.images)
    return seen


def test_what_was_seen_scores_low_and_what_was_not_high():
    overlap = Overlap(Rule())
    first = wall(2.0)
    assert overlap.score(first, EYE) == FARTHEST
    overlap.add(0, first, EYE)
    assert overlap.score(first, EYE) == 0
    near, far = (overlap.score(wall(2.0, shift), EYE) for shift in (0.01, 1.5))
    assert 0 <= near < 0.05 < far


def test_a_keyframe_that_left_has_seen_nothing():
    overlap = Overlap(Rule())
    overlap.add(0, wall(2.0), EYE)
    overlap.add(1, wall(2.0, 1.5), EYE)
    assert overlap.score(wall(2.0), EYE) == 0
    overlap.remove(0)
    assert overlap.score(wall(2.0), EYE) > 0.05
    assert overlap.score(wall(2.0, 1.5), EYE) == 0
    overlap.clear()
    assert overlap.score(wall(2.0), EYE) == FARTHEST


def test_scores_are_shares_of_the_depth_or_metres():
    for relative, expected in ((True, 0.5), (False, 1.0)):
        overlap = Overlap(Rule(relative=relative, cells=0))
        overlap.add(0, wall(1.0), EYE)
        aside = wall(2.0)
        aside.points = wall(1.0).points + torch.tensor([0, 0, 1.0])
        assert overlap.score(aside, EYE) == pytest.approx(expected, rel=1e-5)


def test_frames_of_low_confidence_are_no_keyframes():
    overlap = Overlap(Rule())
    unsure = wall(2.0, confidence=1.2)
    assert overlap.score(unsure, EYE) == 0  # none of its points counts
    assert not overlap.accepts(FARTHEST, unsure)
    assert overlap.accepts(FARTHEST, wall(2.0))


def test_points_that_are_nowhere_do_not_count():
    overlap, broken = Overlap(Rule()), wall(2.0)
    broken.points[0, ::4] = torch.inf
    overlap.add(0, broken, EYE)
    assert overlap.score(wall(2.0), EYE) < 1


@pytest.mark.parametrize(("forget", "last"), [("oldest", [0, 9, 10, 11]), ("crowded", None)])
def test_memory_has_a_bound_and_the_first_frame_stays(network, images, forget, last):
    seen = remembered(network, images, most=4, forget=forget)
    assert [len(labels) for labels in seen] == [1, 2, 3] + [4] * 9
    assert all(labels[0] == 0 for labels in seen)
    assert all(labels[-1] == number for number, labels in enumerate(seen))
    if last is not None:
        assert seen[-1] == last


def test_in_a_crowded_place_the_nearest_leaves(network, images):
    looker = Looker(network)
    online = Online(looker, Always(), OwnCameras(), most=4, forget="crowded")
    with torch.inference_mode():
        for image in images[:4]:
            online.step(image)
        centres = {0: 0.0, 1: 5.0, 2: 5.1, 3: 9.0}
        online._centres = {label: torch.tensor([x, 0, 0]) for label, x in centres.items()}
        online.step(images[4])
    assert looker.memory.images == [0, 2, 3, 4]  # 1 and 2 are near each other, and 1 is the older


def test_the_last_frames_are_remembered_as_long_as_they_are_the_last(network, images):
    assert remembered(network, images[:5], verdict=False) == [[0], [0, 1], [0, 1], [0, 1], [0, 1]]
    seen = remembered(network, images[:6], verdict=False, window=2)
    assert seen == [[0], [0, 1], [0, 1, 2], [0, 1, 2, 3], [0, 1, 3, 4], [0, 1, 4, 5]]


def test_a_window_changes_what_is_seen(network, images):
    results = []
    for window in (0, 2):
        online = Online(Looker(network), Always(False), OwnCameras(), window=window)
        with torch.inference_mode():
            results.append([online.step(image)[-1].maps.points for image in images[:4]])
    assert torch.equal(results[0][2], results[1][2])
    assert not torch.equal(results[0][3], results[1][3])


def test_the_world_is_made_anew_with_the_second_frame(network, images):
    online = Online(Looker(network), Always(), SharedFocal())
    with torch.inference_mode():
        steps = [online.step(image) for image in images[:4]]
    assert [[placed.number for placed in step] for step in steps] == [[0], [0, 1], [2], [3]]
    torch.testing.assert_close(steps[1][0].world_from_camera, EYE)
    assert not torch.equal(steps[1][0].maps.points, steps[0][0].maps.points)


def test_frames_of_other_sizes_enter_the_same_memory(network, images):
    with torch.inference_mode():
        other = network.encode(smooth_images(1, 48, 32)[0])
    looker = Looker(network)
    online = Online(looker, Always(), SharedFocal(), most=3)
    with torch.inference_mode():
        for image in (*images[:3], other, images[4]):
            (*_, placed) = online.step(image)
    assert looker.memory.images == [0, 3, 4]
    assert placed.maps.confidence.shape == (1, 32, 48)


def test_cameras_of_a_known_world_are_found():
    angle = 0.3
    pose = torch.eye(4)
    pose[:3, :3] = torch.tensor([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    pose[:3, 3] = torch.tensor([1.0, -2, 0.5])
    local = wall(2.0).points_in_camera + torch.rand(1, 32, 48, 1) * wall(2.0).points_in_camera
    points = local @ pose[:3, :3].T + pose[:3, 3]
    confidence = 1 + torch.rand(1, 32, 48)
    torch.testing.assert_close(poses(points, local, confidence)[0], pose, atol=1e-5, rtol=1e-5)
    assert focal_lengths(local)[0] == pytest.approx(40, rel=1e-4)
    points[0, :3] = torch.inf
    torch.testing.assert_close(poses(points, local, confidence)[0], pose, atol=1e-5, rtol=1e-5)
    assert poses(points, local, torch.ones(1, 32, 48)).isfinite().all()  # nothing is sure


def test_pictures_of_another_size_have_a_focal_length_of_their_own():
    cameras = SharedFocal()
    _, _, focal = cameras.place(wall(2.0), first=True)
    assert focal == pytest.approx(40, rel=1e-4)
    half = wall(2.0)
    half.points, half.points_in_camera = half.points[:, ::2, ::2], half.points_in_camera[:, ::2, ::2]
    half.confidence = half.confidence[:, ::2, ::2]
    _, _, other = cameras.place(half)
    assert other == pytest.approx(20, rel=1e-4)
    assert cameras.focal(wall(2.0)) == pytest.approx(40, rel=1e-4)


def test_one_camera_has_one_focal_length_unless_it_may_zoom():
    for fixed, expected in ((True, 45), (False, 50)):
        cameras = SharedFocal(fixed)
        cameras.place(wall(2.0), first=True)
        zoomed = wall(2.0)
        zoomed.points_in_camera = zoomed.points_in_camera * torch.tensor([0.8, 0.8, 1])
        maps, _, focal = cameras.place(zoomed)
        assert focal == pytest.approx(expected, rel=1e-4)
        assert maps.points_in_camera[0, 0, 0, 2] == pytest.approx(2 * (40 / 50 if fixed else 1), rel=1e-4)


def test_a_smoothed_way_keeps_its_ends_and_what_is_straight():
    way = np.stack([np.linspace(0, 1, 9), np.zeros(9), np.zeros(9)], 1)
    np.testing.assert_allclose(smoothed(way), way, atol=1e-12)
    bent = way.copy()
    bent[4, 1] = 1
    calm = smoothed(bent, rounds=16)
    np.testing.assert_array_equal(calm[[0, -1]], bent[[0, -1]])
    assert abs(calm[4, 1]) < 0.6
    sure = smoothed(bent, [5, 5, 1, 9, 9, 9, 1, 5, 5], 0.5, 5)
    assert sure[4, 1] == 1  # what is sure, among others that are, stays
    np.testing.assert_array_equal(sure[[0, -1]], bent[[0, -1]])
