"""Tracks of a scene as observations of points, in the terms of bundle adjustment.

Working pixels are those of the untouched photo resized so that its long side is `LONG_SIDE`, moved so that the
principal point is in the middle of the picture. They are square, and a tolerance in them means the same for all models.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recon import geometry
from recon.alignment import depth as depth_fit
from recon.alignment.bundle import Mapping
from recon.alignment.mapping import REPROJECTION_ERROR, drop_weak, solve_points
from recon.alignment.matching import LONG_SIDE, transform_pixels
from recon.scene import Frame, Tracks

VISIBLE, CONFIDENT = 0.2, 0.2  # of a track in a frame, at least
UNSURE = 10  # percent of a frame's depths, the least confident ones, on which no point is started ...
ENOUGH = 512  # ... where so many points are left
MOST = 200_000  # observations: some fifteen seconds of one core to adjust
ZOOM = 0.15  # of the logarithm of a focal length: frames that differ by more did not share a lens
FOCAL_DEVIATION = 0.1  # of the logarithm of what a model says of a focal length


def observe(frames: Sequence[Frame], tracks: Tracks, own_cameras: bool = False) -> Mapping:
    """What tracks through a scene's frames observe, and their points where the frames' depth puts them.

    An observation is left out where the model calls it hidden or unsure, where it lies outside the picture, on what
    the frame says nothing of or on a moving thing, and where its track has no second one. ``mapping.point`` indexes the
    tracks. A point starts at the depth of the frame in which it was picked; where that is unknown, it is triangulated.
    Frames of one original size share a focal length, but for those that differ from the others by more than `ZOOM`;
    with ``own_cameras`` each keeps the rays of its own camera, and working pixels are those of the shared one.
    """
    working = [working_from_frame(frame) for frame in frames]
    focal = np.array([_working_focal(frame, matrix) for frame, matrix in zip(frames, working, strict=True)])
    group = group_by_camera([frame.original_size for frame in frames], focal)
    prior = np.array([np.exp(np.median(np.log(focal[group == g]))) for g in range(group.max(initial=-1) + 1)])
    size = np.array([_working_size(frame) for frame in frames]).reshape(-1, 2)

    if own_cameras:
        working = [
            geometry.intrinsics_from_focal(float(prior[g]), *wide)
            @ np.linalg.inv(frame.camera.intrinsics.astype(float))
            for frame, g, wide in zip(frames, group, size, strict=True)
        ]

    query_depth, sure = _query_depth(frames, tracks)
    seen = (tracks.visibility > VISIBLE) & (tracks.confidence > CONFIDENT)
    seen[tracks.query, np.arange(len(tracks.query))] = True
    seen &= np.array([_usable(frame, pixels) for frame, pixels in zip(frames, tracks.pixels, strict=True)], bool)
    seen &= seen.sum(0) >= 2
    if (seen & sure).any(0).sum() >= ENOUGH:
        seen &= sure
    if seen.sum() > MOST:
        followed = np.flatnonzero(seen.any(0))
        kept = followed[np.linspace(0, len(followed) - 1, int(len(followed) * MOST / seen.sum())).astype(int)]
        seen &= np.isin(np.arange(seen.shape[1]), kept)

    view, point = np.nonzero(seen)
    pixels = np.zeros((len(view), 2))
    for index, matrix in enumerate(working):
        here = view == index
        pixels[here] = transform_pixels(matrix, tracks.pixels[index, point[here]].astype(float))
    mapping = Mapping(
        group=group, size=size, focal=prior.copy(), focal_prior=prior,
        focal_deviation=np.full(len(prior), FOCAL_DEVIATION), view=view, point=point, pixels=pixels,
        points=np.full((len(tracks.query), 3), np.nan), used=np.ones(len(view), bool),
        poses={i: geometry.invert(frame.camera.world_from_camera.astype(float)) for i, frame in enumerate(frames)},
    )  # fmt: skip
    _start_points(mapping, query_depth, tracks.query)
    return mapping


def settle(mapping: Mapping) -> None:
    """Triangulate each point anew from the observations that agree with where it starts; in place.

    Unlike `mapping.triangulate`, which knows no start, it is not led astray by gross outliers.
    """
    for tolerance in (4 * REPROJECTION_ERROR, REPROJECTION_ERROR):
        mapping.used = mapping.errors() < tolerance
        solve_points(mapping, mapping.used)
    mapping.used = mapping.errors() < REPROJECTION_ERROR
    drop_weak(mapping)


def working_from_frame(frame: Frame) -> np.ndarray:
    """``[3,3]``: pixels of a frame to working pixels."""
    scale = LONG_SIDE / max(frame.original_size)
    matrix = np.diag([scale, scale, 1.0]) @ frame.original_from_processed.astype(float)
    principal = matrix @ frame.camera.intrinsics[:, 2]
    matrix[:2, 2] += _working_size(frame) / 2 - principal[:2]
    return matrix


def group_by_camera(sizes: list[tuple[int, int]], focal: np.ndarray) -> np.ndarray:
    """``[F] int``: frames of one size and about one focal length ``[F]`` are of one camera."""
    group = np.zeros(len(sizes), int)
    count = 0
    for size in dict.fromkeys(sizes):
        rest = np.array([index for index, other in enumerate(sizes) if other == size])
        while len(rest):
            logarithm = np.log(focal[rest])
            middle = np.sort(logarithm)[(len(rest) - 1) // 2]  # one of them, so that each group has a member
            alike = np.abs(logarithm - middle) <= ZOOM
            group[rest[alike]] = count
            rest, count = rest[~alike], count + 1
    return group


def _working_size(frame: Frame) -> np.ndarray:
    return np.array(frame.original_size) * (LONG_SIDE / max(frame.original_size))


def _working_focal(frame: Frame, working: np.ndarray) -> float:
    intrinsics = working @ frame.camera.intrinsics
    return float(np.sqrt(intrinsics[0, 0] * intrinsics[1, 1]))


def _usable(frame: Frame, pixels: np.ndarray) -> np.ndarray:
    """``[N] bool``: pixels ``[N,2]`` in the picture, on what the frame knows and on nothing that moves."""
    width, height = frame.size
    with np.errstate(invalid="ignore"):
        usable = (pixels >= 0).all(1) & (pixels[:, 0] < width) & (pixels[:, 1] < height)
    columns, rows = np.where(usable[:, None], pixels, 0).astype(int).T
    if frame.valid is not None:
        usable &= frame.valid[rows, columns]
    if frame.moving is not None:
        usable &= ~frame.moving[rows, columns]
    return usable


def _query_depth(frames: Sequence[Frame], tracks: Tracks) -> tuple[np.ndarray, np.ndarray]:
    """``[N]``: the depth of each track where it was picked, nan where unknown; ``[N] bool``: not an unsure one."""
    depth, sure = np.full(len(tracks.query), np.nan), np.zeros(len(tracks.query), bool)
    for index in np.unique(tracks.query):
        frame, members = frames[index], np.flatnonzero(tracks.query == index)
        known = frame.known()
        if not known.any():
            continue
        pixels = tracks.pixels[index, members]
        depth[members] = depth_fit.sample(np.where(known, frame.depth, 0), pixels)
        columns, rows = np.clip(pixels, 0, np.array(frame.size) - 1).astype(int).T
        sure[members] = frame.confidence[rows, columns] >= np.percentile(frame.confidence[known], UNSURE)
    return depth, sure & np.isfinite(depth)


def _start_points(mapping: Mapping, query_depth: np.ndarray, query: np.ndarray) -> None:
    """Put each point where the depth of its query frame says, else where its rays meet; in place."""
    rows = np.flatnonzero((mapping.view == query[mapping.point]) & np.isfinite(query_depth[mapping.point]))
    view, point = mapping.view[rows], mapping.point[rows]
    rays = (mapping.pixels[rows] - mapping.size[view] / 2) / mapping.focal[mapping.group[view], None]
    local = np.column_stack([rays, np.ones(len(rows))]) * query_depth[point, None]
    world_from_camera = geometry.invert(mapping.pose_array())[view]
    mapping.points[point] = np.einsum("nij,nj->ni", world_from_camera[:, :3, :3], local) + world_from_camera[:, :3, 3]
    solve_points(mapping, ~np.isfinite(mapping.points[mapping.point, 0]))
