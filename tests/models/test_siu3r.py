"""SIU3R: a network so small that a test can run it, and Gaussians that are known exactly in its place."""

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import recon
from recon import InputError, Options, View, geometry
from recon.models import CARDS
from recon.models.siu3r import Siu3r
from recon.models.siu3r_cameras import USUAL, intrinsics_of, overlap, place
from recon.models.siu3r_fitting import fit
from recon.models.siu3r_labels import CLASSES
from recon.models.siu3r_scene import Member, Seen, World
from recon.networks.siu3r_gaussians import GaussianMaps
from recon.scene import Scene
from tests.helpers import BALLS, room_from_cameras, synthetic_scene, synthetic_views
from tests.networks.small_siu3r import write_checkpoint

SIDE = 96
WALL, CHAIR, SOFA = (list(CLASSES).index(name) for name in ("wall", "chair", "sofa"))


# --- a run with the network ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("siu3r")


@pytest.fixture(scope="module")
def model(folder) -> Siu3r:
    torch.set_num_threads(1)
    found = recon.load("siu3r", device="cpu", weights=write_checkpoint(folder / "siu3r.ckpt"))
    assert isinstance(found, Siu3r)
    return found


@pytest.fixture(scope="module")
def photos() -> list[View]:
    return synthetic_views(synthetic_scene(3, 90, 120))


def test_a_run_gives_frames_gaussians_and_labels(model, photos, tmp_path):
    updates = list(model.stream(photos[:2]))
    fractions = [update.fraction for update in updates]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    scene = updates[-1].scene
    first = scene.frames[0]
    assert first.size == (256, 256)
    np.testing.assert_array_equal(first.camera.world_from_camera, np.eye(4))
    assert first.depth.min() >= 0
    known = sum(int(frame.known().sum()) for frame in scene.frames)
    assert len(scene.gaussians) == known > 0
    assert scene.gaussians.harmonics.shape == (known, 3, 25)
    np.testing.assert_allclose(np.linalg.norm(scene.gaussians.rotations, axis=1), 1, atol=1e-5)
    assert scene.labels.names[WALL] == "wall"
    assert scene.metric
    ids = {segment.id for segment in scene.labels.segments}
    assert set(np.unique(np.stack([frame.segments for frame in scene.frames]))) <= ids | {-1}
    assert any("focal length" in note for note in scene.notes)
    scene.save(tmp_path / "saved")
    again = Scene.load(tmp_path / "saved")
    np.testing.assert_array_equal(again.gaussians.rotations, scene.gaussians.rotations)
    assert again.labels.segments == scene.labels.segments


def test_more_photos_are_seen_two_by_two_or_all_at_once(model, photos, folder):
    many = recon.load("siu3r", device="cpu", weights=write_checkpoint(folder / "many.ckpt", multiple=True))
    for each, passes in ((model, 2), (many, 1)):
        calls: list[int] = []
        handle = each.network.register_forward_pre_hook(lambda _, given, calls=calls: calls.append(given[0].shape[1]))
        scene = each.reconstruct(photos)
        handle.remove()
        assert calls == ([2, 2] if passes == 2 else [3])
        assert scene.frames[0].name == photos[0].name


def test_a_run_can_be_stopped(model, photos):
    threads = threading.active_count()
    updates = model.stream(photos)
    scene = next(update.scene for update in updates if update.stage == "Looking")
    assert threading.active_count() > threads  # the network is at work
    updates.close()
    assert threading.active_count() == threads
    assert scene.frames == []


def test_one_photo_is_refused_in_a_sentence(model, photos):
    with pytest.raises(InputError, match="needs two photos") as error:
        model.reconstruct(photos[:1])
    assert str(error.value).endswith(".")
    with pytest.raises(InputError, match="needs two photos"):
        recon.plan("siu3r", photos[:1])  # before the weights are downloaded
    with pytest.raises(InputError, match="nothing to reconstruct"):
        model.plan([])


def test_the_plan_is_the_same_memory_for_all_and_says_what_is_left_out(model, photos):
    card = CARDS["siu3r"]
    two, many = (Siu3r.predict(card, photos[:1] * count, "cpu") for count in (2, 10))
    assert two.memory == many.memory > 4 * card.parameters
    assert many.seconds > 5 * two.seconds
    few = Siu3r.predict(card, photos * 5, "cpu", Options(maximum_views=4))
    assert len(few.views) == 4
    assert "Of 15 views, 4 are used" in few.notes[0]


def test_checkpoints_that_do_not_fit_are_told(tmp_path):
    torch.save({"state_dict": {"model.head": torch.ones(1)}}, tmp_path / "other.ckpt")
    with pytest.raises(InputError, match="does not fit Siu3r"):
        recon.load("siu3r", device="cpu", weights=tmp_path / "other.ckpt")


