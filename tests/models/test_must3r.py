import threading
import time
from contextlib import closing
from dataclasses import replace
from itertools import count

import cv2
import numpy as np
import pytest
import torch

import recon
from recon import video
from recon.errors import InputError
from recon.models import CARDS, base, memory, must3r_plan
from recon.models.base import Options
from recon.models.must3r import Must3r
from recon.models.must3r_online import Online
from recon.models.must3r_ordering import companions
from recon.models.must3r_plan import is_ordered, plan_for
from recon.scene import View
from tests.helpers import synthetic_scene, synthetic_views
from tests.networks.small_must3r import DECODER, ENCODER, save_checkpoint, save_retrieval, tiny

CARD = CARDS["must3r"]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Must3r:
    path = save_checkpoint(tmp_path_factory.mktemp("must3r") / "MUSt3R.pth", tiny(ENCODER), tiny(DECODER))
    return Must3r(CARD, torch.device("cpu"), path)


@pytest.fixture(scope="module")
def sorting(tmp_path_factory) -> Must3r:
    """The same with the retrieval beside it."""
    folder = tmp_path_factory.mktemp("sorting")
    save_retrieval(folder)
    return Must3r(CARD, torch.device("cpu"), save_checkpoint(folder / "MUSt3R.pth", tiny(ENCODER), tiny(DECODER)))


@pytest.fixture
def views() -> list[View]:
    return synthetic_views(synthetic_scene(6, 48, 64))


@pytest.fixture
def frames(views) -> list[View]:
    """The same as frames of a video."""
    return [replace(view, time=number / 10) for number, view in enumerate(views)]


def drained(model: Must3r, views, options: Options = Options()):
    return list(model.stream(views, options))


def checked(scene, names) -> None:
    assert [frame.name for frame in scene.frames] == names
    for frame in scene.frames:
        assert frame.depth.dtype == frame.confidence.dtype == np.float32
        assert frame.known().any()
        rotation = frame.camera.world_from_camera[:3, :3]
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-4)


# --- photos ----------------------------------------------------------------------------------------------------------


def test_every_photo_becomes_a_frame(model, views):
    updates = drained(model, views)
    scene = updates[-1].scene
    checked(scene, [view.name for view in views])
    assert (scene.model, scene.metric, scene.notes) == ("must3r", True, [])
    assert [frame.view for frame in scene.frames] == list(range(6))
    fractions = [update.fraction for update in updates]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    assert all(frame.size == (64, 48) for frame in scene.frames)


def test_frames_appear_before_the_last_photo_was_looked_at(model, views):
    with closing(model.stream(views)) as updates:
        first = next(update for update in updates if update.changed)
        assert len(first.scene.frames) == 2


def test_only_so_many_photos_are_remembered_and_all_are_placed(model, views):
    scene = model.reconstruct(views, Options(keyframes=3))
    checked(scene, [view.name for view in views])
    assert scene.settings["keyframe_views"] == [0, 2, 5]


@pytest.mark.parametrize("number", [1, 2])
def test_few_photos_do(model, views, number):
    checked(model.reconstruct(views[:number]), [view.name for view in views[:number]])


def test_more_rounds_give_another_result_and_the_same_frames(model, views):
    plain, refined = (model.reconstruct(views, Options(rounds=rounds)) for rounds in (0, 1))
    checked(refined, [view.name for view in views])
    assert not np.allclose(plain.frames[3].depth, refined.frames[3].depth)


def test_photos_of_other_shapes_are_taken_together(model, views):
    tall = View(np.ascontiguousarray(views[1].image.transpose(1, 0, 2)), "tall")
    scene = model.reconstruct([views[0], tall, *views[2:]], Options(keyframes=2))
    checked(scene, [views[0].name, "tall", *(view.name for view in views[2:])])
    assert scene.frames[1].size == (48, 64)


def test_retrieval_chooses_what_is_remembered(sorting, views):
    assert sorting.ordering is not None
    same = [replace(views[0], name=f"same {i}") for i in range(4)]
    scene = sorting.reconstruct([*same, *views[1:]], Options(keyframes=4))
    checked(scene, [view.name for view in [*same, *views[1:]]])
    remembered = scene.settings["keyframe_views"]
    assert len(remembered) == 4
    assert len({number for number in remembered if number < 4}) <= 1  # of four times the same one is enough
    stages = {update.stage for update in drained(sorting, views)}
    assert "Comparing" in stages


