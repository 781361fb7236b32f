"""The model of pairs: a network so small that a test can run it, and pointmaps that are known exactly in its place."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import recon
from recon import View
from recon.models.dust3r import Dust3r
from recon.models.stages import schedule
from tests.helpers import synthetic_scene, synthetic_views
from tests.networks.small_dust3r import configuration, stand_in_network

GIGABYTE = 1_000_000_000
PARTS = schedule({"Pairing": 1.0, "Aligning": 1.0})


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp("dust3r"))


@pytest.fixture(scope="module")
def model(checkpoint) -> Dust3r:
    torch.set_num_threads(1)
    model = recon.load("dust3r", device="cpu", weights=checkpoint)
    assert isinstance(model, Dust3r)
    return model


@pytest.fixture(scope="module")
def views() -> list[View]:
    """Wide and low, so that the network has little to do."""
    return synthetic_views(synthetic_scene(3, 100, 300))


def write(folder: Path, size: int = 256) -> Path:
    """The small network as the Hub has it, for pictures of that long side."""
    state = stand_in_network().state_dict()
    unique = {name: tensor for name, tensor in state.items() if "layer_rn" not in name}
    save_file(unique, folder / "model.safetensors")
    values = asdict(configuration())
    values.pop("dpt")
    values |= {"img_size": [size, size], "depth_mode": ["exp", -float("inf"), float("inf")], "output_mode": "pts3d"}
    values["dpt"] = asdict(configuration().dpt)
    (folder / "config.json").write_text(json.dumps(values))
    return folder / "model.safetensors"


def blank(width: int, height: int) -> View:
    return View(np.full((height, width, 3), 90, np.uint8), f"{width}x{height}.png")


# --- a run with the network ------------------------------------------------------------------------------------------


def test_every_view_becomes_a_frame(model, views):
    scene = model.reconstruct(views)
    assert [frame.name for frame in scene.frames] == [view.name for view in views]
    assert (scene.model, scene.metric, scene.notes) == ("dust3r", False, [])
    for frame in scene.frames:
        assert frame.size == (256, 80)
        assert frame.depth.dtype == frame.confidence.dtype == np.float32
        assert frame.known().any()
        rotation = frame.camera.world_from_camera[:3, :3]
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-5)
        np.testing.assert_array_equal(frame.camera.intrinsics[:2, 2], [128, 40])
