"""What is kept of pairs, and the worlds that grow of it before all pairs have come."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from recon import geometry
from recon.alignment.global_alignment import align
from recon.alignment.growing_world import GrowingWorld
from recon.alignment.pair_graph import pairs_of
from recon.alignment.pair_maps import Known, PairMaps
from recon.alignment.pair_store import PairStore
from recon.alignment.single_pointmap import alone
from recon.alignment.spanning_tree import World
from recon.errors import InputError
from tests.alignment.pair_scenes import pair_scene
from tests.alignment.test_global_alignment import centre_error, errors, solve, turn_error


def test_few_whole_maps_are_kept_and_they_suffice():
    scene = pair_scene(0, views=6)
    store = PairStore(len(scene.pairs), whole=3)
    for pair in scene.pairs:
        store.add([pair])
    assert len(store.pairs) == 30
    assert {len(maps) for maps in store.maps.values()} == {3}
    worth = [
        pair.weights[(pair.first, pair.second).index(2)].mean()
        for pair in store.pairs
        if 2 in (pair.first, pair.second)
    ]
    assert sorted(each.worth for each in store.maps[2]) == pytest.approx(sorted(worth)[-3:])
    centre, turn, focal, depth = errors(replace(scene, pairs=store))
    assert (centre < 0.006, turn < 0.9, focal < 0.0025, depth < 0.006) == (True,) * 4
    highest = [pair.first_confidence for pair in scene.pairs if pair.first == 2]
    highest += [pair.second_confidence for pair in scene.pairs if pair.second == 2]
    np.testing.assert_allclose(store.highest[2], np.max(highest, 0))


def test_what_is_kept_of_a_batch_does_not_hold_the_batch():
    pair = pair_scene(0, views=2).pairs[0]
    batch = [torch.from_numpy(np.stack([part] * 8)) for part in (
        pair.first_points, pair.first_confidence, pair.second_points, pair.second_confidence
    )]  # fmt: skip
    store = PairStore(8, whole=1)
    store.add([PairMaps(0, 1, *(part[place] for part in batch)) for place in range(8)])
    assert store.maps[0][0].points.untyped_storage().nbytes() == pair.first_points.nbytes


def test_a_world_grows_with_its_pairs():
    scene = pair_scene(3, views=5, graph=pairs_of("complete", 5), turn=0.2)
    store = PairStore(len(scene.pairs))
    world, seen = GrowingWorld(store, Known()), []
    for start in range(0, len(scene.pairs), 2):
        store.add(scene.pairs[start : start + 2])
        seen.append(world.grow())
    assert seen[0] == [0, 1]
    assert seen[1:4] == [[2], [], [3]]
    assert sorted(view for views in seen for view in views) == [0, 1, 2, 3, 4]
    poses = np.stack([world.views[view].world_from_camera for view in range(5)])
    assert turn_error(poses, scene.world_from_camera) < 1.5
    for view in range(5):
        assert world.views[view].focal == pytest.approx(scene.focal[view], rel=0.02)
        ratio = world.views[view].depth / scene.depth[view]
        assert np.median(ratio) == pytest.approx(np.median(world.views[0].depth / scene.depth[0]), rel=0.03)


def test_what_has_grown_settles_where_the_alignment_has_it():
    scene = pair_scene(3, views=4, graph=pairs_of("complete", 4))
    store = PairStore(len(scene.pairs))
    world = GrowingWorld(store, Known())
    store.add(scene.pairs)
    world.grow()
    result = solve(store)
    shown = [step for step in align(store) if step.world is not None]
    assert [step.views for step in shown] == [(0, 1, 2, 3)] * len(shown)
    errors = [centre_error(step.world.world_from_camera, result.world_from_camera) for step in shown]
    assert len(errors) >= 2
    assert errors[0] > 2 * errors[-1]
    samples = np.stack([depth[store.places(view)] for view, depth in enumerate(result.depth)])
    world.settle(result.views, World(result.world_from_camera, result.focal, samples, np.zeros(12)))
    for index, view in enumerate(result.views):
        np.testing.assert_allclose(world.views[view].world_from_camera, result.world_from_camera[index], atol=1e-9)
        assert np.median(world.views[view].depth / result.depth[index]) == pytest.approx(1, abs=0.01)


def test_a_world_of_photos_that_share_nothing_grows_from_one_of_its_parts():
    scene = pair_scene(8, views=5, graph=[(0, 1), (1, 0), (3, 4), (4, 3), (1, 2), (2, 1)])
    store = PairStore(6)
    world = GrowingWorld(store, Known())
    store.add(scene.pairs[:4])
    assert world.grow() == [0, 1]
    store.add(scene.pairs[4:])
    assert world.grow() == [2]


def test_growth_begins_at_a_known_camera():
    scene = pair_scene(2, views=3, graph=pairs_of("complete", 3))
    store = PairStore(len(scene.pairs))
    world = GrowingWorld(store, Known({0: scene.world_from_camera[0], 1: scene.world_from_camera[1]}))
    store.add(scene.pairs)
    world.grow()
    np.testing.assert_allclose(world.views[0].world_from_camera, scene.world_from_camera[0], atol=1e-9)
    assert np.linalg.norm(world.views[2].world_from_camera[:3, 3] - scene.world_from_camera[2, :3, 3]) < 0.15


def test_one_photo_alone_is_its_own_world():
    scene = pair_scene(0, views=2, turn=0)
    pair = scene.pairs[0]
    twice = PairMaps(0, 0, *([torch.from_numpy(pair.first_points), torch.from_numpy(pair.first_confidence)] * 2))
    view = pair.first
    result = alone(twice, Known())
    assert result.focal[0] == pytest.approx(scene.focal[view], rel=0.01)
    ratio = result.depth[0] / scene.depth[view]
    assert abs(ratio / np.median(ratio) - 1).mean() < 0.01
    away = geometry.rigid(np.eye(3), np.array([1.0, 2, 3]))
    given = alone(twice, Known({0: away}, {0: 50.0}))
    np.testing.assert_array_equal(given.world_from_camera[0], away)
    assert given.focal[0] == 50
    nothing = alone(replace(twice, first_points=np.full_like(pair.first_points, np.nan)), Known())
    assert nothing.focal[0] > 0
    assert (nothing.depth[0] == 0).all()


def test_maps_of_one_photo_that_differ_in_size_are_told():
    scene = pair_scene(0, views=2)
    store = PairStore(2)
    store.add(scene.pairs[:1])
    odd = scene.pairs[1]
    with pytest.raises(InputError, match="differ in size"):
        store.add([replace(odd, first_points=odd.first_points[:8], first_confidence=odd.first_confidence[:8])])
