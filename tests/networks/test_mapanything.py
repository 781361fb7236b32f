import math
import re
from dataclasses import replace

import pytest
import torch

from recon.checkpoint import fill
from recon.errors import InputError
from recon.networks import mapanything
from recon.networks.layers.pose_encoding import quaternion_from_rotation, rotation_from_quaternion
from recon.networks.mapanything import Configuration, Known, MapAnything, Prediction, read_configuration
from recon.networks.mapanything_checkpoint import own_names
from recon.networks.mapanything_inputs import along_rays, product, rays_of, relative_poses
from recon.networks.mapanything_outputs import intrinsics_from_rays, pose_matrices
from tests.networks.small_mapanything import configuration, stand_in_state
from tests.networks.stand_in import smooth_images
from tests.parity import RECORDINGS, Recording, described_in, replay
from tests.parity_networks import Run
from tests.parity_networks.mapanything import encoder_of

MAPANYTHING = RECORDINGS / "mapanything"
HEIGHT, WIDTH = 70, 98
INTRINSICS = torch.tensor([[80.0, 0, 50], [0, 84, 33], [0, 0, 1]])


def made(version: str = "1.1") -> MapAnything:
    network = MapAnything(configuration(version)).eval()
    network.load_state_dict(stand_in_state(version))
    return network


@pytest.fixture(scope="module")
def network() -> MapAnything:
    return made()


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return smooth_images(4, HEIGHT, WIDTH)


@pytest.fixture(scope="module")
def prediction(network, images) -> Prediction:
    with torch.inference_mode():
        return network(images)


@pytest.fixture
def known() -> Known:
    """Rays of views 0 and 2, depth of view 2, poses of views 0, 1 and 3."""
    generator = torch.Generator().manual_seed(0)
    rays = rays_of(INTRINSICS, HEIGHT, WIDTH)
    depth = 2 + torch.rand(HEIGHT, WIDTH, generator=generator)
    return Known(
        rays.expand(2, -1, -1, -1),
        torch.tensor([[True, False, True, False]]),
        along_rays(depth, rays)[None],
        torch.tensor([[False, False, True, False]]),
        torch.randn(1, 4, 4, generator=generator),
        torch.randn(1, 4, 3, generator=generator),
        torch.tensor([[True, True, False, True]]),
        torch.ones(1, 4, dtype=torch.bool),
        torch.ones(1, 4, dtype=torch.bool),
    )


def same(a: Prediction, b: Prediction, views: list[int] | None = None) -> bool:
    chosen = list(range(b.depth.shape[1])) if views is None else views
    pairs = [(getattr(a, name), getattr(b, name)[:, chosen]) for name in ("points", "confidence", "quaternions")]
    return all(bool((one - other).norm() <= 2e-5 * other.norm()) for one, other in [*pairs, (a.scale, b.scale)])


def run(network: MapAnything, images: torch.Tensor, known: Known | None) -> Prediction:
    with torch.inference_mode():
        return network(images, known)


@pytest.mark.parametrize("name", ["manifest", "manifest_v1", "small", "small_v1"])
def test_has_the_keys_and_shapes_of_the_checkpoint(name):
    described = described_in(MAPANYTHING / f"{name}.json.gz")
    encoder = encoder_of(described["keys"])
    with torch.device("meta"):
        network = MapAnything(replace(read_configuration(described["config"]), encoder=encoder))
    shapes = {key: list(tensor.shape) for key, tensor in network.state_dict().items()}
    assert shapes == {key: value["shape"] for key, value in described["keys"].items()}


@pytest.mark.parametrize(("config", "recording"), [("small", "small"), ("small_v1", "small_v1"), ("small", "process")])
def test_gives_the_numbers_of_its_reference(config, recording):
    assert_parity(config, recording)


@pytest.mark.slow
@pytest.mark.parametrize(("config", "recording"), [("manifest", "full"), ("manifest_v1", "full_v1")])
def test_of_the_published_size_gives_the_numbers_of_its_reference(config, recording):
    assert_parity(config, recording)


def assert_parity(config: str, recording: str) -> None:
    described = described_in(MAPANYTHING / f"{config}.json.gz")
    run = Run(described["config"], described["keys"])
    lines = list(replay("mapanything", Recording(MAPANYTHING / f"{recording}.npz"), run))
    wrong = [str(line) for line in lines if line.verdict != "ok"]
    assert not wrong, "\n".join(wrong)
    assert len(lines) >= 16


