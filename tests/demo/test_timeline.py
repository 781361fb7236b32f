"""Time in the viewer, at the websocket: what is shown when, what is sent for it, and how evenly it runs."""

import time
from dataclasses import replace

import numpy as np

from demo.viewer import Viewer
from recon import filters
from recon.filters import Filters
from recon.placement import place
from recon.scene import Scene
from tests.demo.staged import wait
from tests.demo.wire import Page
from tests.helpers import moving_scene, synthetic_scene

EVERYTHING = Filters(confidence=0, edges=False)


def expected(scene: Scene, chosen: Filters, moments: range) -> np.ndarray:
    """``[N,3]`` in viewer coordinates: what does not move, of all frames, and what moves, of some."""
    placement = place(scene.frames)
    points = []
    for index, (frame, mask) in enumerate(zip(scene.frames, filters.keep(scene, chosen), strict=True)):
        assert frame.moving is not None
        shown = mask if index in moments else mask & ~frame.moving
        points.append(placement.point(frame.world_points()[shown]))
    return np.concatenate(points)


def assert_same_points(got: np.ndarray, wanted: np.ndarray) -> None:
    assert len(got) == len(wanted)
    directions = np.random.default_rng(0).normal(size=(3, 8))  # half precision changes the order of near ones
    np.testing.assert_allclose(np.sort(got @ directions, 0), np.sort(wanted @ directions, 0), atol=4e-3)


def test_the_static_world_stays_and_what_moves_is_there_at_its_time_only(viewer: Viewer, page: Page) -> None:
    scene = moving_scene(5)
    viewer.set_filters(EVERYTHING)
    viewer.show(scene)
    page.settle()
    assert_same_points(page.points(), expected(scene, EVERYTHING, range(5)))
    for frame in (0, 3, 4):
        viewer.playback.seek(frame)
        page.settle()
        assert_same_points(page.points(), expected(scene, EVERYTHING, range(frame, frame + 1)))
    viewer.playback.seek(None)
    page.settle()
    assert_same_points(page.points(), expected(scene, EVERYTHING, range(5)))


def test_a_trail_shows_where_things_were_before(viewer: Viewer, page: Page) -> None:
    scene = moving_scene(6)
    viewer.set_filters(EVERYTHING)
    viewer.show(scene)
    viewer.playback.seek(4)
    for length, moments in ((2, range(2, 5)), (1000, range(5)), (0, range(4, 5))):
        viewer.playback.trail(length)
        page.settle()
        assert_same_points(page.points(), expected(scene, EVERYTHING, moments))


def test_filters_hold_at_every_moment_and_send_no_points(viewer: Viewer, page: Page) -> None:
    scene = moving_scene(5)
    viewer.show(scene)
    viewer.playback.seek(2)
    page.settle()
    start = time.perf_counter()
    for chosen in (
        Filters(confidence=60),
        Filters(confidence=60, moving="hide"),
        Filters(confidence=20, moving="only"),
        Filters(confidence=40, frames=frozenset({1, 2})),
        Filters(confidence=40, frames=frozenset({1})),
    ):
        viewer.set_filters(chosen)
        page.settle()
        assert_same_points(page.points(), expected(scene, viewer.snap(chosen), range(2, 3)))
    assert page.received_since(start) < 15_000


def test_hidden_or_alone_moving_things_agree_with_the_filters_where_all_frames_are_shown(
    viewer: Viewer, page: Page
) -> None:
    scene = moving_scene(4)
    scene.frames[1].moving = None  # of one frame nobody knows what moves
    viewer.show(scene)
    for moving in ("hide", "only", "show"):
        chosen = viewer.snap(Filters(moving=moving))  # type: ignore[arg-type]
        viewer.set_filters(chosen)
        page.settle()
        assert [len(page.points(i)) for i in range(4)] == [int(mask.sum()) for mask in filters.keep(scene, chosen)]
    assert len(page.points(1)) > 0


def test_of_a_video_of_which_nothing_is_known_each_frame_has_its_time(viewer: Viewer, page: Page) -> None:
    scene = synthetic_scene(3)
    viewer.set_filters(EVERYTHING)
    viewer.show(scene)
    assert viewer.playback.count == 0, "photos have no time"
    viewer.playback.play()
    assert not viewer.playback.playing
    video = Scene([replace(frame, time=index / 2) for index, frame in enumerate(scene.frames)])
    viewer.show(video)
    viewer.playback.seek(1)
    page.settle()
    assert [len(page.points(frame)) for frame in range(3)] == [0, video.frames[1].depth.size, 0]
    viewer.set_filters(replace(EVERYTHING, moving="hide"))
    page.settle()
    assert len(page.points()) == video.frames[1].depth.size, "nothing is known to move"


