import copy
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from demo.viewer import Viewer
from recon import filters, geometry
from recon.filters import Filters
from recon.placement import Placement, eye_of_camera, home, place
from recon.scene import Frame, Scene, Tracks
from tests.demo.wire import Page
from tests.helpers import synthetic_scene, synthetic_up

POSITION = "SetCameraPositionMessage"


def kept_points(scene: Scene, chosen: Filters, frame: int | None = None) -> np.ndarray:
    """What must be in sight, in viewer coordinates, ordered."""
    placement = place(scene.frames)
    masks = filters.keep(scene, chosen)
    points = [
        placement.point(item.world_points()[mask])
        for index, (item, mask) in enumerate(zip(scene.frames, masks, strict=True))
        if frame in (None, index)
    ]
    joined = np.concatenate(points)
    return joined[np.lexsort(joined.T)]


def assert_same_points(got: np.ndarray, expected: np.ndarray) -> None:
    """Equal as sets, within half precision."""
    assert len(got) == len(expected)
    if len(expected):
        # rounding changes the order of points that nearly agree in a coordinate: compare sums over random directions
        directions = np.random.default_rng(0).normal(size=(3, 8))
        got, expected = np.sort(got @ directions, axis=0), np.sort(expected @ directions, axis=0)
        np.testing.assert_allclose(got, expected, atol=4e-3)


def test_what_is_in_sight_is_what_the_filters_keep(viewer: Viewer, page: Page) -> None:
    scene = synthetic_scene(4)
    viewer.show(scene)
    for chosen in (
        Filters(),
        Filters(confidence=0),
        Filters(confidence=64),
        Filters(confidence=100),
        Filters(confidence=30, frames=frozenset({1, 3})),
        Filters(confidence=30, edges=False),
        Filters(frames=frozenset()),
    ):
        viewer.set_filters(chosen)
        page.settle()
        assert viewer.snap(chosen) == chosen
        assert_same_points(page.points(), kept_points(scene, chosen))


def test_a_threshold_between_two_steps_takes_the_nearest(viewer: Viewer, page: Page) -> None:
    scene = synthetic_scene(4)
    viewer.show(scene)
    chosen = Filters(confidence=20.9)
    viewer.set_filters(chosen)
    page.settle()
    assert viewer.snap(chosen).confidence == 20
    assert_same_points(page.points(), kept_points(scene, Filters(confidence=20)))


def test_equal_confidence_everywhere_is_shown_whole(viewer: Viewer, page: Page) -> None:
    scene = synthetic_scene(2)
    for frame in scene.frames:
        frame.confidence[:] = 1
    viewer.show(scene)
    viewer.set_filters(Filters(confidence=80, edges=False))
    page.settle()
    assert len(page.points()) == sum(frame.depth.size for frame in scene.frames)


def test_unknown_depth_and_undefined_confidence_are_not_drawn(viewer: Viewer, page: Page) -> None:
    scene = synthetic_scene(2)
    scene.frames[0].depth[:10] = 0
    scene.frames[1].confidence[:, :7] = np.nan
    viewer.show(scene)
    page.settle()
    assert_same_points(page.points(), kept_points(scene, Filters()))


def test_a_threshold_and_a_frame_send_no_points(viewer: Viewer, page: Page) -> None:
    viewer.show(synthetic_scene(8))
    page.settle()
    for chosen in (Filters(confidence=90), Filters(confidence=90, frames=frozenset({0, 2}))):
        start = time.perf_counter()
        viewer.set_filters(chosen)
        page.settle()
        assert 0 < page.received_since(start) < 10_000


def test_every_control_but_photo_colours_is_light(viewer: Viewer, page: Page) -> None:
    viewer.show(synthetic_scene(8, 96, 128))
    page.settle()
    positions = sum(node.props["points"].nbytes for node in page.clouds().values())
    start = time.perf_counter()
    viewer.set_point_size(2.0)
    viewer.set_cameras_visible(False)
    viewer.set_colour("frame")
    viewer.set_colour("confidence")
    page.settle()
    assert page.received_since(start) < 50_000
    assert not page.drawn("/cameras/0")
    start = time.perf_counter()
    viewer.set_colour("photo")
    page.settle()
    assert page.received_since(start) < 0.7 * positions  # three bytes a point, where a position takes six


