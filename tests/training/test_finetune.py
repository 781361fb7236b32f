"""Fine-tuning: a model's own weights, scene folders, and what is told where these do not fit."""

import json

import cv2
import numpy as np
import pytest
import torch

from recon import cli
from recon.errors import InputError
from recon.networks.parallax import ParallaxNetwork
from recon.quantization import load_weights, read_configuration, write_weights
from recon.training.batch import rays
from recon.training.checkpoint import start_from
from recon.training.folder import FolderScenes
from tests.helpers import synthetic_scene
from tests.training.room import write_room


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    return write_room(tmp_path_factory.mktemp("room") / "scene")


def test_the_shipped_weights_are_taken_further_on_a_folder(room, tmp_path, capsys):
    out = tmp_path / "out"
    settings = ["schedule.steps=2", "data.batch=2", "data.views=[[2, 1.0]]", "data.shapes=[[48, 64, 1.0]]"]
    settings += ["reports.evaluate_views=[2]", "reports.log_every=1", "optimiser.precision=float32"]
    words = [word for setting in settings for word in ("--set", setting)]
    assert cli.main(["finetune", "--data", str(room), "--out", str(out), "--device", "cpu", *words]) == 0
    assert capsys.readouterr().out.strip() == str(out / "weights.safetensors")
    load_weights(ParallaxNetwork(**read_configuration(out / "weights.safetensors")), out / "weights.safetensors")
    losses = [json.loads(line)["loss"] for line in (out / "log.jsonl").read_text().splitlines() if "loss" in line]
    assert len(losses) == 2
    assert max(losses) < 3  # random weights begin above 10


def test_points_of_a_folder_s_batch_agree_between_its_views(room):
    batch = FolderScenes([room], 0, "cpu").batch(3, 1, 2, 48, 64)
    assert batch.usable.all()
    assert batch.valid.all()
    first, second = batch.world_from_camera[0]
    torch.testing.assert_close(first, torch.eye(4), atol=1e-5, rtol=0)
    in_second = (batch.points()[0, 0].reshape(-1, 3) - second[:3, 3]) @ second[:3, :3]
    place = in_second[:, :2] / in_second[:, 2:] / batch.tangents[0, 1]
    seen = (place.abs() < 0.98).all(-1) & (in_second[:, 2] > 0)
    column = ((place[seen, 0] + 1) * 32).long()
    row = ((place[seen, 1] + 1) * 24).long()
    error = (batch.depth[0, 1][row, column] / in_second[seen, 2] - 1).abs()
    assert seen.float().mean() > 0.3
    assert error.median() < 0.02  # a pixel's width off, and hidden where more


def test_a_cut_to_another_aspect_keeps_the_depth_of_each_ray(room):
    scenes = FolderScenes([room], 0, "cpu")
    wide, tall = (scenes.batch(5, 1, 1, *size) for size in ((48, 64), (64, 48)))
    assert tall.tangents[0, 0, 0] < wide.tangents[0, 0, 0]
    place = rays(tall.tangents, 64, 48)[0, 0, ..., :2] / wide.tangents[0, 0]
    column, row = ((place[..., 0] + 1) * 32).long(), ((place[..., 1] + 1) * 24).long()
    ratio = tall.depth[0, 0] / wide.depth[0, 0][row.clamp(0, 47), column.clamp(0, 63)]
    assert (ratio / ratio.median() - 1).abs().median() < 0.01  # both are in units of their own


def test_batches_are_a_pure_function_of_their_number(room):
    one, again = (FolderScenes([room], 7, "cpu").batch(9, 2, 2, 48, 64) for _ in range(2))
    assert torch.equal(one.images, again.images)
    assert torch.equal(one.depth, again.depth)
    assert not torch.equal(one.images, FolderScenes([room], 8, "cpu").batch(9, 2, 2, 48, 64).images)


def test_photos_alone_teach_no_depth_and_no_camera(tmp_path):
    folder = tmp_path / "photos" / "images"
    folder.mkdir(parents=True)
    for i, frame in enumerate(synthetic_scene(frames=2).frames):
        cv2.imwrite(str(folder / f"{i}.png"), frame.image)
    batch = FolderScenes([folder.parent], 0, "cpu").batch(0, 1, 2, 48, 64)
    assert not batch.usable.any()
    assert not batch.valid.any()
    assert batch.world_from_camera.isfinite().all()
    assert np.isfinite(batch.images).all()


def test_only_named_weights_may_start_at_random(tmp_path):
    old = ParallaxNetwork(width=32, depth=2, heads=2, taps=(1, 2), descriptors_after=1)
    new = ParallaxNetwork(width=32, depth=2, heads=2, taps=(1, 2), descriptors_after=1, fine_channels=8)
    path = tmp_path / "old.safetensors"
    write_weights(path, old.state_dict(), "parallax-small", "Apache-2.0", "a test")
    with pytest.raises(InputError, match="fine_head"):
        start_from(new, path)
    fresh = {name: value.clone() for name, value in new.state_dict().items() if name.startswith("fine_head.")}
    start_from(new, path, ["fine_head."])
    for name, value in new.state_dict().items():
        expected = fresh[name] if name in fresh else old.state_dict()[name]
        torch.testing.assert_close(value, expected, atol=2e-3, rtol=0)
    other = ParallaxNetwork(width=32, depth=2, heads=2, taps=(1, 2), descriptors_after=1, registers=2)
    with pytest.raises(InputError, match="another network"):
        start_from(other, path)
