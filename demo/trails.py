"""Tracks drawn on the photos that they run through: arrays in, pictures out."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from recon.scene import Frame, Tracks

LONG_SIDE = 480  # pixels, of a picture
TAIL = 4  # frames that a tail reaches back
NUMBERED = 30  # more points than these are smaller and have no numbers, which would hide the photo
MAXIMUM_TRACKS = 512  # of more, an even selection is drawn
DARK, WHITE = (18, 20, 24), (255, 255, 255)
SUBPIXEL = 4  # bits


def colours(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Colours by place: the hue runs from left to right, and what lies higher is paler.

    Args:
        pixels: ``[N,2]``.
        size: ``(width, height)`` of their image.

    Returns:
        ``[N,3] uint8`` RGB, of HSV with hue 0 to 300 degrees, saturation 0.55 to 1, value 1.
    """
    x, y = np.clip(pixels / size, 0, 1).T
    sector = (np.array([5, 3, 1]) + 5 * x[:, None]) % 6
    saturation = 1 - 0.45 * (1 - y[:, None])
    rgb = 1 - saturation * np.clip(np.minimum(sector, 4 - sector), 0, 1)
    return np.round(255 * rgb).astype(np.uint8)


def colours_of(tracks: Tracks, frames: Sequence[Frame]) -> np.ndarray:
    """``[N,3] uint8``: `colours` by the place at which each track began."""
    drawn = np.zeros((len(tracks.query), 3), np.uint8)
    for frame in np.unique(tracks.query):
        mine = tracks.query == frame
        drawn[mine] = colours(tracks.pixels[frame, mine], frames[frame].size)
    return drawn


def trails(tracks: Tracks, frames: Sequence[Frame], index: int) -> np.ndarray:
    """The photo of one frame with the tracks on it.

    A point that is seen is a disc, one that is hidden or uncertain a dim ring; a tail shows where it was in the frames
    before, as far as it was seen there.

    Returns:
        ``[H,W,3] uint8`` RGB whose longer side is `LONG_SIDE`.
    """
    tracks = tracks.chosen(np.arange(0, len(tracks.query), -(-len(tracks.query) // MAXIMUM_TRACKS)))
    few = len(tracks.query) <= NUMBERED
    radius = 6 if few else 4
    frame = frames[index]
    scale = LONG_SIDE / max(frame.size)
    size = tuple(max(1, round(scale * side)) for side in frame.size)
    picture = cv2.resize(frame.image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    picture = (0.72 * picture).astype(np.uint8)  # so that the marks stand out
    first = max(0, index - TAIL)
    places = np.stack([tracks.pixels[i] / frames[i].size * size for i in range(first, index + 1)])
    seen = tracks.seen()[first : index + 1]
    palette = colours_of(tracks, frames)
    inside = ((places[-1] >= 0) & (places[-1] < size)).all(-1)
    _tails(picture, places, seen & inside, palette)
    for draw, which in ((_ring, ~seen[-1]), (_disc, seen[-1])):
        for track in np.flatnonzero(inside & which):
            draw(picture, _fixed(places[-1, track]), radius, palette[track].tolist())
    return _numbered(picture, places[-1], inside, seen[-1], radius) if few else picture


def _tails(picture: np.ndarray, places: np.ndarray, seen: np.ndarray, palette: np.ndarray) -> None:
    count = len(places)
    for step in range(1, count):
        both = seen[step - 1] & seen[step] & np.isfinite(places[step - 1 : step + 1]).all((0, -1))
        layer = picture.copy()
        for track in np.flatnonzero(both):
            start, end = _fixed(places[step - 1, track]), _fixed(places[step, track])
            cv2.line(layer, start, end, palette[track].tolist(), 2, cv2.LINE_AA, SUBPIXEL)
        strength = (step + TAIL + 1 - count) / TAIL  # the older, the fainter
        cv2.addWeighted(layer, 0.9 * strength, picture, 1 - 0.9 * strength, 0, picture)


def _ring(picture: np.ndarray, place: tuple[int, int], radius: int, colour: list[int]) -> None:
    for thickness, shade in ((3, DARK), (1, [round(0.7 * value) for value in colour])):
        cv2.circle(picture, place, radius << SUBPIXEL, shade, thickness, cv2.LINE_AA, SUBPIXEL)


def _disc(picture: np.ndarray, place: tuple[int, int], radius: int, colour: list[int]) -> None:
    for size, shade in ((radius + 2, DARK), (radius + 1, WHITE), (radius, colour)):
        cv2.circle(picture, place, size << SUBPIXEL, shade, cv2.FILLED, cv2.LINE_AA, SUBPIXEL)


def _numbered(picture: np.ndarray, places: np.ndarray, which: np.ndarray, seen: np.ndarray, radius: int) -> np.ndarray:
    image = Image.fromarray(picture)
    drawing, font = ImageDraw.Draw(image), ImageFont.load_default(19)
    for track in np.flatnonzero(which):
        x, y = places[track] + (radius + 5, -radius - 1)
        fill = WHITE if seen[track] else (170, 176, 186)
        drawing.text((x, y), str(track + 1), fill, font, "lm", stroke_width=2, stroke_fill=DARK)
    return np.array(image)


def _fixed(place: np.ndarray) -> tuple[int, int]:
    """A place as OpenCV draws it: its pixel centres are at whole numbers."""
    x, y = np.round((place - 0.5) * (1 << SUBPIXEL)).clip(-(2**20), 2**20).astype(int)
    return int(x), int(y)
