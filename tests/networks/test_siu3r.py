import math

import pytest
import torch
from torch import Tensor

from recon.errors import InputError
from recon.networks.layers.deformable import DeformableAttention, cell_centres, sampled
from recon.networks.siu3r import Configuration, Siu3r, read_configuration
from recon.networks.siu3r_configuration import Adapter, Croco
from recon.networks.siu3r_gaussians import covariances, damping
from recon.networks.siu3r_query_decoder import outside
from tests.networks.small_siu3r import stand_in_network
from tests.networks.stand_in import smooth_images
from tests.parity import RECORDINGS, Recording, described_in, replay
from tests.parity_networks import Run

FOLDER = RECORDINGS / "siu3r"
LENS = torch.tensor([[1.2, 0, 0.5], [0, 1.2, 0.5], [0, 0, 1]])


def lines(config: str, recording: str):
    described = described_in(FOLDER / f"{config}.json.gz")
    return list(replay("siu3r", Recording(FOLDER / f"{recording}.npz"), Run(described["config"], described["keys"])))


def predict(network: Siu3r, images: Tensor):
    with torch.inference_mode():
        return network(images, LENS.expand(*images.shape[:2], 3, 3))


@pytest.mark.parametrize("name", ["manifest", "small"])
def test_has_the_keys_and_shapes_of_the_checkpoint(name):
    described = described_in(FOLDER / f"{name}.json.gz")
    with torch.device("meta"):
        network = Siu3r(read_configuration(described["config"]))
    shapes = {f"model.{key}": list(tensor.shape) for key, tensor in network.state_dict().items()}
    assert shapes == {key: value["shape"] for key, value in described["keys"].items()}


def test_what_is_not_said_is_as_published():
    published = read_configuration(described_in(FOLDER / "manifest.json.gz")["config"])
    assert published.taps == Configuration().taps == published.dpt.hooks[1:]
    assert read_configuration({}) == Configuration()


def test_gives_the_numbers_of_its_reference():
    wrong = [str(line) for line in lines("small", "small") if line.verdict != "ok"]
    assert not wrong, "\n".join(wrong)


@pytest.mark.slow
def test_of_the_published_size_gives_the_numbers_of_its_reference():
    wrong = [str(line) for line in lines("manifest", "full") if line.verdict != "ok"]
    assert not wrong, "\n".join(wrong)


def test_for_many_views_is_the_same_for_two():
    images = smooth_images(2, 64, 96)
    two, many = predict(stand_in_network(), images), predict(stand_in_network(multiple=True), images)
    assert torch.equal(two.gaussians.means, many.gaussians.means)
    assert torch.equal(two.masks, many.masks)


def test_takes_a_batch_and_any_size():
    network = stand_in_network()
    images = torch.stack([smooth_images(2, 96, 64)[0], smooth_images(3, 96, 64)[0, 1:].flip(0)])
    both, alone = predict(network, images), predict(network, images[1:])
    assert both.gaussians.harmonics.shape == (2, 2, 96, 64, 3, 25)
    assert both.masks.shape == (2, 12, 2, 24, 16)
    torch.testing.assert_close(both.gaussians.means[1], alone.gaussians.means[0], rtol=1e-4, atol=1e-5)
    assert (both.gaussians.opacities - 0.5).abs().max() < 0.5
    assert 0 < both.gaussians.scales.min() <= both.gaussians.scales.max() <= 0.3


def test_the_intrinsics_matter():
    network, images = stand_in_network(), smooth_images(2, 64, 64)
    lens = LENS.expand(1, 2, 3, 3)
    with torch.inference_mode():
        one, other = network(images, lens), network(images, lens * torch.tensor([2.0, 2.0, 1.0])[:, None])
    assert not torch.allclose(one.gaussians.means, other.gaussians.means)


def test_three_views_see_each_other():
    network, images = stand_in_network(multiple=True), smooth_images(3, 64, 64)
    changed = images.clone()
    changed[:, 2] = 0.5
    one, other = predict(network, images), predict(network, changed)
    assert one.gaussians.means.shape == (1, 3, 64, 64, 3)
    for view in range(2):
        assert not torch.allclose(one.gaussians.means[:, view], other.gaussians.means[:, view])


