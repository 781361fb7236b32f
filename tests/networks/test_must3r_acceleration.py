"""The network that is fast on a GPU says what the plain one says; most of it can be seen on the CPU."""

import copy

import pytest
import torch

from recon.networks.must3r import Memory, Must3r
from recon.networks.must3r_acceleration import Accelerated, FusedMemoryBlock, accelerate
from tests.networks.small_must3r import stand_in_network
from tests.networks.stand_in import smooth_images

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def said(network: Must3r, device: str = "cpu") -> list[torch.Tensor]:
    """Maps of a world of two images, of one that is new to it, and of all rendered, and the memory's last layer."""
    with torch.inference_mode():
        encoded = network.encode(smooth_images(4, 48, 80)[0].to(device))
        (first,), seen = network.update([encoded[:2]])
        memory = Memory()
        memory.append(network.entries(seen))
        (new,), seen = network.update([encoded[2:3]], memory)
        memory.append(network.entries(seen))
        (more,), _ = network.update([encoded[2:4]], memory)
        return [first, new, more, network.render(encoded, memory), memory.layers[-1]]


def distances(one: list[torch.Tensor], other: list[torch.Tensor]) -> list[float]:
    pairs = zip(one, other, strict=True)
    return [float((a.double().cpu() - b.double().cpu()).norm() / b.double().cpu().norm()) for a, b in pairs]


@pytest.mark.parametrize("mode", ["kv", "norm_y", "raw"])
def test_in_float32_it_is_the_network_itself(mode):
    network = stand_in_network(mode)
    expected = said(network)
    assert max(distances(said(Accelerated(copy.deepcopy(network), torch.float32)), expected)) < 1e-6


@pytest.mark.parametrize("mode", ["kv", "norm_y", "raw"])
def test_half_precision_is_near_and_halves_the_memory(mode):
    network = stand_in_network(mode)
    fast = Accelerated(copy.deepcopy(network), torch.bfloat16)
    found, expected = said(fast), said(network)
    assert all(1e-6 < distance < 0.02 for distance in distances(found, expected))
    assert found[-1].nbytes * 2 == expected[-1].nbytes
    assert {maps.dtype for maps in found[:-1]} == {torch.float32}


def test_a_block_that_float16_cannot_hold_is_in_bfloat16():
    network = stand_in_network()
    with torch.no_grad():
        network.decoder.blocks()[1].mlp.fc1.weight *= 1e6
    kinds = [block.dtype for block in Accelerated(network, torch.bfloat16).decoder.blocks_dec]
    assert kinds == [torch.float16, torch.bfloat16, torch.float16]


def test_on_the_cpu_it_stays_as_it_is():
    network = stand_in_network()
    assert accelerate(network, torch.device("cpu")) is network
    assert not any(isinstance(block, FusedMemoryBlock) for block in network.decoder.blocks_dec)


@needs_gpu
def test_on_a_gpu_it_is_near():
    network = stand_in_network()
    expected = said(network)
    fast = accelerate(copy.deepcopy(network), torch.device("cuda"))
    for _ in range(3):  # as it is, recorded, replayed
        assert max(distances(said(fast, "cuda"), expected)) < 0.02
