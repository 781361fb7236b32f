from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import recon
from recon import CARDS, InputError, Options, Scene, View, geometry
from recon.models.fitting import pictures
from recon.models.mapanything import MapAnything, fit
from recon.models.mapanything_known import Told, told_of
from recon.models.mapanything_plan import suitable
from recon.models.planning import SIDES, SPARE
from recon.networks.mapanything import Known, Prediction
from recon.networks.mapanything import MapAnything as Network
from recon.networks.mapanything_inputs import rays_of
from recon.networks.mapanything_outputs import pose_matrices
from tests.helpers import drained, room_from_cameras, synthetic_scene, synthetic_views
from tests.models.runs import assert_frames_know_a_bright_box, assert_stops_at_any_update, stages_of
from tests.networks.small_mapanything import write

GIGABYTE = 1_000_000_000
SIZE = (518, 168)  # of the network's input for pictures that are wide and low
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp("mapanything"))


@pytest.fixture(scope="module")
def model(checkpoint) -> MapAnything:
    torch.set_num_threads(1)
    return loaded(checkpoint)


@pytest.fixture(scope="module")
def truth() -> Scene:
    """Wide and low, so that the network has little to do."""
    return synthetic_scene(3, 100, 300)


@pytest.fixture
def views(truth) -> list[View]:
    return synthetic_views(truth)


@pytest.fixture
def known(truth) -> list[View]:
    """The same, all of them known, in metres."""
    return [
        replace(
            view,
            intrinsics=frame.camera.intrinsics,
            world_from_camera=frame.camera.world_from_camera,
            depth=frame.depth,
            metric=True,
        )
        for view, frame in zip(synthetic_views(truth), truth.frames, strict=True)
    ]


@pytest.fixture(scope="module")
def scene(model, truth) -> Scene:
    return model.reconstruct(synthetic_views(truth))


def loaded(checkpoint: Path, network: type[Network] | None = None) -> MapAnything:
    """The model; its network may be of a kind that behaves otherwise."""
    model = recon.load("mapanything-apache", "cpu", checkpoint)
    assert isinstance(model, MapAnything)
    if network is not None:
        model.network.__class__ = network
    return model


def blank(width: int, height: int) -> View:
    return View(np.full((height, width, 3), 90, np.uint8), f"{width}x{height}.png")


def predicted(model: MapAnything, views: list[View], known: Known | None = None) -> Prediction:
    """What the network itself says of the views."""
    inputs = list(drained(fit(views, [Told()] * len(views), SIZE, Options())))
    with torch.inference_mode():
        return model.network(pictures([fitted for _, fitted in inputs], CPU), known)


def same(one: Scene, other: Scene) -> bool:
    """Whether depth and cameras are equal but for rounding."""
    return all(
        np.allclose(a.depth, b.depth, rtol=1e-4, atol=1e-5)
        and np.allclose(a.camera.world_from_camera, b.camera.world_from_camera, atol=1e-5)
        for a, b in zip(one.frames, other.frames, strict=True)
    )


# --- the scene -------------------------------------------------------------------------------------------------------


class Pinhole(Network):
    """A network whose rays are those of a camera, and which tells that a corner of the picture means nothing."""

    intrinsics = torch.tensor([[400.0, 0, 250], [0, 410, 90], [0, 0, 1]])  # pixel centres at integers

    def maps(self, features, frames):
        maps = super().maps(features, frames)
        maps.rays = rays_of(self.intrinsics, features.height, features.width).expand_as(maps.rays)
        maps.clear = torch.ones_like(maps.clear)
        maps.clear[..., :50, :60] = -1
        return maps


def test_every_view_becomes_a_frame_of_a_metric_scene(scene, views):
    assert [frame.name for frame in scene.frames] == [view.name for view in views]
    assert (scene.model, scene.metric, scene.settings["size"]) == ("mapanything-apache", True, list(SIZE))
    np.testing.assert_array_equal(scene.frames[0].camera.world_from_camera, np.eye(4))
    for frame in scene.frames:
        assert frame.size == SIZE
        assert frame.points is None
        assert frame.valid is not None
        assert frame.depth.dtype == frame.confidence.dtype == np.float32
        rotation = frame.camera.world_from_camera[:3, :3]
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-6)


