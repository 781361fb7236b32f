import gc
import json
import weakref

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import recon
from recon import InputError, Options, View
from recon.evaluation.metrics import area_under_curve, pair_errors
from recon.models.embedded import WEIGHTS, Embedded
from recon.models.look import agree, focal_lengths, network_size
from recon.quantization import read_configuration
from tests.helpers import drained, synthetic_scene, synthetic_views

ALONE = Options(verify=False)


@pytest.fixture(scope="module")
def model() -> Embedded:
    model = recon.load("embedded", device="cpu")
    assert isinstance(model, Embedded)
    return model


@pytest.fixture(scope="module")
def views() -> list[View]:
    return synthetic_views(synthetic_scene(3, 180, 240))


def black(height: int, width: int) -> View:
    return View(np.zeros((height, width, 3), np.uint8), f"{width}x{height}.png")


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((1024, 768), (256, 192)),
        ((768, 1024), (192, 256)),
        ((500, 500), (224, 224)),
        ((1920, 1080), (288, 160)),
        ((64, 48), (256, 192)),
    ],
)
def test_the_network_sees_about_the_same_area_of_any_picture(size, expected):
    assert network_size(*size) == expected


@pytest.mark.parametrize("size", [(3000, 300), (300, 3000), (1, 1), (7, 5000)])
def test_extreme_pictures_still_get_a_size(size):
    width, height = network_size(*size)
    assert width % 16 == height % 16 == 0
    assert min(width, height) >= 16
    assert width * height < 2 * 192 * 256


def test_every_view_becomes_a_frame(model, views):
    scene = model.reconstruct(views, ALONE)
    assert [frame.name for frame in scene.frames] == [view.name for view in views]
    assert [frame.view for frame in scene.frames] == [0, 1, 2]
    assert not scene.metric
    assert scene.model == "embedded"
    np.testing.assert_allclose(scene.frames[0].camera.world_from_camera, np.eye(4), atol=1e-5)
    for frame in scene.frames:
        height, width = frame.image.shape[:2]
        assert frame.depth.shape == frame.confidence.shape == (height, width)
        assert frame.image.dtype == np.uint8
        assert frame.depth.dtype == frame.confidence.dtype == np.float32
        assert frame.known().all()
        assert np.isfinite(frame.confidence).all()
        rotation = frame.camera.world_from_camera[:3, :3]
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-5)
        np.testing.assert_allclose(frame.camera.intrinsics[:2, 2], [width / 2, height / 2], rtol=1e-5)


def test_depth_of_an_unseen_room_is_about_right(model):
    exact = synthetic_scene(3, 192, 256)
    scene = model.reconstruct(synthetic_views(exact), ALONE)
    predicted = np.stack([frame.depth for frame in scene.frames])[:, ::2, ::2]
    truth = np.stack([frame.depth for frame in exact.frames])
    predicted *= np.median(truth / predicted)
    error = np.abs(predicted / truth - 1).mean()
    constant = np.abs(np.median(truth) / truth - 1).mean()
    assert error < 0.8 * constant


def test_a_frame_knows_the_untouched_photo(model):
    view = View(
        np.zeros((300, 400, 3), np.uint8), "a.jpg", original_size=(4000, 3000),
        original_from_view=np.diag([10, 10, 1]).astype(np.float32), time=2.5,
    )  # fmt: skip
    frame = model.reconstruct([view], ALONE).frames[0]
    width, height = frame.size
    corner = frame.original_from_processed @ np.array([width, height, 1])
    np.testing.assert_allclose(corner, [4000, 3000, 1], rtol=1e-5)
    np.testing.assert_array_equal(frame.original_from_processed, np.diag(np.diagonal(frame.original_from_processed)))
    assert (frame.original_size, frame.time) == ((4000, 3000), 2.5)


def test_views_of_any_shape_mix(model, views):
    portrait = View(np.ascontiguousarray(views[1].image.transpose(1, 0, 2)), "portrait")
    scene = model.reconstruct([views[0], portrait, black(30, 300), views[2]], ALONE)
    for frame, view in zip(scene.frames, [views[0], portrait, black(30, 300), views[2]], strict=True):
        assert frame.size[0] / frame.size[1] == pytest.approx(view.size[0] / view.size[1], rel=0.02)
    alone = model.reconstruct([views[0]], ALONE).frames[0]
    assert not np.allclose(alone.depth, scene.frames[0].depth, rtol=1e-3)  # the others were looked at


def test_a_known_focal_length_is_kept(model, views):
    known = View(views[0].image, "known", focal_prior=300.0)
    scene = model.reconstruct([known, views[1], views[2]], ALONE)
    scale = scene.frames[0].size[0] / known.size[0]
    np.testing.assert_allclose(np.diagonal(scene.frames[0].camera.intrinsics)[:2], 300 * scale, rtol=0.01)
    others = [frame.camera.intrinsics for frame in scene.frames[1:]]
    np.testing.assert_array_equal(others[0], others[1])
    assert others[0][0, 0] == pytest.approx(others[0][1, 1], rel=0.01)


def test_transparent_pixels_are_not_known(model, views):
    mask = np.zeros(views[0].image.shape[:2], bool)
    mask[:, :120] = True
    frame = model.reconstruct([View(views[0].image, "cut out", mask=mask)], ALONE).frames[0]
    middle = frame.size[0] // 2
    assert frame.known()[:, : middle - 2].all()
    assert not frame.known()[:, middle + 2 :].any()