def test_shapes_and_ranges(prediction):
    assert prediction.rays.shape == prediction.points.shape == (1, 4, HEIGHT, WIDTH, 3)
    assert prediction.depth.shape == prediction.confidence.shape == prediction.clear.shape == (1, 4, HEIGHT, WIDTH)
    assert prediction.quaternions.shape == (1, 4, 4)
    assert prediction.translations.shape == (1, 4, 3)
    assert prediction.scale.shape == (1,)
    assert (prediction.depth > 0).all()
    assert (prediction.scale > 0).all()
    assert (prediction.confidence >= 1).all()
    torch.testing.assert_close(prediction.rays.norm(dim=-1), torch.ones(1, 4, HEIGHT, WIDTH))
    torch.testing.assert_close(prediction.quaternions.norm(dim=-1), torch.ones(1, 4))


def test_points_are_the_rays_at_their_depth_seen_from_the_poses(prediction):
    matrices = pose_matrices(prediction.quaternions, prediction.translations)
    local = prediction.rays * prediction.depth[..., None]
    world = torch.einsum("bvij,bvhwj->bvhwi", matrices[..., :3, :3], local) + matrices[:, :, None, None, :3, 3]
    torch.testing.assert_close(prediction.points, world)


@pytest.mark.parametrize("version", ["1", "1.1"])
def test_the_order_of_the_views_after_the_first_is_no_matter(version, images):
    network, order = made(version), [0, 3, 1, 2]
    other = run(network, images[:, order], None)
    assert same(other, run(network, images, None), order)


def test_the_first_view_is_unlike_the_others(network, images, prediction):
    order = [1, 0, 2, 3]
    assert not same(run(network, images[:, order], None), prediction, order)


def test_views_at_a_time_change_nothing(network, images, prediction):
    with torch.inference_mode():
        assert same(network(images, chunk=3), prediction)


def test_scenes_of_a_batch_know_nothing_of_each_other(network, images, known):
    alone = run(network, images, known)
    both = replace(
        known,
        has_rays=torch.cat([known.has_rays, torch.zeros(1, 4, dtype=torch.bool)]),
        has_depth=torch.cat([known.has_depth, torch.zeros(1, 4, dtype=torch.bool)]),
        quaternions=known.quaternions.repeat(2, 1, 1),
        translations=known.translations.repeat(2, 1, 1),
        has_pose=torch.cat([known.has_pose, torch.zeros(1, 4, dtype=torch.bool)]),
        metric_depth=known.metric_depth.repeat(2, 1),
        metric_pose=known.metric_pose.repeat(2, 1),
    )
    together = run(network, torch.cat([images, images]), both)
    first, second = (
        Prediction(**{name: value[index : index + 1] for name, value in vars(together).items()}) for index in (0, 1)
    )
    assert same(first, alone)
    assert same(second, run(network, images, None))


@pytest.mark.parametrize("part", ["rays", "depth", "quaternions"])
def test_what_is_known_is_heard(network, images, known, part):
    assert not same(run(network, images, replace(known, **{part: None})), run(network, images, known))


def test_nothing_known_is_as_if_nobody_had_asked(network, images, prediction):
    nobody = torch.zeros(1, 4, dtype=torch.bool)
    empty = Known(
        torch.empty(0, HEIGHT, WIDTH, 3), nobody, torch.empty(0, HEIGHT, WIDTH), nobody,
        torch.zeros(1, 4, 4), torch.zeros(1, 4, 3), nobody,
    )  # fmt: skip
    assert same(run(network, images, empty), prediction)


def test_poses_matter_as_seen_from_the_first_view(network, images, known):
    turn = torch.tensor([0.1, -0.3, 0.2, 0.9])
    moved = replace(
        known,
        quaternions=product(turn.expand_as(known.quaternions), known.quaternions),
        translations=known.translations @ rotation_from_quaternion(turn).T + torch.tensor([1.0, -2, 0.5]),
    )
    assert same(run(network, images, moved), run(network, images, known))


@pytest.mark.parametrize(("part", "mark"), [("depth", "metric_depth"), ("translations", "metric_pose")])
def test_units_matter_only_where_they_are_metres(network, images, known, part, mark):
    larger = replace(known, **{part: 3 * getattr(known, part)})
    assert not same(run(network, images, larger), run(network, images, known))
    known, larger = (replace(one, **{mark: torch.zeros(1, 4, dtype=torch.bool)}) for one in (known, larger))
    assert same(run(network, images, larger), run(network, images, known))


def test_unsaid_units_are_metres(network, images, known):
    assert same(run(network, images, replace(known, metric_depth=None, metric_pose=None)), run(network, images, known))


def test_what_is_known_may_be_encoded_a_part_at_a_time(network, images, known, monkeypatch):
    whole = run(network, images, known)
    monkeypatch.setattr(mapanything, "TOGETHER", 1)
    assert same(run(network, images, known), whole)


