import math

import pytest
import torch
from torch import Tensor

from recon.training.correspondences import cyclic_partners
from recon.training.losses import alignment, dense, matching, photometric, pose
from tests.training.toy import place_descriptors, toy_batch

# --- dense ---------------------------------------------------------------------------------------------------------


def test_confidence_costs_its_logarithm_and_multiplies_the_error() -> None:
    error, confidence = torch.tensor([0.1, 0.5, 9.0]), torch.tensor([2.0, 4.0, 1.0])
    mask = torch.tensor([True, True, False])
    expected = ((0.1 * 2 - 0.2 * math.log(2)) + (0.5 * 4 - 0.2 * math.log(4))) / 2
    assert float(dense.confidence_weighted(error, confidence, mask)) == pytest.approx(expected)


def test_the_best_confidence_is_alpha_over_the_error() -> None:
    confidence = torch.tensor([4.0], requires_grad=True)
    dense.confidence_weighted(torch.tensor([0.05]), confidence, torch.tensor([True]), alpha=0.2).backward()
    assert confidence.grad is not None
    assert float(confidence.grad) == pytest.approx(0, abs=1e-7)


def test_depth_errors_are_ratios() -> None:
    truth = torch.tensor([1.0, 10.0, 100.0])
    torch.testing.assert_close(dense.depth_error(truth * 1.1, truth), torch.full((3,), math.log(1.1)))


def test_signed_logarithm_keeps_directions_and_takes_the_logarithm_of_lengths() -> None:
    points = torch.tensor([[3.0, 0.0, 4.0], [0.0, 0.0, 0.0], [0.0, -1e-3, 0.0]])
    expected = torch.tensor([[0.6, 0, 0.8], [0, 0, 0], [0, -1, 0]]) * torch.tensor([[6.0], [1.0], [1.001]]).log()
    torch.testing.assert_close(dense.signed_log(points), expected)


def test_the_gradient_loss_counts_steps_of_the_error_at_each_scale() -> None:
    truth = torch.full((1, 1, 8, 8), 2.0)
    depth = truth.clone()
    depth[..., 4:] *= math.exp(0.3)  # a step of 0.3 in the error, between columns 3 and 4
    mask = torch.ones(1, 1, 8, 8, dtype=torch.bool)
    expected = 0.3 / 7 + 0.3 / 3 + 0.3 / 1
    assert float(dense.multi_scale_gradient(depth, truth, mask)) == pytest.approx(expected, rel=1e-5)
    assert float(dense.multi_scale_gradient(5 * truth, truth, mask)) == pytest.approx(0, abs=1e-6)


def test_normals_of_a_slanted_plane_are_its_own_everywhere() -> None:
    normal = torch.nn.functional.normalize(torch.tensor([0.4, -0.3, -0.8]), dim=0)
    tangents = torch.tensor([[[0.7, 0.5]]])
    depth = -1.6 / (dense.rays(tangents, 20, 24) @ normal)  # points with n . x = -1.6
    found = dense.normals(depth, tangents)
    torch.testing.assert_close(found, normal.expand_as(found), atol=1e-4, rtol=0)


def test_normal_consistency_is_one_minus_the_cosine_and_knows_no_scale() -> None:
    tangents = torch.tensor([[[0.4, 0.4]]])
    rays = dense.rays(tangents, 32, 32)
    angle = math.radians(20)
    upright = 3 / rays[..., 2]
    turned = 3 / (rays @ torch.tensor([math.sin(angle), 0.0, math.cos(angle)]))
    assert float(dense.normal_consistency(turned, upright, tangents)) == pytest.approx(1 - math.cos(angle), rel=1e-3)
    assert float(dense.normal_consistency(7 * upright, upright, tangents)) == pytest.approx(0, abs=1e-5)


