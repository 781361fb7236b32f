"""Textures: they tile, they are told apart, their spectra are natural, and lookups filter them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from recon.training.scenes.atlas import FAMILIES, Atlas, lookup, make_atlas
from recon.training.scenes.random import Draw
from recon.training.scenes.textures import PAINTERS

SIZE = 32


@pytest.fixture(scope="module")
def atlas() -> Atlas:
    return make_atlas(torch.Generator().manual_seed(3), 2, SIZE)


def constant(value: float, like: Tensor) -> Tensor:
    return torch.full_like(like, value)


def test_every_family_has_a_painter_and_its_place() -> None:
    assert tuple(PAINTERS) == FAMILIES


def test_textures_are_coloured_evenly_and_differ(atlas: Atlas) -> None:
    images = torch.stack([atlas.image(k) for k in range(2 * len(FAMILIES))])
    assert images.shape == (32, 4, SIZE, SIZE)
    means = images[:, :3].mean((1, 2, 3))
    assert means.min() > 0.3
    assert means.max() < 0.6
    assert images[:, :3].std((2, 3)).amax(1).min() > 0.004
    assert torch.cdist(images.flatten(1), images.flatten(1)).add(torch.eye(32) * 99).min() > 1


def test_the_same_seed_gives_the_same_atlas(atlas: Atlas) -> None:
    assert torch.equal(make_atlas(torch.Generator().manual_seed(3), 2, SIZE).texels, atlas.texels)


@pytest.mark.parametrize("family", ["noise", "leaves", "marble", "gravel", "foliage", "stains", "bricks", "fabric"])
def test_textures_have_no_seam(family: str) -> None:
    image = PAINTERS[family](Draw(torch.Generator().manual_seed(0)), 6, 64)[:, :3]
    for dimension in (-1, -2):
        step = (image - image.roll(1, dimension)).abs().mean((0, 1))
        across = step.select(dimension, 0).mean()
        assert across < 2 * step.mean() + 0.01


@pytest.mark.parametrize("family", ["noise", "leaves"])
def test_natural_textures_have_natural_spectra(family: str) -> None:
    image = PAINTERS[family](Draw(torch.Generator().manual_seed(1)), 6, 128)[:, :3].mean(1)
    spectrum = torch.fft.fft2(image - image.mean((1, 2), keepdim=True)).abs().square().mean(0).sqrt()
    rows = torch.fft.fftfreq(128, 1 / 128)
    frequency = (rows[:, None].square() + rows.square()).sqrt()
    amplitude = [spectrum[(frequency > low) & (frequency <= 2 * low)].mean().log2() for low in (4, 8, 16, 24)]
    slope = (amplitude[2] - amplitude[0]) / 2
    assert -1.7 < slope < -0.6


def test_a_lookup_at_a_texels_centre_finds_it_and_coordinates_wrap(atlas: Atlas) -> None:
    place = (torch.arange(SIZE) + 0.5) / SIZE
    v, u = torch.meshgrid(place, place, indexing="ij")
    texture = torch.full((SIZE, SIZE), 5, dtype=torch.int32)
    bits = torch.zeros_like(texture)
    for shift in (0.0, 3.0, -2.0):
        texel = lookup(atlas, texture, u + shift, v - shift, constant(1e-4, u), bits)
        torch.testing.assert_close(torch.stack(texel.colour), atlas.image(5)[:3], rtol=0, atol=1e-4)


def test_slopes_are_those_of_the_height(atlas: Atlas) -> None:
    height = atlas.image(9)[3]
    place = torch.arange(1, SIZE) / SIZE
    u, v = place.expand(SIZE, -1), ((torch.arange(SIZE) + 0.5) / SIZE)[:, None].expand(-1, SIZE - 1)
    texture = torch.full(u.shape, 9, dtype=torch.int32)
    texel = lookup(atlas, texture, u, v, constant(1e-4, u), torch.zeros_like(texture))
    torch.testing.assert_close(texel.slope_across, 4 * (height[:, 1:] - height[:, :-1]), rtol=0, atol=1e-3)


def test_a_pixel_that_covers_a_tile_sees_its_mean(atlas: Atlas) -> None:
    u, v = torch.rand(2, 50, generator=torch.Generator().manual_seed(0))
    for number in range(0, 32, 5):
        texture = torch.full((50,), number, dtype=torch.int32)
        texel = lookup(atlas, texture, u, v, constant(4.0, u), torch.full_like(texture, -1))
        expected = atlas.image(number)[:3].mean((1, 2))[:, None].expand(3, 50)
        torch.testing.assert_close(torch.stack(texel.colour), expected, rtol=0, atol=0.02)
