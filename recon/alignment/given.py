"""Cameras that the user gave beside those that a model found: both in one world, and how far apart they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recon import geometry
from recon.given import Given
from recon.measurement import in_words
from recon.scene import Frame

ROUNDS = 10  # of the robust fit
PAIRS = 100  # of cameras from which it may begin
FLAT = 0.05  # centres that are no wider than this part of their length lie on a line
WRONG = 30  # degrees on average: more is no inaccuracy
AXES = np.concatenate([np.eye(3), -np.eye(3)])


@dataclass(frozen=True)
class Comparison:
    """Given cameras in the world of a scene, and how far they are from the cameras of its frames.

    Attributes:
        world_from_camera: ``[N,4,4]``, in the world of the scene.
        rotation: mean angle between them, in degrees.
        distance: mean distance of their centres, in units of the scene.
        size: the diagonal of a box around the scene's own centres; 0 where all are in one place.
        rigid: True where both worlds were taken for equally large.
    """

    world_from_camera: np.ndarray
    rotation: float
    distance: float
    size: float
    rigid: bool

    def in_words(self, frames: int) -> str:
        """A sentence, for a scene of that many ``frames``."""
        count = len(self.world_from_camera)
        of = f"{count} of {frames} cameras" if count < frames else f"All {count} cameras"
        if count == 1:
            return "One camera was given: it lies on the one that was found, so they cannot be compared."
        if not self.rigid and (count == 2 or self.size == 0):  # laid on each other, whatever they are
            return f"{of} were given: on average {self.rotation:.1f}° from those that were found."
        far = in_words(self.distance, True) if self.rigid else f"{self.distance / self.size:.1%} of their spread"
        doubt = " They may be the wrong way round, or of other axes." if self.rotation > WRONG else ""
        return f"{of} were given: on average {self.rotation:.1f}° and {far} from those that were found.{doubt}"


def compare(given: Given, frames: Sequence[Frame], metric: bool) -> Comparison:
    """Lay given cameras on those of ``frames``: turned and moved, and scaled unless both worlds are in metres.

    Args:
        given: of some of the frames.
        frames: of the scene.
        metric: whether the scene is in metres.
    """
    found = np.stack([frames[index].camera.world_from_camera for index in given.frames]).astype(np.float64)
    rigid = metric and given.metric
    moved = geometry.apply_similarity(_found_from_given(found, given.world_from_camera, rigid), given.world_from_camera)
    turned = geometry.rotation_angle(np.swapaxes(found[:, :3, :3], 1, 2) @ moved[:, :3, :3])
    apart = np.linalg.norm(found[:, :3, 3] - moved[:, :3, 3], axis=-1)
    size = float(np.linalg.norm(np.ptp(found[:, :3, 3], axis=0))) if _spread(found) else 0.0
    return Comparison(moved, float(turned.mean()), float(apart.mean()), size, rigid)


def _found_from_given(found: np.ndarray, given: np.ndarray, rigid: bool) -> np.ndarray:
    """``[4,4]``: the similarity, without scale where ``rigid``, that lays most centres on each other.

    Where the centres lie on a line, or are two or one, they leave a turn to chance; there points on the axes of the
    cameras, as far off as the centres are spread, count as well. The fit begins with what brings most cameras together
    of the fits to all and to some pairs: least squares alone would follow a single camera that is far off.
    """
    rigid = rigid or min(_spread(found), _spread(given)) == 0
    tries = [_fit(*_beside(found, given, rigid), np.ones(len(found)), rigid)]
    for pair in np.random.default_rng(0).integers(len(found), size=(PAIRS, 2)):
        if rigid or min(_spread(found[pair]), _spread(given[pair])) > 0:
            tries.append(_fit(*_beside(found[pair], given[pair], rigid), np.ones(2), rigid))
    centres = found[:, None, :3, 3], given[:, None, :3, 3]
    moved = min(tries, key=lambda each: float(np.median(_errors(each, *centres))))
    wide = _wide(found) and _wide(given)
    target, source = centres if wide else _beside(found, given, rigid, np.cbrt(np.linalg.det(moved[:3, :3])))
    for _ in range(ROUNDS):
        errors = _errors(moved, target, source)
        usual = max(float(np.median(errors)), 1e-3 * _spread(found), 1e-9)
        moved = _fit(target, source, 1 / (1 + (errors / (2 * usual)) ** 2) ** 2, rigid)
    return moved


def _errors(moved: np.ndarray, target: np.ndarray, source: np.ndarray) -> np.ndarray:
    """``[N]``: how far ``moved [4,4]`` leaves points ``[N,S,3]`` apart, the worst of each camera."""
    return np.linalg.norm(geometry.transform(moved, source) - target, axis=-1).max(-1)


def _beside(
    found: np.ndarray, given: np.ndarray, rigid: bool, scale: float | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Points ``[N,6,3]`` on the axes of both kinds of cameras, as far off as the centres are spread; ``scale`` is that
    of the found ones per given one, None for what the spreads say."""
    far = _spread(found) or 1.0
    if scale is None:
        scale = 1.0 if rigid else _spread(found) / _spread(given)
    target, source = (
        poses[:, None, :3, 3] + size * np.einsum("nij,sj->nsi", poses[:, :3, :3], AXES)
        for poses, size in ((found, far), (given, far / scale))
    )
    return target, source


def _spread(poses: np.ndarray) -> float:
    """How far most centres are from the middle of them; 0 where that is rounding."""
    middle = np.median(poses[:, :3, 3], axis=0)
    spread = float(np.median(np.linalg.norm(poses[:, :3, 3] - middle, axis=1)))
    return spread if spread > 1e-6 * (1 + np.linalg.norm(middle)) else 0.0


def _wide(poses: np.ndarray) -> bool:
    """Whether centres fix a similarity: three at least, not on a line."""
    lengths = np.linalg.svd(poses[:, :3, 3] - poses[:, :3, 3].mean(0), compute_uv=False)
    return len(poses) > 2 and _spread(poses) > 0 and bool(lengths[1] > FLAT * lengths[0])


def _fit(target: np.ndarray, source: np.ndarray, weights: np.ndarray, rigid: bool) -> np.ndarray:
    """``target_from_source [4,4]`` of points ``[N,S,3]`` that have the weights ``[N]``; the turn of the best similarity
    does not depend on its scale."""
    shared = np.repeat(weights, target.shape[1])
    target, source = target.reshape(-1, 3), source.reshape(-1, 3)
    moved = geometry.similarity(target, source, shared)
    if not rigid:
        return moved
    rotation, shared = moved[:3, :3] / np.cbrt(np.linalg.det(moved[:3, :3])), shared / shared.sum()
    return geometry.rigid(rotation, shared @ target - rotation @ (shared @ source))