# --- photos of any shape ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(400, 300), (300, 400), (256, 256), (61, 97), (1000, 130)])
def test_pixels_of_the_square_are_known_in_the_photo(size):
    width, height = size
    y, x = np.mgrid[:height, :width]
    image = np.stack([255 * x / width, 255 * y / height, 0 * x], -1).round().astype(np.uint8)
    fitted = fit(image)
    assert fitted.size == (256, 256)
    grid = np.concatenate([geometry.pixel_grid(256, 256), np.ones((256, 256, 1))], -1)[10:-10:7, 10:-10:7]
    places = grid @ fitted.original_from_processed.T
    np.testing.assert_allclose(fitted.image[10:-10:7, 10:-10:7, 0], 255 * (places[..., 0] - 0.5) / width, atol=1.5)
    np.testing.assert_allclose(fitted.image[10:-10:7, 10:-10:7, 1], 255 * (places[..., 1] - 0.5) / height, atol=1.5)


def test_a_photo_that_is_hardly_a_square_is_refused():
    with pytest.raises(InputError, match="too elongated"):
        fit(np.zeros((10, 200, 3), np.uint8))


def test_intrinsics_are_those_that_are_known_or_guessed_with_a_note():
    blank = np.zeros((300, 400, 3), np.uint8)
    matrix = np.array([[350, 0, 210], [0, 340, 140], [0, 0, 1]], np.float32)
    views = [
        View(blank, "a", intrinsics=matrix),
        View(blank.swapaxes(0, 1).copy(), "b", focal_prior=360),
        View(blank, "c"),
    ]
    fitted = [fit(view.image) for view in views]
    found, notes = intrinsics_of(views, fitted)
    scale = 256 / 300
    np.testing.assert_allclose(found[0][0], [350 * scale, 0, (210 - 50) * scale], rtol=5e-3)
    np.testing.assert_allclose(found[0][1], [0, 340 * scale, 140 * scale], rtol=5e-3)
    np.testing.assert_allclose(found[1][[0, 1, 0, 1], [0, 1, 2, 2]], [360 * scale, 360 * scale, 128, 128], rtol=5e-3)
    np.testing.assert_allclose(found[2][0, 0], 355 * scale, rtol=5e-3)  # as the others
    assert len(notes) == 1
    assert "'c'" in notes[0]
    alone, notes = intrinsics_of(views[2:], fitted[2:])
    np.testing.assert_allclose(alone[0][0, 0], USUAL * 256, rtol=5e-3)
    assert "learned from" in notes[0]
    assert intrinsics_of(views[:2], fitted[:2])[1] == []


# --- Gaussians that are known ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def truth() -> Scene:
    return synthetic_scene(3, SIDE, SIDE)


def members(truth: Scene) -> list[Member]:
    views = synthetic_views(truth)
    fitted = [fit(view.image, SIDE) for view in views]
    return [
        Member(view, index, one, frame.camera.intrinsics.astype(np.float32))
        for index, (view, one, frame) in enumerate(zip(views, fitted, truth.frames, strict=True))
    ]


def balls(truth: Scene, index: int) -> list[np.ndarray]:
    """Where a frame shows each of the two balls."""
    world_from_room = geometry.invert(room_from_cameras(3)[0])
    points = truth.frames[index].world_points()
    centres = geometry.transform(world_from_room, BALLS[:, :3])
    return [
        np.linalg.norm(points - centre, axis=-1) < radius + 0.01
        for centre, radius in zip(centres, BALLS[:, 3], strict=True)
    ]


def seen(truth: Scene, indices: tuple[int, ...], scale: float = 1.0, order: tuple[int, ...] = (0, 1, 2)) -> Seen:
    """What a perfect network says: a chair, a sofa, and walls elsewhere, the queries in that order."""
    points = np.stack([truth.frames[index].world_points() for index in indices]) * scale
    depth = np.stack([truth.frames[index].depth for index in indices]) * scale
    maps = GaussianMaps(
        torch.from_numpy(points)[None].float(),
        torch.from_numpy(0.6 * depth / truth.frames[0].camera.intrinsics[0, 0])[None, ..., None].expand(
            -1, -1, -1, -1, 3
        ),
        torch.tensor([0, 0, 0, 2.0]).expand(1, *depth.shape, 4),
        torch.full((1, *depth.shape), 0.95),
        torch.zeros(1, *depth.shape, 3, 25),
    )
    masks = np.stack([[*balls(truth, index), ~np.any(balls(truth, index), 0)] for index in indices], 1)
    logits = torch.from_numpy(np.where(masks, 9.0, -9.0)).float()
    classes = 12 * torch.nn.functional.one_hot(torch.tensor([CHAIR, SOFA, WALL]), len(CLASSES) + 1).float()
    return Seen([members(truth)[index] for index in indices], maps, classes[list(order)], logits[list(order)])


