"""Predictions of memory and time, held against what was measured."""

import pytest

from recon.models import curves

HEIGHT, WIDTH, CHUNK = 336, 518, 4

# The published network with stand-in weights on one NVIDIA H200 with torch 2.11, pictures of 336 x 518, dense heads 4
# pictures at a time: frames, peak of tensors in GB (torch.cuda.max_memory_allocated), seconds of the pass and of one
# dense head.
H200 = [
    (1, 3.26, None, None),
    (2, 3.40, None, None),
    (4, 3.66, None, None),
    (8, 3.81, None, None),
    (10, 3.88, 0.060, 0.012),
    (20, 4.27, 0.141, 0.024),
    (50, 5.97, 0.565, 0.059),
    (100, 8.37, 1.889, 0.118),
]


@pytest.mark.parametrize(("frames", "gigabytes", "passing", "dense"), H200)
def test_a_gpu_takes_about_what_was_measured(frames, gigabytes, passing, dense):
    cost = curves.predict(frames, HEIGHT, WIDTH, "cuda", CHUNK)
    assert gigabytes <= cost.memory / 1e9 <= 1.15 * gigabytes
    if passing is not None:
        assert cost.encoding == pytest.approx(passing, rel=0.25)
        assert 0.5 * dense < cost.dense < 2.5 * dense


def test_all_that_a_run_takes_grows_with_it():
    for device in curves.CURVES:
        costs = [curves.predict(frames, HEIGHT, WIDTH, device, 1) for frames in (1, 2, 20, 200, 1000)]
        assert [cost.memory for cost in costs] == sorted(cost.memory for cost in costs)
        assert [cost.encoding for cost in costs] == sorted(cost.encoding for cost in costs)
        assert costs[-1].encoding > 10 * costs[-2].encoding  # of pairs of tokens
        smaller = curves.predict(20, HEIGHT // 2, WIDTH // 2, device, 1)
        assert smaller.memory < costs[2].memory
        assert smaller.encoding < costs[2].encoding / 3


def test_smaller_networks_take_less():
    for device in curves.CURVES:
        whole = curves.predict(4, HEIGHT, WIDTH, device, 1)
        half = curves.predict(4, HEIGHT, WIDTH, device, 1, curves.PUBLISHED // 2)
        saved = curves.PUBLISHED / 2 * curves.CURVES[device].weight
        assert saved < whole.memory - half.memory < 1.2 * saved
        assert half.encoding < whole.encoding


def test_cores_share_the_work():
    one, four = (curves.predict(4, HEIGHT, WIDTH, "cpu", 1, cores=cores) for cores in (1, 4))
    assert four.memory == one.memory
    assert four.dense == pytest.approx(one.dense / 4)
    assert curves.CURVES["cpu"].launch < four.encoding < one.encoding / 3


def test_small_chunks_save_memory():
    sizes = [curves.predict(8, HEIGHT, WIDTH, "cuda", chunk).memory for chunk in (8, 4, 2, 1)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > sizes[1]
