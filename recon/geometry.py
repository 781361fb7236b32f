"""Projection, rotations, similarity, PnP, normals: small pure functions over numpy arrays.

OpenCV axes (x right, y down, z forward), pixel centres at +0.5, quaternions wxyz, ``a_from_b`` takes b to a.
"""

from __future__ import annotations

import cv2
import numpy as np

# --- pixels and rays -----------------------------------------------------------------------------------------------


def pixel_grid(height: int, width: int) -> np.ndarray:
    """Centres of all pixels: ``[H,W,2] float32``, (x, y), the top-left one at (0.5, 0.5)."""
    x, y = np.meshgrid(np.arange(width, dtype=np.float32) + 0.5, np.arange(height, dtype=np.float32) + 0.5)
    return np.stack([x, y], -1)


def unproject(depth: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    """Z-depth ``[H,W]`` and intrinsics ``[3,3]`` to points in the camera ``[H,W,3] float32``."""
    height, width = depth.shape
    x = (np.arange(width, dtype=np.float32) + 0.5 - intrinsics[0, 2]) / intrinsics[0, 0]
    y = (np.arange(height, dtype=np.float32) + 0.5 - intrinsics[1, 2]) / intrinsics[1, 1]
    depth = depth.astype(np.float32)
    return np.stack([depth * x[None, :], depth * y[:, None], depth], -1).astype(np.float32)


def project(points_in_camera: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    """Points ``[...,3]`` to pixels ``[...,2]``; not finite for points in the camera's own plane."""
    with np.errstate(divide="ignore", invalid="ignore"):
        pixels = points_in_camera[..., :2] / points_in_camera[..., 2:]
    return pixels * intrinsics[[0, 1], [0, 1]] + intrinsics[:2, 2]


def intrinsics_from_focal(focal: float | tuple[float, float], width: int, height: int) -> np.ndarray:
    """``[3,3] float32`` with the principal point in the centre; ``focal`` in pixels, one or (x, y)."""
    focal_x, focal_y = focal if isinstance(focal, tuple) else (focal, focal)
    return np.array([[focal_x, 0, width / 2], [0, focal_y, height / 2], [0, 0, 1]], np.float32)


def for_opencv(b_from_a: np.ndarray) -> np.ndarray:
    """A map ``[3,3]`` between two pictures' pixels as OpenCV takes it, which counts from the middle of the first."""
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    return np.linalg.inv(half) @ b_from_a @ half


def intrinsics_from_fov(fov_x: float, fov_y: float, width: int, height: int) -> np.ndarray:
    """``[3,3] float32`` from the full horizontal and vertical fields of view in radians."""
    return intrinsics_from_focal((width / 2 / np.tan(fov_x / 2), height / 2 / np.tan(fov_y / 2)), width, height)


def resize_transform(from_size: tuple[int, int], to_size: tuple[int, int]) -> np.ndarray:
    """``to_from_from [3,3] float32``: pixels of a picture of ``from_size`` (width, height) to the resized one's."""
    return np.diag([to_size[0] / from_size[0], to_size[1] / from_size[1], 1]).astype(np.float32)


# --- rigid and similarity transforms -------------------------------------------------------------------------------


def transform(a_from_b: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Apply ``[4,4]`` to points ``[...,3]``."""
    return points @ a_from_b[:3, :3].T + a_from_b[:3, 3]


def invert(a_from_b: np.ndarray) -> np.ndarray:
    """Inverse of rigid transforms ``[...,4,4]``."""
    rotation = np.swapaxes(a_from_b[..., :3, :3], -1, -2)
    inverse = np.zeros_like(a_from_b)
    inverse[..., :3, :3] = rotation
    inverse[..., :3, 3] = -(rotation @ a_from_b[..., :3, 3:])[..., 0]
    inverse[..., 3, 3] = 1
    return inverse


def rigid(rotation: np.ndarray, translation: np.ndarray) -> np.ndarray:
    """``[4,4]`` of ``[3,3]`` and ``[3]``."""
    matrix = np.eye(4, dtype=np.result_type(rotation, translation))
    matrix[:3, :3], matrix[:3, 3] = rotation, translation
    return matrix


def rotation_from_quaternion(quaternion: np.ndarray) -> np.ndarray:
    """Quaternions wxyz ``[...,4]``, any length but 0, to rotations ``[...,3,3]``."""
    w, x, y, z = np.moveaxis(quaternion / np.linalg.norm(quaternion, axis=-1, keepdims=True), -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, -1) for row in rows], -2)


def quaternion_from_rotation(rotation: np.ndarray) -> np.ndarray:
    """Rotation ``[3,3]`` to a unit quaternion wxyz ``[4]`` with w >= 0 (Bar-Itzhack 2000, eq. 3)."""
    r = np.asarray(rotation, np.float64)
    k = np.array(
        [
            [r[0, 0] + r[1, 1] + r[2, 2], r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1]],
            [r[2, 1] - r[1, 2], r[0, 0] - r[1, 1] - r[2, 2], r[0, 1] + r[1, 0], r[0, 2] + r[2, 0]],
            [r[0, 2] - r[2, 0], r[0, 1] + r[1, 0], r[1, 1] - r[0, 0] - r[2, 2], r[1, 2] + r[2, 1]],
            [r[1, 0] - r[0, 1], r[0, 2] + r[2, 0], r[1, 2] + r[2, 1], r[2, 2] - r[0, 0] - r[1, 1]],
        ]
    )
    quaternion = np.linalg.eigh(k)[1][:, -1]
    return quaternion if quaternion[0] >= 0 else -quaternion


def quaternions_from_rotations(rotations: np.ndarray) -> np.ndarray:
    """Many exact rotations ``[...,3,3]`` to unit quaternions wxyz ``[...,4]`` with w >= 0, faster than one by one."""
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = (np.moveaxis(rotations, (-2, -1), (0, 1))[row] for row in range(3))
    products = np.stack(  # four times each component with each, that is four times the quaternion's outer square
        [
            np.stack([1 + xx + yy + zz, zy - yz, xz - zx, yx - xy], -1),
            np.stack([zy - yz, 1 + xx - yy - zz, yx + xy, xz + zx], -1),
            np.stack([xz - zx, yx + xy, 1 + yy - xx - zz, zy + yz], -1),
            np.stack([yx - xy, xz + zx, zy + yz, 1 + zz - xx - yy], -1),
        ],
        -2,
    )
    largest = np.diagonal(products, axis1=-2, axis2=-1).argmax(-1)[..., None, None]
    quaternions = np.take_along_axis(products, largest, -2)[..., 0, :]
    quaternions = quaternions / np.linalg.norm(quaternions, axis=-1, keepdims=True)
    return np.where(quaternions[..., :1] < 0, -quaternions, quaternions)


def rotation_angle(rotation: np.ndarray) -> np.ndarray:
    """Angles ``[...]`` in degrees of rotations ``[...,3,3]``; exact near 0 and 180 degrees."""
    skew = np.stack(
        [
            rotation[..., 2, 1] - rotation[..., 1, 2],
            rotation[..., 0, 2] - rotation[..., 2, 0],
            rotation[..., 1, 0] - rotation[..., 0, 1],
        ],
        -1,
    )
    trace = np.trace(rotation, axis1=-2, axis2=-1)
    return np.degrees(np.arctan2(np.linalg.norm(skew, axis=-1), trace - 1))


def similarity(target: np.ndarray, source: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Least-squares ``target_from_source [4,4]`` with one scale (Umeyama 1991, eq. 40-42).

    Args:
        target: ``[N,3]``.
        source: ``[N,3]``, N >= 1; fewer than three points leave a part of the rotation to chance.
        weights: ``[N]``, not negative, or None.
    """
    target, source = np.asarray(target, np.float64), np.asarray(source, np.float64)
    weights = np.ones(len(target)) if weights is None else np.asarray(weights, np.float64)
    weights = weights / weights.sum()
    target_mean, source_mean = weights @ target, weights @ source
    target_centred, source_centred = target - target_mean, source - source_mean
    u, singular, vt = np.linalg.svd((target_centred * weights[:, None]).T @ source_centred)
    sign = np.array([1, 1, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    rotation = u @ np.diag(sign) @ vt
    spread = weights @ (source_centred**2).sum(-1)
    scale = (singular * sign).sum() / spread if spread > 0 else 1.0
    return rigid(scale * rotation, target_mean - scale * rotation @ source_mean)


def apply_similarity(target_from_source: np.ndarray, world_from_camera: np.ndarray) -> np.ndarray:
    """Move cameras ``[...,4,4]`` by a similarity ``[4,4]``; they stay rigid (the scale moves their centres only)."""
    scale = np.cbrt(np.linalg.det(target_from_source[:3, :3]))
    moved = target_from_source @ world_from_camera
    moved[..., :3, :3] /= scale
    return moved


def align_cameras(target: np.ndarray, source: np.ndarray, scaled: bool = True) -> np.ndarray:
    """``target_from_source [4,4] float64`` that brings cameras to others best, however few or however they stand.

    The mean of the rotations between them (chordal: Hartley et al. 2013, section 5.3), then least squares of the
    centres.

    Args:
        target: ``world_from_camera [N,4,4]``, N >= 1.
        source: ``world_from_camera [N,4,4]``.
        scaled: find a scale, too; it stays 1 where centres that coincide cannot tell it.
    """
    target, source = np.asarray(target, np.float64), np.asarray(source, np.float64)
    turns = target[:, :3, :3] @ np.swapaxes(source[:, :3, :3], -1, -2)
    rotation = nearest_rotation(turns.sum(0))
    target_mean, source_mean = target[:, :3, 3].mean(0), source[:, :3, 3].mean(0)
    moved = (source[:, :3, 3] - source_mean) @ rotation.T
    spread, common = (moved**2).sum(), (moved * (target[:, :3, 3] - target_mean)).sum()
    scale = common / spread if scaled and spread > 0 and common > 0 else 1.0
    return rigid(scale * rotation, target_mean - scale * rotation @ source_mean)


def nearest_rotation(matrix: np.ndarray) -> np.ndarray:
    """The rotation ``[3,3] float64`` nearest to ``[3,3]`` (orthogonal Procrustes: Schoenemann 1966)."""
    u, _, vt = np.linalg.svd(np.asarray(matrix, np.float64))
    return u @ np.diag([1, 1, np.sign(np.linalg.det(u) * np.linalg.det(vt))]) @ vt


# --- cameras from points, surfaces ---------------------------------------------------------------------------------


def pnp(
    points: np.ndarray,
    pixels: np.ndarray,
    intrinsics: np.ndarray,
    threshold: float = 4.0,
    minimum: int = 8,
    iterations: int = 1000,
) -> tuple[np.ndarray, np.ndarray] | None:
    """A camera from 3D-2D correspondences: RANSAC, then refinement on the inliers.

    Args:
        points: ``[N,3]`` in the world.
        pixels: ``[N,2]``.
        intrinsics: ``[3,3]``.
        threshold: largest reprojection error of an inlier, in pixels.
        minimum: fewest inliers to believe.
        iterations: of RANSAC, at most.

    Returns:
        ``world_from_camera [4,4] float64`` and the inliers ``[N] bool``, or None where none is found.
    """
    if len(points) < max(minimum, 6):
        return None
    points, pixels = np.ascontiguousarray(points, np.float64), np.ascontiguousarray(pixels, np.float64)
    matrix = np.asarray(intrinsics, np.float64)
    size = float(np.abs(points - points.mean(0)).mean()) or 1.0
    points = points / size  # what is small in its unit is not small
    cv2.setRNGSeed(0)
    try:
        found, rotation, translation, chosen = cv2.solvePnPRansac(
            points, pixels, matrix, None, reprojectionError=threshold, iterationsCount=iterations, confidence=0.999,
            flags=cv2.SOLVEPNP_SQPNP,
        )  # fmt: skip
    except cv2.error:  # raised where a sample's points nearly coincide, or their rays do
        return None
    if not found or chosen is None or len(chosen) < minimum:
        return None
    inliers = np.zeros(len(points), bool)
    inliers[chosen[:, 0]] = True
    rotation, translation = cv2.solvePnPRefineLM(points[inliers], pixels[inliers], matrix, None, rotation, translation)
    return invert(rigid(cv2.Rodrigues(rotation)[0], size * translation[:, 0])), inliers


def normals(points: np.ndarray) -> np.ndarray:
    """Unit normals ``[H,W,3] float32`` of a pointmap ``[H,W,3]`` that is not finite where unknown.

    Differences to both neighbours, each weighed by its inverse square, so that at a depth edge the neighbour on the
    same surface counts. They point to the side from which the pointmap runs clockwise, that is towards the camera for
    points in its own frame; zero where the surface is degenerate or the pixel unknown.
    """
    normal = np.cross(_slope(points, 0), _slope(points, 1))
    length = np.linalg.norm(normal, axis=-1, keepdims=True)
    return np.divide(normal, length, out=np.zeros_like(normal), where=length > 1e-6)


def _slope(points: np.ndarray, axis: int) -> np.ndarray:
    """Unit directions ``[H,W,3] float32`` of a pointmap along ``axis``; zero where no neighbour is known."""
    steps = np.diff(points.astype(np.float32), axis=axis)
    squares = np.square(steps).sum(-1, keepdims=True)
    usable = np.isfinite(squares) & (squares > 0)
    weighted = np.divide(steps, squares, out=np.zeros_like(steps), where=usable)
    slope = np.zeros(points.shape, np.float32)
    slope[(slice(None),) * axis + (slice(1, None),)] += weighted
    slope[(slice(None),) * axis + (slice(None, -1),)] += weighted
    length = np.linalg.norm(slope, axis=-1, keepdims=True)
    return np.divide(slope, length, out=slope, where=length > 0)
