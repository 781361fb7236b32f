"""Two-view geometry through pycolmap: the relative pose that the matches of a pair agree on, if it is beyond chance.

Matches alone do not always tell: on a plane (a wall, a screen) two poses explain them equally well, and with a small
baseline a turn looks like a step. The model's depth, rough as it is, tells such poses apart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import pycolmap

from recon import geometry
from recon.alignment.matching import Features

SEED = 1
EPIPOLAR_ERROR = 2.5  # of an inlier, in working pixels
LARGEST_ANGLE = 50.0  # degrees: SIFT does not recognise a thing from farther around
CLEARLY = 0.8  # times the contradiction with depth, to prefer another pose
EXPECTED_ERROR = 4.0  # times the error of an inlier, for a pose that the model expects
FEWEST, FEWEST_PER_DEGREE = 12, 0.75  # inliers of a pose, and more for each degree that it differs from the model's
TURN = 20.0  # degrees by which the model may well be wrong
EQUAL = 0.85  # a pose with so many of the best one's inliers explains the matches as well


@dataclass
class Pair:
    """What two views share, once geometry has verified it.

    Attributes:
        first: index of a view.
        second: index of a later view.
        matches: ``[M,2] int``, features of the first and of the second that obey one epipolar geometry.
        second_from_first: ``[4,4]`` relative pose with a baseline of length 1.
        angle: median angle in degrees between the two rays of a match; near 0 the baseline says little.
    """

    first: int
    second: int
    matches: np.ndarray
    second_from_first: np.ndarray
    angle: float


def meaningful(inliers: int, matches: int, size: tuple[float, float], error: float = EPIPOLAR_ERROR) -> bool:
    """Whether so many matches on one epipolar geometry are beyond chance (Moisan and Stival 2004, eq. 15).

    A random match lies within ``error`` of its epipolar line with probability at most 2 · error · diagonal / area.
    """
    if inliers < 10:
        return False
    chance = min(1.0, 2 * error * math.hypot(*size) / (size[0] * size[1]))
    choose = _log_choose(matches, inliers) + _log_choose(inliers, 5)
    return bool(math.log(10 * max(1, matches - 5)) + choose + (inliers - 5) * math.log(chance) < math.log(1e-3))


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def ray_angles(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Angles ``[N]`` in degrees between directions ``[N,3]``."""
    cross = np.linalg.norm(np.cross(first, second), axis=-1)
    return np.degrees(np.arctan2(cross, (first * second).sum(-1)))


def verify_pair(
    first: int,
    second: int,
    features: Sequence[Features],
    matches: np.ndarray,
    cameras: Sequence[pycolmap.Camera],
    depths: Sequence[np.ndarray],
    error: float = EPIPOLAR_ERROR,
    expected: np.ndarray | None = None,
) -> Pair | None:
    """The relative pose that most matches agree on, or None where they agree no better than by chance.

    Args:
        first: index of a view.
        second: index of a later view.
        features: of all views.
        matches: ``[M,2]``, features of the first and of the second.
        cameras: of all views, in working pixels.
        depths: the model's z-depth at the features of all views, nan where unknown.
        error: of an inlier, in working pixels.
        expected: ``second_from_first [4,4]`` as the model has it, or None.
    """
    if len(matches) < 10:
        return None
    pixels = features[first].pixels[matches[:, 0]], features[second].pixels[matches[:, 1]]
    rays = _rays(cameras[first], pixels[0]), _rays(cameras[second], pixels[1])
    options = pycolmap.RANSACOptions()
    options.max_error, options.random_seed = error, SEED
    options.min_num_trials, options.max_num_trials, options.confidence = 100, 2000, 0.9999
    found = pycolmap.estimate_relative_pose(cameras[first], pixels[0], cameras[second], pixels[1], options)
    size = features[second].size
    if found is None or not meaningful(int(found["inlier_mask"].sum()), len(matches), size, error):
        return None
    ends = cameras[first], cameras[second]
    focal = min(camera.focal_length for camera in ends)
    start = np.vstack([found["cam2_from_cam1"].matrix(), [0, 0, 0, 1]])
    starts = [(start, error), *((pose, error) for pose in _poses_of_plane(pixels, found["inlier_mask"], *ends, error))]
    if expected is not None and np.linalg.norm(expected[:3, 3]) > 0:
        pose = expected.copy()
        pose[:3, 3] /= np.linalg.norm(pose[:3, 3])
        starts.append((pose, EXPECTED_ERROR * error))
    explained = []
    for start, reach in starts:
        pose, inliers = start, _agree(start, *rays, reach / focal)
        for _ in range(2 if reach > error else 1):
            if inliers.sum() < 10:
                break
            refined = pycolmap.refine_relative_pose(
                pycolmap.Rigid3d(pose[:3]), cameras[first], pixels[0], cameras[second], pixels[1], inliers
            )
            pose = pose if refined is None else np.vstack([refined["cam2_from_cam1"].matrix(), [0, 0, 0, 1]])
            inliers = _agree(pose, *rays, error / focal)
        else:
            explained.append((pose, inliers))
    if not explained:
        return None
    most = max(int(inliers.sum()) for _, inliers in explained)
    equal = [(pose, inliers) for pose, inliers in explained if inliers.sum() >= EQUAL * most]
    depth = depths[first][matches[:, 0]], depths[second][matches[:, 1]]
    # The first pose stays unless another one is clearly better: depth is rough.
    cost = [
        _contradiction(pose, inliers, rays, depth)
        * (CLEARLY if index == 0 else 1)
        * (1 + (_turn(pose, expected) / TURN) ** 2)
        for index, (pose, inliers) in enumerate(equal)
    ]
    pose, inliers = equal[int(np.argmin(cost))]
    # Repeated things may agree on a false pose, so what surprises the model needs more of them.
    if inliers.sum() < FEWEST + FEWEST_PER_DEGREE * _turn(pose, expected):
        return None
    if not meaningful(int(inliers.sum()), len(matches), size, error):
        return None
    angle = float(np.median(ray_angles(rays[0][inliers] @ pose[:3, :3].T, rays[1][inliers])))
    return None if angle > LARGEST_ANGLE else Pair(first, second, matches[inliers], pose, angle)


