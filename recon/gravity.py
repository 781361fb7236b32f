"""Which way is up in a scene: how people hold cameras says it roughly, level and upright surfaces say it well."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recon import geometry
from recon.scene import Frame

ROLL, PITCH = np.sin(np.radians([4, 30]))  # standard deviations; a pitch is shared by all pictures
ODD_ROLL = np.sin(np.radians(20))  # of pictures that lie on their side
LONG_SIDE = 48  # pixels of the maps whose normals are taken: noise between neighbouring pixels is left out
SPREAD = np.sin(np.radians(5))  # of normals of level and of upright surfaces
LEVEL, UPRIGHT, OTHER = 0.3, 0.3, 0.4  # shares of the normals
FACTS = 10  # as many independent normals as all of them together are worth
REACH, STEP = 40, 5  # degrees about the cameras' guess: how far to search, how densely
MARGIN = 2.0  # of log-likelihood, to believe surfaces rather than cameras
SAMPLES = 2000  # normals, evenly from all frames


def upright(frames: Sequence[Frame]) -> np.ndarray:
    """``upright_from_world [4,4] float32``, the rotation of the viewer and the exports: it turns +Y up.

    About the world's origin, so that lengths and the origin stay. ``up_direction`` of the frames, one or more, becomes
    +Y, and the cameras look towards -Z on average, with +X on their right, as in OpenGL and glTF; where they look all
    around, the first one does.
    """
    up = up_direction(frames)
    world_from_camera = _cameras(frames)
    forward = world_from_camera[:, :3, 2].mean(0)
    chosen = world_from_camera if np.linalg.norm(forward) > 0.5 else world_from_camera[:1]
    backward = _horizontal(-chosen[:, :3, 2].mean(0), up)
    if np.linalg.norm(backward) < 0.2:  # they look straight down or up: the pictures' lower edges are near us
        backward = max((_horizontal(pose[:3, 1], up) for pose in chosen), key=np.linalg.norm)
    backward = backward / np.linalg.norm(backward)
    return geometry.rigid(np.stack([np.cross(up, backward), up, backward]), np.zeros(3)).astype(np.float32)


def up_direction(frames: Sequence[Frame]) -> np.ndarray:
    """The world's up ``[3]``, unit length, of one frame or more: the most likely given their cameras and surfaces."""
    world_from_camera = _cameras(frames)
    guess = up_from_cameras(world_from_camera)
    return up_from_surfaces(guess, _held_level(world_from_camera, guess), *surface_normals(frames))


def up_from_cameras(world_from_camera: np.ndarray) -> np.ndarray:
    """Up ``[3]``, unit length, guessed from cameras ``[N,4,4]`` alone, N >= 1: people hold cameras level.

    Least squares over unit vectors: each camera's right lies in the ground up to a roll of 4 degrees, their viewing
    directions up to a pitch of 30 degrees that they share. Reweighted, so that a few pictures that lie on their side do
    no harm. The side is that of the pictures' upper edges, or the one that cameras looking straight down look from.
    """
    down, forward = (world_from_camera[:, :3, axis].astype(np.float64) for axis in (1, 2))
    opposite = (down + 0.1 * forward).mean(0)
    up = -opposite / max(1e-9, float(np.linalg.norm(opposite)))
    for _ in range(10):
        up = np.linalg.eigh(_held_level(world_from_camera, up))[1][:, 0]
    return up if up @ opposite < 0 else -up


def _held_level(world_from_camera: np.ndarray, up: np.ndarray) -> np.ndarray:
    """``[3,3]``: ``up @ matrix @ up`` sums the cameras' squared rolls and their mean squared pitch, in deviations."""
    right, forward = (world_from_camera[:, :3, axis].astype(np.float64) for axis in (0, 2))
    weights = 1 / (1 + (right @ up / ODD_ROLL) ** 2) ** 2
    return (right.T * weights) @ right / ROLL**2 + forward.T @ forward / len(forward) / PITCH**2