def test_colours(viewer: Viewer, page: Page) -> None:
    scene = synthetic_scene(3)
    viewer.show(scene)
    viewer.set_filters(Filters(confidence=0, edges=False))
    page.settle()
    photo = np.concatenate([node.props["colors"].reshape(-1, 3) for node in page.clouds().values()])
    expected = np.concatenate([frame.image.reshape(-1, 3) for frame in scene.frames])
    assert np.array_equal(photo[np.lexsort(photo.T)], expected[np.lexsort(expected.T)])
    viewer.set_colour("frame")
    page.settle()
    by_frame = {name.split("/")[-1]: tuple(node.props["colors"]) for name, node in page.clouds().items()}
    assert len(set(by_frame.values())) == 3
    viewer.set_colour("confidence")
    page.settle()
    by_level = {int(name.split("/")[2]): node.props["colors"].astype(int) for name, node in page.clouds().items()}
    assert by_level[max(by_level)][1] > by_level[min(by_level)][1] + 100  # from violet to yellow
    with pytest.raises(ValueError, match="photo, confidence, frame, semantic"):
        viewer.set_colour("mood")


def test_point_size_is_a_factor(viewer: Viewer, page: Page) -> None:
    viewer.show(synthetic_scene(2))
    page.settle()
    before = {name: node.props["point_size"] for name, node in page.clouds().items()}
    viewer.set_point_size(3)
    page.settle()
    assert all(node.props["point_size"] == pytest.approx(3 * before[name]) for name, node in page.clouds().items())


def test_points_as_large_as_their_gaps_whatever_the_scale(viewer: Viewer, page: Page) -> None:
    sizes = []
    for scale in (1e-3, 1.0, 1e4):
        scene = scaled(synthetic_scene(3), scale)
        viewer.show(scene)
        page.settle()
        sizes.append(next(iter(page.clouds().values())).props["point_size"])
        assert_same_points(page.points(), kept_points(scene, Filters()))
    assert max(sizes) == pytest.approx(min(sizes), rel=0.01)
    distance_between_pixels = 2 * np.tan(np.radians(31)) / 64  # at the median depth, 1
    assert distance_between_pixels / 2 < sizes[0] < 2 * distance_between_pixels


def test_a_growing_scene_sends_what_is_new(viewer: Viewer, page: Page) -> None:
    whole = synthetic_scene(8)
    scene = Scene(whole.frames[:6])
    viewer.show(scene, range(6))
    page.settle()
    for index in (6, 7):
        scene.frames.append(whole.frames[index])
        start = time.perf_counter()
        viewer.show(scene, (index,))
        page.settle()
        frame_bytes = 9 * whole.frames[0].depth.size
        assert page.received_since(start) < 3 * frame_bytes
    viewer.show(scene, ())
    page.settle()
    viewer.set_filters(Filters(confidence=50))
    page.settle()
    counts = [len(page.points(frame=index)) for index in range(8)]
    assert counts == [int(mask.sum()) for mask in filters.keep(whole, Filters(confidence=50))]


def test_frames_that_come_with_quite_other_confidence_bring_all_levels_up_to_date(viewer: Viewer, page: Page) -> None:
    whole = synthetic_scene(6)
    for index, frame in enumerate(whole.frames):
        frame.confidence *= 10.0**index
    scene = Scene([])
    for index, frame in enumerate(whole.frames):
        scene.frames.append(frame)
        viewer.show(scene, (index,))
    page.settle()
    assert [len(page.points(frame=i)) for i in range(6)] == [int(m.sum()) for m in filters.keep(whole, Filters())]


def test_cameras_that_move_take_their_points_along_and_none_stay(viewer: Viewer, page: Page) -> None:
    scene = synthetic_scene(4)
    viewer.show(scene)
    page.settle()
    moved = copy.deepcopy(scene)
    for index, frame in enumerate(moved.frames):
        turn = geometry.rigid(np.eye(3), np.array([0.1 * index, 0, 0]))
        frame.camera.world_from_camera = (turn @ frame.camera.world_from_camera).astype(np.float32)
    scene.frames[:] = moved.frames
    viewer.show(scene, range(4))
    page.settle()
    assert_same_points(page.points(), kept_points(moved, Filters()))
    placement = place(moved.frames)
    for index, frame in enumerate(moved.frames):
        np.testing.assert_allclose(
            page.nodes[f"/cameras/{index}"].position, placement.point(frame.camera.centre), atol=1e-5
        )


