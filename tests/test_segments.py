import numpy as np
import pytest

from recon.models.siu3r_fitting import fit
from recon.segments import at_original
from tests.helpers import synthetic_scene


def test_segments_lie_in_the_photo_where_the_frame_shows_them():
    width, height = 900, 600
    fitted = fit(np.zeros((height, width, 3), np.uint8), 64)
    frame = synthetic_scene(1, 64, 64).frames[0]
    frame.original_size, frame.original_from_processed = (width, height), fitted.original_from_processed
    frame.segments = np.full((64, 64), 3, np.int32)
    frame.segments[:, 32:], frame.segments[:16] = 7, -1
    found = at_original(frame)
    assert found.shape == (height, width)
    assert (found[:, :145] == -1).all()  # outside of the square
    assert (found[:, 755:] == -1).all()
    assert (found[:145] == -1).all()
    assert (found[155:, 155:445] == 3).all()
    assert (found[155:, 455:745] == 7).all()


def test_edges_are_smoother_than_pixels_and_no_other_ids_come_of_them():
    frame = synthetic_scene(1, 32, 32).frames[0]
    frame.original_size, frame.original_from_processed = (320, 320), np.diag([10, 10, 1]).astype(np.float32)
    y, x = np.mgrid[:32, :32]
    frame.segments = np.where(x > y, 5, 40).astype(np.int32)
    found = at_original(frame)
    assert set(np.unique(found)) == {5, 40}
    edge = np.argmax(found == 5, axis=1)[20:280]
    assert np.abs(np.diff(edge)).max() <= 5  # pixels of the photo, of which one of the frame has ten
    frame.segments = None
    with pytest.raises(ValueError, match="no segments"):
        at_original(frame)
