"""The page: what the visitor meets, and what happens when they touch it."""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from functools import partial
from typing import Any

import gradio as gr
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from demo import (
    choices,
    controls,
    knowing,
    legend,
    live,
    markup,
    measuring,
    painting,
    shown,
    style,
    timeline,
    tracking,
    uploads,
)
from demo.job import Job
from demo.layout import Parts, layout
from demo.recognised import recognised_of
from demo.session import Sessions
from demo.visit import Visit
from demo.visit import visit as visit_of
from demo.widgets import widgets
from recon import CARDS, InputError, View, video
from recon.export import export
from recon.live import Live

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
        _wire(blocks, layout(sessions.streams), sessions)
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


# --- what happens --------------------------------------------------------------------------------------------------


def _wire(blocks: gr.Blocks, parts: Parts, sessions: Sessions) -> None:
    def find(token: str | None) -> Visit | None:
        session = sessions.get(token)
        return visit_of(session) if session else None

    def enter(token: str | None) -> Updates:
        # the socket of the viewer in the page says from now on whether the visitor is here
        visit = find(token) or visit_of(sessions.create())
        return {
            parts.token: visit.session.token,
            parts.canvas: markup.viewer(visit.session.token),
            parts.status: visit.status,
            **shown.model(parts, visit),
            **shown.scene(parts, visit),
            **shown.inputs(parts, visit),
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
        yield {parts.status: "", **await asyncio.to_thread(shown.inputs, parts, visit)}

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
        yield shown.inputs(parts, visit)

    async def tick(visit: Visit, ticked: list[int]) -> AsyncIterator[Updates]:
        visit.ticked = sorted(i for i in ticked if 0 <= i < len(visit.media.views))
        yield await asyncio.to_thread(shown.go, parts, visit)

    async def choose(visit: Visit, name: str) -> AsyncIterator[Updates]:
        visit.choose(name)
        yield shown.model(parts, visit)
        yield await asyncio.to_thread(shown.go, parts, visit)

    async def choose_how(visit: Visit, *values: Any) -> AsyncIterator[Updates]:
        visit.options = choices.options(CARDS[visit.model], *values)
        yield parts.choices.coupled(visit)
        yield await asyncio.to_thread(shown.go, parts, visit)

    async def plan_again(visit: Visit) -> AsyncIterator[Updates]:
        yield await asyncio.to_thread(shown.go, parts, visit)

    async def accept(visit: Visit, yes: bool) -> AsyncIterator[Updates]:
        (visit.accepted.add if yes else visit.accepted.discard)(visit.model)
        yield shown.buttons(parts, visit)

    async def run(visit: Visit) -> AsyncIterator[Updates]:
        if not visit.ticked:
            raise InputError("There is nothing to reconstruct: add photos or a video first, and tick at least one.")
        if (path := visit.streamed) is not None:
            frames = video.frames(path, frames_per_second=visit.rate or None)
            async for updates in begin(visit, frames, []):
                yield updates
            return
        async for updates in begin(visit, [visit.views[i] for i in visit.ticked], visit.media.notes):
            yield updates

    async def begin(visit: Visit, views: Iterable[View], notes: Sequence[str]) -> AsyncIterator[Updates]:
        if not visit.agreed:
            raise InputError(f"Accept the licence of {CARDS[visit.model].title} first, or choose another model.")
        fresh = Job(visit.session, visit.model, views, notes, visit.options)
        if fresh.start():
            visit.job = fresh
            visit.live = views if isinstance(views, Live) else None
        elif not visit.working:
            raise InputError("Points are being followed: wait for the end of that, or cancel it, then reconstruct.")
        async for updates in follow(visit):
            yield updates

    async def go_live(visit: Visit, address: str | None = None) -> AsyncIterator[Updates]:
        if not CARDS[visit.model].streams:
            raise InputError(f"{CARDS[visit.model].title} takes no pictures as they come: choose another model.")
        source = live.Pushed(live.WEBCAM) if address is None else live.opened(address, sessions.streams)
        try:
            async for updates in begin(visit, source, []):
                yield updates
        finally:
            if visit.live is not source:  # it did not begin
                source.stop()

    async def stop_live(visit: Visit) -> AsyncIterator[Updates]:
        if visit.live is not None:
            visit.live.stop()
        yield parts.live.buttons(visit)

    async def take_rate(visit: Visit, rate: float) -> AsyncIterator[Updates]:
        visit.rate = rate
        yield await asyncio.to_thread(shown.go, parts, visit)

    async def follow(visit: Visit) -> AsyncIterator[Updates]:
        work = visit.job
        if work is None or not work.active:
            return
        yield shown.buttons(parts, visit)
        said, counted, covered = "", "", True
        while work.active:
            line = markup.running(work)
            updates: Updates = {parts.status: line} if line != said else {}
            if (counts := live.counts(visit)) != counted:
                counted = counts
                updates |= {parts.live.counts: counts, **parts.live.buttons(visit)}
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
            parts.live.counts: live.counts(visit),
            **shown.model(parts, visit),
            **await asyncio.to_thread(shown.go, parts, visit),
            **await asyncio.to_thread(shown.scene, parts, visit),
        }

    async def cancel(visit: Visit) -> AsyncIterator[Updates]:
        visit.session.cancel.set()
        yield {parts.cancel: gr.Button(interactive=False), parts.status: markup.busy("Stopping")}

    async def download(suffix: str, visit: Visit) -> AsyncIterator[Updates]:
        yield {parts.fetch: None}
        session, scene = visit.session, visit.session.scene
        if scene is None:
            raise InputError("There is nothing to download yet: reconstruct something first.")
        filters = recognised_of(visit).taken_home(session.viewer.snap(session.filters))
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
            yield {parts.status: markup.failed(sentence), **(shown.buttons(parts, visit) if visit else {})}

        return handled

    token, everything = parts.token, widgets(parts)
    on: Callable[..., dict[str, Any]] = partial(dict, outputs=everything, concurrency_limit=None, **QUIET)
    blocks.load(enter, token, everything, concurrency_limit=None, **QUIET).then(polite(follow), token, **on())
    parts.forget.click(forget, token, everything, concurrency_limit=None, **QUIET)
    parts.files.upload(polite(add), [token, parts.files], **on())
    parts.examples.select(polite(take_example), [token, parts.examples], **on())
    parts.video_frames.input(polite(resample), [token, parts.video_frames], **on(trigger_mode="always_last"))
    parts.clear.click(polite(take_away), token, **on())
    parts.ticked.input(polite(tick), [token, parts.ticked], **on(trigger_mode="always_last"))
    parts.model.input(polite(choose), [token, parts.model], **on())
    for widget in (how := widgets(parts.choices)):
        widget.input(polite(choose_how), [token, *how], **on(trigger_mode="always_last"))
    parts.accept.input(polite(accept), [token, parts.accept], **on(trigger_mode="always_last"))
    parts.run.click(polite(run), token, **on(trigger_mode="once"))
    parts.cancel.click(polite(cancel), token, **on())
    parts.live.webcam.click(polite(go_live), token, **on(trigger_mode="once"))
    parts.live.start.click(polite(go_live), [token, parts.live.address], **on(trigger_mode="once"))
    parts.live.stop.click(polite(stop_live), token, **on())
    parts.live.rate.input(polite(take_rate), [token, parts.live.rate], **on(trigger_mode="always_last"))
    parts.frame.input(
        lambda key, number: shown.figures(visit, number) if (visit := find(key)) else gr.skip(),
        [token, parts.frame], parts.figures, **controls.LIVE,
    )  # fmt: skip
    for suffix, button in parts.downloads.items():
        button.click(polite(partial(download, suffix)), token, **on()).success(None, None, None, js=FETCH)
    controls.wire(parts.panel, token, find)
    legend.wire(parts.legend, token, find)
    timeline.wire(parts.timeline, token, find)
    tracking.wire(parts.tracking, token, find)
    painting.wire(parts.painting, token, find, shown.moving_widgets(parts), partial(shown.moving, parts))
    for known in knowing.wire(parts.knowing, token, find):
        known.then(polite(plan_again), token, **on())
    for scaled in measuring.wire(parts.measuring, token, find):
        scaled.then(
            lambda key, number: shown.units(parts, visit, number) if (visit := find(key)) else {parts.notes: gr.skip()},
            [token, parts.frame], [parts.notes, parts.figures, *widgets(parts.knowing.comparing)], **controls.LIVE,
        )  # fmt: skip
