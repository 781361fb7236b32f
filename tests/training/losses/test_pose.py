import math

import pytest
import torch
from torch import Tensor

from recon.training.losses import pose


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


def test_relative_losses_lead_cameras_to_their_places() -> None:
    rotation, translation = cameras()
    translation = 0.1 * translation  # short baselines, as of photos taken side by side
    generator = torch.Generator().manual_seed(1)
    turns = (0.2 * torch.randn(2, 4, 3, generator=generator)).requires_grad_()
    moves = (translation + 0.1 * torch.randn(2, 4, 3, generator=generator)).requires_grad_()
    weight = torch.ones(2, 4)
    optimiser = torch.optim.Adam([turns, moves], 1e-2)
    losses = []
    for _ in range(80):
        x, y, z = turns.unbind(-1)
        skew = torch.stack([0 * x, -z, y, z, 0 * x, -x, -y, x, 0 * x], -1).unflatten(-1, (3, 3))
        guess = (torch.linalg.matrix_exp(skew) @ rotation)[None]
        turned = pose.relative_rotation_loss(guess, rotation, weight)
        pointed = pose.relative_direction_loss(guess, moves[None], rotation, translation, weight)
        optimiser.zero_grad()
        (turned + pointed).sum().backward()
        optimiser.step()
        losses.append((float(turned.detach()), float(pointed.detach())))
    assert losses[0][0] > 0.15
    assert losses[0][1] > 0.15
    assert losses[-1][0] < 0.02
    assert losses[-1][1] < 0.04
