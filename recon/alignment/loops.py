"""Pairs that contradict each other: repeated things (windows, fence posts) may agree on a pose that is not.

A false pair seldom closes a loop. Turns along the strongest pairs say how any two views of a group stand to each
other; a weaker pair that says something quite different is left out (Zach, Klopschitz and Pollefeys 2010, made simple).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recon import geometry
from recon.alignment.twoview import TURN, Pair

CONTRADICTION = 15.0  # degrees by which a pair's turn may differ from that along stronger ones


def consistent(pairs: Sequence[Pair], world_from_camera: np.ndarray) -> list[Pair]:
    """The pairs whose turn agrees with that along stronger pairs, where such pairs join the same views.

    Args:
        pairs: of any views.
        world_from_camera: ``[V,4,4]`` of all views as the model has them: what surprises it counts as weaker.
    """

    def strength(pair: Pair) -> float:
        expected = world_from_camera[pair.second][:3, :3].T @ world_from_camera[pair.first][:3, :3]
        turn = float(geometry.rotation_angle(expected.T @ pair.second_from_first[:3, :3]))
        return len(pair.matches) / (1 + (turn / TURN) ** 2)

    group = list(range(len(world_from_camera)))
    camera_from_group = [np.eye(3)] * len(group)
    kept = []
    for pair in sorted(pairs, key=strength, reverse=True):
        first, second, turn = pair.first, pair.second, pair.second_from_first[:3, :3]
        if group[first] == group[second]:
            around = camera_from_group[second] @ camera_from_group[first].T
            if geometry.rotation_angle(around.T @ turn) > CONTRADICTION:
                continue
        else:
            joined = group[second]
            old_from_new = camera_from_group[second].T @ turn @ camera_from_group[first]
            for view in [view for view, other in enumerate(group) if other == joined]:
                camera_from_group[view] = camera_from_group[view] @ old_from_new
                group[view] = group[first]
        kept.append(pair)
    return kept
