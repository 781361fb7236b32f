import argparse
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.parse import quote

import gradio as gr
import httpx
import numpy as np
import pytest
import viser
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from demo.server import Running, add_command, running
from demo.session import Session, Sessions
from recon import InputError
from recon.filters import Filters, keep
from recon.scene import Scene
from tests.demo.wire import SUBPROTOCOL, Page
from tests.helpers import synthetic_scene


def small_page(sessions: Sessions) -> gr.Blocks:
    with gr.Blocks() as blocks:
        gr.File(label="photos")
    return blocks


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running(port=0, build=small_page) as server:
        yield server


@pytest.fixture
def session(server: Running) -> Iterator[Session]:
    session = server.sessions.create()
    yield session
    server.sessions.end(session.token)


def viewer_url(server: Running, session: Session) -> str:
    return f"{server.url}viewer/{session.token}"


def large_scene(points: int = 1_000_000) -> Scene:
    """A synthetic scene with that many points at least, whose frames are shifted copies of one another."""
    scene = synthetic_scene(8, 300, 420)
    assert sum(frame.depth.size for frame in scene.frames) >= points
    return scene


def shows_from(page: Page, level: int) -> bool:
    """Whether exactly the chunks from that level on are in sight."""
    return page.drawn(f"/points/{level}") and not (level and page.drawn(f"/points/{level - 1}"))


def test_page_and_viewer_behind_one_port(server: Running, session: Session) -> None:
    assert "gradio" in httpx.get(server.url).text.lower()
    page = httpx.get(viewer_url(server, session) + "/")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    original = (Path(viser.__file__).parent / "client" / "build" / "index.html").read_text()
    start = original.index("</head>")
    assert page.text.startswith(original[:start])
    assert page.text.endswith(original[start:])


def test_the_address_without_its_slash_leads_on_relatively(server: Running, session: Session) -> None:
    answer = httpx.get(viewer_url(server, session))
    assert answer.status_code in (302, 307)
    assert answer.headers["location"] == f"{session.token}/"  # holds under any prefix that a proxy puts before it


def test_the_viewer_page_is_sent_once_and_small(server: Running, session: Session) -> None:
    first = httpx.get(viewer_url(server, session) + "/", headers={"accept-encoding": "gzip"})
    assert first.headers["content-encoding"] == "gzip"
    assert "max-age" in first.headers["cache-control"]
    again = httpx.get(viewer_url(server, session) + "/", headers={"if-none-match": first.headers["etag"]})
    assert again.status_code == 304
    assert again.content == b""
    plain = httpx.get(viewer_url(server, session) + "/", headers={"accept-encoding": "identity"})
    assert plain.text == first.text


@pytest.mark.parametrize("path", ["", "/", "/index.html"])
def test_nobody_gets_in_without_a_token(server: Running, session: Session, path: str) -> None:
    answer = httpx.get(f"{server.url}viewer/{session.token[:-1]}{path}", follow_redirects=True)
    assert answer.status_code == 404
    with (
        connect(f"{server.url.replace('http', 'ws')}viewer/unknown", subprotocols=[SUBPROTOCOL]) as channel,
        pytest.raises(ConnectionClosed),
    ):
        channel.recv(timeout=5)
    assert channel.close_code == 4404


def test_only_viser_s_own_files_are_served(server: Running, session: Session) -> None:
    for path in ("nothing.js", "../../../etc/passwd", quote("../index.html", safe=""), "%2e%2e/%2e%2e/pyproject.toml"):
        assert httpx.get(f"{viewer_url(server, session)}/{path}").status_code == 404


def test_the_websocket_carries_everything_unchanged(server: Running, session: Session) -> None:
    scene = large_scene()
    session.viewer.show(scene)
    with Page(viewer_url(server, session)) as page, Page(f"http://127.0.0.1:{session.viewer.port}") as direct:
        assert page.subprotocol == SUBPROTOCOL
        assert page._socket.protocol.extensions == []  # no time is lost on deflating coordinates
        page.settle(1)
        direct.settle(1)
        assert len(page.points()) == sum(int(mask.sum()) for mask in keep(scene))
        assert np.array_equal(page.points(), direct.points())


def test_a_browser_that_offers_compression_is_served_without(server: Running, session: Session) -> None:
    url = viewer_url(server, session).replace("http", "ws")
    with connect(url, subprotocols=[SUBPROTOCOL], compression="deflate") as channel:
        assert channel.protocol.extensions == []
        assert channel.recv(timeout=5)


