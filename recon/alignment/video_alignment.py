"""Global alignment of a video in which things move: one world of what rests, and what moves in each frame.

The task of MonST3R's optimisation (Zhang et al. 2025). Pointmaps are aligned first (`global_alignment`);
then optical flow is compared with the motion that the cameras have so far, samples that move lose their say in where
cameras are, and flow and the smoothness of the camera's way join in; the masks come last, from the finished world.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from recon import geometry
from recon.alignment.flow import Flow, Followed, blankness, dense_inverse_search, follow
from recon.alignment.flow_term import FlowTerm, sample_flows
from recon.alignment.global_alignment import SHOWN, Alignment, Step, Task, aligned, fuse_views, prepare
from recon.alignment.moving import Still, moving_masks
from recon.alignment.pair_adjustment import ITERATIONS, PairAdjustment
from recon.alignment.pair_maps import Known, PairMaps
from recon.alignment.pair_store import PairStore
from recon.alignment.smooth_term import SmoothTerm
from recon.alignment.spanning_tree import first_world

RESTING = 3.0  # standard deviations of flow from the cameras' motion, at which half of a sample's say is lost
LEAST_SAY = 0.02  # what a sample that moves keeps of its say
LARGEST_ERROR = 0.05  # of the longer side: the median error of a flow that has to do with the cameras
THREADS = 4
ENOUGH = 0.5  # share of flows that count, below which the user is told


@dataclass(frozen=True)
class VideoAlignment:
    """An alignment, what moves, and what the user should know.

    Attributes:
        alignment: cameras, depth and confidence.
        moving: ``[H,W] bool`` of each view.
        flow_share: of the flows that could be followed, how many were used for the cameras.
        notes: sentences.
    """

    alignment: Alignment
    moving: tuple[np.ndarray, ...]
    flow_share: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Video:
    """What is known of the frames beside their pairs, by the number of the photo.

    Attributes:
        images: ``[H,W,3] uint8``, of the pointmaps' size.
        times: in seconds, or numbers of frames.
        moving: ``[H,W] bool`` where the user says what moves.
        flow: between two pictures.
        flow_weight: of optical flow; 0 does without.
        smoothness: weight of the smoothness of the camera's way; 0 does without.
    """

    images: Mapping[int, np.ndarray]
    times: Mapping[int, float]
    moving: Mapping[int, np.ndarray] = field(default_factory=dict)
    flow: Flow = dense_inverse_search
    flow_weight: float = 1.0
    smoothness: float = 1.0


def align_video(
    pairs: Sequence[PairMaps] | PairStore, video: Video, known: Known | None = None
) -> Generator[Step, None, VideoAlignment]:
    """Align pairs of a video, telling of each step.

    Args:
        pairs: each in both orders where flow is to tell of both pictures.
        video: the frames.
        known: see `global_alignment.align`; None for nothing but that all frames have one focal length.

    Raises:
        InputError: as `global_alignment.align` does.
    """
    yield Step(0.0, "Choosing points to align by")
    task = prepare(pairs, known or Known(shared_focal=True))
    views = len(task.views)
    adjustment = PairAdjustment(task.samples, first_world(task.samples, task.known), task.known)
    yield from _steps(task, adjustment, 0.1, "Aligning {} frames: step {}")
    flows = yield from _flows(task, video)
    blank = [blankness(video.images[view]) for view in task.views]
    term = _second_look(task, video, adjustment, flows, blank)
    yield from _steps(task, adjustment, 0.6, "Aligning {} frames with their flow: step {}")
    depth, confidence = [], []
    for index, fused in enumerate(fuse_views(task, adjustment)):
        depth.append(fused[0])
        confidence.append(fused[1])
        yield Step(0.8 + 0.1 * (index + 1) / views, f"Depth of frame {index + 1} of {views}")
    result = aligned(task, adjustment, depth, confidence)
    masks: list[np.ndarray] = []
    for mask in moving_masks(_stills(result, video, blank), flows, _depth_deviation(adjustment)):
        masks.append(video.moving.get(task.views[len(masks)], mask))
        yield Step(0.9 + 0.1 * len(masks) / views, f"Saw what moves in frame {len(masks)} of {views}")
    share = float(term.used.sum() / len(flows)) if term is not None else 0.0
    return VideoAlignment(result, tuple(masks), share, tuple(_notes(video, flows, share)))


def _steps(task: Task, adjustment: PairAdjustment, start: float, told: str) -> Iterator[Step]:
    """A fifth of all; two views need closed forms alone."""
    views = len(task.views)
    if views > 2:
        for step, _ in enumerate(adjustment.run(), 1):
            world = adjustment.world() if step in SHOWN else None
            yield Step(start + 0.2 * step / ITERATIONS, told.format(views, step), task.views, world)
    yield Step(start + 0.2, f"Aligned {views} frames", task.views, adjustment.world())


def _flows(task: Task, video: Video) -> Generator[Step, None, dict[tuple[int, int], Followed]]:
    """Both ways between the pictures of each pair, by their places in ``task.views``."""
    samples = task.samples
    pairs = zip(samples.first.tolist(), samples.second.tolist(), strict=True)
    edges = sorted({(min(i, j), max(i, j)) for i, j in pairs})
    pictures = [(video.images[task.views[i]], video.images[task.views[j]]) for i, j in edges]
    flows = {}
    pool = ThreadPoolExecutor(THREADS)
    try:
        ways = pool.map(lambda both: _both_ways(both[0], both[1], video.flow), pictures)
        for count, ((i, j), followed) in enumerate(zip(edges, ways, strict=True), 1):
            if followed is not None:
                flows[i, j], flows[j, i] = followed
            told = f"Followed pixels through {count} of {len(edges)} pairs of frames"
            yield Step(0.3 + 0.3 * count / len(edges), told)
    finally:
        pool.shutdown(cancel_futures=True)
    return flows


def _both_ways(first: np.ndarray, second: np.ndarray, flow: Flow) -> tuple[Followed, Followed] | None:
    return follow(first, second, flow) if first.shape == second.shape else None


def _second_look(
    task: Task,
    video: Video,
    adjustment: PairAdjustment,
    flows: Mapping[tuple[int, int], Followed],
    blank: Sequence[np.ndarray],
) -> FlowTerm | None:
    """Let samples that move lose their say, and give flow and smoothness theirs."""
    term, resting = None, np.ones(adjustment.state.depth.shape)
    if flows and video.flow_weight > 0:
        samples = sample_flows(flows, blank, task.samples.pixels, task.principal_point)
        term = FlowTerm(samples, task.samples.pixels, LARGEST_ERROR * task.samples.size.max(), video.flow_weight)
        term.follow(adjustment.state)
        resting = _resting(term, adjustment)
        if len(samples.view):
            adjustment.terms.append(term)
    for index, view in enumerate(task.views):
        if view in video.moving:
            columns, rows = np.floor(task.samples.pixels[index] + task.principal_point[index]).astype(int).T
            resting[index] = ~video.moving[view][rows, columns]
    if term is not None:
        term.weights *= resting[term.samples.view]
    seconds = adjustment.sides.is_second
    adjustment.weights[seconds] *= np.maximum(resting[adjustment.sides.view[seconds]], LEAST_SAY)
    if video.smoothness > 0:
        adjustment.terms.append(SmoothTerm([video.times[view] for view in task.views], video.smoothness))
    return term


def _resting(term: FlowTerm, adjustment: PairAdjustment) -> np.ndarray:
    """``[V,N]`` from 0 to 1: how much flow, where it tells, takes each sample to rest."""
    errors = np.where(term.used[:, None], term.errors(adjustment.state), np.nan)
    told = np.isfinite(errors)
    rest = np.where(told, 1 / (1 + (np.nan_to_num(errors) / RESTING) ** 4), 0)
    total, count = np.zeros((2, *adjustment.state.depth.shape))
    np.add.at(total, term.samples.view, rest)
    np.add.at(count, term.samples.view, told)
    return np.where(count > 0, total / np.maximum(count, 1), 1)


def _stills(alignment: Alignment, video: Video, blank: Sequence[np.ndarray]) -> list[Still]:
    stills = []
    for index, view in enumerate(alignment.views):
        image = video.images[view]
        intrinsics = geometry.intrinsics_from_focal(float(alignment.focal[index]), image.shape[1], image.shape[0])
        intrinsics[:2, 2] = alignment.principal_point[index]
        stills.append(
            Still(image, alignment.depth[index], intrinsics, alignment.world_from_camera[index], blank[index])
        )
    return stills


def _depth_deviation(adjustment: PairAdjustment) -> float:
    """Of the depth of a view, relative to it: what its maps differ by, in one direction."""
    return float(np.median(adjustment.deviation[~adjustment.sides.is_second]))


def _notes(video: Video, flows: Iterable[tuple[int, int]], share: float) -> list[str]:
    if video.flow_weight <= 0:
        return []
    if not flows:
        return ["Frames differ in size, so optical flow was not used and nothing is marked as moving."]
    if share == 0:
        return [
            "Optical flow was not used for the cameras, since it does not fit them: check what is marked as moving."
        ]
    if share < ENOUGH:
        return [
            f"Optical flow was used for {share:.0%} of the pairs of frames only; the others are too far apart for it."
        ]
    return []
