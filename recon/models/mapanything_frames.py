"""What MapAnything says of views in numbers, as frames of a scene."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recon import geometry
from recon.errors import InputError
from recon.models.base import Options
from recon.models.fitting import Fitted, framed
from recon.models.mapanything_known import Told
from recon.models.mapanything_masks import edges
from recon.scene import Camera, Frame, View

LEAST_ANGLE, LARGEST_ANGLE = np.radians(0.5), np.radians(175)  # of a field of view that a camera can have
USUAL_ANGLE = np.radians(60)


@dataclass(frozen=True)
class Rig:
    """Where the cameras of a run are.

    Attributes:
        world_from_camera: ``[V,4,4] float64``, of all views in the user's order.
        world_from_network: ``[4,4] float64``, a similarity to that world from the network's, which is in metres.
        metric: whether the world is in metres.
        notes: sentences for the user.
    """

    world_from_camera: np.ndarray
    world_from_network: np.ndarray
    metric: bool
    notes: list[str]

    @property
    def unit(self) -> float:
        """Units of the world that a metre is."""
        return float(np.cbrt(np.linalg.det(self.world_from_network[:3, :3])))


@dataclass(frozen=True)
class Maps:
    """What the network says of a view, in metres.

    Attributes:
        points_in_camera: ``[H,W,3] float32``.
        confidence: ``[H,W] float32``.
        clear: ``[H,W] bool``, False where depth means nothing.
        intrinsics: ``[3,3]`` that fit the rays best, pixel centres at integers.
    """

    points_in_camera: np.ndarray
    confidence: np.ndarray
    clear: np.ndarray
    intrinsics: np.ndarray


def rig_of(poses: np.ndarray, told: Sequence[Told], names: Sequence[str], align: bool) -> Rig:
    """The cameras of V views, in the world of those that are known, or else in that of the first view's camera.

    Known poses in metres are met by turning and moving alone; others tell their own unit.

    Args:
        poses: ``[V,4,4]``, the network's ``world_from_camera``, in metres.
        told: of each view.
        names: of the views.
        align: whether to meet the known poses.

    Raises:
        InputError: the network placed a view nowhere.
    """
    placed = np.isfinite(poses).all((1, 2))
    if not placed.all():
        lost = names[int(np.flatnonzero(~placed)[0])]
        raise InputError(f"The network found no place for '{lost}': leave it out, or try other photos.")
    given = {index: one.world_from_camera for index, one in enumerate(told) if one.world_from_camera is not None}
    if not given:
        return _in_first_camera(poses, [])
    known, target = list(given), np.stack(list(given.values()))
    metric = all(told[index].metric for index in known)
    world_from_network = geometry.align_cameras(target, poses[known], scaled=not metric)
    unit = float(np.cbrt(np.linalg.det(world_from_network[:3, :3])))
    moved = geometry.apply_similarity(world_from_network, poses)
    notes = []
    if len(known) > 1:
        apart = np.linalg.norm(moved[known, :3, 3] - target[:, :3, 3], axis=1) / (1 if metric else unit)
        turned = geometry.rotation_angle(np.swapaxes(target[:, :3, :3], 1, 2) @ moved[known, :3, :3])
        notes.append(
            f"The cameras found lie {_length(np.median(apart))} and {np.median(turned):.1f} degrees from the given "
            f"ones (median; at most {_length(apart.max())} and {turned.max():.1f} degrees): the network takes what is "
            "known as a hint."
        )
    if not align:
        return _in_first_camera(poses, notes)
    told_scale = metric or np.isclose(unit, 1, rtol=1e-9)  # as it is where poses tell of no lengths
    if not told_scale:
        notes.append(f"The scene has the scale of the given poses, one unit of which is about {_length(1 / unit)}.")
    return Rig(moved, world_from_network, bool(told_scale), notes)


def _in_first_camera(poses: np.ndarray, notes: list[str]) -> Rig:
    first_from_network = geometry.invert(poses[0])
    cameras = first_from_network @ poses
    cameras[0] = np.eye(4)
    return Rig(cameras, first_from_network, True, notes)


def _length(metres: float) -> str:
    """In words, as exact as it is worth."""
    return f"{100 * metres:.1f} cm" if metres < 1 else f"{metres:.2f} m"


def usable_intrinsics(
    intrinsics: np.ndarray, size: tuple[int, int], known: np.ndarray | None
) -> tuple[np.ndarray, bool]:
    """``[3,3] float64`` with pixel centres at +0.5, and whether they are the network's own.

    Args:
        intrinsics: ``[3,3]`` as the network's rays have them, pixel centres at integers.
        size: ``(width, height)`` of its input.
        known: what takes their place where no camera can be like that; None for a usual one.
    """
    found = np.asarray(intrinsics, np.float64)
    focal = found[(0, 1), (0, 1)]
    if np.isfinite(found).all() and (focal > 0).all():
        angles = 2 * np.arctan(np.array(size) / 2 / focal)
        if ((angles > LEAST_ANGLE) & (angles < LARGEST_ANGLE)).all():
            found = found.copy()
            found[:2, 2] += 0.5
            return found, True
    if known is not None:
        return known, False
    return geometry.intrinsics_from_focal(max(size) / 2 / np.tan(USUAL_ANGLE / 2), *size).astype(np.float64), False


def place(
    view: View,
    index: int,
    fitted: Fitted,
    camera: Camera,
    maps: Maps,
    unit: float,
    options: Options,
) -> Frame:
    """The frame of one view.

    Args:
        view: what it shows.
        index: of that view among the user's.
        fitted: the network's input.
        camera: of the whole input.
        maps: what the network says.
        unit: see `Rig.unit`.
        options: of the run. Points of the head lie along its rays, which need not be those of a pinhole camera.
    """
    points, confidence = unit * maps.points_in_camera, maps.confidence
    known = np.isfinite(points).all(-1) & np.isfinite(confidence) & (points[..., 2] > 0)
    points, confidence = np.where(known[..., None], points, 0), np.where(known, confidence, 0)
    depth = np.ascontiguousarray(points[..., 2])
    valid = None
    if options.mask:
        clear = maps.clear & known
        valid = clear & ~edges(points, depth, clear)
    world_points = None
    if options.points == "head":
        world_points = geometry.transform(camera.world_from_camera, points).astype(np.float32)
    return framed(view, index, fitted, camera, depth, confidence, world_points, valid)
