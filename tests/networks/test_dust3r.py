import dataclasses
import json
import math
from argparse import Namespace
from itertools import permutations

import pytest
import torch
from safetensors.torch import save_file

from recon.checkpoint import fill
from recon.errors import InputError
from recon.networks.dust3r import Configuration, Dust3r, Views, read_configuration
from recon.networks.dust3r_checkpoint import read_checkpoint
from recon.networks.layers.decoder import CrossAttention, DecoderBlock
from tests.networks.small_dust3r import configuration, stand_in_network
from tests.networks.stand_in import smooth_images
from tests.parity import RECORDINGS, Recording, described_in, replay
from tests.parity_networks import Run

FOLDER = RECORDINGS / "dust3r"
PUBLISHED = (
    "AsymmetricCroCo3DStereo(pos_embed='RoPE100', patch_embed_cls='ManyAR_PatchEmbed', img_size=(512, 512), "
    "head_type='dpt', output_mode='pts3d', depth_mode=('exp', -inf, inf), conf_mode=('exp', 1, inf), "
    "enc_embed_dim=1024, enc_depth=24, enc_num_heads=16, dec_embed_dim=768, dec_depth=12, dec_num_heads=12)"
)


@pytest.fixture(scope="module", params=["dpt", "linear"])
def network(request) -> Dust3r:
    return stand_in_network(request.param)


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return smooth_images(3, 48, 80)[0]


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.shape == b.shape and bool((a - b).norm() <= 1e-5 * b.norm())


def lines(config: str, recording: str, **changes):
    described = described_in(FOLDER / f"{config}.json.gz")
    run = Run({**described["config"], **changes}, described["keys"])
    return list(replay("dust3r", Recording(FOLDER / f"{recording}.npz"), run))


@pytest.mark.parametrize("name", ["manifest", "full_linear", "small", "small_linear"])
def test_has_the_keys_and_shapes_of_the_checkpoint(name):
    described = described_in(FOLDER / f"{name}.json.gz")
    with torch.device("meta"):
        network = Dust3r(read_configuration(described["config"]))
    shapes = {key: list(tensor.shape) for key, tensor in network.state_dict().items()}
    assert shapes == {key: value["shape"] for key, value in described["keys"].items()}


@pytest.mark.parametrize(
    ("config", "recording"), [("small", "small"), ("small_linear", "small_linear"), ("manifest", "preprocess")]
)
def test_gives_the_numbers_of_its_reference(config, recording):
    wrong = [str(line) for line in lines(config, recording) if line.verdict != "ok"]
    assert not wrong, "\n".join(wrong)


@pytest.mark.slow
@pytest.mark.parametrize(("config", "recording"), [("manifest", "full"), ("full_linear", "full_linear")])
def test_of_the_published_size_gives_the_numbers_of_its_reference(config, recording):
    wrong = [str(line) for line in lines(config, recording) if line.verdict != "ok"]
    assert not wrong, "\n".join(wrong)


def test_another_base_of_the_positions_shows():
    found = {line.name: line.fine for line in lines("small_linear", "small_linear", pos_embed="RoPE110")}
    assert not found["output/a/pts3d_1_stride5"]


def test_shapes_and_ranges(network, images):
    other = smooth_images(1, 32, 64)[0]
    with torch.inference_mode():
        first, second = network(images[:1], other)
    assert first.points.shape == (1, 48, 80, 3)
    assert second.points.shape == (1, 32, 64, 3)
    assert second.confidence.shape == (1, 32, 64)
    assert (first.confidence >= 1).all()
    assert first.points.isfinite().all()


def test_the_order_of_the_views_matters(network, images):
    with torch.inference_mode():
        one, two = network(images[:1], images[1:2])
        other_two, other_one = network(images[1:2], images[:1])
    assert not same(other_one.points, one.points)
    assert not same(other_two.points, two.points)


def test_pictures_are_encoded_once_and_pairs_decoded_in_any_batches(network, images):
    pictures = [*images.split(1), smooth_images(1, 48, 64)[0]]  # the last one of another size
    pairs = list(permutations(range(4), 2))
    calls: list[int] = []
    handle = network.patch_embed.register_forward_hook(lambda *_: calls.append(1))
    with torch.inference_mode():
        views = [network.encode(picture) for picture in pictures]
        found = {}
        for numbers, first, second in network.decode_pairs(views, pairs, batch=4):
            assert len(numbers) <= 4
            for place, number in enumerate(numbers):
                found[number] = first.points[place], second.points[place], second.confidence[place]
        handle.remove()
        assert len(calls) == 4
        assert sorted(found) == list(range(12))
        for number, (i, j) in enumerate(pairs):
            first, second = network(pictures[i], pictures[j])
            assert same(found[number][0], first.points[0])
            assert same(found[number][1], second.points[0])
            assert same(found[number][2], second.confidence[0])


