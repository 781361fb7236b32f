"""Dense depth from all views: sweep around the prior, keep what other views confirm, bend the prior to it elsewhere.

The scene's cameras are taken as true (`verify`), its depth as a prior. Each frame is compared with a few others on a
small grid (`sweep`). Depth that the other views' own depth confirms is data (`consistency`); the logarithm of the prior
is corrected by the smoothest field that meets the data and may jump at edges of the photo and of the prior
(`screened`). So the prior keeps its shape where views cannot tell: occlusion, plain walls, moving things.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np

from recon import geometry
from recon.alignment.consistency import Stereo, agreement, choose_sources, confirm, pull, seen_through
from recon.alignment.screened import spread
from recon.alignment.sweep import Shot, Warp, correlation_volume, semi_global
from recon.scene import Frame, Scene
from recon.upsampling import edge_confidence, upsample_depth

AREA = 192 * 256  # pixels of the grid that a frame is compared on
SOURCES = 4  # views that a frame is compared with
REACH = 0.6  # of log-depth: how far the sweep goes to either side of the prior
FEWEST, MOST = 12, 80  # hypotheses
STEP, JUMP, JUMP_AT_EDGE = 0.05, 1.0, 0.25  # penalties of semi-global matching: for one hypothesis, for more
ATTRACTION = 0.07  # the penalty of the farthest hypotheses, so that where nothing tells the prior stays
EDGE_COLOUR = 30.0  # grey levels, summed over the channels, between neighbours: an edge of the photo
LINK_COLOUR, LINK_JUMP = 20.0, 0.05  # the same and, of log-depth, an edge of the prior, where the correction may jump
LEAST_LINK = 0.02
PATIENCE = 1e-5  # the weight of no correction
CHANCE = 0.09  # the `agreement` that wrong cameras may have
PULL = 0.3  # times the weight of a match, the weight of other views' depth where nothing matches
CONTRADICTED = 0.1  # times the confidence
BELIEF = 0.1  # where views are taken to agree
SAMPLE = 16  # of so many pixels one is asked for the usual confidence
THREADS = 2


def densify(scene: Scene) -> Generator[tuple[float, str], None, tuple[int, ...]]:
    """Refine depth and confidence of a scene in place, yielding ``(fraction, message)``.

    Frames that ``scene.settings["placement"]`` calls "guess" or "alone" are left as they are and say nothing of others;
    without that entry all cameras are trusted. The depth of a frame that the others confirm no better than chance
    would is left too. Confidence becomes more than 1 where views agree and less than 1 elsewhere, in the order that
    the model gave it, and least of all where a point hides what another view is sure to see.

    Args:
        scene: of any model, with cameras.

    Returns:
        Indices of the frames that changed.
    """
    frames = scene.frames
    placement = scene.settings.get("placement", ["mapped"] * len(frames))
    trusted = [i for i, how in enumerate(placement) if how not in ("guess", "alone") and frames[i].known().any()]
    if len(trusted) < 2:
        return ()
    shots, priors = zip(*(shoot(frames[i]) for i in trusted), strict=True)
    sources = choose_sources(shots, priors, SOURCES)
    count = len(trusted)
    everyone = range(count)
    with ThreadPoolExecutor(THREADS) as pool:
        stereos: list[Stereo] = []
        for stereo in pool.map(lambda i: match(shots[i], priors[i], [shots[j] for j in sources[i]]), everyone):
            yield 0.7 * len(stereos) / count, f"Compared {frames[trusted[len(stereos)]].name} with other views"
            stereos.append(stereo)
        beliefs = list(pool.map(lambda i: confirm(stereos[i], [stereos[j] for j in sources[i]]), everyone))
        refined = [i for i in everyone if agreement(stereos[i], beliefs[i]) > CHANCE]
        if not refined:
            return ()
        yield 0.75, "Fitting depth to what views agree on"

        def bend(i: int) -> np.ndarray:
            return fuse(shots[i], priors[i], stereos[i].inverse, beliefs[i])

        fused = dict(zip(refined, pool.map(bend, refined), strict=True))
        yield 0.8, "Fitting depth to what views agree on"

        def others(i: int) -> list[tuple[Shot, np.ndarray, np.ndarray]]:
            return [
                (shots[j], fused[j], beliefs[j]) for j in refined if j in sources[i] or (i in sources[j] and i != j)
            ]

        def join(i: int) -> np.ndarray:
            change, weight = pull(shots[i], fused[i], others(i))
            matched = beliefs[i] > 0
            wanted = np.where(matched, stereos[i].inverse, fused[i] * np.exp(change))
            return fuse(shots[i], priors[i], wanted, np.where(matched, beliefs[i], PULL * weight))

        fused = dict(zip(refined, pool.map(join, refined), strict=True))
        yield 0.85, "Fitting depth to what views agree on"

        level = float(np.median(np.concatenate([frame.confidence[frame.known()][::SAMPLE] for frame in frames])))
        for frame in frames:
            frame.confidence = frame.confidence / (frame.confidence + np.float32(level))

        def finish(i: int) -> None:
            hides = seen_through(shots[i], fused[i], others(i)) & (beliefs[i] == 0)
            write(frames[trusted[i]], fused[i], beliefs[i], hides)

        for done, (i, _) in enumerate(zip(refined, pool.map(finish, refined), strict=True)):
            yield 0.85 + 0.15 * (done + 1) / len(refined), f"Refined {frames[trusted[i]].name}"
    return tuple(range(len(frames)))


def shoot(frame: Frame) -> tuple[Shot, np.ndarray]:
    """A frame on its grid: the view, and the inverse depth ``[h,w]`` of its prior, filled where that is unknown."""
    height, width = frame.depth.shape
    scale = min(1.0, math.sqrt(AREA / (height * width)))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    image = cv2.resize(frame.image, size, interpolation=cv2.INTER_AREA)
    known = frame.known()
    inverse = np.divide(1, frame.depth, out=np.zeros(known.shape, np.float32), where=known)
    weight = cv2.resize(known.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    summed = cv2.resize(inverse, size, interpolation=cv2.INTER_AREA)
    filled = np.divide(summed, weight, out=np.zeros_like(summed), where=weight > 0)
    if not known.all():
        even = np.ones_like(weight)
        filled = np.where(weight > 0, filled, spread(filled, weight, (even[1:], even[:, 1:])))
    shot = Shot(
        image=image,
        intrinsics=geometry.resize_transform((width, height), size) @ frame.camera.intrinsics,
        camera_from_world=frame.camera.camera_from_world.astype(np.float64),
    )
    return shot, filled.astype(np.float32)


def match(shot: Shot, prior: np.ndarray, sources: Sequence[Shot]) -> Stereo:
    """The depth of a view by plane sweep around its prior, smoothed by semi-global matching, to parts of a step."""
    movement = np.zeros_like(prior)
    for source in sources:
        warp = Warp(shot, source)
        (x, y, _), (far_x, far_y, _) = warp(prior), warp(prior * np.float32(math.exp(-0.1)))
        movement = np.maximum(movement, np.minimum(10 * np.hypot(x - far_x, y - far_y), max(prior.shape)))
    if not sources:
        return Stereo(shot, prior, np.zeros_like(prior), movement)
    count = int(np.clip(2 * REACH * np.median(movement), FEWEST, MOST))
    offsets = np.linspace(-REACH, REACH, count, dtype=np.float32)
    volume = correlation_volume(shot, sources, prior, np.exp(offsets))
    jump = [JUMP_AT_EDGE + (JUMP - JUMP_AT_EDGE) * shot.likeness(axis, EDGE_COLOUR) for axis in (0, 1)]
    cost = np.ascontiguousarray(np.moveaxis(1 - volume, 0, -1)) + np.float32(ATTRACTION / REACH) * np.abs(offsets)
    cost = semi_global(cost, STEP, (jump[0], jump[1]))
    best = cost.argmin(-1)
    inner = np.clip(best, 1, count - 2)
    before, here, after = (np.take_along_axis(cost, inner[..., None] + step, -1)[..., 0] for step in (-1, 0, 1))
    # The lowest point of the parabola through three costs.
    part = np.clip((before - after) / np.maximum(2 * (before - 2 * here + after), 1e-6), -0.5, 0.5)
    correction = (inner + part - (count - 1) / 2) * (2 * REACH / (count - 1))
    score = np.take_along_axis(volume, best[None], 0)[0]
    return Stereo(shot, (prior * np.exp(correction)).astype(np.float32), np.where(best == inner, score, 0), movement)


def fuse(shot: Shot, prior: np.ndarray, inverse: np.ndarray, belief: np.ndarray) -> np.ndarray:
    """``[h,w]`` inverse depth: the prior, its logarithm corrected smoothly to what is believed of ``inverse``."""
    logarithm = np.log(prior)
    links = [
        shot.likeness(axis, LINK_COLOUR) / (1 + (np.diff(logarithm, axis=axis) / LINK_JUMP) ** 2) + LEAST_LINK
        for axis in (0, 1)
    ]
    wanted = np.where(belief > 0, np.log(inverse) - logarithm, 0)
    correction = spread(wanted, (belief + PATIENCE).astype(np.float32), (links[0], links[1]))
    return prior * np.exp(correction)


def write(frame: Frame, inverse: np.ndarray, belief: np.ndarray, hides: np.ndarray) -> None:
    """Give a frame its new depth, and a confidence of it; unknown depth stays unknown."""
    known = frame.known()
    size = frame.size
    depth = upsample_depth(1 / inverse, frame.image)
    agreement = cv2.resize(belief, size, interpolation=cv2.INTER_LINEAR)
    doubt = cv2.resize(hides.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
    factor = edge_confidence(depth) * (1 - (1 - CONTRADICTED) * doubt)
    confirmed = np.minimum(agreement / BELIEF, 1)
    frame.depth = np.where(known, depth, 0)
    frame.confidence = ((frame.confidence + confirmed + agreement) * factor).astype(np.float32)
    frame.points = None
