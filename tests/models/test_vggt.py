import gc
import json
import threading
import time
import weakref
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import recon
from recon import CARDS, InputError, Options, Scene, View, geometry
from recon.models.fitting import fit, pictures
from recon.models.planning import SIDES, SPARE
from recon.models.vggt import Vggt
from recon.models.vggt_frames import rig_of
from recon.models.vggt_plan import suitable
from recon.networks.layers.pose_encoding import decode_cameras
from recon.networks.vggt import VGGT
from tests.helpers import synthetic_scene, synthetic_views
from tests.models.runs import assert_stops_at_any_update, stages_of
from tests.networks.small_vggt import configuration, stand_in_state

GIGABYTE = 1_000_000_000


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp("vggt"), stand_in_state(), configuration())


@pytest.fixture(scope="module")
def model(checkpoint) -> Vggt:
    torch.set_num_threads(1)
    model = recon.load("vggt", device="cpu", weights=checkpoint)
    assert isinstance(model, Vggt)
    return model


@pytest.fixture(scope="module")
def views() -> list[View]:
    """Wide and low, so that the network has little to do."""
    return synthetic_views(synthetic_scene(3, 100, 300))


@pytest.fixture(scope="module")
def scene(model, views):
    return model.reconstruct(views)


def write(folder: Path, state, values) -> Path:
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(asdict(values)))
    return folder / "model.safetensors"


def blank(width: int, height: int) -> View:
    return View(np.full((height, width, 3), 90, np.uint8), f"{width}x{height}.png")


def predicted(model: Vggt, views: list[View], mode="crop", queries=None):
    """What the network itself says of the views."""
    inputs = fit([view.image for view in views], mode)
    with torch.inference_mode():
        return inputs, model.network(pictures(inputs, torch.device("cpu")), queries)


# --- the scene -------------------------------------------------------------------------------------------------------


def test_every_view_becomes_a_frame(scene, views):
    assert [frame.name for frame in scene.frames] == [view.name for view in views]
    assert (scene.model, scene.metric, scene.notes) == ("vggt", False, [])
    np.testing.assert_array_equal(scene.frames[0].camera.world_from_camera, np.eye(4))
    for frame in scene.frames:
        assert frame.size == (518, 168)
        assert frame.points is None
        assert frame.known().all()
        assert frame.depth.dtype == frame.confidence.dtype == np.float32
        rotation = frame.camera.world_from_camera[:3, :3]
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-6)
        np.testing.assert_array_equal(frame.camera.intrinsics[:2, 2], [259, 84])


def test_the_scene_is_what_the_network_says_in_the_first_cameras_world(model, scene, views):
    _, said = predicted(model, views)
    extrinsics, intrinsics = decode_cameras(said.cameras[-1][0], 168, 518)
    for i, frame in enumerate(scene.frames):
        np.testing.assert_allclose(frame.depth, said.depth[0, i], rtol=1e-4)
        np.testing.assert_allclose(frame.confidence, said.depth_confidence[0, i], rtol=1e-4)
        np.testing.assert_allclose(frame.camera.intrinsics, intrinsics[i], rtol=1e-4)
        points_in_camera = geometry.unproject(frame.depth, frame.camera.intrinsics)
        in_network_world = (points_in_camera - extrinsics[i, :, 3].numpy()) @ extrinsics[i, :, :3].numpy()
        ours = in_network_world @ extrinsics[0, :, :3].numpy().T + extrinsics[0, :, 3].numpy()
        np.testing.assert_allclose(frame.world_points(), ours, atol=1e-4)


def test_points_may_come_from_the_point_head(model, scene, views):
    from_head = model.reconstruct(views, Options(points="head"))
    _, said = predicted(model, views)
    extrinsics = decode_cameras(said.cameras[-1][0], 168, 518)[0].numpy()
    for i, frame in enumerate(from_head.frames):
        expected = said.points[0, i].numpy() @ extrinsics[0, :, :3].T + extrinsics[0, :, 3]
        np.testing.assert_allclose(frame.world_points(), expected, atol=1e-4)
        np.testing.assert_allclose(frame.confidence, said.points_confidence[0, i], rtol=1e-4)
        assert not np.allclose(frame.world_points(), scene.frames[i].world_points(), atol=0.1)
        np.testing.assert_allclose(frame.depth, scene.frames[i].depth, rtol=1e-4)


