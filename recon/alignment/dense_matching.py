"""Matches by a network's descriptors: patches that are each other's likeliest, then cells within them.

Places are fractions of a picture's width and height, since a network sees pictures at a size of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FINE = 4  # cells of the fine grid along the side of a patch
WINDOW = 3 * FINE  # cells along the side of a patch and its neighbours
TEMPERATURE = 0.05  # of the likeness of patches, as the network is trained with at last
SHARPNESS = 0.1  # the temperature by which the neighbours of the likeliest patch say where within it a match is
LEAST = 0.1  # probability of a patch's match
PATCH_DEVIATION, CELL_DEVIATION = 0.125, 0.3  # of a match, in patches or cells
OUTSIDE = -2.0  # less than any likeness


@dataclass(frozen=True)
class Description:
    """What a network says of how one picture looks, each a grid over the whole of it, of unit length.

    Attributes:
        patches: ``[h,w,C]``.
        cells: ``[4h,4w,c]``, or None where the network has none.
    """

    patches: np.ndarray
    cells: np.ndarray | None = None


@dataclass(frozen=True)
class DenseMatches:
    """Where places of one picture are in another.

    Attributes:
        first: ``[M,2]``, (x, y) over the first picture's (width, height).
        second: ``[M,2]`` likewise.
        confidence: ``[M]``, probability.
        deviation: of ``second``, as a share of the width: what is usual, not measured match by match.
    """

    first: np.ndarray
    second: np.ndarray
    confidence: np.ndarray
    deviation: float

    def surer(self, confidence: float) -> DenseMatches:
        """The matches of more than this confidence."""
        keep = self.confidence > confidence
        return DenseMatches(self.first[keep], self.second[keep], self.confidence[keep], self.deviation)

    def strongest(self, columns: int, rows: int) -> DenseMatches:
        """The most confident match in each cell of a grid over the first picture."""
        cell = (self.first * [columns, rows]).astype(int) @ [1, columns]
        order = np.lexsort([-self.confidence, cell])
        keep = order[np.diff(cell[order], prepend=-1) != 0]
        return DenseMatches(self.first[keep], self.second[keep], self.confidence[keep], self.deviation)


def dense_matches(first: Description, second: Description) -> DenseMatches:
    """Matches from places on the first picture's grid to anywhere in the second: by cells, by patches without them."""
    start, end, confidence = _match_patches(first.patches, second.patches)
    if first.cells is None or second.cells is None:
        mutual = start == _best(second.patches, first.patches)[end]
        start, end, confidence = start[mutual], end[mutual], confidence[mutual]
        rows, columns = second.patches.shape[:2]
        table = _flat(first.patches)[start] @ _flat(second.patches).T
        there = _centres(end, columns) + _soft_peak(table.reshape(-1, rows, columns), end)
        return DenseMatches(
            _centres(start, first.patches.shape[1]) / first.patches.shape[1::-1],
            there / second.patches.shape[1::-1],
            confidence,
            PATCH_DEVIATION / second.patches.shape[1],
        )
    return _match_cells(first.cells, second.cells, start, end, confidence, first.patches.shape, second.patches.shape)