def _turn(pose: np.ndarray, expected: np.ndarray | None) -> float:
    """Degrees between a pose's rotation and the expected one; 0 where nothing is expected."""
    return 0.0 if expected is None else float(geometry.rotation_angle(expected[:3, :3].T @ pose[:3, :3]))


def _rays(camera: pycolmap.Camera, pixels: np.ndarray) -> np.ndarray:
    return np.column_stack([camera.cam_from_img(pixels), np.ones(len(pixels))])


def _poses_of_plane(
    pixels: tuple[np.ndarray, ...],
    inliers: np.ndarray,
    first: pycolmap.Camera,
    second: pycolmap.Camera,
    error: float,
) -> list[np.ndarray]:
    """Poses ``second_from_first [4,4]`` if the inliers lie on a plane (Malis and Vargas 2007), with either sign."""
    options = pycolmap.RANSACOptions()
    options.max_error, options.random_seed = 2 * error, SEED
    options.min_num_trials, options.max_num_trials = 100, 1000
    found = pycolmap.estimate_homography_matrix(pixels[0][inliers], pixels[1][inliers], options)
    if found is None or found["num_inliers"] < 0.5 * inliers.sum():
        return []
    matrix = np.linalg.inv(second.calibration_matrix()) @ found["H"] @ first.calibration_matrix()
    _, rotations, translations, _ = cv2.decomposeHomographyMat(matrix, np.eye(3))
    poses = []
    for rotation, translation in zip(rotations, translations, strict=True):
        length = float(np.linalg.norm(translation))
        if length > 1e-9:
            poses.append(geometry.rigid(rotation, translation[:, 0] / length))
    return poses


def _agree(second_from_first: np.ndarray, first: np.ndarray, second: np.ndarray, error: float) -> np.ndarray:
    """``[N] bool``: rays ``[N,3]`` with z = 1 whose Sampson error is small and that meet in front of both cameras."""
    x, y, z = second_from_first[:3, 3]
    essential = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]) @ second_from_first[:3, :3]
    lines_second, lines_first = first @ essential.T, second @ essential
    squares = (lines_second[:, :2] ** 2).sum(1) + (lines_first[:, :2] ** 2).sum(1)
    sampson = np.abs((second * lines_second).sum(1)) / np.sqrt(np.maximum(squares, 1e-18))
    return (sampson < error) & in_front(second_from_first, first, second)


def _contradiction(
    pose: np.ndarray,
    inliers: np.ndarray,
    rays: tuple[np.ndarray, np.ndarray],
    depth: tuple[np.ndarray, np.ndarray],
) -> float:
    """How far, in units of the picture plane, the depth of either view carries matches from where they are."""
    total = 0.0
    for second_from_first, (here, there), z in (
        (pose, rays, depth[0]),
        (geometry.invert(pose), rays[::-1], depth[1]),
    ):
        good = inliers & np.isfinite(z) & (z > 0)
        if good.sum() < 5:
            continue
        moved, there = (here[good] * z[good, None]) @ second_from_first[:3, :3].T, there[good]
        # (moved + s t) x there = 0 is linear in the unknown length s of the baseline: a robust scalar fit.
        across, fixed = np.cross(second_from_first[:3, 3], there), -np.cross(moved, there)
        weights = np.ones(len(moved))
        for _ in range(5):
            length = max(
                (weights * (across * fixed).sum(1)).sum() / max((weights * (across**2).sum(1)).sum(), 1e-18), 0
            )
            carried = moved + length * second_from_first[:3, 3]
            error = np.linalg.norm(carried[:, :2] / np.maximum(carried[:, 2:], 1e-6) - there[:, :2], axis=1)
            weights = 1 / (moved[:, 2] ** 2 * (1 + (error / (np.median(error) + 1e-9)) ** 2))
        total += float(np.median(error))
    return total


def in_front(second_from_first: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """``[N] bool``: whether rays ``[N,3]`` of two cameras meet before both, or run as good as parallel."""
    turned = first @ second_from_first[:3, :3].T
    translation = second_from_first[:3, 3]
    cosine = (turned * second).sum(1) / np.linalg.norm(turned, axis=1) / np.linalg.norm(second, axis=1)
    turned, second = (rays / np.linalg.norm(rays, axis=1, keepdims=True) for rays in (turned, second))
    along, across = turned @ translation, second @ translation
    # Closest points of the rays translation + a · turned and b · second (least squares), times 1 - cosine² >= 0.
    depth_first, depth_second = cosine * across - along, across - cosine * along
    parallel = 1 - cosine**2 < np.radians(0.1) ** 2
    return parallel | ((depth_first > 0) & (depth_second > 0))
