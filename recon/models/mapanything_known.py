"""What is known of views beside their pictures, as far as it can be: intrinsics, poses, depth, and whether in metres.

What cannot be is left out, and a sentence tells which and why: the pictures alone are enough for a run.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
import torch

from recon import geometry
from recon.models.base import Use
from recon.models.mapanything_fitting import Placement, place_depth, place_intrinsics
from recon.networks.layers.pose_encoding import quaternion_from_rotation
from recon.networks.mapanything_inputs import Known, along_rays, rays_of
from recon.scene import View

LOOSE = 0.01  # how far from orthogonal a rotation may be, as files of few digits make it
ASPECT = 0.02  # by which share the aspect of depth may differ from the picture's
NAMED = 2  # views that a sentence names

NO_CAMERA = "The intrinsics of {} are no pinhole camera's and are not used."
OTHER_SIZE = "The intrinsics of {} look past the picture, as those of another resolution do, and are not used."
NO_NUMBERS = "The pose of {} holds values that are no numbers and is not used."
MIRRORED = "The pose of {} mirrors the world and is not used: give right-handed axes, x right, y down, z forward."
SCALED = "The pose of {} scales or skews the world and is not used: give rotations that only turn."
NO_MAP = "The depth of {} is no map of numbers and is not used."
OTHER_ASPECT = "The depth of {} has another aspect than the picture and is not used."
NO_DEPTH = "The depth of {} knows no pixel and is not used."
UNCALIBRATED = "The depth of {} is not used, since the network reads depth only where intrinsics are known."

Value = TypeVar("Value")


@dataclass(frozen=True)
class Told:
    """What is known of a view and can be.

    Attributes:
        intrinsics: ``[3,3] float64`` in pixels of the view's picture, or None.
        world_from_camera: ``[4,4] float64``, rigid, or None.
        depth: ``[H,W] float32`` z-depth of the picture's size, 0 where it is not known, or None.
        metric: whether pose and depth are in metres.
    """

    intrinsics: np.ndarray | None = None
    world_from_camera: np.ndarray | None = None
    depth: np.ndarray | None = None
    metric: bool = False


class _Impossible(Exception):
    """A value that cannot be; the words are a sentence with a place for the names of its views."""


def told_of(views: Sequence[View], use: Sequence[Use]) -> tuple[list[Told], list[str]]:
    """What may be told of each view, and sentences on what may not.

    Intrinsics that are not to be used still tell what the known depth means.
    """
    complaints: dict[str, list[str]] = {}

    def checked(check: Callable[[View], Value | None], view: View) -> Value | None:
        try:
            return check(view)
        except _Impossible as reason:
            complaints.setdefault(str(reason), []).append(view.name)
            return None

    told = []
    for view in views:
        wants_depth = "depth" in use and view.depth is not None
        intrinsics = checked(_intrinsics, view) if "intrinsics" in use or wants_depth else None
        pose = checked(_pose, view) if "poses" in use else None
        depth = checked(_depth, view) if wants_depth else None
        if depth is not None and intrinsics is None:
            complaints.setdefault(UNCALIBRATED, []).append(view.name)
            depth = None
        told.append(Told(intrinsics, pose, depth, bool(view.metric) and "scale" in use))
    return told, [sentence.format(_named(names)) for sentence, names in complaints.items()]


def internal_order(told: Sequence[Told]) -> list[int]:
    """The views as the network is given them: the first is one with a pose, if any is; the others stay in order."""
    posed = [index for index, one in enumerate(told) if one.world_from_camera is not None]
    first = posed[0] if posed else 0
    return [first, *(index for index in range(len(told)) if index != first)]


def known_of(told: Sequence[Told], placements: Sequence[Placement], use: Sequence[Use], device: torch.device) -> Known:
    """As the network takes it, of views in its order; a single pose, which tells nothing, is left out.

    Args:
        told: of each view.
        placements: how their pictures were brought to the network's size.
        use: see `recon.Options.use`.
        device: of the maps.
    """
    known = Known()
    width, height = placements[0].size
    metric = torch.tensor([[one.metric for one in told]], device=device)
    cameras = {
        index: torch.from_numpy(network_intrinsics(one.intrinsics, placed)).float().to(device)
        for index, (one, placed) in enumerate(zip(told, placements, strict=True))
        if one.intrinsics is not None
    }
    if cameras and "intrinsics" in use:
        known.rays = rays_of(torch.stack(list(cameras.values())), height, width)
        known.has_rays = _marks(cameras, told, device)
    depth = {
        index: torch.from_numpy(place_depth(one.depth, placed)).to(device)
        for index, (one, placed) in enumerate(zip(told, placements, strict=True))
        if one.depth is not None
    }
    if depth:
        rays = rays_of(torch.stack([cameras[index] for index in depth]), height, width)
        known.depth = along_rays(torch.stack(list(depth.values())), rays)
        known.has_depth, known.metric_depth = _marks(depth, told, device), metric
    poses = {index: one.world_from_camera for index, one in enumerate(told) if one.world_from_camera is not None}
    if len(poses) > 1:
        matrices = np.tile(np.eye(4), (len(told), 1, 1))
        matrices[list(poses)] = list(poses.values())
        matrices[:, :3, 3] -= matrices[0, :3, 3]  # here, since float32 would lose what is far from the origin
        given = torch.from_numpy(matrices)[None]
        known.quaternions = quaternion_from_rotation(given[..., :3, :3]).float().to(device)
        known.translations = given[..., :3, 3].float().to(device)
        known.has_pose = _marks(poses, told, device)
        moving = bool(np.abs(matrices[list(poses), :3, 3]).max() > 0)  # else there is no length to tell
        known.metric_pose = metric & moving
    return known


def network_intrinsics(intrinsics: np.ndarray, placed: Placement) -> np.ndarray:
    """``[3,3]`` of a picture to those of the network's input, whose pixel centres lie at integers."""
    moved = place_intrinsics(intrinsics, placed)
    moved[:2, 2] -= 0.5
    return moved


