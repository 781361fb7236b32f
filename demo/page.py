"""The page: what the visitor meets, and what happens when they touch it."""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Any

import gradio as gr
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from demo import controls, job, markup, style, uploads
from demo.job import Job
from demo.layout import Parts, layout, widgets
from demo.pictures import thumbnail
from demo.session import Sessions
from demo.visit import Visit
from demo.visit import visit as visit_of
from recon import CARDS, InputError, Options
from recon.export import export

log = logging.getLogger(__name__)

Updates = dict[Any, Any]

FULL = "The disk is full: free some space, then try again."
SORRY = "Something went wrong on our side: please try again."
GONE = "Your visit has ended and its files are deleted: reload the page to begin anew."

FETCH = "() => setTimeout(() => document.querySelector('#fetch').click(), 60)"

QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}


def build(sessions: Sessions) -> gr.Blocks:
    """The page of all visitors, each of whom has a session among ``sessions``; launch it with `launch_options`."""
    with gr.Blocks(title="Parallax", analytics_enabled=False, fill_width=True, delete_cache=(600, 3600)) as blocks:
        parts, panel = layout()
        _wire(blocks, parts, panel, sessions)
    return blocks


def launch_options() -> dict[str, Any]:
    """What `gr.Blocks.launch` needs to know of this page."""
    return {**style.launch_options(), "app_kwargs": {"exception_handlers": {OSError: _disk_refused}}}


async def _disk_refused(request: Request, error: Exception) -> Response:
    """Answer an upload that the disk cannot take; Gradio shows the visitor the words."""
    if getattr(error, "errno", None) != errno.ENOSPC:
        raise error
    log.error("the disk is full")
    return PlainTextResponse(FULL, 507)


# --- what the page shows of a visit --------------------------------------------------------------------------------


def _inputs(parts: Parts, visit: Visit) -> Updates:
    """The visitor's pictures, and what a run over them will take."""
    views, working = visit.media.views, visit.working
    pictures = markup.strip([thumbnail(view.image) for view in views], [view.name for view in views], visit.ticked)
    frames = visit.frames_per_video
    return {
        parts.strip: gr.HTML(visit.ticked, pictures=pictures, visible=bool(views)),
        parts.video_frames: gr.Slider(visible=frames > 0, value=max(frames, 2)),
        parts.clear: gr.Button(visible=bool(views)),
        parts.run: gr.Button(interactive=bool(visit.ticked) and not working, visible=not working),
        parts.cancel: gr.Button(visible=working),
        parts.plan: _plan(visit),
        parts.notes: _notes(visit),
    }


def _plan(visit: Visit) -> str:
    if not visit.ticked:
        return markup.quiet("Tick at least one picture.") if visit.media.views else ""
    views = [visit.media.views[i] for i in visit.ticked]
    plan = job.predict(visit.model, job.model(visit.model).plan(views))
    return markup.plan(plan, len(views))


def _notes(visit: Visit) -> str:
    scene = visit.session.scene
    return markup.notes(list(dict.fromkeys(visit.media.notes + (scene.notes if scene else []))))


def _scene(parts: Parts, panel: controls.Controls, visit: Visit) -> Updates:
    """Everything about the scene the visitor has, or has not."""
    scene = visit.session.scene
    count = len(scene.frames) if scene else 0
    return {
        parts.welcome: gr.HTML(visible=scene is None),
        parts.notes: _notes(visit),
        parts.frame: gr.Slider(maximum=max(count, 2), value=1, visible=count > 1),
        parts.figures: _figures(visit, 1),
        **{button: gr.Button(interactive=count > 0) for button in parts.downloads.values()},
        **panel.restored(visit),
    }


def _figures(visit: Visit, number: float) -> Any:
    scene = visit.session.scene
    if scene is None or not 1 <= number <= len(scene.frames):
        return markup.quiet(markup.NO_FIGURES)
    return markup.figures(scene.frames[int(number) - 1], scene.metric)


# --- what happens --------------------------------------------------------------------------------------------------


