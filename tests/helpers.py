"""A small synthetic scene with exact geometry: a textured room with two balls in it, ray-cast in numpy.

Deterministic, milliseconds at the default size. Rendered larger it has enough texture for SIFT.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, TypeVar

import numpy as np

from recon import geometry
from recon.scene import Camera, Frame, Labels, Scene, Segment, View

ROOM = np.array([3.0, 1.5, 3.5])  # half sizes of the room in metres; its y axis points down, the floor is y = +1.5
BALLS = np.array([[0.2, 1.0, 1.4, 0.5], [-0.9, 0.9, 0.7, 0.6]])  # x, y, z, radius
RUNNER = 0.9, 0.2, 0.35  # y, z, radius of a third ball, red, that crosses the room in `moving_scene`
FOV_X = np.radians(62)

Result = TypeVar("Result")


def drained(work: Generator[Any, None, Result]) -> Result:
    """What a generator returns in the end."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: Result = end.value
            return result


def synthetic_scene(frames: int = 3, height: int = 48, width: int = 64) -> Scene:
    """A metric scene of level cameras on an arc that look down into the room; the first camera is the world.

    So the world's up is `synthetic_up`, not an axis. Depth is exact and known everywhere; confidence falls with
    distance and grazing angle, and hardly any two pixels share a value.
    """
    cameras = room_from_cameras(frames)
    intrinsics = geometry.intrinsics_from_focal(float(width / 2 / np.tan(FOV_X / 2)), width, height)
    world_from_room = geometry.invert(cameras[0])
    return Scene(
        [_frame(i, camera, world_from_room, intrinsics, height, width) for i, camera in enumerate(cameras)],
        metric=True,
        model="synthetic",
        settings={"frames": frames},
    )


def moving_scene(frames: int = 6, height: int = 48, width: int = 64) -> Scene:
    """`synthetic_scene` as a video of two frames a second in which a third ball crosses the room from left to right."""
    scene = synthetic_scene(frames, height, width)
    cameras = room_from_cameras(frames)
    for index, (frame, camera, x) in enumerate(zip(scene.frames, cameras, np.linspace(-1.2, 1.2, frames), strict=True)):
        ball, still = np.array([x, *RUNNER]), frame.depth
        moved = _frame(index, camera, geometry.invert(cameras[0]), frame.camera.intrinsics, height, width, ball)
        frame.image, frame.depth, frame.confidence = moved.image, moved.depth, moved.confidence
        frame.moving = frame.depth < still - 1e-3
        frame.image[frame.moving] = (230, 40, 30)
        frame.time = index / 2
    return scene


def labelled_scene(frames: int = 3, height: int = 48, width: int = 64) -> Scene:
    """`synthetic_scene` in which floor, walls and both balls are recognised; the wall on the left is not."""
    scene = synthetic_scene(frames, height, width)
    for frame, camera in zip(scene.frames, room_from_cameras(frames), strict=True):
        rays = geometry.unproject(np.ones((height, width)), frame.camera.intrinsics).astype(np.float64)
        _, _, surface = _cast(camera[:3, 3], rays @ camera[:3, :3].T, [*BALLS])
        frame.segments = np.array([-1, 101, 101, 102, 101, 101, 1, 2], np.int32)[surface]
    scene.labels = Labels(
        ("wall", "floor", "table", "ball"),
        np.array([[174, 199, 232], [152, 223, 138], [255, 152, 150], [214, 39, 40]], np.uint8),
        [Segment(1, 3, True, 0.9), Segment(2, 3, True, 0.8), Segment(101, 0, False, 0.7), Segment(102, 1, False, 0.95)],
    )
    return scene


def synthetic_views(scene: Scene) -> list[View]:
    """What a model would be given to reconstruct ``scene``: its pictures and their names."""
    return [View(frame.image, frame.name) for frame in scene.frames]


def synthetic_up(frames: int = 3) -> np.ndarray:
    """``[3]``: the direction away from the floor, in the world of `synthetic_scene`."""
    return -room_from_cameras(frames)[0][1, :3]


