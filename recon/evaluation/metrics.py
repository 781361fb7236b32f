"""How far cameras, depth maps and clouds are from the truth: pure functions over numpy arrays.

Rotations and directions are compared in degrees, positions in units of the truth. Relative figures need no alignment of
the two worlds; each function that aligns says how. NaN stands for "cannot be told".
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from recon import geometry

NO_BASELINE = 1e-3
"""Two true cameras closer than this share of the largest true baseline have no direction from one to the other."""

# --- poses ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PairErrors:
    """Errors of the relative poses of all pairs of views ``i < j``, in degrees.

    Attributes:
        rotation: ``[P]``, angle between the two rotations ``j_from_i``; 180 where a view has no pose.
        direction: ``[P]``, angle between the two directions of the translation of ``j_from_i``, which is where camera i
            stands as seen from camera j; its sign counts. 180 where a view has no pose or the two estimated cameras
            coincide; NaN where the true ones do (see `NO_BASELINE`).
    """

    rotation: np.ndarray
    direction: np.ndarray

    @property
    def worst(self) -> np.ndarray:
        """``[P]``: the larger of both; the rotation alone where the direction cannot be told."""
        return np.fmax(self.rotation, self.direction)


def pair_errors(truth: np.ndarray, estimate: np.ndarray) -> PairErrors:
    """Compare the relative poses of all pairs of views; invariant to a similarity of either world.

    Args:
        truth: ``world_from_camera [N,4,4]``.
        estimate: ``world_from_camera [N,4,4]`` in a world of its own, NaN for a view without a pose.
    """
    truth, estimate = np.asarray(truth, np.float64), np.asarray(estimate, np.float64)
    first, second = np.triu_indices(len(truth), 1)
    true = geometry.invert(truth[second]) @ truth[first]
    guess = geometry.invert(estimate[second]) @ estimate[first]

    rotation = geometry.rotation_angle(np.swapaxes(true[:, :3, :3], -1, -2) @ guess[:, :3, :3])
    true_baseline, guess_baseline = np.linalg.norm(true[:, :3, 3], axis=-1), np.linalg.norm(guess[:, :3, 3], axis=-1)
    across = np.linalg.norm(np.cross(true[:, :3, 3], guess[:, :3, 3]), axis=-1)
    along = (true[:, :3, 3] * guess[:, :3, 3]).sum(-1)
    direction = np.degrees(np.arctan2(across, along))

    direction[guess_baseline == 0] = 180
    missing = ~np.isfinite(guess).all((-1, -2))
    rotation[missing] = direction[missing] = 180
    direction[true_baseline <= NO_BASELINE * true_baseline.max(initial=0)] = np.nan
    return PairErrors(rotation, direction)


def accuracy(errors: np.ndarray, threshold: float) -> float:
    """Share of ``errors [P]`` below ``threshold``: RRA@t of rotations, RTA@t of directions. NaN does not count."""
    errors = errors[~np.isnan(errors)]
    return float((errors < threshold).mean()) if len(errors) else np.nan


def area_under_curve(errors: np.ndarray, limit: int = 30) -> float:
    """AUC@limit of ``errors [P]`` in degrees, in [0, 1].

    The mean of `accuracy` at 1, 2, ... ``limit`` degrees, as PoseDiffusion (Wang et al. 2023, section 4) and VGGT
    (Wang et al. 2025, section 4.1) report it for the larger of the rotation's and the direction's error of each pair.
    """
    return float(np.mean([accuracy(errors, threshold) for threshold in range(1, limit + 1)]))


def trajectory_error(truth: np.ndarray, estimate: np.ndarray) -> float:
    """ATE: root mean square distance of camera centres after the best similarity (Umeyama 1991).

    Over the views that have a pose. NaN for fewer than three of them, which a similarity brings together whatever they
    are.

    Args:
        truth: ``world_from_camera [N,4,4]``.
        estimate: ``world_from_camera [N,4,4]``, NaN for a view without a pose.
    """
    posed = np.isfinite(estimate).all((-1, -2))
    if posed.sum() < 3:
        return np.nan
    true, guess = np.asarray(truth[posed, :3, 3], np.float64), np.asarray(estimate[posed, :3, 3], np.float64)
    aligned = geometry.transform(geometry.similarity(true, guess), guess)
    return float(np.sqrt(((aligned - true) ** 2).sum(-1).mean()))


# --- depth ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DepthErrors:
    """Errors of depth over the pixels of a whole scene, after one scale for all of them.

    Attributes:
        absolute_relative: mean of ``|estimate - truth| / truth``.
        root_mean_square: in units of the truth.
        within_25_percent: share of pixels where ``max(estimate / truth, truth / estimate) < 1.25``.
        scale: what the estimate was multiplied with: the median of ``truth / estimate``.
    """

    absolute_relative: float
    root_mean_square: float
    within_25_percent: float
    scale: float


def depth_errors(truth: np.ndarray, estimate: np.ndarray) -> DepthErrors:
    """Compare depth after the one median scale per scene.

    Pixels count where both are known; how many the estimate leaves unknown is another question.

    Args:
        truth: z-depth of any shape, all views of the scene together; 0 or not finite where unknown.
        estimate: the same shape.
    """
    known = np.isfinite(truth) & (truth > 0) & np.isfinite(estimate) & (estimate > 0)
    if not known.any():
        return DepthErrors(np.nan, np.nan, np.nan, np.nan)
    true, guess = truth[known].astype(np.float64), estimate[known].astype(np.float64)
    scale = float(np.median(true / guess))
    guess *= scale
    difference = np.abs(guess - true)
    return DepthErrors(
        absolute_relative=float((difference / true).mean()),
        root_mean_square=float(np.sqrt((difference**2).mean())),
        within_25_percent=float((np.maximum(guess / true, true / guess) < 1.25).mean()),
        scale=scale,
    )


# --- clouds --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CloudErrors:
    """Errors of a cloud that was brought into the world of the truth before.

    Attributes:
        accuracy: mean distance from an estimated point to the nearest true one.
        completeness: mean distance from a true point to the nearest estimated one.
        chamfer: the mean of both.
        precision: share of estimated points within the threshold of a true one.
        recall: share of true points within the threshold of an estimated one.
        f_score: harmonic mean of precision and recall (Knapitsch et al. 2017, equation 6).
    """

    accuracy: float
    completeness: float
    chamfer: float
    precision: float
    recall: float
    f_score: float


def cloud_errors(truth: np.ndarray, estimate: np.ndarray, threshold: float) -> CloudErrors:
    """Compare clouds ``[N,3]`` and ``[M,3]`` of one world; ``threshold`` is a distance in its units.

    Points that are not finite are left out; NaN all through where either cloud is empty.
    """
    truth, estimate = truth[np.isfinite(truth).all(-1)], estimate[np.isfinite(estimate).all(-1)]
    if not len(truth) or not len(estimate):
        return CloudErrors(*[np.nan] * 6)
    to_truth, to_estimate = nearest_distance(truth, estimate), nearest_distance(estimate, truth)
    precision, recall = float((to_truth < threshold).mean()), float((to_estimate < threshold).mean())
    return CloudErrors(
        accuracy=float(to_truth.mean()),
        completeness=float(to_estimate.mean()),
        chamfer=float((to_truth.mean() + to_estimate.mean()) / 2),
        precision=precision,
        recall=recall,
        f_score=2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0,
    )


def nearest_distance(points: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """``[M] float32``: the distance from each of ``queries [M,3]`` to the nearest of ``points [N,3]``, N >= 1."""
    centre = points.mean(0)  # float32 keeps more digits near the origin
    tree = cv2.flann.Index(np.float32(points - centre), {"algorithm": 4})  # 4: one k-d tree, whose search can be exact
    _, squared = tree.knnSearch(np.float32(queries - centre), 1, params={"checks": -1})  # -1: exact
    return np.sqrt(squared[:, 0])
