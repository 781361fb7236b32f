"""What a user already knows of their photos, from the files they have: intrinsics, poses, depth.

>>> known = recon.attach(recon.read("photos").views, ["model.zip", "depth"])
>>> scene = recon.reconstruct(known.views, "mapanything")
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from recon.errors import InputError
from recon.known import arkit, colmap, depth, files, nerfstudio, record3d, tables
from recon.known.entry import Entry, Source, Unfit
from recon.known.filling import Filled, fill, intrinsics_from_exif
from recon.known.matching import match
from recon.known.placing import rigid_pose
from recon.media import listed
from recon.photo import shown_name
from recon.scene import View

MOST_NOTES = 20
FARTHEST = 10_000.0  # float32 keeps millimetres up to here
Found = tuple[Source, dict[int, Entry]]


@dataclass
class Row:
    """What was understood for one photo, in words for a table; "" where nothing is known."""

    name: str
    intrinsics: str = ""
    pose: str = ""
    depth: str = ""
    source: str = ""


@dataclass
class Known:
    """What was found.

    Attributes:
        views: new ones, with what was found for them; those given are untouched.
        rows: one a view, in order.
        notes: sentences for the user: what was ignored, guessed, or is doubtful, and why.
    """

    views: list[View]
    rows: list[Row]
    notes: list[str] = field(default_factory=list)


def attach(
    views: Sequence[View],
    paths: Sequence[str | Path],
    *,
    depth_scale: float | None = None,
    metric: bool | None = None,
    exif: bool = False,
    progress: Callable[[float, str], None] | None = None,
) -> Known:
    """Give views what files say of their photos.

    Args:
        views: as `recon.read` gives them.
        paths: files, folders and zips in any mix: COLMAP models, nerfstudio's transforms.json, depth maps (16-bit PNG,
            EXR, NPY, NPZ), tables of intrinsics or poses, exports of Polycam, 3D Scanner App and Record3D.
        depth_scale: units for a value of 1 in depth maps that do not say; None takes whole numbers for millimetres.
        metric: whether poses and depth are in metres; None for what their kind says.
        exif: take the focal length of the EXIF data for intrinsics where nothing else gives some.
        progress: called with the share done, 0 to 1, and the view's name; may raise to stop.

    Raises:
        InputError: paths were given, and nothing in them could be used.
    """
    if depth_scale is not None and not (math.isfinite(depth_scale) and depth_scale > 0):
        raise InputError("The scale of the depth maps must be a number above 0.")
    notes: list[str] = []
    with files.opened(paths, notes) as bundles, np.errstate(invalid="ignore", over="ignore"):
        sources = [source for bundle in bundles for source in _read(bundle, depth_scale, notes)]
        found = [(source, match(source, views, notes)) for source in sources]
        world = _world(found)
        found.sort(key=lambda each: each[0] is not world)
        filled = list[Filled]()
        for index, view in enumerate(views):
            filled.append(fill(view, [(source, each[index]) for source, each in found if index in each], world))
            if progress is not None:
                progress((index + 1) / len(views), view.name)
    told = _told(filled, found, world)
    if paths and not any(each.sources for each in filled):
        raise InputError(_nothing(paths, notes + told))
    _settle_metric(filled, metric, notes)
    if depth_scale is not None and metric is None and any(each.depth and not each.depth.metric for each in filled):
        notes.append(f"Depth times {depth_scale:g} was not taken for metres: say that it is in metres if it is.")
    _move_near(filled, notes)
    known = Known([each.view for each in filled], [_row(each) for each in filled], _few(notes + told))
    return _with_exif(known) if exif else known


def _read(bundle: files.Bundle, depth_scale: float | None, notes: list[str]) -> list[Source]:
    """All that a bundle says; the formats that know most come first, since each takes its files out."""
    before = len(notes)
    sources: list[Source] = []
    for reader in (colmap, record3d, nerfstudio, arkit, tables):
        sources += reader.read(bundle, notes)
    sources += depth.read(bundle, depth_scale, notes)
    if not sources and len(notes) == before:
        what = f"'{bundle.title}'" if bundle.title else listed(bundle.files)
        notes.append(
            f"{what} tells nothing of photos: give a COLMAP model, a transforms.json, depth maps or a table of cameras."
        )
    return sources


def _world(found: Sequence[Found]) -> Source | None:
    """The source whose poses are of the most views; those of another are of another world."""
    counts = [sum(_is_placed(entry) for entry in matched.values()) for _, matched in found]
    if not counts or max(counts) == 0:
        # With none that is right, one whose poses are wrong still has to say so.
        posed = [source for source, matched in found if any(e.world_from_camera is not None for e in matched.values())]
        return posed[0] if posed else None
    return found[counts.index(max(counts))][0]


def _is_placed(entry: Entry) -> bool:
    if entry.world_from_camera is None:
        return False
    try:
        rigid_pose(entry.world_from_camera)
    except Unfit:
        return False
    return True


# --- scale and place -------------------------------------------------------------------------------------------------


def _settle_metric(filled: Sequence[Filled], metric: bool | None, notes: list[str]) -> None:
    """Say of each view whether its pose and depth are in metres, which a view says of both at once."""
    mixed = []
    for each in filled:
        scaled = [source for source in (each.pose, each.depth) if source is not None]
        if scaled:
            metres = [source.metric for source in scaled]
            each.view = replace(each.view, metric=all(metres) if metric is None else metric)
            if metric is None and len(set(metres)) > 1:
                mixed.append(each)
    if mixed:
        one, other = sorted(mixed[0].sources[-2:], key=lambda source: not source.metric)
        notes.append(
            f"{one.called} is in metres and {other.called} may not be, so neither was taken for metres: say so if "
            "both are."
        )


def _move_near(filled: Sequence[Filled], notes: list[str]) -> None:
    """Poses to float32, the world moved to the first camera where it is so far out that this would lose millimetres."""
    posed = [each for each in filled if each.pose is not None and each.view.world_from_camera is not None]
    centres = [np.asarray(each.view.world_from_camera)[:3, 3] for each in posed]
    far = bool(centres) and float(np.abs(centres).max()) > FARTHEST
    for each in posed:
        world_from_camera = np.array(each.view.world_from_camera, np.float64)
        if far:
            world_from_camera[:3, 3] -= centres[0]
        each.view = replace(each.view, world_from_camera=world_from_camera.astype(np.float32))
    if far:
        x, y, z = centres[0]
        notes.append(f"The given poses are far from the origin: ({x:.2f}, {y:.2f}, {z:.2f}) was subtracted from all.")


# --- words -----------------------------------------------------------------------------------------------------------


def _row(filled: Filled) -> Row:
    view = filled.view
    unit = " m" if view.metric else ""
    row = Row(view.name, source="; ".join(source.called for source in filled.sources))
    if view.intrinsics is not None:
        focal = float(view.intrinsics[0, 0] * view.original_from_view[0, 0])
        wide = math.degrees(2 * math.atan(view.size[0] / 2 / float(view.intrinsics[0, 0])))
        row.intrinsics = f"focal length {focal:.0f} px, {wide:.0f}° wide"
        row.intrinsics += f", {filled.undistorted} undistorted" if filled.undistorted else ""
    elif view.focal_prior is not None:
        row.intrinsics = f"about {_equivalent(view):.0f} mm, from EXIF"
    if view.world_from_camera is not None:
        row.pose = f"at {', '.join(f'{value:.2f}' for value in view.world_from_camera[:3, 3])}{unit}"
    if view.depth is not None:
        known = view.depth[view.depth > 0]
        reach = f"{known.min():.2f} to {known.max():.2f}{unit}, " if known.size else ""
        parts = f"{filled.depth_words}: " if filled.depth_words else ""
        row.depth = f"{parts}{reach}{known.size / view.depth.size:.0%} known"
    return row


def _equivalent(view: View) -> float:
    """The focal length of the EXIF data in mm on film of 36x24 mm, by the diagonals (CIPA DCG-001)."""
    return (view.focal_prior or 0.0) * math.hypot(36, 24) / math.hypot(*view.size)


def _with_exif(known: Known) -> Known:
    for index, view in enumerate(known.views):
        if view.intrinsics is None and view.focal_prior is not None:
            known.views[index] = replace(view, intrinsics=intrinsics_from_exif(view))
            row = known.rows[index]
            row.source = "; ".join(filter(None, [row.source, "EXIF"]))
    return known


def _told(filled: Sequence[Filled], found: Sequence[Found], world: Source | None) -> list[str]:
    """Sentences about photos, those about the same once."""
    names: dict[str, list[str]] = {}
    for each in filled:
        for problem in each.problems:
            names.setdefault(problem, []).append(each.view.name)
    notes = [f"{_each(photos)} {problem}; that was left out." for problem, photos in names.items()]
    notes += dict.fromkeys(sentence for each in filled for sentence in each.sentences)
    notes += _other_worlds(found, world) + _surplus(filled, found, world) + _missing(filled)
    if undistorted := [each for each in filled if each.undistorted]:
        kinds = ", ".join(sorted({each.undistorted for each in undistorted}))
        notes.append(
            f"{_each(each.view.name for each in undistorted)} was resampled to take the distortion of its lens out "
            f"({kinds}): results and exports are of that new picture, not of the file."
        )
    if unsure := [each.view.name for each in filled if each.unsure]:
        notes.append(
            f"{_each(unsure)} is turned by its EXIF data; its pose was taken to be of the photo as it is stored."
        )
    return notes


def _each(names: Iterable[str]) -> str:
    """'a.jpg', or Each of 'a.jpg' and 'b.jpg'."""
    several = list(names)
    return listed(several) if len(several) == 1 else f"Each of {listed(several)}"


def _elsewhere(source: Source, matched: dict[int, Entry], world: Source | None) -> bool:
    """Whether its poses are of another world than those that count."""
    return source is not world and any(entry.world_from_camera is not None for entry in matched.values())


def _other_worlds(found: Sequence[Found], world: Source | None) -> list[str]:
    others = [source.called for source, matched in found if _elsewhere(source, matched, world)]
    if not others or world is None:
        return []
    return [
        f"The poses of {' and '.join(others)} were left out: they are of another world than those of {world.called}, "
        "which gives as many or more."
    ]


def _surplus(filled: Sequence[Filled], found: Sequence[Found], world: Source | None) -> list[str]:
    """What one source gives where another counts."""
    notes: dict[str, None] = {}
    for source, matched in found:
        for index, entry in matched.items():
            each = filled[index]
            given = [("intrinsics", entry.lens, each.intrinsics), ("depth", entry.depth, each.depth)]
            for what, mine, used in given:
                if mine is None or used is None or used is source or _elsewhere(source, matched, world):
                    continue
                notes[f"What {source.called} says of {what} was left out where {used.called} says it."] = None
    return list(notes)


def _missing(filled: Sequence[Filled]) -> list[str]:
    notes = []
    for what in ("intrinsics", "pose", "depth"):
        without = [each.view.name for each in filled if getattr(each, what) is None]
        if 0 < len(without) < len(filled):
            notes.append(f"No {what} {'were' if what == 'intrinsics' else 'was'} found for {listed(without)}.")
    return notes


def _few(notes: Sequence[str]) -> list[str]:
    """The first ones, where there are too many to read."""
    if len(notes) <= MOST_NOTES:
        return list(notes)
    return [*notes[:MOST_NOTES], f"There are {len(notes) - MOST_NOTES} more notes like these."]


def _nothing(paths: Sequence[str | Path], notes: Sequence[str]) -> str:
    if len(notes) == 1:
        return notes[0]
    what = listed(shown_name(Path(path)) for path in paths)
    return f"Nothing in {what} could be used; for one, {notes[0]}" if notes else f"Nothing in {what} could be used."
