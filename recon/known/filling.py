"""One view filled with what several sources say of it, the first that fits for each kind of knowledge."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from recon import geometry, photo
from recon.errors import InputError
from recon.known.entry import Entry, FieldOfView, Lens, Source, Unfit
from recon.known.placing import pixels_in_original, turned_pose, with_depth, with_lens
from recon.known.turn import Turn, is_sure, turn_of, turn_of_lens
from recon.scene import View

DEPTH_ASPECT = 0.01  # by which that of a depth sensor may differ from the photo's, as in ScanNet
Candidates = Sequence[tuple[Source, Entry]]


@dataclass
class Filled:
    """A view and where its parts come from.

    Attributes:
        view: the new one; its pose is float64 until all are known.
        intrinsics: the source of them, or None.
        pose: likewise.
        depth: likewise.
        depth_words: the size of the depth map, and what its values were taken for.
        undistorted: COLMAP's name of the distortion that was taken out, or "".
        problems: of each source, rests of sentences about the photo.
        sentences: whole ones.
        unsure: True where the pose may be of the photo turned otherwise.
    """

    view: View
    intrinsics: Source | None = None
    pose: Source | None = None
    depth: Source | None = None
    depth_words: str = ""
    undistorted: str = ""
    problems: list[str] = field(default_factory=list)
    sentences: list[str] = field(default_factory=list)
    unsure: bool = False

    @property
    def sources(self) -> list[Source]:
        """Those used, each once."""
        used = [source for source in (self.intrinsics, self.pose, self.depth) if source is not None]
        return [source for index, source in enumerate(used) if all(source is not other for other in used[:index])]


def fill(view: View, candidates: Candidates, world: Source | None) -> Filled:
    """Intrinsics, pose and depth for one view.

    Args:
        view: as it was given.
        candidates: what matches it, the most trusted first.
        world: the one source whose poses count, since others may be of another world.
    """
    still = view.path is not None and view.time is None
    orientation = photo.orientation(view.path) if still and view.path is not None else 1
    filled = Filled(view)
    lens, turn = _fill_lens(filled, candidates, orientation)
    _fill_pose(filled, candidates, world, view, orientation, turn)
    _fill_depth(filled, candidates, view, orientation, partial(pixels_in_original, view, filled.view, lens, turn))
    return filled


def _fill_lens(filled: Filled, candidates: Candidates, orientation: int) -> tuple[Lens | FieldOfView | None, Turn]:
    for source, entry in candidates:
        if entry.lens is None:
            continue
        try:
            turn = turn_of_lens(entry.lens, filled.view, orientation)
            new = with_lens(filled.view, entry.lens, turn)
        except Unfit as unfit:
            filled.problems.append(str(unfit))
            continue
        if new.image is not filled.view.image and isinstance(entry.lens, Lens):
            filled.undistorted = entry.lens.model
        filled.view, filled.intrinsics = new, source
        return entry.lens, turn
    return None, turn_of_lens(None, filled.view, orientation)


def _fill_pose(
    filled: Filled, candidates: Candidates, world: Source | None, given: View, orientation: int, turn: Turn
) -> None:
    """The pose, of the photo turned as its own lens is, or else as the one that was taken."""
    for source, entry in candidates:
        if source is not world or entry.world_from_camera is None:
            continue
        with suppress(Unfit):  # of the lens, and told there
            turn = turn if entry.lens is None else turn_of_lens(entry.lens, given, orientation)
        try:
            pose = turned_pose(entry.world_from_camera, turn)
        except Unfit as unfit:
            filled.problems.append(str(unfit))
            continue
        filled.view = replace(filled.view, world_from_camera=pose)
        filled.pose, filled.unsure = source, not is_sure(turn, given, orientation)
        return


def _fill_depth(
    filled: Filled, candidates: Candidates, given: View, orientation: int, in_original: Callable[[], np.ndarray]
) -> None:
    for source, entry in candidates:
        if entry.depth is None:
            continue
        try:
            depth, taken = entry.depth.load()
            height, width = depth.shape
            what = f"its depth in '{entry.depth.name}' is"
            turn = turn_of((width, height), given, orientation, what, DEPTH_ASPECT)
        except InputError as error:
            filled.sentences.append(str(error))
            continue
        except Unfit as unfit:
            filled.problems.append(str(unfit))
            continue
        filled.view = with_depth(filled.view, depth, turn, in_original())
        filled.depth, filled.depth_words = source, f"{width}x{height}{f' {taken}' if taken else ''}"
        return


def intrinsics_from_exif(view: View) -> np.ndarray | None:
    """``[3,3]`` by the focal length that the EXIF data suggest, or None."""
    return None if view.focal_prior is None else geometry.intrinsics_from_focal(view.focal_prior, *view.size)
