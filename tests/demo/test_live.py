"""A run over pictures as they come, through the real job and a small MUSt3R; `test_live_browser` sees it."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest
from starlette.applications import Starlette

from demo import choices, job, live, markup, models, server, uploads
from demo.job import Job
from demo.live import Pushed
from demo.session import Session, Sessions
from demo.visit import Visit, visit
from recon import CARDS, InputError, Options, video
from recon import live as core
from tests.demo.staged import CARD, Staged, wait
from tests.helpers import synthetic_scene
from tests.mjpeg_server import Camera
from tests.networks.small_must3r import DECODER, ENCODER, save_checkpoint, tiny

PICTURES = [frame.image for frame in synthetic_scene(6, 96, 128).frames]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_checkpoint(tmp_path_factory.mktemp("must3r") / "MUSt3R.pth", tiny(ENCODER), tiny(DECODER))


@pytest.fixture
def sessions(tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sessions]:
    monkeypatch.setitem(models._local, "must3r", weights)
    sessions = Sessions(tmp_path / "sessions")
    yield sessions
    sessions.close()
    models._loaded.pop("must3r", None)


@pytest.fixture
def visitor(sessions: Sessions) -> Visit:
    visitor = visit(sessions.create())
    visitor.choose("must3r")
    return visitor


def begun(visitor: Visit, source: core.Live, options: Options = Options()) -> Job:  # noqa: B008
    visitor.live, visitor.job = source, Job(visitor.session, "must3r", source, [], options)
    assert visitor.job.start()
    return visitor.job


def shown(session: Session) -> int:
    """Frames whose points stand in the viewer."""
    return len(session.viewer._clouds.drawn)


def jpeg(image: np.ndarray) -> bytes:
    return cv2.imencode(".jpg", image[..., ::-1])[1].tobytes()


def write(path: Path, count: int, rate: int = 10) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"MJPG"), rate, (128, 96))
    for frame in synthetic_scene(count, 96, 128).frames:
        writer.write(np.ascontiguousarray(frame.image[..., ::-1]))
    writer.release()
    return path


# --- a run ---------------------------------------------------------------------------------------------------------


def test_points_stand_while_it_runs_and_a_stop_keeps_the_scene(visitor: Visit) -> None:
    source = Pushed("Webcam")
    run = begun(visitor, source, Options(keyframes=3))
    number = 0
    while shown(visitor.session) < 4:
        source.put(PICTURES[number % 6])
        number += 1
        time.sleep(0.03)
        assert number < 400
    assert (run.state, visitor.session.scene) == ("running", None)
    source.put(np.zeros((96, 128, 3), np.uint8))
    wait(lambda: source.black == 1)
    assert 1 <= run.keyframes <= 3
    source.stop()
    wait(lambda: not run.active)
    scene = visitor.session.scene
    assert run.state == "done"
    assert scene is not None
    assert len(scene.frames) == source.used >= 4
    assert source.seen == number + 1 == source.used + source.black + source.dropped
    assert scene.notes[-1] == source.told
    html = live.counts(visitor)
    for name, count in (("seen", source.seen), ("used", source.used), ("black", 1), ("dropped", source.dropped)):
        assert f'data-count="{name}"><b>{count}</b>' in html
    assert f'data-count="keyframes in memory"><b>{run.keyframes}</b>' in html


def test_a_camera_that_breaks_off_keeps_what_came(visitor: Visit) -> None:
    def script() -> Iterator[np.ndarray | float]:
        for number in range(20):
            yield PICTURES[number % 6]
            yield 0.05

    models.load("must3r")
    with Camera(script) as camera:
        run = begun(visitor, live.opened(camera.address, allowed=True))
        wait(lambda: not run.active, 20)
    assert run.state == "done", run.error
    assert visitor.session.scene is not None
    assert shown(visitor.session) == len(visitor.session.scene.frames) > 3
    assert any("broke off after 20 pictures: what came before is kept" in note for note in visitor.session.scene.notes)


def test_where_no_camera_answers_the_run_says_so(visitor: Visit) -> None:
    run = begun(visitor, live.opened("http://127.0.0.1:1/", allowed=True))
    wait(lambda: not run.active)
    assert run.state == "failed"
    assert "cannot be opened" in run.error


def test_a_cancelled_run_lets_the_camera_go(visitor: Visit) -> None:
    source = Pushed("Webcam")
    run = begun(visitor, source)
    wait(lambda: run.state == "running")
    visitor.session.cancel.set()
    wait(lambda: not run.active)
    assert (run.state, source.ended, source.put(PICTURES[0])) == ("stopped", True, False)


def test_endless_pictures_make_room_for_whoever_waits(
    visitor: Visit, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "TURN", 0.0)
    monkeypatch.setitem(CARDS, CARD.name, CARD)
    Staged.reset()
    source = Pushed("Webcam")
    run = begun(visitor, source)
    while shown(visitor.session) < 2:
        source.put(PICTURES[0])
        time.sleep(0.03)
    assert run.active
    other = Job(sessions.create(), CARD.name, [], [], Options())
    assert other.start()
    source.put(PICTURES[1])
    wait(lambda: not run.active)
    assert run.state == "done"
    assert visitor.session.scene is not None
    assert any("Others wait" in note for note in visitor.session.scene.notes)


# --- a video file --------------------------------------------------------------------------------------------------


def test_the_first_points_stand_before_the_last_frame_is_decoded(visitor: Visit, tmp_path: Path) -> None:
    decoded = 0

    def counted() -> Iterator:
        nonlocal decoded
        for view in video.frames(write(tmp_path / "walk.avi", 24)):
            decoded += 1
            yield view

    run = Job(visitor.session, "must3r", counted(), [], Options())
    assert run.start()
    wait(lambda: shown(visitor.session) >= 1)
    assert decoded < 24
    wait(lambda: not run.active, 30)
    assert run.state == "done", run.error
    assert len(visitor.session.scene.frames) == 24


def test_a_video_alone_is_read_on_unless_the_visitor_chooses_frames_of_it(visitor: Visit, tmp_path: Path) -> None:
    uploads.add(visitor, [write(tmp_path / "walk.avi", 30)], lambda fraction, name: None)
    assert visitor.streamed is not None
    assert visitor.streamed.name == "walk.avi"
    assert "5 frames a second" in markup.reading_on("walk.avi", visitor.rate)
    visitor.options = replace(visitor.options, order="photos")
    assert visitor.streamed is None
    visitor.options = Options()
    visitor.ticked = visitor.ticked[1:]
    assert visitor.streamed is None
    visitor.ticked = list(range(len(visitor.media.views)))
    visitor.choose("embedded")
    assert visitor.streamed is None


def test_the_rule_of_the_memory_is_a_choice() -> None:
    arguments = dict(points="depth", fit="crop", refine=False, verify=False, dense=False, graph="auto")
    arguments |= dict(graph_number=None, focal="auto", order="video", keyframes=12, forget="crowded", window=2)
    chosen = choices.options(CARDS["must3r"], **arguments)
    assert (chosen.order, chosen.keyframes, chosen.forget, chosen.window) == ("video", 12, "crowded", 2)
    assert choices.options(CARDS["must3r"], **{**arguments, "keyframes": None}).keyframes is None
    assert choices.options(CARDS["embedded"], **arguments).keyframes is None


# --- what strangers may do -----------------------------------------------------------------------------------------


def test_addresses_are_refused_where_strangers_may_come() -> None:
    for address in ("http://127.0.0.1:8000/", "rtsp://192.168.0.2/", "http://example.com/stream"):
        with pytest.raises(InputError, match="opens no addresses"):
            live.opened(address, allowed=False)
    for address in ("/etc/passwd", "file:///etc/passwd", "camera:0", ""):
        with pytest.raises(InputError, match="address of a stream"):
            live.opened(address, allowed=True)


@pytest.mark.parametrize(
    ("arguments", "allowed"),
    [
        ((), True), (("--host", "0.0.0.0"), False), (("--share",), False), (("--no-streams",), False),
        (("--host", "0.0.0.0", "--streams"), True), (("--host", "192.168.0.2"), False),
    ],
)  # fmt: skip
def test_only_a_page_of_this_machine_opens_addresses_unless_told(arguments: tuple[str, ...], allowed: bool) -> None:
    import argparse

    parser = argparse.ArgumentParser()
    server.add_arguments(parser)
    given = parser.parse_args(arguments)
    assert server.may_stream(given.host, given.share, given.streams) == allowed


def test_pictures_are_taken_from_the_browser_of_the_visitor_alone(sessions: Sessions) -> None:
    visitor, source = visit(sessions.create()), Pushed("Webcam")
    stranger = visit(sessions.create())
    app = Starlette(routes=live.routes(sessions))

    async def answers() -> list[int]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://page") as client:

            async def push(token: str, body: bytes) -> int:
                return (await client.post(f"/live/{token}", content=body)).status_code

            token, good = visitor.session.token, jpeg(PICTURES[0])
            codes = [await push("nobody", good), await push(token, good)]
            visitor.live = source
            codes += [await push(token, good), await push(stranger.session.token, good)]
            codes += [await push(token, body) for body in (b"no picture", good[:40], b"", jpeg(PICTURES[0][:16, :16]))]
            codes += [await push(token, bytes(live.LARGEST + 1))]
            source.stop()
            codes += [await push(token, good)]
            visitor.live = core.Live("a stream, which the browser does not feed")
            return [*codes, await push(token, good)]

    assert asyncio.run(answers()) == [404, 409, 204, 409, 400, 400, 400, 400, 413, 409, 409]
    assert source.seen == 1
