"""Spread what is known at some pixels over all: the screened Poisson equation on the pixel grid, with edges.

Minimises ``sum weight (field - target)² + sum link (difference of neighbours)²``: where the weight is 0 the field is as
smooth as the links allow (Bhat et al. 2008, Fourier Analysis of the 2D Screened Poisson Equation; here with weights).
"""

from __future__ import annotations

import cv2
import numpy as np

LEAST_SIDE = 12  # pixels of the coarsest grid
STEPS = 12  # of conjugate gradients on each grid


def spread(
    target: np.ndarray, weight: np.ndarray, links: tuple[np.ndarray, np.ndarray], steps: int = STEPS
) -> np.ndarray:
    """The field ``[h,w] float32``, solved from coarse to fine.

    Args:
        target: ``[h,w] float32``.
        weight: ``[h,w] float32``, not negative, positive somewhere.
        links: positive, ``[h-1,w]`` to the pixel below and ``[h,w-1]`` to the one right.
        steps: of conjugate gradients on each grid.
    """
    height, width = target.shape
    if min(height, width) < 2 * LEAST_SIDE:
        start = np.full_like(target, (weight * target).sum() / weight.sum())
        return conjugate_gradients(start, target, weight, links, 4 * steps)
    odd = (0, height % 2), (0, width % 2)
    padded_weight, padded_target = np.pad(weight, odd), np.pad(target, odd)
    below = np.pad(links[0], odd, mode="edge")
    right = np.pad(links[1], odd, mode="edge")
    summed = _sum_of_four(padded_weight)
    wanted = np.divide(_sum_of_four(padded_weight * padded_target), summed, out=np.zeros_like(summed), where=summed > 0)
    coarse = spread(wanted, summed, (_coarse_links(below.T).T, _coarse_links(right)), steps)
    start = cv2.resize(coarse, padded_target.shape[::-1], interpolation=cv2.INTER_LINEAR)[:height, :width]
    return conjugate_gradients(start, target, weight, links, steps)


def conjugate_gradients(
    field: np.ndarray, target: np.ndarray, weight: np.ndarray, links: tuple[np.ndarray, np.ndarray], steps: int
) -> np.ndarray:
    """``steps`` of conjugate gradients with a diagonal preconditioner, from ``field`` on."""
    below, right = links
    diagonal = weight.copy()
    diagonal[:-1] += below
    diagonal[1:] += below
    diagonal[:, :-1] += right
    diagonal[:, 1:] += right

    def apply(x: np.ndarray) -> np.ndarray:
        result = diagonal * x
        result[:-1] -= below * x[1:]
        result[1:] -= below * x[:-1]
        result[:, :-1] -= right * x[:, 1:]
        result[:, 1:] -= right * x[:, :-1]
        return result

    field = field.copy()
    residual = weight * target - apply(field)
    scaled = residual / diagonal
    direction = scaled
    power = float(np.vdot(residual, scaled))
    for _ in range(steps):
        if power < 1e-12 * field.size:
            break
        image = apply(direction)
        length = np.float32(power / float(np.vdot(direction, image)))
        field += length * direction
        residual -= length * image
        scaled = residual / diagonal
        before, power = power, float(np.vdot(residual, scaled))
        direction = scaled + np.float32(power / before) * direction
    return field


def _sum_of_four(values: np.ndarray) -> np.ndarray:
    return values[::2, ::2] + values[1::2, ::2] + values[::2, 1::2] + values[1::2, 1::2]


def _coarse_links(right: np.ndarray) -> np.ndarray:
    """``[h/2,w/2-1]`` from ``[h,w-1]``: conductors from centre to centre in series, two rows of them in parallel."""
    within, across = 0.5 / right[:, ::2], 1 / right[:, 1::2]
    conductance = 1 / (within[:, :-1] + across + within[:, 1:])
    return conductance[::2] + conductance[1::2]