def up_from_surfaces(guess: np.ndarray, precision: np.ndarray, normals: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Up ``[3]``, unit length: near ``guess`` (40 degrees) the one parallel or orthogonal to most normals.

    After Gupta, Arbeláez and Malik (2013, section 3.1), who split normals into those near parallel and near orthogonal
    to gravity and solve for the direction that fits both best, in turns. Here the split is soft (a mixture of level,
    upright and other surfaces), the cameras have their say, and the turns start from ``guess`` and from the best place
    of a search, which must be clearly better. So where surfaces say nothing, as in foliage, the cameras decide.

    Args:
        guess: ``[3]``, unit length.
        precision: ``[3,3]``, ``up @ precision @ up`` is twice the negative log-likelihood of ``up`` without surfaces.
        normals: ``[N,3]``, unit length, of either sign.
        weights: ``[N]``, not negative.
    """
    total = weights.sum()
    if not total > 0:
        return guess
    weights = weights / total

    def merit(candidates: np.ndarray) -> np.ndarray:
        level, vertical = _likelihoods(normals @ candidates.T)
        surfaces = FACTS * weights @ np.log(level + vertical + OTHER)
        return surfaces - np.einsum("ci,ij,cj->c", candidates, precision, candidates) / 2

    def refined(up: np.ndarray) -> np.ndarray:
        for _ in range(10):
            level, vertical = _likelihoods(normals @ up)
            pull = weights * (vertical - level) / (level + vertical + OTHER)
            solved = np.linalg.eigh((normals.T * pull) @ normals * FACTS / SPREAD**2 + precision)[1][:, 0]
            up = solved if solved @ up > 0 else -solved
        return up

    candidates = _around(guess)
    found = np.stack([guess, refined(guess), refined(candidates[np.argmax(merit(candidates))])])
    return found[np.argmax(merit(found) - [0, 0, MARGIN])]


def _likelihoods(cosines: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of normals at these cosines to up, if level and if upright: densities by those of a uniform sphere, by share."""
    squares = np.square(cosines)
    level = LEVEL / SPREAD**2 * np.exp((squares - 1) / (2 * SPREAD**2))
    return level, UPRIGHT / (SPREAD * np.sqrt(np.pi / 2)) * np.exp(-squares / (2 * SPREAD**2))


def _around(direction: np.ndarray) -> np.ndarray:
    """``[C,3]``: unit vectors within `REACH` of a direction, `STEP` apart."""
    ticks = np.radians(np.arange(-REACH, REACH + 1, STEP))
    x, y = (axis.ravel() for axis in np.meshgrid(ticks, ticks))
    angle = np.hypot(x, y)
    x, y, angle = (values[angle <= np.radians(REACH)] for values in (x, y, angle))
    across = np.linalg.svd(direction[None])[2][1:]
    return np.cos(angle)[:, None] * direction + np.sinc(angle / np.pi)[:, None] * (np.stack([x, y], -1) @ across)


def surface_normals(frames: Sequence[Frame]) -> tuple[np.ndarray, np.ndarray]:
    """Normals ``[N,3]`` in the world and weights ``[N]`` of some known pixels of all frames.

    A weight is the confidence, but no more than its median, since networks scale it as they like.
    """
    normals, weights = [np.empty((0, 3))], [np.empty(0)]
    for frame in frames:
        frame = frame.thinned(max(1, round(max(frame.size) / LONG_SIDE)))
        normal = geometry.normals(np.where(frame.known()[..., None], frame.world_points(), np.nan))
        usable = normal.any(-1) & np.isfinite(frame.confidence)
        normals.append(normal[usable])
        weights.append(frame.confidence[usable])
    weight = np.concatenate(weights)
    chosen = np.linspace(0, len(weight) - 1, min(len(weight), SAMPLES)).astype(int)
    weight = weight[chosen]
    return np.concatenate(normals)[chosen], np.clip(weight, 0, np.median(weight)) if len(weight) else weight


def _cameras(frames: Sequence[Frame]) -> np.ndarray:
    return np.stack([frame.camera.world_from_camera for frame in frames]).astype(np.float64)


def _horizontal(direction: np.ndarray, up: np.ndarray) -> np.ndarray:
    """The horizontal part ``[3]`` of a direction."""
    return direction - (direction @ up) * up