def test_pictures_may_be_encoded_together(network, images):
    with torch.inference_mode():
        together = network.encode(images)
        parts = [network.encode(picture) for picture in images.split(1)]
        joined = Views.joined(parts)
        assert len(together) == len(joined) == 3
        assert same(together.tokens, joined.tokens)
        expected, _ = network.decode(parts[2], parts[0])
        given, _ = network.decode(together[2:], together[:1])
    assert same(given.points, expected.points)


def test_portraits_in_landscape_layout(network):
    landscape, portrait = smooth_images(2, 32, 64)[0], smooth_images(2, 64, 32)[0]
    mixed = torch.stack([landscape[0], portrait[0].mT]), torch.stack([portrait[1].mT, landscape[1]])
    with torch.inference_mode():
        first, second = network.forward_landscape(*mixed, torch.tensor([False, True]), torch.tensor([True, False]))
        one = network(landscape[:1], portrait[1:])
        two = network(portrait[:1], landscape[1:])
    assert same(first.points[0], one[0].points[0])
    assert same(second.points[0], one[1].points[0].transpose(0, 1))
    assert same(first.confidence[1], two[0].confidence[0].mT)
    assert same(second.confidence[1], two[1].confidence[0])


@pytest.mark.parametrize("size", [(40, 80), (48, 81), (0, 80)])
def test_a_size_that_is_no_multiple_of_a_patch_is_refused_in_a_sentence(network, size):
    with pytest.raises(InputError, match="multiples of 16 pixels") as error:
        network.encode(torch.zeros(1, 3, *size))
    assert str(error.value).endswith(".")


def test_progress_rises_to_the_end_and_may_stop(network, images):
    told: list[float] = []
    with torch.inference_mode():
        network.encode(images, told.append)
        assert told == sorted(told)
        assert told[-1] == 1

        def stop(fraction: float) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            network.encode(images, stop)


def test_other_ways_to_make_points_and_confidence(images):
    plain = stand_in_network("linear")
    with torch.inference_mode():
        plain.downstream_head1.configuration = dataclasses.replace(
            plain.configuration, depth_mode="linear", conf_mode=("exp", 0.0, math.inf)
        )
        raw, _ = plain(images[:1], images[1:2])
        length = raw.points.norm(dim=-1, keepdim=True)
        for depth, conf, points, confidence in (
            ("exp", ("exp", 1.0, math.inf), raw.points / length * length.expm1(), 1 + raw.confidence),
            ("square", ("exp", 1.0, 1.5), raw.points * length, 1 + raw.confidence.clamp_max(0.5)),
            ("linear", ("sigmoid", 2.0, 5.0), raw.points, 2 + 3 * raw.confidence.log().sigmoid()),
        ):
            plain.downstream_head1.configuration = dataclasses.replace(
                plain.configuration, depth_mode=depth, conf_mode=conf
            )
            given, _ = plain(images[:1], images[1:2])
            assert same(given.points, points)
            assert same(given.confidence, confidence)


