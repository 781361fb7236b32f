"""Where a scene stands in the viewer, and where the eye stands before it: pure geometry, no viser."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recon import geometry, gravity
from recon.scene import Camera, Frame

FOV = np.radians(50)  # vertical, of the first view
ASPECT = 1.25  # the narrowest canvas in which the first view is to hold the whole scene
TILT = np.radians(12)  # how much further down than the cameras the first view looks
SAMPLES = 20_000
CENTRING = 4  # steps that bring what is in sight to the middle of the picture
VIEWER_FROM_UPRIGHT = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]])


@dataclass(frozen=True)
class Placement:
    """``viewer_from_world [4,4]``, a similarity."""

    viewer_from_world: np.ndarray

    @property
    def scale(self) -> float:
        """Lengths in the viewer per length in the world."""
        return float(np.cbrt(np.linalg.det(self.viewer_from_world[:3, :3])))

    def point(self, points: np.ndarray) -> np.ndarray:
        """Points ``[...,3]`` of the world in the viewer."""
        return geometry.transform(self.viewer_from_world, points)

    def offsets(self, points: np.ndarray, origin: np.ndarray) -> np.ndarray:
        """How far points ``[...,3]`` of the world lie from one of its points, in viewer units and axes, as float32."""
        return (points - origin.astype(np.float32)) @ self.viewer_from_world[:3, :3].T.astype(np.float32)

    def rescaled(self, factor: float) -> Placement:
        """Of the world made ``factor`` times as large: everything stands where it stood."""
        return Placement(self.viewer_from_world @ np.diag([1 / factor, 1 / factor, 1 / factor, 1]))

    def camera(self, world_from_camera: np.ndarray) -> np.ndarray:
        """Cameras ``[...,4,4]`` of the world in the viewer."""
        return geometry.apply_similarity(self.viewer_from_world, world_from_camera)


@dataclass(frozen=True)
class Eye:
    """A way to look, in viewer coordinates.

    Attributes:
        position: ``[3]``.
        wxyz: ``[4]``, viewer from eye, OpenCV axes.
        distance: to what is looked at, the centre of orbiting.
        fov: vertical, in radians.
        aspect: width over height of what must be seen.
        near: the near plane.
    """

    position: np.ndarray
    wxyz: np.ndarray
    distance: float
    fov: float
    aspect: float = ASPECT
    near: float = 0.01

    def fov_in(self, aspect: float) -> float:
        """The vertical field of view in a canvas of ``aspect`` that holds all that must be seen."""
        return float(2 * np.arctan(np.tan(self.fov / 2) * max(1.0, self.aspect / aspect)))

    @property
    def look_at(self) -> np.ndarray:
        """``[3]``, the centre of orbiting."""
        return self.position + self.distance * geometry.rotation_from_quaternion(self.wxyz)[:, 2]

    @property
    def up(self) -> np.ndarray:
        """``[3]``, the axis of orbiting: of those that leave the picture as it is, the one nearest to +z."""
        rotation = geometry.rotation_from_quaternion(self.wxyz)
        up = np.array([0.0, 0.0, 1.0]) - rotation[2, 0] * rotation[:, 0]
        if up @ -rotation[:, 1] < 0.05:  # on its head, or straight up or down
            return -rotation[:, 1]
        return up / np.linalg.norm(up)


def place(frames: Sequence[Frame]) -> Placement:
    """As `gravity.upright` with +z up, so the cameras look along +y on average; median depth 1, median point 0."""
    rotation = VIEWER_FROM_UPRIGHT @ gravity.upright(frames)[:3, :3].astype(np.float64)
    points, depths, _ = _sample(frames)
    scale = 1 / float(np.median(depths)) if len(depths) else 1.0
    centre = np.median(points, axis=0) if len(points) else frames[0].camera.centre
    return Placement(geometry.rigid(scale * rotation, -scale * rotation @ centre))


def home(frames: Sequence[Frame], placement: Placement) -> Eye:
    """The first view: behind the cameras and somewhat above, so far off that nearly all points are in sight."""
    cameras = placement.camera(_cameras(frames))
    points, _, confidence = _sample(frames)
    if len(points):
        points = placement.point(points[confidence >= np.percentile(confidence, 40)])
    else:
        points = cameras[:, :3, 3] + cameras[:, :3, 2]
    forward = _mean_forward(cameras)
    pitch = min(np.arcsin(np.clip(-forward[2], -1, 1)) + TILT, np.radians(80))
    level = forward[:2] / max(1e-9, float(np.linalg.norm(forward[:2])))
    if np.linalg.norm(forward[:2]) < 0.1:
        level = np.array([0.0, 1.0])
    forward = np.array([*(np.cos(pitch) * level), -np.sin(pitch)])
    right = np.array([level[1], -level[0], 0.0])
    rotation = np.stack([right, np.cross(forward, right), forward], -1)
    target = np.median(points, axis=0)
    distance = _distance(points - target, cameras[:, :3, 3] - target, rotation)
    for _ in range(CENTRING):
        sideways, depth = np.split((points - target) @ rotation, [2], axis=1)
        seen = sideways / np.maximum(depth + distance, 0.1 * distance)
        target = target + rotation[:, :2] @ (distance * np.percentile(seen, [7, 93], axis=0).mean(0))
        distance = _distance(points - target, cameras[:, :3, 3] - target, rotation)
    return Eye(target - distance * forward, geometry.quaternion_from_rotation(rotation), distance, float(FOV))


def _distance(points: np.ndarray, cameras: np.ndarray, rotation: np.ndarray) -> float:
    """How far back an eye stands, all given as offsets from its target ``[N,3]``, to see most points and cameras."""
    for_points = max(0.3, float(np.percentile(_distances(points, rotation), 93)))
    for_cameras = float(np.median(_distances(cameras, rotation))) + 0.15
    # cameras far from all they see must not make the scene small
    return float(np.clip(for_cameras, for_points, 1.4 * for_points))


def _distances(offsets: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """How far back an eye must stand to see each of ``offsets [N,3]`` from its target."""
    x, y, z = (offsets @ rotation).T
    tangent = 0.94 * np.tan(FOV / 2)
    return np.maximum(np.abs(x) / (tangent * ASPECT), np.abs(y) / tangent) - z


def eye_of_camera(camera: Camera, size: tuple[int, int], placement: Placement) -> Eye:
    """What the camera of a picture of ``size`` (width, height) saw; the distance is 1, near is the default."""
    width, height = size
    focal_x, focal_y = camera.intrinsics[0, 0], camera.intrinsics[1, 1]
    viewer_from_camera = placement.camera(camera.world_from_camera.astype(np.float64))
    return Eye(
        position=viewer_from_camera[:3, 3],
        wxyz=geometry.quaternion_from_rotation(viewer_from_camera[:3, :3]),
        distance=1.0,
        fov=float(2 * np.arctan(height / 2 / focal_y)),
        aspect=float((width / focal_x) / (height / focal_y)),
    )


def frustum_depth(frames: Sequence[Frame], placement: Placement) -> float:
    """How deep to draw the frusta: a part of the gap between neighbouring cameras, within sensible bounds."""
    centres = placement.camera(_cameras(frames))[:, :3, 3]
    gaps = np.linalg.norm(centres[:, None] - centres[None], axis=-1)
    nearest = np.where(gaps > 1e-3, gaps, np.inf).min(axis=1)
    nearest = nearest[np.isfinite(nearest)]
    return float(np.clip(0.4 * np.median(nearest), 0.04, 0.12)) if len(nearest) else 0.06


def footprint(frames: Sequence[Frame], placement: Placement) -> float:
    """The width of a pixel on the surface it sees, in viewer units; two thirds of the pixels are no wider."""
    widths = [frame.thinned(4).depth / frame.camera.intrinsics[0, 0] for frame in frames]
    widths = [width[width > 0] for width in widths]
    known = np.concatenate([*widths, np.empty(0)])
    return placement.scale * float(np.percentile(known, 67)) if len(known) else 0.01


def _cameras(frames: Sequence[Frame]) -> np.ndarray:
    return np.stack([frame.camera.world_from_camera for frame in frames]).astype(np.float64)


def _mean_forward(cameras: np.ndarray) -> np.ndarray:
    """``[3]``, the direction of view of ``[N,4,4]``; of the first one where they look all around."""
    mean = cameras[:, :3, 2].mean(0)
    length = np.linalg.norm(mean)
    return mean / length if length > 0.5 else cameras[0, :3, 2]


def _sample(frames: Sequence[Frame]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions ``[N,3]``, depths ``[N]`` and confidences ``[N]`` of some known pixels, evenly from all frames."""
    stride = max(1, int(np.sqrt(sum(frame.depth.size for frame in frames) / SAMPLES)))
    points, depths, confidences = [np.empty((0, 3))], [np.empty(0)], [np.empty(0)]
    for frame in (frame.thinned(stride) for frame in frames):
        known = frame.known() & ~np.isnan(frame.confidence)
        points.append(frame.world_points()[known])
        depths.append(frame.depth[known])
        confidences.append(frame.confidence[known])
    return np.concatenate(points), np.concatenate(depths), np.concatenate(confidences)
