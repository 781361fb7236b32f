import dataclasses

import pytest
import torch
from torch.nn import functional

from recon.errors import InputError
from recon.networks.layers.tracker import window_products
from recon.networks.vggt import VGGT, Configuration, decode_cameras, encode_cameras, read_configuration, slices
from tests.networks.small_vggt import configuration, stand_in_state
from tests.networks.stand_in import smooth_images
from tests.parity import RECORDINGS, described_in

QUERIES = torch.tensor([[[10.0, 20.0], [70.5, 41.25], [97.0, 0.0]]])


@pytest.fixture(scope="module")
def network() -> VGGT:
    network = VGGT(configuration()).eval()
    network.load_state_dict(stand_in_state())
    return network


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return smooth_images(4, 70, 98)


@pytest.fixture(scope="module")
def prediction(network, images):
    with torch.inference_mode():
        return network(images, QUERIES)


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return bool((a - b).norm() <= 1e-5 * b.norm())


@pytest.mark.parametrize("name", ["manifest", "small"])
def test_has_the_keys_and_shapes_of_the_checkpoint(name):
    described = described_in(RECORDINGS / "vggt" / f"{name}.json.gz")
    with torch.device("meta"):
        network = VGGT(read_configuration(described["config"]))
    shapes = {key: list(tensor.shape) for key, tensor in network.state_dict().items()}
    assert shapes == {key: value["shape"] for key, value in described["keys"].items()}


def test_shapes_and_ranges(prediction):
    assert len(prediction.cameras) == 4
    assert prediction.cameras[-1].shape == (1, 4, 9)
    assert prediction.depth.shape == prediction.depth_confidence.shape == (1, 4, 70, 98)
    assert prediction.points.shape == (1, 4, 70, 98, 3)
    assert prediction.points_confidence.shape == (1, 4, 70, 98)
    assert prediction.tracking.pixels[-1].shape == (1, 4, 3, 2)
    assert prediction.tracking.visibility.shape == prediction.tracking.confidence.shape == (1, 4, 3)
    assert (prediction.depth > 0).all()
    assert (prediction.depth_confidence >= 1).all()
    assert (prediction.points_confidence >= 1).all()


def test_the_order_of_the_views_after_the_first_is_no_matter(network, images, prediction):
    order = [0, 3, 1, 2]
    with torch.inference_mode():
        other = network(images[:, order], QUERIES)
    assert same(other.cameras[-1], prediction.cameras[-1][:, order])
    assert same(other.depth, prediction.depth[:, order])
    assert same(other.points, prediction.points[:, order])
    moved = prediction.tracking.pixels[-1][:, order] - QUERIES[:, None]
    assert (other.tracking.pixels[-1] - QUERIES[:, None] - moved).norm() < 1e-2 * moved.norm()


def test_the_first_view_is_unlike_the_others(network, images, prediction):
    order = [1, 0, 2, 3]
    with torch.inference_mode():
        other = network(images[:, order])
    assert not same(other.cameras[-1], prediction.cameras[-1][:, order])


def test_frames_at_a_time_change_nothing(network, images, prediction):
    with torch.inference_mode():
        other = network(images, QUERIES, chunk=3)
        features = network.encode(images)
        depth, confidence = network.depth(features, slice(2, 3))
    assert same(other.depth, prediction.depth)
    assert same(other.points, prediction.points)
    assert same(other.tracking.visibility, prediction.tracking.visibility)
    assert same(depth, prediction.depth[:, 2:3])
    assert same(confidence, prediction.depth_confidence[:, 2:3])


def test_points_may_be_followed_a_few_at_a_time(network, images):
    with torch.inference_mode():
        features = network.encode(images)
        alone, last = network.track(features, QUERIES[:, :2]), network.track(features, QUERIES[:, 2:])
        told: list[float] = []
        parts = network.track(features, QUERIES, told.append, together=2)
    assert same(parts.pixels[-1], torch.cat([alone.pixels[-1], last.pixels[-1]], 2))
    assert same(parts.visibility, torch.cat([alone.visibility, last.visibility], 2))
    assert same(parts.confidence, torch.cat([alone.confidence, last.confidence], 2))
    assert told == sorted(told)
    assert told[-1] == 1


def test_scenes_of_a_batch_know_nothing_of_each_other(network, images, prediction):
    with torch.inference_mode():
        other = network(torch.cat([images, images.flip(1)]), QUERIES.expand(2, -1, -1))
    assert same(other.cameras[-1][:1], prediction.cameras[-1])
    assert same(other.points[:1], prediction.points)
    assert same(other.tracking.visibility[:1], prediction.tracking.visibility)


