"""The network that is fast on a GPU says what the plain one says; most of it can be seen on the CPU."""

import copy
import logging
from dataclasses import replace

import pytest
import torch

from recon.bench.kinds import vggt_outputs
from recon.bench.network import deviations
from recon.bench.stand_ins import fill_in
from recon.networks import acceleration, recording
from recon.networks.acceleration import FusedBlock
from recon.networks.vggt import VGGT
from recon.networks.vggt_acceleration import Accelerated, accelerate
from recon.networks.vggt_configuration import AlternatingAttention, PatchEncoder
from tests.networks.small_vggt import configuration
from tests.networks.stand_in import smooth_images

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
QUERIES = torch.tensor([[[20.0, 30.0], [40.5, 10.25]]])


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def network() -> VGGT:
    """With heads of 64 channels, as the published network has and `bounded_attention` wants."""
    made = VGGT(
        replace(
            configuration(),
            embed_dim=128,
            patch_embed=PatchEncoder(depth=1, num_heads=2),
            aggregator=AlternatingAttention(depth=2, num_heads=2),
        )
    )
    fill_in(made)
    return made.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def images():
    return torch.cat([smooth_images(3, 56, 70), smooth_images(3, 56, 70).flip(1)])


@pytest.fixture(scope="module")
def expected(network, images):
    with torch.inference_mode():
        return network(images, QUERIES.expand(2, -1, -1))


def accelerated(network, dtype=torch.float32, bounded=False, dense=torch.float32) -> Accelerated:
    return Accelerated(copy.deepcopy(network), dtype, bounded, dense)


def beyond_float16(network: VGGT) -> VGGT:
    """The network, with maps in its depth head of up to a million."""
    large = copy.deepcopy(network)
    head = large.depth_head
    for part, factor in (
        (head.projects[0], 300),
        (head.scratch.layer1_rn, 300),
        (head.scratch.output_conv1, 1 / 300),
        (head.scratch.output_conv2[0], 1 / 300),
    ):
        part.weight *= factor
    return large


def distances(prediction, exact) -> dict[str, float]:
    return deviations(vggt_outputs(prediction), vggt_outputs(exact))


@pytest.mark.parametrize("bounded", [False, True])
def test_in_float32_it_is_the_network_itself(network, images, expected, bounded):
    fast = accelerated(network, bounded=bounded)
    blocks = [block for block in fast.modules() if isinstance(block, FusedBlock)]
    assert sum(block.bounded for block in blocks) == (4 if bounded else 0)  # the patch encoder norms no queries
    with torch.inference_mode():
        said = fast(images, QUERIES.expand(2, -1, -1), chunk=2)
    assert max(distances(said, expected).values()) < 1e-6
    torch.testing.assert_close(said.tracking.pixels[-1], expected.tracking.pixels[-1], atol=0.01, rtol=0)


@pytest.mark.parametrize("rows", [1, 60, 1 << 16])
def test_rows_may_be_worked_on_a_part_at_a_time(network, images, expected, monkeypatch, rows):
    monkeypatch.setattr(acceleration, "ROWS", rows)
    with torch.inference_mode():
        said = accelerated(network)(images, chunk=1)
    assert max(distances(said, expected).values()) < 1e-6


def test_blocks_may_take_turns_in_another_order_than_the_networks(network):
    """A block leaves the norm that the next one begins with, which is of no use to any other."""
    tokens = torch.randn(2, 20, 128, generator=torch.Generator().manual_seed(0))
    plain, fast = network.aggregator, accelerated(network).aggregator
    for kinds, turns in ((("frame_blocks", "global_blocks"), (0, 0)), (("frame_blocks", "frame_blocks"), (0, 1))):
        first, then = (getattr(plain, kind)[index] for kind, index in zip(kinds, turns, strict=True))
        quick, after = (getattr(fast, kind)[index] for kind, index in zip(kinds, turns, strict=True))
        with torch.inference_mode():
            torch.testing.assert_close(after(quick(tokens)), then(first(tokens)), atol=1e-5, rtol=1e-5)


def test_half_precision_is_near(network, images, expected):
    with torch.inference_mode():
        said = accelerated(network, torch.bfloat16, True, torch.float16)(images)
    found = distances(said, expected)
    assert set(found) == set(vggt_outputs(expected))
    assert all(1e-6 < distance < 0.02 for distance in found.values()), found
    assert {values.dtype for values in vggt_outputs(said).values()} == {torch.float32}


def test_blocks_are_in_float16_where_it_holds_them(network):
    fits = copy.deepcopy(network.aggregator.global_blocks[0])
    exceeds = copy.deepcopy(fits)
    exceeds.mlp.fc1.weight *= 1e4
    assert FusedBlock(fits, torch.bfloat16, False).mlp.fc1.weight.dtype == torch.float16
    assert FusedBlock(exceeds, torch.bfloat16, False).mlp.fc1.weight.dtype == torch.bfloat16
    assert accelerated(network).aggregator.global_blocks[0].mlp.fc1.weight.dtype == torch.float32