def test_another_scene_leaves_nothing_of_the_last(viewer: Viewer, page: Page) -> None:
    viewer.show(synthetic_scene(6))
    smaller = synthetic_scene(2, 24, 32)
    viewer.show(smaller)
    page.settle()
    assert_same_points(page.points(), kept_points(smaller, Filters()))
    assert {name for name in page.nodes if name.startswith("/cameras/")} == {"/cameras/0", "/cameras/1"}
    viewer.clear()
    page.settle()
    assert len(page.points()) == 0
    assert not any(name.startswith("/cameras/") for name in page.nodes)


def test_a_page_that_comes_later_sees_the_same(viewer: Viewer, page: Page) -> None:
    scene = synthetic_scene(4)
    viewer.show(synthetic_scene(6))
    viewer.show(scene)
    viewer.set_filters(Filters(confidence=40))
    page.settle()
    with Page(page.url) as later:
        later.settle()
        assert np.array_equal(later.points(), page.points())
        assert len(later.points()) > 0


def test_many_frames_get_fewer_steps_not_thousands_of_nodes(viewer: Viewer, page: Page) -> None:
    one = synthetic_scene(1, 12, 16).frames[0]
    scene = Scene([replace(one, view=index) for index in range(64)])
    viewer.show(synthetic_scene(3))
    finer = viewer.step
    viewer.show(scene)
    assert viewer.step > finer
    page.settle()
    assert len(page.clouds()) <= 1500
    assert 20 % viewer.step == 0
    assert 100 % viewer.step == 0
    viewer.set_filters(Filters(confidence=20))
    page.settle()
    assert len(page.points()) == sum(int(mask.sum()) for mask in filters.keep(scene, Filters(confidence=20)))


def test_more_points_than_a_browser_likes_are_thinned_evenly(
    viewer: Viewer, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recon.drawing.MAXIMUM_POINTS", 2000)
    scene = synthetic_scene(4)
    viewer.show(scene)
    viewer.set_filters(Filters(confidence=0, edges=False))
    page.settle()
    assert 1700 < len(page.points()) < 2300
    assert min(len(page.points(frame=index)) for index in range(4)) > 400


def test_up_is_up_and_the_first_view_holds_the_scene(viewer: Viewer, page: Page) -> None:
    scene = synthetic_scene(5)
    viewer.show(scene)
    page.settle()
    placement = place(scene.frames)
    up = placement.viewer_from_world[:3, :3] @ synthetic_up(5) / placement.scale
    assert up[2] > 0.999
    position, target = (page.first_view[f"SetCamera{name}Message"] for name in ("Position", "LookAt"))
    assert position[2] > placement.point(scene.frames[2].camera.centre)[2]  # above the cameras
    assert share_in_sight(page.points(), position, target, page.first_view["SetCameraFovMessage"]) > 0.9


def test_the_first_view_has_the_scene_in_its_middle() -> None:
    frame = synthetic_scene(1).frames[0]
    depth = frame.depth.copy()
    depth[:, : depth.shape[1] // 3] *= 0.3  # most points lie aside of the median one
    frames = [replace(frame, depth=depth, points=None)]
    placement = place(frames)
    eye = home(frames, placement)
    points = placement.point(frames[0].world_points()[frames[0].known()])
    x, y, z = ((points - eye.position) @ geometry.rotation_from_quaternion(eye.wxyz)).T
    low, high = np.percentile([x / z, y / z], [7, 93], axis=1)
    assert np.abs(low + high).max() < 0.1


@pytest.mark.parametrize("turn", [0, 180])
def test_the_first_view_of_an_object_seen_from_all_around(turn: int) -> None:
    scene = synthetic_scene(1)
    frames = []
    for angle in np.radians(np.arange(0, 360, 45) + turn):
        cosine, sine = np.cos(angle), np.sin(angle)
        rotation = np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]])
        camera = geometry.rigid(rotation, -3 * rotation[:, 2]).astype(np.float32)
        frame = scene.frames[0]
        frames.append(replace(frame, camera=replace(frame.camera, world_from_camera=camera)))
    placement = place(frames)
    eye = home(frames, placement)
    points = np.concatenate([placement.point(frame.world_points()).reshape(-1, 3) for frame in frames])
    assert np.isfinite(eye.position).all()
    assert share_in_sight(points, eye.position, eye.look_at, eye.fov) > 0.85