def test_updates_place_frame_after_frame(model, views):
    updates = []
    for update in model.stream(views, ALONE):
        updates.append((update.fraction, update.changed, len(update.scene.frames)))
    fractions = [fraction for fraction, _, _ in updates]
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0, 1)
    assert [changed for _, changed, _ in updates if changed] == [(0,), (1,), (2,)]
    assert updates[-1][2] == 3


def test_a_run_can_be_stopped_at_any_update(model, views):
    total = sum(1 for _ in model.stream(views, ALONE))
    for stop in range(0, total, 3):
        stream = model.stream(views, ALONE)
        for _ in range(stop + 1):
            scene = weakref.ref(next(stream).scene)
        stream.close()
        del stream
        gc.collect()
        assert scene() is None
        assert not torch.is_inference_mode_enabled()


def test_verification_is_the_default(model):
    views = synthetic_views(synthetic_scene(3, 360, 480))
    updates = [(update.stage, update.fraction) for update in model.stream(views)]
    assert list(dict.fromkeys(stage for stage, _ in updates)) == [
        "Looking", "Comparing", "Placing", "Verifying", "Refining", "Finishing",
    ]  # fmt: skip
    assert [fraction for _, fraction in updates] == sorted(fraction for _, fraction in updates)


def test_dense_refinement_can_be_left_out(model):
    views = synthetic_views(synthetic_scene(3, 360, 480))
    plain, dense = ([*model.stream(views, Options(dense=dense))] for dense in (False, True))
    assert "Refining" not in {update.stage for update in plain}
    for before, after in zip(plain[-1].scene.frames, dense[-1].scene.frames, strict=True):
        np.testing.assert_array_equal(before.camera.world_from_camera, after.camera.world_from_camera)
        assert not np.array_equal(before.depth, after.depth)
    assert model.plan(views, options=Options(dense=False)).seconds < model.plan(views).seconds


def test_cameras_of_the_network_agree_with_what_it_matched(model):
    exact = synthetic_scene(4, 192, 256)
    views = synthetic_views(exact)
    truth = np.stack([frame.camera.world_from_camera for frame in exact.frames])
    looks = drained(model.look(views))
    rough = np.stack([look.world_from_camera for look in looks])
    drained(agree(views, looks, focal_lengths(views, looks)))
    agreed = np.stack([look.world_from_camera for look in looks])
    assert area_under_curve(pair_errors(truth, agreed).worst) > area_under_curve(pair_errors(truth, rough).worst)


@pytest.mark.parametrize("count", [1, 2])
def test_black_pictures_still_give_a_scene(model, count):
    scene = model.reconstruct([black(60, 80)] * count)
    assert len(scene.frames) == count
    assert all(np.isfinite(frame.world_points()).all() for frame in scene.frames)


def test_too_many_views_are_thinned_and_it_is_said(model):
    plan = model.plan([black(48, 64)] * 500)
    assert len(plan.views) == model.card.maximum_views
    assert (plan.views[0], plan.views[-1]) == (0, 499)
    gaps = np.diff(plan.views)
    assert gaps.max() - gaps.min() <= 1
    assert any("500" in note and str(len(plan.views)) in note for note in plan.notes)


def test_the_user_may_ask_for_fewer_views(model, views):
    scene = model.reconstruct(views, Options(maximum_views=2, verify=False))
    assert [frame.view for frame in scene.frames] == [0, 2]
    assert len(scene.notes) == 1


def test_the_plan_grows_with_the_views(model, views):
    few, many = model.plan(views[:1]), model.plan(views * 10)
    assert 0 < few.seconds < many.seconds
    assert 0 < few.memory < many.memory
    assert few.size == (256, 192)
    assert model.plan(views, "cuda").seconds < model.plan(views, "cpu").seconds == model.plan(views).seconds


def test_nothing_to_reconstruct(model):
    with pytest.raises(InputError, match="at least one photo"):
        model.plan([])
    with pytest.raises(InputError, match="at least one photo"):
        model.reconstruct([])


def test_weights_of_ones_own(model, views, tmp_path):
    state = {name: tensor.half() for name, tensor in model.network.state_dict().items()}
    path = tmp_path / "mine.safetensors"
    save_file(state, path, {"configuration": json.dumps(read_configuration(WEIGHTS))})
    own = recon.load("embedded", device="cpu", weights=path).reconstruct(views[:1], ALONE)
    shipped = model.reconstruct(views[:1], ALONE)
    np.testing.assert_allclose(own.frames[0].depth, shipped.frames[0].depth, rtol=0.05)


def test_weights_that_do_not_fit(tmp_path):
    save_file({"a": torch.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match="another network"):
        recon.load("embedded", device="cpu", weights=tmp_path / "other.safetensors")
    with pytest.raises(InputError, match="cannot be read"):
        recon.load("embedded", device="cpu", weights=tmp_path / "missing.safetensors")
    for configuration, told in (('{"wings": 2}', "another network"), ("[1]", "do not say")):
        save_file({"a": torch.zeros(3)}, tmp_path / "odd.safetensors", {"configuration": configuration})
        with pytest.raises(InputError, match=told):
            recon.load("embedded", device="cpu", weights=tmp_path / "odd.safetensors")