def test_cameras_depth_and_segments_are_those_of_the_scene(truth):
    scene = Scene()
    assert World(scene).add(seen(truth, (0, 1, 2))) == (0, 1, 2)
    assert [(segment.label, segment.thing) for segment in scene.labels.segments] == [
        (CHAIR, True), (SOFA, True), (WALL, False),
    ]  # fmt: skip
    for index, (frame, expected) in enumerate(zip(scene.frames, truth.frames, strict=True)):
        np.testing.assert_allclose(frame.camera.world_from_camera, expected.camera.world_from_camera, atol=2e-3)
        np.testing.assert_allclose(frame.depth, expected.depth, rtol=2e-3, atol=2e-3)
        for number, ball in enumerate(balls(truth, index)):
            identity = scene.labels.segments[number].id
            agreed = (frame.segments == identity) & ball
            assert agreed.sum() > 0.9 * ball.sum() > 10
            assert (frame.segments == identity).sum() < 1.35 * ball.sum()  # what is in front grows by a pixel
    assert scene.gaussians.segments(scene.frames).tolist() == np.concatenate(
        [frame.segments.ravel() for frame in scene.frames]
    ).tolist()  # fmt: skip
    np.testing.assert_allclose(scene.gaussians.rotations[0], [1, 0, 0, 0])


def test_passes_of_two_are_one_world_in_which_things_keep_their_names(truth):
    scene = Scene()
    world = World(scene)
    assert world.add(seen(truth, (0, 1))) == (0, 1)
    assert world.add(seen(truth, (0, 2), scale=1.3, order=(2, 1, 0))) == (2,)
    for frame, expected in zip(scene.frames, truth.frames, strict=True):
        np.testing.assert_allclose(frame.camera.world_from_camera, expected.camera.world_from_camera, atol=3e-3)
        np.testing.assert_allclose(frame.world_points(), expected.world_points(), atol=5e-3)
    labels = {segment.id: segment.label for segment in scene.labels.segments}
    assert sorted(labels.values()) == sorted([WALL, CHAIR, SOFA])
    chair = next(number for number, label in labels.items() if label == CHAIR)
    ball = balls(truth, 2)[0]
    assert ((scene.frames[2].segments == chair) & ball).sum() > 0.9 * ball.sum()
    scales = scene.gaussians.scales[scene.gaussians.frame == 2].mean() / scene.gaussians.scales.mean()
    assert 0.8 < scales < 1.25


def test_a_thing_that_the_first_photo_does_not_show_is_a_new_one(truth):
    scene = Scene()
    world = World(scene)
    world.add(seen(truth, (0, 1)))
    other = seen(truth, (0, 2))
    world.add(replace(other, classes=other.classes[[1, 0, 2]]))  # what was a chair is a sofa now, and elsewhere
    assert len(scene.labels.segments) == 5
    assert len({segment.id for segment in scene.labels.segments}) == 5


def test_a_photo_without_a_place_is_left_out_with_a_note(truth):
    given = seen(truth, (0, 1))
    torch.manual_seed(0)
    means = given.gaussians.means.clone()
    means[0, 1] = torch.randn(SIDE, SIDE, 3)
    scene = Scene()
    world = World(scene)
    assert world.add(replace(given, gaussians=replace(given.gaussians, means=means))) == (0,)
    (note,) = world.notes("first.jpg")
    assert "was left out: no place was found" in note
    assert len(scene.gaussians) == SIDE * SIDE


def test_photos_without_overlap_are_told(truth):
    given = seen(truth, (0, 1))
    means = given.gaussians.means.clone()
    means[0, 1] += torch.tensor([60.0, 0, 0])
    world = World(Scene())
    apart = replace(given, gaussians=replace(given.gaussians, means=means))
    assert world.add(apart) == (0, 1)
    (note,) = world.notes("first.jpg")
    assert "shows little of what 'first.jpg' shows" in note
    world.add(apart)
    (note,) = world.notes("first.jpg")  # one sentence, however many photos it is about
    assert "their places are guesses" in note


def test_nothing_recognised_leaves_the_frames_unlabelled(truth):
    given = seen(truth, (0, 1))
    scene = Scene()
    World(scene).add(replace(given, classes=given.classes.roll(1, 1) * 0))
    assert scene.labels.segments == []
    assert scene.labels.names == tuple(CLASSES)
    assert all((frame.segments == -1).all() for frame in scene.frames)


def test_a_camera_is_found_by_its_points(truth):
    first, second = truth.frames[:2]
    found = place(second.world_points(), first.world_points(), second.camera.intrinsics, first.camera.intrinsics)
    assert found is not None
    np.testing.assert_allclose(found.world_from_camera, second.camera.world_from_camera, atol=2e-3)
    assert 0.5 < found.overlap <= 1
    behind = first.world_points().reshape(-1, 3) * [1, 1, -1]
    assert overlap(behind, first.depth, first.camera.intrinsics) == 0


def test_a_file_of_a_photo_with_exif_is_taken_at_its_word(tmp_path):
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA405] = 26  # focal length in 35 mm film
    Image.fromarray(np.zeros((300, 400, 3), np.uint8)).save(tmp_path / "a.jpg", exif=exif)
    (view,) = recon.read([tmp_path / "a.jpg"]).views
    _, notes = intrinsics_of([view], [fit(view.image)])
    assert notes == []