def test_no_normal_is_asked_for_at_an_edge_or_beside_the_unknown() -> None:
    truth = torch.full((1, 1, 32, 32), 2.0)
    truth[..., 16:] = 3.0
    truth[..., 8, 4] = 0
    smooth = dense.smooth_surface(truth)
    assert not smooth[0, 0, :, 6:8].any()  # columns 14 and 16 of the image
    assert not smooth[0, 0, 3, 1]
    assert not smooth[0, 0, 3, 0]
    assert smooth.float().mean() > 0.8


# --- pose ----------------------------------------------------------------------------------------------------------


def about(axis: list[float], angle: float, dtype: torch.dtype = torch.float32) -> Tensor:
    """Rotation about a unit axis."""
    x, y, z = axis
    skew = torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=torch.float64) * angle
    return torch.linalg.matrix_exp(skew).to(dtype)


@pytest.mark.parametrize("degrees", [0.0, 0.01, 1.0, 90.0, 179.0, 179.99, 180.0])
def test_rotation_angle_is_exact_from_0_to_180_degrees(degrees: float) -> None:
    first = about([0.6, 0.0, 0.8], 0.7)
    second = first @ about([0.0, 0.8, -0.6], math.radians(degrees))
    found = math.degrees(float(pose.rotation_angle(first, second)))
    assert found == pytest.approx(degrees, abs=2e-4)


@pytest.mark.parametrize("degrees", [0.0, 0.001, 90.0, 179.9, 180.0])
def test_rotation_angle_has_a_finite_gradient(degrees: float) -> None:
    second = about([0.0, 0.8, -0.6], math.radians(degrees)).requires_grad_()
    pose.rotation_angle(torch.eye(3), second).backward()
    assert second.grad is not None
    assert second.grad.isfinite().all()
    assert second.grad.abs().max() < 2


