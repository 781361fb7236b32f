"""The model of pairs: a network so small that a test can run it, and pointmaps that are known exactly in its place."""

import json
from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import recon
from recon import CARDS, InputError, Options, Scene, View, geometry
from recon.alignment.pair_graph import Pair, pairs_of
from recon.alignment.pair_maps import PairMaps
from recon.models import pair_fitting
from recon.models.dust3r import Dust3r
from recon.models.dust3r_plan import CHUNKS, suitable
from recon.models.pair_world import Member, Predicted, build, is_metric, known_of
from recon.models.planning import SPARE
from recon.models.stages import schedule
from recon.networks.dust3r import Dust3r as Network
from tests.alignment.test_global_alignment import centre_error, turn_error
from tests.helpers import drained, synthetic_scene, synthetic_views
from tests.models.runs import assert_stops_at_any_update, stages_of
from tests.networks.small_dust3r import configuration, stand_in_network

GIGABYTE = 1_000_000_000
SIDE = 272  # of the small network's pictures


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp("dust3r"))


@pytest.fixture(scope="module")
def model(checkpoint) -> Dust3r:
    torch.set_num_threads(1)
    return load(checkpoint)


@pytest.fixture(scope="module")
def views() -> list[View]:
    """Wide and low, so that the network has little to do."""
    return synthetic_views(synthetic_scene(3, 100, 300))


def write(folder: Path, side: int = SIDE) -> Path:
    """The small network as the Hub has it, without the second names of layers, for pictures of that size."""
    state = {name: tensor for name, tensor in stand_in_network().state_dict().items() if "layer_rn" not in name}
    save_file(state, folder / "model.safetensors")
    infinity = float("inf")
    values = {"img_size": [side, side], "depth_mode": ["exp", -infinity, infinity], "output_mode": "pts3d"}
    (folder / "config.json").write_text(json.dumps({**asdict(configuration()), **values}))
    return folder / "model.safetensors"


def load(checkpoint: Path, kind: type[Network] = Network) -> Dust3r:
    """The model, its network of a kind that may behave otherwise."""
    model = recon.load("dust3r", "cpu", checkpoint)
    assert isinstance(model, Dust3r)
    model.network.__class__ = kind
    return model


def blank(width: int, height: int) -> View:
    return View(np.full((height, width, 3), 90, np.uint8), f"{width}x{height}.png")


# --- pointmaps that are known, in place of a network's ---------------------------------------------------------------


def members_of(truth: Scene, **given: Sequence) -> list[Member]:
    """The photos of a scene, whose pixels are those of the network's input."""
    members = []
    for index, view in enumerate(synthetic_views(truth)):
        more = {name: values[index] for name, values in given.items()}
        members.append(Member(replace(view, **more), index, pair_fitting.fit(view.image, view.size[0], square_ok=True)))
    return members


def pointmaps(truth: Scene, pairs: Sequence[Pair], confidence: float = 6.0) -> list[PairMaps]:
    """What a network that makes small errors would say of pairs, in a unit of each pair's own."""
    random = np.random.default_rng(0)
    given = []
    for i, j in pairs:
        scale, maps = random.uniform(0.5, 2), []
        for view in (i, j):
            points = truth.frames[view].world_points() @ np.eye(3)
            local = geometry.transform(truth.frames[i].camera.camera_from_world, points)
            noise = random.normal(size=local.shape) * np.linalg.norm(local, axis=-1, keepdims=True) * 0.01
            maps += [torch.from_numpy(scale * (local + noise)).float(), torch.full(local.shape[:2], confidence)]
        given.append(PairMaps(i, j, *maps))
    return given


def told(pairs: Sequence[PairMaps]) -> Iterator[Predicted]:
    """Two by two, as they would come."""
    for start in range(0, len(pairs), 2):
        yield min(1.0, (start + 2) / len(pairs)), pairs[start : start + 2]


def built(members: list[Member], pairs: list[PairMaps], shared_focal: bool = False) -> tuple[Scene, list]:
    scene, parts = Scene(), schedule({"Pairing": 1.0, "Aligning": 1.0})
    known = known_of(members, shared_focal)
    steps = []
    for update in build(scene, members, told(pairs), len(pairs), known, parts):
        shown = [(frame.view, frame.camera.world_from_camera[:3, 3].copy()) for frame in scene.frames]
        steps.append((update, shown))
    return scene, steps