def _marks(indices: Collection[int], told: Sequence[Told], device: torch.device) -> torch.Tensor:
    """``[1,V] bool``."""
    return torch.tensor([[index in indices for index in range(len(told))]], device=device)


def _intrinsics(view: View) -> np.ndarray | None:
    if view.intrinsics is None:
        return None
    matrix = np.asarray(view.intrinsics, np.float64)
    if matrix.shape != (3, 3) or not np.isfinite(matrix).all() or min(matrix[0, 0], matrix[1, 1]) <= 0:
        raise _Impossible(NO_CAMERA)
    if not np.allclose(matrix[2], [0, 0, 1], atol=1e-6):
        raise _Impossible(NO_CAMERA)
    if not ((matrix[:2, 2] > 0) & (matrix[:2, 2] < view.size)).all():
        raise _Impossible(OTHER_SIZE)
    return matrix


def _pose(view: View) -> np.ndarray | None:
    if view.world_from_camera is None:
        return None
    matrix = np.asarray(view.world_from_camera, np.float64)
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
        raise _Impossible(NO_NUMBERS)
    rotation = matrix[:3, :3]
    if np.linalg.det(rotation) < 0:
        raise _Impossible(MIRRORED)
    if np.abs(rotation.T @ rotation - np.eye(3)).max() > LOOSE or not np.allclose(matrix[3], [0, 0, 0, 1], atol=1e-6):
        raise _Impossible(SCALED)
    return geometry.rigid(geometry.nearest_rotation(rotation), matrix[:3, 3])


def _depth(view: View) -> np.ndarray | None:
    assert view.depth is not None
    depth = np.asarray(view.depth, np.float32)
    if depth.ndim != 2 or not depth.size:
        raise _Impossible(NO_MAP)
    width, height = view.size
    if abs(depth.shape[1] * height / (depth.shape[0] * width) - 1) > ASPECT:
        raise _Impossible(OTHER_ASPECT)
    depth = np.where(np.isfinite(depth) & (depth > 0), depth, np.float32(0))
    if not depth.any():
        raise _Impossible(NO_DEPTH)
    if depth.shape == (height, width):
        return depth
    return cv2.resize(depth, (width, height), interpolation=cv2.INTER_NEAREST)


def _named(names: Sequence[str]) -> str:
    """Names of views in a sentence: the first few, then how many more."""
    few = [f"'{name}'" for name in names[:NAMED]]
    more = len(names) - len(few)
    if more:
        return f"{', '.join(few)} and {more} more"
    return " and ".join(few)