def cameras(seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    axes = torch.nn.functional.normalize(torch.randn(2, 4, 3, generator=generator), dim=-1)
    rotation = torch.stack([torch.stack([about(axis.tolist(), 0.5) for axis in scene]) for scene in axes])
    return rotation, torch.randn(2, 4, 3, generator=generator)


def test_relative_poses_take_points_from_one_camera_to_the_other() -> None:
    rotation, translation = cameras()
    point = torch.tensor([0.3, -0.2, 2.0])
    world = rotation[0, 1] @ point + translation[0, 1]
    expected = rotation[0, 3].T @ (world - translation[0, 3])
    found = (
        pose.relative_rotation(rotation)[0, 1, 3] @ point + pose.relative_translation(rotation, translation)[0, 1, 3]
    )
    torch.testing.assert_close(found, expected)


def relative_losses(rotation: Tensor, translation: Tensor, *truth: Tensor) -> tuple[float, float]:
    """Of one estimate; truth is rotation, translation and weight."""
    turned = pose.relative_rotation_loss(rotation[None], truth[0], truth[2])
    pointed = pose.relative_direction_loss(rotation[None], translation[None], *truth)
    return float(turned), float(pointed)


def test_relative_pose_losses_know_no_similarity_of_the_world() -> None:
    rotation, translation = cameras()
    turn = about([0.0, 1.0, 0.0], 0.8)
    moved = 2.5 * translation @ turn.T + torch.tensor([1.0, 2.0, 3.0])
    weight = torch.ones(2, 4)
    turned, pointed = relative_losses(turn @ rotation, moved, rotation, translation, weight)
    assert turned == pytest.approx(0, abs=1e-5)
    assert pointed == pytest.approx(0, abs=1e-5)
    absolute = pose.rotation_loss((turn @ rotation)[None], rotation, weight)
    assert float(absolute) == pytest.approx(0.8 - 0.01, abs=1e-4)


def test_relative_rotation_loss_of_one_wrong_view() -> None:
    rotation, translation = cameras()
    wrong = rotation.clone()
    wrong[0, 2] = wrong[0, 2] @ about([1.0, 0.0, 0.0], 0.5)
    turned, _ = relative_losses(wrong, translation, rotation, translation, torch.ones(2, 4))
    share = 6 / 24  # ordered pairs with that view, of two scenes of twelve
    assert turned == pytest.approx(share * 0.5 * 0.5 / (0.5 + 0.5), rel=1e-3)
    weight = torch.ones(2, 4)
    weight[0, 2] = 0
    turned, pointed = relative_losses(wrong, translation, rotation, translation, weight)
    assert turned == pytest.approx(0, abs=1e-4)
    assert pointed == pytest.approx(0, abs=1e-4)


def test_cameras_in_one_place_have_no_direction() -> None:
    rotation, translation = cameras()
    translation[0, 1] = translation[0, 0]
    guess = translation.clone()
    guess[0, 1] += torch.tensor([0.0, 1e-3, 0.0])  # a direction of its own, which nobody can judge
    _, pointed = relative_losses(rotation, guess, rotation, translation, torch.ones(2, 4))
    assert pointed < 2e-3


def test_direction_error_is_a_chord() -> None:
    truth = torch.tensor([[2.0, 0, 0], [2.0, 0, 0], [2.0, 0, 0], [2.0, 0, 0]])
    guess = torch.tensor([[5.0, 0, 0], [0, 3.0, 0], [-4.0, 0, 0], [0, 0, 0]])
    torch.testing.assert_close(pose.direction_error(guess, truth), torch.tensor([0, math.sqrt(2), 2, 1]))


def test_field_of_view_compares_logarithms() -> None:
    truth = torch.full((1, 2, 2), 0.5)
    loss = pose.field_of_view_loss(2 * truth[None], truth, torch.ones(1, 2))
    assert float(loss) == pytest.approx(math.log(2) - 0.025, rel=1e-5)


# --- alignment -----------------------------------------------------------------------------------------------------


def test_best_scale_is_least_squares() -> None:
    generator = torch.Generator().manual_seed(0)
    points, truth = torch.randn(2, 50, 3, generator=generator), torch.randn(2, 50, 3, generator=generator)
    weight = torch.rand(2, 50, generator=generator)
    found = alignment.best_scale(points, truth, weight)
    for index in range(2):
        root = weight[index].sqrt()[:, None]
        column, target = (root * points[index]).reshape(-1, 1), (root * truth[index]).reshape(-1, 1)
        expected = torch.linalg.lstsq(column.double(), target.double()).solution
        assert float(found[index]) == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0])
def test_two_way_alignment_knows_no_scale(scale: float) -> None:
    generator = torch.Generator().manual_seed(0)
    truth = torch.randn(2, 50, 3, generator=generator) + 3
    guess = truth + 0.1 * torch.randn(2, 50, 3, generator=generator)
    mask = torch.rand(2, 50, generator=generator) > 0.2
    loss = alignment.two_way_alignment(guess, truth, mask)
    torch.testing.assert_close(alignment.two_way_alignment(scale * guess, truth, mask), loss, atol=0, rtol=1e-4)
    torch.testing.assert_close(alignment.two_way_alignment(truth, guess, mask), loss)
    assert 0.01 < float(loss) < 0.1
    assert float(alignment.two_way_alignment(scale * truth, truth, mask)) == pytest.approx(0, abs=2e-4)


# --- matching ------------------------------------------------------------------------------------------------------


def fine_loss(descriptors: Tensor, batch, seed: int = 0) -> float:  # type: ignore[no-untyped-def]
    torch.manual_seed(seed)
    found = matching.fine_correspondences(batch, matching.size_of(descriptors))
    return float(matching.fine_matching(descriptors, found, matching.size_of(batch.depth)))


