import math
import time
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from recon import splatting
from recon.spherical_harmonics import basis, colours
from recon.splatting import GSPLAT, INRIA, Splats, covariances, render, render_colours

SIZE = (40, 32)
LENS = torch.tensor([[36.0, 0, 17.5], [0, 33.0, 15.0], [0, 0, 1]]).double()


def cloud(count: int, dtype: torch.dtype = torch.float64, scale: float = 0.1) -> Splats:
    torch.manual_seed(3)
    means = torch.randn(count, 3, dtype=dtype) * torch.tensor([0.8, 0.7, 0.6]) + torch.tensor([0, 0, 2.5])
    rotations = torch.nn.functional.normalize(torch.randn(count, 4, dtype=dtype), dim=-1)
    scales = scale * torch.rand(count, 3, dtype=dtype) + scale / 10
    return Splats(means, covariances(scales, rotations), torch.rand(count, dtype=dtype))


def poses(count: int, dtype: torch.dtype = torch.float64) -> Tensor:
    found = torch.eye(4, dtype=dtype).repeat(count, 1, 1)
    for view in range(count):
        angle = 0.1 * view
        found[view, 0, 0] = found[view, 2, 2] = math.cos(angle)
        found[view, 0, 2], found[view, 2, 0] = math.sin(angle), -math.sin(angle)
        found[view, :3, 3] = torch.tensor([0.1, -0.05, 0.02]) * view
    return found


