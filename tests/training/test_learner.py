"""The training step: what it changes, and what a gradient that is not finite may not change."""

import copy

import pytest
import torch

from recon.training.config import OptimiserSettings
from recon.training.folder import FolderScenes
from recon.training.learner import Learner
from recon.training.networks import find_trainable
from recon.training.objective import ObjectiveWeights
from recon.training.team import Team
from tests.training.room import configure, write_room


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    return write_room(tmp_path_factory.mktemp("room") / "scene")


@pytest.fixture
def batch(room):
    return FolderScenes([room], 0, "cpu").batch(0, 1, 2, 48, 64)


def make_learner(room, **changes):
    torch.manual_seed(0)
    trainable = find_trainable("embedded")
    network = trainable.build(**configure(room).network.arguments)
    settings = OptimiserSettings(precision="float32", compiled=False, **changes)
    return Learner(trainable, network, ObjectiveWeights(), settings, Team(0, 1, torch.device("cpu")))


def weights_of(network):
    return {name: weight.clone() for name, weight in network.state_dict().items()}


def test_steps_on_one_batch_lower_its_loss(room, batch):
    learner = make_learner(room, rate=1e-3)
    losses = [float(learner.step(batch)["loss"]) for _ in range(12)]
    assert losses[-1] < 0.6 * losses[0]


def test_a_gradient_that_is_not_finite_moves_nothing(room, batch):
    learner = make_learner(room)
    learner.step(batch)
    before, moments = weights_of(learner.network), [dict(state) for state in learner.optimiser.state.values()]
    moments = [{name: value.clone() for name, value in state.items()} for state in moments]
    broken = batch.with_(images=batch.images * torch.nan)
    assert learner.step(broken)["skipped"] == 1
    after = weights_of(learner.network)
    assert all(torch.equal(before[name], after[name]) for name in before)
    for state, kept in zip(learner.optimiser.state.values(), moments, strict=True):
        assert all(torch.equal(state[name], kept[name]) for name in kept)
    assert learner.step(batch)["skipped"] == 0
    assert all(weight.isfinite().all() for weight in learner.network.state_dict().values())


def test_the_gradient_is_clipped_before_it_moves_weights(room, batch):
    """AdamW forgets scale but for its epsilon: with a huge one, steps are proportional to the clipped gradient."""
    moved = []
    for clip in (1e-3, 2e-3):
        learner = make_learner(room, rate=1.0, decay=0.0, clip=clip)
        for group in learner.optimiser.param_groups:
            group["eps"] = 1e3
        before = weights_of(learner.network)
        assert learner.step(batch)["gradient_norm"] > 2e-3
        after = weights_of(learner.network)
        moved.append(sum(((after[name] - before[name]) ** 2).sum() for name in before).sqrt())
    assert moved[1] / moved[0] == pytest.approx(2, rel=1e-2)


def test_only_matrices_decay(room):
    learner = make_learner(room, rate=1.0, decay=0.5)
    decayed, spared = ({id(weight) for weight in group["params"]} for group in learner.optimiser.param_groups)
    names = {id(weight): name for name, weight in learner.network.named_parameters()}
    assert len(decayed) + len(spared) == len(names)
    assert all(names[key].endswith(".weight") for key in decayed)
    assert {"special_tokens", "stem.norm.weight", "stem.norm.bias"} <= {names[key] for key in spared}


def test_the_average_follows_the_weights_and_lags(room, batch):
    learner = make_learner(room, rate=1e-3, average=0.9)
    start = weights_of(learner.network)["stem.stride2.weight"]
    for _ in range(8):
        learner.step(batch)
    now, mean = learner.network.state_dict()["stem.stride2.weight"], learner.average.state_dict()["stem.stride2.weight"]
    assert 0 < (mean - now).norm() < (start - now).norm()
    assert not any(weight.requires_grad for weight in learner.average.parameters())


def test_a_learner_with_the_state_of_another_goes_on_as_that_one(room, batch):
    first, second = make_learner(room), make_learner(room, rate=5e-4)
    first.step(batch)
    second.load_state(copy.deepcopy(first.state()))
    second.rate = first.rate
    told = [first.step(batch), second.step(batch)]
    assert torch.equal(told[0]["loss"], told[1]["loss"])
    ours, theirs = first.network.state_dict(), second.network.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
