import numpy as np
import pytest

from recon import geometry
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
