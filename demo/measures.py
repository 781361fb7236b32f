"""What a visitor measures in the scene: two points make a length, and a length that is known makes metres."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from demo.picking import Hit
from demo.visit import Visit
from recon import InputError, Scene
from recon.measurement import Measurement
from recon.scale import as_made, in_metres

UNITS = {"m": 1.0, "cm": 0.01, "mm": 0.001, "ft": 0.3048, "in": 0.0254}

MISSED = "There is no point there: click on one."
UNKNOWN = "This pixel has no depth: click beside it."
BUSY = "A run is under way: wait for its end, or cancel it, then measure."


@dataclass
class Measures:
    """Of one visit. The measurements themselves are the scene's, so they go where it goes.

    Attributes:
        visit: whose scene it is.
        scene: the one that the rest belongs to.
        on: whether clicks in the viewer measure.
        frame: index of the photo on which points are clicked.
        begun: the first point of a measurement that has no second one yet.
        chosen: index of the measurement whose length can be given.
        said: why what was last wanted could not be done, in a sentence.
        version: grows with every change.
    """

    visit: Visit
    scene: Scene | None = None
    on: bool = False
    frame: int = 0
    begun: Hit | None = None
    chosen: int = 0
    said: str = ""
    version: int = 0
    _lock: threading.RLock = field(default_factory=threading.RLock, repr=False)

    def turn(self, on: bool) -> None:
        """Begin to take clicks in the viewer for points, or end it and forget a point that has no second one."""
        with self._lock:
            self.on, self.said = on, ""
            self.visit.session.viewer.pick_points(self._clicked if on else None)
            self._changed(None)

    def click(self, hit: Hit) -> None:
        """Take a point of the scene: the first of a measurement, or the second.

        Raises:
            InputError: the point is not known.
        """
        with self._lock:
            scene = self._present()
            x, y = hit.pixel
            if not scene.frames[hit.frame].known()[y, x]:
                raise InputError(UNKNOWN)
            if self.begun is None:
                self._changed(hit)
                return
            if hit == self.begun:
                raise InputError("That is the first point again: click another one.")
            scene.measurements.append(Measurement((self.begun.frame, hit.frame), (self.begun.pixel, hit.pixel)))
            self.chosen = len(scene.measurements) - 1
            self._changed(None)

    def choose(self, index: int) -> None:
        """Let it be the length of that measurement which `set_length` is about."""
        with self._lock:
            self.chosen = index
            self._changed(self.begun)

    def remove(self, index: int) -> None:
        """Take one measurement away."""
        with self._lock:
            measurements = self._present().measurements
            if 0 <= index < len(measurements):
                del measurements[index]
                self.chosen = min(self.chosen - (index < self.chosen), len(measurements) - 1)
                self._changed(self.begun)

    def clear(self) -> None:
        """Take all away; a scale that one of them set stays."""
        with self._lock:
            self._present().measurements.clear()
            self._changed(None)

    def set_length(self, length: float | None, unit: str) -> None:
        """Let the chosen measurement be that long: from now on the whole scene is in metres.

        Raises:
            InputError: nothing is measured, or no length can be made of that, or a run is under way.
        """
        with self._lock:
            scene = self._present()
            if not 0 <= self.chosen < len(scene.measurements):
                raise InputError("Measure something whose length you know first: click its two ends.")
            if not length or unit not in UNITS:
                raise InputError("Enter the length first: a number greater than zero.")
            now = scene.measurements[self.chosen].length(scene.frames)
            self._take(in_metres(scene, now, length * UNITS[unit]), length * UNITS[unit] / now)

    def unset(self) -> None:
        """Take back what `set_length` did.

        Raises:
            InputError: a run is under way.
        """
        with self._lock:
            scene = self._present()
            if (known := scene.settings.get("known_length")) is not None:
                self._take(as_made(scene), 1 / known["factor"])

    def refuse(self, error: InputError) -> None:
        """Say why something could not be done."""
        self.said = str(error)
        self.version += 1

    def follow(self) -> None:
        """Notice that the visitor has another scene."""
        with self._lock:
            scene = self.visit.session.scene
            if scene is not self.scene:
                self.scene, self.begun, self.frame, self.said = scene, None, 0, ""
                self.chosen = len(scene.measurements) - 1 if scene else 0
                self.version += 1

    def _present(self) -> Scene:
        self.follow()
        if self.scene is None:
            raise InputError("There is nothing to measure yet: reconstruct something first.")
        return self.scene

    def _take(self, scene: Scene, factor: float) -> None:
        if self.visit.working:
            raise InputError(BUSY)
        picks = self.visit.picks
        if picks is not None and picks.scene is self.scene:
            picks.scene = scene
        self.visit.session.scene = self.scene = scene
        self.visit.session.viewer.rescale(scene, factor)
        self._changed(self.begun)

    def _changed(self, begun: Hit | None) -> None:
        self.begun, self.said = begun, ""
        self.version += 1
        if self.scene is not None:
            self.visit.session.viewer.show_measurements(self.scene, begun)

    def _clicked(self, shown: Scene, hit: Hit | None) -> None:
        """A click in the viewer, which may show a scene that is still growing."""
        with self._lock:
            if not self.on:
                return
            try:
                if shown is not self._present():
                    raise InputError(BUSY)
                if hit is None:
                    raise InputError(MISSED)
                self.click(hit)
            except InputError as error:
                self.refuse(error)


def measures_of(visit: Visit) -> Measures:
    """What the visitor measures in the present scene."""
    if visit.measures is None:
        visit.measures = Measures(visit)
    visit.measures.follow()
    return visit.measures