def differs(scene: Scene, truth: Scene) -> tuple[float, float, float]:
    """Errors of cameras (of their distances), of turns in degrees, and of depth, after a fit."""
    views = [frame.view for frame in scene.frames]
    found, true = (np.stack([frame.camera.world_from_camera for frame in frames]).astype(float) for frames in (
        scene.frames, [truth.frames[view] for view in views]
    ))  # fmt: skip
    size = np.linalg.norm(true[:, :3, 3] - true[:, :3, 3].mean(0), axis=1).mean()
    ratios = np.stack([frame.depth / truth.frames[frame.view].depth for frame in scene.frames])
    return centre_error(found, true) / size, turn_error(found, true), abs(ratios / np.median(ratios) - 1).mean()


@pytest.mark.parametrize("graph", ["complete", "swin-2-noncyclic", "logwin-2", "oneref-2"])
def test_the_world_of_known_pointmaps_is_found(graph):
    truth = synthetic_scene(5)
    scene, _ = built(members_of(truth), pointmaps(truth, pairs_of(graph, 5)))
    assert [frame.view for frame in scene.frames] == [0, 1, 2, 3, 4]
    centre, turn, depth = differs(scene, truth)
    assert centre < 0.03
    assert turn < 0.3
    assert depth < 0.02
    for frame, true in zip(scene.frames, truth.frames, strict=True):
        assert frame.camera.intrinsics[0, 0] == pytest.approx(true.camera.intrinsics[0, 0], rel=0.01)
        np.testing.assert_array_equal(frame.image, true.image)
        assert (frame.confidence == 6).all()


def test_a_scene_grows_while_pairs_come_and_settles_while_they_are_aligned():
    truth = synthetic_scene(4)
    scene, steps = built(members_of(truth), pointmaps(truth, pairs_of("complete", 4)))
    pairing = [(update.changed, [view for view, _ in shown]) for update, shown in steps if update.stage == "Pairing"]
    assert pairing[0] == ((0, 1), [0, 1])  # long before the last pair
    assert [shown for _, shown in pairing] == [[0, 1], [0, 1, 2], [0, 1, 2], *[[0, 1, 2, 3]] * 3]
    assert [changed for changed, _ in pairing[1:]] == [(2,), (), (3,), (), ()]
    moved = [shown for update, shown in steps if update.stage == "Aligning" and update.changed == (0, 1, 2, 3)]
    assert len(moved) >= 2
    off = [np.linalg.norm(shown[-1][1] - scene.frames[-1].camera.world_from_camera[:3, 3]) for shown in moved]
    assert off[-1] < 0.5 * off[0]
    fractions = [update.fraction for update, _ in steps]
    assert fractions == sorted(fractions)


def test_two_photos_need_no_steps():
    truth = synthetic_scene(2)
    scene, steps = built(members_of(truth), pointmaps(truth, [(0, 1), (1, 0)]))
    assert not any("step" in update.message for update, _ in steps)
    assert differs(scene, truth)[1] < 0.3


def test_what_is_known_of_cameras_is_kept():
    truth = synthetic_scene(4)
    away = geometry.rigid(geometry.rotation_from_quaternion(np.array([0.8, 0.2, -0.5, 0.1])), np.array([5.0, -2, 1]))
    poses = [away @ frame.camera.world_from_camera for frame in truth.frames]
    members = members_of(truth, world_from_camera=[poses[0], None, None, poses[3]], metric=[True] * 4)
    scene, _ = built(members, pointmaps(truth, pairs_of("complete", 4)))
    for frame, pose in zip(scene.frames, poses, strict=True):
        np.testing.assert_allclose(frame.camera.world_from_camera, pose, atol=1e-5 if frame.view in (0, 3) else 0.03)
    assert np.median(scene.frames[1].depth / truth.frames[1].depth) == pytest.approx(1, abs=0.02)
    assert is_metric(members)
    assert not is_metric(members[:3])
    assert not is_metric(members_of(truth, world_from_camera=poses))


