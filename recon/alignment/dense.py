"""Dense depth from all views: sweep around the prior, keep what other views confirm, bend the prior to it elsewhere.

The scene's cameras are taken as true (`verify`), its depth as a prior. Each frame is compared with a few others
(`stereo`). Depth that the other views' own depth confirms is data (`consistency`); the logarithm of the prior is
corrected by the smoothest field that meets the data and may jump at edges of the photo and of the prior (`screened`).
So the prior keeps its shape where views cannot tell: occlusion, plain walls, moving things. All that is done on a small
grid first, widely around the prior, then on the frame's own around what came of it.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeAlias

import cv2
import numpy as np

from recon import geometry
from recon.alignment.consistency import agreement, choose_sources, confirm, pull, seen_through
from recon.alignment.screened import spread
from recon.alignment.stereo import COARSE, FINE, Level, Stereo, match
from recon.alignment.sweep import Shot
from recon.scene import Frame, Scene
from recon.upsampling import edge_confidence, upsample_depth

SOURCES = 4  # views that a frame is compared with
LINK_COLOUR, LINK_JUMP = 20.0, 0.05  # grey levels and log-depth between neighbours across which a correction may jump
LEAST_LINK = 0.02
PATIENCE = 1e-5  # the weight of no correction
CHANCE = {"mapped": 0.05}  # the `agreement` that wrong cameras may have, after bundle adjustment
CHANCE_ELSEWHERE = 0.07  # and without
PULL = 0.3  # times the weight of a match, the weight of other views' depth where nothing matches
CONTRADICTED = 0.1  # times the confidence
BELIEF = 0.1  # where views are taken to agree
SAMPLE = 16  # of so many pixels one is asked for the usual confidence
THREADS = 2

Progress = Generator[tuple[float, str], None, None]
View: TypeAlias = tuple[Shot, np.ndarray, np.ndarray]  # with its inverse depth and the belief in it


@dataclass(eq=False)
class Place:
    """A frame that is refined, on its grid.

    Attributes:
        frame: it.
        chance: the `agreement` that its camera may have though it is wrong.
        shot: its picture and camera.
        prior: ``[h,w]`` inverse depth, positive: what the depth is swept around.
        sources: places to compare it with.
        stereo: the depth that these see.
        belief: ``[h,w]`` in it, 0 where none confirms it.
        inverse: ``[h,w]``: the prior, bent.
    """

    frame: Frame
    chance: float
    shot: Shot
    prior: np.ndarray
    sources: list[Place] = field(default_factory=list)
    stereo: Stereo = field(init=False)
    belief: np.ndarray = field(init=False)
    inverse: np.ndarray = field(init=False)


def densify(scene: Scene) -> Generator[tuple[float, str], None, tuple[int, ...]]:
    """Refine depth and confidence of a scene in place, all at the end, yielding ``(fraction, message)``.

    Frames that ``scene.settings["placement"]`` calls "guess" or "alone" are left as they are and say nothing of others;
    without that entry all cameras are trusted. The depth of a frame that the others confirm no better than chance
    would is left too. Confidence becomes more than 1 where views agree and less than 1 elsewhere, in the order that
    the model gave it, and least of all where a point hides what another view is sure to see.

    Args:
        scene: of any model, with cameras.

    Returns:
        Indices of the frames that changed.
    """
    places = find_places(scene)
    if len(places) < 2:
        return ()
    with ThreadPoolExecutor(THREADS) as pool:
        yield from compare(places, COARSE, pool, (0.0, 0.5))
        places = [place for place in places if agreement(place.stereo, place.belief) > place.chance]
        if not places:
            return ()
        for place in places:
            place.sources = [source for source in place.sources if source in places]
        list(pool.map(bend, places))
        yield 0.52, "Bent depth to what views agree on"
        for place, inverse in zip(places, pool.map(lambda p: join(p, partners(p, places)), places), strict=True):
            place.inverse = inverse
        yield 0.54, "Joined what views see of one surface"
        hides = list(pool.map(lambda p: seen_through(p.shot, p.inverse, partners(p, places)), places))
        beliefs = [place.belief for place in places]
        yield 0.56, "Checked what hides what"
        for place, depth in zip(places, list(pool.map(full_depth, places)), strict=True):
            place.shot, place.prior = shoot(place.frame, depth, FINE.area)
        yield 0.6, "Sharpened depth by the photos"
        yield from compare(places, FINE, pool, (0.6, 0.95))
        list(pool.map(bend, places))
        yield 0.98, "Bent depth to what views agree on"
        depths = list(pool.map(full_depth, places))
        yield 1.0, "Refined depth"
    known = np.concatenate([frame.confidence[frame.known()][::SAMPLE] for frame in scene.frames])
    usual = np.float32(max(np.nanmedian(known), 1e-6))
    for frame in scene.frames:
        frame.confidence = frame.confidence / (frame.confidence + usual)
    for place, depth, belief, hidden in zip(places, depths, beliefs, hides, strict=True):
        write(place.frame, depth, belief, hidden & (belief == 0))
    return tuple(range(len(scene.frames)))


def find_places(scene: Scene) -> list[Place]:
    """The frames whose cameras can be trusted, on the coarse grid, with others to compare each with."""
    placement = scene.settings.get("placement", ["mapped"] * len(scene.frames))
    places = [
        Place(frame, CHANCE.get(how, CHANCE_ELSEWHERE), *shoot(frame, frame.depth, COARSE.area))
        for frame, how in zip(scene.frames, placement, strict=True)
        if how not in ("guess", "alone") and frame.known().any()
    ]
    chosen = choose_sources([place.shot for place in places], [place.prior for place in places], SOURCES)
    for place, sources in zip(places, chosen, strict=True):
        place.sources = [places[source] for source in sources]
    return places


def compare(places: Sequence[Place], level: Level, pool: ThreadPoolExecutor, span: tuple[float, float]) -> Progress:
    """Find the depth that views see by themselves, and how far to believe it; tells fractions in ``span``."""
    start, end = span
    stereos = pool.map(lambda p: match(p.shot, p.prior, [source.shot for source in p.sources], level), places)
    for done, (place, stereo) in enumerate(zip(places, stereos, strict=True)):
        place.stereo = stereo
        yield start + (end - start) * (done + 1) / len(places), f"Compared {place.frame.name} with other views"
    beliefs = list(pool.map(lambda p: confirm(p.stereo, [source.stereo for source in p.sources]), places))
    for place, belief in zip(places, beliefs, strict=True):
        place.belief = belief


def bend(place: Place) -> None:
    """Correct the prior where the views' own depth is believed, and smoothly in between."""
    place.inverse = fuse(place.shot, place.prior, place.stereo.inverse, place.belief)