@pytest.mark.parametrize("mode", ["crop", "pad"])
def test_frames_know_the_untouched_photo_whatever_its_shape(model, mode):
    wide, tall = blank(1600, 500), blank(90, 150)
    wide = replace(wide, original_size=(3200, 1000), original_from_view=np.diag([2, 2, 1]).astype(np.float32))
    wide.image[200:300, 700:900] = 255  # a bright box, in the photo at (1400..1800, 400..600)
    scene = model.reconstruct([wide, tall], Options(fit=mode))
    first, second = scene.frames
    assert (first.size, second.size) == ((518, 168), (518, 518) if mode == "crop" else (308, 518))
    assert scene.settings["size"] == [518, 518]
    for frame in scene.frames:
        assert frame.image[[0, -1]].max() < 150  # no white of the padding
        width, height = frame.size
        corners = frame.original_from_processed @ np.array([[0, width], [0, height], [1, 1]])
        inside = frame.original_size[0], frame.original_size[1]
        assert (corners[:2] > -1e-3).all()
        assert (corners[:2, 1] < np.array(inside) + 1e-3).all()
        np.testing.assert_allclose(frame.camera.intrinsics[:2, 2], [width / 2, height / 2], atol=0.5)
    rows, columns = np.nonzero(first.image[..., 0] > 200)
    edges = [[columns.min(), columns.max() + 1], [rows.min(), rows.max() + 1], [1, 1]]
    np.testing.assert_allclose((first.original_from_processed @ edges)[:2], [[1400, 1800], [400, 600]], atol=8)


def test_transparent_pixels_are_not_known(model, views):
    mask = np.zeros(views[0].image.shape[:2], bool)
    mask[:, :150] = True
    frame = model.reconstruct([replace(views[0], mask=mask)]).frames[0]
    assert frame.known()[:, :258].all()
    assert not frame.known()[:, 260:].any()


def test_a_camera_that_cannot_be_is_told():
    names = ["a.jpg", "b.jpg", "c.jpg"]
    encoding = torch.tensor([[0.0, 0, 0, 0, 0, 0, 1, 0.8, 1.0]] * 3, dtype=torch.float64)
    rig = rig_of(encoding, names, (518, 392))
    assert rig.notes == []
    for impossible in (0.0, -0.2, np.pi, np.nan):
        odd = encoding.clone()
        odd[1, 8] = impossible
        rig = rig_of(odd, names, (518, 392))
        assert len(rig.notes) == 1
        assert "1 of the 3 photos" in rig.notes[0]
        np.testing.assert_array_equal(rig.cameras[1].intrinsics, rig.cameras[0].intrinsics)
    odd[:, 7] = 0
    with pytest.raises(InputError, match="how wide"):
        rig_of(odd, names, (518, 392))
    for column in (0, slice(3, 7)):
        lost = encoding.clone()
        lost[2, column] = np.nan if column == 0 else 0
        with pytest.raises(InputError, match=r"'c\.jpg'"):
            rig_of(lost, names, (518, 392))


def test_no_number_of_a_scene_is_undefined(checkpoint, views):
    class Broken(VGGT):
        def depth(self, features, frames):
            depth, confidence = super().depth(features, frames)
            depth[..., :10, :] = torch.inf
            confidence[..., 10:20, :] = torch.nan
            return depth, confidence

        def points(self, features, frames):
            points, confidence = super().points(features, frames)
            points[..., 20:30, :, 1] = torch.nan
            return points, confidence

    rows = np.arange(168)
    # the confidence is that of the head used: the depth head's is no matter where points come from the point head
    for options, known in (
        (Options(), rows >= 20),
        (Options(points="head"), (rows >= 30) | ((rows >= 10) & (rows < 20))),
    ):
        frame = with_network(checkpoint, Broken).reconstruct(views[:1], options).frames[0]
        for values in (frame.depth, frame.confidence, frame.world_points()):
            assert np.isfinite(values).all()
        np.testing.assert_array_equal(frame.known().all(1), known)
        np.testing.assert_array_equal(frame.known().any(1), known)


def with_network(checkpoint: Path, kind: type[VGGT]) -> Vggt:
    """The same model, its network of a kind that behaves otherwise."""
    model = recon.load("vggt", "cpu", checkpoint)
    assert isinstance(model, Vggt)
    model.network.__class__ = kind
    return model


# --- a run -----------------------------------------------------------------------------------------------------------


def test_updates_place_chunk_after_chunk(model, views):
    updates = list(model.stream(views))
    assert stages_of(updates) == ["Preparing", "Looking", "Placing", "Finishing"]
    assert [update.changed for update in updates if update.changed] == [(0,), (1,), (2,)]


