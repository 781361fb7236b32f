"""Optical flow in global alignment: a sample must be seen in the other picture where the flow takes it.

MonST3R's flow loss (Zhang et al. 2025) within Levenberg-Marquardt steps. Point p of view i, with depth d, is
seen in view j at ``f_j (x, y) / z`` of ``R_j' (R_i d ray(p; f_i) + t_i - t_j)``. Residuals count as a Geman-McClure
loss has it, whose width follows each flow's own median, so what moves by itself hardly counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from recon.alignment.flow import FAINT, Followed
from recon.alignment.pair_adjustment import FACTS, Equations, loss, slope, weighted_median
from recon.alignment.pair_model import State, cross

LEAST_DEVIATION = 0.3  # pixels
MEDIAN_OF_TWO = 1.18  # of the length of two numbers of standard deviation 1
LEAST_SHARE = 0.25  # of samples on something to follow, whose way must lead back
BEHIND = 1e4  # pixels: a residual of what is not seen


@dataclass(frozen=True)
class FlowSamples:
    """Where flows take the samples of views.

    Attributes:
        view: ``[M] int``, the view of each flow's samples.
        other: ``[M] int``, the view in which they are seen.
        targets: ``[M,N,2]`` pixels there, relative to the principal point.
        weights: ``[M,N]``, 0 to 1; 0 where the flow does not lead back.
    """

    view: np.ndarray
    other: np.ndarray
    targets: np.ndarray
    weights: np.ndarray


def sample_flows(
    flows: Mapping[tuple[int, int], Followed],
    blankness: Sequence[np.ndarray],
    pixels: np.ndarray,
    principal_point: np.ndarray,
) -> FlowSamples:
    """Flows at the samples of views.

    Args:
        flows: from view i to view j by ``(i, j)``.
        blankness: ``[H,W]`` of each view, see `flow.blankness`.
        pixels: ``[V,N,2]`` of the samples, centres of pixels, relative to the principal point.
        principal_point: ``[V,2]`` in pixels.
    """
    view, other, targets, weights = [], [], [], []
    for (i, j), followed in flows.items():
        columns, rows = np.floor(pixels[i] + principal_point[i]).astype(int).T
        blank = blankness[i][rows, columns]
        error = np.hypot(followed.trip[rows, columns], blank)
        weight = np.where(error < FAINT, 1 / (1 + error**2), 0)
        if (weight > 0).sum() > LEAST_SHARE * (blank < FAINT).sum():
            view.append(i)
            other.append(j)
            weights.append(weight)
            targets.append(pixels[i] + principal_point[i] - principal_point[j] + followed.flow[rows, columns])
    count = pixels.shape[1]
    return FlowSamples(
        np.array(view, int),
        np.array(other, int),
        np.array(targets).reshape(-1, count, 2),
        np.array(weights).reshape(-1, count),
    )


class FlowTerm:
    """What flows say of the cameras, one `pair_adjustment.Term`.

    Args:
        samples: of the flows.
        pixels: ``[V,N,2]`` of the views' samples, relative to the principal point.
        largest: median error in pixels from which on a flow is taken to have nothing to do with the cameras as they
            are now, and does not count.
        weight: of the term.
    """

    def __init__(self, samples: FlowSamples, pixels: np.ndarray, largest: float, weight: float = 1.0) -> None:
        self.samples, self.pixels, self.largest = samples, pixels, largest
        self.views = len(pixels)
        self.weights = samples.weights * (weight * FACTS / max(pixels.shape[1], 1))
        self.deviation = np.ones(len(samples.view))
        self.used = np.ones(len(samples.view), bool)
        six, focal = np.arange(6), 6 * self.views
        # Places ``[M,14]`` among all unknowns: turn and step of either camera, logarithms of their focal lengths.
        self.index = np.concatenate(
            [
                6 * samples.view[:, None] + six,
                6 * samples.other[:, None] + six,
                focal + samples.view[:, None],
                focal + samples.other[:, None],
            ],
            1,
        )

    def follow(self, state: State) -> None:
        """See `pair_adjustment.Term`."""
        residual = self._project(state)[0]
        length, seen = np.linalg.norm(residual, axis=-1), self._seen(residual)
        median = np.array([weighted_median(*each) for each in zip(length, seen * self.samples.weights, strict=True)])
        self.deviation = np.maximum(median / MEDIAN_OF_TWO, LEAST_DEVIATION)
        self.used = median < self.largest

    def errors(self, state: State) -> np.ndarray:
        """``[M,N]`` in standard deviations of their flow; nan where the flow does not tell."""
        residual = self._project(state)[0]
        error = np.linalg.norm(residual, axis=-1) / self.deviation[:, None]
        return np.where(self._seen(residual) & (self.samples.weights > 0), error, np.nan)

    def cost(self, state: State) -> float:
        """See `pair_adjustment.Term`."""
        residual = self._project(state)[0]
        squares = np.square(residual).sum(-1) / self.deviation[:, None] ** 2
        return float((self.weights * loss(squares))[self.used].sum())

    def add_to(self, equations: Equations, state: State) -> None:
        """See `pair_adjustment.Term`."""
        residual, local, model = self._project(state)
        seen = self._seen(residual)
        precision = 1 / self.deviation[:, None] ** 2
        weight = self.weights * slope(np.square(residual).sum(-1) * precision) * precision * seen * self.used[:, None]
        by_all, by_depth = self._derivatives(state, residual, local, model)
        weighted = by_all * weight[..., None, None]
        flat, flat_weighted = (each.reshape(len(weight), -1, 14) for each in (by_all, weighted))
        across = np.swapaxes(flat_weighted, 1, 2)
        equations.add(self.index, across @ flat, (across @ residual.reshape(len(weight), -1, 1))[..., 0])
        view = self.samples.view
        np.add.at(equations.diagonal, view, weight * np.square(by_depth).sum(-1))
        np.add.at(equations.depth_vector, view, weight * (by_depth * residual).sum(-1))
        coupled = (weighted * by_depth[..., None]).sum(2)
        for own in range(self.views):
            mine = np.flatnonzero(view == own)
            touched = np.unique(self.index[mine])
            dense = np.zeros((self.pixels.shape[1], len(touched)))
            for which in mine:
                dense[:, np.searchsorted(touched, self.index[which])] += coupled[which]
            equations.couple(own, touched, dense)

    def _project(self, state: State) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Residuals ``[M,N,2]`` in pixels, large behind the camera; points ``[M,N,3]`` in either camera."""
        view, other = self.samples.view, self.samples.other
        rays = np.ones((*state.depth.shape, 3))
        rays[..., :2] = self.pixels * np.exp(-state.log_focal)[:, None, None]
        local = (rays * state.depth[..., None])[view]
        turn = np.swapaxes(state.rotation[other], 1, 2)
        step = np.einsum("mij,mj->mi", turn, state.centre[view] - state.centre[other])
        model = local @ np.swapaxes(turn @ state.rotation[view], 1, 2) + step[:, None]
        depth = np.where(model[..., 2:] > 0, model[..., 2:], 1e-9)
        seen = model[..., :2] / depth * np.exp(state.log_focal)[other, None, None]
        return np.clip(seen - self.samples.targets, -BEHIND, BEHIND), local, model

    def _seen(self, residual: np.ndarray) -> np.ndarray:
        return (np.abs(residual) < BEHIND).all(-1)

    def _derivatives(
        self, state: State, residual: np.ndarray, local: np.ndarray, model: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """``[M,N,2,14]`` by the unknowns at `index`, and ``[M,N,2]`` by log depth."""
        view, other = self.samples.view, self.samples.other
        from_world = np.swapaxes(state.rotation[other], 1, 2)
        focal = np.exp(state.log_focal)[other, None]
        inverse = 1 / np.where(model[..., 2] > 0, model[..., 2], np.inf)
        by_point = np.zeros((*model.shape[:2], 2, 3))
        by_point[..., 0, 0] = by_point[..., 1, 1] = focal * inverse
        by_point[..., :2, 2] = -model[..., :2] * (focal * inverse**2)[..., None]
        by_world = by_point @ from_world[:, None]
        at_view = local @ np.swapaxes(state.rotation[view], 1, 2)
        at_other = at_view + (state.centre[view] - state.centre[other])[:, None]
        by_all = np.zeros((*model.shape[:2], 2, 14))
        by_all[..., 0:3], by_all[..., 3:6] = -by_world @ _cross(at_view), by_world
        by_all[..., 6:9], by_all[..., 9:12] = by_world @ _cross(at_other), -by_world
        by_view = by_world @ state.rotation[view][:, None]
        by_all[..., 12] = (by_view @ (local * [-1.0, -1.0, 0.0])[..., None])[..., 0]
        by_all[..., 13] = residual + self.samples.targets
        return by_all, (by_view @ local[..., None])[..., 0]


def _cross(vectors: np.ndarray) -> np.ndarray:
    return cross(vectors.reshape(-1, 3)).reshape(*vectors.shape, 3)
