"""Videos in which things move, by a network so small that a test can run it, and by pointmaps that are known."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import recon
from recon import CARDS, InputError, Options, Scene, View
from recon.alignment.windows import windows
from recon.evaluation.metrics import trajectory_error
from recon.models import pair_fitting
from recon.models.monst3r import ALONE, UNTIMED, Monst3r, append, marked, video_of
from recon.models.monst3r_plan import pairs_to_decode, suitable
from recon.models.pair_world import Member, known_of
from recon.models.stages import schedule
from tests.alignment.moving_scenes import MovingScene, moving_scene
from tests.models.test_dust3r import told, write
from tests.parity_networks.monst3r_motion import overlap

GIGABYTE = 1_000_000_000


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Monst3r:
    torch.set_num_threads(1)
    model = recon.load("monst3r", "cpu", write(tmp_path_factory.mktemp("monst3r")))
    assert isinstance(model, Monst3r)
    return model


def film(count: int = 4, timed: bool = True) -> list[View]:
    """Frames of a picture that moves, wide and low, so that the network has little to do."""
    picture = np.kron(np.random.default_rng(0).integers(0, 255, (25, 100, 3), np.uint8), np.ones((4, 4, 1), np.uint8))
    return [
        View(picture[:, 3 * i : 3 * i + 300], f"film at {i / 10} s", Path("film.mp4"), time=i / 10 if timed else None)
        for i in range(count)
    ]


def views_of(known: MovingScene, **given: Sequence) -> list[View]:
    return [
        View(image, f"{i}", Path("room.mp4"), time=i / 10, **{name: values[i] for name, values in given.items()})
        for i, image in enumerate(known.images)
    ]


def members_of(views: Sequence[View], places: Sequence[int]) -> list[Member]:
    """Frames whose pixels are those of the network's input."""
    fitted = [pair_fitting.fit(views[place].image, views[place].size[0], square_ok=True) for place in places]
    return [Member(views[place], place, one) for place, one in zip(places, fitted, strict=True)]


def built(known: MovingScene, members: list[Member], graph: str = "swinstride-3-noncyclic") -> Scene:
    """The scene of some frames, pointmaps that are known and then disturbed standing in for the network's."""
    graph_of = pairs_to_decode(len(members), Options(graph=graph))
    places = [member.index for member in members]
    part = MovingScene(*(values[places] for values in (known.images, known.depth, known.moving)),
                       known.world_from_camera[places], known.focal)  # fmt: skip
    pairs, scene = part.pairs(graph_of, seed=places[0]), Scene()
    parts = schedule({"Pairing": 1.0, "Aligning": 1.0})
    given = known_of(members, shared_focal=True)
    for _ in marked(scene, members, told(pairs), len(pairs), given, parts, video_of(members, timed=True)):
        pass
    return scene


def way_error(scene: Scene, known: MovingScene) -> float:
    poses = np.stack([frame.camera.world_from_camera for frame in scene.frames])
    length = np.linalg.norm(np.diff(known.world_from_camera[:, :3, 3], axis=0), axis=1).sum()
    return trajectory_error(known.world_from_camera, poses) / length


def test_frames_say_what_moves_and_when():
    known = moving_scene(4, frames=8)
    scene = built(known, members_of(views_of(known), range(8)))
    assert [frame.time for frame in scene.frames] == [i / 10 for i in range(8)]
    assert overlap(np.stack([frame.moving for frame in scene.frames]), known.moving) > 0.8
    assert way_error(scene, known) < 0.02


@pytest.mark.parametrize("camera", [1.0, 0.0])
def test_windows_of_a_long_video_make_one_world(camera):
    known = moving_scene(5, frames=8, camera=camera)
    views, scene = views_of(known), Scene()
    for window in windows(8, size=5, shared=2):
        members = members_of(views, window)
        part = built(known, members)
        if not scene.frames:
            scene.frames = part.frames
        else:
            assert append(scene, part, members)
    assert [frame.view for frame in scene.frames] == list(range(8))
    scales = [np.median(frame.depth / depth) for frame, depth in zip(scene.frames, known.depth, strict=True)]
    assert np.ptp(scales) < 0.01 * np.mean(scales)
    if camera:
        assert way_error(scene, known) < 0.02


def test_windows_cover_all_frames_and_share_some():
    assert windows(7, 10, 5) == [range(7)]
    assert windows(20, 10, 5) == [range(10), range(5, 15), range(10, 20)]
    assert windows(23, 10, 5) == [range(10), range(5, 15), range(10, 20), range(13, 23)]


def test_a_window_that_shares_nothing_ends_the_video():
    known = moving_scene(4, frames=8)
    views = views_of(known)
    first, second = (built(known, members_of(views, range(*place))) for place in ((0, 4), (4, 8)))
    assert not append(first, second, members_of(views, range(4, 8)))
    assert "falls apart before '4'" in first.notes[-1]


def test_masks_by_hand_win():
    known = moving_scene(4, frames=5)
    given = np.zeros((5, *known.moving.shape[1:]), bool)
    given[:, 10:40, 20:60] = True
    masks = [None, given[1], None, None, None]
    scene = built(known, members_of(views_of(known, moving=masks), range(5)))
    np.testing.assert_array_equal(scene.frames[1].moving, given[1])
    wrong = members_of(views_of(known, moving=[given[0][:-1], *masks[1:]]), range(5))
    with pytest.raises(InputError, match="192 x 143 pixels; mark it in 192 x 144"):
        video_of(wrong, timed=True)


def test_a_run_of_the_network_goes_forward_and_ends_with_masks(model):
    updates = list(model.stream(film()))
    assert [update.fraction for update in updates] == sorted(update.fraction for update in updates)
    assert updates[-1].fraction == 1
    frames = updates[-1].scene.frames
    assert frames
    for frame in frames:
        assert frame.moving.shape == frame.depth.shape
        assert frame.moving.dtype == bool
        assert frame.time is not None
    assert UNTIMED not in updates[-1].scene.notes
    assert len({float(frame.camera.intrinsics[0, 0]) for frame in frames}) == 1


def test_photos_without_times_and_a_single_frame_are_taken_and_the_user_told(model):
    scene = model.reconstruct(film(2, timed=False))
    assert UNTIMED in scene.notes
    alone = model.reconstruct(film(1))
    assert ALONE in alone.notes
    assert not alone.frames[0].moving.any()


def test_later_windows_leave_what_was_sent_alone(model, monkeypatch):
    for module in ("monst3r", "monst3r_plan"):
        monkeypatch.setattr(f"recon.models.{module}.windows", lambda count: windows(count, size=3, shared=2))
    updates = list(model.stream(film(4)))
    placed = [update.changed for update in updates if update.message.startswith("Placed")]
    assert placed == [(0, 1, 2), (3,)]
    assert [frame.view for frame in updates[-1].scene.frames] == [0, 1, 2, 3]


def test_a_run_can_be_cancelled(model):
    steps = model.stream(film())
    while next(steps).stage != "Aligning":
        pass
    steps.close()


def test_memory_does_not_grow_with_the_length_of_the_video():
    few, many = ([replace(view) for view in film(1) * count] for count in (60, 300))
    plans = [suitable(CARDS["monst3r"], views, "cuda", Options(), 140 * GIGABYTE) for views in (few, many)]
    assert plans[0].memory == plans[1].memory
    assert len(plans[1].views) == 300
    assert plans[1].seconds > 4 * plans[0].seconds
    note = Monst3r.predict(CARDS["monst3r"], many, "cpu").notes[-1]
    assert "300 frames are aligned in 10 windows" in note