def room_from_cameras(frames: int) -> np.ndarray:
    """``[frames,4,4]``: on an arc of at most 40 degrees, at most 8 degrees apart, pitched down, without roll."""
    angles = np.radians(np.linspace(-1, 1, frames) * min(20, 4 * (frames - 1))) if frames > 1 else np.zeros(1)
    centres = np.stack([3 * np.sin(angles), np.full(frames, -0.4), 1 - 3 * np.cos(angles)], -1)
    forward = np.array([0, 0.6, 1.2]) - centres
    forward /= np.linalg.norm(forward, axis=-1, keepdims=True)
    right = np.cross([0.0, 1.0, 0.0], forward)
    right /= np.linalg.norm(right, axis=-1, keepdims=True)
    cameras = np.tile(np.eye(4), (frames, 1, 1))
    cameras[:, :3, :3] = np.stack([right, np.cross(forward, right), forward], -1)
    cameras[:, :3, 3] = centres
    return cameras


def _frame(
    index: int,
    room_from_camera: np.ndarray,
    world_from_room: np.ndarray,
    intrinsics: np.ndarray,
    height: int,
    width: int,
    *more: np.ndarray,
) -> Frame:
    rays_in_camera = geometry.unproject(np.ones((height, width)), intrinsics).astype(np.float64)
    rays, origin = rays_in_camera @ room_from_camera[:3, :3].T, room_from_camera[:3, 3]
    depth, normal, surface = _cast(origin, rays, [*BALLS, *more])
    points = origin + depth[..., None] * rays
    cosine = -(rays * normal).sum(-1) / np.linalg.norm(rays, axis=-1)
    return Frame(
        image=_texture(points, surface),
        depth=depth.astype(np.float32),
        confidence=(1 + 10 * cosine / depth).astype(np.float32),
        camera=Camera(intrinsics, (world_from_room @ room_from_camera).astype(np.float32)),
        name=f"synthetic_{index:03d}.png",
        view=index,
    )


def _cast(origin: np.ndarray, rays: np.ndarray, balls: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """First hits of rays ``[H,W,3]``: distance in ray lengths, normal towards the camera, number of the surface."""
    walls = np.divide(np.sign(rays) * ROOM - origin, rays, out=np.full(rays.shape, np.inf), where=rays != 0)
    axis = np.argmin(walls, -1)
    depth = np.take_along_axis(walls, axis[..., None], -1)[..., 0]
    side = np.take_along_axis(np.sign(rays), axis[..., None], -1)[..., 0]
    normal = -np.eye(3)[axis] * side[..., None]
    surface = axis * 2 + (side > 0)
    for number, (*centre, radius) in enumerate(balls, start=6):
        offset = origin - centre
        a, b, c = (rays**2).sum(-1), rays @ offset, offset @ offset - radius**2
        discriminant = b**2 - a * c
        distance = (-b - np.sqrt(np.maximum(discriminant, 0))) / a
        nearer = (discriminant > 0) & (distance > 0) & (distance < depth)
        depth = np.where(nearer, distance, depth)
        normal = np.where(nearer[..., None], (offset + distance[..., None] * rays) / radius, normal)
        surface = np.where(nearer, number, surface)
    return depth, normal, surface


def _texture(points: np.ndarray, surface: np.ndarray) -> np.ndarray:
    """Colours ``[H,W,3] uint8`` that depend on the place alone: random cells of three sizes, a tint a surface."""
    tints = np.random.default_rng(0).uniform(60, 160, (7 + len(BALLS), 3))
    colour = tints[surface]
    for cell, strength in ((0.4, 35), (0.13, 25), (0.05, 15)):
        x, y, z = np.moveaxis(np.floor(points / cell + 0.01).astype(np.int64), -1, 0)
        noise = (x * 73856093 ^ y * 19349663 ^ z * 83492791 ^ surface * 2654435761) % 9973 / 9973
        colour = colour + strength * (2 * noise[..., None] - 1) * np.array([1, 0.8, 0.6])
    return np.clip(colour, 0, 255).astype(np.uint8)