def shoot(frame: Frame, depth: np.ndarray, area: int) -> tuple[Shot, np.ndarray]:
    """A frame on a grid of at most ``area`` pixels, and ``[h,w]`` its inverse ``depth`` there, filled where unknown."""
    height, width = depth.shape
    scale = min(1.0, math.sqrt(area / (height * width)))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    known = frame.known()
    inverse = np.divide(1, depth, out=np.zeros(known.shape, np.float32), where=known)
    weight = cv2.resize(known.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    summed = cv2.resize(inverse, size, interpolation=cv2.INTER_AREA)
    filled = np.divide(summed, weight, out=np.zeros_like(summed), where=weight > 0)
    if not known.all():
        even = np.ones_like(weight)
        filled = np.where(weight > 0, filled, spread(filled, weight, (even[1:], even[:, 1:])))
    shot = Shot(
        image=cv2.resize(frame.image, size, interpolation=cv2.INTER_AREA),
        intrinsics=geometry.resize_transform((width, height), size) @ frame.camera.intrinsics,
        camera_from_world=frame.camera.camera_from_world.astype(np.float64),
    )
    return shot, filled.astype(np.float32)


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


def partners(place: Place, places: Sequence[Place]) -> list[View]:
    """What is known of the places that a place is compared with, or that are compared with it."""
    joined = [other for other in places if other in place.sources or place in other.sources]
    return [(other.shot, other.inverse, other.belief) for other in joined]


def join(place: Place, others: Sequence[View]) -> np.ndarray:
    """``[h,w]`` inverse depth: bent once more, unmatched surfaces to where other views have them."""
    change, weight = pull(place.shot, place.inverse, others)
    matched = place.belief > 0
    wanted = np.where(matched, place.stereo.inverse, place.inverse * np.exp(change))
    return fuse(place.shot, place.prior, wanted, np.where(matched, place.belief, PULL * weight))


def full_depth(place: Place) -> np.ndarray:
    """``[H,W]``: the depth of a place at its frame's own size."""
    depth = 1 / place.inverse
    return depth if depth.shape == place.frame.depth.shape else upsample_depth(depth, place.frame.image)


def write(frame: Frame, depth: np.ndarray, belief: np.ndarray, hides: np.ndarray) -> None:
    """Give a frame its new depth, and a confidence of it; unknown depth stays unknown."""
    agreed, doubt = (
        cv2.resize(values.astype(np.float32), frame.size, interpolation=cv2.INTER_LINEAR) for values in (belief, hides)
    )
    factor = edge_confidence(depth) * (1 - (1 - CONTRADICTED) * doubt)
    frame.confidence = ((frame.confidence + np.minimum(agreed / BELIEF, 1) + agreed) * factor).astype(np.float32)
    frame.depth = np.where(frame.known(), depth, 0)
    frame.points = None
