"""In which colours points and splats are drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, get_args

import cv2
import numpy as np

from recon.palette import Painting, painted
from recon.scene import Labels

PLAIN = ("photo", "confidence", "frame")
FIRST_HUE, GOLDEN = 0.58, 0.618034
DIMMED = 0.3  # share of its colour that is left to what is not selected


@dataclass(frozen=True)
class Paint:
    """What decides a colour.

    Attributes:
        by: one of `PLAIN`, or of `recon.palette.Painting`; the latter are the photo where there are no labels.
        labels: what segments are.
        selected: segments that stand out from all others; empty where none is selected.
    """

    by: str = "photo"
    labels: Labels | None = None
    selected: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        if self.by not in (*PLAIN, *get_args(Painting)):
            raise ValueError(f"points are coloured by {', '.join((*PLAIN, *get_args(Painting)))}, not by {self.by}")

    def differs(self, other: Paint) -> bool:
        """Whether anything may look otherwise."""
        labelled = self.by not in PLAIN and self.labels is not other.labels
        return labelled or (self.by, self.selected) != (other.by, other.selected)

    def colours(self, photo: np.ndarray, frame: Any, share: float, segments: np.ndarray | None) -> np.ndarray:
        """``[N,3] uint8``, or ``[3]`` where all are alike.

        Args:
            photo: ``[N,3] uint8``, as the photo has them.
            frame: index of their frame, or ``[N]``.
            share: of confidence, from 0 to 1.
            segments: ``[N]`` ids, None for all in none.
        """
        plain = self._plain(photo, frame, share, segments)
        if not self.selected:
            return plain
        dim = (DIMMED * plain).astype(np.uint8)
        if segments is None:
            return dim
        return np.where(np.isin(segments, list(self.selected))[:, None], plain, dim)

    def _plain(self, photo: np.ndarray, frame: Any, share: float, segments: np.ndarray | None) -> np.ndarray:
        if self.by == "frame":
            return frame_colour(frame) if np.ndim(frame) == 0 else _frame_colours(frame)
        if self.by == "confidence":
            value = np.array([[round(255 * share)]], np.uint8)
            return cv2.applyColorMap(value, cv2.COLORMAP_VIRIDIS)[0, 0, ::-1].copy()
        if self.by == "photo" or self.labels is None:
            return photo
        ids = np.full(len(photo), -1, np.int32) if segments is None else segments
        return painted(ids, self.labels, self.by)  # type: ignore[arg-type]  # which __post_init__ has made sure of


def frame_colour(index: int) -> np.ndarray:
    """``[3] uint8``: hues in golden steps, so that neighbours differ."""
    hue = round(180 * ((FIRST_HUE + index * GOLDEN) % 1))
    return cv2.cvtColor(np.array([[[hue, 150, 235]]], np.uint8), cv2.COLOR_HSV2RGB)[0, 0]


def _frame_colours(frames: np.ndarray) -> np.ndarray:
    table = np.stack([frame_colour(index) for index in range(int(frames.max(initial=0)) + 1)])
    return table[frames]
