"""What a visitor drops in: stored in the visitor's folder, read in a thread, the progress told meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

from demo.visit import Visit
from recon import InputError, media
from recon.assets import ASSETS
from recon.media import Media

Progress = Callable[[float, str], None]
EXAMPLES = {
    folder.name: sorted(folder.glob("*.jpg"), key=media.natural_key)
    for folder in sorted((ASSETS / "examples").glob("*"))
    if folder.is_dir()
}


def add(visit: Visit, uploaded: Sequence[str | Path], progress: Progress) -> None:
    """Store ``uploaded`` and read them, in natural order, after what is there already.

    Raises:
        InputError: nothing among them can be read, or there is no room for more; what was there stays.
    """
    if sum(view.image.size for view in visit.media.views) > 3 * media.PIXEL_BUDGET:
        raise InputError("No more pictures fit into memory: remove those you have first.")
    stored: list[Path] = []
    try:
        for path in sorted(map(Path, uploaded), key=media.natural_key):
            stored.append(_store(visit, path))
        more = media.read(stored, progress=progress)
    except (InputError, OSError):
        _delete(stored)
        raise
    with visit.lock:  # two uploads of one visitor may end at once
        present = visit.media
        ticked = visit.ticked + [len(present.views) + i for i in range(len(more.views))]
        visit.take(Media(present.views + more.views, present.notes + more.notes), visit.files + stored)
        visit.ticked = ticked


def replace_by_example(visit: Visit, name: str, progress: Progress) -> None:
    """Take the photos of an example instead of what is there.

    Raises:
        InputError: there is no such example.
    """
    if name not in EXAMPLES:
        raise InputError("There is no such example: choose one of those shown.")
    example = media.read(EXAMPLES[name], progress=progress)
    remove(visit)
    visit.take(example, EXAMPLES[name])


def resample_videos(visit: Visit, frames: int, progress: Progress) -> None:
    """Take ``frames`` frames of each video; everything is read again, and ticked."""
    visit.take(media.read(visit.files, frames_per_video=frames, progress=progress))


def remove(visit: Visit) -> None:
    """Take all pictures away, and delete their files; a run under way has what it needs in memory."""
    files = visit.files
    visit.take(Media(), [])
    _delete([path for path in files if path.is_relative_to(visit.session.folder)])


def _delete(paths: Sequence[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _store(visit: Visit, path: Path) -> Path:
    try:
        return visit.session.store(path, move=True)
    except FileNotFoundError as error:  # two visitors who upload the same file share its place in the upload folder
        raise InputError(f"'{path.name}' got lost on its way here: please add it again.") from error


async def watch(work: Callable[[Progress], None]) -> AsyncIterator[tuple[float | None, str]]:
    """Run ``work`` in a thread, telling how far it is; closing this generator stops it at its next report."""
    latest: tuple[float | None, str] = (None, "")
    closed = False

    def progress(fraction: float, name: str) -> None:
        nonlocal latest
        latest = fraction, name
        if closed:
            raise InputError("The reading was stopped.")

    task = asyncio.create_task(asyncio.to_thread(work, progress))
    try:
        while not task.done():
            yield latest
            await asyncio.wait([task], timeout=0.2)
    finally:
        closed = True
        task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())  # it may end unwatched
    task.result()