def test_retrieval_is_that_of_the_same_network(tmp_path):
    for side in (224, 512):
        for name in ("retrieval_trainingfree.pth", "retrieval_codebook.pkl"):
            (tmp_path / f"MUSt3R_{side}_{name}").touch()
    found = companions(tmp_path / "MUSt3R_512_cvpr.pth", list)
    assert found is not None
    assert [path.name for path in found] == [
        "MUSt3R_512_retrieval_trainingfree.pth",
        "MUSt3R_512_retrieval_codebook.pkl",
    ]
    assert companions(tmp_path / "mine.pth", list) is None
    assert companions(tmp_path / "mine.pth", lambda: found) == found


def test_retrieval_that_cannot_be_used_is_done_without(tmp_path, views):
    _, words = save_retrieval(tmp_path)
    words.write_bytes(b"nothing")
    path = save_checkpoint(tmp_path / "MUSt3R.pth", tiny(ENCODER), tiny(DECODER))
    model = Must3r(CARD, torch.device("cpu"), path)
    assert model.ordering is None
    checked(model.reconstruct(views), [view.name for view in views])


def test_black_photos_are_left_out_and_told(model, views):
    black = View(np.zeros((48, 64, 3), np.uint8), "black")
    scene = model.reconstruct([black, *views, black])
    assert [frame.view for frame in scene.frames] == list(range(1, 7))
    assert "2 of 8 photos are black and left out." in scene.notes
    with pytest.raises(InputError, match="All photos are black"):
        model.reconstruct([black, black])


def test_points_of_the_head_or_of_the_depth(model, views):
    for options in (Options(), Options(points="head")):
        for given in (views[:3], [replace(view, time=float(i)) for i, view in enumerate(views[:3])]):
            scene = model.reconstruct(given, options)
            assert (scene.frames[0].points is None) == (options.points == "depth")
            assert scene.frames[1].world_points().shape == (48, 64, 3)


def test_masks_and_maps_to_the_original_are_kept(model, views):
    mask = np.zeros((96, 128), bool)
    mask[:48] = True
    view = View(np.kron(views[0].image, np.ones((2, 2, 1), np.uint8)), "large", mask=mask)
    (frame,) = model.reconstruct([view]).frames
    assert frame.valid[:24].all()
    assert not frame.valid[24:].any()
    np.testing.assert_allclose(frame.original_from_processed @ [32, 24, 1], [64, 48, 1])


# --- a video ---------------------------------------------------------------------------------------------------------


def test_views_whose_times_rise_are_a_video(frames, views):
    assert is_ordered(frames, Options())
    assert not is_ordered(views, Options())
    assert not is_ordered(frames[::-1], Options())
    assert is_ordered(views, Options(order="video"))
    assert not is_ordered(frames, Options(order="photos"))


def test_frames_are_placed_as_they_come(model, frames):
    updates = drained(model, frames)
    checked(updates[-1].scene, [view.name for view in frames])
    changes = [update.changed for update in updates if update.changed]
    assert changes == [(0,), (0, 1), (2,), (3,), (4,), (5,)]
    fractions = [update.fraction for update in updates]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    np.testing.assert_allclose(updates[-1].scene.frames[0].camera.world_from_camera, np.eye(4))
    assert updates[-1].scene.settings["keyframe_views"][0] == 0


def test_the_first_points_stand_before_the_last_frame_was_decoded(model, frames):
    given = []

    def decoding():
        for view in frames * 5:
            given.append(view)
            yield view

    with closing(model.stream(decoding())) as updates:
        first = next(update for update in updates if update.changed)
        assert first.scene.frames[0].known().any()
        assert len(given) < 15


def test_an_iterator_gives_what_a_sequence_gives(model, frames):
    one, other = model.reconstruct(frames), drained(model, iter(frames))[-1].scene
    for frame, same in zip(one.frames, other.frames, strict=True):
        np.testing.assert_array_equal(frame.depth, same.depth)
        np.testing.assert_array_equal(frame.camera.world_from_camera, same.camera.world_from_camera)
    photos = drained(model, iter(frames), Options(order="photos"))[-1].scene
    assert len(photos.frames) == 6
    assert len(drained(model, (view for view in frames), Options(maximum_views=3))[-1].scene.frames) == 3


