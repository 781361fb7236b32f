"""Batches of procedural scenes, as training takes them."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from recon.training.batch import Batch
from recon.training.scenes.sample import ProceduralScenes

HEIGHT, WIDTH = 48, 64


@pytest.fixture(scope="module")
def scenes() -> ProceduralScenes:
    return ProceduralScenes(7, "cpu", per_family=2, texture_size=64, pool=6, span=3, samples=1, views=3)


@pytest.fixture(scope="module")
def batch(scenes: ProceduralScenes) -> Batch:
    return scenes.batch(1, 6, 3, HEIGHT, WIDTH)


def equal(one: Batch, other: Batch) -> bool:
    return all(getattr(one, name).equal(getattr(other, name)) for name in vars(one))


def seen_by(batch: Batch, scene: int, view: int, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Depth ``[N]`` of world points in a view, that view's own depth there, and which of them it can see."""
    camera = torch.linalg.inv(batch.world_from_camera[scene, view])
    local = points @ camera[:3, :3].T + camera[:3, 3]
    z = local[:, 2]
    at = local[:, :2] / z.clamp_min(1e-3)[:, None] / batch.tangents[scene, view]
    own = F.grid_sample(
        batch.depth[scene, view][None, None], at[None, None], mode="nearest", align_corners=False
    ).flatten()
    return z, own, (z > 1e-3) & (at.abs() < 1).all(-1) & (own > 0)


def test_a_batch_is_complete(batch: Batch) -> None:
    assert batch.images.shape == (6, 3, 3, HEIGHT, WIDTH)
    assert batch.depth.shape == (6, 3, HEIGHT, WIDTH)
    assert batch.usable.shape == (6, 3)
    assert batch.images.min() >= 0
    assert batch.images.max() <= 1
    assert all(getattr(batch, name).isfinite().all() for name in vars(batch))
    assert batch.images.flatten(2).std(-1).median() > 0.05
    assert batch.usable.float().mean() > 0.6


def test_a_batch_is_normalised(batch: Batch) -> None:
    torch.testing.assert_close(batch.world_from_camera[:, 0], torch.eye(4).expand(6, 4, 4))
    distance = batch.points().norm(dim=-1)
    for scene in range(6):
        assert distance[scene][batch.valid[scene]].mean() == pytest.approx(1, abs=1e-3)
    way = batch.world_from_camera[..., :3, 3].norm(dim=-1)
    assert (way[batch.usable] < 6).all()


def test_depth_of_one_view_agrees_with_the_others(batch: Batch) -> None:
    """What a view sees lies, in another view, on its surface or behind something: hardly ever before it."""
    points = batch.points()
    agreeing = before = 0
    for scene in range(6):
        for view in range(3):
            for other in {0, 1, 2} - {view}:
                z, own, seen = seen_by(batch, scene, other, points[scene, view][batch.valid[scene, view]])
                ratio = (z / own)[seen]
                agreeing += int(((ratio - 1).abs() < 0.03).sum())
                before += int((ratio < 0.9).sum())
    assert agreeing > 6000
    assert before < 0.08 * agreeing


def test_the_same_index_gives_the_same_batch_whatever_was_made_between(scenes: ProceduralScenes, batch: Batch) -> None:
    scenes.batch(3, 1, 2, 32, 48)
    again = scenes.batch(1, 6, 3, HEIGHT, WIDTH)
    assert equal(batch, again)


def test_a_fresh_start_at_an_index_gives_the_same_batch(scenes: ProceduralScenes) -> None:
    fresh = ProceduralScenes(7, "cpu", per_family=2, texture_size=64, pool=6, span=3, samples=1, views=3)
    assert equal(fresh.batch(5, 1, 2, 32, 48), scenes.batch(5, 1, 2, 32, 48))


def test_other_indices_and_seeds_give_other_scenes(scenes: ProceduralScenes) -> None:
    other = ProceduralScenes(8, "cpu", per_family=2, texture_size=64, pool=2, span=1, samples=1, views=2)
    first = scenes.batch(3, 1, 2, 32, 48)
    for different in (scenes.batch(4, 1, 2, 32, 48), scenes.batch(6, 1, 2, 32, 48), other.batch(3, 1, 2, 32, 48)):
        assert not first.depth.allclose(different.depth, atol=0.05)


def test_fewer_views_are_the_first_ones(scenes: ProceduralScenes, batch: Batch) -> None:
    fewer = scenes.batch(1, 6, 2, HEIGHT, WIDTH)
    torch.testing.assert_close(fewer.tangents, batch.tangents[:, :2])
    ratio = fewer.depth / batch.depth[:, :2].clamp_min(1e-6)
    for scene in range(6):
        units = ratio[scene][fewer.valid[scene]]
        torch.testing.assert_close(units, units[:1].expand_as(units), rtol=1e-3, atol=0)


def test_portrait_pictures_have_portrait_fields_of_view(scenes: ProceduralScenes) -> None:
    tall = scenes.batch(3, 2, 1, 64, 48)
    assert tall.images.shape == (2, 1, 3, 64, 48)
    assert (tall.tangents[..., 1] > tall.tangents[..., 0]).all()


def test_a_batch_larger_than_a_pool_is_refused(scenes: ProceduralScenes) -> None:
    with pytest.raises(ValueError, match="pool"):
        scenes.batch(0, 7, 1, 32, 48)
    with pytest.raises(ValueError, match="pool"):
        scenes.batch(0, 1, 4, 32, 48)


def test_replayed_scenes_are_the_same_places_in_other_photographs():
    scenes = ProceduralScenes(5, "cpu", per_family=1, texture_size=32, samples=1, replay=2)
    first, again, fresh = (scenes.batch(index, 1, 2, 32, 48) for index in (4, 5, 6))
    torch.testing.assert_close(again.tangents, first.tangents.roll(1, 1))
    torch.testing.assert_close(again.valid, first.valid.roll(1, 1))
    assert (again.images - first.images.roll(1, 1)).abs().mean() > 0.005
    assert not torch.equal(fresh.valid, first.valid)
    alone = ProceduralScenes(5, "cpu", per_family=1, texture_size=32, samples=1, replay=2).batch(5, 1, 2, 32, 48)
    torch.testing.assert_close(alone.images, again.images)