def _match_patches(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The patches whose likeliest one has its own likeliest within one patch of them, that one, its probability."""
    likeness = _flat(first) @ _flat(second).T
    forward, backward = likeness.argmax(1), likeness.argmax(0)
    here = np.arange(len(forward))
    probability = 1 / np.exp((likeness - likeness[here, forward][:, None]) / TEMPERATURE).sum(1)
    away = np.abs(_centres(backward[forward], first.shape[1]) - _centres(here, first.shape[1])).max(1)
    good = (away <= 1) & (probability > LEAST)
    return here[good], forward[good], probability[good]


def _match_cells(
    first: np.ndarray, second: np.ndarray, start: np.ndarray, end: np.ndarray, probability: np.ndarray,
    first_shape: tuple[int, ...], second_shape: tuple[int, ...],
) -> DenseMatches:  # fmt: skip
    """For each cell of the patches ``start``, the likeliest around the patches ``end``, if it answers likewise."""
    windows_first, windows_second = _windows(first, start), _windows(second, end)
    inner = (FINE + np.arange(FINE)[:, None]) * WINDOW + FINE + np.arange(FINE)
    own = windows_first[:, inner.ravel()]
    likeness = _likeness(own, windows_second)
    best = likeness.argmax(2)
    answers = _likeness(np.take_along_axis(windows_second, best[:, :, None], 1), windows_first).argmax(2)
    away = np.maximum(
        np.abs(answers // WINDOW - inner.ravel() // WINDOW), np.abs(answers % WINDOW - inner.ravel() % WINDOW)
    )
    highest = np.take_along_axis(likeness, best[:, :, None], 2)[:, :, 0]
    share = 1 / np.exp((likeness - highest[:, :, None]) / TEMPERATURE).sum(2)
    row, column = best // WINDOW, best % WINDOW
    # A peak at the rim of the window may be the slope of one outside.
    inside = (row > 0) & (row < WINDOW - 1) & (column > 0) & (column < WINDOW - 1)
    patch, cell = np.nonzero((away <= 1) & inside)
    peak = _parabola(likeness[patch, cell].reshape(-1, WINDOW, WINDOW), row[patch, cell], column[patch, cell])

    def corner(patches: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        return FINE * np.stack([patches % shape[1], patches // shape[1]], 1)

    offset = np.stack([cell % FINE, cell // FINE], 1)
    here = corner(start[patch], first_shape) + offset + 0.5
    there = corner(end[patch], second_shape) - FINE + np.stack([column, row], -1)[patch, cell] + 0.5 + peak
    return DenseMatches(
        here / first.shape[1::-1],
        there / second.shape[1::-1],
        probability[patch] * share[patch, cell],
        CELL_DEVIATION / second.shape[1],
    )


def _windows(cells: np.ndarray, patches: np.ndarray) -> np.ndarray:
    """``[T,144,c]``: the cells of each patch and of its eight neighbours, zero outside of the picture."""
    padded = np.pad(cells, ((FINE, FINE), (FINE, FINE), (0, 0)))
    views = np.lib.stride_tricks.sliding_window_view(padded, (WINDOW, WINDOW), axis=(0, 1))[::FINE, ::FINE]
    columns = views.shape[1]
    chosen = views[patches // columns, patches % columns]
    return chosen.reshape(len(patches), cells.shape[2], WINDOW * WINDOW).transpose(0, 2, 1)


def _likeness(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """``[T,R,C]`` of descriptors ``[T,R,c]`` and ``[T,C,c]``, `OUTSIDE` where a column is no cell."""
    likeness = rows @ columns.transpose(0, 2, 1)
    return np.where((columns == 0).all(2)[:, None], OUTSIDE, likeness)


def _parabola(tables: np.ndarray, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """``[M,2]`` (x, y): where between the cells the peaks of tables ``[M,r,c]`` are, at most half a cell away."""
    here = np.arange(len(tables))
    middle = tables[here, row, column]
    offsets = []
    for before, after in (
        (tables[here, row, column - 1], tables[here, row, column + 1]),
        (tables[here, row - 1, column], tables[here, row + 1, column]),
    ):
        curvature = np.where(np.minimum(before, after) > OUTSIDE, 2 * middle - before - after, 0)
        offsets.append(np.where(curvature > 1e-6, (after - before) / (2 * np.maximum(curvature, 1e-6)), 0))
    return np.clip(np.stack(offsets, -1), -0.5, 0.5)


def _soft_peak(tables: np.ndarray, best: np.ndarray) -> np.ndarray:
    """``[M,2]`` (x, y): the mean place of the nine cells around the best of tables ``[M,r,c]``, less that place."""
    columns = tables.shape[2]
    padded = np.pad(tables, ((0, 0), (1, 1), (1, 1)), constant_values=OUTSIDE)
    row, column, here = best // columns, best % columns, np.arange(len(tables))
    steps = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)]
    near = np.stack([padded[here, row + 1 + down, column + 1 + right] for down, right in steps], 1)
    weights = np.exp((near - near.max(1, keepdims=True)) / SHARPNESS)
    return weights @ np.array([(right, down) for down, right in steps]) / weights.sum(1, keepdims=True)


def _best(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return (_flat(first) @ _flat(second).T).argmax(1)


def _flat(grid: np.ndarray) -> np.ndarray:
    return grid.reshape(-1, grid.shape[-1])


def _centres(patches: np.ndarray, columns: int) -> np.ndarray:
    """``[M,2]`` (x, y) of patches counted row by row."""
    return np.stack([patches % columns, patches // columns], -1) + 0.5