def test_the_scene_is_what_the_network_says_in_the_first_cameras_world(checkpoint, views):
    model = loaded(checkpoint, Pinhole)
    scene = model.reconstruct(views)
    assert scene.notes == []
    said = predicted(model, views)
    poses = pose_matrices(said.quaternions, said.translations)[0].double().numpy()
    first_from_network = np.linalg.inv(poses[0])
    for i, frame in enumerate(scene.frames):
        np.testing.assert_allclose(frame.depth, said.points_in_camera[0, i, ..., 2], rtol=1e-4)
        np.testing.assert_allclose(frame.confidence, said.confidence[0, i], rtol=1e-4)
        np.testing.assert_allclose(frame.camera.world_from_camera, first_from_network @ poses[i], atol=1e-5)
        np.testing.assert_allclose(frame.camera.intrinsics, [[400, 0, 250.5], [0, 410, 90.5], [0, 0, 1]], rtol=1e-4)
        world = geometry.transform(first_from_network, said.points[0, i].numpy())
        np.testing.assert_allclose(frame.world_points(), world, atol=1e-3)


def test_points_may_lie_along_the_rays_of_no_pinhole_camera(model, views):
    said = predicted(model, views)
    poses = pose_matrices(said.quaternions, said.translations)[0].double().numpy()
    for i, frame in enumerate(model.reconstruct(views, Options(points="head")).frames):
        ahead = said.points_in_camera[0, i, ..., 2].numpy() > 0
        world = geometry.transform(np.linalg.inv(poses[0]), said.points[0, i].numpy())
        np.testing.assert_allclose(frame.world_points()[ahead], world[ahead], atol=1e-4)


def test_what_means_nothing_is_left_out_unless_it_is_wanted(checkpoint, views):
    model = loaded(checkpoint, Pinhole)
    masked, whole = model.reconstruct(views), model.reconstruct(views, Options(mask=False))
    for frame, same in zip(masked.frames, whole.frames, strict=True):
        assert same.valid is None
        assert same.known().all()
        assert not frame.known()[:50, :60].any()
        assert 0.1 < frame.known().mean() < 0.97  # edges of what stand-in weights see are many
        np.testing.assert_array_equal(frame.depth, same.depth)


def test_frames_know_the_untouched_photo_whatever_its_shape(model):
    assert_frames_know_a_bright_box(model, [blank(90, 150)])


def test_transparent_pixels_are_not_known(checkpoint, views):
    mask = np.zeros(views[0].image.shape[:2], bool)
    mask[:, :150] = True
    frame = loaded(checkpoint, Pinhole).reconstruct([replace(views[0], mask=mask)], Options(mask=False)).frames[0]
    assert frame.known()[:, :258].all()
    assert not frame.known()[:, 260:].any()


def test_no_number_of_a_scene_is_undefined(checkpoint, views):
    class Broken(Pinhole):
        def maps(self, features, frames):
            maps = super().maps(features, frames)
            maps.depth = maps.depth.clone()
            maps.depth[..., 60:70, :] = torch.inf
            maps.confidence[..., 70:80, :] = torch.nan
            maps.rays = maps.rays.clone()
            maps.rays[..., 80:90, :, 2] = -1
            return maps

    frame = loaded(checkpoint, Broken).reconstruct(views[:1], Options(mask=False)).frames[0]
    for values in (frame.depth, frame.confidence, frame.world_points(), frame.camera.intrinsics):
        assert np.isfinite(values).all()
    rows = np.arange(SIZE[1])
    np.testing.assert_array_equal(frame.known().any(1), (rows < 60) | (rows >= 90))


def test_a_width_that_cannot_be_is_guessed_and_told(checkpoint, known):
    class Flat(Pinhole):
        intrinsics = torch.tensor([[1e-3, 0, 250], [0, 1e-3, 90], [0, 0, 1]])

    model = loaded(checkpoint, Flat)
    views = [replace(known[0], world_from_camera=None), replace(known[1], intrinsics=None, world_from_camera=None)]
    scene = model.reconstruct(views)
    assert "How wide 2 of the 2 photos" in scene.notes[-1]
    np.testing.assert_allclose(
        scene.frames[0].camera.intrinsics[0, 0], known[0].intrinsics[0, 0] * 168 / 100, rtol=0.05
    )
    assert 400 < scene.frames[1].camera.intrinsics[0, 0] < 500


