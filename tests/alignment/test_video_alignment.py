"""Videos of a room that is known exactly: what moves is marked, and cameras are where they were."""

from functools import lru_cache
from typing import Any

import numpy as np
import pytest

from recon.alignment.flow import dense_inverse_search, follow, there_and_back
from recon.alignment.pair_graph import sliding_window, symmetrised
from recon.alignment.pair_maps import PairMaps
from recon.alignment.video_alignment import Video, VideoAlignment, align_video
from recon.evaluation.metrics import trajectory_error
from tests.alignment.moving_scenes import MovingScene, moving_scene
from tests.helpers import drained
from tests.parity_networks.monst3r_motion import overlap

scene = lru_cache(moving_scene)


def video_of(known: MovingScene, **changes: Any) -> Video:
    return Video(dict(enumerate(known.images)), {i: i / 10 for i in range(len(known.images))}, **changes)


def pairs_of(known: MovingScene, **disturbed: Any) -> list[PairMaps]:
    graph = symmetrised(sliding_window(len(known.images), 3, cyclic=False, stride=2))
    return known.pairs(graph, **disturbed)


def solve(known: MovingScene, video: Video | None = None, **disturbed: Any) -> VideoAlignment:
    return drained(align_video(pairs_of(known, **disturbed), video or video_of(known)))


def way_error(result: VideoAlignment, known: MovingScene) -> float:
    """Error of the trajectory, as a share of its length."""
    length = np.linalg.norm(np.diff(known.world_from_camera[:, :3, 3], axis=0), axis=1).sum()
    return trajectory_error(known.world_from_camera, result.alignment.world_from_camera) / length


def moving(result: VideoAlignment) -> np.ndarray:
    return np.stack(result.moving)


@pytest.mark.parametrize("seed", range(3))
def test_moving_things_are_marked_and_the_cameras_found(seed):
    known = scene(seed)
    result = solve(known)
    assert overlap(moving(result), known.moving) > 0.9
    assert way_error(result, known) < 0.005
    assert (result.alignment.focal == result.alignment.focal[0]).all()
    assert result.alignment.focal[0] == pytest.approx(known.focal, rel=0.005)
    assert not result.notes


def test_as_well_where_the_network_errs_more():
    known = scene(1)
    result = solve(known, noise=0.05, turn=2.0, bent=0.03)
    assert overlap(moving(result), known.moving) > 0.8
    assert way_error(result, known) < 0.02


@pytest.mark.parametrize("seed", range(2))
def test_nothing_moves_where_all_is_at_rest(seed):
    known = scene(seed, movers=0)
    result = solve(known, noise=0.03, turn=1.0)
    assert moving(result).mean() < 0.002
    assert way_error(result, known) < 0.005


def test_what_moves_fast_is_marked():
    known = scene(2, speed=3.0, frames=8)
    assert overlap(moving(solve(known)), known.moving) > 0.9


def test_a_camera_that_stands_still_stays_where_it_is():
    known = scene(0, camera=0.0)
    result = solve(known)
    assert overlap(moving(result), known.moving) > 0.9
    centres = result.alignment.world_from_camera[:, :3, 3]
    assert np.linalg.norm(centres - centres.mean(0), axis=1).max() < 0.005 * np.median(result.alignment.depth[0])


def test_flow_makes_turns_of_the_camera_surer():
    known = scene(1, frames=6)

    def turns(result: VideoAlignment) -> float:
        found, true = (np.asarray(poses)[:, :3, :3] for poses in (
            result.alignment.world_from_camera, known.world_from_camera
        ))  # fmt: skip
        steps = [np.swapaxes(each[:-1], 1, 2) @ each[1:] for each in (found, true)]
        return float(np.linalg.norm(steps[0] - steps[1], axis=(1, 2)).mean())

    without = solve(known, video_of(known, flow_weight=0.0, smoothness=0.0), turn=1.0)
    assert turns(solve(known, turn=1.0)) < turns(without) / 2
    assert not without.notes


