import torch
from torch import nn

from recon.networks.layers.convolution import ResidualUnit
from recon.networks.layers.dpt import Dpt, positions
from recon.networks.layers.rotary import grid_positions, rotary_angles, rotate
from recon.networks.layers.transformer import Attention, Block
from recon.networks.layers.vision_transformer import PatchEmbed


def test_positions_run_row_by_row_after_the_special_tokens():
    positions = grid_positions(2, 3, special=1)
    assert positions.tolist() == [[0, 0], [1, 1], [1, 2], [1, 3], [2, 1], [2, 2], [2, 3]]


def test_rotation_leaves_special_tokens_and_lengths_alone():
    heads = torch.randn(1, 7, 2, 16, generator=torch.Generator().manual_seed(0))
    turned = rotate(heads, rotary_angles(grid_positions(2, 3, special=1), 16))
    torch.testing.assert_close(turned[:, 0], heads[:, 0])
    torch.testing.assert_close(turned.norm(dim=-1), heads.norm(dim=-1))
    assert not torch.allclose(turned[:, 1:], heads[:, 1:])


def test_rotated_products_depend_on_the_offset_alone():
    query, key = torch.randn(2, 1, 1, 1, 32, generator=torch.Generator().manual_seed(1))

    def product(query_at: list[int], key_at: list[int]) -> float:
        at = [rotary_angles(torch.tensor([position]), 32) for position in (query_at, key_at)]
        return float((rotate(query, at[0]) * rotate(key, at[1])).sum())

    assert abs(product([3, 5], [1, 2]) - product([12, 4], [10, 1])) < 1e-4
    assert abs(product([3, 5], [1, 2]) - product([3, 5], [2, 1])) > 1e-3


def test_each_half_of_a_head_turns_with_its_own_axis():
    heads = torch.ones(1, 1, 1, 16)
    along_x = rotate(heads, rotary_angles(torch.tensor([[0, 4]]), 16))
    torch.testing.assert_close(along_x[..., :8], heads[..., :8])
    assert not torch.allclose(along_x[..., 8:], heads[..., 8:])


def test_attention_follows_a_permutation_of_its_tokens():
    torch.manual_seed(0)
    attention = Attention(24, 3, qk_norm=nn.LayerNorm)
    tokens, order = torch.randn(2, 5, 24), torch.randperm(5)
    torch.testing.assert_close(attention(tokens)[:, order], attention(tokens[:, order]))


def test_query_key_norm_makes_the_scale_of_queries_irrelevant():
    torch.manual_seed(0)
    attention, tokens = Attention(24, 3, qk_norm=nn.RMSNorm), torch.randn(1, 5, 24)
    before = attention(tokens)
    with torch.no_grad():
        attention.qkv.weight[:48] *= 7
        attention.qkv.bias[:48] *= 7
    torch.testing.assert_close(attention(tokens), before, rtol=1e-4, atol=1e-5)


def test_a_block_of_scale_nought_is_the_identity():
    tokens = torch.randn(1, 5, 24)
    torch.testing.assert_close(Block(24, 3, layer_scale=0.0)(tokens), tokens)


def test_a_fresh_residual_unit_is_the_identity():
    maps = torch.randn(1, 4, 6, 5)
    torch.testing.assert_close(ResidualUnit(4, nn.ReLU())(maps), maps)


def test_a_fresh_activated_unit_is_its_activation():
    maps = torch.randn(1, 4, 6, 5)
    torch.testing.assert_close(ResidualUnit(4, nn.ReLU(), add_activated=True)(maps), maps.relu())


def test_a_block_without_layer_scale_has_no_weights_for_it():
    assert not any("ls" in name for name in Block(24, 3, layer_scale=None).state_dict())


def test_a_dense_head_gives_the_size_of_the_image_or_a_part_of_it():
    layers = [torch.randn(2, 3 * 5, 24) for _ in range(4)]
    assert Dpt(24, (8, 8, 16, 16), 16, output=3)(layers, 42, 70).shape == (2, 3, 42, 70)
    assert Dpt(24, (8, 8, 16, 16), 16, down_ratio=2)(layers, 42, 70).shape == (2, 16, 21, 35)


def test_positions_tell_all_pixels_of_a_map_apart():
    maps = positions(1.4, 5, 7, 16, torch.float32, torch.device("cpu"))
    codes = maps[0].flatten(1).T
    assert torch.cdist(codes, codes)[~torch.eye(35, dtype=torch.bool)].min() > 1e-3
    torch.testing.assert_close(maps[:, :8, 0], maps[:, :8, 4])  # the first half of the channels does not tell y
    torch.testing.assert_close(maps[:, 8:, :, 0], maps[:, 8:, :, 6])  # nor the second x


def test_tokens_of_patches_lie_together():
    """Kernels for GPUs count on it."""
    tokens = PatchEmbed(4, 6)(torch.rand(2, 3, 8, 12))
    assert tokens.shape == (2, 6, 6)
    assert tokens.is_contiguous()
