"""Which of a scene's points somebody clicks in 3D: a ray in, a pixel out; pure geometry, no viser."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from recon import geometry
from recon.filters import Filters, static_keep
from recon.measurement import Pixel
from recon.placement import Placement
from recon.scene import Frame, Scene

# How far beside the ray a point may lie, over its distance; a canvas 800 pixels high has about 0.0012 a pixel. The
# narrowest cone that holds a point decides, so that a click into a gap takes what is nearest to it.
CONES = (0.003, 0.006, 0.012, 0.024)
DEPTH = 0.01  # of the distance: points no further than that behind the foremost one are on its surface


@dataclass(frozen=True)
class Ray:
    """A line of sight.

    Attributes:
        origin: ``[3]`` in the world.
        direction: ``[3]``, of any length.
        radius: of the points that are drawn around it.
    """

    origin: np.ndarray
    direction: np.ndarray
    radius: float

    @staticmethod
    def in_viewer(placement: Placement, origin: Sequence[float], direction: Sequence[float], radius: float) -> Ray:
        """From what it is in the viewer."""
        world_from_viewer = np.linalg.inv(placement.viewer_from_world)
        return Ray(
            geometry.transform(world_from_viewer, np.array(origin)),
            world_from_viewer[:3, :3] @ direction,
            radius / placement.scale,
        )

    def from_world(self) -> np.ndarray:
        """``[4,4]``: into axes in which the ray is +z from the origin."""
        forward = self.direction / np.linalg.norm(self.direction)
        across = np.cross(forward, np.eye(3)[np.argmin(np.abs(forward))])
        across /= np.linalg.norm(across)
        rotation = np.stack([across, np.cross(forward, across), forward])
        return geometry.rigid(rotation, -rotation @ self.origin)


@dataclass(frozen=True)
class Hit:
    """A point of a scene: the pixel of the frame that has it."""

    frame: int
    pixel: Pixel


def pick(
    scene: Scene, filters: Filters, level: float, ray: Ray, gone: Mapping[int, np.ndarray] = MappingProxyType({})
) -> Hit | None:
    """The point on which a click falls: of those that are drawn over the ray, else next to it, the foremost.

    Args:
        scene: whose points are looked through.
        filters: what of it is in sight; instead of their percentage counts ``level``.
        level: the least confidence that is in sight.
        ray: of the click.
        gone: ``[H,W] bool`` of frames by their index: pixels that are not there at the moment that is shown.

    Returns:
        None where no point is near.
    """
    ray_from_world = ray.from_world()
    found: list[tuple[np.ndarray, ...]] = [(np.empty(0, int), np.empty(0, int), np.empty(0), np.empty(0))]
    for index, frame in enumerate(scene.frames):
        if filters.shows(index):
            pixels, beside, along = _near(frame, ray_from_world, ray.radius, level)
            if len(pixels):
                seen = static_keep(frame, filters).ravel()[pixels]
                if index in gone:
                    seen &= ~gone[index].ravel()[pixels]
                found.append((np.full(seen.sum(), index), pixels[seen], beside[seen], along[seen]))
    numbers, pixels, beside, along = (np.concatenate(parts) for parts in zip(*found, strict=True))
    if not len(pixels):
        return None
    cone = next(cone for cone in (0.0, *CONES) if (beside <= np.maximum(ray.radius, cone * along)).any())
    inside = beside <= np.maximum(ray.radius, cone * along)
    surface = inside & (along <= (1 + DEPTH) * along[inside].min())
    best = np.flatnonzero(surface)[np.argmin(beside[surface])]
    number = int(numbers[best])
    row, column = divmod(int(pixels[best]), scene.frames[number].size[0])
    return Hit(number, (column, row))


def _near(frame: Frame, ray_from_world: np.ndarray, radius: float, level: float) -> tuple[np.ndarray, ...]:
    """Points in the widest cone or within ``radius``, of at least the confidence ``level``.

    Returns:
        ``[N] int``, indices into the flat map; ``[N]`` how far each lies beside the ray; ``[N]`` how far along it.
    """
    x, y, along = _in_ray(frame, ray_from_world)
    with np.errstate(invalid="ignore", over="ignore"):
        reach = np.maximum(radius, CONES[-1] * along)
        near = (along > 0) & (np.abs(x) <= reach) & (np.abs(y) <= reach) & (frame.confidence >= level)
    pixels = np.flatnonzero(near)
    x, y, along, reach = (values.ravel()[pixels] for values in (x, y, along, reach))
    beside = np.hypot(x, y)
    round_ = beside <= reach
    return pixels[round_], beside[round_], along[round_]


def _in_ray(frame: Frame, ray_from_world: np.ndarray) -> tuple[np.ndarray, ...]:
    """The three coordinates ``[H,W] float32`` of every pixel's point in the axes of the ray."""
    if frame.points is not None:
        points = geometry.transform(ray_from_world.astype(np.float32), frame.points)
        return points[..., 0], points[..., 1], points[..., 2]
    matrix = ray_from_world @ frame.camera.world_from_camera
    # a point is its depth times a direction that is linear in column and row, so no pointmap is needed
    a, b, c = (matrix[:3, :3] @ np.linalg.inv(frame.camera.intrinsics)).astype(np.float32).T
    height, width = frame.depth.shape
    columns = (np.arange(width, dtype=np.float32) + 0.5)[:, None] * a + c
    rows = (np.arange(height, dtype=np.float32) + 0.5)[:, None] * b
    shift = matrix[:3, 3].astype(np.float32)
    return tuple(frame.depth * (columns[None, :, k] + rows[:, None, k]) + shift[k] for k in range(3))
