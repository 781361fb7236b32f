import time
from dataclasses import replace

import numpy as np
import pytest

from recon.errors import InputError
from recon.filters import Filters, confidence_levels, depth_edges, keep, sky, static_keep
from recon.geometry import intrinsics_from_focal
from recon.scene import Camera, Frame, Scene
from tests.helpers import labelled_scene, synthetic_scene, synthetic_up

EVERYTHING = Filters(confidence=0, edges=False)


def flat_frame(image: np.ndarray, depth: np.ndarray | None = None, confidence: np.ndarray | None = None) -> Frame:
    height, width = image.shape[:2]
    return Frame(
        image=image,
        depth=np.full((height, width), 2, np.float32) if depth is None else depth,
        confidence=np.ones((height, width), np.float32) if confidence is None else confidence,
        camera=Camera(intrinsics_from_focal(float(width), width, height), np.eye(4, dtype=np.float32)),
    )


def scene_of(*confidences: list[float]) -> Scene:
    """One frame a list, one row high."""
    arrays = [np.array([values], np.float32) for values in confidences]
    return Scene([flat_frame(np.full((1, a.shape[1], 3), 99, np.uint8), confidence=a) for a in arrays])


# --- confidence ----------------------------------------------------------------------------------------------------


def test_the_percentile_counts_over_the_whole_scene():
    scene = scene_of([1, 2, 3, 4, 5], [6, 7, 8, 9, 10])
    masks = keep(scene, Filters(confidence=30, edges=False))
    assert masks[0].tolist() == [[False, False, False, True, True]]
    assert masks[1].all()


@pytest.mark.parametrize("percentile", [0, 0.1, 20, 50, 99.9, 100])
@pytest.mark.parametrize("seed", range(5))
def test_at_most_the_asked_share_is_hidden(percentile, seed):
    generator = np.random.default_rng(seed)
    values = generator.normal(size=997).astype(np.float32)
    if seed % 2:
        values = np.round(values)  # many ties
    scene = scene_of(list(values[:400]), list(values[400:]))
    hidden = 1 - np.mean([mask.mean() * mask.size for mask in keep(scene, Filters(percentile, edges=False))]) * 2 / 997
    assert hidden <= percentile / 100 + 1e-9
    assert hidden < 1
    if not seed % 2:
        assert hidden > percentile / 100 - 1.001 / 997  # without ties it is that share


def test_no_percentile_empties_a_scene():
    assert all(mask.all() for mask in keep(scene_of([3, 3, 3], [3]), Filters(confidence=100)))
    masks = keep(scene_of([1, 2, 9], [9]), Filters(confidence=100))
    assert masks[0].tolist() == [[False, False, True]]
    assert masks[1].all()


def test_levels_are_what_keep_uses():
    """The viewer sorts by the levels, the exports ask `keep`: both must show the same points."""
    scene = synthetic_scene()
    percentiles = np.linspace(0, 100, 21)
    levels = confidence_levels(scene, percentiles)
    assert levels.dtype == np.float32
    assert (np.diff(levels) >= 0).all()
    for percentile, level in zip(percentiles, levels, strict=True):
        filters = Filters(confidence=percentile)
        for frame, mask in zip(scene.frames, keep(scene, filters), strict=True):
            np.testing.assert_array_equal(mask, static_keep(frame, filters) & (frame.confidence >= level))


def test_unknown_pixels_do_not_count():
    scene = scene_of([-5, 1, 2, 3, 4])
    scene.frames[0].depth[0, 0] = 0
    assert confidence_levels(scene, [0, 25]).tolist() == [1, 2]
    scene.frames[0].confidence[0, 1] = np.nan
    assert confidence_levels(scene, [0]).tolist() == [2]
    assert keep(scene, EVERYTHING)[0].tolist() == [[False, False, True, True, True]]


def test_infinite_confidence_is_a_confidence():
    assert keep(scene_of([-np.inf, 1, np.inf]), EVERYTHING)[0].all()
    assert keep(scene_of([-np.inf, 1, np.inf]), Filters(100))[0].tolist() == [[False, False, True]]


def test_levels_do_not_depend_on_what_else_is_hidden():
    """Else points would flicker in one frame while another is ticked."""
    scene = scene_of([1, 2, 3, 4], [5, 6, 7, 8])
    masks = keep(scene, Filters(confidence=25, edges=False, frames=frozenset({0})))
    assert masks[0].tolist() == [[False, False, True, True]]
    assert not masks[1].any()


def test_a_scene_without_known_points():
    scene = scene_of([1, 2])
    scene.frames[0].depth[:] = 0
    assert confidence_levels(scene, [50]).tolist() == [-np.inf]
    assert not keep(scene)[0].any()
    assert keep(Scene()) == []


# --- what is known, frames -----------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_what_has_no_position_is_never_shown():
    frame = synthetic_scene(1).frames[0]
    frame.valid = np.ones(frame.depth.shape, bool)
    frame.valid[0, 0] = False
    frame.depth[0, 1], frame.depth[0, 2], frame.depth[0, 3] = 0, np.nan, np.inf
    frame.points = frame.world_points()
    frame.points[0, 4] = np.nan
    mask = static_keep(frame, EVERYTHING)
    assert not mask[0, :5].any()
    assert mask[0, 5:].all()
    assert mask[1:].all()