@pytest.mark.parametrize(("height", "width", "views"), [(56, 56, 1), (56, 140, 2), (518, 56, 1)])
def test_other_sizes_and_numbers_of_views(network, height, width, views):
    with torch.inference_mode():
        prediction = network(smooth_images(views, height, width), QUERIES[:, :1])
    assert prediction.depth.shape == (1, views, height, width)
    assert prediction.points.isfinite().all()
    assert prediction.tracking.pixels[-1].isfinite().all()


def test_points_stay_where_they_were_asked_for_in_the_first_view(prediction):
    for pixels in prediction.tracking.pixels:
        assert torch.equal(pixels[:, 0], QUERIES)
    assert (prediction.tracking.pixels[-1][:, 1:] - QUERIES[:, None]).abs().min() > 0


def test_a_query_tracks_alike_whatever_else_is_asked(network, images):
    with torch.inference_mode():
        features = network.encode(images)
        two, three = network.track(features, QUERIES[:, [0, 1]]), network.track(features, QUERIES)
    first = [tracking.pixels[0][:, :, 0] - QUERIES[:, None, 0] for tracking in (two, three)]
    assert (first[0] - first[1]).norm() < 0.2 * first[0].norm()  # tracks do see each other


@pytest.mark.parametrize("size", [(70, 100), (71, 98), (7, 98)])
def test_a_size_that_is_no_multiple_of_a_patch_is_refused_in_a_sentence(network, size):
    with pytest.raises(InputError, match="multiples of 14 pixels") as error:
        network.encode(torch.zeros(1, 1, 3, *size))
    assert str(error.value).endswith(".")


def test_pictures_too_small_to_track_in_are_refused(network):
    published = VGGT(dataclasses.replace(configuration(), track_head=taller()))
    with torch.inference_mode(), pytest.raises(InputError, match="at least 128 pixels a side, not 98 x 70"):
        published.track(published.encode(smooth_images(1, 70, 98)), QUERIES)


def taller():
    """A tracker of as many levels as the published one has."""
    track = configuration().track_head
    return dataclasses.replace(track, tracker=dataclasses.replace(track.tracker, corr_levels=7))


def test_a_head_that_is_not_enabled_has_no_weights_and_says_so(images):
    network = VGGT(dataclasses.replace(configuration(), enable_point=False, enable_track=False)).eval()
    assert not any(name.startswith(("point_head", "track_head")) for name in network.state_dict())
    with torch.inference_mode():
        prediction = network(images, QUERIES)
        features = network.encode(images)
    assert prediction.points is None
    assert prediction.tracking is None
    assert prediction.depth is not None
    with pytest.raises(InputError, match="no point head"):
        network.points(features, slice(0, 1))
    with pytest.raises(InputError, match="no track head"):
        network.track(features, QUERIES)


def test_progress_rises_to_the_end_and_may_stop(network, images):
    told: list[float] = []
    with torch.inference_mode():
        features = network.encode(images, told.append)
        assert told == sorted(told)
        assert told[-1] == 1

        def stop(fraction: float) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            network.encode(images, stop)
        with pytest.raises(KeyboardInterrupt):
            network.track(features, QUERIES, stop)


def test_positions_are_used_as_they_are_at_the_size_they_were_made_for(network):
    encoder = network.aggregator.patch_embed
    assert torch.equal(encoder.positions(37, 37), encoder.pos_embed)
    assert encoder.positions(37, 36).shape == (1, 1 + 37 * 36, 32)
    assert torch.equal(encoder.positions(5, 7)[:, :1], encoder.pos_embed[:, :1])


def test_only_what_the_heads_read_is_kept(network, images):
    with torch.inference_mode():
        features = network.encode(images)
    assert set(features.layers) == {0, 1}
    assert features.layers[0].shape == (1, 4, 5 * 7, 64)


def test_windows_of_the_tracker_are_those_of_the_whole_volume():
    generator = torch.Generator().manual_seed(0)
    maps, features = torch.randn(2, 9, 11, 8, generator=generator), torch.randn(2, 5, 8, generator=generator)
    places = torch.rand(2, 5, 2, generator=generator) * torch.tensor([14.0, 12.0]) - 2  # some windows reach outside
    volume = torch.einsum("vhwc,vnc->vnhw", maps, features) / 8**0.5
    offsets = torch.arange(-2.0, 3.0)
    x, y = torch.meshgrid(offsets, offsets, indexing="ij")  # x is the slower index
    window = places[:, :, None, None] + torch.stack([x, y], -1)
    grid = 2 * window / torch.tensor([10.0, 8.0]) - 1
    expected = functional.grid_sample(volume.flatten(0, 1)[:, None], grid.flatten(0, 1), align_corners=True)
    assert same(window_products(maps, places, features, 2), expected.reshape(2, 5, 25))


