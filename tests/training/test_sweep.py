import pytest
import torch

from recon.networks.sweep import Refined, SweepNetwork
from recon.training.batch import Batch
from recon.training.folder import FolderScenes
from recon.training.objective import ObjectiveWeights
from recon.training.sweep import (
    estimate_sweep,
    filled,
    pose_question,
    shaken_cameras,
    spoilt_depth,
    sweep_loss,
    sweep_objective,
)
from tests.training.room import configure, write_room


@pytest.fixture(scope="module")
def batch(tmp_path_factory) -> Batch:
    folder = write_room(tmp_path_factory.mktemp("room"))
    return FolderScenes(configure(folder).data.folders, 0, "cpu").batch(0, 1, 3, 48, 64)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_spoilt_prior_is_rough_but_not_wild(batch) -> None:
    spoilt = spoilt_depth(batch.depth, generator(1))
    error = (spoilt / filled(batch.depth)).log().abs()
    assert (spoilt > 0).all()
    assert 0.01 < error.mean() < 0.4
    torch.testing.assert_close(spoilt, spoilt_depth(batch.depth, generator(1)))


def test_shaken_cameras_are_rigid_and_nearly_where_they_were(batch) -> None:
    shaken = shaken_cameras(batch, generator())
    rotation = shaken[..., :3, :3]
    torch.testing.assert_close(rotation @ rotation.mT, torch.eye(3).expand_as(rotation), atol=1e-5, rtol=0)
    moved = (shaken - batch.world_from_camera).abs()
    assert 0 < moved.max() < 0.05


def test_the_truth_costs_nothing_but_its_confidence_pays(batch) -> None:
    depth = batch.depth.flatten(0, 1)
    true = filled(batch.depth).flatten(0, 1)
    coarse = tuple(true[:, s // 2 :: s, s // 2 :: s].log() for s in (8, 4))
    unsure = Refined(true, torch.ones_like(true), coarse)
    assert sweep_objective(unsure, depth)[0].abs() < 1e-5
    sure = Refined(true, torch.full_like(true, 10), coarse)
    assert sweep_objective(sure, depth)[0] < -0.4
    wrong = Refined(1.2 * true, torch.ones_like(true), coarse)
    assert sweep_objective(wrong, depth)[1]["error"].item() == pytest.approx(0.182, abs=0.001)


def test_a_small_network_learns_to_mend_a_prior(batch) -> None:
    torch.manual_seed(0)
    network = SweepNetwork(channels=(8, 16, 24, 24), compared=8, steps=(12, 6))
    optimiser = torch.optim.AdamW(network.parameters(), 4e-3)
    question = pose_question(batch, generator())
    prior = (question.prior / filled(batch.depth)).log().abs()[batch.valid].mean()
    for _ in range(40):
        loss, parts = sweep_loss(network, question, ObjectiveWeights())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert parts["error"] < 0.5 * prior
    said = estimate_sweep(network, question)
    assert said.depth is not None
    assert said.depth.shape == batch.depth.shape