def test_frames_on_and_off():
    scene = synthetic_scene(3)
    masks = keep(scene, Filters(confidence=0, edges=False, frames=frozenset({0, 2})))
    assert [mask.mean() for mask in masks] == [1, 0, 1]
    assert not any(mask.any() for mask in keep(scene, Filters(frames=frozenset())))


@pytest.mark.parametrize("confidence", [-1, 100.5, float("nan"), float("inf")])
def test_percentages_out_of_range(confidence):
    with pytest.raises(InputError, match="0 to 100"):
        Filters(confidence=confidence)


def test_frames_that_do_not_exist():
    with pytest.raises(InputError, match="no frame -1"):
        Filters(frames=frozenset({-1, 2}))
    with pytest.raises(InputError, match="no frame 3: the scene has 3"):
        keep(synthetic_scene(3), Filters(frames=frozenset({0, 3})))


# --- edges ---------------------------------------------------------------------------------------------------------


def test_edges_are_where_the_depth_jumps():
    depth = np.full((6, 8), 2, np.float32)
    depth[:, 4:] = 4
    frame = flat_frame(np.zeros((6, 8, 3), np.uint8), depth)
    assert np.nonzero(depth_edges(frame)[0])[0].tolist() == [3, 4]
    frame.depth[:, 4] = 0  # a gap of unknown pixels is no edge
    assert not depth_edges(frame).any()


def test_edges_follow_outlines_and_spare_slanted_surfaces():
    scene = synthetic_scene(3, 96, 128)
    for frame in scene.frames:
        edges = depth_edges(frame)
        height = frame.world_points() @ synthetic_up()
        on_floor = np.abs(height - height.min()) < 1e-3
        assert 0.01 < edges.mean() < 0.06
        assert edges[on_floor].mean() < 0.05  # the outlines of the balls on it
        assert not edges[-1, on_floor[-1]].any()


def test_a_floor_up_to_the_horizon_stays():
    """Seen from 1.6 m above with 50 degrees of view; rows within 4 degrees of the horizon may go."""
    height, width = 192, 256
    frame = flat_frame(np.zeros((height, width, 3), np.uint8))
    rows = np.arange(height) + 0.5 - height / 2
    frame.depth = np.repeat(np.where(rows > 0, 1.6 * width / np.maximum(rows, 0.5), 0)[:, None], width, 1)
    horizon = height // 2 + int(width * np.tan(np.radians(5)))
    assert not depth_edges(frame)[horizon:].any()


# --- colours and sky -----------------------------------------------------------------------------------------------


def test_black_and_white_backgrounds():
    image = np.array(
        [[[0, 0, 0], [15, 15, 15], [15, 16, 15], [128, 128, 128], [241, 240, 255], [241, 241, 241]]], np.uint8
    )
    frame = flat_frame(image)
    shown = {name: static_keep(frame, Filters(edges=False, **{name: True}))[0].tolist() for name in ("black", "white")}
    assert shown["black"] == [False, False, True, True, True, True]
    assert shown["white"] == [True, True, True, True, True, False]


def outdoors(colour: tuple[int, int, int], height: int = 60, width: int = 80) -> Frame:
    """Sky above a textured ground; a smooth patch of the sky's colour, near, at the bottom."""
    generator = np.random.default_rng(0)
    image = generator.integers(40, 160, (height, width, 3)).astype(np.uint8)
    depth = np.tile(np.linspace(30, 2, height, dtype=np.float32)[:, None], (1, width))
    image[: height // 3] = np.clip(np.array(colour) + generator.normal(0, 2, (height // 3, width, 3)), 0, 255)
    depth[: height // 3] = 100
    image[-10:, 30:50] = colour
    return flat_frame(image, depth)


@pytest.mark.parametrize("colour", [(110, 160, 220), (235, 238, 240), (60, 90, 150)])
@pytest.mark.parametrize("depth", ["far", "unknown"])
def test_sky_is_found_above_and_only_there(colour, depth):
    frame = outdoors(colour)
    if depth == "unknown":
        frame.depth[:20] = 0
    found = sky(frame)
    assert found[:18].mean() > 0.98
    assert not found[22:].any()
    assert not (static_keep(frame, Filters(sky=True, edges=False)) & found).any()


def test_green_leaves_and_indoor_walls_are_no_sky():
    assert not sky(outdoors((60, 140, 60))).any()
    assert not any(sky(frame).any() for frame in synthetic_scene().frames)


def test_what_is_near_is_no_sky():
    frame = outdoors((110, 160, 220))
    frame.depth[:20] = 1
    assert not sky(frame).any()


# --- speed ---------------------------------------------------------------------------------------------------------


def test_a_million_points_are_filtered_quickly():
    scene = synthetic_scene(4, 500, 500)
    filters = Filters(confidence=20, edges=True, black=True, white=True)
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        keep(scene, filters)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.3


def test_segments_that_are_not_asked_for_are_hidden():
    scene = labelled_scene(2)
    for chosen in ({1}, {2, 101}, {-1}, set()):
        masks = keep(scene, replace(EVERYTHING, segments=frozenset(chosen)))
        for frame, mask in zip(scene.frames, masks, strict=True):
            assert np.array_equal(mask, np.isin(frame.segments, list(chosen)))
    scene.frames[0].segments = None
    one, two = (keep(scene, replace(EVERYTHING, segments=frozenset({which})))[0] for which in (-1, 1))
    assert one.all()
    assert not two.any()
