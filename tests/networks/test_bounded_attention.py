"""Attention without a running maximum, and the bound of scores that allows it."""

import math

import pytest
import torch
from torch import nn

from recon.networks.acceleration import FusedBlock
from recon.networks.layers import bounded_attention
from recon.networks.layers.rotary import grid_positions, rotary_angles, rotate
from recon.networks.layers.transformer import Block, attend

WIDTH = 64


def norm(seed: int, spread: float) -> nn.LayerNorm:
    random = torch.Generator().manual_seed(seed)
    layer = nn.LayerNorm(WIDTH)
    with torch.no_grad():
        layer.weight.copy_(1 + spread * torch.randn(WIDTH, generator=random))
        layer.bias.copy_(spread * torch.randn(WIDTH, generator=random))
    return layer


def scores(query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    """To the base 2, of queries and keys ``[N, heads, WIDTH]``."""
    return torch.einsum("qhc,khc->hqk", query, key) * bounded_attention.factor(WIDTH)


@pytest.mark.parametrize("spread", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_no_score_exceeds_the_bound(seed, spread):
    query_norm, key_norm = norm(seed, spread), norm(seed + 10, spread)
    random = torch.Generator().manual_seed(seed)
    angles = rotary_angles(grid_positions(8, 12, 4, torch.device("cpu")), WIDTH)
    count = 8 * 12 + 4
    for scale in (0.01, 1.0, 100.0):  # LayerNorm makes one length of all, but for its eps
        query, key = scale * torch.randn(2, 1, count, 4, WIDTH, generator=random)
        key[:, ::2] = query[:, ::2]  # those that are alike score highest
        query, key = (rotate(layer(part), angles)[0] for layer, part in ((query_norm, query), (key_norm, key)))
        bound = bounded_attention.largest_score(query_norm, key_norm)
        assert scores(query, key).abs().max() <= bound * (1 + 1e-6)  # without a spread it is reached


def test_the_bound_is_nearly_reached():
    query_norm, key_norm = norm(3, 0.5), norm(4, 0.5)
    with torch.no_grad():
        query_norm.bias.zero_()
        key_norm.bias.zero_()
    # All of a head's length in the channel that its weights favour most.
    pairs = (
        query_norm.weight.abs().unflatten(0, (2, 2, -1)).amax(1),
        key_norm.weight.abs().unflatten(0, (2, 2, -1)).amax(1),
    )
    best = (pairs[0] * pairs[1]).flatten().argmax().item()
    half, quarter = divmod(best, WIDTH // 4)
    channels = [half * (WIDTH // 2) + turn * (WIDTH // 4) + quarter for turn in (0, 1)]
    query, key = (torch.zeros(1, 1, WIDTH) for _ in range(2))
    channel_of = {}
    for name, layer, part in (("query", query_norm, query), ("key", key_norm, key)):
        channel_of[name] = max(channels, key=lambda channel: layer.weight[channel].abs().item())
        part[..., channel_of[name]] = 100.0
    query, key = query_norm(query), key_norm(key)
    # A quarter turn brings the one channel to the other, as positions may.
    if channel_of["query"] != channel_of["key"]:
        key = key[..., [i ^ (WIDTH // 4) for i in range(WIDTH)]]
    bound = bounded_attention.largest_score(query_norm, key_norm)
    assert 0.95 * bound < scores(query, key).abs().max() <= bound


def test_blocks_use_it_where_their_weights_allow_it():
    def block(weight: float, qk_norm: bool = True) -> Block:
        made = Block(2 * WIDTH, 2, nn.LayerNorm if qk_norm else None)
        if qk_norm:
            nn.init.constant_(made.attn.q_norm.weight, weight)
        return made

    assert FusedBlock(block(1.0), torch.float32, True).bounded
    assert not FusedBlock(block(1.0), torch.float32, False).bounded
    assert not FusedBlock(block(8.0), torch.float32, True).bounded  # 64 * 8 / 8 * log2(e) = 92
    assert not FusedBlock(block(1.0, qk_norm=False), torch.float32, True).bounded
    assert bounded_attention.largest_score(nn.Identity(), nn.Identity()) == math.inf


def attended(query, key, value, device="cpu", dtype=torch.float32):
    scaled = (query * bounded_attention.factor(WIDTH)).to(device, dtype)
    return bounded_attention.attend(scaled, key.to(device, dtype), value.to(device, dtype)).float().cpu()


def test_it_is_attention():
    query, key, value = torch.randn(3, 2, 37, 3, WIDTH, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(attended(query, key, value), attend(query, key, value), atol=1e-6, rtol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_what_is_out_of_range_is_no_number_if_it_is_checked():
    random = torch.Generator().manual_seed(0)
    query, key, value = torch.randn(3, 1, 500, 3, WIDTH, generator=random).to("cuda", torch.bfloat16)
    scaled = query * bounded_attention.factor(WIDTH)
    plain = bounded_attention.attend(scaled, key, value)
    assert torch.equal(bounded_attention.attend(scaled, key, value, check=True), plain)
    scaled[:, 7, 1] *= 100  # overflows
    key[:, :, 2] = scaled[:, 9:10, 2] * -100  # so that all exponentials of this query are 0
    found = bounded_attention.attend(scaled, key, value, check=True).unflatten(-1, (3, WIDTH)).isnan()
    assert found[0, 7, 1].all()
    assert found[0, 9, 2].all()
    assert not found[0, :, 0].any()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("count", [1, 63, 64, 65, 893, 3000])
@pytest.mark.parametrize("largest", [5.0, 70.0])
def test_it_is_attention_on_a_gpu_whatever_the_scores(count, largest):
    random = torch.Generator().manual_seed(count)
    query, key, value = torch.randn(3, 2, count, 3, WIDTH, generator=random).bfloat16().float()
    top = torch.einsum("bqhc,bkhc->bhqk", query, key).abs().max() * bounded_attention.factor(WIDTH)
    query = query * (largest / top)
    scaled = (query * bounded_attention.factor(WIDTH)).bfloat16().float() / bounded_attention.factor(WIDTH)
    error = attended(query, key, value, "cuda", torch.bfloat16) - attend(scaled, key, value)
    assert error.norm() < 0.01 * attend(scaled, key, value).norm()