def test_a_run_can_be_stopped_at_any_update(model, views):
    assert_stops_at_any_update(model, views, ["Looking", "Placing"])


def test_verification_can_follow(model):
    views = synthetic_views(synthetic_scene(3, 240, 640))
    updates = list(model.stream(views, Options(verify=True, dense=True)))
    assert [update.stage for update in updates][-1] == "Finishing"
    assert {"Verifying", "Refining"} <= {update.stage for update in updates}
    assert updates[-1].scene.settings["placement"][0] in ("mapped", "pair", "depth", "guess")
    fractions = [update.fraction for update in updates]
    assert fractions == sorted(fractions)


def test_refinement_follows_tracks(model):
    views = synthetic_views(synthetic_scene(3, 100, 300))
    updates = list(model.stream(views, Options(refine=True)))
    assert {"Tracking", "Adjusting"} <= {update.stage for update in updates}
    scene = updates[-1].scene
    assert scene.tracks.pixels.shape[0] == 3
    assert scene.notes  # says what came of it
    fractions = [update.fraction for update in updates]
    assert fractions == sorted(fractions)


def test_photos_without_corners_are_not_refined(model):
    scene = model.reconstruct([blank(300, 100)] * 2, Options(refine=True))
    assert len(scene.frames) == 2
    assert scene.notes == ["The cameras were not refined, since no photo shows corners that could be followed."]