def test_depth_may_be_sparse_or_empty(network, images, known):
    sparse = known.depth * (torch.arange(WIDTH) % 7 == 0)
    for depth in (sparse, torch.zeros_like(sparse)):
        assert run(network, images, replace(known, depth=depth)).points.isfinite().all()


def test_poses_that_leave_out_the_first_view_are_refused_in_a_sentence(network, images, known):
    with pytest.raises(InputError, match="put a view whose pose is known first"):
        network.encode(images, replace(known, has_pose=torch.tensor([[False, True, False, True]])))


def test_the_first_view_is_the_origin_exactly(known):
    quaternions, translations = relative_poses(known.quaternions, known.translations, known.has_pose)
    assert torch.equal(quaternions[:, 0], torch.tensor([[0.0, 0, 0, 1]]))
    assert torch.equal(translations[:, 0], torch.zeros(1, 3))
    assert torch.equal(translations[:, 2], torch.zeros(1, 3))


@pytest.mark.parametrize(("height", "width", "views"), [(14, 14, 1), (56, 140, 2), (518, 42, 1), (42, 518, 3)])
@pytest.mark.parametrize("version", ["1", "1.1"])
def test_other_sizes_and_numbers_of_views(version, height, width, views):
    prediction = run(made(version), smooth_images(views, height, width), None)
    assert prediction.depth.shape == (1, views, height, width)
    assert prediction.points.isfinite().all()


@pytest.mark.parametrize("size", [(70, 100), (71, 98), (7, 98)])
def test_a_size_that_is_no_multiple_of_a_patch_is_refused_in_a_sentence(network, size):
    with pytest.raises(InputError, match="multiples of 14 pixels"):
        network.encode(torch.zeros(1, 1, 3, *size))


def test_progress_rises_to_the_end_and_may_stop(network, images):
    told: list[float] = []
    with torch.inference_mode():
        network.encode(images, progress=told.append)
        assert told == sorted(told)
        assert len(told) == 5
        assert told[-1] == 1

        def stop(fraction: float) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            network.encode(images, progress=stop)


def test_a_camera_survives_its_rays():
    rays = rays_of(INTRINSICS, 378, 518)
    torch.testing.assert_close(rays.norm(dim=-1), torch.ones(378, 518))
    torch.testing.assert_close(intrinsics_from_rays(rays), INTRINSICS)
    torch.testing.assert_close(rays[33, 50], torch.tensor([0.0, 0, 1]))


def test_depth_along_rays_is_longer_off_the_axis_and_zero_where_unknown():
    rays = rays_of(INTRINSICS, HEIGHT, WIDTH)
    depth = torch.full((HEIGHT, WIDTH), 2.0)
    depth[0, 0] = 0
    along = along_rays(depth, rays)
    assert along[0, 0] == 0
    assert math.isclose(along[33, 50], 2, rel_tol=1e-6)
    torch.testing.assert_close((rays * along[..., None])[..., 2], depth)


def test_quaternions_multiply_as_rotations_do():
    a, b = torch.nn.functional.normalize(torch.randn(2, 50, 4, generator=torch.Generator().manual_seed(0)), dim=-1)
    torch.testing.assert_close(
        rotation_from_quaternion(product(a, b)), rotation_from_quaternion(a) @ rotation_from_quaternion(b)
    )
    again = quaternion_from_rotation(rotation_from_quaternion(a))
    torch.testing.assert_close(again, torch.where(a[:, 3:] < 0, -a, a), atol=1e-5, rtol=0)


def published(name: str = "manifest") -> dict:
    return described_in(MAPANYTHING / f"{name}.json.gz")["config"]


def test_the_published_configurations():
    assert read_configuration({}) == read_configuration(published()) == Configuration()
    older = read_configuration(published("manifest_v1"))
    assert (older.encoder.width, older.encoder.normed, older.encoder.gated) == (1024, True, False)
    assert (older.attention.width, older.attention.layer_scale, older.attention.class_tokens) == (768, 0, False)


