import errno
import tempfile

import numpy as np
import pytest

from recon.errors import InputError
from recon.models import spill
from recon.models.spill import Spill
from tests.helpers import synthetic_scene


def bytes_of(frame) -> int:
    return frame.image.nbytes + frame.depth.nbytes + frame.confidence.nbytes


def on_disk(array: np.ndarray) -> bool:
    while isinstance(array, np.ndarray):
        if isinstance(array, np.memmap):
            return True
        array = array.base
    return False


def test_within_the_budget_nothing_is_written():
    frames, keeper = synthetic_scene(4).frames, Spill(10**9)
    keeper.tend(frames, range(4))
    assert keeper.written == 0
    assert not any(on_disk(frame.depth) for frame in frames)


def test_the_older_half_goes_to_disk_and_stays_what_it_was():
    frames, before = synthetic_scene(8).frames, synthetic_scene(8).frames
    keeper = Spill(6 * bytes_of(frames[0]))
    for place in range(8):
        keeper.tend(frames, [place])
    assert [on_disk(frame.depth) for frame in frames] == [True] * 4 + [False] * 4
    for frame, other in zip(frames, before, strict=True):
        for name in ("image", "depth", "confidence"):
            array = getattr(frame, name)
            np.testing.assert_array_equal(array, getattr(other, name))
            assert array.dtype == getattr(other, name).dtype
            array[0, 0] = 1  # changes are possible, and are the frame's own
        assert frame.world_points().shape == other.world_points().shape


def test_frames_that_change_are_counted_anew():
    frames = synthetic_scene(8).frames
    keeper = Spill(6 * bytes_of(frames[0]))
    for place in range(8):
        keeper.tend(frames, [place])
    written = keeper.written
    fresh = synthetic_scene(8).frames
    frames[:4] = fresh[:4]
    keeper.tend(frames, range(4))
    assert keeper.written > written
    assert on_disk(frames[4].depth)  # these were the oldest then
    assert not on_disk(frames[3].depth)


def test_the_disk_has_its_room_back(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    frames = synthetic_scene(8).frames
    keeper = Spill(6 * bytes_of(frames[0]))
    for place in range(8):
        keeper.tend(frames, [place])
    assert keeper.written
    assert not list(tmp_path.iterdir())  # files without names


def test_a_full_disk_is_told_in_a_sentence(monkeypatch):
    def full(**_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(spill.tempfile, "TemporaryFile", full)
    frames = synthetic_scene(3).frames
    with pytest.raises(InputError, match="TMPDIR") as error:
        Spill(bytes_of(frames[0])).tend(frames, range(3))
    assert str(error.value).endswith(".")
    assert not on_disk(frames[0].depth)
