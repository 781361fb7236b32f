"""Photographs of light."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from recon.training.scenes.photo import develop, draw_look, jpeg, photograph


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def gradient(scenes: int = 3, views: int = 2, height: int = 48, width: int = 64) -> Tensor:
    """Linear light with a slope, an edge and colour."""
    ramp = torch.linspace(0.05, 1, width).expand(height, width).clone()
    ramp[: height // 2, width // 2 :] *= 0.2
    colour = torch.stack([ramp, ramp.flip(1) * 0.7, ramp * 0.4])
    return colour.expand(scenes, views, 3, height, width).clone()


@pytest.mark.parametrize("level", [0.0, 1e-6, 1.0, 1e4, float("inf"), float("nan")])
def test_a_photograph_stays_in_its_range_whatever_the_light(level: float) -> None:
    images = photograph(torch.full((4, 2, 3, 32, 48), level), generator())
    assert images.shape == (4, 2, 3, 32, 48)
    assert images.isfinite().all()
    assert images.min() >= 0
    assert images.max() <= 1


def test_a_lamp_in_the_picture_leaves_the_rest_visible() -> None:
    light = gradient(scenes=32, views=1)
    light[..., :6, :6] = 50.0
    plain, lit = photograph(gradient(scenes=32, views=1), generator()), photograph(light, generator())
    rest = lit[..., 24:, :].mean()
    assert rest > 0.3 * plain[..., 24:, :].mean()
    assert lit[..., :6, :6].mean() > 0.7


def test_the_same_seed_takes_the_same_photograph_and_another_seed_another() -> None:
    light = gradient()
    assert photograph(light, generator(1)).equal(photograph(light, generator(1)))
    assert not photograph(light, generator(1)).allclose(photograph(light, generator(2)), atol=0.02)


def test_photographs_show_the_scene() -> None:
    """The picture's structure survives all that is done to it, in nearly every scene."""
    light = gradient(scenes=24, views=1)
    images = photograph(light, generator()).mean(2).flatten(1)
    true = light.clamp(0, 1).sqrt().mean(2).flatten(1)
    correlation = torch.stack([torch.corrcoef(torch.stack(pair))[0, 1] for pair in zip(images, true, strict=True)])
    assert correlation.median() > 0.85
    assert (correlation > 0.5).float().mean() > 0.8


def test_brighter_light_is_exposed_less() -> None:
    light = gradient(scenes=8)
    bright, usual = photograph(light * 30, generator()), photograph(light, generator())
    assert (bright - usual).abs().mean() < 0.01


def test_motion_blur_smears_along_its_way_only() -> None:
    light = gradient(scenes=200, views=1, height=16, width=16)
    blur = draw_look(light, generator()).blur[:, 1]
    assert blur.shape == (200, 9, 9)
    torch.testing.assert_close(blur.sum((1, 2)), torch.ones(200))
    reach = torch.arange(9) - 4.0
    spread_x = (blur * reach**2).sum((1, 2)).sqrt()
    spread_y = (blur * reach[:, None] ** 2).sum((1, 2)).sqrt()
    longest = torch.maximum(spread_x, spread_y)
    assert (longest < 0.6).float().mean() > 0.3
    assert (longest > 1.2).float().mean() > 0.05
    assert (torch.minimum(spread_x, spread_y) < 0.5 * longest).any()


def test_noise_grows_with_the_light() -> None:
    light = torch.full((1, 1, 3, 64, 64), 0.3)
    look = draw_look(light, generator())
    for name in ("black", "bloom", "veil", "vignette", "blotch", "read", "sharpen", "brightness"):
        getattr(look, name).zero_()
    look.shot.fill_(0.01)
    look.exposure.fill_(1.0)
    look.gamma.fill_(1.0)
    look.contrast.fill_(1.0)
    look.saturation.fill_(1.0)
    look.clipped.fill_(1.0)
    look.filmic.zero_()
    look.step.fill_(1e-4)
    bright, dark = develop(light[0], look), develop(light[0] / 4, look)
    assert bright.std() / dark.std() == pytest.approx(2, rel=0.15)


def test_jpeg_changes_little_at_high_quality_and_more_at_low() -> None:
    images = torch.rand(2, 3, 32, 40, generator=generator()) * 0.2 + gradient(2, 1, 32, 40)[:, 0] * 0.8
    fine = jpeg(images, torch.full((2,), 1e-4))
    coarse = jpeg(images, torch.full((2,), 0.05))
    assert (fine - images).abs().max() < 0.01
    assert (coarse - images).abs().mean() > 10 * (fine - images).abs().mean()
    red, green, blue = (coarse - images).unbind(1)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    assert (blue - luma).std() > luma.std()


def test_jpeg_keeps_flat_colours() -> None:
    colour = torch.tensor([0.8, 0.3, 0.1]).view(1, 3, 1, 1).expand(1, 3, 16, 16)
    assert (jpeg(colour, torch.tensor([0.002])) - colour).abs().max() < 0.005