def test_a_file_that_holds_weights_under_all_their_names_is_read(images, prediction):
    state = stand_in_state()
    every = dict(state)
    for name, tensor in state.items():
        if match := re.fullmatch(r"dense_head\.0\.input_process\.(\d)\.1\.weight", name):
            level = int(match[1])
            aliases = [f"scratch.layer{level + 1}_rn.weight", f"scratch.layer_rn.{level}.weight"]
            every |= {f"{head}.{alias}": tensor for head in ("dense_head.0", "dpt_feature_head") for alias in aliases}
        for own, head in (("dense_head.0.", "dpt_feature_head."), ("dense_head.1.", "dpt_regressor_head.")):
            if name.startswith(own):
                every[name.replace(own, head)] = tensor
    assert len(every) == len(state) + 4 * 4 + sum(name.startswith("dense_head.") for name in state)
    with torch.device("meta"):
        network = MapAnything(configuration()).eval()
    with pytest.raises(InputError, match="has no use for"):
        fill(network, every, "all.pth")
    fill(network, own_names(every), "all.pth")
    assert same(run(network, images, None), prediction)


def test_a_name_that_is_not_known_is_kept_to_be_complained_of():
    assert list(own_names({"dense_head.0.scratch.layer5": torch.zeros(1)})) == ["dense_head.0.scratch.layer5"]


def test_infinity_may_be_a_number_or_a_word():
    config = published()
    config["pred_head_config"]["dpt_adaptor"]["depth_vmax"] = float("inf")
    config["pred_head_config"]["pose_adaptor"]["cam_trans_vmin"] = "-Infinity"
    assert read_configuration(config) == Configuration()


def test_what_follows_from_other_values_may_be_said_and_what_concerns_training_is_not_read():
    config = published("manifest_v1")
    head, geometry = config["pred_head_config"], config["geometric_input_config"]
    config |= {
        "pretrained_checkpoint_path": None,
        "specific_pretrained_submodules": [],
        "torch_hub_force_reload": False,
    }
    config["encoder_config"] |= {"torch_hub_force_reload": False, "patch_size": 14, "keep_first_n_layers": None}
    config["info_sharing_config"]["module_args"] |= {"input_embed_dim": 1024, "custom_positional_encoding": None}
    head["feature_head"] |= {"patch_size": 14, "input_feature_dims": [1024, 768, 768, 768]}
    head["adaptor_config"] = {"type": head["adaptor_type"], "input_dim": 6, "dense_pred_init_dict": head["dpt_adaptor"]}
    head["pose_head"] |= {"patch_size": 14, "input_feature_dim": 768}
    geometry["depth_encoder_config"] |= {"enc_embed_dim": 1024, "patch_size": 14}
    geometry["depth_prob"] = 0.5
    assert read_configuration(config) == read_configuration(published("manifest_v1"))
    head["pose_head"]["input_feature_dim"] = 1024
    with pytest.raises(InputError, match=r"pose_head\.input_feature_dim must be 768, not 1024"):
        read_configuration(config)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("depth", 3, "does not know 'depth'"),
        ("encoder_config.patch", 3, "does not know 'encoder_config.patch'"),
        ("encoder_config.patch_size", 16, "encoder_config.patch_size must be 14, not 16"),
        ("encoder_config.size", "enormous", "no encoder of size 'enormous'"),
        ("encoder_config.with_registers", True, "encoder_config.with_registers must be False, not True"),
        ("info_sharing_mlp_layer_str", "maxout", "no MLP 'maxout'"),
        ("info_sharing_config.module_args.depth", "16", "must be a whole number, not '16'"),
        ("info_sharing_config.module_args.depth", float("inf"), "must be a whole number, not inf"),
        ("info_sharing_config.module_args.mlp_ratio", float("inf"), "mlp_ratio must be finite"),
        ("info_sharing_config.module_args.mlp_ratio", float("nan"), "must be a number, not nan"),
        ("info_sharing_config.module_args.num_heads", 7, "must divide its width"),
        ("info_sharing_config.module_args.num_heads", 0, "must divide its width"),
        ("info_sharing_config.module_args.indices", [7, 16], "must name two of its layers"),
        ("pred_head_config.dpt_adaptor.depth_mode", "square", "depth_mode must be 'exp', not 'square'"),
        ("pred_head_config.feature_head.layer_dims", [1, 2], "must hold four numbers"),
        ("geometric_input_config.depth_encoder_config.intermediate_dims", [1, 2], "must hold three numbers"),
        ("geometric_input_config.depth_encoder_config.apply_pe", True, "apply_pe must be False"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused_in_a_sentence(path, value, said):
    config = published()
    *parents, name = path.split(".")
    inner = config
    for parent in parents:
        inner = inner[parent]
    inner[name] = value
    with pytest.raises(InputError, match="cannot be used") as error:
        read_configuration(config)
    assert said in str(error.value)


def test_a_configuration_that_leaves_out_what_it_must_say_is_refused():
    config = published()
    del config["encoder_config"]["size"]
    with pytest.raises(InputError, match=r"it must say encoder_config\.size"):
        read_configuration(config)
