"""Pairwise pointmaps of known scenes: the world that comes back, however noisy, wrong or few they are."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from recon import geometry
from recon.alignment.global_alignment import align
from recon.alignment.pair_graph import complete, one_reference, sliding_window, symmetrised
from recon.alignment.pair_maps import Known, PairMaps
from recon.errors import InputError
from tests.alignment.pair_scenes import PairScene, pair_scene
from tests.alignment_table import (
    NAMES,
    RECORDING,
    REFERENCE,
    centre_error,
    depth_error,
    figures,
    known_of,
    recorded_pairs,
    solve,
    turn_error,
)


def errors(scene: PairScene, known: Known | None = None) -> tuple[float, float, float, float]:
    result = solve(scene.pairs, known)
    views = list(result.views)
    return (
        centre_error(result.world_from_camera, scene.world_from_camera[views]),
        turn_error(result.world_from_camera, scene.world_from_camera[views]),
        float(abs(result.focal / scene.focal[views] - 1).max()),
        depth_error(result, [scene.depth[view] for view in views]),
    )


@pytest.fixture(scope="module")
def recording() -> dict[str, np.ndarray]:
    with np.load(RECORDING) as values:
        return dict(values)


@pytest.mark.parametrize("run", REFERENCE)
def test_the_recorded_scene_comes_out_better_than_of_the_reference_in_a_tenth_of_the_time(recording, run):
    ours = figures(run, recording)
    rivals = [theirs for name, theirs in REFERENCE.items() if name == run or ("nothing" in name and "nothing" in run)]
    best = [min(values) for values in zip(*rivals, strict=True)]
    for name, value, bound in list(zip(NAMES, ours, best, strict=True))[:5]:
        assert value <= bound + 1e-9, name
    assert ours[-1] <= best[-1] / 10


def test_known_cameras_stay_what_they_are(recording):
    known = known_of("poses and focal lengths known", recording)
    result = solve(recorded_pairs(recording), known)
    np.testing.assert_allclose(result.world_from_camera, recording["gt_poses"], atol=1e-9)
    np.testing.assert_allclose(result.focal, recording["gt_focals"])
    assert np.mean(abs(np.array(result.depth) / recording["gt_depth"] - 1)) < 0.003  # in their scale


@pytest.mark.parametrize("seed", range(4))
def test_other_scenes_come_out_as_well(seed):
    centre, turn, focal, depth = errors(pair_scene(seed))
    assert centre < 0.006
    assert turn < 0.9
    assert focal < 0.0025
    assert depth < 0.004


@pytest.mark.parametrize("seed", range(3))
def test_noise_and_points_that_are_anywhere_cost_little(seed):
    centre, turn, focal, depth = errors(pair_scene(seed, noise=0.05, wrong=0.2))
    assert centre < 0.03
    assert turn < 2.0
    assert focal < 0.01
    assert depth < 0.03


def test_without_turned_pairs_cameras_are_as_sure_as_many_points_make_them():
    centre, turn, focal, _ = errors(pair_scene(0, turn=0))
    assert centre < 0.004
    assert turn < 0.1
    assert focal < 0.002


@pytest.mark.parametrize(
    "graph", [complete(5), symmetrised(sliding_window(5, 1, cyclic=False)), sliding_window(5, 2, cyclic=False)]
)
def test_missing_pairs_leave_a_world(graph):
    centre, turn, focal, depth = errors(pair_scene(1, views=5, graph=graph))
    assert centre < 0.03
    assert turn < 2.5
    assert focal < 0.02
    assert depth < 0.015


def test_views_that_are_never_first_get_their_focal_length_from_where_others_see_their_points():
    centre, turn, focal, _ = errors(pair_scene(2, graph=one_reference(4), turn=0))
    assert centre < 0.05
    assert turn < 0.5
    assert focal < 0.03


def test_one_wrong_pair_among_many_does_no_harm():
    scene = pair_scene(3, turn=0.2)
    at = next(index for index, pair in enumerate(scene.pairs) if (pair.first, pair.second) == (0, 3))
    wrong = scene.pairs[at]
    away = geometry.rigid(np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]]), np.array([3.0, 0, 2]))
    scene.pairs[at] = PairMaps(
        0, 3, wrong.first_points, wrong.first_confidence, geometry.transform(away, wrong.second_points),
        wrong.second_confidence,
    )  # fmt: skip
    centre, turn, focal, _ = errors(scene)
    assert centre < 0.006
    assert turn < 0.3
    assert focal < 0.0025


def test_a_fifth_of_all_pairs_wrong_in_a_sparse_graph_does_no_harm():
    scene = pair_scene(2, views=6, graph=symmetrised(sliding_window(6, 2, cyclic=False)))
    random = np.random.default_rng(0)
    for at in random.choice(len(scene.pairs), len(scene.pairs) // 5, replace=False):
        away = geometry.rigid(geometry.rotation_from_quaternion(random.normal(size=4)), random.normal(size=3))
        points = geometry.transform(away, scene.pairs[at].second_points)
        scene.pairs[at] = replace(scene.pairs[at], second_points=points)
    centre, turn, focal, _ = errors(scene)
    assert centre < 0.01
    assert turn < 1.5
    assert focal < 0.003


@pytest.mark.parametrize("seed", range(2))
def test_bent_maps_do_not_turn_cameras_away(seed):
    centre, turn, focal, depth = errors(pair_scene(seed, views=5, turn=0, bent=0.03))
    assert centre < 0.12
    assert turn < 3
    assert focal < 0.005
    assert depth < 0.03


def test_photos_from_one_place_and_empty_maps_are_taken():
    scene = pair_scene(1, views=2, noise=0.002, turn=0)
    alike = [
        PairMaps(i, j, *([scene.pairs[0].first_points, scene.pairs[0].first_confidence] * 2)) for i, j in complete(3)
    ]
    poses = solve(alike).world_from_camera
    assert np.linalg.norm(poses[:, :3, 3] - poses[0, :3, 3], axis=1).max() < 0.01
    assert turn_error(poses, np.tile(np.eye(4), (3, 1, 1))) < 0.1
    scene = pair_scene(1)
    scene.pairs[0] = replace(scene.pairs[0], second_points=scene.pairs[0].second_points * np.nan)
    assert errors(scene)[0] < 0.006


def test_maps_that_tell_nothing_give_focal_lengths_that_a_camera_can_have():
    generator = np.random.default_rng(0)

    def anything() -> tuple[np.ndarray, np.ndarray]:
        points = generator.standard_normal((48, 64, 3)).astype(np.float32)
        points[..., 2] = np.abs(points[..., 2]) + 1
        return points, np.full((48, 64), 3, np.float32)

    focal = solve([PairMaps(i, j, *anything(), *anything()) for i, j in complete(4)]).focal
    assert ((focal >= 0.1 * 64 - 1e-6) & (focal <= 30 * 64 + 1e-6)).all()


def test_known_focal_lengths_stay():
    scene = pair_scene(4)
    result = solve(scene.pairs, Known(focal={1: 64.0, 2: float(scene.focal[2])}))
    assert result.focal[1] == pytest.approx(64.0, rel=1e-9)
    assert result.focal[2] == pytest.approx(scene.focal[2], rel=1e-9)
    assert result.focal[0] == pytest.approx(scene.focal[0], rel=0.02)


def test_a_shared_focal_length_is_one_number():
    scene = pair_scene(5, shared_focal=True, noise=0.03)
    focal = solve(scene.pairs, Known(shared_focal=True)).focal
    assert (focal == focal[0]).all()
    assert focal[0] == pytest.approx(62.0, rel=0.004)
    given = solve(scene.pairs, Known(shared_focal=True, focal={2: 62.0})).focal
    np.testing.assert_allclose(given, 62.0)


def test_one_known_pose_places_the_world_and_two_scale_it():
    scene = pair_scene(6)
    one = solve(scene.pairs, Known({2: scene.world_from_camera[2]})).world_from_camera
    np.testing.assert_allclose(one[2], scene.world_from_camera[2], atol=1e-9)
    assert turn_error(one, scene.world_from_camera) < 1.0
    two = solve(scene.pairs, Known({0: scene.world_from_camera[0], 3: scene.world_from_camera[3]}))
    np.testing.assert_allclose(two.world_from_camera[[0, 3]], scene.world_from_camera[[0, 3]], atol=1e-9)
    assert np.linalg.norm(two.world_from_camera[:, :3, 3] - scene.world_from_camera[:, :3, 3], axis=1).max() < 0.02
    assert np.median(two.depth[1] / scene.depth[1]) == pytest.approx(1, abs=0.01)


def test_two_views_need_no_step():
    scene = pair_scene(7, views=2)
    messages = [step.message for step in align(scene.pairs)]
    assert not any("step" in message for message in messages)
    _, turn, focal, depth = errors(scene)
    assert turn < 2.5
    assert focal < 0.005
    assert depth < 0.02
    single = solve(scene.pairs[:1])
    assert turn_error(single.world_from_camera, scene.world_from_camera) < 3


def test_photos_that_share_nothing_are_named_and_left_out():
    scene = pair_scene(8, views=5, graph=symmetrised([(0, 1), (1, 2), (3, 4)]))
    result = solve(scene.pairs)
    assert result.views == (0, 1, 2)
    assert result.left_out == (3, 4)
    assert len(result.depth) == 3


def test_pairs_without_confidence_join_nothing():
    scene = pair_scene(9)
    dull = [
        PairMaps(p.first, p.second, p.first_points, p.first_confidence, p.second_points, 1 + 0 * p.second_confidence)
        if 3 in (p.first, p.second)
        else p
        for p in scene.pairs
    ]
    assert solve(dull).left_out == (3,)
    with pytest.raises(InputError, match="nothing in common"):
        solve([pair for pair in dull if 3 in (pair.first, pair.second)])


def test_upright_photos_tensors_and_unknown_points_are_taken():
    scene = pair_scene(10, portrait=(1,))
    pairs = []
    for pair in scene.pairs:
        points = pair.first_points.copy()
        points[:5] = np.nan
        arrays = points, pair.first_confidence, pair.second_points, pair.second_confidence
        pairs.append(PairMaps(pair.first, pair.second, *(torch.from_numpy(array) for array in arrays)))
    result = solve(pairs)
    assert result.depth[1].shape == scene.depth[1].shape == (64, 48)
    assert centre_error(result.world_from_camera, scene.world_from_camera) < 0.006
    assert (result.depth[0] > 0).all()  # other pairs tell of the first rows


def test_progress_goes_forward_and_can_be_cancelled():
    steps = align(pair_scene(0).pairs)
    fractions = [step.fraction for step in steps]
    assert fractions[0] == 0
    assert all(before <= after <= 1 for before, after in itertools.pairwise(fractions))
    stopped = align(pair_scene(0).pairs)
    next(stopped)
    stopped.close()


def test_what_makes_no_sense_is_said():
    scene = pair_scene(0, views=2)
    with pytest.raises(InputError, match="no pair to align"):
        solve([])
    with pytest.raises(InputError, match="Photo 7"):
        solve(scene.pairs, Known(focal={7: 50.0}))
    with pytest.raises(InputError, match="not positive"):
        solve(scene.pairs, Known(focal={0: -1.0}))
    with pytest.raises(InputError, match="not rigid"):
        solve(scene.pairs, Known({0: 2 * np.eye(4)}))
    odd = scene.pairs[0]
    cut = PairMaps(1, 0, odd.second_points[:8], odd.second_confidence[:8], odd.first_points, odd.first_confidence)
    with pytest.raises(InputError, match="differ in size"):
        solve([odd, cut])
