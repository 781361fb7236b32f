import numpy as np

from recon.models.keypoints import keypoints
from recon.scene import Camera, Frame


def tiles(height: int, width: int, size: int = 20) -> Frame:
    """Tiles of random grey: corners every ``size`` pixels."""
    grey = np.random.default_rng(0).integers(30, 220, (height // size + 1, width // size + 1), np.uint8)
    image = np.repeat(np.repeat(grey, size, 0), size, 1)[:height, :width, None].repeat(3, 2)
    ones = np.ones((height, width), np.float32)
    return Frame(np.ascontiguousarray(image), ones, ones.copy(), Camera(np.eye(3), np.eye(4)))


def test_keypoints_are_corners():
    found = keypoints(tiles(200, 300), 100)
    off = np.abs((found + 10) % 20 - 10)
    assert len(found) > 60
    assert (off < 3).all()


def test_keypoints_are_spread_over_the_frame():
    frame = tiles(200, 300, 10)
    frame.image[:, 100:] //= 8  # corners are much weaker there
    found = keypoints(frame, 60)
    assert 40 <= len(found) <= 60
    thirds = np.histogram(found[:, 0], [0, 100, 200, 300])[0]
    assert thirds.min() > 0.15 * len(found)


def test_keypoints_lie_where_depth_is_known():
    frame = tiles(200, 300, 10)
    frame.depth[:, :150] = 0
    found = keypoints(frame, 60)
    assert len(found) > 10
    assert (found[:, 0] > 150).all()


def test_keypoints_prefer_sure_depth():
    plain = keypoints(tiles(200, 300, 10), 30)
    doubted = tiles(200, 300, 10)
    doubted.confidence = np.random.default_rng(1).uniform(1, 9, (200, 300)).astype(np.float32)
    x, y = keypoints(doubted, 30).astype(int).T
    before_x, before_y = plain.astype(int).T
    assert doubted.confidence[y, x].mean() > doubted.confidence[before_y, before_x].mean() + 1


def test_a_blank_frame_has_none():
    frame = tiles(60, 80)
    frame.image[:] = 255
    assert keypoints(frame).shape == (0, 2)