def test_samples_lie_one_in_every_patch_around_the_cells_centres() -> None:
    pixels = matching.sample_pixels(3, 2, (64, 96), (16, 24), torch.device("cpu"))
    assert pixels.shape == (3, 2, 8 * 6)
    row, column = pixels // 96, pixels % 96
    assert (row // 8 == torch.arange(8).repeat_interleave(6)).all()
    assert (column // 16 == torch.arange(6).repeat(8)).all()
    assert set((row % 4).unique().tolist()) == {1, 2}
    assert set((column % 4).unique().tolist()) == {1, 2}


def test_bilinear_descriptors_are_the_cells_own_at_their_centres_and_between_them_a_mixture() -> None:
    maps = torch.nn.functional.normalize(torch.randn(1, 2, 4, 5, 8), dim=-1)
    partner = torch.tensor([[1, 0]])
    position = torch.tensor([[2.5, 1.5], [3.0, 1.5]]).expand(1, 2, 2, 2)
    found = matching.bilinear(maps, partner, position)
    torch.testing.assert_close(found[0, 0, 0], maps[0, 1, 1, 2])
    between = torch.nn.functional.normalize(maps[0, 0, 1, 2] + maps[0, 0, 1, 3], dim=-1)
    torch.testing.assert_close(found[0, 1, 1], between)


def test_descriptors_of_the_place_cost_little_and_equal_ones_the_logarithm_of_the_candidates() -> None:
    batch = toy_batch()
    good = fine_loss(place_descriptors(batch, 4, 128, 6.0), batch)
    constant = torch.nn.functional.normalize(torch.ones(2, 3, 16, 24, 8), dim=-1)
    chance = fine_loss(constant, batch)
    assert good < 0.4
    assert math.log(40) < chance < math.log(64 + 48)


def test_fine_matching_learns_the_place_within_the_window() -> None:
    """Descriptors that tell windows apart, but not the cells in them, are not enough."""
    batch = toy_batch(scenes=1, views=2)
    batch = batch.with_(world_from_camera=batch.world_from_camera[:, :1].repeat(1, 2, 1, 1))
    batch = batch.with_(depth=batch.depth[:, :1].repeat(1, 2, 1, 1))
    window = torch.nn.functional.normalize(torch.randn(1, 1, 2, 3, 64), dim=-1)
    coarse = window.repeat_interleave(8, 2).repeat_interleave(8, 3).expand(1, 2, -1, -1, -1)
    own = torch.nn.functional.normalize(torch.randn(1, 1, 16, 24, 64), dim=-1).expand(1, 2, -1, -1, -1)
    assert fine_loss(own, batch) < 0.3 < 0.5 * math.log(64) < fine_loss(coarse, batch)


def test_the_logits_of_windows_are_products_with_the_cells_of_each_window() -> None:
    rows, columns = 12, 20  # windows that reach beyond the grid
    cells, there = torch.randn(1, 1, rows, columns, 8), torch.randn(1, 1, rows // 2 * (columns // 4), 8)
    cell = torch.stack([torch.tensor(2 * y * columns + 4 * x + 1) for y in range(6) for x in range(5)]).view(1, 1, -1)
    logits, right = matching.window_logits(cells, there, cell)
    for sample in (0, 7, 29):
        y, x = int(cell[0, 0, sample]) // columns, int(cell[0, 0, sample]) % columns
        block = cells[0, 0, y // 8 * 8 : y // 8 * 8 + 8, x // 8 * 8 : x // 8 * 8 + 8].flatten(0, 1)
        expected = matching.FINE_SHARPNESS * (block @ there[0, 0, sample])
        torch.testing.assert_close(logits[0, 0, sample].logsumexp(0), expected.logsumexp(0))
        torch.testing.assert_close(
            right[0, 0, sample], matching.FINE_SHARPNESS * (cells[0, 0, y, x] @ there[0, 0, sample])
        )


def test_hidden_points_teach_descriptors_nothing() -> None:
    batch = toy_batch()
    maps = place_descriptors(batch, 4, 16, 10.0).requires_grad_()
    torch.manual_seed(0)
    found = matching.fine_correspondences(batch, (16, 24))
    found.visible[:] = False
    loss = matching.fine_matching(maps, found, (64, 96))
    loss.backward()
    assert float(loss.detach()) == 0
    assert maps.grad is not None
    assert (maps.grad == 0).all()


def test_coarse_matching_is_cross_entropy_over_the_partners_cells() -> None:
    batch = toy_batch()
    maps = torch.nn.functional.normalize(torch.randn(2, 3, 4, 6, 16), dim=-1)
    found = matching.coarse_correspondences(batch, (4, 6))
    target = matching.cell_of(found.position, (64, 96), (4, 6))
    expected, count = 0.0, 0
    for scene in range(2):
        for view in range(3):
            other = maps[scene, int(found.partner[scene, view])].flatten(0, 1)
            logits = matching.COARSE_SHARPNESS * maps[scene, view].flatten(0, 1) @ other.T
            terms = torch.nn.functional.cross_entropy(logits.double(), target[scene, view], reduction="none")
            expected += float(terms[found.visible[scene, view]].sum())
            count += int(found.visible[scene, view].sum())
    assert 50 < count < 2 * 3 * 24
    assert float(matching.coarse_matching(maps, found, target)) == pytest.approx(expected / count, rel=1e-4)


# --- photometric ---------------------------------------------------------------------------------------------------


def test_images_are_as_dissimilar_as_their_statistics() -> None:
    image = torch.rand(1, 3, 12, 12)
    assert float(photometric.photometric_error(image, image).max()) == pytest.approx(0, abs=1e-6)
    black, white = torch.zeros(1, 3, 12, 12), torch.ones(1, 3, 12, 12)
    expected = 0.85 * (1 - 1e-4 / (1 + 1e-4)) / 2 + 0.15
    torch.testing.assert_close(photometric.photometric_error(black, white), torch.full((1, 12, 12), expected))


def test_true_depth_and_cameras_warp_one_view_onto_the_other() -> None:
    batch = toy_batch(scenes=1, views=2)
    partner = cyclic_partners(1, 2, "cpu")
    warped, seen = photometric.warp(batch.images, batch.depth, batch.world_from_camera, batch.tangents, partner)
    error = (warped - batch.images).abs().mean(2)[seen]
    assert seen.float().mean() > 0.8
    assert float(error.median()) < 2e-3
    assert float(error.mean()) < 0.15 * float((batch.images.flip(1) - batch.images).abs().mean())


def test_the_photometric_loss_is_least_for_the_truth_and_its_gradient_leads_there() -> None:
    batch = toy_batch(scenes=1, views=3)

    def loss(factor: Tensor) -> Tensor:
        return photometric.photometric(batch.images, factor * batch.depth, batch.world_from_camera, batch.tangents)

    at = {factor: float(loss(torch.tensor(factor))) for factor in (0.9, 0.97, 1.0, 1.03, 1.1)}
    assert at[0.9] > at[0.97] > at[1.0] < at[1.03] < at[1.1]
    assert at[1.0] < 0.01
    factor = torch.tensor(0.95, requires_grad=True)
    loss(factor).backward()
    assert factor.grad is not None
    assert float(factor.grad) < 0


def test_what_does_not_move_is_left_out() -> None:
    batch = toy_batch(scenes=1, views=2)
    images = batch.images[:, :1].repeat(1, 2, 1, 1, 1)  # a frozen picture: any depth but the far one is wrong
    loss = photometric.photometric(images, batch.depth, batch.world_from_camera, batch.tangents)
    assert float(loss) == 0


def test_smoothness_forgives_edges_of_the_picture() -> None:
    inverse = torch.full((1, 8, 8), 0.75)
    inverse[..., 4:] = 1.25
    plain, edge = torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8)
    edge[..., 4:] = 1.0
    assert float(photometric.edge_aware_smoothness(1 / inverse, plain)) == pytest.approx(0.5 / 7, rel=1e-5)
    assert float(photometric.edge_aware_smoothness(1 / inverse, edge)) == pytest.approx(0.5 / 7 / math.e, rel=1e-5)