def test_a_threshold_at_a_million_points_shows_within_100_ms_and_50_kilobytes(
    server: Running, session: Session
) -> None:
    scene = large_scene()
    session.viewer.show(scene)
    with Page(viewer_url(server, session)) as page:
        page.settle(1)
        assert sum(node.props["points"].size // 3 for node in page.clouds().values()) > 900_000
        waits, sizes = [], []
        for confidence in (0, 98, 10, 50, 52, 20, 90, 40):
            highest = max(int(name.split("/")[2]) for name in page.clouds())
            level = min(confidence // session.viewer.step, highest)
            start = time.perf_counter()
            session.viewer.set_filters(Filters(confidence=confidence))
            arrived = page.wait_for(partial(shows_from, page, level))
            waits.append(arrived - start)
            page.settle(0.15)
            sizes.append(page.received_since(start))
            assert len(page.points()) == sum(int(m.sum()) for m in keep(scene, Filters(confidence=confidence)))
    assert max(sizes) < 50_000
    assert np.median(waits) < 0.1
    assert max(waits) < 1  # a machine that does other things as well may stumble once


def test_visitors_see_their_own_scene_only(server: Running, session: Session) -> None:
    other = server.sessions.create()
    mine, theirs = synthetic_scene(2), synthetic_scene(3, 24, 32)
    with Page(viewer_url(server, session)) as one, Page(viewer_url(server, other)) as two:
        session.viewer.show(mine)
        other.viewer.show(theirs)
        one.settle()
        two.settle()
        assert len(one.points()) == sum(int(mask.sum()) for mask in keep(mine))
        assert len(two.points()) == sum(int(mask.sum()) for mask in keep(theirs))
    server.sessions.end(other.token)


def test_a_viewer_that_ends_hangs_up_and_the_rest_goes_on(server: Running, session: Session) -> None:
    other = server.sessions.create()
    other.viewer.show(synthetic_scene(3))
    with Page(viewer_url(server, other)) as page:
        page.settle()
        server.sessions.end(other.token)
        page._reader.join(5)
        assert not page._reader.is_alive()
    assert httpx.get(f"{server.url}viewer/{other.token}/").status_code == 404
    assert httpx.get(viewer_url(server, session) + "/").status_code == 200


def test_a_connected_page_is_present_until_it_leaves(server: Running, session: Session) -> None:
    with Page(viewer_url(server, session)) as page:
        page.settle()
        assert session.present
    end = time.monotonic() + 5
    while session.present and time.monotonic() < end:
        time.sleep(0.02)
    assert not session.present
    assert session.left_at is not None


def test_a_browser_that_stops_reading_holds_up_nobody_and_fills_no_memory(server: Running, session: Session) -> None:
    other = server.sessions.create()
    url = viewer_url(server, other).replace("http", "ws")
    address = (httpx.URL(server.url).host, httpx.URL(server.url).port or 80)
    with socket.socket() as narrow:
        narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        narrow.connect(address)
        slow = connect(url, sock=narrow, subprotocols=[SUBPROTOCOL], max_size=None, max_queue=1)
        buffer = other.viewer._server._websock_server._broadcast_buffer

        def waits_at_its_source() -> bool:
            cursors = buffer.generator_cursors.values()
            return bool(cursors) and min(cursors) < buffer.message_counter - 200

        large, sent = large_scene().frames * 6, 0  # 54 MB
        while not waits_at_its_source():
            assert sent < 8, "all of it was taken, though nobody reads"  # sockets on the way may hold tens of megabytes
            other.viewer.show(Scene(large))
            sent += 1
            time.sleep(2)
        with Page(viewer_url(server, session)) as page:
            start = time.perf_counter()
            session.viewer.show(synthetic_scene(2))
            page.wait_for(lambda: len(page.points()) > 0)
            assert time.perf_counter() - start < 5
        server.sessions.end(other.token)
        slow.close_socket()


def test_a_visitor_s_files_are_out_of_reach(server: Running, session: Session, tmp_path: Path) -> None:
    (tmp_path / "secret.jpg").write_bytes(b"for my eyes only")
    stored = session.store(tmp_path / "secret.jpg")
    for path in (stored, stored.parent, Path(__file__), server.sessions.root):
        answer = httpx.get(f"{server.url}gradio_api/file={quote(str(path))}")
        assert answer.status_code in (403, 404)
        assert b"my eyes" not in answer.content


def test_uploads_wait_in_a_folder_nobody_can_name(server: Running) -> None:
    answer = httpx.post(f"{server.url}gradio_api/upload", files={"files": ("a.jpg", b"picture", "image/jpeg")})
    (path,) = answer.json()
    folder = next(parent for parent in Path(path).parents if parent.name.startswith("parallax-uploads-"))
    assert folder.stat().st_mode & 0o077 == 0
    assert Path(path).read_bytes() == b"picture"


def test_a_port_in_use_is_one_sentence(server: Running) -> None:
    taken = int(server.url.rsplit(":", 1)[1].strip("/"))
    with pytest.raises(InputError, match="--port"), running(port=taken, build=small_page):
        pass
    with pytest.raises(InputError, match="65535"), running(port=70000, build=small_page):
        pass


def test_what_serve_takes() -> None:
    parser = argparse.ArgumentParser()
    add_command(parser.add_subparsers())
    arguments = parser.parse_args(["serve", "--host", "0.0.0.0", "--port", "8001", "--share"])
    assert (arguments.host, arguments.port, arguments.share) == ("0.0.0.0", 8001, True)
    plain = parser.parse_args(["serve"])
    assert (plain.host, plain.share) == ("127.0.0.1", False)
    assert callable(plain.run)


def test_the_server_ends_cleanly_and_takes_its_files_along(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    environment = {**os.environ, "TMPDIR": str(tmp_path), "OMP_NUM_THREADS": "1"}
    code = f"import sys; from demo.server import serve; sys.exit(serve(port={port}))"
    process = subprocess.Popen([sys.executable, "-c", code], env=environment, cwd=Path(__file__).parents[2])
    try:
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            try:
                if httpx.get(f"http://127.0.0.1:{port}/").status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.1)
        assert any(path.name.startswith("parallax-") for path in tmp_path.iterdir())
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert not [path for path in tmp_path.iterdir() if path.name.startswith("parallax-")]
    finally:
        process.kill()


def test_nothing_is_told_to_anybody() -> None:
    code = (
        "import os, recon, demo.server, huggingface_hub.constants as hub;"
        "assert hub.HF_HUB_DISABLE_TELEMETRY;"
        "assert os.environ['GRADIO_ANALYTICS_ENABLED'] == 'False'"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
