"""Predictions of memory and time, held against what was measured."""

import pytest

from recon.models import curves
from recon.models.curves import MAPANYTHING, VGGT

HEIGHT, WIDTH, CHUNK = 336, 518, 8

# The published network with stand-in weights on one NVIDIA H200 with torch 2.11, dense heads 8 pictures at a time, as
# the app runs it: frames, height and width of the pictures, peak of tensors in GB (torch.cuda.max_memory_allocated),
# seconds of the pass and of one dense head.
H200 = [
    (1, 336, 518, 2.89, None, None),
    (2, 336, 518, 3.01, None, None),
    (4, 336, 518, 3.25, 0.033, 0.004),
    (8, 336, 518, 3.74, 0.048, 0.008),
    (20, 336, 518, 4.11, 0.144, 0.016),
    (50, 336, 518, 5.61, 0.581, 0.036),
    (100, 336, 518, 8.01, 1.937, 0.062),
    (200, 336, 518, 12.58, 6.883, 0.123),
    (1000, 336, 518, 44.93, 155.5, None),
    (1, 392, 518, 3.01, None, None),
    (8, 392, 518, 3.82, None, None),
    (20, 392, 518, 4.14, None, None),
    (50, 392, 518, 6.06, None, None),
    (8, 518, 518, 4.22, None, None),
]


@pytest.mark.parametrize(("frames", "height", "width", "gigabytes", "passing", "dense"), H200)
def test_a_gpu_takes_about_what_was_measured(frames, height, width, gigabytes, passing, dense):
    cost = curves.predict(VGGT, frames, height, width, "cuda", CHUNK)
    assert gigabytes <= cost.memory / 1e9 <= 1.15 * gigabytes
    if passing is not None:
        assert cost.encoding == pytest.approx(passing, rel=0.25)
    if dense is not None:
        assert cost.dense == pytest.approx(dense, rel=0.4)


# MapAnything with stand-in weights on one core of an AMD EPYC with AVX-512, torch 2.13, steps as the app runs them: the
# largest resident set in GB, seconds of the process in the pass and in the dense head.
CPU = [(1, 168, 518, 5.56, 13.9, 1.6), (2, 168, 518, 5.60, 25.8, 2.3), (3, 336, 518, 5.97, 86.4, 6.8)]


@pytest.mark.parametrize(("frames", "height", "width", "gigabytes", "passing", "dense"), CPU)
def test_a_cpu_takes_about_what_was_measured(frames, height, width, gigabytes, passing, dense):
    cost = curves.predict(MAPANYTHING, frames, height, width, "cpu", 1)
    assert cost.memory / 1e9 == pytest.approx(gigabytes, rel=0.02)
    assert cost.encoding == pytest.approx(passing, rel=0.1)
    assert cost.dense == pytest.approx(dense, rel=0.35)


@pytest.mark.parametrize("network", [VGGT, MAPANYTHING])
def test_all_that_a_run_takes_grows_with_it(network):
    for device in network.curves:
        costs = [curves.predict(network, frames, HEIGHT, WIDTH, device, 1) for frames in (1, 2, 20, 200, 1000)]
        assert [cost.memory for cost in costs] == sorted(cost.memory for cost in costs)
        assert [cost.encoding for cost in costs] == sorted(cost.encoding for cost in costs)
        assert costs[-1].encoding > 10 * costs[-2].encoding  # of pairs of tokens
        smaller = curves.predict(network, 20, HEIGHT // 2, WIDTH // 2, device, 1)
        assert smaller.memory < costs[2].memory
        assert smaller.encoding < costs[2].encoding / 3


def test_smaller_networks_take_less():
    for device in VGGT.curves:
        whole = curves.predict(VGGT, 4, HEIGHT, WIDTH, device, 1)
        half = curves.predict(VGGT, 4, HEIGHT, WIDTH, device, 1, VGGT.parameters // 2)
        saved = VGGT.parameters / 2 * VGGT.curves[device].weight
        assert saved < whole.memory - half.memory < 1.2 * saved
        assert half.encoding < whole.encoding


def test_cores_share_the_work():
    one, four = (curves.predict(VGGT, 4, HEIGHT, WIDTH, "cpu", 1, cores=cores) for cores in (1, 4))
    assert four.memory == one.memory
    assert four.dense == pytest.approx(one.dense / 4)
    assert VGGT.curves["cpu"].launch < four.encoding < one.encoding / 3


def test_small_chunks_save_memory():
    sizes = [curves.predict(VGGT, 8, HEIGHT, WIDTH, "cuda", chunk).memory for chunk in (8, 4, 2, 1)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > sizes[1]