@pytest.mark.parametrize("pitch", [-90, 90])
def test_cameras_that_look_straight_up_or_down_have_a_first_view(pitch: int) -> None:
    frame = synthetic_scene(1).frames[0]
    cosine, sine = np.cos(np.radians(pitch)), np.sin(np.radians(pitch))
    rotation = np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]])
    camera = replace(frame.camera, world_from_camera=geometry.rigid(rotation, np.zeros(3)).astype(np.float32))
    frames: list[Frame] = [replace(frame, camera=camera)]
    placement = place(frames)
    eye = home(frames, placement)
    points = placement.point(frames[0].world_points()).reshape(-1, 3)
    assert share_in_sight(points, eye.position, eye.look_at, eye.fov) > 0.85


def test_a_scene_without_a_single_point_is_shown_as_its_cameras(viewer: Viewer, page: Page) -> None:
    scene = synthetic_scene(2)
    for frame in scene.frames:
        frame.depth[:] = 0
    viewer.show(scene)
    page.settle()
    assert len(page.points()) == 0
    assert {name for name in page.nodes if name.startswith("/cameras/")} == {"/cameras/0", "/cameras/1"}


def test_a_click_on_a_frustum_flies_to_its_camera_and_reset_flies_back(viewer: Viewer, page: Page) -> None:
    scene = synthetic_scene(5)
    viewer.show(scene)
    page.settle()
    placement = place(scene.frames)
    eye = eye_of_camera(scene.frames[3].camera, scene.frames[3].size, placement)
    start = time.perf_counter()
    page.click("/cameras/3")
    arrived = page.wait_for(lambda: np.allclose(page.camera.get(POSITION, 0), eye.position, atol=1e-4))
    assert 0.2 < arrived - start < 3
    page.settle()
    forward = placement.viewer_from_world[:3, :3] @ scene.frames[3].camera.world_from_camera[:3, 2] / placement.scale
    look = page.camera["SetCameraLookAtMessage"] - page.camera[POSITION]
    assert look @ forward / np.linalg.norm(look) > 0.9999
    assert page.camera["SetCameraFovMessage"] == pytest.approx(eye.fov, abs=1e-3)
    viewer.reset_view()
    page.wait_for(lambda: np.allclose(page.camera[POSITION], page.first_view[POSITION], atol=1e-4))
    page.settle()
    np.testing.assert_allclose(page.camera["SetCameraUpDirectionMessage"], [0, 0, 1], atol=1e-6)


def test_an_eye_that_the_visitor_has_moved_stays_when_the_scene_grows(viewer: Viewer, page: Page) -> None:
    whole = synthetic_scene(6)
    scene = Scene(whole.frames[:3])
    viewer.show(scene)
    page.settle(1.0)
    page.look_from([5, 5, 5])
    page.settle()
    page.camera.clear()
    scene.frames.extend(whole.frames[3:])
    viewer.show(scene, (3, 4, 5))
    page.settle(1.0)
    assert page.camera == {}


def test_a_page_that_tells_late_where_its_eye_is_flies_on_when_the_scene_grows(viewer: Viewer, page: Page) -> None:
    whole = synthetic_scene(6)
    scene = Scene(whole.frames[:3])
    page.look_from([3, 3, 3])
    page.settle()
    viewer.show(scene)
    page.settle(1.0)
    page.look_from((0.5 * np.array([3, 3, 3]) + 0.5 * np.array(page.camera[POSITION])).tolist())
    page.settle()
    page.camera.clear()
    scene.frames.extend(whole.frames[3:])
    viewer.show(scene, (3, 4, 5))
    page.settle(1.0)
    assert page.camera != {}


def test_the_browser_cannot_open_a_tunnel(viewer: Viewer, page: Page) -> None:
    page.settle()
    before = threading.active_count()
    page.send("ShareUrlRequest")
    page.settle()
    assert viewer._server._share_tunnel is None
    assert threading.active_count() <= before + 1