@pytest.mark.parametrize("wrong", [{"points": "heads"}, {"fit": "stretch"}, {"maximum_views": 0}])
def test_choices_that_there_are_not(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        Options(**wrong)


# --- memory ----------------------------------------------------------------------------------------------------------


def greedy(times: int) -> type[VGGT]:
    """A network that the system refuses memory, so many times."""

    class Greedy(VGGT):
        asked = 0

        def encode(self, images, progress=None):
            if Greedy.asked < times:
                Greedy.asked += 1
                torch.empty(1 << 60, dtype=torch.uint8)
            return super().encode(images, progress)

    return Greedy


def test_a_run_that_is_refused_memory_begins_anew_smaller(checkpoint, views):
    updates = list(with_network(checkpoint, greedy(1)).stream(views))
    scene = updates[-1].scene
    assert [frame.size for frame in scene.frames] == [(336, 112)] * 3
    assert any("not enough memory" in note and "336 x 112" in note for note in scene.notes)
    assert any("began anew" in update.message for update in updates)
    fractions = [update.fraction for update in updates]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1


def test_a_refusal_while_frames_are_placed_leaves_no_mixture(checkpoint, views):
    class LateGreedy(VGGT):
        refused = False

        def depth(self, features, frames):
            if frames.start == 2 and not LateGreedy.refused:
                LateGreedy.refused = True
                torch.empty(1 << 60, dtype=torch.uint8)
            return super().depth(features, frames)

    scene = with_network(checkpoint, LateGreedy).reconstruct(views)
    assert [frame.size for frame in scene.frames] == [(336, 112)] * 3


def test_a_run_that_is_refused_memory_twice_ends_in_a_sentence(checkpoint, views):
    with pytest.raises(InputError, match="fewer photos") as caught:
        with_network(checkpoint, greedy(2)).reconstruct(views)
    assert caught.value.__cause__ is None


def test_what_does_not_fit_is_planned_smaller_step_by_step():
    card, views = CARDS["vggt"], [blank(1600, 900)] * 200
    free = suitable(card, views, "cuda", Options(), None)
    assert (len(free.views), free.size, free.notes) == (200, (518, 294), ())
    seen, budget = [], free.memory * 1.2
    while budget > 2 * GIGABYTE:
        plan = suitable(card, views, "cuda", Options(), int(budget))
        seen.append((len(plan.views), plan.size[0], plan.chunk))
        if seen[-1] != (200, 518, free.chunk):
            assert len(plan.notes) == 1
            assert "are free" in plan.notes[0]
            assert ("may fail" in plan.notes[0]) == (plan.memory > SPARE * budget)
        budget *= 0.97
    assert seen[0] == (200, 518, free.chunk)
    assert {size for _, size, _ in seen} == set(SIDES)
    assert [views for views, _, _ in seen] == sorted((views for views, _, _ in seen), reverse=True)
    assert all(size == SIDES[-1] for views, size, _ in seen if views < 200)
    assert seen[-1][0] == 1


def test_the_plan_of_a_thousand_views_is_quick():
    views = [blank(160 + i % 7, 90 + i % 5) for i in range(1000)]
    start = time.process_time()
    plan = suitable(CARDS["vggt"], views, "cuda", Options(), 8 * GIGABYTE)
    assert time.process_time() - start < 0.1
    assert plan.views[-1] == 999 or len(plan.views) == 1


def test_the_plan_is_what_is_run(model, views):
    plan = model.plan(views * 2, options=Options(maximum_views=4, fit="pad"))
    assert (len(plan.views), plan.size, plan.precision, plan.device) == (4, (518, 518), "float32", "cpu")
    assert plan.available is not None
    assert len(plan.notes) == 1
    more = model.plan(views * 2, options=Options(refine=True, verify=True))
    assert more.seconds > model.plan(views * 2).seconds > model.plan(views).seconds > 0
    assert recon.plan("vggt", views, "cpu").memory > 5 * GIGABYTE > model.plan(views).memory
    with pytest.raises(InputError, match="at least one photo"):
        model.plan([])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_says_about_the_same_and_is_left_empty(checkpoint, scene, views):
    on_gpu = recon.load("vggt", "cuda", checkpoint)
    fast = on_gpu.reconstruct(views, Options(points="head"))
    on_gpu.release()
    held = torch.cuda.memory_allocated()  # the weights, and what the libraries' first products took for good
    assert on_gpu.track(fast, np.array([[100, 50]]), 1).pixels.shape == (3, 1, 2)
    for frame, slow in zip(fast.frames, scene.frames, strict=True):
        np.testing.assert_allclose(frame.depth, slow.depth, rtol=0.05)
        np.testing.assert_allclose(frame.camera.world_from_camera, slow.camera.world_from_camera, atol=0.05)
    stream = on_gpu.stream(views)
    for _ in range(6):
        next(stream)
    stream.close()
    assert torch.cuda.memory_allocated() <= held + 1_000_000


# --- tracks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("frame", [0, 2])
@pytest.mark.parametrize("mode", ["crop", "pad"])
def test_points_of_any_frame_are_followed(model, views, frame, mode):
    views = [*views[:2], View(np.ascontiguousarray(views[2].image[:, :120]), "narrow.png")]
    scene = model.reconstruct(views, Options(fit=mode))
    pixels = np.array([[40.25, 30.5], [200.0, 100.0], [300.5, 150.75]], np.float32)
    tracks = model.track(scene, pixels, frame)
    assert tracks.pixels.shape == (3, 3, 2)
    np.testing.assert_array_equal(tracks.pixels[frame], pixels)
    np.testing.assert_array_equal(tracks.query, [frame] * 3)
    order = [frame, *(i for i in range(3) if i != frame)]
    inputs = [fit([view.image for view in views], mode)[i] for i in order]
    corner = np.array([one.content[:2] for one in inputs], np.float32)
    queries = torch.from_numpy(pixels + corner[0] - 0.5)[None]
    with torch.inference_mode():
        said = model.network(pictures(inputs, torch.device("cpu")), queries).tracking
    for place, i in enumerate(order):
        expected = said.pixels[-1][0, place].numpy() + 0.5 - corner[place]
        np.testing.assert_allclose(tracks.pixels[i], expected, atol=1e-3)
        np.testing.assert_allclose(tracks.visibility[i], said.visibility[0, place], atol=1e-3)
        np.testing.assert_allclose(tracks.confidence[i], said.confidence[0, place], atol=1e-3)


def test_a_second_click_looks_no_second_time(model, scene, views):
    def stages(scene, frame):
        told = []
        model.track(scene, np.array([[100, 50]]), frame, lambda fraction, message: told.append((fraction, message)))
        assert [fraction for fraction, _ in told] == sorted(fraction for fraction, _ in told)
        assert told[-1][0] == 1
        return {message.split()[0] for _, message in told}

    assert stages(scene, 1) == {"Looking", "Looked", "Followed"}
    assert stages(scene, 1) == {"Followed"}
    assert stages(scene, 0) == {"Looking", "Looked", "Followed"}
    model.release()
    assert stages(scene, 0) == {"Looking", "Looked", "Followed"}
    other = model.reconstruct(views[:1])
    assert stages(other, 0) == {"Followed"}  # the run itself looked from there
    kept = weakref.ref(model._tracking._seen.features)
    del other
    gc.collect()
    assert kept() is None  # what was seen of a scene goes with it


def test_keypoints_are_followed_where_no_points_are_given(model, scene):
    tracks = model.track(scene, frame=1)
    assert 50 < tracks.pixels.shape[1] <= 512
    assert (tracks.query == 1).all()
    assert np.isfinite(tracks.pixels).all()
    for values in (tracks.visibility, tracks.confidence):
        assert ((values >= 0) & (values <= 1)).all()


def test_following_can_be_stopped(model, scene):
    class Enough(Exception):
        pass

    def stop(fraction, message):
        if message.startswith("Looked"):
            raise Enough

    with pytest.raises(Enough):
        model.track(scene, np.array([[100, 50]]), 2, stop)
    model.track(scene, np.array([[100, 50]]), 2)  # and be taken up again


def test_points_are_followed_while_another_run_goes_on(model, scene, views):
    alone = model.track(scene, np.array([[100, 50]]), 1)
    model.release()
    found = []
    thread = threading.Thread(target=lambda: found.append(model.track(scene, np.array([[100, 50]]), 1)))
    updates = model.stream(views)
    next(updates)
    thread.start()
    other = [update.scene for update in updates][-1]
    thread.join()
    np.testing.assert_allclose(found[0].pixels, alone.pixels, atol=1e-4)
    for frame, same in zip(other.frames, scene.frames, strict=True):
        np.testing.assert_allclose(frame.depth, same.depth, rtol=1e-4)


def test_what_cannot_be_followed_is_told(model, scene):
    for pixels, frame, told in [
        ([[100, 50]], 3, "no frame 3"),
        ([[100, 50]], -1, "no frame -1"),
        ([[519, 50]], 0, "518 x 168"),
        ([[100, np.nan]], 0, "outside"),
        (np.zeros((0, 2)), 0, "at least one"),
        ([1, 2], 0, "at least one"),
        ([[1, 2], [3]], 0, "pairs"),
        ([["left", "top"]], 0, "pairs"),
    ]:
        with pytest.raises(InputError, match=told):
            model.track(scene, pixels, frame)
    with pytest.raises(InputError, match="empty"):
        model.track(Scene(), [[10, 10]])
    with pytest.raises(InputError, match="this model made"):
        model.track(synthetic_scene(2), np.array([[10, 10]]))
    with pytest.raises(InputError, match="no corners"):
        model.track(model.reconstruct([blank(300, 100)]))
    with pytest.raises(InputError, match="at least 16 pixels"):
        model.track(model.reconstruct([blank(518, 14)]), np.array([[10, 10]]))


def test_refused_memory_while_following_is_told(checkpoint, scene):
    other = with_network(checkpoint, greedy(1))
    with pytest.raises(InputError, match="fewer photos"):
        other.track(scene, np.array([[100, 50]]))
    assert other.track(scene, np.array([[100, 50]])).pixels.shape == (3, 1, 2)


# --- checkpoints -----------------------------------------------------------------------------------------------------


def test_checkpoints_that_do_not_fit(tmp_path):
    state = stand_in_state()
    torch.save(state, tmp_path / "model.pt")
    (tmp_path / "config.json").write_text(json.dumps(asdict(configuration())))
    assert recon.load("vggt", "cpu", tmp_path / "model.pt").card.parameters < 1_000_000
    (tmp_path / "config.json").write_text('{"wings": 2}')
    with pytest.raises(InputError, match="wings"):
        recon.load("vggt", "cpu", tmp_path / "model.pt")
    (tmp_path / "config.json").unlink()
    with pytest.raises(InputError, match="does not fit"):
        recon.load("vggt", "cpu", tmp_path / "model.pt")
    fewer = {name: tensor for name, tensor in state.items() if not name.startswith(("point_head", "track_head"))}
    plain = recon.load(
        "vggt", "cpu", write(tmp_path, fewer, replace(configuration(), enable_point=False, enable_track=False))
    )
    scene = plain.reconstruct([blank(300, 100)])
    with pytest.raises(InputError, match="no point head"):
        plain.reconstruct([blank(300, 100)], Options(points="head"))
    with pytest.raises(InputError, match="no track head"):
        plain.track(scene, np.array([[10, 10]]))
    without = replace(configuration(), enable_depth=False)
    lacking = {name: tensor for name, tensor in state.items() if not name.startswith("depth_head")}
    with pytest.raises(InputError, match="no cameras or no depth"):
        recon.load("vggt", "cpu", write(tmp_path, lacking, without))
