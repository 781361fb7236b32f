"""Pictures as they come: which are dropped, and how a stream may end."""

import threading
import time
from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from recon import live
from recon.errors import InputError
from recon.live import Live
from recon.scene import View
from tests.helpers import synthetic_scene
from tests.mjpeg_server import Camera

PICTURES = [frame.image for frame in synthetic_scene(6, 96, 128).frames]
LOW = [frame.image for frame in synthetic_scene(2, 64, 128).frames]
BLACK = np.zeros((96, 128, 3), np.uint8)


def grey(value: int) -> np.ndarray:
    return np.full((48, 64, 3), value, np.uint8)


def shade(view: View) -> int:
    return int(view.image[0, 0, 0])


def sums(source: Live) -> bool:
    return source.seen == source.used + source.black + source.dropped


def drained(source: Live, pause: float = 0.0) -> tuple[list[View], str]:
    """What came, and the sentence it ended with."""
    views = []
    try:
        for view in source:
            views.append(view)
            time.sleep(pause)
    except InputError as error:
        return views, str(error)
    return views, ""


# --- the letter box ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("room", [1, 3])
def test_the_newest_win_and_the_others_are_counted(room: int) -> None:
    source = Live("cam", room=room)
    for value in range(100, 110):
        assert source.put(grey(value))
    source.end()
    views, said = drained(source)
    assert [shade(view) for view in views] == list(range(110 - room, 110))
    assert (source.seen, source.used, source.black, source.dropped) == (10, room, 0, 10 - room)
    assert said == ""
    assert not source.put(grey(200))
    assert source.seen == 10


def test_who_takes_at_once_misses_nothing() -> None:
    source, taken = Live("cam"), []
    for value in range(100, 105):
        source.put(grey(value))
        taken.append(shade(next(iter(source))))
    assert taken == list(range(100, 105))
    assert (source.used, source.dropped) == (5, 0)


def test_black_pictures_are_counted_apart() -> None:
    source = Live("cam", room=4)
    for value in (0, 100, 3, 0):
        source.put(grey(value))
    source.end()
    assert len(drained(source)[0]) == 4  # the model leaves them out, and knows that the source lives
    assert (source.used, source.black, source.dropped) == (1, 3, 0)
    assert source.told == "Of 4 pictures of 'cam', 1 were used, 3 black, none was dropped."


def test_stopping_ends_it_at_once_and_drops_what_waits() -> None:
    source = Live("cam")
    threading.Timer(0.1, source.stop).start()
    began = time.monotonic()
    assert drained(source) == ([], "")
    assert time.monotonic() - began < 2
    late = Live("cam")
    late.put(grey(9))
    late.stop()
    assert drained(late) == ([], "")
    assert late.dropped == 1


def test_a_source_that_gives_nothing_is_left_after_its_time() -> None:
    source = Live("cam", patience=0.2)
    source.put(grey(100))
    views, said = drained(source)
    assert (len(views), said) == (1, "'cam' gave no picture for 0.2 s.")
    assert not source.put(grey(100))


def test_who_may_wait_loses_nothing() -> None:
    source = Live("file")

    def give() -> None:
        for value in range(100, 120):
            source.put(grey(value), value / 10, wait=True)
        source.end()

    threading.Thread(target=give).start()
    views, _ = drained(source, pause=0.005)
    assert [shade(view) for view in views] == list(range(100, 120))
    assert [view.time for view in views] == [value / 10 for value in range(100, 120)]
    assert source.dropped == 0


def test_large_pictures_are_reduced_and_remember_their_size() -> None:
    source = Live("cam", maximum_side=64)
    source.put(np.full((100, 200, 3), 77, np.uint8))
    source.end()
    (view,), _ = drained(source)
    assert (view.size, view.original_size) == ((64, 32), (200, 100))
    np.testing.assert_allclose(view.original_from_view @ [64, 32, 1], [200, 100, 1], rtol=1e-5)
    with pytest.raises(InputError, match="too few"):
        source.put(np.zeros((8, 8, 3), np.uint8))


# --- addresses -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        "file:///etc/passwd", "/etc/passwd", "ftp://host/x", "concat:http://a|http://b", "http://", "http:///x", "",
        "gopher://host", "udp://@:1234", "http://a b/", "http://a/\nX: y", "http://[", "rtsp://host:port/", "pipe:0",
    ],
)  # fmt: skip
def test_what_is_no_address_of_a_stream_is_refused(address: str) -> None:
    with pytest.raises(InputError, match="no address of a stream"):
        live.stream(address)