def test_a_view_without_a_place_is_told(checkpoint, views):
    class Lost(Network):
        def poses(self, features, frames):
            translations, quaternions = super().poses(features, frames)
            translations[:, -1] = torch.nan
            return translations, quaternions

    with pytest.raises(InputError, match=rf"no place for '{views[2].name}'"):
        loaded(checkpoint, Lost).reconstruct(views)


# --- what is known ---------------------------------------------------------------------------------------------------


class Listening(Network):
    """Keeps what it is told."""

    told: Known | None = None
    images: torch.Tensor

    def encode(self, images, known=None, progress=None):
        Listening.told, Listening.images = known, images
        return super().encode(images, known, progress)


def heard(checkpoint: Path, views: list[View]) -> tuple[Known, Scene]:
    scene = loaded(checkpoint, Listening).reconstruct(views)
    assert Listening.told is not None
    return Listening.told, scene


@pytest.mark.parametrize("kind", ["intrinsics", "world_from_camera", "depth"])
def test_what_is_known_changes_the_answer(model, scene, known, kind):
    names = {"depth": ["depth", "intrinsics"]}.get(kind, [kind])
    views = [
        replace(View(view.image, view.name), **{name: getattr(view, name) for name in names}, metric=True)
        for view in known
    ]
    use = {"world_from_camera": "poses"}.get(kind, kind)
    told = model.reconstruct(views, Options(use=(use,), align=False))
    assert not same(told, scene)
    assert same(model.reconstruct(views, Options(use=("scale",), align=False)), scene)


def test_units_are_told_where_they_are_metres(model, known):
    metric = model.reconstruct(known, Options(align=False))
    loose = model.reconstruct([replace(view, metric=False) for view in known], Options(align=False))
    assert not same(metric, loose)
    assert same(loose, model.reconstruct(known, Options(align=False, use=("intrinsics", "poses", "depth"))))


def test_known_rays_depth_and_poses_are_those_of_the_pixels(checkpoint, truth, known):
    known[1] = replace(known[1], depth=None)
    told, _ = heard(checkpoint, known)
    assert told.has_rays.tolist() == [[True] * 3]
    assert told.has_depth.tolist() == [[True, False, True]]
    assert told.metric_depth.all()
    points = told.rays[[0, 2]] * told.depth[..., None]
    scale = SIZE[0] / 300
    for view, seen in zip((0, 2), points.numpy(), strict=True):
        frame = truth.frames[view]
        for x, y in ((200, 80), (35, 121), (480, 14)):  # of the network, pixel centres at integers
            column, row = (x + 0.5) / scale, (y + 0.5 + 2.5) / scale  # of 173 rows the first 2 or 3 are cropped
            expected = geometry.unproject(frame.depth, frame.camera.intrinsics)[int(row), int(column)]
            np.testing.assert_allclose(seen[y, x], expected, rtol=0.02, atol=0.02)
    expected = geometry.invert(truth.frames[0].camera.world_from_camera) @ truth.frames[2].camera.world_from_camera
    matrices = pose_matrices(told.quaternions, told.translations)[0].numpy()
    np.testing.assert_allclose(np.linalg.inv(matrices[0]) @ matrices[2], expected, atol=1e-5)


def test_known_depth_may_be_coarser_than_the_picture(checkpoint, known):
    coarse = known[0].depth[::2, ::2].copy()
    coarse[:5], coarse[5] = np.nan, -1
    told, scene = heard(checkpoint, [replace(known[0], depth=coarse)])
    assert not any("depth" in note for note in scene.notes)
    depth = (told.rays * told.depth[..., None])[0, ..., 2].numpy()
    assert (depth[:12] == 0).all()
    np.testing.assert_allclose(np.unique(depth[30:]), np.unique(np.float32(depth[30:])))
    assert np.isin(np.round(depth[30:], 4), np.round(coarse, 4)).mean() > 0.99


def test_a_view_with_a_pose_goes_first_and_frames_stay_in_order(checkpoint, known):
    views = [replace(known[0], world_from_camera=None), known[1], known[2]]
    told, scene = heard(checkpoint, views)
    assert told.has_pose.tolist() == [[True, False, True]]
    assert [frame.name for frame in scene.frames] == [view.name for view in known]
    assert [frame.view for frame in scene.frames] == [0, 1, 2]
    for frame, shown in zip(scene.frames, Listening.images[0, [1, 0, 2]], strict=True):
        np.testing.assert_allclose(frame.image, 255 * shown.permute(1, 2, 0), atol=0.5)


