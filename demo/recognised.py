"""What is recognised in a visitor's scene: which classes are shown, and which things are selected."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace

import numpy as np

from demo.picking import Hit
from demo.visit import Visit
from recon import Scene
from recon.filters import Filters
from recon.palette import NOTHING, colours
from recon.scene import Labels, Segment

UNNAMED = -1  # the class of what is in no segment


@dataclass(frozen=True)
class Part:
    """A class that was found, or all that is in none.

    Attributes:
        label: index of the class, or `UNNAMED`.
        name: of it.
        colour: ``[3] uint8``.
        segments: what is of this class.
        points: how many points are.
    """

    label: int
    name: str
    colour: np.ndarray
    segments: tuple[Segment, ...]
    points: int

    @property
    def ids(self) -> frozenset[int]:
        """Of its segments."""
        return frozenset(segment.id for segment in self.segments) or frozenset({-1})


@dataclass
class Recognised:
    """Of one visit and scene.

    Attributes:
        visit: whose scene it is.
        labels: the scene's, which is how a scene is known to be the same.
        parts: the classes with the most points first, what is in none last; empty where nothing was recognised.
        counts: points of each segment.
        selected: ids of the segments that are.
        alone: whether files are to hold nothing else.
        version: grows with every change.
    """

    visit: Visit
    labels: Labels | None = None
    parts: list[Part] = field(default_factory=list)
    counts: dict[int, int] = field(default_factory=dict)
    selected: frozenset[int] = frozenset()
    alone: bool = False
    version: int = 0
    _lock: threading.RLock = field(default_factory=threading.RLock, repr=False)

    def follow(self) -> None:
        """Notice that the visitor has another scene."""
        with self._lock:
            scene = self.visit.session.scene
            labels = scene.labels if scene else None
            if labels is not self.labels:
                self.labels, self.selected, self.alone = labels, frozenset(), False
                self.counts = count(scene) if scene and labels else {}
                self.parts = parts(labels, self.counts) if labels else []
                self.visit.session.viewer.select_points(self._clicked if self.parts else None)
                self.version += 1

    def shows(self, part: Part) -> bool:
        """Whether the points of a class are in sight."""
        shown = self.visit.session.filters.segments
        return shown is None or bool(part.ids & shown)

    def show(self, labels: set[int]) -> None:
        """Show the points of these classes, and of no other."""
        with self._lock:
            shown = [part for part in self.parts if part.label in labels]
            ids = None if len(shown) == len(self.parts) else frozenset().union(*(part.ids for part in shown))
            session = self.visit.session
            session.filters = replace(session.filters, segments=ids)
            session.viewer.set_filters(session.filters)
            self.version += 1

    def select(self, segments: frozenset[int]) -> None:
        """Let these, and no others, be selected."""
        with self._lock:
            self.selected = segments
            self.visit.session.viewer.select(segments)
            self.version += 1

    def toggle(self, segments: frozenset[int]) -> None:
        """Select these as well, or no more if all of them are."""
        with self._lock:
            self.select(self.selected - segments if segments <= self.selected else self.selected | segments)

    def taken_home(self, filters: Filters) -> Filters:
        """``filters`` as they are for a file."""
        return replace(filters, segments=self.selected) if self.alone and self.selected else filters

    def _clicked(self, shown: Scene, hit: Hit | None) -> None:
        """A click in the viewer: on a thing selects it alone, on the only one selected, or beside all, none."""
        with self._lock:
            if shown is not self.visit.session.scene or not self.parts:
                return
            found = -1
            if hit is not None and (segments := shown.frames[hit.frame].segments) is not None:
                found = int(segments[hit.pixel[1], hit.pixel[0]])
            chosen = frozenset({found} - {-1})
            self.select(frozenset() if chosen == self.selected else chosen)


def recognised_of(visit: Visit) -> Recognised:
    """What is recognised in the present scene."""
    if visit.recognised is None:
        visit.recognised = Recognised(visit)
    visit.recognised.follow()
    return visit.recognised


def count(scene: Scene) -> dict[int, int]:
    """How many points are of each segment, by its id; -1 for none."""
    found: dict[int, int] = {}
    for frame in scene.frames:
        known = frame.known()
        ids = np.full(known.sum(), -1) if frame.segments is None else frame.segments[known]
        for number, points in zip(*np.unique(ids, return_counts=True), strict=True):
            found[int(number)] = found.get(int(number), 0) + int(points)
    return found


def parts(labels: Labels, counts: dict[int, int]) -> list[Part]:
    """See `Recognised.parts`."""
    found = []
    for label in sorted({segment.label for segment in labels.segments}):
        segments = tuple(segment for segment in labels.segments if segment.label == label)
        points = sum(counts.get(segment.id, 0) for segment in segments)
        found.append(Part(label, labels.names[label], labels.colours[label], segments, points))
    found.sort(key=lambda part: -part.points)
    rest = counts.get(-1, 0)
    unnamed = [Part(UNNAMED, "nothing known", np.array(NOTHING, np.uint8), (), rest)] if rest else []
    return found + unnamed if found else []


def shades(labels: Labels) -> dict[int, list[int]]:
    """The colour of each segment by its id, things of one class told apart."""
    return dict(zip((segment.id for segment in labels.segments), colours(labels, "panoptic").tolist(), strict=True))
