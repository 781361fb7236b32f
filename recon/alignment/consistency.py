"""What views say of each other's depth: which to compare, which points they confirm, which they see through."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from recon.alignment.stereo import Stereo
from recon.alignment.sweep import Shot, Warp

STRIDE = 8  # pixels between those by which views are chosen
SAME_SURFACE = 0.3  # of log-depth, between priors
GOOD_ANGLE, WIDE_ANGLE, ANGLE_FALL = 5.0, 20.0, 15.0  # degrees between the rays to a point
LEAST_MERIT = 0.02
LEAST_SCORE = 0.4  # correlation of a place that may confirm or be confirmed
PIXELS = 1.5  # how far apart two views' depth of one point may put it in a picture,
LEAST_TOLERANCE, MOST_TOLERANCE = 0.01, 0.04  # between these bounds of log-depth
ENOUGH = 3  # views that confirm a point; more add nothing
MATCHING_DEVIATION = 0.3  # pixels: how well windows are matched
PRIOR_DEVIATION = 0.1  # of log-depth: where matching is less certain than this, it says little
NEARLY_SAME = 0.15  # of log-depth: surfaces of two views that are probably one
UNCONFIRMED = 0.1  # the belief in depth that nothing confirms
IN_FRONT = 0.08  # of log-depth: a point so far before a surface hides it


def choose_sources(shots: Sequence[Shot], inverses: Sequence[np.ndarray], most: int) -> list[tuple[int, ...]]:
    """For each view the others to compare it with, best first: those that see much of it from a good angle.

    Args:
        shots: the views.
        inverses: ``[h,w]`` each, the prior's inverse depth.
        most: sources of a view.
    """
    chosen = []
    middle = slice(STRIDE // 2, None, STRIDE)
    for index in range(len(shots)):
        shot, inverse = shots[index].thinned(STRIDE), inverses[index][middle, middle]
        merits = {}
        for other in range(len(shots)):
            if other != index:
                merit = _merit(shot, inverse, shots[other], inverses[other])
                if merit > LEAST_MERIT:
                    merits[other] = merit
        chosen.append(tuple(sorted(merits, key=lambda other: -merits[other])[:most]))
    return chosen


def _merit(shot: Shot, inverse: np.ndarray, other: Shot, other_inverse: np.ndarray) -> float:
    """The share of the view that the other sees too, times a factor that falls for small and for wide angles."""
    x, y, ratio = Warp(shot, other)(inverse)
    depth = 1 / inverse
    height, width = other_inverse.shape
    inside = (x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1)
    row, column = (np.clip(np.rint(v), 0, n - 1).astype(int) for v, n in ((y, height), (x, width)))
    shared = inside & (np.abs(np.log(depth * ratio * other_inverse[row, column])) < SAME_SURFACE)
    if not shared.any():
        return 0.0
    rays = shot.rays()[shared]
    points = rays * depth[shared][:, None]
    from_other = points - (shot.camera_from_world @ np.append(other.centre, 1))[:3]
    cosine = (points * from_other).sum(1) / (np.linalg.norm(points, axis=1) * np.linalg.norm(from_other, axis=1))
    angle = float(np.degrees(np.arccos(np.clip(np.median(cosine), -1, 1))))
    factor = min(angle / GOOD_ANGLE, 1.0) * np.exp(-((max(angle - WIDE_ANGLE, 0.0) / ANGLE_FALL) ** 2))
    return float(shared.mean() * factor)


def confirm(view: Stereo, others: Sequence[Stereo]) -> np.ndarray:
    """Belief ``[h,w]`` in 0..1 in a view's depth: 0 where no other view's own depth of the place is the same.

    It grows with the correlation, with the number of views that agree, and with how much depth moves pixels at all.
    """
    votes = np.zeros(view.inverse.shape, np.float32)
    for other in others:
        x, y, ratio = Warp(view.shot, other.shot)(view.inverse)
        there = _nearest(np.where(other.score > LEAST_SCORE, other.inverse, 0), x, y)
        tolerance = np.clip(PIXELS / np.maximum(view.movement, 1e-3), LEAST_TOLERANCE, MOST_TOLERANCE)
        votes += np.abs(there * ratio / view.inverse - 1) < tolerance
    certain = 1 / (1 + (MATCHING_DEVIATION / (PRIOR_DEVIATION * np.maximum(view.movement, 1e-3))) ** 2)
    belief = np.maximum(view.score, 0) ** 2 * np.minimum(votes, ENOUGH) / ENOUGH * certain
    return np.where((view.score > LEAST_SCORE) & (votes > 0), belief, 0).astype(np.float32)


def agreement(view: Stereo, belief: np.ndarray) -> float:
    """The mean belief in the places where a view matches others: mostly below 0.07 where cameras are 2 degrees off."""
    return float(belief.sum() / max((view.score > LEAST_SCORE).sum(), 1))


def pull(
    shot: Shot, inverse: np.ndarray, others: Sequence[tuple[Shot, np.ndarray, np.ndarray]]
) -> tuple[np.ndarray, np.ndarray]:
    """Where other views would have a view's surface: a change ``[h,w]`` of the logarithm of its inverse depth.

    Only surfaces that are nearly the same pull. So those that no match confirms come to lie together too.

    Args:
        shot: the view.
        inverse: ``[h,w]``, its inverse depth.
        others: views with their inverse depth and the belief in it.

    Returns:
        The change and its weight.
    """
    change, weight = np.zeros_like(inverse), np.zeros_like(inverse)
    for other, other_inverse, belief in others:
        x, y, ratio = Warp(shot, other)(inverse)
        there, share = (
            cv2.remap(values, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
            for values in (other_inverse, belief + np.float32(UNCONFIRMED))
        )
        difference = np.log(np.maximum(there * ratio / inverse, np.float32(1e-6)))
        share = share / (1 + (difference / np.float32(NEARLY_SAME)) ** 2) ** 2
        change += share * difference
        weight += share
    return change / np.maximum(weight, np.float32(1e-6)), weight


def seen_through(shot: Shot, inverse: np.ndarray, others: Sequence[tuple[Shot, np.ndarray, np.ndarray]]) -> np.ndarray:
    """``[h,w] bool``: places of a view that stand before what another view is sure to see.

    Args:
        shot: the view.
        inverse: ``[h,w]``, its inverse depth.
        others: views with their inverse depth and the belief in it, 0 where nothing confirms it.
    """
    found = np.zeros(inverse.shape, bool)
    for other, other_inverse, belief in others:
        x, y, ratio = Warp(shot, other)(inverse)
        there = _nearest(np.where(belief > 0, other_inverse, 0), x, y)
        found |= (there > 0) & (there * ratio < inverse * np.float32(np.exp(-IN_FRONT)))
    return found


def _nearest(values: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """``values`` at the nearest pixels, 0 outside: what lies between two surfaces must not be mixed."""
    return cv2.remap(values.astype(np.float32), x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
