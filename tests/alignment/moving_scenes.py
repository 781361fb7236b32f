"""A furnished room in which balls fly about, filmed by a camera that moves: pictures, depth, masks and poses, exact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np

from recon import geometry
from recon.alignment.pair_graph import Pair
from recon.alignment.pair_maps import PairMaps
from tests.alignment.pair_scenes import smooth_field

HEIGHT, WIDTH, FOCAL = 144, 192, 170.0
ROOM = np.array([[-3.2, -1.8, -1.0], [3.2, 1.3, 5.5]])  # two corners
WAVES = 14  # of a texture
Texture: TypeAlias = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass
class MovingScene:
    """V frames of a video.

    Attributes:
        images: ``[V,H,W,3] uint8``.
        depth: ``[V,H,W]``.
        moving: ``[V,H,W] bool``.
        world_from_camera: ``[V,4,4]``.
        focal: in pixels, the principal point in the middle.
    """

    images: np.ndarray
    depth: np.ndarray
    moving: np.ndarray
    world_from_camera: np.ndarray
    focal: float

    @property
    def intrinsics(self) -> np.ndarray:
        """``[3,3]``."""
        return geometry.intrinsics_from_focal(self.focal, self.depth.shape[2], self.depth.shape[1])

    def pairs(
        self, graph: Sequence[Pair], seed: int = 0, noise: float = 0.02, turn: float = 0.5, bent: float = 0.0
    ) -> list[PairMaps]:
        """What a perfect network would say, each picture at its own time, disturbed as a real one's answers are.

        Args:
            graph: pairs.
            seed: of everything random.
            noise: standard deviation of points, relative to their distance.
            turn: standard deviation in degrees, about each axis, by which a pair's second map is turned.
            bent: standard deviation of a smooth field that distances are wrong by, relative to them.
        """
        random = np.random.default_rng(seed)
        world = [
            geometry.transform(pose, geometry.unproject(depth, self.intrinsics))
            for pose, depth in zip(self.world_from_camera, self.depth, strict=True)
        ]
        pairs = []
        for i, j in graph:
            scale, maps = np.exp(random.uniform(np.log(0.5), np.log(2))), []
            rotation = cv2.Rodrigues(np.radians(turn) * random.normal(size=3))[0]
            for view in (i, j):
                local = geometry.transform(geometry.invert(self.world_from_camera[i]), world[view])
                local = local @ rotation.T if view == j else local
                factor = 1 + bent * smooth_field(random, *local.shape[:2]) if bent > 0 else np.ones(local.shape[:2])
                distance = np.linalg.norm(local, axis=-1, keepdims=True)
                local = local * factor[..., None]
                local = local + random.normal(size=local.shape) * distance * noise / np.sqrt(3)
                confidence = 1 + 8 * np.exp(0.1 * random.normal(size=local.shape[:2]))
                maps += [(scale * local).astype(np.float32), confidence.astype(np.float32)]
            pairs.append(PairMaps(i, j, *maps))
        return pairs


@dataclass
class Ball:
    """A textured ball: its centre at each time, how it turns, its size and look."""

    centres: np.ndarray
    turns: np.ndarray
    radius: float
    texture: Texture


def moving_scene(
    seed: int,
    frames: int = 10,
    movers: int = 2,
    speed: float = 1.0,
    camera: float = 1.0,
    size: tuple[int, int] = (HEIGHT, WIDTH),
) -> MovingScene:
    """A scene of its own for each ``seed``.

    Args:
        seed: of everything random.
        frames: of the video.
        movers: balls that move.
        speed: of these; 1 crosses a good part of the picture in ten frames.
        camera: how far the camera goes; 0 keeps it where it is.
        size: height and width of the pictures.
    """
    random = np.random.default_rng(seed)
    times = np.arange(frames) / 10
    rooms = [_texture(random) for _ in range(6)]
    balls = []
    for index in range(movers + 4):
        moves = index < movers
        centre = np.array([random.uniform(-1.1, 1.1), random.uniform(-0.6, 0.6), random.uniform(2.2, 3.2)])
        if not moves:
            centre = np.array([random.uniform(-2.2, 2.2), random.uniform(-0.5, 1.2), random.uniform(3.8, 5.2)])
        angle = random.uniform(0, 2 * np.pi)
        velocity = moves * speed * np.array([np.cos(angle), 0.6 * np.sin(angle), 0.3 * random.normal()])
        turns = moves * speed * 0.5 * random.normal(size=3)
        middle = times - times.mean()
        radius = random.uniform(0.3, 0.45) if moves else random.uniform(0.3, 0.6)
        balls.append(Ball(centre + middle[:, None] * velocity, middle[:, None] * turns, radius, _texture(random)))
    path = _path(random, times, camera)
    height, width = size
    images, depths, masks = [], [], []
    for frame in range(frames):
        focal = FOCAL * width / WIDTH
        distance, which, _ = _trace(path[frame], focal, size, balls, frame, rooms, coloured=False)
        _, _, fine = _trace(path[frame], 2 * focal, (2 * height, 2 * width), balls, frame, rooms, coloured=True)
        images.append(cv2.resize(fine, (width, height), interpolation=cv2.INTER_AREA))
        depths.append(distance)
        masks.append((which >= 0) & (which < movers))
    return MovingScene(np.array(images), np.array(depths), np.array(masks), path, FOCAL * width / WIDTH)


def _path(random: np.random.Generator, times: np.ndarray, amount: float) -> np.ndarray:
    """Cameras ``[V,4,4]`` on a bent way, looking at about the middle of the room."""
    phase, poses = random.uniform(0, 2 * np.pi), []
    target = np.array([0, 0, 3.5]) + 0.2 * random.normal(size=3)
    for time in times:
        way = amount * (time - times.mean())
        centre = np.array([1.2 * way, 0.15 * np.sin(3 * way + phase) * amount, 0.4 * way])
        forward = target + amount * 0.2 * np.array([np.sin(4 * way + phase), np.cos(3 * way), 0]) - centre
        forward /= np.linalg.norm(forward)
        right = np.cross([0.05 * np.sin(5 * way) * amount, 1, 0], forward)
        right /= np.linalg.norm(right)
        poses.append(geometry.rigid(np.stack([right, np.cross(forward, right), forward], 1), centre))
    return np.array(poses)


def _trace(
    pose: np.ndarray,
    focal: float,
    size: tuple[int, int],
    balls: Sequence[Ball],
    frame: int,
    rooms: Sequence[Texture],
    coloured: bool,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Z-depth, number of the ball (-1 for the room) and colours of what the rays of all pixels hit."""
    height, width = size
    pixels = geometry.pixel_grid(height, width).astype(np.float64) - [width / 2, height / 2]
    directions = np.concatenate([pixels / focal, np.ones((height, width, 1))], -1) @ pose[:3, :3].T
    centre = pose[:3, 3]
    with np.errstate(divide="ignore"):
        walls = np.where(directions > 0, ROOM[1] - centre, ROOM[0] - centre) / directions
    axis = walls.argmin(-1)
    depth = walls.min(-1)
    side = 2 * axis + (np.take_along_axis(directions, axis[..., None], -1)[..., 0] > 0)
    points = centre + depth[..., None] * directions
    image = np.zeros((height, width, 3), np.uint8)
    for number in np.unique(side) if coloured else ():
        image[side == number] = _colours(rooms[number], points[side == number])
    which = np.full((height, width), -1)
    for number, ball in enumerate(balls):
        offset = centre - ball.centres[frame]
        a, b = (directions**2).sum(-1), directions @ offset
        root = b**2 - a * (offset @ offset - ball.radius**2)
        near = (-b - np.sqrt(np.maximum(root, 0))) / a
        hit = (root > 0) & (near > 0) & (near < depth)
        depth[hit], which[hit] = near[hit], number
        if coloured:
            local = centre + near[hit, None] * directions[hit] - ball.centres[frame]
            image[hit] = _colours(ball.texture, local @ cv2.Rodrigues(ball.turns[frame])[0])
    return depth, which, image


def _texture(random: np.random.Generator) -> Texture:
    """Waves in space: direction and frequency ``[WAVES,3]``, phase ``[WAVES]``, strength in each channel."""
    waves = random.normal(size=(WAVES, 3))
    waves *= np.geomspace(2, 20, WAVES)[:, None] / np.linalg.norm(waves, axis=-1, keepdims=True)
    strength = random.normal(size=(WAVES, 1)) + 0.5 * random.normal(size=(WAVES, 3))
    return waves.astype(np.float32), random.uniform(0, 2 * np.pi, WAVES).astype(np.float32), strength.astype(np.float32)


def _colours(texture: Texture, points: np.ndarray) -> np.ndarray:
    waves, phase, strength = texture
    values = np.sin(points.astype(np.float32) @ waves.T + phase) @ strength
    return np.clip(128 + 20 * values, 5, 250).astype(np.uint8)