def test_an_endless_stream_ends_when_it_is_closed(model, frames):
    asked = count()

    def endless():
        while True:
            next(asked)
            yield frames[0]

    with closing(model.stream(endless())) as updates:
        while len((update := next(updates)).scene.frames) < 5:
            assert 0 <= update.fraction < 1
    time.sleep(0.3)
    before = next(asked)
    time.sleep(0.3)
    assert next(asked) == before + 1  # nobody asks any more


def test_rounds_and_rendering_place_all_frames_anew(model, frames):
    plain = model.reconstruct(frames)
    for options in (Options(rounds=1), Options(rerender=True), Options(rounds=1, rerender=True, window=2)):
        updates = drained(model, frames, options)
        scene = updates[-1].scene
        checked(scene, [view.name for view in frames])
        assert "Looking again" in {update.stage for update in updates}
        assert not np.allclose(plain.frames[-1].depth, scene.frames[-1].depth)
        fractions = [update.fraction for update in updates]
        assert fractions == sorted(fractions)


def test_with_a_window_frames_that_are_no_keyframes_are_forgotten_in_the_end(model, frames, monkeypatch):
    monkeypatch.setattr("recon.models.must3r_overlap.Overlap.accepts", lambda self, score, maps: False)
    settled = []
    settle = Online.settle

    def watched(self):
        settle(self)
        settled.append(self.looker.memory.images)

    monkeypatch.setattr(Online, "settle", watched)
    scene = drained(model, frames, Options(window=3, rounds=1))[-1].scene
    checked(scene, [view.name for view in frames])
    assert settled == [[0, 1], [0, 1]]  # those that made the world
    assert scene.settings["keyframe_views"] == [0]


def test_a_video_is_read_while_it_is_decoded_and_what_came_before_a_cut_is_kept(model, tmp_path):
    scene = synthetic_scene(30, 96, 128)
    path = tmp_path / "whole.mkv"
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"MJPG"), 10, (128, 96))
    for frame in scene.frames:
        writer.write(frame.image[..., ::-1])
    writer.release()
    whole = drained(model, video.frames(path))[-1].scene
    assert len(whole.frames) == 30
    assert whole.notes == []
    assert whole.frames[10].time == pytest.approx(1.0)
    cut = tmp_path / "cut.avi"
    writer = cv2.VideoWriter(str(cut), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"MJPG"), 10, (128, 96))
    for frame in scene.frames:
        writer.write(frame.image[..., ::-1])
    writer.release()
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    found = drained(model, video.frames(cut))[-1].scene
    assert 5 < len(found.frames) < 25
    assert "what came before is kept" in found.notes[-1]
    assert "breaks off" in found.notes[-1]


def test_a_source_that_breaks_loses_nothing(model, frames):
    def breaking():
        yield from frames[:3]
        raise OSError("the camera is gone")

    scene = drained(model, breaking())[-1].scene
    assert len(scene.frames) == 3
    assert scene.notes == ["The source of the pictures broke off (OSError): what came before is kept."]
    with pytest.raises(InputError, match="broke off"):
        drained(model, (1 / 0 for _ in range(1)))
    with pytest.raises(InputError, match="nothing to reconstruct"):
        drained(model, iter(()))


def test_a_source_that_stalls_is_left_and_what_came_before_is_kept(model, frames, monkeypatch):
    monkeypatch.setattr(model, "patience", 0.6)
    leave = threading.Event()

    def stalling():
        yield from frames[:3]
        leave.wait(30)

    updates = drained(model, stalling())
    leave.set()
    assert len(updates[-1].scene.frames) == 3
    assert "No picture came for 1 s: what came before is kept." in updates[-1].scene.notes
    assert any(update.message == "Waiting for the next frame" for update in updates)  # so it can be stopped meanwhile


def test_a_source_that_gives_frames_of_no_use_does_not_stall(model, frames, monkeypatch):
    monkeypatch.setattr(model, "patience", 0.5)
    black = View(np.zeros((48, 64, 3), np.uint8), "black")

    def covered():
        yield from frames[:2]
        for _ in range(10):
            time.sleep(0.1)
            yield black
        yield frames[2]

    scene = drained(model, covered())[-1].scene
    assert len(scene.frames) == 3
    assert scene.notes == ["10 frames were black and left out."]


