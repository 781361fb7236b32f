import colorsys

import numpy as np
import pytest

from demo.trails import LONG_SIDE, MAXIMUM_TRACKS, NUMBERED, colours, colours_of, trails
from recon.scene import Camera, Frame, Tracks

GREY = 100


def frames(count: int, height: int = 60, width: int = 120) -> list[Frame]:
    """Plain grey photos."""
    image, flat = np.full((height, width, 3), GREY, np.uint8), np.ones((height, width), np.float32)
    return [Frame(image, flat, flat, Camera(np.eye(3), np.eye(4))) for _ in range(count)]


def tracks(pixels: list[list[tuple[float, float]]], visibility: float = 1, confidence: float = 1) -> Tracks:
    """Through as many frames as there are lists, all begun in the first."""
    places = np.array(pixels, np.float32)
    shape = places.shape[:2]
    return Tracks(
        places,
        np.full(shape, visibility, np.float32),
        np.full(shape, confidence, np.float32),
        np.zeros(shape[1], np.int32),
    )


def coloured(picture: np.ndarray) -> np.ndarray:
    """``[H,W] bool``: what is neither photo nor white nor dark."""
    return picture.max(-1).astype(int) - picture.min(-1) > 60


def test_colours_tell_left_from_right_and_high_from_low() -> None:
    places = np.array([[0, 60], [60, 60], [120, 60], [0, 0]])
    hsv = [colorsys.rgb_to_hsv(*(colour / 255)) for colour in colours(places, (120, 60))]
    np.testing.assert_allclose([360 * hue for hue, _, _ in hsv], [0, 150, 300, 0], atol=1)
    np.testing.assert_allclose([saturation for _, saturation, _ in hsv], [1, 1, 1, 0.55], atol=0.01)
    assert {value for _, _, value in hsv} == {1}


def test_a_track_keeps_the_colour_of_where_it_began() -> None:
    some = tracks([[(10, 10), (100, 30)], [(90, 10), (20, 30)]])
    some.query[1] = 1
    expected = colours(np.array([[10, 10], [20, 30]]), (120, 60))
    np.testing.assert_array_equal(colours_of(some, frames(2)), expected)


def test_a_seen_point_is_a_disc_of_its_colour_at_its_place() -> None:
    picture = trails(tracks([[(30, 20)]]), frames(1), 0)
    assert picture.shape == (LONG_SIDE // 2, LONG_SIDE, 3)
    y, x = np.nonzero(coloured(picture))
    np.testing.assert_allclose([x.mean() + 0.5, y.mean() + 0.5], [4 * 30, 4 * 20], atol=0.6)
    np.testing.assert_array_equal(picture[80, 120], colours(np.array([[30, 20]]), (120, 60))[0])


@pytest.mark.parametrize(("visibility", "confidence"), [(0, 1), (1, 0)])
def test_a_hidden_or_uncertain_point_is_a_dim_ring(visibility: float, confidence: float) -> None:
    hidden = trails(tracks([[(30, 20)]], visibility, confidence), frames(1), 0)
    seen = trails(tracks([[(30, 20)]]), frames(1), 0)
    assert hidden[80, 120].tolist() == seen[0, 0].tolist(), "one sees the photo through it"
    assert coloured(hidden).any()
    assert hidden.max() < seen.max()


def test_a_tail_shows_where_the_point_came_from_and_fades() -> None:
    moving = tracks([[(x, 30)] for x in (10, 30, 50, 70)])
    pictures = [trails(moving, frames(4), i) for i in range(4)]
    assert not coloured(pictures[0])[:, 60:].any()
    row = pictures[3][120, 45:265].astype(int)
    strength = row.max(-1) - row.min(-1)
    assert strength[170:210].mean() > strength[90:130].mean() > strength[10:50].mean() > 10


def test_a_tail_has_a_gap_where_the_point_was_hidden_and_none_leads_out_of_the_picture() -> None:
    hidden = tracks([[(10, 30), (110, 30)], [(50, 30), (115, 30)], [(90, 30), (140, 30)]])
    hidden.visibility[1, 0] = 0
    picture = trails(hidden, frames(3), 2)
    assert not coloured(picture)[:, 60:320].any()
    assert not coloured(picture)[:, 400:].any()


def test_few_points_are_numbered_and_many_are_not() -> None:
    few = trails(tracks([[(60, 30)]]), frames(1), 0)
    many = trails(tracks([[(60, 30)] * (NUMBERED + 1)]), frames(1), 0)
    beside = (slice(95, 125), slice(250, 262))
    assert few[beside].max() > 240
    assert many[beside].max() < GREY


def test_of_very_many_points_an_even_selection_is_drawn() -> None:
    places = [(x, y) for y in np.linspace(2, 58, 35).tolist() for x in np.linspace(2, 118, 73).tolist()]
    assert len(places) > 4 * MAXIMUM_TRACKS
    drawn = coloured(trails(tracks([places]), frames(1), 0))
    discs = drawn[:120, :240], drawn[:120, 240:], drawn[120:, :240], drawn[120:, 240:]
    assert all(0.05 < quarter.mean() < 0.5 for quarter in discs)


def test_frames_of_other_sizes_and_wild_places_are_drawn_all_the_same() -> None:
    wild = tracks([[(50, 30), (1e9, -1e9), (20, 5), (9, 9)], [(25, 15), (3, 3), (np.inf, 5), (np.nan, 5)]])
    mixed = [*frames(1), *frames(1, 30, 60)]
    picture = trails(wild, mixed, 1)
    assert coloured(picture)[120, 200]
    assert trails(wild, mixed, 0).shape == picture.shape


def test_the_photo_itself_is_left_as_it_was() -> None:
    photo = frames(1)
    trails(tracks([[(30, 20)]]), photo, 0)
    assert (photo[0].image == GREY).all()
