"""DUSt3R as it runs on a GPU, in any precision and wherever it can be tried."""

import copy
from itertools import permutations

import pytest
import torch

from recon.networks.dust3r import Dust3r
from recon.networks.dust3r_acceleration import Accelerated, FusedDecoderBlock, accelerate, decoder_fits_float16
from recon.networks.layers.decoder import DecoderBlock
from recon.networks.layers.rotary import grid_positions, rotary_angles
from tests.networks.small_dust3r import stand_in_network
from tests.networks.stand_in import smooth_images

EXACT = torch.float32


@pytest.fixture(scope="module", params=["dpt", "linear"])
def network(request) -> Dust3r:
    torch.set_num_threads(1)
    return stand_in_network(request.param)


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return smooth_images(3, 48, 80)[0]


def relative(found: torch.Tensor, exact: torch.Tensor) -> float:
    return float((found.double() - exact.double()).norm() / exact.double().norm())


def both(network: Dust3r, first: torch.Tensor, second: torch.Tensor) -> list[torch.Tensor]:
    with torch.inference_mode():
        one, two = network(first, second)
    return [one.points, one.confidence, two.points, two.confidence]


@pytest.mark.parametrize("size", [(48, 80), (32, 64)])
def test_without_rounding_it_says_the_same(network, images, size):
    fast = Accelerated(copy.deepcopy(network), EXACT, EXACT)
    other = smooth_images(2, *size)[0]
    for found, exact in zip(both(fast, images[:2], other), both(network, images[:2], other), strict=True):
        assert relative(found, exact) < 1e-5


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_rounding_stays_small_and_what_comes_out_is_float32(network, images, dtype):
    fast = Accelerated(copy.deepcopy(network), dtype)
    assert fast.dec_blocks[0].dtype == torch.float16  # these weights allow it, and it is finer
    for found, exact in zip(both(fast, images[:2], images[1:]), both(network, images[:2], images[1:]), strict=True):
        assert found.dtype == torch.float32
        assert 1e-6 < relative(found, exact) < 5e-3


def test_pairs_of_prepared_views_say_what_pairs_of_pictures_say(network, images):
    fast = Accelerated(copy.deepcopy(network), EXACT, EXACT)
    pairs = list(permutations(range(3), 2))
    with torch.inference_mode():
        views = fast.encode(images)
        for numbers, first, second in fast.decode_pairs([views[i : i + 1] for i in range(3)], pairs, 4):
            for place, number in enumerate(numbers):
                i, j = pairs[number]
                one, _, two, _ = both(network, images[i : i + 1], images[j : j + 1])
                assert relative(first.points[place], one[0]) < 1e-5
                assert relative(second.points[place], two[0]) < 1e-5


def test_progress_is_told(network, images):
    fast = Accelerated(copy.deepcopy(network), EXACT)
    told: list[float] = []
    with torch.inference_mode():
        views = fast.encode(images, told.append)
        assert told[-1] == 1
        fast.decode(views[:1], views[1:2], told.append)
    assert told[1:] == [level / 10 for level in range(1, 11)]


def test_a_head_that_leaves_the_range_of_float16_goes_on_in_float32(images, caplog):
    network = stand_in_network()
    with torch.no_grad():
        network.downstream_head1.dpt.scratch.refinenet1.out_conv.weight *= 3e4
        network.downstream_head1.dpt.scratch.refinenet2.out_conv.weight *= 30
        network.downstream_head1.dpt.head[4].weight /= 1e6
    fast = Accelerated(copy.deepcopy(network), EXACT)
    with torch.inference_mode():
        views = fast.encode(images)
        for _ in range(2):
            one, two = fast.decode(views[:1], views[1:2])
            exact = both(network, images[:1], images[1:2])
            assert relative(one.points, exact[0]) < 5e-3
            assert relative(two.points, exact[2]) < 5e-3
    assert caplog.text.count("leaves the range") == 1
    assert fast.downstream_head1.dpt.dtype == torch.float32
    assert fast.downstream_head2.dpt.dtype == torch.float16


def test_blocks_whose_weights_are_large_keep_what_they_are_told():
    block = DecoderBlock(32, 2).eval()
    assert decoder_fits_float16(block)
    with torch.no_grad():
        block.cross_attn.projv.weight *= 1e6
    assert not decoder_fits_float16(block)
    assert FusedDecoderBlock(copy.deepcopy(block), torch.bfloat16).dtype == torch.bfloat16
    assert FusedDecoderBlock(copy.deepcopy(block), torch.float32).dtype == torch.float32


@pytest.mark.parametrize("others", [12, 20])
def test_a_block_leaves_what_it_is_given_as_it_was(others):
    block = FusedDecoderBlock(DecoderBlock(32, 2).eval(), EXACT)
    tokens, memory = torch.randn(2, 12, 32), torch.randn(2, others, 32)
    before = tokens.clone(), memory.clone()
    own = rotary_angles(grid_positions(3, 4), 16)
    other = own if others == 12 else rotary_angles(grid_positions(4, 5), 16)
    with torch.inference_mode():
        block(tokens, memory, own, other)
    assert torch.equal(tokens, before[0])
    assert torch.equal(memory, before[1])


def test_on_a_cpu_nothing_is_changed(network):
    assert type(accelerate(network, torch.device("cpu"))) is Dust3r


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_says_about_the_same(network, images):
    fast = accelerate(copy.deepcopy(network), torch.device("cuda"))
    for other in (images[1:2], smooth_images(1, 32, 64)[0]):
        exact = both(network, images[:1], other)
        for found, expected in zip(both(fast, images[:1].cuda(), other.cuda()), exact, strict=True):
            assert relative(found.cpu(), expected) < 5e-3
