"""Points for formats that take few, each with the pixels at which it is seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recon.scene import Frame, Scene


@dataclass
class SparsePoints:
    """Points and where they are seen.

    Attributes:
        positions: ``[P,3]`` in the world.
        colours: ``[P,3] uint8``.
        point: ``[O] int``, the point of each observation, ascending.
        frame: ``[O] int``, the frame that sees it.
        pixels: ``[O,2]`` in that frame.
    """

    positions: np.ndarray
    colours: np.ndarray
    point: np.ndarray
    frame: np.ndarray
    pixels: np.ndarray

    def __add__(self, other: SparsePoints) -> SparsePoints:
        return SparsePoints(
            np.concatenate([self.positions, other.positions]),
            np.concatenate([self.colours, other.colours]),
            np.concatenate([self.point, other.point + len(self.positions)]),
            np.concatenate([self.frame, other.frame]),
            np.concatenate([self.pixels, other.pixels]),
        )


def sparse_points(scene: Scene, masks: Sequence[np.ndarray], most: int) -> SparsePoints:
    """What tracks give, with all observations that agree; then, up to ``most`` points, pixels with depth.

    Args:
        masks: ``[H,W] bool`` a frame: pixels that may give a point (`filters.keep`).
    """
    tracked = tracked_points(scene, masks)
    return tracked + dense_points(scene, masks, most - len(tracked.positions))


def tracked_points(scene: Scene, masks: Sequence[np.ndarray]) -> SparsePoints:
    """Points of tracks that at least two frames see in agreement, half of the time or more within the masks.

    They are triangulated by the cameras as they are now. Frames of which nothing is masked see nothing.
    """
    if scene.tracks is None or len(scene.tracks.pixels) != len(scene.frames):
        return _points(scene, np.zeros((0, 3)), np.zeros(0, int), np.zeros(0, int), np.zeros((0, 2)))
    from recon.alignment.observations import observe, settle  # brings pycolmap, which most exports do without

    mapping = observe(scene.frames, scene.tracks, own_cameras=True)
    mapping.poses = {index: pose for index, pose in mapping.poses.items() if masks[index].any()}
    settle(mapping)
    used = np.flatnonzero(mapping.used)
    used = used[np.argsort(mapping.point[used], kind="stable")]
    frame, point = mapping.view[used], mapping.point[used]
    pixels = scene.tracks.pixels[frame, point].astype(np.float64)
    places = zip(frame, *pixels.astype(int).T, strict=True)
    within = np.array([masks[index][row, column] for index, column, row in places], float)
    count = len(mapping.points)
    share = np.bincount(point, within, count) / np.maximum(np.bincount(point, minlength=count), 1)
    wanted = share[point] >= 0.5
    kept, point = np.unique(point[wanted], return_inverse=True)
    return _points(scene, mapping.points[kept], point, frame[wanted], pixels[wanted])


def dense_points(scene: Scene, masks: Sequence[np.ndarray], most: int) -> SparsePoints:
    """At most ``most`` of the masked pixels, each observed once: the most confident of each square of each picture."""
    side = max(1, int(np.ceil(np.sqrt(sum(int(mask.sum()) for mask in masks) / max(most, 1)))))
    chosen = [_spread(frame, mask, side) for frame, mask in zip(scene.frames, masks, strict=True)]
    positions = [frame.world_points()[place] for frame, place in zip(scene.frames, chosen, strict=True)]
    pixels = [np.column_stack([columns, rows]) + 0.5 for rows, columns in chosen]
    index = np.repeat(np.arange(len(chosen)), [len(rows) for rows, _ in chosen])
    kept = np.linspace(0, len(index) - 1, max(0, min(most, len(index)))).astype(int)  # masks cut squares into more
    return _points(
        scene, np.concatenate(positions)[kept], np.arange(len(kept)), index[kept], np.concatenate(pixels)[kept]
    )


def _spread(frame: Frame, mask: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the most confident masked pixel in each square of ``side`` pixels."""
    rows, columns = np.nonzero(mask)
    square = (rows // side) * (mask.shape[1] // side + 1) + columns // side
    order = np.lexsort((-frame.confidence[rows, columns], square))
    best = order[np.unique(square[order], return_index=True)[1]]
    return rows[best], columns[best]


def _points(
    scene: Scene, positions: np.ndarray, point: np.ndarray, frame: np.ndarray, pixels: np.ndarray
) -> SparsePoints:
    """Coloured as the first frame that sees them."""
    first = np.searchsorted(point, np.arange(len(positions)))
    columns, rows = pixels[first].astype(int).T
    colours = np.zeros((len(positions), 3), np.uint8)
    for index in np.unique(frame[first]):
        here = frame[first] == index
        colours[here] = scene.frames[index].image[rows[here], columns[here]]
    return SparsePoints(positions, colours, point, frame, pixels)
