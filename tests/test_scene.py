import numpy as np
import pytest

from recon import geometry
from recon.scene import Gaussians, Tracks
from tests.helpers import synthetic_scene


@pytest.mark.parametrize("stride", [1, 2, 5])
def test_pixels_of_a_thinned_frame_stay_where_they_are(stride):
    frame = synthetic_scene(2).frames[1]
    frame.original_from_processed = np.array([[4, 0, 1], [0, 4, 2], [0, 0, 1]], np.float32)
    frame.valid = frame.depth > np.median(frame.depth)
    thinned = frame.thinned(stride)
    chosen = np.s_[::stride, ::stride]
    np.testing.assert_allclose(thinned.world_points(), frame.world_points()[chosen], atol=1e-5)
    np.testing.assert_array_equal(thinned.known(), frame.known()[chosen])
    np.testing.assert_array_equal(thinned.image, frame.image[chosen])
    assert thinned.camera.intrinsics.dtype == np.float32

    def in_original(f):
        pixels = geometry.pixel_grid(*f.depth.shape)
        return np.concatenate([pixels, np.ones_like(pixels[..., :1])], -1) @ f.original_from_processed.T

    np.testing.assert_allclose(in_original(thinned), in_original(frame)[chosen], rtol=1e-5)
    assert frame.size == (64, 48)


def tracks_at(pixels: list[list[float]], frames: int = 2) -> Tracks:
    """Points at the same pixels of every frame."""
    places = np.tile(np.array(pixels, np.float32), (frames, 1, 1))
    sure = np.ones(places.shape[:2], np.float32)
    return Tracks(places, sure, sure.copy(), np.arange(len(pixels), dtype=np.int32) % frames)


@pytest.mark.parametrize("own_points", [False, True])
def test_a_track_lies_where_its_pixel_lies_in_the_world(own_points):
    frames = synthetic_scene(2).frames
    frames[0].depth[20, 30] = 0
    expected = np.stack([frame.world_points()[[0, 20, 47], [0, 30, 63]] for frame in frames])
    expected[0, 1] = np.nan
    if own_points:
        for frame in frames:
            frame.points = frame.world_points()
    positions = tracks_at([[0, 0.9], [30.5, 20.5], [63.9, 47.9]]).positions(frames)
    assert positions.dtype == np.float32
    np.testing.assert_array_equal(positions, expected)


def test_a_track_outside_of_the_picture_has_no_position():
    tracks = tracks_at([[-0.1, 5], [5, 48], [64, 5], [np.nan, 5], [1e9, 5]])
    assert np.isnan(tracks.positions(synthetic_scene(2).frames)).all()


def test_tracks_are_seen_where_they_are_visible_and_sure():
    tracks = tracks_at([[1, 1], [2, 2], [3, 3]], 1)
    tracks.visibility[0, 0], tracks.confidence[0, 1] = 0.1, 0.1
    assert tracks.seen().tolist() == [[False, False, True]]
    assert tracks.seen(0.05).all()


def test_tracks_are_parted_and_joined():
    tracks = tracks_at([[1, 1], [2, 2], [3, 3]])
    even, odd = tracks.chosen(tracks.query == 0), tracks.chosen(np.array([1]))
    assert (len(even.query), len(odd.query)) == (2, 1)
    joined = even.joined(odd)
    for name in ("pixels", "visibility", "confidence"):
        np.testing.assert_array_equal(getattr(joined, name), getattr(tracks, name)[:, [0, 2, 1]])
    np.testing.assert_array_equal(joined.query, [0, 0, 1])


def test_gaussians_are_labelled_by_their_pixels():
    scene = synthetic_scene(2, 4, 6)
    scene.frames[1].segments = np.arange(24, dtype=np.int32).reshape(4, 6)
    count = 3
    gaussians = Gaussians(
        np.zeros((count, 3), np.float32),
        np.ones((count, 3), np.float32),
        np.tile(np.array([1, 0, 0, 0], np.float32), (count, 1)),
        np.ones(count, np.float32),
        np.zeros((count, 3, 1), np.float32),
        np.array([1, 0, 1], np.int32),
        np.array([[5, 2], [0, 0], [1, 3]], np.int32),
    )
    assert gaussians.segments(scene.frames).tolist() == [17, -1, 19]
    chosen = gaussians.chosen(np.array([True, False, True]))
    assert len(chosen) == 2
    assert chosen.segments(scene.frames).tolist() == [17, 19]