def test_the_bound_by_which_float16_holds_a_block_holds(network):
    block = copy.deepcopy(network.aggregator.frame_blocks[1])
    while acceleration.fits_float16(block):
        block.mlp.fc1.weight *= 1.25
    block.mlp.fc1.weight /= 1.25  # it just fits
    made: list[float] = []
    for part in (block.attn.qkv, block.attn.proj, block.mlp.fc1, block.mlp.fc2):
        part.register_forward_hook(lambda *each: made.append(each[2].abs().max().item()))
    random = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        for scale in (1e-3, 1.0, 1e4):
            block(scale * torch.randn(1, 40, 128, generator=random))
    assert 100 < max(made) < torch.finfo(torch.float16).max / 2


def test_a_dense_head_in_half_precision_keeps_its_last_convolution(network):
    head = accelerated(network, dense=torch.float16).depth_head
    last = head.scratch.output_conv2[-1]
    for name, weight in head.named_parameters():
        if weight.dim() == 4:
            exact = any(weight is each for each in last.parameters())
            assert weight.dtype == (torch.float32 if exact else torch.float16), name
            assert weight.is_contiguous(memory_format=torch.channels_last), name


def test_a_dense_head_that_float16_cannot_hold_goes_on_in_float32(network, images, caplog):
    large = beyond_float16(network)
    with torch.inference_mode(), caplog.at_level(logging.WARNING):
        exact = large(images)
        said = accelerated(large, dense=torch.float16)(images, chunk=2)
    assert "float16" in caplog.text
    found = distances(said, exact)
    assert found["depth"] < 0.01
    assert found["points"] > 1e-6  # the other head stays as it was


def test_without_a_gpu_nothing_is_recorded_and_nothing_changed(network, images):
    fast = accelerated(network)
    with torch.inference_mode():
        first, second = fast(images[:1]), fast(images[:1])
    assert not len(fast._recorded)
    assert max(distances(first, second).values()) == 0
    assert accelerate(network, torch.device("cpu")) is network


# --- on a GPU --------------------------------------------------------------------------------------------------------


@needs_gpu
@pytest.mark.parametrize("queries", [False, True])
def test_on_a_gpu_it_is_near_however_often_it_is_called(network, images, expected, queries):
    fast = accelerate(copy.deepcopy(network), torch.device("cuda"))
    with torch.inference_mode():
        asked = QUERIES.expand(2, -1, -1).cuda() if queries else None
        said = [fast(images.cuda(), asked) for _ in range(4)]  # launches are recorded at the second call
    assert len(fast._recorded) == (0 if queries else 1)
    for each in said:
        found = distances(each, expected)
        assert all(distance < 0.02 for distance in found.values()), found


@needs_gpu
def test_on_a_gpu_results_are_their_callers(network, images):
    fast = accelerate(copy.deepcopy(network), torch.device("cuda"))
    first, second = images[:1].cuda(), images[1:].cuda()
    with torch.inference_mode():
        eager = fast(first), fast(second)
        recorded = fast(first)
        kept = copy.deepcopy(recorded.depth)
        other = fast(second)
        torch.testing.assert_close(recorded.depth, kept, atol=0, rtol=0)
        for one, two in zip((recorded, other), eager, strict=True):
            torch.testing.assert_close(one.depth, two.depth, atol=1e-3, rtol=1e-2)
            torch.testing.assert_close(one.cameras[-1], two.cameras[-1], atol=1e-3, rtol=1e-2)
        for size in range(1, 9):  # more sizes than graphs are kept
            for _ in range(3):
                small = fast(first[:, :1, :, : 14 * min(size, 4), : 14 * size])
                assert small.depth.isfinite().all()
    assert len(fast._recorded) <= recording.GRAPHS


@needs_gpu
def test_on_a_gpu_progress_is_told_and_may_stop(network, images):
    class Enough(Exception):
        pass

    fast = accelerate(copy.deepcopy(network), torch.device("cuda"))
    told: list[float] = []
    with torch.inference_mode():
        fast.encode(images.cuda(), told.append)
        assert told == sorted(told)
        assert 0 < told[0] < told[-1] <= 1

        def stop(fraction):
            raise Enough

        with pytest.raises(Enough):
            fast.encode(images.cuda(), stop)
        assert fast(images.cuda()).depth.isfinite().all()


@needs_gpu
def test_on_a_gpu_a_dense_head_that_float16_cannot_hold_goes_on_in_float32(network, images):
    large = beyond_float16(network)
    with torch.inference_mode():
        exact = large(images)
        fast = accelerate(copy.deepcopy(large), torch.device("cuda"))
        for _ in range(3):
            assert distances(fast(images.cuda()), exact)["depth"] < 0.02