def test_what_is_not_said_is_as_published():
    assert read_configuration({}) == Configuration()
    for name in ("manifest", "full_linear"):
        described = described_in(FOLDER / f"{name}.json.gz")
        head = described["config"]["head_type"]
        assert read_configuration(described["config"]) == Configuration(head_type=head)
    monst3r = described_in(RECORDINGS / "monst3r" / "pairs.json.gz")["config"]
    assert read_configuration(monst3r) == Configuration()
    assert read_configuration({"img_size": 224}).img_size == (224, 224)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"depth": 3}, "does not know 'depth'"),
        ({"dpt": {"width": 3}}, "does not know 'dpt.width'"),
        ({"head_type": "catmlp+dpt"}, "no head 'catmlp"),
        ({"output_mode": "pts3d+desc24"}, "output_mode must be 'pts3d'"),
        ({"depth_mode": ["exp", 0, "inf"]}, "depth_mode must have no bounds"),
        ({"depth_mode": ["cube", "-inf", "inf"]}, "no depth_mode 'cube'"),
        ({"depth_mode": "exp"}, "must be a name and two bounds"),
        ({"conf_mode": ["exp", 3, 1]}, "largest above it"),
        ({"conf_mode": ["sigmoid", 0, math.inf]}, "finite largest value"),
        ({"conf_mode": None}, "must be a name and two bounds"),
        ({"pos_embed": "cosine"}, "must be rotary"),
        ({"enc_depth": 0}, "must be positive"),
        ({"enc_depth": "24"}, "enc_depth must be a whole number"),
        ({"dec_depth": 8}, "more than 9"),
        ({"img_size": [500, 512]}, "patch_size must divide"),
        ({"img_size": [512]}, "a height and a width"),
        ({"dec_num_heads": 7}, "multiple of four times"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused_in_a_sentence(values, said):
    with pytest.raises(InputError, match="cannot be used") as error:
        read_configuration(values)
    assert said in str(error.value)


def text_of(head: str) -> str:
    """The constructor call of the small network, as checkpoints hold it."""
    small = configuration(head)
    sizes = ", ".join(
        f"{name}={getattr(small, name)}"
        for name in (f"{part}_{what}" for part in ("enc", "dec") for what in ("embed_dim", "depth", "num_heads"))
    )
    return f"AsymmetricCroCo3DStereo(pos_embed='RoPE100', img_size=(224, 224), head_type={head!r}, {sizes})"


@pytest.mark.parametrize("head", ["dpt", "linear"])
@pytest.mark.parametrize("container", ["pth", "safetensors"])
def test_a_checkpoint_of_either_container_becomes_the_network(tmp_path, images, head, container):
    network = stand_in_network(head)
    state = dict(network.state_dict())
    if container == "pth":
        path = tmp_path / "model.pth"
        arguments = Namespace(model=text_of(head), epochs=3, lr=1e-4, amp=False, output_dir="somewhere")
        torch.save({"args": arguments, "model": state, "epoch": 7}, path)
    else:
        path = tmp_path / "model.safetensors"
        named = {name: tensor for name, tensor in state.items() if ".layer_rn." not in name}
        assert len(named) == len(state) - (8 if head == "dpt" else 0)
        save_file(named, path)
        values = {"head_type": head, "img_size": [512, 512], "conf_mode": ["exp", 1, math.inf]}
        small = dataclasses.asdict(configuration(head))
        values |= {name: small[name] for name in small if name.startswith(("enc_", "dec_"))}
        (tmp_path / "config.json").write_text(json.dumps(values))
        assert "Infinity" in (tmp_path / "config.json").read_text()
    read, weights = read_checkpoint(path)
    assert read.head_type == head
    assert read.img_size == ((224, 224) if container == "pth" else (512, 512))
    with torch.device("meta"):
        empty = Dust3r(dataclasses.replace(read, dpt=network.configuration.dpt)).eval()
    fill(empty, weights, path.name)
    with torch.inference_mode():
        expected, given = network(images[:1], images[1:2]), empty(images[:1], images[1:2])
    assert torch.equal(given[1].points, expected[1].points)


def test_the_text_of_the_published_checkpoint_is_the_published_configuration(tmp_path):
    for text in (PUBLISHED, PUBLISHED[:-1] + ", freeze='encoder', landscape_only=True)"):
        torch.save({"args": Namespace(model=text), "model": {"mask_token": torch.zeros(1)}}, tmp_path / "model.pth")
        assert read_checkpoint(tmp_path / "model.pth")[0] == Configuration()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("__import__('pathlib').Path('made').touch()", "cannot be read"),
        ("AsymmetricCroCo3DStereo(enc_depth=__import__('os').getpid())", "cannot be read"),
        ("AsymmetricMASt3R(head_type='dpt')", "a network 'AsymmetricMASt3R'"),
        ("AsymmetricCroCo3DStereo(head_type='dpt')", "pos_embed must be rotary"),  # what the call does not say
        (7, "should name a constructor, not int"),
    ],
)
def test_other_texts_are_refused_and_never_run(tmp_path, monkeypatch, text, said):
    monkeypatch.chdir(tmp_path)
    torch.save({"args": Namespace(model=text), "model": {"mask_token": torch.zeros(1)}}, "model.pth")
    with pytest.raises(InputError, match=said) as error:
        read_checkpoint(tmp_path / "model.pth")
    assert str(error.value).endswith(".")
    assert not (tmp_path / "made").exists()


def test_without_a_word_the_keys_tell_the_head(tmp_path):
    for head in ("dpt", "linear"):
        save_file(
            {key: value.clone() for key, value in stand_in_network(head).state_dict().items()},
            tmp_path / "model.safetensors",
        )
        assert read_checkpoint(tmp_path / "model.safetensors")[0] == Configuration(head_type=head)


def test_cross_attention_knows_no_order_of_the_memory_but_its_positions():
    torch.manual_seed(0)
    attention, tokens, memory = CrossAttention(24, 3), torch.randn(2, 5, 24), torch.randn(2, 7, 24)
    order = torch.randperm(7)
    torch.testing.assert_close(attention(tokens, memory[:, order]), attention(tokens, memory))


def test_a_decoder_block_changes_its_own_tokens_alone():
    torch.manual_seed(0)
    block, tokens, others = DecoderBlock(24, 3), torch.randn(2, 5, 24), torch.randn(2, 7, 24)
    given = block(tokens, others)
    assert given.shape == tokens.shape
    assert not torch.allclose(given, block(tokens, others.flip(0)))
    torch.testing.assert_close(given[:1], block(tokens[:1], others[:1]))
