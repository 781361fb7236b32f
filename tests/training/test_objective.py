from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from recon.evaluation import metrics as reference
from recon.networks.parallax import ParallaxNetwork
from recon.training.estimate import Estimate, rotation_from_quaternion
from recon.training.metrics import metrics
from recon.training.objective import ObjectiveWeights, objective
from tests.training.toy import learnable, toy_batch, truth_of

ALL = ObjectiveWeights(**{field.name: 1.0 for field in fields(ObjectiveWeights)})
NONE = ObjectiveWeights(**{field.name: 0.0 for field in fields(ObjectiveWeights)})


def test_the_loss_is_the_weighted_sum_of_the_parts() -> None:
    batch = toy_batch()
    estimate = truth_of(batch)
    assert estimate.depth is not None
    estimate.depth *= 1.1
    weights = ObjectiveWeights(**{field.name: 0.1 * (i + 1) for i, field in enumerate(fields(ObjectiveWeights))})
    loss, parts = objective(estimate, batch, weights)
    assert set(parts) == {field.name for field in fields(ObjectiveWeights)}
    assert float(loss) == pytest.approx(sum(getattr(weights, name) * float(part) for name, part in parts.items()))
    assert all(not part.requires_grad for part in parts.values())


def test_the_truth_costs_nothing_but_what_confidence_gains() -> None:
    batch = toy_batch()
    _, parts = objective(truth_of(batch), batch, ALL)
    for name in ("depth", "points"):
        assert float(parts.pop(name)) == pytest.approx(-0.2 * np.log(2), abs=1e-3)
    for name in ("coarse_matching", "fine_matching", "photometric", "smoothness"):
        parts.pop(name)
    assert len(parts) == 9
    assert all(float(part) == pytest.approx(0, abs=1e-3) for part in parts.values())


def test_errors_show_in_their_own_parts() -> None:
    batch = toy_batch()
    _, right = objective(truth_of(batch), batch, ALL)
    estimate = truth_of(batch)
    estimate.cameras[-1].translation[:, 1] += 0.3
    _, parts = objective(estimate, batch, ALL)
    changed = {name for name in parts if float(parts[name] - right[name]) > 1e-3}
    assert {"translation", "relative_direction", "consistency", "photometric"} <= changed
    assert not {"depth", "points", "rotation", "field_of_view", "alignment", "normal"} & changed


@pytest.mark.parametrize("name", [field.name for field in fields(ObjectiveWeights)])
def test_a_weight_of_0_leaves_its_part_out(name: str) -> None:
    batch = toy_batch(scenes=1, views=2, height=32, width=32)
    _, parts = objective(truth_of(batch), batch, replace(ALL, **{name: 0.0}))
    assert name not in parts
    assert len(parts) == len(fields(ObjectiveWeights)) - 1


@pytest.mark.parametrize("views", [1, 2, 3])
@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("weights", [ALL, NONE])
def test_every_output_has_a_finite_gradient(views: int, known: bool, weights: ObjectiveWeights) -> None:
    batch = toy_batch(views=views)
    estimate = learnable(truth_of(batch))
    if not known:
        batch.depth[:] = 0
        batch.usable[:] = False
    loss, _ = objective(estimate, batch, weights)
    loss.backward()
    assert loss.isfinite()
    for tensor in estimate.tensors():
        assert tensor.grad is not None
        assert tensor.grad.isfinite().all()


def test_what_an_estimate_does_not_tell_is_not_asked() -> None:
    batch = toy_batch(scenes=1, views=2, height=32, width=32)
    _, parts = objective(Estimate(depth=batch.depth), batch, ALL)
    assert set(parts) == {"depth", "gradient", "normal", "smoothness"}
    assert float(parts["depth"]) == 0  # no confidence: the plain mean
    loss, parts = objective(Estimate(), batch, ALL)
    assert float(loss) == 0
    assert not parts


def test_photos_alone_teach_what_needs_no_truth() -> None:
    batch = toy_batch()
    estimate = truth_of(batch)
    estimate.cameras[-1].translation[:, 1] += 0.3
    _, right = objective(truth_of(batch), batch, ALL)
    batch.depth[:] = 0
    batch.usable[:] = False
    _, parts = objective(estimate, batch, ALL)
    assert {name for name in parts if parts[name] != 0} == {"consistency", "photometric", "smoothness"}
    assert float(parts["consistency"]) > 10 * float(right["consistency"])
    assert float(parts["photometric"]) > 2 * float(right["photometric"])


