"""MonST3R's recordings: those of DUSt3R's network, which it is, of its graphs of pairs, and of what it minimises."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from recon import geometry
from recon.alignment.ego_flow import ego_flow
from recon.alignment.flow import there_and_back
from tests.parity import Recording
from tests.parity_networks import Replayed, Run, dust3r
from tests.parity_networks.monst3r_motion import depth_change, flow_loss, normalised_error, step_lengths
from tests.parity_networks.pair_graphs import monst3r_graph

LARGEST_TRIP = 3.0  # pixels: of a flow that the reference takes for valid


def replay(recording: Recording, run: Run) -> Iterator[tuple[str, Replayed]]:
    """All that the recording holds."""
    for name in recording.names:
        if match := re.fullmatch(r"pairs_(.*)_n(\d+)", name):
            pairs = np.array(monst3r_graph(match[1], int(match[2])))
            yield name, Replayed(pairs[np.lexsort(pairs.T[::-1])], 0.0)  # recorded as a set, in order
    if "flow" in recording:
        yield from motion(recording)
    yield from dust3r.replay(recording, run)


def motion(recording: Recording) -> Iterator[tuple[str, Replayed]]:
    """What the reference makes of flows and of four cameras that look at a wall."""
    edges, poses = recording["edges"], recording["gt_poses"]
    depth, focals = recording["gt_depth"], recording["gt_focals"]
    height, width = depth.shape[1:]
    # The recording counts pixels from their middles.
    cameras = [np.array([[focal, 0, (width + 1) / 2], [0, focal, (height + 1) / 2], [0, 0, 1]]) for focal in focals]
    ego = np.stack(
        [
            ego_flow(depth[i], cameras[i], cameras[j], geometry.invert(poses[j]) @ poses[i])[0]
            for i, j in edges
        ]
    )  # fmt: skip
    flow, reverse = (np.moveaxis(recording[name], 1, -1) for name in ("flow", "reverse_flow"))
    resting = ~recording["dynamic"][edges[:, 0]]
    trips = np.stack([there_and_back(*both) for both in zip(flow, reverse, strict=True)])
    yield "ego_flow", Replayed(np.moveaxis(ego, -1, 1))
    errors = [normalised_error(*both) for both in zip(ego, flow, strict=True)]
    yield "normalised_error", Replayed(np.stack(errors))
    yield "flow_loss", Replayed(np.array(flow_loss(ego, flow, resting)))
    yield "flow_loss_no_mask", Replayed(np.array(flow_loss(ego, flow, np.ones_like(resting))))
    with np.errstate(invalid="ignore"):
        yield "occ_mask", Replayed(np.abs(trips.sum(-1))[:, None] < LARGEST_TRIP, 0.0)
    yield "temporal_loss", Replayed(step_lengths(poses))
    yield "depth_reg", Replayed(np.array(depth_change(recording["depth_perturbed"], depth, recording["dynamic"])))
    yield "cycle2_lr", Replayed(rates(len(recording["cycle2_lr"]) - 1))


def rates(steps: int, cycles: int = 2, largest: float = 1e-2, least: float = 1e-3) -> np.ndarray:
    """Learning rates ``[steps + 1]`` of the reference's optimiser; ours has none, and only its recording is read."""
    share = np.arange(steps + 1) / steps * cycles % 1
    share[-1] = 1
    return largest + (least - largest) * share