def test_a_single_pose_moves_the_scene_as_a_whole(checkpoint, model, scene, known, views):
    views[1] = replace(views[1], world_from_camera=known[1].world_from_camera)
    told, moved = heard(checkpoint, views)
    assert told.has_pose is None
    assert moved.metric
    assert moved.notes == scene.notes  # of widths alone
    np.testing.assert_allclose(moved.frames[1].camera.world_from_camera, known[1].world_from_camera, atol=1e-5)


def placed_at(poses: np.ndarray) -> type[Network]:
    """A network whose cameras stand at these poses, of a scene of one metre a unit."""

    class Placed(Pinhole):
        def poses(self, features, frames):
            rotations = geometry.quaternion_from_rotation
            turned = np.stack([np.roll(rotations(pose[:3, :3]), -1) for pose in poses[frames]])
            return torch.from_numpy(poses[None, frames, :3, 3]).float(), torch.from_numpy(turned[None]).float()

        def scale(self, features):
            return torch.ones(1)

    return Placed


@pytest.mark.parametrize("metric", [True, False])
def test_the_scene_is_brought_to_known_poses(checkpoint, views, metric):
    poses = room_from_cameras(3)
    moved = geometry.rigid(geometry.rotation_from_quaternion(np.array([0.9, 0.1, -0.3, 0.2])), np.array([500.0, -2, 7]))
    given = moved @ poses
    unit = 1.0 if metric else 0.25
    given[:, :3, 3] *= unit
    network = placed_at(poses)
    views = [replace(view, world_from_camera=pose, metric=metric) for view, pose in zip(views, given, strict=True)]
    scene = loaded(checkpoint, network).reconstruct(views)
    free = loaded(checkpoint, network).reconstruct(views, Options(align=False))
    assert scene.metric == metric
    assert free.metric
    assert "lie 0.0 cm and 0.0 degrees" in scene.notes[0]
    assert any("one unit of which is about 4.00 m" in note for note in scene.notes) == (not metric)
    for frame, pose, other in zip(scene.frames, given, free.frames, strict=True):
        np.testing.assert_allclose(frame.camera.world_from_camera, pose, atol=1e-3)
        np.testing.assert_allclose(frame.depth, unit * other.depth, rtol=1e-4)
    np.testing.assert_array_equal(free.frames[0].camera.world_from_camera, np.eye(4))


def test_poses_without_lengths_leave_the_scene_in_metres(checkpoint, views):
    poses = np.stack([geometry.rigid(pose[:3, :3], np.zeros(3)) for pose in room_from_cameras(3)])
    views = [replace(view, world_from_camera=pose) for view, pose in zip(views, poses, strict=True)]
    scene = loaded(checkpoint, placed_at(poses)).reconstruct(views)
    assert scene.metric
    assert len(scene.notes) == 1
    for frame, pose in zip(scene.frames, poses, strict=True):
        np.testing.assert_allclose(frame.camera.world_from_camera, pose, atol=1e-5)


def test_how_far_cameras_are_from_known_ones_is_told(checkpoint, views):
    poses = room_from_cameras(3)
    given = poses.copy()
    given[2, :3, 3] += [0, 0.3, 0]
    views = [replace(view, world_from_camera=pose, metric=True) for view, pose in zip(views, given, strict=True)]
    scene = loaded(checkpoint, placed_at(poses)).reconstruct(views)
    assert "lie 10.0 cm and 0.0 degrees" in scene.notes[0]  # a third of it for each, but two thirds for one
    assert "at most 20.0 cm" in scene.notes[0]


def test_poses_far_from_the_origin_keep_their_digits(checkpoint, known):
    far = np.eye(4)
    far[:3, 3] = 500_000.125, 4_000_000.5, 100
    near, _ = heard(checkpoint, known)
    views = [replace(view, world_from_camera=far @ view.world_from_camera.astype(np.float64)) for view in known]
    told, scene = heard(checkpoint, views)
    torch.testing.assert_close(
        told.translations - told.translations[:, :1], near.translations - near.translations[:, :1]
    )
    assert all("degrees" in note or "How wide" in note for note in scene.notes)


