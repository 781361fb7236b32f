import numpy as np
import torch

from recon.models.mapanything_confidence import frusta, frusta_meet, multiview_confidence
from recon.models.mapanything_masks import confident, edges, normals

HEIGHT, WIDTH = 24, 32
INTRINSICS = torch.tensor([[30.0, 0, 15.5], [0, 30, 11.5], [0, 0, 1]])


def points_of(depth: np.ndarray) -> np.ndarray:
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    return np.stack([(x - 15.5) / 30 * depth, (y - 11.5) / 30 * depth, depth], -1).astype(np.float32)


def test_a_step_in_depth_is_an_edge_and_the_walls_beside_it_are_none():
    depth = np.full((HEIGHT, WIDTH), 2, np.float32)
    depth[:, 16:] = 3
    found = edges(points_of(depth), depth, np.ones_like(depth, bool))
    assert found[:, 15:17].all()
    assert not found[:, :13].any()
    assert not found[:, 19:].any()


def test_a_slope_is_no_edge():
    x = np.arange(WIDTH) * np.ones((HEIGHT, 1))
    depth = (60 / (30 - 0.4 * (x - 16))).astype(np.float32)  # of a plane that is far from frontal
    assert not edges(points_of(depth), depth, np.ones_like(depth, bool)).any()


def test_a_step_smaller_than_the_threshold_is_no_edge():
    depth = np.full((HEIGHT, WIDTH), 2, np.float32)
    depth[:, 16:] = 2.1
    points, all_of_it = points_of(depth), np.ones_like(depth, bool)
    assert edges(points, depth, all_of_it).any()
    assert not edges(points, depth, all_of_it, depth_threshold=0.06).any()
    assert not edges(points, depth, all_of_it, normal_threshold=80).any()


def test_without_anything_valid_all_is_edge():
    depth = np.ones((HEIGHT, WIDTH), np.float32)
    assert edges(points_of(depth), depth, np.zeros_like(depth, bool)).all()


def test_normals_of_a_wall_face_along_the_axis_and_are_missing_where_nothing_is_valid():
    depth = np.full((HEIGHT, WIDTH), 2, np.float32)
    valid = np.ones_like(depth, bool)
    valid[5:12, 5:12] = False
    found, there = normals(points_of(depth), valid)
    np.testing.assert_allclose(np.abs(found[there][:, 2]), 1, atol=1e-5)
    assert not there[5:12, 5:12].any()
    assert (found[~there] == 0).all()


def test_confident_leaves_out_the_share_that_was_asked_for():
    values = np.random.default_rng(0).permutation(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH).astype(np.float32)
    assert abs(confident(values, 25).mean() - 0.75) < 0.002
    assert confident(values, 0).sum() == values.size - 1  # strictly more confident than the least
    assert not confident(np.ones((HEIGHT, WIDTH)), 10).any()


def scene(*shifts: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Cameras beside each other that look at a wall."""
    poses = torch.eye(4).repeat(len(shifts), 1, 1)
    poses[:, 0, 3] = torch.tensor(shifts)
    depth = torch.full((len(shifts), HEIGHT, WIDTH), 2.0)
    depth += 0.01 * torch.arange(WIDTH) / WIDTH  # no body without volume
    return depth, INTRINSICS.expand(len(shifts), 3, 3), poses, torch.ones(len(shifts), HEIGHT, WIDTH, dtype=torch.bool)


def test_views_that_see_the_same_wall_agree_where_they_both_see_it():
    confidence = multiview_confidence(*scene(0.0, 0.5))
    assert (confidence[0, :, 10:] == 1).all()
    assert (confidence[0, :, :5] == 0).all()  # not seen by the other, which stands to the right


def test_a_view_that_sees_something_else_disagrees():
    depth, intrinsics, poses, clear = scene(0.0, 0.1, 0.2)
    depth[2] = 1.7
    depth[2, 0, 0] = 2.2
    confidence = multiview_confidence(depth, intrinsics, poses, clear)
    assert (confidence[0, :, 10:20] == 0.5).all()
    assert (confidence[2, 2:, 12:20] == 0).all()
    agreeing = multiview_confidence(depth, intrinsics, poses, clear, absolute=0.5)
    assert (agreeing[:, 2:, 12:20] == 1).all()


def test_what_is_unknown_or_unclear_is_not_confident():
    depth, intrinsics, poses, clear = scene(0.0, 0.1)
    depth[0, 3, 20], clear[0, 4, 20] = 0, False
    confidence = multiview_confidence(depth, intrinsics, poses, clear)
    assert confidence[0, 3, 20] == confidence[0, 4, 20] == 0
    assert confidence[0, 5, 20] == 1


def test_a_view_that_meets_no_other_keeps_its_word():
    assert (multiview_confidence(*scene(0.0)) == 1).all()
    depth, intrinsics, poses, clear = scene(0.0, 30.0)
    assert (multiview_confidence(depth, intrinsics, poses, clear) == 1).all()
    depth[1] = 0
    assert multiview_confidence(depth, intrinsics, poses, clear).isfinite().all()


def test_frusta_meet_where_they_share_a_point():
    depth, intrinsics, poses, _ = scene(0.0, 1.0, 50.0, 0.0)
    poses[3] = torch.tensor([[-1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, -1, -1], [0, 0, 0, 1]])  # looks back, away from all
    depth[:, 0, 0] = 0.5
    meet = frusta_meet(*frusta(depth, intrinsics, poses))
    assert torch.equal(meet, meet.T)
    assert meet.nonzero().tolist() == [[0, 1], [1, 0]]