def one_by_one(splats: Splats, features: Tensor, pose: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The same by the book: every Gaussian at every pixel, front to back, in float64."""
    width, height = SIZE
    points = (splats.means - pose[:3, 3]) @ pose[:3, :3]
    canvas, depth = torch.zeros(height, width, features.shape[1]).double(), torch.zeros(height, width).double()
    light, lit = torch.ones(height, width).double(), torch.ones(height, width, dtype=torch.bool)
    y, x = torch.meshgrid(torch.arange(height).double() + 0.5, torch.arange(width).double() + 0.5, indexing="ij")
    for index in points[:, 2].argsort().tolist():
        px, py, pz = points[index].tolist()
        if pz <= GSPLAT.near:
            continue
        (fx, _, cx), (_, fy, cy), _ = LENS.tolist()
        slope_x = min(max(px / pz, -(cx + 0.15 * width) / fx), (width - cx + 0.15 * width) / fx)
        slope_y = min(max(py / pz, -(cy + 0.15 * height) / fy), (height - cy + 0.15 * height) / fy)
        jacobian = torch.tensor(
            [[fx / pz, 0, -fx * slope_x / pz], [0, fy / pz, -fy * slope_y / pz]], dtype=torch.float64
        )
        into = jacobian @ pose[:3, :3].T
        shape = into @ splats.covariances[index] @ into.T + 0.3 * torch.eye(2).double()
        offset = torch.stack([x - (fx * px / pz + cx), y - (fy * py / pz + cy)], -1)
        power = -0.5 * torch.einsum("hwi,ij,hwj->hw", offset, torch.linalg.inv(shape), offset)
        alpha = (splats.opacities[index] * power.exp()).clamp_max(0.999)
        alpha = torch.where(alpha < 1 / 255, 0, alpha)
        lit &= light * (1 - alpha) >= 1e-4
        weight = torch.where(lit, alpha * light, 0)
        canvas, depth = canvas + weight[..., None] * features[index], depth + weight * pz
        light = torch.where(lit, light * (1 - alpha), light)
    return canvas, depth, 1 - light


def test_gives_what_every_gaussian_at_every_pixel_gives(monkeypatch):
    splats, features, cameras = cloud(400), torch.rand(400, 5).double(), poses(2)
    splats = replace(splats, opacities=splats.opacities.clone().index_fill_(0, torch.arange(50), 1.0))
    for pairs in (splatting.PAIRS, 500):  # in one chunk, and in many
        monkeypatch.setattr(splatting, "PAIRS", pairs)
        found = render(splats, features, LENS.expand(2, 3, 3), cameras, SIZE)
        for view in range(2):
            canvas, depth, alpha = one_by_one(splats, features, cameras[view])
            torch.testing.assert_close(found.features[view], canvas, rtol=0, atol=1e-9)
            torch.testing.assert_close(found.depth[view], depth, rtol=0, atol=1e-9)
            torch.testing.assert_close(found.alpha[view], alpha, rtol=0, atol=1e-9)
    assert found.alpha.max() > 0.99


def test_is_differentiable():
    splats = cloud(12, scale=0.3)
    weights = torch.rand(SIZE[1], SIZE[0], 2).double()

    def loss(means, shapes, opacities, features):
        found = render(Splats(means, shapes @ shapes.mT, opacities), features, LENS[None], poses(1), SIZE)
        return (found.features[0] * weights).sum() + found.depth.mean()

    roots = torch.linalg.cholesky(splats.covariances)
    given = (splats.means, roots, 0.2 + 0.5 * splats.opacities, torch.rand(12, 2).double())
    inputs = [part.clone().requires_grad_() for part in given]
    loss(*inputs).backward()
    for number, part in enumerate(inputs):
        step = torch.randn_like(part)
        values = []
        for sign in (1, -1):  # so small a step that hardly any pixel crosses the faintest alpha
            moved = [each.detach() for each in inputs]
            moved[number] = moved[number] + sign * 1e-8 * step
            values.append(float(loss(*moved)))
        assert part.grad is not None
        assert float((part.grad * step).sum()) == pytest.approx((values[0] - values[1]) / 2e-8, rel=1e-4)


def test_what_is_behind_or_beside_the_camera_or_too_faint_is_not_seen():
    means = torch.tensor([[0, 0, -1.0], [9, 0, 1], [0, 0, 2], [0.2, 0, 0.001]]).double()
    splats = Splats(means, 1e-4 * torch.eye(3).double().repeat(4, 1, 1), torch.tensor([1, 1, 0.003, 1]).double())
    assert render(splats, torch.ones(4, 1).double(), LENS[None], poses(1), SIZE).alpha.max() == 0
    empty = Splats(means[:0], splats.covariances[:0], splats.opacities[:0])
    assert render(empty, torch.ones(0, 1).double(), LENS[None], poses(1), SIZE).features.shape == (1, 32, 40, 1)


def test_the_nearer_one_hides_the_other_and_features_may_differ_by_view():
    splats = Splats(
        torch.tensor([[0, 0, 3.0], [0, 0, 2.0]]).double(),
        torch.eye(3).double().repeat(2, 1, 1),
        torch.tensor([1.0, 1.0]).double(),
    )
    features = torch.tensor([[[1.0], [5.0]], [[1.0], [7.0]]]).double()
    found = render(splats, features, LENS.expand(2, 3, 3), poses(1).expand(2, 4, 4), SIZE)
    middle = found.features[:, 15, 17, 0]
    torch.testing.assert_close(middle, torch.tensor([5.0, 7.0]).double(), rtol=1e-2, atol=0)
    assert abs(float(found.depth[0, 15, 17]) - 2) < 0.02


def test_the_principal_point_counts_only_for_one_of_the_rules():
    splats = Splats(torch.tensor([[0, 0, 2.0]]).double(), 1e-4 * torch.eye(3).double()[None], torch.ones(1).double())
    for rules, place in ((GSPLAT, (17.5, 15.0)), (INRIA, (20, 16))):
        alpha = render(splats, torch.ones(1, 1).double(), LENS[None], poses(1), SIZE, rules).alpha[0]
        y, x = torch.meshgrid(torch.arange(32) + 0.5, torch.arange(40) + 0.5, indexing="ij")
        centre = float((x * alpha).sum() / alpha.sum()), float((y * alpha).sum() / alpha.sum())
        assert centre == pytest.approx(place, abs=1e-2)


def test_harmonics_are_orthonormal():
    torch.manual_seed(0)
    directions = torch.nn.functional.normalize(torch.randn(400_000, 3).double(), dim=-1)
    values = basis(directions, 25)
    gram = 4 * math.pi * values.T @ values / len(directions)
    torch.testing.assert_close(gram, torch.eye(25).double(), rtol=0, atol=0.02)
    for count in (1, 4, 9, 16):
        assert torch.equal(basis(directions[:9], count), values[:9, :count])
    with pytest.raises(ValueError, match="no 7 harmonics"):
        basis(directions, 7)


def test_harmonics_of_degree_zero_are_plain_colours():
    wanted = torch.tensor([[0.2, 0.5, 0.9]])
    plain = (wanted - 0.5)[..., None] / 0.28209479177387814
    assert torch.allclose(colours(plain, torch.tensor([[0.0, 0.6, 0.8]])), wanted)
    splats = Splats(torch.tensor([[0, 0, 2.0]]), torch.eye(3)[None], torch.ones(1))
    found = render_colours(splats, plain, LENS[None].float(), poses(1).float(), SIZE)
    torch.testing.assert_close(found.features[0, 15, 17], wanted[0], rtol=1e-2, atol=0)


def test_many_that_cover_all_of_a_picture_end_where_it_is_dark():
    count = 20_000
    means = torch.tensor([0, 0, 2.0]).repeat(count, 1)
    splats = Splats(means, torch.eye(3).repeat(count, 1, 1), torch.full((count,), 0.5))
    start = time.monotonic()
    found = render(splats, torch.ones(count, 1), LENS[None].float(), poses(1).float(), SIZE)
    assert found.alpha.min() > 0.9
    assert time.monotonic() - start < 10  # all pairs would be 25 million


def test_two_pictures_worth_of_gaussians_take_seconds():
    count = 2 * 256 * 256
    splats = cloud(count, torch.float32, scale=0.004)
    lens = torch.tensor([[318.0, 0, 128], [0, 318, 128], [0, 0, 1]])[None]
    start = time.monotonic()
    found = render_colours(splats, torch.rand(count, 3, 25), lens, poses(1).float(), (256, 256))
    assert found.alpha.mean() > 0.3
    assert time.monotonic() - start < 20