SCALED_BY_TWO = np.diag([2.0, 2, 2, 1])
MIRROR = np.diag([-1.0, 1, 1, 1])


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ({"world_from_camera": np.full((4, 4), np.nan)}, "no numbers"),
        ({"world_from_camera": np.eye(3)}, "no numbers"),
        ({"world_from_camera": MIRROR}, "mirrors the world"),
        ({"world_from_camera": SCALED_BY_TWO}, "scales or skews"),
        ({"intrinsics": np.full((3, 3), np.nan), "depth": None}, "no pinhole camera"),
        ({"intrinsics": np.diag([-100.0, 100, 1]), "depth": None}, "no pinhole camera"),
        ({"intrinsics": np.array([[2000.0, 0, 1500], [0, 2000, 500], [0, 0, 1]]), "depth": None}, "another resolution"),
        ({"depth": np.ones((100, 200), np.float32)}, "another aspect"),
        ({"depth": np.ones((100, 300, 2), np.float32)}, "no map of numbers"),
        ({"depth": np.full((100, 300), np.nan, np.float32)}, "knows no pixel"),
        ({"depth": np.ones((100, 300), np.float32), "intrinsics": None}, "only where intrinsics are known"),
    ],
)
def test_what_cannot_be_is_left_out_and_named(model, known, views, what, told):
    bad = [replace(known[0], **what), *views[1:]]
    _, notes = told_of(bad, Options().use)
    assert len(notes) == 1
    assert told in notes[0]
    assert f"'{bad[0].name}'" in notes[0]
    assert notes[0].endswith(".")
    scene = model.reconstruct(bad)
    assert scene.notes[0] == notes[0]
    assert len(scene.frames) == 3


def test_one_sentence_names_all_that_cannot_be(known):
    _, notes = told_of([replace(view, world_from_camera=MIRROR) for view in known], Options().use)
    assert len(notes) == 1
    assert notes[0].startswith(f"The pose of '{known[0].name}', '{known[1].name}' and 1 more mirrors")
    _, notes = told_of([replace(view, world_from_camera=MIRROR) for view in known], ("depth",))
    assert notes == []


def test_rotations_of_few_digits_are_taken(known):
    told, notes = told_of([replace(known[2], world_from_camera=known[2].world_from_camera.round(2))], Options().use)
    assert notes == []
    rotation = told[0].world_from_camera[:3, :3]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)


def test_a_choice_that_there_is_not():
    with pytest.raises(InputError, match="use names 'wings'"):
        Options(use=("depth", "wings"))


# --- a run -----------------------------------------------------------------------------------------------------------


def test_updates_place_chunk_after_chunk(model, views):
    updates = list(model.stream(views))
    assert stages_of(updates) == ["Preparing", "Looking", "Placing", "Finishing"]
    assert [update.changed for update in updates if update.changed] == [(0,), (1,), (2,)]


def test_a_run_can_be_stopped_at_any_update(model, views):
    assert_stops_at_any_update(model, views, ["Looking", "Placing"])


def test_confidence_may_be_how_many_other_views_agree(checkpoint, views):
    model = loaded(checkpoint, Pinhole)
    updates = list(model.stream(views, Options(agreement=True, mask=False)))
    assert "Comparing" in stages_of(updates)
    scene = updates[-1].scene
    shares = {round(float(share), 3) for frame in scene.frames for share in np.unique(frame.confidence)}
    assert shares <= {0.0, 0.5, 1.0}  # of two other views
    assert len(shares) > 1
    alone = model.reconstruct(views[:1], Options(agreement=True))
    assert (alone.frames[0].confidence == 1).all()
    plain = model.reconstruct(views, Options(mask=False))
    np.testing.assert_array_equal(scene.frames[1].depth, plain.frames[1].depth)


def greedy(times: int) -> type[Network]:
    """A network that the system refuses memory, so many times."""

    class Greedy(Network):
        asked = 0

        def maps(self, features, frames):
            if frames == [2] and Greedy.asked < times:
                Greedy.asked += 1
                torch.empty(1 << 60, dtype=torch.uint8)
            return super().maps(features, frames)

    return Greedy


def test_a_run_that_is_refused_memory_begins_anew_smaller(checkpoint, known):
    scene = loaded(checkpoint, greedy(1)).reconstruct(known)
    assert [frame.size for frame in scene.frames] == [(336, 112)] * 3
    assert any("not enough memory" in note and "336 x 112" in note for note in scene.notes)