def test_known_intrinsics_are_those_of_the_users_pixels():
    truth = synthetic_scene(3)
    focal = float(truth.frames[0].camera.intrinsics[0, 0])
    large = [View(np.repeat(np.repeat(frame.image, 2, 0), 2, 1), frame.name) for frame in truth.frames]
    large[1].intrinsics = np.array([[2 * focal, 0, 68.0], [0, 2 * focal, 46], [0, 0, 1]])
    members = [Member(view, index, pair_fitting.fit(view.image, 64)) for index, view in enumerate(large)]
    known = known_of(members, False)
    assert known.focal == {1: pytest.approx(focal)}
    np.testing.assert_allclose(known.principal_point[1], [34, 23])
    scene, _ = built(members, pointmaps(truth, pairs_of("complete", 3)))
    np.testing.assert_allclose(
        scene.frames[1].camera.intrinsics, [[focal, 0, 34], [0, focal, 23], [0, 0, 1]], rtol=1e-5
    )
    np.testing.assert_allclose(scene.frames[0].original_from_processed, np.diag([2, 2, 1]))


def test_a_shared_focal_length_is_one():
    truth = synthetic_scene(3)
    scene, _ = built(members_of(truth), pointmaps(truth, pairs_of("complete", 3)), shared_focal=True)
    assert len({float(frame.camera.intrinsics[0, 0]) for frame in scene.frames}) == 1


def test_photos_that_share_nothing_are_named_and_the_others_kept():
    truth = synthetic_scene(5)
    pairs = pointmaps(truth, [(0, 1), (1, 0)]) + pointmaps(truth, pairs_of("complete", 5), confidence=1.0)
    pairs += pointmaps(truth, [(2, 3), (3, 2), (3, 4), (4, 3)])
    scene, steps = built(members_of(truth), pairs)
    assert [view for view, _ in steps[0][1]] == [0, 1]  # until more is known
    assert [view for view, _ in steps[-1][1]] == [0, 1]
    assert [frame.view for frame in scene.frames] == [2, 3, 4]
    assert scene.notes == [
        "'synthetic_000.png', 'synthetic_001.png' were left out, since no pair joins them to the other photos."
    ]
    assert differs(scene, truth)[1] < 0.5
    with pytest.raises(InputError, match="nothing in common"):
        built(members_of(truth), pointmaps(truth, pairs_of("complete", 5), confidence=1.0))


def test_photos_that_are_the_same_stand_in_one_place():
    truth = synthetic_scene(3)
    truth.frames = [truth.frames[0]] * 3
    scene, _ = built(members_of(truth), pointmaps(truth, pairs_of("complete", 3)))
    centres = np.stack([frame.camera.centre for frame in scene.frames])
    assert np.linalg.norm(centres - centres[0], axis=1).max() < 0.02 * np.median(scene.frames[0].depth)


# --- a run with the network ------------------------------------------------------------------------------------------


def test_every_view_becomes_a_frame(model, views):
    scene = model.reconstruct(views)
    assert [frame.name for frame in scene.frames] == [view.name for view in views]
    assert (scene.model, scene.metric, scene.notes) == ("dust3r", False, [])
    assert scene.settings["size"] == [272, 80]
    for frame in scene.frames:
        assert frame.size == (272, 80)
        assert frame.depth.dtype == frame.confidence.dtype == np.float32
        assert frame.known().any()
        assert np.isfinite(frame.world_points()).all()
        rotation = frame.camera.world_from_camera[:3, :3]
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-5)
        np.testing.assert_array_equal(frame.camera.intrinsics[:2, 2], [136, 40])