def test_a_change_of_resolution_is_taken_and_told(model, frames):
    changed = [*frames[:3], *(replace(view, image=view.image[8:40]) for view in frames[3:])]
    for view in changed[3:]:
        view.original_size = view.size
    scene = drained(model, iter(changed))[-1].scene
    assert [frame.size for frame in scene.frames] == [(64, 48)] * 3 + [(64, 32)] * 3
    assert scene.notes == ["From 'synthetic_003.png' on the pictures have 64 x 32 pixels."]
    scene = drained(model, iter([*changed, *changed, *changed]), Options(rerender=True))[-1].scene
    assert scene.notes == ["The pictures changed their size 5 times."]


def test_frames_of_no_use_are_left_out_and_told(model, frames):
    black, thin = View(np.zeros((48, 64, 3), np.uint8), "black"), View(np.full((2, 64, 3), 9, np.uint8), "thin")
    scene = drained(model, iter([black, *frames[:2], black, thin, *frames[2:]]))[-1].scene
    assert [frame.view for frame in scene.frames] == [1, 2, 5, 6, 7, 8]
    assert "2 frames were black and left out." in scene.notes
    assert any("1 frame was of no use (A photo of 64 x 2 pixels is too elongated" in note for note in scene.notes)
    with pytest.raises(InputError, match="2 frames were black"):
        drained(model, iter([black, black]))


def test_a_full_disk_ends_a_run_and_keeps_what_there_is(model, frames, monkeypatch):
    monkeypatch.setattr(model, "spilling", 3 * 64 * 48 * 11)

    def full(self, leaving):
        raise InputError("The disk is full.")

    monkeypatch.setattr("recon.models.spill.Spill._write", full)
    scene = drained(model, frames)[-1].scene
    assert len(scene.frames) == 4
    assert scene.notes == ["The disk is full; the 4 frames that came before are kept."]


def test_too_little_memory_ends_a_video_and_begins_photos_anew(model, frames, views, monkeypatch):
    calls = count()
    encode = model.encode

    def refused(*given):
        if next(calls) == 4:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return encode(*given)

    monkeypatch.setattr(model, "encode", refused)
    scene = drained(model, frames)[-1].scene
    assert len(scene.frames) == 4
    assert "allow fewer keyframes" in scene.notes[-1]
    calls = count()
    scene = model.reconstruct(views)
    assert len(scene.frames) == 6
    assert "began anew with 3 remembered views" in scene.notes[-1]


# --- what it takes ---------------------------------------------------------------------------------------------------


def test_keyframes_are_planned_to_fit(monkeypatch):
    views = [View(np.zeros((384, 512, 3), np.uint8), str(i)) for i in range(100)]
    free = plan_for(CARD, (512, 384), 100, "cpu", Options(), None)
    assert (free.keyframes, free.notes) == (must3r_plan.KEYFRAMES, ())
    tight = plan_for(CARD, (512, 384), 100, "cpu", Options(), 5_000_000_000)
    assert 2 <= tight.keyframes < free.keyframes
    assert tight.memory < 5e9 < free.memory
    assert "are remembered" in tight.notes[0]
    assert "may fail" in plan_for(CARD, (512, 384), 100, "cpu", Options(), 10**9).notes[0]
    monkeypatch.setattr(memory, "available", lambda device: 10**11)
    plan = recon.models.plan("must3r", views, "cpu", Options(keyframes=20, maximum_views=30))
    assert (plan.keyframes, len(plan.views), plan.size) == (20, 30, (512, 384))
    assert "Of 100 views, 30 are used" in plan.notes[0]
    more = recon.models.plan("must3r", views, "cpu", Options(keyframes=20, maximum_views=30, rounds=1))
    assert more.seconds > 1.5 * plan.seconds
    with pytest.raises(InputError, match="nothing to reconstruct"):
        recon.models.plan("must3r", [], "cpu")


@pytest.mark.parametrize(
    "wrong", [{"keyframes": 1}, {"order": "none"}, {"forget": "all"}, {"rounds": -1}, {"window": -1}]
)
def test_choices_that_there_are_not_are_refused(wrong):
    with pytest.raises(InputError) as error:
        base.Options(**wrong)
    assert str(error.value).endswith(".")


def test_weights_of_another_network_are_refused(tmp_path):
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(InputError, match="does not fit Must3r"):
        Must3r(CARD, torch.device("cpu"), tmp_path / "other.pth")
    with pytest.raises(InputError, match="needs a checkpoint file"):
        Must3r(CARD, torch.device("cpu"))