def test_names_of_streams_hold_no_secrets() -> None:
    assert live._checked("rtsp://user:secret@cam.example:554/one?key=secret") == "cam.example:554/one"


@pytest.mark.parametrize(
    ("text", "is_one"),
    [("rtsp://cam/1", True), ("camera:0", True), ("camera:x", False), ("walk.mp4", False), ("C:/walk.mp4", False)],
)
def test_addresses_are_told_from_files(text: str, is_one: bool) -> None:
    assert live.is_address(text) == is_one


# --- streams -------------------------------------------------------------------------------------------------------


def test_a_stream_gives_its_pictures_until_it_breaks_off() -> None:
    def script() -> Iterator[np.ndarray | float]:
        for number in range(12):
            yield PICTURES[number % 6]
            yield 0.03

    with Camera(script) as camera:
        source = live.stream(camera.address, patience=5)
        views, said = drained(source)
    assert len(views) > 8
    assert source.seen == 12
    assert sums(source)
    assert said == f"'{views[0].name.split(' ')[0]}' broke off after 12 pictures."
    assert np.abs(views[0].image.astype(int) - PICTURES[0]).mean() < 12
    times = [view.time for view in views]
    assert times == sorted(times)


def test_a_slow_taker_gets_the_newest_and_the_rest_is_dropped() -> None:
    def script() -> Iterator[np.ndarray | float]:
        for number in range(40):
            yield PICTURES[number % 6]
            yield 0.02

    with Camera(script) as camera:
        source = live.stream(camera.address, patience=5)
        drained(source, pause=0.15)
    assert source.dropped > 15
    assert source.used + source.dropped == source.seen == 40


def test_a_stream_that_stalls_is_left_and_holds_nobody_up() -> None:
    def script() -> Iterator[np.ndarray | float]:
        for number in range(30):
            yield PICTURES[number % 6]
            yield 0.01
        yield 30.0

    with Camera(script) as camera:
        source = live.stream(camera.address, patience=1)
        began = time.monotonic()
        views, said = drained(source)
    assert len(views) > 5
    assert "gave no picture for 1 s" in said
    assert time.monotonic() - began < 5


def test_pictures_of_another_size_come_as_they_are() -> None:
    def script() -> Iterator[np.ndarray | float]:
        for number in range(24):
            yield PICTURES[number % 6] if number < 12 else LOW[number % 2]
            yield 0.03

    with Camera(script) as camera:
        views, _ = drained(live.stream(camera.address, patience=5))
    sizes = [view.size for view in views]
    assert set(sizes) == {(128, 96), (128, 64)}
    assert sizes == sorted(sizes, reverse=True)


def test_a_stream_that_goes_black_is_alive() -> None:
    def script() -> Iterator[np.ndarray | float]:
        for number in range(24):
            yield BLACK if 8 <= number < 16 else PICTURES[number % 6]
            yield 0.03

    with Camera(script) as camera:
        source = live.stream(camera.address, patience=5)
        drained(source)
    assert 5 <= source.black <= 8
    assert sums(source)


def test_a_stopped_stream_is_let_go() -> None:
    def script() -> Iterator[np.ndarray | float]:
        while True:
            yield PICTURES[0]
            yield 0.01

    with Camera(script) as camera:
        source = live.stream(camera.address, patience=5)
        for number, _ in enumerate(source):
            if number == 3:
                source.stop()
        end = time.monotonic() + 5
        while any(thread.name == "stream" for thread in threading.enumerate()):
            assert time.monotonic() < end
            time.sleep(0.02)


@pytest.mark.parametrize("address", ["http://127.0.0.1:1/nobody", "rtsp://127.0.0.1:1/nobody", "camera:97"])
def test_where_nobody_answers_it_is_said(address: str) -> None:
    assert "cannot be opened" in drained(live.stream(address, patience=5))[1]


def test_what_is_no_stream_of_pictures_is_said(tmp_path) -> None:
    with Camera(lambda: [0.1]) as camera:
        views, said = drained(live.stream(camera.address, patience=2))
    assert views == []
    assert said


def test_a_video_file_at_an_address_is_taken_whole(tmp_path) -> None:
    path = tmp_path / "walk.mkv"
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"mp4v"), 10, (128, 96))
    for number in range(20):
        writer.write(np.ascontiguousarray(PICTURES[number % 6][..., ::-1]))
    writer.release()
    with Camera(list, whole=path.read_bytes()) as camera:
        source = live.stream(camera.address, patience=5)
        views, said = drained(source, pause=0.01)
    assert (len(views), source.dropped, said) == (20, 0, "")
    np.testing.assert_allclose([view.time for view in views], np.arange(20) / 10, atol=0.02)