def test_the_user_has_the_last_word():
    known = scene(0)
    given = np.zeros_like(known.moving[3])
    given[:20, :30] = True
    result = solve(known, video_of(known, moving={3: given}))
    np.testing.assert_array_equal(result.moving[3], given)
    assert overlap(result.moving[2], known.moving[2]) > 0.85


def test_flow_that_fits_nothing_is_left_out_and_the_user_told():
    known = scene(0)
    images = {i: scene(20 + i, frames=1).images[0] for i in range(len(known.images))}
    result = solve(known, Video(images, dict.fromkeys(images, 0.0)))
    assert any("flow was not used" in note for note in result.notes)
    assert moving(result).mean() < 0.01
    assert way_error(result, known) < 0.02


@pytest.mark.parametrize("part", ["wall", "balls"])
def test_blank_walls_and_blank_balls_mislead_no_flow(part):
    known = scene(1, frames=7)
    where = known.depth > 4.2 if part == "wall" else known.moving
    images = np.where(where[..., None], np.array([200, 70, 60], np.uint8), known.images)
    result = solve(known, Video(dict(enumerate(images)), dict.fromkeys(range(len(images)), 0.0)))
    assert overlap(moving(result), known.moving) > 0.8
    assert way_error(result, known) < 0.005


def test_grey_pictures_say_nothing():
    known = scene(0, frames=5)
    images = dict(enumerate(np.full_like(known.images, 128)))
    result = solve(known, Video(images, dict.fromkeys(images, 0.0)))
    assert not moving(result).any()
    assert way_error(result, known) < 0.02


def test_frames_of_different_sizes_and_two_frames_are_taken():
    known = scene(0)
    two = MovingScene(
        known.images[[4, 6]], known.depth[[4, 6]], known.moving[[4, 6]], known.world_from_camera[[4, 6]], known.focal
    )  # fmt: skip
    result = solve(two)
    assert overlap(moving(result), two.moving) > 0.6
    images = {0: two.images[0][:, :-16], 1: two.images[1]}
    [pair, _] = pairs_of(two)
    cut = PairMaps(
        pair.first, pair.second, pair.first_points[:, :-16], pair.first_confidence[:, :-16], pair.second_points,
        pair.second_confidence,
    )  # fmt: skip
    result = drained(align_video([cut], Video(images, {0: 0.0, 1: 1.0})))
    assert any("size" in note for note in result.notes)


def test_another_flow_can_be_put_in():
    known, asked = scene(0, frames=5), []

    def flow(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        asked.append(first.shape)
        return dense_inverse_search(first, second)

    solve(known, video_of(known, flow=flow))
    assert len(asked) == len(pairs_of(known))


def test_progress_goes_forward_and_can_be_cancelled():
    known = scene(0, frames=5)
    fractions = [step.fraction for step in align_video(pairs_of(known), video_of(known))]
    assert fractions == sorted(fractions)
    assert fractions[-1] <= 1
    steps = align_video(pairs_of(known), video_of(known))
    while "Followed" not in next(steps).message:
        pass
    steps.close()


def test_a_shift_is_followed_and_leads_back_but_where_it_leaves_the_picture():
    random = np.random.default_rng(0)
    picture = np.repeat(np.repeat(random.integers(0, 255, (40, 50, 3), np.uint8), 4, 0), 4, 1)
    forward, backward = follow(picture[:, :-12], picture[:, 12:])
    inside = np.isfinite(forward.trip)
    assert not inside[:, :10].any()
    assert np.median(np.abs(forward.flow[inside] - [-12, 0])) < 0.1
    assert np.median(forward.trip[inside]) < 0.1
    assert np.isinf(backward.trip[:, -10:]).mean() > 0.9
    shift = np.full((6, 8, 2), [1.5, 0.0], np.float32)
    back = there_and_back(shift, -shift)
    assert np.nanmax(np.abs(back)) < 1e-6
    assert np.isnan(back[:, -1]).all()
