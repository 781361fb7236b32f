"""Losses of cameras: rotation, translation, field of view; against the world's axes and between all pairs of views.

Products of 3x3 matrices are written as sums, which no autocast and no TF32 make coarse.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

NO_BASELINE = 1e-3
"""True cameras closer than this share of the scene's largest baseline have no direction from one to the other."""

HALF_GAINED = 0.5
"""Radians, about AUC@30's limit, at which an error of a pair costs half of the most it can."""

SHORT_BASELINE = 0.05
"""Baselines shorter than this, in units of the scene, count less, in proportion."""


def rotation_angle(first: Tensor, second: Tensor) -> Tensor:
    """Geodesic distance ``[...]`` in radians, 0 to pi, of rotations ``[...,3,3]``.

    ``atan2(2 sin, 2 cos)`` from the skew part and the trace of ``first^T second`` (Hartley et al. 2013, section 4);
    unlike an arc cosine it keeps its digits and its gradient near 0 and near pi.
    """
    first, second = torch.broadcast_tensors(first, second)
    sine = torch.linalg.cross(first, second, dim=-1).sum(-2).norm(dim=-1)
    cosine = (first * second).sum((-1, -2)) - 1
    return torch.atan2(sine, cosine)


def huber(error: Tensor, beta: float) -> Tensor:
    """``error**2 / (2 beta)`` below ``beta``, ``|error| - beta / 2`` above (smooth L1)."""
    return functional.smooth_l1_loss(error, torch.zeros_like(error), beta=beta, reduction="none")


def saturating(error: Tensor, knee: float) -> Tensor:
    """``knee * error / (knee + error)``, for errors of at least 0: as the error below the knee, never above the knee.

    What is counted within a threshold (AUC, recall) is gained at small errors; hopeless ones should not rule.
    """
    return error * knee / (knee + error)


def relative_rotation(rotation: Tensor) -> Tensor:
    """``camera_j from camera_i``, ``[...,V,V,3,3]`` with i first, of world_from_camera ``[...,V,3,3]``."""
    first, second = rotation.unsqueeze(-3), rotation.unsqueeze(-4)
    return (second[..., :, :, None] * first[..., :, None, :]).sum(-3)


def relative_translation(rotation: Tensor, translation: Tensor) -> Tensor:
    """Where camera i stands as seen from camera j, ``[...,V,V,3]`` with i first."""
    baseline = translation.unsqueeze(-2) - translation.unsqueeze(-3)
    return (rotation.unsqueeze(-4) * baseline[..., :, None]).sum(-2)


def direction_error(estimate: Tensor, truth: Tensor) -> Tensor:
    """Chord, 0 to 2, between the directions of vectors ``[...,3]``: near the angle in radians where that is small.

    An estimate shorter than half the truth is not stretched to unit length, so that its gradient stays bounded.
    """
    length = truth.norm(dim=-1, keepdim=True).clamp_min(1e-6)
    scale = torch.maximum(estimate.norm(dim=-1, keepdim=True), length / 2)
    return (estimate / scale - truth / length).norm(dim=-1)


def rotation_loss(rotation: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """``[T]``: mean Huber of the geodesic distance, in radians, for T estimates of all cameras.

    Args:
        rotation: ``[T,S,V,3,3]`` world_from_camera.
        truth: ``[S,V,3,3]``.
        weight: ``[S,V]``, 0 for views that do not count.
    """
    return weighted_mean(huber(rotation_angle(rotation, truth), 0.02), weight)


def translation_loss(translation: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """``[T]``: mean Huber of the coordinates of centres ``[T,S,V,3]`` in the world; see `rotation_loss`."""
    return weighted_mean(huber(translation - truth, 0.02).mean(-1), weight)


def field_of_view_loss(tangents: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """``[T]``: mean Huber of the log-tangents of half the fields of view, ``[T,S,V,2]``; see `rotation_loss`."""
    return weighted_mean(huber(tangents.log() - truth.log(), 0.05).mean(-1), weight)


def relative_rotation_loss(rotation: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """``[T]``: mean saturating geodesic distance of the relative rotations of all pairs of views; see `rotation_loss`.

    With `relative_direction_loss`, what AUC@30 measures; a rotation of the world changes nothing.
    """
    turned = rotation_angle(relative_rotation(rotation), relative_rotation(truth))
    return weighted_mean(saturating(turned, HALF_GAINED).flatten(-2), pair_weight(weight).flatten(-2))


def relative_direction_loss(
    rotation: Tensor, translation: Tensor, true_rotation: Tensor, true_translation: Tensor, weight: Tensor
) -> Tensor:
    """``[T]``: mean saturating `direction_error` of the relative translations of all ordered pairs of views.

    A similarity of the world changes nothing, unless it makes the estimate less than half as large as the truth.
    Pairs without a baseline have no direction, and short ones count less.

    Args:
        rotation: ``[T,S,V,3,3]`` world_from_camera.
        translation: ``[T,S,V,3]``.
        true_rotation: ``[S,V,3,3]``.
        true_translation: ``[S,V,3]``.
        weight: ``[S,V]``, 0 for views that do not count.
    """
    truth = relative_translation(true_rotation, true_translation)
    length = truth.norm(dim=-1)
    apart = length > NO_BASELINE * length.amax((-1, -2), keepdim=True)
    counts = pair_weight(weight) * apart * (length / SHORT_BASELINE).clamp_max(1)
    pointed = direction_error(relative_translation(rotation, translation), truth)
    return weighted_mean(saturating(pointed, HALF_GAINED).flatten(-2), counts.flatten(-2))


def pair_weight(weight: Tensor) -> Tensor:
    """``[S,V,V]``: both views' ``weight [S,V]``; a view makes no pair with itself."""
    return weight[..., :, None] * weight[..., None, :] * (1 - torch.eye(weight.shape[-1], device=weight.device))


def weighted_mean(values: Tensor, weight: Tensor) -> Tensor:
    """``[T]``: mean over S and N of ``values [T,S,N]`` with ``weight [S,N]``; 0 where there is none."""
    return (values * weight).sum((-1, -2)) / weight.sum().clamp_min(1e-6)