def test_half_precision_around_it_changes_nothing() -> None:
    batch = toy_batch()
    results, estimate = [], truth_of(batch)
    for enabled in (False, True):
        torch.manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            loss, _ = objective(estimate, batch, ALL)
        results.append(float(loss))
    assert results[0] == results[1]


@pytest.mark.slow
def test_it_is_one_graph_for_the_compiler() -> None:
    batch = toy_batch(scenes=1, views=2, height=32, width=32)
    torch.manual_seed(0)
    expected, _ = objective(truth_of(batch), batch, ALL)
    torch.manual_seed(0)
    compiled = torch.compile(objective, fullgraph=True, dynamic=False, backend="eager")
    loss, _ = compiled(truth_of(batch), batch, ALL)
    assert float(loss) == pytest.approx(float(expected), rel=1e-5)


def test_the_network_learns_from_it() -> None:
    torch.manual_seed(0)
    network = ParallaxNetwork(
        width=64, depth=2, heads=2, stem_channels=(8, 8, 8), dense_channels=8, taps=(1, 2), descriptors_after=1
    )
    batch = toy_batch(scenes=1, views=2).normalised()
    optimiser = torch.optim.AdamW(network.parameters(), 2e-3)
    losses = []
    for _ in range(12):
        loss, _ = objective(Estimate.from_parallax(network(batch.images)), batch, ObjectiveWeights())
        optimiser.zero_grad()
        loss.backward()
        assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in network.parameters())
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.6 * losses[0]


def test_rotations_of_quaternions() -> None:
    half = 0.5**0.5
    turned = rotation_from_quaternion(torch.tensor([half, 0.0, 0.0, half]))
    torch.testing.assert_close(turned, torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]), atol=1e-6, rtol=0)


def test_metrics_are_those_of_the_evaluation() -> None:
    batch = toy_batch(scenes=1, views=4)
    estimate = truth_of(batch)
    camera = estimate.cameras[-1]
    generator = torch.Generator().manual_seed(0)
    camera.translation += 0.1 * torch.randn(camera.translation.shape, generator=generator)
    axis_angle = 0.1 * torch.randn(1, 4, 3, generator=generator)
    quaternion = torch.nn.functional.normalize(torch.cat([torch.ones(1, 4, 1), axis_angle], -1), dim=-1)
    camera.rotation = camera.rotation @ rotation_from_quaternion(quaternion)
    camera.tangents *= 1.2
    assert estimate.depth is not None
    estimate.depth *= 3 + 0.5 * torch.rand(estimate.depth.shape, generator=generator)
    batch.depth[:, :, :10] = 0

    found = metrics(estimate, batch)
    truth, guess = batch.world_from_camera[0].numpy(), np.tile(np.eye(4), (4, 1, 1))
    guess[:, :3, :3], guess[:, :3, 3] = camera.rotation[0].numpy(), camera.translation[0].numpy()
    pairs = reference.pair_errors(truth, guess)
    depth = reference.depth_errors(batch.depth[0].numpy(), estimate.depth[0].numpy())
    assert float(found["auc30"]) == pytest.approx(reference.area_under_curve(pairs.worst), abs=1e-6)
    for threshold in (5, 15):
        assert float(found[f"rra{threshold}"]) == pytest.approx(reference.accuracy(pairs.rotation, threshold))
        assert float(found[f"rta{threshold}"]) == pytest.approx(reference.accuracy(pairs.direction, threshold))
    assert float(found["absolute_relative"]) == pytest.approx(depth.absolute_relative, rel=1e-4)
    assert float(found["within_25_percent"]) == pytest.approx(depth.within_25_percent, rel=1e-4)
    assert float(found["field_of_view"]) == pytest.approx(0.2, rel=1e-4)
    assert 0.0 < float(found["auc30"]) < 1.0


def test_matches_are_found_under_occlusion() -> None:
    batch = toy_batch()
    found = metrics(truth_of(batch), batch)
    assert float(found["coarse_matches"]) > 0.95
    assert float(found["fine_matches_1"]) > 0.97
    random = truth_of(batch)
    assert random.fine_descriptors is not None
    random.fine_descriptors = torch.randn_like(random.fine_descriptors)
    assert float(metrics(random, batch)["fine_matches_2"]) < 0.2