def test_many_threads_at_once(viewer: Viewer, page: Page) -> None:
    scene = synthetic_scene(6)
    viewer.show(scene)

    def fiddle(seed: int) -> None:
        random = np.random.default_rng(seed)
        for _ in range(8):
            viewer.set_filters(Filters(confidence=float(random.integers(0, 101)), edges=bool(random.integers(2))))
            viewer.set_colour(str(random.choice(["photo", "frame", "confidence"])))
            viewer.show(scene, (int(random.integers(6)),))
            viewer.set_point_size(float(random.uniform(0.5, 2)))

    threads = [threading.Thread(target=fiddle, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    chosen = Filters(confidence=44)
    viewer.set_filters(chosen)
    viewer.show(scene, ())
    page.settle()
    assert_same_points(page.points(), kept_points(scene, chosen))


def test_listens_on_loopback_only(viewer: Viewer) -> None:
    assert viewer._server.get_host() == "127.0.0.1"


def share_in_sight(
    points: np.ndarray, position: np.ndarray, target: np.ndarray, fov: float, aspect: float = 1.3
) -> float:
    """The share of ``points`` in a canvas of that view, +z up."""
    forward = (target - position) / np.linalg.norm(target - position)
    right = np.cross(forward, [0, 0, 1])
    right /= np.linalg.norm(right)
    offsets = points - position
    x, y, z = offsets @ right, offsets @ np.cross(right, forward), offsets @ forward
    tangent = np.tan(fov / 2)
    return float(((z > 0) & (np.abs(x) < z * tangent * aspect) & (np.abs(y) < z * tangent)).mean())


def scaled(scene: Scene, scale: float) -> Scene:
    """The same scene in other units."""
    return Scene(
        [
            replace(
                frame,
                depth=frame.depth * np.float32(scale),
                camera=replace(
                    frame.camera,
                    world_from_camera=Placement(np.diag([scale, scale, scale, 1.0]))
                    .camera(frame.camera.world_from_camera)
                    .astype(np.float32),
                ),
            )
            for frame in scene.frames
        ]
    )


# --- tracks --------------------------------------------------------------------------------------------------------


def tracked(scene: Scene, pixels: list[list[float]]) -> Scene:
    """``scene`` with points at the same pixels of every frame, so that they travel through the world."""
    places = np.tile(np.array(pixels, np.float32), (len(scene.frames), 1, 1))
    sure = np.ones(places.shape[:2], np.float32)
    scene.tracks = Tracks(places, sure, sure.copy(), np.zeros(len(pixels), np.int32))
    return scene


def line_ends(page: Page) -> np.ndarray:
    """``[S,2,3]``: the segments in sight."""
    if "/tracks/lines" not in page.nodes or not page.drawn("/tracks/lines"):
        return np.empty((0, 2, 3), np.float32)
    return page.nodes["/tracks/lines"].props["points"].reshape(-1, 2, 3)


def dots(page: Page) -> np.ndarray:
    """``[E,3]``: the dots in sight."""
    if "/tracks/dots" not in page.nodes or not page.drawn("/tracks/dots"):
        return np.empty((0, 3), np.float32)
    return page.nodes["/tracks/dots"].props["points"].reshape(-1, 3)


EVERYTHING = Filters(confidence=0, edges=False)


def test_a_track_is_a_line_through_the_world_with_a_dot_at_each_end(viewer: Viewer, page: Page) -> None:
    scene = tracked(synthetic_scene(4), [[20.3, 12.8], [40.9, 30.1]])
    viewer.set_filters(EVERYTHING)
    viewer.show(scene)
    page.settle()
    placement = place(scene.frames)
    world = np.stack([frame.world_points()[[12, 30], [20, 40]] for frame in scene.frames])
    expected = placement.point(world)  # [F,N,3]
    segments = line_ends(page)
    assert segments.shape == (6, 2, 3)
    # the lines stand a little before the surface
    np.testing.assert_allclose(segments[:3, 0], expected[:3, 0], atol=0.03)
    np.testing.assert_allclose(segments[3:, 1], expected[1:, 1], atol=0.03)
    np.testing.assert_allclose(dots(page), expected[[0, 3, 0, 3], [0, 0, 1, 1]], atol=0.03)
    colours = page.nodes["/tracks/lines"].props["colors"].reshape(6, 2, 3)
    assert len(np.unique(colours.reshape(-1, 3), axis=0)) == 2


def test_a_line_leaves_out_frames_in_which_the_point_is_hidden_or_has_no_position(viewer: Viewer, page: Page) -> None:
    scene = tracked(synthetic_scene(5), [[20, 12]])
    assert scene.tracks is not None
    viewer.set_filters(EVERYTHING)
    scene.tracks.visibility[1] = 0
    scene.tracks.pixels[2, 0] = (-3, 5)
    scene.frames[4].depth[12, 20] = 0
    viewer.show(scene)
    page.settle()
    segments = line_ends(page)
    assert segments.shape == (1, 2, 3)
    camera = place(scene.frames).camera(scene.frames[3].camera.world_from_camera.astype(float))
    seen_from = geometry.transform(geometry.invert(camera), segments[0, 1])
    pixel = geometry.project(seen_from, scene.frames[3].camera.intrinsics)
    np.testing.assert_allclose(pixel, [20.5, 12.5], atol=0.1)


def test_filters_hide_of_the_lines_what_they_hide_of_the_points(viewer: Viewer, page: Page) -> None:
    scene = tracked(synthetic_scene(4, 96, 128), [[x, y] for x in range(8, 128, 16) for y in range(8, 96, 16)])
    assert scene.tracks is not None
    viewer.show(scene)
    x, y = scene.tracks.pixels[0].astype(int).T
    for chosen in (
        Filters(),
        Filters(confidence=60),
        Filters(confidence=60, edges=False, white=True),
        Filters(confidence=20, frames=frozenset({0, 2})),
        Filters(confidence=100),
        Filters(frames=frozenset()),
        EVERYTHING,
    ):
        start = time.perf_counter()
        viewer.set_filters(chosen)
        page.settle()
        shown = np.stack([mask[y, x] for mask in filters.keep(scene, chosen)]).sum(0)
        assert len(line_ends(page)) == np.maximum(shown - 1, 0).sum()
        assert len(dots(page)) == np.minimum(shown, 2).sum()
        assert page.received_since(start) < 600_000


def test_other_tracks_take_the_place_of_those_before_and_no_points_are_sent(viewer: Viewer, page: Page) -> None:
    scene = synthetic_scene(4, 96, 128)
    viewer.show(scene)
    page.settle()
    start = time.perf_counter()
    viewer.show_tracks(tracked(scene, [[20, 12]]))
    page.settle()
    assert len(line_ends(page)) == 3
    viewer.show_tracks(tracked(synthetic_scene(4), [[20, 12], [30, 12]]))
    page.settle()
    assert len(line_ends(page)) == 3, "of a scene that is not shown nothing is"
    scene.tracks = None
    viewer.show_tracks(scene)
    page.settle()
    assert len(line_ends(page)) == len(dots(page)) == 0
    assert page.received_since(start) < 5_000


def test_tracks_go_with_their_scene(viewer: Viewer, page: Page) -> None:
    viewer.show(tracked(synthetic_scene(4), [[20, 12]]))
    viewer.show(synthetic_scene(2))
    page.settle()
    assert len(dots(page)) == 0
    viewer.show(tracked(synthetic_scene(3), [[20, 12]]))
    page.settle()
    assert len(line_ends(page)) == 2
    viewer.clear()
    viewer.set_filters(Filters(confidence=40))
    page.settle()
    assert len(dots(page)) == 0


def test_tracks_can_be_hidden_and_shown_again(viewer: Viewer, page: Page) -> None:
    viewer.show(tracked(synthetic_scene(4), [[20, 12]]))
    viewer.set_tracks_visible(False)
    page.settle()
    assert len(dots(page)) == 0
    viewer.set_filters(Filters(confidence=40))
    viewer.set_tracks_visible(True)
    page.settle()
    assert len(dots(page)) > 0


def test_of_very_many_tracks_an_even_selection_is_drawn(viewer: Viewer, page: Page) -> None:
    scene = synthetic_scene(4)
    viewer.set_filters(EVERYTHING)
    viewer.show(tracked(scene, np.random.default_rng(0).uniform(0, 48, (12_000, 2)).tolist()))
    page.settle()
    assert 3 * 2_000 < len(line_ends(page)) <= 3 * 5_000


def test_a_new_page_sees_the_tracks_too(viewer: Viewer) -> None:
    viewer.show(tracked(synthetic_scene(4), [[20, 12]]))
    with Page(f"http://127.0.0.1:{viewer.port}") as late:
        late.settle()
        assert len(line_ends(late)) == 3