def test_a_run_that_is_refused_memory_twice_ends_in_a_sentence(checkpoint, views):
    with pytest.raises(InputError, match="fewer photos"):
        loaded(checkpoint, greedy(2)).reconstruct(views)


def test_what_does_not_fit_is_planned_smaller_step_by_step():
    card, views = CARDS["mapanything-apache"], [blank(900, 1600)] * 300
    free = suitable(card, views, "cuda", Options(), None)
    assert (len(free.views), free.size, free.notes) == (300, (294, 518), ())
    seen, budget = [], free.memory * 1.2
    while budget > 2 * GIGABYTE:
        plan = suitable(card, views, "cuda", Options(), int(budget))
        seen.append((len(plan.views), max(plan.size), plan.chunk))
        assert (plan.memory <= SPARE * budget) or "may fail" in plan.notes[0]
        budget *= 0.95
    assert seen[0] == (300, 518, free.chunk)
    assert {size for _, size, _ in seen} == set(SIDES)
    assert [views for views, _, _ in seen] == sorted((views for views, _, _ in seen), reverse=True)
    assert seen[-1][0] == 1


def test_the_plan_is_what_is_run(model, views):
    plan = model.plan(views * 2, options=Options(maximum_views=4))
    assert (len(plan.views), plan.size, plan.precision, plan.device) == (4, SIZE, "float32", "cpu")
    assert len(plan.notes) == 1
    assert model.plan(views * 2).seconds > model.plan(views).seconds > 0
    newer, older = (recon.plan(name, views, "cpu") for name in ("mapanything", "mapanything-v1"))
    assert newer.memory > 4.9 * GIGABYTE > older.memory > 2.2 * GIGABYTE > model.plan(views).memory
    assert newer.seconds > older.seconds
    told = [replace(view, intrinsics=np.eye(3)) for view in views]
    assert recon.plan("mapanything", told, "cpu").memory > newer.memory
    with pytest.raises(InputError, match="at least one photo"):
        model.plan([])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_says_about_the_same_and_is_left_empty(checkpoint, known):
    on_gpu, on_cpu = recon.load("mapanything-apache", "cuda", checkpoint), loaded(checkpoint)
    for views in (known, [View(view.image, view.name) for view in known]):
        fast, slow = on_gpu.reconstruct(views), on_cpu.reconstruct(views)
        for one, other in zip(fast.frames, slow.frames, strict=True):
            np.testing.assert_allclose(one.depth, other.depth, rtol=0.05)
            np.testing.assert_allclose(one.camera.world_from_camera, other.camera.world_from_camera, atol=0.05)
    on_gpu.release()
    held = torch.cuda.memory_allocated()
    stream = on_gpu.stream(known)
    for _ in range(6):
        next(stream)
    stream.close()
    assert torch.cuda.memory_allocated() <= held + 1_000_000


# --- checkpoints -----------------------------------------------------------------------------------------------------


def test_both_versions_in_both_containers(tmp_path, views):
    for version in ("1", "1.1"):
        folder = tmp_path / version
        folder.mkdir()
        first = loaded(write(folder, version)).reconstruct(views[:2])
        state = recon.checkpoint.read_state(folder / "model.safetensors")
        aliased = {name.replace("dense_head.0.", "dpt_feature_head."): tensor for name, tensor in state.items()}
        torch.save({"model": state | aliased, "epoch": 3}, folder / "model.pth")
        assert same(first, loaded(folder / "model.pth").reconstruct(views[:2]))


def test_checkpoints_that_do_not_fit(tmp_path):
    path = write(tmp_path)
    (tmp_path / "config.json").write_text('{"wings": 2}')
    with pytest.raises(InputError, match="must say encoder_config"):
        loaded(path)
    (tmp_path / "config.json").unlink()
    with pytest.raises(InputError, match="does not fit MapAnything"):
        loaded(path)


def test_cards_offer_the_freest_licence_first():
    cards = [card for card in CARDS.values() if card.name.startswith("mapanything")]
    assert [card.commercial for card in cards] == [True, False, True, False]
    for card in cards:
        assert card.metric
        assert card.commercial == (card.licence == "Apache-2.0") == ("apache" in card.repository)
        assert card.licence_url.endswith(card.repository)