def test_the_present_camera_stands_out(viewer: Viewer, page: Page) -> None:
    viewer.show(moving_scene(4))
    viewer.set_colour("frame")
    page.settle()
    colours = {i: tuple(page.nodes[f"/cameras/{i}"].props["color"]) for i in range(4)}
    for frame in (1, 2):
        viewer.playback.seek(frame)
        page.settle()
        now = {i: tuple(page.nodes[f"/cameras/{i}"].props["color"]) for i in range(4)}
        assert {i for i in range(4) if now[i] != colours[i]} == {frame}
    viewer.playback.seek(None)
    page.settle()
    assert colours == {i: tuple(page.nodes[f"/cameras/{i}"].props["color"]) for i in range(4)}


def test_playing_sends_a_few_hundred_bytes_a_frame_at_even_intervals(viewer: Viewer, page: Page) -> None:
    viewer.show(moving_scene(30))
    viewer.playback.seek(0)
    page.settle()
    viewer.playback.speed = 30
    start = time.perf_counter()
    viewer.playback.play()
    time.sleep(2)
    viewer.playback.pause()
    page.settle()
    arrivals = np.array([moment for moment, _ in page.arrivals if moment >= start])
    gaps = np.diff(arrivals)
    assert 45 <= len(arrivals) <= 62
    assert page.received_since(start) / len(arrivals) < 500
    assert np.median(np.abs(gaps - 1 / 30)) < 0.012, gaps  # 1 ms where nothing else runs
    moving = [name for name in page.nodes if name.startswith("/moments/") and name.count("/") == 2]
    assert len(moving) == 30
    assert sum(page.nodes[name].visible for name in moving) == 1


def test_time_runs_round_or_stands_still_at_the_end(viewer: Viewer) -> None:
    viewer.show(moving_scene(4))
    playback = viewer.playback
    playback.speed, playback.loop = 60, False
    playback.play()
    wait(lambda: not playback.playing)
    assert playback.moment.frame == 3
    playback.play()
    assert playback.moment.frame == 0, "from the beginning"
    playback.loop = True
    seen = set()
    wait(lambda: seen.add(playback.moment.frame) or len(seen) == 4)
    time.sleep(0.1)
    assert playback.playing
    playback.seek(2)
    time.sleep(0.1)
    assert (playback.playing, playback.moment.frame) == (False, 2)


def test_a_scene_that_grows_plays_on_and_another_stands_still(viewer: Viewer, page: Page) -> None:
    whole = moving_scene(6)
    scene = Scene(whole.frames[:3])
    viewer.show(scene)
    viewer.playback.seek(2)
    scene.frames.append(whole.frames[3])
    viewer.show(scene, (3,))
    page.settle()
    assert (viewer.playback.moment.frame, viewer.playback.count) == (2, 4)
    assert not page.drawn("/moments/3")
    viewer.playback.play()
    viewer.show(moving_scene(2))
    page.settle()
    assert (viewer.playback.playing, viewer.playback.moment.frame) == (False, None)
    assert page.drawn("/moments/0")
    assert page.drawn("/moments/1")


def test_what_moves_may_be_said_later_and_only_that_frame_is_sent_again(viewer: Viewer, page: Page) -> None:
    scene = moving_scene(6, 96, 128)
    viewer.show(scene)
    viewer.playback.seek(1)
    page.settle()
    start = time.perf_counter()
    assert scene.frames[2].moving is not None
    scene.frames[2].moving = np.zeros_like(scene.frames[2].moving)
    viewer.show(scene, (2,))
    page.settle()
    assert_same_points(page.points(), expected(scene, viewer.snap(Filters()), range(1, 2)))
    assert page.received_since(start) < 2 * 9 * scene.frames[2].depth.size


def test_marks_that_come_to_a_video_make_its_world_static(viewer: Viewer, page: Page) -> None:
    scene = moving_scene(3)
    masks = [frame.moving for frame in scene.frames]
    for frame in scene.frames:
        frame.moving = None
    viewer.show(scene)
    scene.frames[1].moving = masks[1]
    viewer.show(scene, (1,))
    viewer.playback.seek(1)
    page.settle()
    assert min(len(page.points(frame)) for frame in range(3)) > 0


def test_playing_ends_with_the_viewer() -> None:
    viewer = Viewer()
    viewer.show(moving_scene(3))
    viewer.playback.play()
    viewer.stop()
    assert not viewer.playback.playing
    viewer.playback.play()
    assert not viewer.playback.playing
