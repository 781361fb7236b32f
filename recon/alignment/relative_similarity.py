"""Where two views stand to each other by what their pairs say, and how many others say the same."""

from __future__ import annotations

import numpy as np

from recon import geometry
from recon.alignment.own_pointmaps import OwnPointmaps
from recon.alignment.pair_maps import Samples

ROUNDS = 6  # of the robust fit of a similarity
TOLERANCE = 0.1  # of two opinions that agree, relative to the distance of points
PROBES = 8  # points of a view by which opinions are compared

Edge = tuple[int, int]


def relative_similarities(samples: Samples, own: OwnPointmaps) -> tuple[dict[Edge, np.ndarray], dict[Edge, float]]:
    """``i_from_j [4,4]`` between views' own units for each edge (i, j), i < j, and a score: how far to trust it.

    Each order of a pair is an opinion: the second map is fitted to that view's own. An opinion is worth its pair's
    confidence over its error, times the confidence of the opinions that agree with it: its pair's other order, and
    the ways around over one other view. The better order of an edge counts; both together, where they agree.
    """
    views = len(samples.pixels)
    opinion = np.tile(np.eye(4), (views, views, 2, 1, 1))  # [i,j]: i_from_j by the pairs (i, j), and by (j, i)
    error, trust = np.ones((views, views, 2)), np.zeros((views, views, 2))
    edges = sorted(set(zip(samples.first.tolist(), samples.second.tolist(), strict=True)))
    for i, j in edges:
        opinion[i, j, 0], error[i, j, 0] = _fit(samples, own, [(i, j)])
        opinion[j, i, 1], error[j, i, 1] = np.linalg.inv(opinion[i, j, 0]), error[i, j, 0]
        for pair in np.flatnonzero((samples.first == i) & (samples.second == j)):
            confidence = np.sqrt(samples.weights[2 * pair].mean() * samples.weights[2 * pair + 1].mean())
            trust[i, j, 0] = trust[j, i, 1] = max(trust[i, j, 0], confidence)
    relative: dict[Edge, np.ndarray] = {}
    scores: dict[Edge, float] = {}
    for i, j in sorted({(min(edge), max(edge)) for edge in edges}):
        probes = _probes(own, j)
        seen = geometry.transform(opinion[i, j, 0], probes), geometry.transform(opinion[i, j, 1], probes)
        around = np.einsum("kaxy,kbyz->kabxz", opinion[i], opinion[:, j])
        around_trust = np.minimum(trust[i][:, :, None], trust[:, j][:, None, :])
        detours = np.einsum("kabxy,py->kabpx", around[..., :3, :3], probes) + around[..., None, :3, 3]
        support = [
            trust[i, j, order]
            + trust[i, j, 1 - order] * _agreement(seen[1 - order], seen[order])
            + (around_trust * _agreement(detours, seen[order])).sum()
            for order in (0, 1)
        ]
        worth = np.array(support) * trust[i, j] / error[i, j]
        best = int(np.argmax(worth))
        relative[i, j], scores[i, j] = opinion[i, j, best], float(worth[best])
        if trust[i, j].min() > 0 and _agreement(seen[0], seen[1]) > 0.5:
            relative[i, j] = _fit(samples, own, [(i, j), (j, i)])[0]
    return relative, scores


def _probes(own: OwnPointmaps, view: int) -> np.ndarray:
    """A few points of a view ``[n,3]``, all over the photo where it knows any."""
    known = np.flatnonzero(own.weights[view] > 0)
    if len(known) == 0:
        return own.points[view, :1]
    return own.points[view, known[np.linspace(0, len(known) - 1, PROBES).astype(int)]]


def _agreement(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    """``[...]`` from 0 to 1 of points ``[...,n,3]`` with ``[n,3]`` that should be the same: 1/2 at the tolerance."""
    distance = np.linalg.norm(others, axis=-1) + 1e-12
    error = np.median(np.linalg.norm(points - others, axis=-1) / distance, -1)
    return 1 / (1 + (error / TOLERANCE) ** 4)


def _fit(samples: Samples, own: OwnPointmaps, orders: list[Edge]) -> tuple[np.ndarray, float]:
    """``i_from_j [4,4]`` for (i, j), the first of ``orders``, from pairs of these orders, and the median error.

    In pair (i, j) the map of j meets j's own, in pair (j, i) i's own meets the map of i. Least squares, each residual
    relative to the distance and weighed by a Geman-McClure loss as wide as their median.
    """
    targets: list[np.ndarray] = []
    sources: list[np.ndarray] = []
    weights: list[np.ndarray] = []
    for first, second in orders:
        for pair in np.flatnonzero((samples.first == first) & (samples.second == second)):
            sides = targets, sources
            here, there = sides if (first, second) == orders[0] else sides[::-1]
            here.append(samples.points[2 * pair + 1] / np.exp(own.log_unit[pair]))
            there.append(own.points[second])
            weights.append(samples.weights[2 * pair + 1] * (own.weights[second] > 0))
    target, source, weight = np.concatenate(targets), np.concatenate(sources), np.concatenate(weights)
    good = weight > 0
    if good.sum() < 3:
        return np.eye(4), 1.0
    target, source, weight = target[good], source[good], weight[good]
    distance = np.linalg.norm(target, axis=1)
    robust, error = np.ones(len(target)), 1.0
    for _ in range(ROUNDS):
        i_from_j = geometry.similarity(target, source, weight * robust / distance**2)
        residual = np.linalg.norm(target - geometry.transform(i_from_j, source), axis=1) / distance
        error = max(float(np.median(residual)), 1e-6)
        robust = 1 / (1 + (residual / error) ** 2) ** 2
    return i_from_j, error
