"""What pairs of photos share: SIFT features, matches, and two-view geometry verified through pycolmap.

Everything here is in *working pixels*: those of the photo resized so that its long side is `LONG_SIDE`, centres at
+0.5. Thresholds then mean the same angle on every photo of one lens. Seeds are fixed: the same photos, the same result.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import pycolmap

from recon.scene import View

LONG_SIDE = 1024
BLOCK = 512  # rows of a table of likeness, so that it stays in the processor's cache
SEED = 1
EPIPOLAR_ERROR = 2.5  # of an inlier, in working pixels
LARGEST_ANGLE = 50.0  # degrees: SIFT does not recognise a thing from farther around


@dataclass
class Features:
    """The features of one view.

    Attributes:
        size: ``(width, height)`` of the view in working pixels.
        pixels: ``[N,2] float64``.
        descriptors: ``[N,128] float32``, unit length (RootSIFT, Arandjelovic and Zisserman 2012).
    """

    size: tuple[float, float]
    pixels: np.ndarray
    descriptors: np.ndarray


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


def working_size(view: View) -> tuple[float, float]:
    """``(width, height)`` of a view in working pixels."""
    width, height = view.size
    scale = LONG_SIDE / max(width, height)
    return width * scale, height * scale


def transform_pixels(a_from_b: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Apply an affine ``[3,3]`` to pixels ``[N,2]``."""
    return pixels @ a_from_b[:2, :2].T + a_from_b[:2, 2]


def extract(view: View, limit: int = 4096) -> Features:
    """SIFT features of a view, the strongest ``limit`` of them; none where the picture is blank or masked."""
    grey = cv2.cvtColor(view.image, cv2.COLOR_RGB2GRAY)
    size = working_size(view)
    if max(view.size) > LONG_SIDE:
        grey = cv2.resize(grey, (max(1, round(size[0])), max(1, round(size[1]))), interpolation=cv2.INTER_AREA)
    detector = cv2.SIFT.create(nfeatures=limit, contrastThreshold=0.015, edgeThreshold=12, enable_precise_upscale=True)
    keypoints, descriptors = detector.detectAndCompute(grey, None)
    if not keypoints:
        return Features(size, np.zeros((0, 2)), np.zeros((0, 128), np.float32))
    pixels = np.array([keypoint.pt for keypoint in keypoints], np.float64) + 0.5
    pixels *= np.array(size) / np.array([grey.shape[1], grey.shape[0]])
    if view.mask is not None:
        columns, rows = (pixels * np.array(view.size) / np.array(size)).astype(int).T
        inside = view.mask[np.minimum(rows, view.size[1] - 1), np.minimum(columns, view.size[0] - 1)]
        pixels, descriptors = pixels[inside], descriptors[inside]
    descriptors = np.sqrt(descriptors / np.maximum(descriptors.sum(1, keepdims=True), 1e-12))
    return Features(size, pixels[:limit], descriptors[:limit].astype(np.float32))


def match(first: Features, second: Features, ratio: float = 0.85) -> np.ndarray:
    """Mutual nearest neighbours that pass Lowe's ratio test: ``[M,2] int``."""
    if min(len(first.pixels), len(second.pixels)) < 2:
        return np.zeros((0, 2), int)
    nearest, good = [], []
    for start in range(0, len(first.pixels), BLOCK):
        likeness = first.descriptors[start : start + BLOCK] @ second.descriptors.T
        rows = np.arange(len(likeness))
        best = likeness.argmax(1)
        distance = 1 - likeness[rows, best]
        likeness[rows, best] = -1
        nearest.append(best)
        good.append(distance < ratio**2 * (1 - likeness.max(1)))
    forward = np.concatenate(nearest)
    rows = np.flatnonzero(np.concatenate(good))
    if len(rows) == 0:
        return np.zeros((0, 2), int)
    backward = (second.descriptors[forward[rows]] @ first.descriptors.T).argmax(1)
    rows = rows[backward == rows]
    return np.stack([rows, forward[rows]], 1)


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
    first: int, second: int, features: list[Features], matches: np.ndarray, cameras: list[pycolmap.Camera]
) -> Pair | None:
    """The relative pose that most matches agree on, or None where they agree no better than by chance."""
    if len(matches) < 10:
        return None
    pixels_first, pixels_second = features[first].pixels[matches[:, 0]], features[second].pixels[matches[:, 1]]
    options = pycolmap.RANSACOptions()
    options.max_error, options.random_seed = EPIPOLAR_ERROR, SEED
    options.min_num_trials, options.max_num_trials, options.confidence = 100, 2000, 0.9999
    found = pycolmap.estimate_relative_pose(cameras[first], pixels_first, cameras[second], pixels_second, options)
    if found is None or not meaningful(int(found["inlier_mask"].sum()), len(matches), features[second].size):
        return None
    inliers = found["inlier_mask"]
    refined = pycolmap.refine_relative_pose(
        found["cam2_from_cam1"], cameras[first], pixels_first, cameras[second], pixels_second, inliers
    )
    pose = found["cam2_from_cam1"] if refined is None else refined["cam2_from_cam1"]
    second_from_first = np.vstack([pose.matrix(), [0, 0, 0, 1]])
    rays_first = np.column_stack([cameras[first].cam_from_img(pixels_first), np.ones(len(matches))])
    rays_second = np.column_stack([cameras[second].cam_from_img(pixels_second), np.ones(len(matches))])
    inliers = inliers & in_front(second_from_first, rays_first, rays_second)
    if not meaningful(int(inliers.sum()), len(matches), features[second].size):
        return None
    angles = ray_angles(rays_first[inliers] @ second_from_first[:3, :3].T, rays_second[inliers])
    angle = float(np.median(angles))
    if angle > LARGEST_ANGLE:
        return None
    return Pair(first, second, matches[inliers], second_from_first, angle)


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