def test_pairs_are_given_to_the_alignment_as_the_network_says_them(model, views):
    members = [Member(view, index, pair_fitting.fit(view.image, SIDE)) for index, view in enumerate(views)]
    seen = drained(model._look(members))
    pictures = torch.from_numpy(np.stack([member.fitted.image for member in members])).permute(0, 3, 1, 2) / 255
    found = [pair for _, pairs in model._compare(seen, [(0, 1), (2, 0)], 2) for pair in pairs]
    for pair in found:
        with torch.inference_mode():
            one, two = model.network(pictures[pair.first : pair.first + 1], pictures[pair.second : pair.second + 1])
        np.testing.assert_allclose(pair.first_points, one.points[0], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(pair.second_points, two.points[0], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(pair.second_confidence, two.confidence[0], rtol=1e-4)
    assert [(pair.first, pair.second) for pair in found] == [(0, 1), (2, 0)]


def test_each_photo_is_encoded_once(model, views):
    calls = []
    handle = model.network.patch_embed.register_forward_hook(lambda module, given, made: calls.append(len(made)))
    model.reconstruct(views)
    handle.remove()
    assert sum(calls) == 3


def test_photos_of_any_shape_together(model):
    wide, tall, square = (View(noise(*size), f"{size}.png") for size in ((500, 160), (90, 150), (200, 200)))
    wide = replace(wide, original_size=(1000, 320), original_from_view=np.diag([2, 2, 1]).astype(np.float32))
    scene = model.reconstruct([wide, tall, square])
    assert [frame.size for frame in scene.frames] == [
        (272, 80),
        (160, 272),
        (272, 192),
    ]  # no 204, which is no multiple of a patch
    for frame in scene.frames:
        width, height = frame.size
        corners = frame.original_from_processed @ np.array([[0, width], [0, height], [1, 1]])
        assert (corners[:2] > -1e-3).all()
        assert (corners[:2, 1] < np.array(frame.original_size) + 1e-3).all()
        np.testing.assert_allclose(frame.camera.intrinsics[:2, 2], [width / 2, height / 2])


def noise(width: int, height: int) -> np.ndarray:
    return np.random.default_rng(width).integers(0, 255, (height, width, 3), np.uint8)


def test_one_photo_alone_has_depth_and_says_so(model, views):
    updates = list(model.stream(views[:1]))
    scene = updates[-1].scene
    assert len(scene.frames) == 1
    assert updates[-2].changed == (0,)
    assert scene.frames[0].known().any()
    assert len(scene.notes) == 1
    assert "One photo alone" in scene.notes[0]
    np.testing.assert_array_equal(scene.frames[0].camera.world_from_camera, np.eye(4))


@pytest.mark.parametrize("count", [2, 3])
def test_identical_photos_do_not_break_a_run(model, views, count):
    scene = model.reconstruct([views[0]] * count)
    assert len(scene.frames) == count
    assert all(np.isfinite(frame.world_points()).all() for frame in scene.frames)


def test_transparent_pixels_are_not_known(model, views):
    mask = np.zeros(views[0].image.shape[:2], bool)
    mask[:, :150] = True
    frame = model.reconstruct([replace(views[0], mask=mask), views[1]]).frames[0]
    assert not frame.known()[:, 140:].any()


def test_what_cannot_be_used_is_told(model, views):
    with pytest.raises(InputError, match="at least one photo"):
        model.reconstruct([])
    with pytest.raises(InputError, match="too elongated"):
        model.reconstruct([blank(1000, 20), *views])
    with pytest.raises(InputError, match="no photo 7"):
        model.reconstruct(views, Options(graph="oneref-7"))
    with pytest.raises(InputError, match="no graph"):
        Options(graph="star")
    odd = replace(views[0], world_from_camera=2 * np.eye(4))
    with pytest.raises(InputError, match="not rigid"):
        model.reconstruct([odd, views[1]])


def test_frames_of_a_video_share_their_focal_length_unless_told_otherwise(model, views):
    frames = [replace(view, time=index / 2, path=Path("a.mp4")) for index, view in enumerate(views)]

    def focals(**chosen) -> int:
        # of all pairs stand-in weights give focal lengths that meet at the bound of what a camera has
        scene = model.reconstruct(frames, Options(graph="swin-1-noncyclic", **chosen))
        return len({float(frame.camera.intrinsics[0, 0]) for frame in scene.frames})

    assert focals() == 1
    assert focals(shared_focal=False) == 3


def test_a_run_can_be_stopped_at_any_update(model, views):
    assert stages_of(model.stream(views)) == ["Preparing", "Looking", "Pairing", "Aligning", "Finishing"]
    assert_stops_at_any_update(model, views, ("Looking", "Pairing", "Aligning"))


def test_verification_can_follow(model):
    views = synthetic_views(synthetic_scene(3, 240, 640))
    updates = list(model.stream(views, Options(verify=True)))
    assert "Verifying" in {update.stage for update in updates}
    assert updates[-1].scene.settings["placement"][0] in ("mapped", "pair", "depth", "guess")


# --- memory ----------------------------------------------------------------------------------------------------------


def greedy(times: int) -> type[Network]:
    """A network that the system refuses memory, so many times."""

    class Greedy(Network):
        asked = 0

        def decode(self, first, second, progress=None):
            if Greedy.asked < times:
                Greedy.asked += 1
                torch.empty(1 << 60, dtype=torch.uint8)
            return super().decode(first, second, progress)

    return Greedy


def test_a_run_that_is_refused_memory_begins_anew_smaller(checkpoint, views):
    updates = list(load(checkpoint, greedy(1)).stream(views))
    scene = updates[-1].scene
    assert [frame.size for frame in scene.frames] == [(176, 48)] * 3
    assert any("not enough memory" in note and "176 x 48" in note for note in scene.notes)
    fractions = [update.fraction for update in updates]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    with pytest.raises(InputError, match="fewer photos"):
        load(checkpoint, greedy(2)).reconstruct(views)


def test_what_does_not_fit_is_planned_smaller_step_by_step():
    card, views = CARDS["dust3r"], [blank(1600, 1200)] * 60
    free = suitable(card, views, "cuda", Options(), None)
    assert (len(free.views), free.size, free.chunk, free.notes) == (60, (512, 384), CHUNKS["cuda"][0], ())
    seen, budget = [], free.memory * 1.2
    while budget > 2 * GIGABYTE:
        plan = suitable(card, views, "cuda", Options(), int(budget))
        seen.append((len(plan.views), plan.size[0], plan.chunk))
        if seen[-1] != (60, 512, free.chunk):
            assert len(plan.notes) == 1
            assert "are free" in plan.notes[0]
            assert ("may fail" in plan.notes[0]) == (plan.memory > SPARE * budget)
        budget *= 0.9
    assert seen[0] == (60, 512, free.chunk)
    assert {256, 512} <= {size for _, size, _ in seen}
    assert [views for views, _, _ in seen] == sorted((views for views, _, _ in seen), reverse=True)


def test_thirty_photos_with_each_other_need_no_eleven_gigabytes():
    views = [blank(1600, 1200)] * 30
    for device in ("cpu", "cuda"):
        plan = suitable(CARDS["dust3r"], views, device, Options(graph="complete"), None)
        assert plan.memory < 7 * GIGABYTE  # weights and all


def test_the_plan_counts_pairs(model, views):
    plan = model.plan(views)
    assert (plan.views, plan.size, plan.precision, plan.device) == ((0, 1, 2), (272, 80), "float32", "cpu")
    many = [views[0]] * 30
    assert model.plan(many).seconds < model.plan(many, options=Options(graph="complete")).seconds
    assert model.plan(many, options=Options(graph="oneref")).seconds < model.plan(many).seconds
    assert len(model.plan([views[0]] * 200).views) == 100
    assert recon.plan("dust3r", views, "cpu").memory > 2 * GIGABYTE > model.plan(views).memory
    small = suitable(CARDS["dust3r-224"], views, "cpu", Options(), None)
    assert small.size == (224, 224)
    assert small.seconds < suitable(CARDS["dust3r-linear"], [blank(512, 384)] * 3, "cpu", Options(), None).seconds / 2


# --- checkpoints -----------------------------------------------------------------------------------------------------


def test_both_containers_are_read(tmp_path, model, views):
    network = stand_in_network("linear")
    text = (
        "AsymmetricCroCo3DStereo(pos_embed='RoPE100', patch_embed_cls='ManyAR_PatchEmbed', img_size=(224, 224), "
        "head_type='linear', output_mode='pts3d', depth_mode=('exp', -inf, inf), conf_mode=('exp', 1, inf), "
        "enc_embed_dim=32, enc_depth=1, enc_num_heads=2, dec_embed_dim=16, dec_depth=10, dec_num_heads=2)"
    )
    torch.save({"args": Namespace(model=text), "model": network.state_dict()}, tmp_path / "small.pth")
    small = recon.load("dust3r-224", "cpu", tmp_path / "small.pth")
    assert small.card.resolution == 224
    assert [frame.size for frame in small.reconstruct(views[:2]).frames] == [(224, 224)] * 2
    assert model.card.resolution == SIDE
    assert model.card.parameters == sum(weight.numel() for weight in stand_in_network().parameters())


def test_checkpoints_that_do_not_fit(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        recon.load("dust3r", "cpu", tmp_path / "nothing.pth")
    torch.save({"args": Namespace(model="Strange()"), "model": {"a": torch.ones(1)}}, tmp_path / "strange.pth")
    with pytest.raises(InputError, match="Strange"):
        recon.load("dust3r", "cpu", tmp_path / "strange.pth")
    path = write(tmp_path)
    (tmp_path / "config.json").unlink()
    with pytest.raises(InputError, match="does not fit"):
        recon.load("dust3r", "cpu", path)
    with pytest.raises(InputError, match="needs a checkpoint"):
        Dust3r(CARDS["dust3r"], torch.device("cpu"))
