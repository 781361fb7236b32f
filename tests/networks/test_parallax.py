import copy
from pathlib import Path

import numpy as np
import pytest
import torch

from recon.networks.parallax import ParallaxNetwork, Prediction
from tests.helpers import drained
from tests.networks.stand_in import smooth_images, stand_in_state

RECORDING = Path(__file__).parent.parent / "recordings" / "parallax-small.npz"


@pytest.fixture(scope="module")
def network() -> ParallaxNetwork:
    network = ParallaxNetwork().eval()
    network.load_state_dict(stand_in_state(network))
    return network


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return smooth_images(3, 96, 128)


@pytest.fixture(scope="module")
def prediction(network, images) -> Prediction:
    with torch.inference_mode():
        return network(images)


def difference(a, b) -> float:
    """Relative L2."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def grouped(network, groups) -> list[Prediction]:
    with torch.inference_mode():
        return drained(network.steps(groups))


def test_gives_the_numbers_of_the_implementation_that_trained_it(prediction):
    recorded = np.load(RECORDING)
    for name in ("depth", "depth_confidence", "points", "points_confidence"):
        assert difference(getattr(prediction, name)[0, :, 2::4, 1::4], recorded[name]) < 1e-5, name
    assert difference(prediction.descriptors[0], recorded["descriptors"]) < 1e-5
    for step, camera in enumerate(prediction.cameras):
        assert difference(camera.translation[0], recorded["translation"][step]) < 1e-5
        assert difference(camera.quaternion[0], recorded["quaternion"][step]) < 1e-5
        assert difference((camera.fields_of_view[0] / 2).tan().log(), recorded["log_tangents"][step]) < 1e-5


def test_shapes_and_ranges(prediction):
    assert prediction.depth.shape == prediction.depth_confidence.shape == (1, 3, 96, 128)
    assert prediction.points.shape == (1, 3, 96, 128, 3)
    assert prediction.descriptors.shape == (1, 3, 6, 8, 64)
    assert (prediction.depth > 0).all()
    assert (prediction.depth_confidence >= 1).all()
    assert (prediction.points_confidence >= 1).all()
    camera = prediction.cameras[-1]
    assert ((camera.fields_of_view > 0) & (camera.fields_of_view < torch.pi)).all()
    torch.testing.assert_close(camera.quaternion.norm(dim=-1), torch.ones(1, 3))


def test_fine_descriptors(images, prediction):
    assert prediction.fine_descriptors is None
    network = ParallaxNetwork(fine_channels=24).eval()
    network.load_state_dict(stand_in_state(network))
    with torch.inference_mode():
        fine = network(images)
    assert fine.fine_descriptors.shape == (1, 3, 24, 32, 24)
    torch.testing.assert_close(fine.fine_descriptors.norm(dim=-1), torch.ones(1, 3, 24, 32))
    assert fine.fine_descriptors.flatten(0, 3).std(0).min() > 0.01  # they tell places apart
    assert difference(fine.depth, prediction.depth) < 1e-6  # and change nothing else


def test_views_may_come_in_groups(network, images, prediction):
    first, others = grouped(network, [images[:, :1], images[:, 1:]])
    assert difference(first.depth, prediction.depth[:, :1]) < 1e-5
    assert difference(others.depth, prediction.depth[:, 1:]) < 1e-5
    assert difference(others.cameras[-1].translation, prediction.cameras[-1].translation[:, 1:]) < 1e-5


def test_views_of_other_sizes_take_part(network, images, prediction):
    portrait = smooth_images(2, 128, 80)
    landscape, upright = grouped(network, [images, portrait])
    assert upright.depth.shape == (1, 2, 128, 80)
    assert upright.descriptors.shape == (1, 2, 8, 5, 64)
    assert landscape.depth.shape == prediction.depth.shape
    assert difference(landscape.depth, prediction.depth) > 1e-3  # they were looked at
    alone = grouped(network, [portrait])[0]
    assert difference(upright.depth, alone.depth) > 1e-3


def test_only_the_first_view_is_special(network, images, prediction):
    with torch.inference_mode():
        swapped = network(images[:, [0, 2, 1]])
        other_first = network(images[:, [1, 0, 2]])
    assert difference(swapped.depth[:, [0, 2, 1]], prediction.depth) < 1e-5
    assert difference(other_first.depth[:, [1, 0, 2]], prediction.depth) > 1e-3


def test_scenes_of_a_batch_do_not_mix(network, images, prediction):
    with torch.inference_mode():
        batch = network(torch.cat([images.flip(-1), images]))
    assert difference(batch.depth[1:], prediction.depth) < 1e-5


def test_progress_rises(network, images):
    fractions = [fraction for fraction, _ in network.steps([images[:, :1, :, :32, :32]])]
    assert fractions == sorted(fractions)
    assert 0 < fractions[0] < fractions[-1] <= 1


def test_every_weight_learns():
    network = ParallaxNetwork(width=48, depth=6, heads=2, taps=(2, 4, 6), descriptors_after=2, fine_channels=8)
    network.load_state_dict(stand_in_state(network))
    prediction = network(smooth_images(2, 32, 48))
    outputs = [prediction.depth, prediction.depth_confidence, prediction.points, prediction.points_confidence]
    described = [prediction.descriptors[..., 0], prediction.fine_descriptors[..., 0]]
    cameras = [t for c in prediction.cameras for t in (c.translation, c.quaternion, c.fields_of_view)]
    sum(output.square().mean() for output in [*outputs, *described, *cameras]).backward()
    without = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


@pytest.fixture
def small() -> ParallaxNetwork:
    network = ParallaxNetwork(width=48, depth=2, heads=2, taps=(1, 2), descriptors_after=1, fine_channels=8)
    network.load_state_dict(stand_in_state(network))
    return network


def test_a_pass_is_one_graph(small):
    images = smooth_images(2, 32, 48)
    compiled = torch.compile(small, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(images).depth, small(images).depth)


def test_compiled_parts_give_the_same_gradients_for_any_number_of_views(small):
    images = smooth_images(4, 32, 48)
    compiled = copy.deepcopy(small)
    compiled.compile_parts(backend="aot_eager")
    compiled(images)
    with torch.compiler.set_stance("fail_on_recompile"):
        for scenes in (images, images.view(2, 2, 3, 32, 48)):
            for network in (small, compiled):
                prediction = network(scenes)
                (prediction.points.square().mean() + prediction.cameras[-1].translation.sum()).backward()
    for (name, weight), other in zip(small.named_parameters(), compiled.parameters(), strict=True):
        if weight.grad is not None:
            torch.testing.assert_close(other.grad, weight.grad, msg=lambda m, name=name: f"{name}: {m}")