@pytest.mark.parametrize(
    ("shape", "said"), [((1, 2, 3, 64, 80), "multiples of 32"), ((1, 1, 3, 64, 64), "two views"),
                        ((1, 3, 3, 64, 64), "exactly two views")]
)  # fmt: skip
def test_what_it_cannot_take_is_refused_in_a_sentence(shape, said):
    with pytest.raises(InputError, match=said) as error:
        predict(stand_in_network(), torch.zeros(shape))
    assert str(error.value).endswith(".")


def test_progress_rises_to_the_end():
    told: list[float] = []
    with torch.inference_mode():
        stand_in_network()(smooth_images(2, 64, 64), LENS.expand(1, 2, 3, 3), told.append)
    assert told == sorted(told)
    assert told[-1] == 1


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"depth": 3}, "does not know 'depth'"),
        ({"croco": {"freeze": "none"}}, "croco.freeze must be 'encoder'"),
        ({"croco": {"pos_embed": "cosine"}}, "must be as 'RoPE100'"),
        ({"croco": {"dec_num_heads": 7}}, "multiple of four times"),
        ({"adapter": {"interaction_indexes": [5, 11, 17, 30]}}, "four rising numbers"),
        ({"mask2former": {"hidden_dim": 128}}, "must be mask2former.feature_size"),
        ({"mask2former": {"decoder_layers": 1}}, "more than 1"),
        ({"image_size": [250, 256]}, "multiples of 32"),
        ({"dpt": {"hooks": [0, 1, 2, 3]}}, "dpt.hooks"),
        ({"sh_degree": 5}, "sh_degree"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused_in_a_sentence(values, said):
    with pytest.raises(InputError, match="cannot be used") as error:
        read_configuration(values)
    assert said in str(error.value)


def test_deformable_attention_reads_where_it_is_told():
    size, batch, heads = (4, 6), 2, 3
    values = torch.randn(batch, 24, 12)
    places = cell_centres((size,), torch.device("cpu")).view(1, 24, 1, 1, 2).expand(batch, -1, heads, 2, 2)
    weights = torch.full((batch, 24, heads, 2), 0.5)
    torch.testing.assert_close(sampled(values, size, places, weights), values)
    between = places.clone()
    between[..., 0] += 0.5 / 6
    found = sampled(values, size, between, weights).view(batch, 4, 6, 12)
    cells = values.view(batch, 4, 6, 12)
    torch.testing.assert_close(found[:, :, :-1], (cells[:, :, :-1] + cells[:, :, 1:]) / 2)
    torch.testing.assert_close(found[:, :, -1], cells[:, :, -1] / 2)  # outside is zero


def test_deformable_attention_without_offsets_weighs_levels():
    attention = DeformableAttention(8, 2, 2, 4)
    with torch.no_grad():
        for layer in (attention.sampling_offsets, attention.attention_weights):
            layer.weight.zero_()
            layer.bias.zero_()
    sizes = ((2, 2), (4, 4))
    memory = torch.cat([torch.full((1, 4, 8), 2.0), torch.full((1, 16, 8), 4.0)], 1)
    places = torch.full((5, 2), 0.5)
    given = attention(torch.randn(1, 5, 8), memory, sizes, places)
    expected = attention.output_proj(attention.value_proj(torch.full((1, 5, 8), 3.0)))
    torch.testing.assert_close(given, expected)


def test_a_query_without_a_mask_looks_all_over():
    masks = torch.full((1, 2, 2, 8, 8), -1.0)
    masks[0, 1, 1, :, :4] = 1
    hidden = outside(masks, (4, 4))
    assert not hidden[0, 0].any()
    assert hidden[0, 1, :16].all()
    assert hidden[0, 1, 16:].view(4, 4)[:, 3].all()
    assert not hidden[0, 1, 16:].view(4, 4)[:, 0].any()


def test_covariances_have_the_scales_along_the_axes():
    turned = torch.tensor([[0, 0, math.sin(math.pi / 4), math.cos(math.pi / 4)]]) * 3  # a quarter turn about z
    found = covariances(torch.tensor([[1.0, 2.0, 3.0]]), turned)
    torch.testing.assert_close(found[0], torch.diag(torch.tensor([4.0, 1.0, 9.0])), rtol=0, atol=1e-5)
    torch.testing.assert_close(damping(9, torch.device("cpu"))[[0, 1, 3, 4]], torch.tensor([1, 0.025, 0.025, 0.00625]))


def test_sizes_that_the_network_is_made_of_are_checked():
    with pytest.raises(InputError, match="deform_num_heads"):
        Configuration(adapter=Adapter(deform_num_heads=7), croco=Croco())
