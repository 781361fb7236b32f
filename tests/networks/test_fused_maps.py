"""What stands between the convolutions of a dense head does what plain torch does in several passes."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from recon.networks.layers import fused
from recon.networks.layers.fused_maps import convolved, read_out, resized, together

PLACES = [
    pytest.param(("cpu", torch.float32), id="cpu"),
    *(
        pytest.param(
            ("cuda", dtype),
            marks=pytest.mark.skipif(not (torch.cuda.is_available() and fused.AVAILABLE), reason="needs a GPU"),
            id=f"gpu-{name}",
        )
        for name, dtype in (("float32", torch.float32), ("float16", torch.float16))
    ),
]


@pytest.fixture(params=PLACES)
def place(request):
    """Where the maps lie, and their precision."""
    device, dtype = request.param
    return {"device": device, "dtype": dtype}


@pytest.fixture(autouse=True)
def exact(monkeypatch):
    torch.manual_seed(0)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    with torch.no_grad():
        yield


def agree(found, expected):
    """But for rounding, which a pass over memory does once and torch after every step."""
    tolerance = 1e-4 if found.dtype == torch.float32 else 1e-2
    torch.testing.assert_close(found, expected.to(found.dtype), atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("added", [0, 1, 2])
def test_a_convolution_with_what_is_added(place, bias, relu, added):
    layer = nn.Conv2d(5, 24, 3, padding=1, bias=bias).to(**place)
    maps = torch.randn(2, 5, 9, 11, **place)
    others = [torch.randn(2, 24, 9, 11, **place) for _ in range(added)]
    expected = sum(others, layer(maps))
    agree(convolved(layer, maps, *others, relu=relu), functional.relu(expected) if relu else expected)


def test_what_is_added_may_be_one_map_for_all(place):
    layer = nn.Conv2d(5, 24, 1).to(**place)
    maps, one = torch.randn(3, 5, 9, 11, **place), torch.randn(1, 24, 9, 11, **place)
    agree(convolved(layer, maps, one), layer(maps) + one)


@pytest.mark.parametrize("layer", [nn.ConvTranspose2d(6, 8, 4, 4), nn.Conv2d(6, 8, 3, 2, 1)])
def test_convolutions_that_change_the_size(place, layer):
    layer = copy.deepcopy(layer).to(**place)
    maps = torch.randn(2, 6, 7, 5, **place)
    agree(convolved(layer, maps), layer(maps))


def test_the_maps_that_are_given_stay(place):
    layer = nn.Conv2d(8, 8, 1).to(**place)
    maps, other = torch.randn(2, 8, 4, 4, **place), torch.randn(2, 8, 4, 4, **place)
    kept = maps.clone(), other.clone()
    convolved(layer, maps, other, relu=True)
    resized(maps, (9, 9), layer.bias)
    assert torch.equal(maps, kept[0])
    assert torch.equal(other, kept[1])


def test_what_is_not_a_number_shows(place):
    layer = nn.Conv2d(4, 4, 1).to(**place)
    maps = torch.full((1, 4, 2, 2), torch.nan, **place)
    assert convolved(layer, maps, relu=True).isnan().all()


@pytest.mark.parametrize("size", [(9, 11), (18, 22), (37, 5), (1, 1)])
@pytest.mark.parametrize("channels", [8, 24])
def test_resizing(place, size, channels):
    maps = torch.randn(2, channels, 9, 11, **place)
    expected = functional.interpolate(maps.float(), size, mode="bilinear", align_corners=True)
    agree(resized(maps, size), expected)


def test_resizing_with_a_bias_and_positions(place):
    maps, bias = torch.randn(2, 8, 5, 4, **place), torch.randn(8, **place)
    across, down = torch.randn(13, 4, device=place["device"]), torch.randn(10, 4, device=place["device"])
    expected = functional.interpolate(maps.float(), (10, 13), mode="bilinear", align_corners=True)
    expected += bias[:, None, None]
    expected[:, :4] += across.T[:, None, :]
    expected[:, 4:] += down.T[:, :, None]
    agree(resized(maps, (10, 13), bias, (across, down)), expected)


def test_resizing_keeps_corners_and_whole_numbers_between_pixels(place):
    row = torch.arange(4.0).to(**place)[None, None, None].expand(1, 1, 2, 4)
    assert resized(row, (2, 7))[0, 0, 1].tolist() == [0, 0.5, 1, 1.5, 2, 2.5, 3]


@pytest.mark.parametrize(("hidden", "outputs"), [(24, 1), (24, 2), (24, 4), (128, 6)])
def test_reading_out_is_as_exact_as_the_last_convolution(place, hidden, outputs):
    layers = nn.Sequential(nn.Conv2d(16, hidden, 3, padding=1), nn.ReLU(), nn.Conv2d(hidden, outputs, 1)).to(**place)
    layers[-1].float()
    maps = torch.randn(2, 16, 9, 15, **place)
    said = read_out(maps, layers)
    assert said.dtype == torch.float32
    expected = layers[-1](functional.relu(layers[0](maps)).float())
    tolerance = 1e-4 if place["dtype"] == torch.float32 else 5e-3
    torch.testing.assert_close(said, expected, atol=tolerance, rtol=tolerance)


def test_gradients_go_through():
    layers = nn.Sequential(nn.Conv2d(4, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 2, 1))
    with torch.enable_grad():
        maps = torch.randn(1, 4, 5, 5, requires_grad=True)
        read_out(resized(convolved(nn.Conv2d(4, 4, 1), maps, relu=True), (9, 9)), layers).sum().backward()
    assert maps.grad.abs().sum() > 0


def test_channels_lie_together():
    maps = together(torch.randn(2, 3, 4, 5))
    assert maps.stride() == (60, 1, 15, 3)
