"""Which entry of a source speaks of which view: by name, by time, or in order."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from recon import photo, video
from recon.known.entry import Entry, Source
from recon.media import listed
from recon.scene import View

PICTURES = photo.SUFFIXES | photo.RAW_SUFFIXES | video.SUFFIXES | {".exr", ".npy", ".npz"}
MOST_APART = 0.05  # seconds between a view and its pose


def match(source: Source, views: Sequence[View], notes: list[str]) -> dict[int, Entry]:
    """Entries by the index of their view; those without one, and guesses, are told in ``notes``."""
    if source.matched_by == "any":
        return dict.fromkeys(range(len(views)), source.entries[0])
    if source.matched_by == "time":
        return _by_time(source, views, notes) or _in_order(source, views, notes)
    if source.matched_by == "order":
        return _in_order(source, views, notes)
    matched = _by_name(source, views, notes) or _by_time(source, views, notes)
    if not matched and source.matched_by == "likeness":
        matched = _by_likeness(source, views, notes) or _in_order(source, views, notes)
    used = {id(entry) for entry in matched.values()}
    left = [entry.name for entry in source.entries if id(entry) not in used]
    if left and (matched or source.matched_by == "name"):
        are = "is not among the photos and was" if len(left) == 1 else "are not among the photos and were"
        notes.append(f"{listed(PurePosixPath(name).name for name in left)} of {source.called} {are} left out.")
    return matched


# --- by name ---------------------------------------------------------------------------------------------------------


def _parts(name: str) -> tuple[str, ...]:
    """Stem and folders, innermost first, such that spelling that exporters change does not matter."""
    path = PurePosixPath(name.replace("\\", "/"))
    stem = path.stem if path.suffix.lower() in PICTURES else path.name
    folders = [part.casefold() for part in reversed(path.parts[:-1])]
    stem = re.sub(r"[^\w.()+-]+", "_", stem).strip("._").casefold()
    return (stem.lstrip("0") or "0" if stem.isdecimal() else stem), *folders


def _view_parts(view: View) -> tuple[str, ...]:
    if view.time is not None or view.path is None:
        return _parts(view.name if view.time is None else f"{view.name}.png")
    return _parts(view.path.as_posix())


def _shared(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    """How many parts from the stem outwards are the same."""
    count = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        count += 1
    return count


def _by_name(source: Source, views: Sequence[View], notes: list[str]) -> dict[int, Entry]:
    """By stem; where several have the same, by the folders around them."""
    by_stem: dict[str, list[int]] = {}
    view_parts = [_view_parts(view) for view in views]
    for index, parts in enumerate(view_parts):
        by_stem.setdefault(parts[0], []).append(index)
    rivals: dict[int, list[tuple[int, Entry]]] = {}
    unsure = []
    for entry in source.entries:
        parts = _parts(entry.name)
        alike = by_stem.get(parts[0], []) if parts[0] else []
        scores = [_shared(parts, view_parts[index]) for index in alike]
        best = [index for index, score in zip(alike, scores, strict=True) if score == max(scores)]
        if len(best) == 1:
            rivals.setdefault(best[0], []).append((max(scores), entry))
        elif best:
            unsure.append(entry.name)
    matched = {}
    for index, entries in rivals.items():
        most = max(score for score, _ in entries)
        winners = [entry for score, entry in entries if score == most]
        if len(winners) == 1:
            matched[index] = winners[0]
        else:
            unsure.append(views[index].name)
    if unsure:
        notes.append(f"{listed(unsure)} of {source.called} could be of several photos: keep their folders' names.")
    return matched


def _by_likeness(source: Source, views: Sequence[View], notes: list[str]) -> dict[int, Entry]:
    """By what is left of the names without what all of a kind begin and end with."""
    ours, theirs = _cores([_view_parts(view)[0] for view in views]), _cores([_parts(e.name)[0] for e in source.entries])
    if len(set(theirs)) < len(theirs) or len(set(ours)) < len(ours):
        return {}
    index_of = {core: index for index, core in enumerate(ours)}
    matched = {index_of[core]: entry for core, entry in zip(theirs, source.entries, strict=True) if core in index_of}
    if matched:
        index, entry = next(iter(matched.items()))
        notes.append(
            f"{source.called} was matched to the photos by what differs in their names: "
            f"'{PurePosixPath(entry.name).name}' to '{views[index].name}', for one."
        )
    return matched


def _cores(stems: list[str]) -> list[str]:
    """What differs; digits at its edges belong to it, and zeros before a number do not count."""
    words = r"^(?:depth|disp|rgb|image|img|color|colour|frame)s?[_.-]+|[_.-]+(?:z?depth(?:map)?|z|disp)$"
    plain = [re.sub(words, "", stem) for stem in stems]
    if len(plain) > 1:
        first, last = min(plain), max(plain)
        prefix = re.sub(r"\d+$", "", first[: _common(first, last)])
        flipped = sorted(stem[::-1] for stem in plain)
        suffix = re.sub(r"\d+$", "", flipped[0][: _common(flipped[0], flipped[-1])])
        plain = [stem[len(prefix) : len(stem) - len(suffix)] or stem for stem in plain]
    return [stem.lstrip("0") or "0" if stem.isdecimal() else stem for stem in plain]


def _common(one: str, other: str) -> int:
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


# --- by time, in order -----------------------------------------------------------------------------------------------


def _by_time(source: Source, views: Sequence[View], notes: list[str]) -> dict[int, Entry]:
    """To the nearest time; photos may have it as their names, and videos begin at the first one."""
    entries = [entry for entry in source.entries if entry.time is not None and np.isfinite(entry.time)]
    times = np.array([entry.time for entry in entries])
    wanted = [view.time if view.time is not None else _seconds(view.name) for view in views]
    if not entries or all(time is None for time in wanted):
        return {}
    if times.min() > 1e6 and all(time is None or time < 1e6 for time in wanted):  # the clock's, not the video's
        notes.append(f"The first time of {source.called} was taken for the start of the video.")
        times = times - times[0]
    matched, far = {}, []
    for index, time in enumerate(wanted):
        if time is None:
            continue
        nearest = int(np.argmin(np.abs(times - time)))
        if abs(times[nearest] - time) <= MOST_APART:
            matched[index] = entries[nearest]
        else:
            far.append(views[index].name)
    if matched and far:
        notes.append(f"{source.called} tells nothing within {MOST_APART} s of {listed(far)}.")
    return matched


def _seconds(name: str) -> float | None:
    stem = Path(name).stem
    return float(stem) if re.fullmatch(r"\d{6,}\.\d+", stem) else None


def _in_order(source: Source, views: Sequence[View], notes: list[str]) -> dict[int, Entry]:
    if len(source.entries) != len(views):
        notes.append(
            f"{source.called} is of {len(source.entries)} pictures, which do not match the {len(views)} photos by "
            "name: name its entries after the photos, or give as many."
        )
        return {}
    notes.append(f"{source.called} was matched to the photos in their order.")
    return dict(enumerate(source.entries))
