"""Files (photos, folders, videos) to Views: the front door of everything a user drops in."""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from recon import photo, video
from recon.errors import InputError
from recon.photo import Unreadable, shown_name
from recon.scene import View

# Decoded pixels in all (450 MB); more pictures than that at full `maximum_side` are reduced further.
PIXEL_BUDGET = 150_000_000
MAXIMUM_VIEWS = 1000
# Pictures in the container of mp4 (ISO 23008-12, AVIF 1.1, and Canon's raw files)
PICTURE_BRANDS = frozenset(b"heic heix heim heis hevc hevx mif1 msf1 avif avis".split()) | {b"crx "}


@dataclass
class Media:
    """What was read.

    Attributes:
        views: in the order given, folders in natural order.
        notes: sentences for the user: what was left out, chosen or reduced, and why.
    """

    views: list[View] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass
class _Source:
    """A file that will give views: ``wanted`` of the ``slots`` it could give."""

    path: Path
    clip: video.Clip | None = None
    slots: int = 1
    wanted: int = 1
    # Photos passed over by the choice, to be tried in order should this one turn out to be unreadable.
    substitutes: list[Path] = field(default_factory=list)


def read(
    paths: str | Path | Sequence[str | Path],
    *,
    maximum_views: int | None = None,
    frames_per_second: float | None = None,
    frames_per_video: int | None = None,
    maximum_side: int = 1600,
    progress: Callable[[float, str], None] | None = None,
) -> Media:
    """Read photos, folders of photos, and videos.

    Args:
        paths: files and folders, in the order wanted. A folder stands for its own photos and videos in natural order,
            or, where it has none, for those of its sub-folders ("images" alone where there is one).
        maximum_views: take at most this many, spread evenly; chosen before anything is decoded.
        frames_per_second: how densely videos are sampled; None for 2 a second, but 8 to 32 frames a video.
        frames_per_video: how many frames to take from each video, whatever its length.
        maximum_side: pictures are reduced to this many pixels on their long side.
        progress: called with the share done, 0 to 1, and what was just read; may raise to stop the reading.

    Raises:
        InputError: nothing among ``paths`` can be read.
    """
    if maximum_views is not None and maximum_views < 1:
        raise InputError("The largest number of views must be at least 1.")
    if frames_per_second is not None and not 0 < frames_per_second < float("inf"):
        raise InputError("The number of frames per second must be above 0.")
    if frames_per_video is not None and frames_per_video < 1:
        raise InputError("The number of frames per video must be at least 1.")
    media, failures = Media(), list[Unreadable]()
    files = _files([paths] if isinstance(paths, (str, Path)) else paths, media.notes, failures)
    sources = _choose(_sources(files, frames_per_second, frames_per_video, failures), maximum_views, media.notes)
    count = sum(source.wanted for source in sources)
    side = min(maximum_side, int((PIXEL_BUDGET / max(count, 1) * 4 / 3) ** 0.5))
    if side < maximum_side:
        media.notes.append(f"To fit {count} pictures into memory, each was reduced to {side} pixels on its long side.")
    with closing(_decode(sources, side, media.notes, failures)) as decoded:
        for slot, view in decoded:
            media.views.append(view)
            if progress is not None:
                progress(slot / count, view.name)
    if not media.views:
        raise _nothing(failures)
    media.notes += _left_out(failures) + _identical(media.views)
    return media


def natural_key(path: Path) -> list[tuple[int, int, str]]:
    """Sorts IMG_2 before IMG_10, without regard to case."""
    parts = re.split(r"(\d+)", path.name.casefold())
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part]


def _files(paths: Sequence[str | Path], notes: list[str], failures: list[Unreadable]) -> list[Path]:
    """The paths with each folder replaced by the files it stands for."""
    files = []
    for path in [Path(given) for given in paths if str(given)]:  # an empty name would mean the current folder
        with _collecting(failures, path):
            if not path.is_dir():
                files.append(path)
            elif found := _folder(path, notes):
                files += found
            else:
                raise Unreadable(shown_name(path), "is a folder without photos or videos")
    return files


def _folder(folder: Path, notes: list[str]) -> list[Path]:
    """Media files of a folder in natural order, or of its sub-folders where it has none itself."""
    entries = sorted((entry for entry in folder.iterdir() if not entry.name.startswith(".")), key=natural_key)
    known = photo.SUFFIXES | photo.RAW_SUFFIXES | video.SUFFIXES
    files = [entry for entry in entries if entry.suffix.lower() in known and entry.is_file()]
    if files:
        photos = {file.stem.casefold() for file in files if file.suffix.lower() in photo.SUFFIXES}
        live = [file for file in files if file.suffix.lower() == ".mov" and file.stem.casefold() in photos]
        if live:
            were = "was" if len(live) == 1 else "were"
            notes.append(f"{listed(map(shown_name, live))} {were} left out: a photo of the same name is there.")
        return [file for file in files if file not in live]
    folders = [entry for entry in entries if entry.is_dir() and not entry.is_symlink()]
    folders = [entry for entry in folders if entry.name.lower() == "images"] or folders
    return [file for entry in folders for file in _folder(entry, notes)]


