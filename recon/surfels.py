"""Any scene's points as 3D Gaussians, flat on the surfaces that pixels see: to look at, and to start a training from.

A pixel is a small area of a surface. Its Gaussian is the image of a round spot in the picture under the pointmap: the
gaps to the neighbouring pixels' points span it, so it is as large as the gap, as slanted as the surface, and seen from
its own camera a spot again (surface splatting: Zwicker et al. 2001, section 4; surfels: Pfister et al. 2000).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recon import geometry
from recon.scene import Frame, Gaussians, Scene

MOST = 1_000_000  # Gaussians of a file that programs still open with ease, 68 bytes each
WIDTH = 0.5  # standard deviation over the gap between neighbours
THINNED = 1.3  # times as wide where pixels were left out, since those that are left lie unevenly
FLATNESS = 0.1  # thickness over the smaller width
LONGEST = 4.0  # gap over the width of a pixel there: what is further apart is another surface, or seen from its edge
OPACITIES = 0.5, 0.99  # of the least and of the most confident point
IN_FRONT = 0.02  # of the depth that another view sees: what is nearer by more contradicts it
WITNESSES = 8  # other views that are asked, spread evenly
SAMPLES = 200_000  # of which ranks are told
CONSTANT = 0.28209479177387814  # the harmonic of degree 0


def gaussians_of(scene: Scene, masks: Sequence[np.ndarray], most: int = MOST) -> Gaussians:
    """Those of the scene that lie in ``masks``; where it has none, those of its points (`from_points`).

    Args:
        scene: any.
        masks: ``[H,W] bool`` a frame (`filters.keep`).
        most: how many at most.
    """
    if scene.gaussians is None:
        return from_points(scene, masks, most)
    everyone = scene.gaussians
    kept = np.zeros(len(everyone), bool)
    for index, mask in enumerate(masks):
        mine = np.flatnonzero(everyone.frame == index)
        column, row = everyone.pixel[mine].T
        kept[mine] = mask[row, column]
    chosen = np.flatnonzero(kept)
    if len(chosen) > most:
        chosen = np.sort(chosen[np.argsort(-everyone.opacities[chosen], kind="stable")[:most]])
    return everyone.chosen(chosen)


def from_points(scene: Scene, masks: Sequence[np.ndarray], most: int = MOST) -> Gaussians:
    """Gaussians of a scene's points: at most one a masked pixel, about ``most`` of them.

    Where there are more pixels than that, the most confident one of each small square of each picture is taken, and the
    Gaussians are as much larger. Opacity goes with the rank of the confidence in the whole scene, and falls with the
    square of the share of other views that see through the place (`seen_through`). They look the same from everywhere
    (harmonics of degree 0).
    """
    side = max(1.0, float(np.sqrt(sum(int(mask.sum()) for mask in masks) / max(1, most))))
    ranked = _sample([frame.confidence[frame.known()] for frame in scene.frames])
    parts = [
        _of_frame(index, frame, thinned(frame, mask, side), side, ranked)
        for index, (frame, mask) in enumerate(zip(scene.frames, masks, strict=True))
    ]
    joined = Gaussians.joined(parts)
    joined.opacities *= (1 - seen_through(joined, scene.frames)) ** 2
    return joined


def seen_through(gaussians: Gaussians, frames: Sequence[Frame]) -> np.ndarray:
    """``[N] float32``: of the views that see the place of each, but for its own, the share that sees something behind.

    Two views never agree quite, and before the eye of one of them hangs what the other is wrong about. What moves tells
    nothing, nor what is behind something else.
    """
    through, asked = np.zeros(len(gaussians), np.float32), np.zeros(len(gaussians), np.float32)
    own = np.unique(gaussians.frame)
    still = np.ones(len(gaussians), bool)
    for index in own:
        if (moving := frames[index].moving) is not None:
            here = np.flatnonzero(gaussians.frame == index)
            column, row = gaussians.pixel[here].T
            still[here] = ~moving[row, column]
    witnesses = {index: set(_witnesses(index, len(frames))) for index in own.tolist()}
    for index, frame in enumerate(frames):
        mine = still & np.isin(gaussians.frame, [other for other in own.tolist() if index in witnesses[other]])
        points = geometry.transform(frame.camera.camera_from_world, gaussians.means[mine])
        pixels = geometry.project(points, frame.camera.intrinsics)
        inside = (points[:, 2] > 0) & (pixels >= 0).all(-1) & (pixels < frame.size).all(-1)
        column, row = pixels[inside].astype(int).T
        known = frame.known() if frame.moving is None else frame.known() & ~frame.moving
        place = np.flatnonzero(mine)[inside][known[row, column]]
        depth = frame.depth[row, column][known[row, column]]
        asked[place] += 1
        through[place] += points[inside][known[row, column], 2] < (1 - IN_FRONT) * depth
    return through / np.maximum(asked, 1)


def _witnesses(index: int, count: int) -> list[int]:
    """Which of the frames are asked about what one of them shows."""
    others = [other for other in range(count) if other != index]
    return others[:: max(1, -(-len(others) // WITNESSES))]


def thinned(frame: Frame, mask: np.ndarray, side: float) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the most confident masked pixel in each square of ``side`` pixels, a fraction or more."""
    rows, columns = np.nonzero(mask)
    if side <= 1:
        return rows, columns
    square = (rows // side) * (mask.shape[1] // side + 1) + columns // side
    order = np.lexsort((-frame.confidence[rows, columns], square))
    best = np.sort(order[np.unique(square[order], return_index=True)[1]])
    return rows[best], columns[best]


def _of_frame(
    index: int, frame: Frame, place: tuple[np.ndarray, np.ndarray], side: float, ranked: np.ndarray
) -> Gaussians:
    rows, columns = place
    rank = np.searchsorted(ranked, frame.confidence[place], side="right") / max(1, len(ranked))
    scales, rotations = _shapes(frame, place)
    low, high = OPACITIES
    return Gaussians(
        frame.world_points()[place].astype(np.float32),
        (WIDTH * side * scales * (THINNED if side > 1 else 1)).astype(np.float32),
        rotations,
        (low + (high - low) * rank).astype(np.float32),
        ((frame.image[place].astype(np.float32) / 255 - 0.5) / CONSTANT)[..., None],
        np.full(len(rows), index, np.int32),
        np.stack([columns, rows], 1).astype(np.int32),
    )


def _shapes(frame: Frame, place: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Gaps along their own axes ``[N,3]``, the last one across the surface, and unit quaternions wxyz ``[N,4]``.

    A pixel without neighbours on its surface gives a ball.
    """
    points = np.where(frame.known()[..., None], frame.world_points(), np.nan).astype(np.float32)
    pixel = frame.depth[place] / np.sqrt(frame.camera.intrinsics[0, 0] * frame.camera.intrinsics[1, 1])
    across, down = (_gap(points, axis)[place] for axis in (1, 0))
    for gap in (across, down):
        length = np.linalg.norm(gap, axis=-1)
        gap *= np.minimum(1, LONGEST * pixel / np.maximum(length, 1e-20))[:, None]
    a, b, c = (across * across).sum(-1), (across * down).sum(-1), (down * down).sum(-1)
    middle, apart = (a + c) / 2, np.hypot((a - c) / 2, b)
    angle = np.arctan2(b, (a - c) / 2) / 2  # of the longest combination of both gaps
    first = np.cos(angle)[:, None] * across + np.sin(angle)[:, None] * down
    second = np.cos(angle)[:, None] * down - np.sin(angle)[:, None] * across
    large, small = np.sqrt(middle + apart), np.sqrt(np.maximum(middle - apart, 0))
    flat = small > 0.1 * pixel
    small = np.where(flat, small, pixel)
    gaps = np.where(flat[:, None], np.stack([large, small, FLATNESS * small], -1), pixel[:, None])
    axes = np.tile(np.eye(3, dtype=np.float32), (len(gaps), 1, 1))
    for axis, vector, length in ((0, first, large), (1, second, small)):
        axes[flat, :, axis] = vector[flat] / length[flat, None]
    axes[flat, :, 2] = np.cross(axes[flat, :, 0], axes[flat, :, 1])
    return gaps, geometry.quaternions_from_rotations(axes).astype(np.float32)


def _gap(points: np.ndarray, axis: int) -> np.ndarray:
    """``[H,W,3]``: the step to the next pixel's point along ``axis``, zero where there is none.

    Of the steps to both neighbours the mean, or the shorter where the other leads to another surface.
    """
    steps = np.diff(points, axis=axis)
    before, after = np.full_like(points, np.nan), np.full_like(points, np.nan)
    before[(slice(None),) * axis + (slice(1, None),)] = steps
    after[(slice(None),) * axis + (slice(None, -1),)] = steps
    lengths = np.stack([np.linalg.norm(step, axis=-1) for step in (before, after)])
    lengths[np.isnan(lengths)] = np.inf
    shorter = np.where((lengths[0] <= lengths[1])[..., None], before, after)
    alike = lengths.max(0) < 2 * lengths.min(0)
    return np.nan_to_num(np.where(alike[..., None], (before + after) / 2, shorter), nan=0.0)


def _sample(values: Sequence[np.ndarray]) -> np.ndarray:
    """Some of the values, evenly, in order."""
    joined = np.concatenate([*values, np.empty(0, np.float32)])
    return np.sort(joined[:: max(1, len(joined) // SAMPLES)])
