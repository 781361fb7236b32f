"""A stream without end in sight: what a run holds has a bound, and the rest is on the disk."""

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch

from recon.models import CARDS
from recon.models.base import Options
from recon.models.must3r import Must3r
from recon.scene import View
from tests.networks.small_must3r import DECODER, ENCODER, save_checkpoint, tiny

MEGABYTE = 1 << 20
KEYFRAMES, HELD = 20, 4 * MEGABYTE


def stream(count: int) -> Iterator[View]:
    """Waves that move, ``count`` pictures of them."""
    y, x = np.mgrid[:48, :64] / 48
    for number in range(count):
        time = 0.07 * number
        waves = [np.sin(9 * x + 4 * y * c + time) * np.cos(11 * y - 3 * x * c + 0.3 * time + c) for c in range(3)]
        yield View((127 + 115 * np.stack(waves, -1)).astype(np.uint8), f"{number}", time=number / 30)


def resident() -> int:
    """Bytes of this process that lie in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def curve(folder: Path, count: int, points: int) -> list[tuple[int, int, int]]:
    """Frames so far, and the bytes that the process and its shared and private maps hold then."""
    torch.set_num_threads(1)
    path = save_checkpoint(folder / "MUSt3R.pth", tiny(ENCODER), tiny(DECODER))
    model = Must3r(CARDS["must3r"], torch.device("cpu"), path)
    model.spilling = HELD
    measured = []
    with closing(model.stream(stream(count), Options(keyframes=KEYFRAMES))) as updates:
        for update in updates:
            done = len(update.scene.frames)
            if update.changed and done % (count // points) == 0:
                on_disk = sum(1 for frame in update.scene.frames if frame.depth.base is not None)
                measured.append((done, resident(), on_disk))
    assert len(update.scene.frames) == count
    assert len(update.scene.settings["keyframe_views"]) > 2 * KEYFRAMES
    assert update.scene.notes == []
    return measured


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux to say what lies in memory")
def test_memory_stops_growing_once_its_bound_is_reached(tmp_path):
    measured = curve(tmp_path, 400, 4)
    bytes_of_maps = 200 * 48 * 64 * 11  # of the second half of the frames
    assert measured[-1][1] - measured[1][1] < 0.5 * bytes_of_maps
    assert measured[-1][2] > 200


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux to say what lies in memory")
def test_ten_thousand_frames_take_constant_memory(tmp_path, capsys):
    measured = curve(tmp_path, 10_000, 20)
    with capsys.disabled():
        print()
        for done, memory, on_disk in measured:
            print(f"{done:6d} frames, {on_disk:6d} of them on the disk: {memory / MEGABYTE:6.1f} MiB")
    settled = [memory for done, memory, _ in measured if done >= 2000]
    assert settled[-1] - settled[0] < 30 * MEGABYTE  # of maps it would be 258 MiB; names, cameras and the like grow on
