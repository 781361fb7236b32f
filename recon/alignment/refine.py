"""Refine the cameras of any scene by bundle adjustment over its tracks (Triggs et al. 1999), and its depth with them.

The scene is the start: its cameras, and points where its depth puts them. Observations far from there are left out, the
rest is adjusted, with a loss and a tolerance that narrow; a frame of which hardly any observation fits is placed by the
others' points instead. Frames of one camera share a focal length (`observations.observe`), pixels of the photo are
square; principal points are held, and so are the focal lengths of fewer than `FOCAL_FRAMES` frames, which hardly tell.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from recon import geometry
from recon.alignment import depth as depth_fit
from recon.alignment.bundle import LOSS_SCALE, Mapping, adjust
from recon.alignment.mapping import REPROJECTION_ERROR, drop_weak, register, solve_points, triangulate
from recon.alignment.matching import LONG_SIDE, transform_pixels
from recon.alignment.observations import observe, working_from_frame
from recon.errors import InputError
from recon.scene import Camera, Frame, Scene

NARROWEST, WIDEST = 2 * REPROJECTION_ERROR, LONG_SIDE / 8  # tolerance at the start, in working pixels
USUAL_FACTOR = 3.0  # times the median error at the start, between the two
NARROWING = 4.0  # of the tolerance from one adjustment to the next
SHARPNESS = 8.0  # the tolerance over the scale of the loss, as it is when errors are small, about
ITERATIONS = 50
ROUNDS = 3  # of adjustment once errors are small
FEWEST, FEWEST_SHARE = 20, 0.2  # observations of a frame that must agree, and of those it has
FOCAL_FRAMES = 3  # from so many on focal lengths are adjusted


@dataclass(frozen=True)
class ReprojectionError:
    """How far from where tracks see them points fall, in pixels of the frames; nan where there is nothing to measure.

    Measured in all frames but the one in which a point was picked: there the scene's own depth puts it exactly.
    """

    median: float
    mean: float


@dataclass(frozen=True)
class Refinement:
    """What `refine` did.

    Attributes:
        changed: indices of the frames that were refined; empty where the scene was left as it was.
        weak: indices of the frames that too few points tie to the others to be refined.
        points: number of adjusted points.
        observations: number of observations that agree with them.
        before: of these observations, with the cameras and points that the scene had.
        after: of the same observations, with the adjusted ones.
    """

    changed: tuple[int, ...]
    weak: tuple[int, ...]
    points: int
    observations: int
    before: ReprojectionError
    after: ReprojectionError


def refine(scene: Scene) -> Generator[tuple[float, str], None, Refinement]:
    """Adjust cameras, depth and points of a scene in place by its tracks, yielding ``(fraction, message)``.

    The first refined frame (the scene's first, unless that is weak) keeps its place, and the scene its scale, that of
    its depth over the adjusted points. Each refined frame's depth is fitted to the points seen in it (`depth.fit`); a
    pointmap of the model's own moves along with its camera and is fitted likewise. Weak frames stay as they were. Sets
    ``scene.sparse_points`` and adds to ``scene.notes``. Nothing changes before the end, and nothing at all where too
    little agrees or the reprojection error would not fall; a note then says so.

    Raises:
        InputError: the scene has no tracks, or those of another scene.
    """
    yield 0.0, "Choosing points to adjust by"
    tracks = scene.tracks
    if tracks is None:
        raise InputError("This scene has no tracks: follow points through it first (model.track), then refine it.")
    if len(tracks.pixels) != len(scene.frames):
        raise InputError(
            "The tracks are not of this scene's frames: follow points again (model.track), then refine it."
        )
    start = observe(scene.frames, tracks)
    picked = start.view == tracks.query[start.point]
    before = start.errors()
    tolerance = _usual(before[~picked])
    mapping, rows = _plausible(start, before < tolerance)
    fraction = 0.1
    while tolerance > REPROJECTION_ERROR:
        mapping.used = mapping.errors() < tolerance
        drop_weak(mapping)
        _leave_out_weak(mapping, start)
        yield fraction, f"Adjusting {len(mapping.poses)} cameras to {tolerance:.0f} pixels"
        free = len(mapping.poses) >= FOCAL_FRAMES
        adjust(mapping, free, ITERATIONS, max(LOSS_SCALE, tolerance / SHARPNESS))
        adjusted = np.isin(mapping.point, mapping.point[mapping.used])
        solve_points(mapping, mapping.registered()[mapping.view] & ~adjusted)  # where depth was wrong, rays may meet
        tolerance, fraction = tolerance / NARROWING, fraction + 0.1
    for view in sorted(set(start.poses) - mapping.poses.keys()):
        register(mapping, view)
    for turn in range(ROUNDS):
        triangulate(mapping)
        _leave_out_weak(mapping, start)
        yield 0.4 + 0.5 * turn / ROUNDS, f"Adjusting {len(mapping.poses)} cameras and {_points(mapping)} points"
        adjust(mapping, len(mapping.poses) >= FOCAL_FRAMES, ITERATIONS)
    triangulate(mapping)
    _leave_out_weak(mapping, start)
    yield 0.9, "Fitting depth"
    return _finish(scene, mapping, before[rows], ~picked[rows])


def _usual(errors: np.ndarray) -> float:
    """The tolerance to start with: some times the usual error, whatever the cameras' quality."""
    errors = errors[np.isfinite(errors)]
    return float(np.clip(USUAL_FACTOR * np.median(errors), NARROWEST, WIDEST)) if len(errors) else NARROWEST


def _plausible(start: Mapping, plausible: np.ndarray) -> tuple[Mapping, np.ndarray]:
    """The mapping without what can only be an outlier, and which of its observations ``[O]`` that leaves.

    A frame where that is nearly everything is itself in the wrong place: it keeps all, but its pose counts for nothing.
    """
    everything, good = (np.bincount(start.view[chosen], minlength=len(start.size)) for chosen in (..., plausible))
    misplaced = good < FEWEST_SHARE * everything
    rows = np.flatnonzero(plausible | misplaced[start.view])
    poses = {view: pose for view, pose in start.poses.items() if not misplaced[view]}
    return replace(
        start, view=start.view[rows], point=start.point[rows], pixels=start.pixels[rows], used=start.used[rows],
        points=start.points.copy(), focal=start.focal.copy(), poses=poses,
    ), rows  # fmt: skip


def _leave_out_weak(mapping: Mapping, start: Mapping) -> None:
    """Take the poses of frames that too few points tie to the others, and what they saw; in place.

    Those are frames of which too few of the observations in ``start`` agree, and all that share too few points with the
    largest set of frames that hangs together: between two such sets bundle adjustment would tell nothing.
    """
    wanted = np.maximum(FEWEST, FEWEST_SHARE * np.bincount(start.view, minlength=len(start.size)))
    while True:
        counts = np.bincount(mapping.view[mapping.used], minlength=len(wanted))
        strong = mapping.registered() & (counts >= wanted) & _together(mapping)
        if len(mapping.poses) == strong.sum():
            return
        mapping.poses = {view: pose for view, pose in mapping.poses.items() if strong[view]}
        mapping.used &= strong[mapping.view]
        drop_weak(mapping)


def _together(mapping: Mapping) -> np.ndarray:
    """``[V] bool``: the largest set of views of which each shares at least `FEWEST` points with another of them."""
    points, point = np.unique(mapping.point[mapping.used], return_inverse=True)
    seen = np.zeros((len(mapping.size), len(points)), np.float32)
    seen[mapping.view[mapping.used], point] = 1
    tied = seen @ seen.T >= FEWEST
    largest = rest = np.zeros(len(seen), bool)
    while not rest.all():
        group = np.zeros(len(seen), bool)
        group[np.argmin(rest)] = True
        while (grown := group | tied[group].any(0)).sum() > group.sum():
            group = grown
        rest = rest | group
        largest = group if group.sum() > largest.sum() else largest
    return largest


def _points(mapping: Mapping) -> int:
    return len(np.unique(mapping.point[mapping.used]))


# --- from the mapping back to the scene ----------------------------------------------------------------------------


def _finish(scene: Scene, mapping: Mapping, before: np.ndarray, counts: np.ndarray) -> Refinement:
    """Apply the mapping to the scene if it is better, and tell.

    Args:
        before: ``[O]`` errors that the observations had with the scene as it is.
        counts: ``[O] bool``, those to measure by.
    """
    weak = tuple(index for index in range(len(scene.frames)) if index not in mapping.poses)
    frame_from_working = [np.linalg.inv(working_from_frame(frame)) for frame in scene.frames]
    unit = np.array([np.sqrt(np.linalg.det(matrix[:2, :2])) for matrix in frame_from_working])[mapping.view]
    before, after = before * unit, mapping.errors() * unit
    both = counts & np.isfinite(before) & np.isfinite(after)
    agreeing = both & mapping.used
    result = Refinement(
        tuple(sorted(mapping.poses)), weak, _points(mapping), int(mapping.used.sum()),
        _measure(before[agreeing]), _measure(after[agreeing]),
    )  # fmt: skip
    if not agreeing.any():
        scene.notes.append("Refinement changed nothing: too few tracked points agree between frames.")
    elif np.median(after[both]) >= np.median(before[both]):
        scene.notes.append("Refinement changed nothing: the cameras fit the tracked points as well as they can.")
    else:
        _apply(scene, mapping, frame_from_working)
        scene.notes += _sentences(scene, mapping, result)
        return result
    return replace(result, changed=(), points=0, observations=0, after=result.before)


def _measure(errors: np.ndarray) -> ReprojectionError:
    return ReprojectionError(float(np.median(errors)), float(np.mean(errors))) if len(errors) else _NOTHING


_NOTHING = ReprojectionError(float("nan"), float("nan"))


def _apply(scene: Scene, mapping: Mapping, frame_from_working: Sequence[np.ndarray]) -> None:
    frames, poses = scene.frames, mapping.poses
    targets = {}
    for index in poses:
        pixels, depth = mapping.seen_by(index)
        targets[index] = transform_pixels(frame_from_working[index], pixels), depth
    scale = depth_fit.common_scale((frames[index].depth, *target) for index, target in targets.items()) or 1.0
    first = min(poses)
    world_from_first = frames[first].camera.world_from_camera.astype(float)

    def in_world(points: np.ndarray) -> np.ndarray:
        return geometry.transform(world_from_first, scale * geometry.transform(poses[first], points))

    for index, pose in poses.items():
        working = geometry.intrinsics_from_focal(float(mapping.focal[mapping.group[index]]), *mapping.size[index])
        centre = in_world(geometry.invert(pose)[:3, 3])
        rotation = world_from_first[:3, :3] @ poses[first][:3, :3] @ pose[:3, :3].T
        intrinsics, world_from_camera = frame_from_working[index] @ working, geometry.rigid(rotation, centre)
        camera = Camera(intrinsics.astype(np.float32), world_from_camera.astype(np.float32))
        pixels, depth = targets[index]
        _move(frames[index], camera, pixels, depth * scale)
    known = mapping.points[np.isfinite(mapping.points[:, 0])]
    scene.sparse_points = in_world(known).astype(np.float32)


def _move(frame: Frame, camera: Camera, pixels: np.ndarray, depth: np.ndarray) -> None:
    """Give a frame another camera, and fit its maps to ``depth [N]`` at ``pixels [N,2]``; in place.

    The model's own points stay on their pixels' rays: they turn with the camera, and widen as its field of view does.
    """
    if frame.points is not None:
        points = geometry.transform(frame.camera.camera_from_world, frame.points)
        in_front = np.where(frame.known() & (points[..., 2] > 0), points[..., 2], 0)
        fitted = depth_fit.fit(in_front, pixels, depth)
        if fitted is not None:
            points = points * np.divide(fitted, in_front, out=np.ones_like(in_front), where=in_front > 0)[..., None]
        widening = frame.camera.intrinsics[[0, 1], [0, 1]] / camera.intrinsics[[0, 1], [0, 1]]
        points = points * np.append(widening, 1)
        frame.points = geometry.transform(camera.world_from_camera, points).astype(np.float32)
    fitted = depth_fit.fit(frame.depth, pixels, depth)
    if fitted is not None:
        frame.depth = fitted
    frame.camera = camera


def _sentences(scene: Scene, mapping: Mapping, result: Refinement) -> list[str]:
    cameras = len({int(mapping.group[index]) for index in result.changed})
    focal = "one focal length for all frames" if cameras == 1 else f"{cameras} focal lengths"
    focal = "focal lengths held" if len(result.changed) < FOCAL_FRAMES else focal
    sentences = [
        f"Bundle adjustment over {result.points:,} tracked points, with {focal}: the median reprojection error fell "
        f"from {result.before.median:.2f} to {result.after.median:.2f} pixels."
    ]
    names = [scene.frames[index].name for index in result.weak]
    if len(names) == 1:
        sentences.append(f"{names[0]} shares too few tracked points with the others to be refined: it stays as it was.")
    elif names:
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        sentences.append(f"{shown} share too few tracked points with the others to be refined: they stay as they were.")
    return sentences