def _sources(
    files: list[Path], frames_per_second: float | None, frames_per_video: int | None, failures: list[Unreadable]
) -> list[_Source]:
    sources = []
    for file in files:
        with _collecting(failures, file):
            clip = video.probe(file) if _is_video(file) else None
            slots = 1 if clip is None else clip.samples(frames_per_second, frames_per_video)
            sources.append(_Source(file, clip, slots, slots))
    return sources


@contextmanager
def _collecting(failures: list[Unreadable], path: Path) -> Iterator[None]:
    """Turn a file that cannot be used into an entry of ``failures``."""
    try:
        yield
    except Unreadable as error:
        failures.append(error)
    except OSError as error:
        failures.append(photo.cannot_open(path, error))


def _is_video(path: Path) -> bool:
    """Tell a video by its first bytes, whatever its name (a playlist named .mp4 must never reach the decoder)."""
    if not path.is_file():
        raise Unreadable(shown_name(path), "is not a file" if path.exists() else "does not exist: check its name")
    with path.open("rb") as file:
        head = file.read(12)
    if not head:
        raise Unreadable(shown_name(path), "is empty (0 bytes): copy it again from where it came from")
    if head[4:8] == b"ftyp":
        return head[8:12] not in PICTURE_BRANDS
    return (
        head[4:8] in (b"moov", b"mdat", b"wide", b"free", b"skip")
        or head[:4] == b"\x1a\x45\xdf\xa3"
        or (head[:4] == b"RIFF" and head[8:12] == b"AVI ")
    )


def _choose(sources: list[_Source], maximum: int | None, notes: list[str]) -> list[_Source]:
    """Spread the views wanted evenly over all that there could be."""
    total = sum(source.slots for source in sources)
    maximum = MAXIMUM_VIEWS if maximum is None else maximum
    if total <= maximum:
        return sources
    chosen = np.linspace(0, total - 1, maximum).round() if maximum > 1 else np.zeros(1)
    start, kept = 0, list[_Source]()
    for source in sources:
        source.wanted = int(((chosen >= start) & (chosen < start + source.slots)).sum())
        start += source.slots
        if source.wanted:
            kept.append(source)
        elif source.clip is None and kept and kept[-1].clip is None:
            kept[-1].substitutes.append(source.path)
    photos = sum(source.clip is None for source in sources)
    what = "photos" if photos == len(sources) else "photos and video frames" if photos else "video frames"
    notes.append(f"Of {total} {what}, {maximum} were taken, spread evenly from the first to the last.")
    return kept


def _decode(
    sources: list[_Source], maximum_side: int, notes: list[str], failures: list[Unreadable]
) -> Generator[tuple[int, View], None, None]:
    """Yield each view in order, with the number of slots done; photos are decoded ahead, several at a time."""
    pool = ThreadPoolExecutor(min(4, os.cpu_count() or 1))
    try:
        photos = [pool.submit(_first_readable, source, maximum_side) for source in sources if source.clip is None]
        photos.reverse()
        done = 0
        for source in sources:
            if source.clip is None:
                view, failed = photos.pop().result()
                failures += failed
                if view is not None:
                    yield done + 1, view
            else:
                with _collecting(failures, source.path):
                    for i, view in enumerate(video.sample(source.clip, source.wanted, maximum_side, notes), 1):
                        yield done + i, view
            done += source.wanted
    finally:
        pool.shutdown(cancel_futures=True)


def _first_readable(source: _Source, maximum_side: int) -> tuple[View | None, list[Unreadable]]:
    failures: list[Unreadable] = []
    for path in [source.path, *source.substitutes]:
        try:
            return photo.read(path, maximum_side), failures
        except Unreadable as error:
            failures.append(error)
    return None, failures


def _nothing(failures: list[Unreadable]) -> InputError:
    if not failures:
        return InputError("There is nothing to read: give at least one photo or video.")
    if len(failures) == 1:
        return failures[0]
    return InputError(f"None of the {len(failures)} files can be read; for one, {failures[0]}")


def _left_out(failures: list[Unreadable]) -> list[str]:
    """One sentence a reason, naming its files."""
    names: dict[str, list[str]] = {}
    for failure in failures:
        names.setdefault(failure.reason, []).append(failure.name)
    return [
        f"{listed(files)} {'was left out because it' if len(files) == 1 else 'were left out because each'} {reason}."
        for reason, files in names.items()
    ]


def _identical(views: list[View]) -> list[str]:
    """Sentences naming photos that show the same, pixel for pixel."""
    alike: dict[tuple[tuple[int, int], int], list[str]] = {}
    for view in views:
        key = view.original_size, zlib.crc32(view.image[::4, ::4].tobytes())
        alike.setdefault(key, []).append(view.name)
    groups = [names for names in alike.values() if len(names) > 1]
    if len(groups) > 3:
        return [f"{sum(map(len, groups))} of {len(views)} pictures are among them more than once."]
    return [f"{listed(names)} are the same picture." for names in groups]


def listed(names: Iterable[str], maximum: int = 3) -> str:
    """'a', 'b', 'c' and 4 more."""
    quoted = [f"'{name}'" for name in names]
    if len(quoted) > maximum:
        return f"{', '.join(quoted[:maximum])} and {len(quoted) - maximum} more"
    return " and ".join([", ".join(quoted[:-1]), quoted[-1]] if len(quoted) > 1 else quoted)