def _wire(blocks: gr.Blocks, parts: Parts, panel: controls.Controls, sessions: Sessions) -> None:
    def find(token: str | None) -> Visit | None:
        session = sessions.get(token)
        return visit_of(session) if session else None

    def enter(token: str | None) -> Updates:
        # the socket of the viewer in the page says from now on whether the visitor is here
        visit = find(token) or visit_of(sessions.create())
        return {
            parts.token: visit.session.token,
            parts.canvas: markup.viewer(visit.session.token),
            parts.model: visit.model,
            parts.card: markup.card(CARDS[visit.model]),
            parts.status: visit.status,
            **_scene(parts, panel, visit),
            **_inputs(parts, visit),
        }

    def forget(token: str | None) -> Updates:
        if token:
            sessions.end(token)
        return enter(None)

    async def reading(visit: Visit, work: Callable[[uploads.Progress], None]) -> AsyncIterator[Updates]:
        yield {parts.status: markup.busy("Reading your pictures"), parts.run: gr.Button(interactive=False)}
        async for fraction, name in uploads.watch(work):
            yield {parts.status: markup.busy("Reading your pictures", fraction, name)}
        visit.status = ""
        yield {parts.status: "", **await asyncio.to_thread(_inputs, parts, visit)}

    async def add(visit: Visit, uploaded: Sequence[str] | None) -> AsyncIterator[Updates]:
        yield {parts.files: None}
        if uploaded:
            async for updates in reading(visit, partial(uploads.add, visit, uploaded)):
                yield updates

    async def take_example(visit: Visit, name: str) -> AsyncIterator[Updates]:
        async for updates in reading(visit, partial(uploads.replace_by_example, visit, name)):
            yield updates

    async def resample(visit: Visit, frames: int) -> AsyncIterator[Updates]:
        async for updates in reading(visit, partial(uploads.resample_videos, visit, int(frames))):
            updates.pop(parts.video_frames, None)  # it may be on its way to another number already
            yield updates

    async def take_away(visit: Visit) -> AsyncIterator[Updates]:
        uploads.remove(visit)
        yield _inputs(parts, visit)

    async def tick(visit: Visit, ticked: list[int]) -> AsyncIterator[Updates]:
        visit.ticked = sorted(i for i in ticked if 0 <= i < len(visit.media.views))
        plan = await asyncio.to_thread(_plan, visit)
        yield {parts.plan: plan, parts.run: gr.Button(interactive=bool(visit.ticked))}

    async def choose(visit: Visit, name: str) -> AsyncIterator[Updates]:
        visit.model = name
        yield {parts.card: markup.card(CARDS[name])}
        yield {parts.plan: await asyncio.to_thread(_plan, visit)}

    async def run(visit: Visit) -> AsyncIterator[Updates]:
        if not visit.ticked:
            raise InputError("There is nothing to reconstruct: add photos or a video first, and tick at least one.")
        media = visit.media
        views = [media.views[i] for i in visit.ticked]
        fresh = Job(visit.session, visit.model, views, media.notes, Options())
        if fresh.start():
            visit.job = fresh
        async for updates in follow(visit):
            yield updates

    async def follow(visit: Visit) -> AsyncIterator[Updates]:
        work = visit.job
        if work is None or not work.active:
            return
        yield {parts.run: gr.Button(visible=False), parts.cancel: gr.Button(visible=True, interactive=True)}
        said, covered = "", True
        while work.active:
            line = markup.running(work)
            updates: Updates = {parts.status: line} if line != said else {}
            if covered and work.update and work.update.scene.frames:
                covered = False
                updates[parts.welcome] = gr.HTML(visible=False)
            if updates:
                said = line
                yield updates
            await asyncio.sleep(0.2)
        visit.status = markup.ended(work, visit.session.scene)
        yield {
            parts.status: visit.status,
            parts.run: gr.Button(visible=True, interactive=bool(visit.ticked)),
            parts.cancel: gr.Button(visible=False),
            parts.plan: await asyncio.to_thread(_plan, visit),
            **await asyncio.to_thread(_scene, parts, panel, visit),
        }

    async def cancel(visit: Visit) -> AsyncIterator[Updates]:
        visit.session.cancel.set()
        yield {parts.cancel: gr.Button(interactive=False), parts.status: markup.busy("Stopping")}

    async def download(suffix: str, visit: Visit) -> AsyncIterator[Updates]:
        yield {parts.fetch: None}
        session, scene = visit.session, visit.session.scene
        if scene is None:
            raise InputError("There is nothing to download yet: reconstruct something first.")
        filters = session.viewer.snap(session.filters)
        folder = session.folder / "downloads"
        folder.mkdir(exist_ok=True)
        path = await asyncio.to_thread(export, scene, folder / f"parallax.{suffix}", filters)
        try:  # Gradio would make this copy later, where nobody could tell the visitor that the disk is full
            served = await asyncio.to_thread(parts.fetch.move_resource_to_block_cache, str(path))
        finally:
            path.unlink()
        yield {parts.fetch: served}

    def polite(handler: Callable[..., AsyncIterator[Updates]]) -> Callable[..., AsyncIterator[Updates]]:
        """Find the visit first; whatever goes wrong is one sentence on the page, and a trace in the log alone."""

        async def handled(token: str | None, *values: Any) -> AsyncIterator[Updates]:
            visit = find(token)
            yield {parts.status: gr.skip()}  # of a generator that yields nothing Gradio empties all outputs
            try:
                if visit is None:
                    raise InputError(GONE)
                async for updates in handler(visit, *values):
                    yield updates
            except InputError as error:
                sentence = str(error)
            except OSError as error:
                log.exception("the disk refused")
                sentence = FULL if error.errno == errno.ENOSPC else SORRY
            except Exception:
                log.exception("an event failed")
                sentence = SORRY
            else:
                return
            gr.Warning(sentence)
            ready = visit is not None and bool(visit.ticked) and not visit.working
            yield {parts.status: markup.failed(sentence), parts.run: gr.Button(interactive=ready)}

        return handled

    token, everything = parts.token, [*widgets(parts), *widgets(panel)]
    on: Callable[..., dict[str, Any]] = partial(dict, outputs=everything, concurrency_limit=None, **QUIET)
    blocks.load(enter, token, everything, concurrency_limit=None, **QUIET).then(polite(follow), token, **on())
    parts.forget.click(forget, token, everything, concurrency_limit=None, **QUIET)
    parts.files.upload(polite(add), [token, parts.files], **on())
    parts.examples.select(polite(take_example), [token, parts.examples], **on())
    parts.video_frames.input(polite(resample), [token, parts.video_frames], **on(trigger_mode="always_last"))
    parts.clear.click(polite(take_away), token, **on())
    parts.strip.input(polite(tick), [token, parts.strip], **on(trigger_mode="always_last"))
    parts.model.input(polite(choose), [token, parts.model], **on())
    parts.run.click(polite(run), token, **on(trigger_mode="once"))
    parts.cancel.click(polite(cancel), token, **on())
    parts.frame.input(
        lambda key, number: _figures(visit, number) if (visit := find(key)) else gr.skip(),
        [token, parts.frame], parts.figures, **controls.LIVE,
    )  # fmt: skip
    for suffix, button in parts.downloads.items():
        button.click(polite(partial(download, suffix)), token, **on()).success(None, None, None, js=FETCH)
    controls.wire(panel, token, find)