def test_cameras_survive_their_encoding():
    generator = torch.Generator().manual_seed(0)
    rotations = torch.linalg.qr(torch.randn(2, 50, 3, 3, generator=generator, dtype=torch.float64))[0]
    rotations = rotations * torch.linalg.det(rotations)[..., None, None]
    extrinsics = torch.cat([rotations, torch.randn(2, 50, 3, 1, generator=generator, dtype=torch.float64)], -1)
    intrinsics = torch.tensor([[300.0, 0, 49], [0, 250, 35], [0, 0, 1]], dtype=torch.float64).expand(2, 50, 3, 3)
    encoding = encode_cameras(extrinsics, intrinsics, 70, 98)
    assert encoding.shape == (2, 50, 9)
    assert (encoding[..., 6] >= 0).all()
    torch.testing.assert_close(encoding[..., 3:7].norm(dim=-1), torch.ones(2, 50, dtype=torch.float64))
    encoding[..., 3:7] *= 3  # networks do not give unit quaternions
    decoded = decode_cameras(encoding, 70, 98)
    torch.testing.assert_close(decoded[0], extrinsics)
    torch.testing.assert_close(decoded[1], intrinsics)


def test_an_empty_configuration_is_the_published_one():
    assert read_configuration({}) == Configuration()
    assert read_configuration(described_in(RECORDINGS / "vggt" / "manifest.json.gz")["config"]) == Configuration()


def test_a_configuration_changes_what_it_names():
    read = read_configuration(
        {"img_size": 224, "embed_dim": 64, "enable_track": False, "aggregator": {"embed_dim": 64, "aa_block_size": 2}}
    )
    assert (read.img_size, read.embed_dim, read.enable_track) == (224, 64, False)
    assert read.aggregator == dataclasses.replace(Configuration().aggregator, aa_block_size=2)
    assert read.depth_head == Configuration().depth_head
    assert read_configuration({"patch_embed": {"init_values": None}}).patch_embed.init_values == 0


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"depth": 3}, "does not know 'depth'"),
        ({"aggregator": {"heads": 3}}, "does not know 'aggregator.heads'"),
        ({"camera_head": {"dim_in": 4}}, "camera_head.dim_in must be 2048, not 4"),
        ({"aggregator": {"depth": "24"}}, "aggregator.depth must be a whole number, not '24'"),
        ({"aggregator": {"qk_norm": 1}}, "aggregator.qk_norm must be true or false"),
        ({"aggregator": {"aa_order": ["frame"]}}, "aa_order must name frame and global once"),
        ({"aggregator": {"aa_block_size": 5}}, "aa_block_size must divide"),
        ({"depth_head": {"intermediate_layer_idx": [1, 2, 3, 24]}}, "must name four layers"),
        ({"depth_head": {"activation": "cubic"}}, "no activation 'cubic'"),
        ({"track_head": {"tracker": {"latent_dim": 64}}}, "must equal"),
        ({"embed_dim": None}, "embed_dim must be a whole number, not None"),
        ({"patch_size": 0}, "patch_size must be from 1"),
        ({"aggregator": {"num_heads": 0}}, "aggregator.num_heads must be from 1"),
        ({"embed_dim": 1_000_000_000}, "embed_dim must be from 1"),
        ({"aggregator": 3}, "aggregator must hold names and values"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused_in_a_sentence(values, said):
    with pytest.raises(InputError, match="cannot be used") as error:
        read_configuration(values)
    assert said in str(error.value)


def test_pairs_of_blocks_and_the_other_order(images):
    blocks = dataclasses.replace(configuration().aggregator, aa_block_size=2, aa_order=("global", "frame"))
    network = VGGT(dataclasses.replace(configuration(), aggregator=blocks)).eval()
    network.load_state_dict(stand_in_state())
    assert [(kind, number) for kind, number, _ in network.aggregator.blocks()] == [
        ("global", 0),
        ("global", 1),
        ("frame", 0),
        ("frame", 1),
    ]
    with torch.inference_mode():
        assert network(images).depth.isfinite().all()


@pytest.mark.parametrize(
    ("count", "size", "sizes"), [(10, 8, [5, 5]), (9, 4, [3, 3, 3]), (7, 8, [7]), (20, 8, [7, 7, 6])]
)
def test_chunks_are_about_as_large_as_each_other(count, size, sizes):
    chunks = slices(count, size)
    assert [part.stop - part.start for part in chunks] == sizes
    assert [i for part in chunks for i in range(count)[part]] == list(range(count))
    assert slices(0, size) == []
