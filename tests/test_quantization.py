import json
import struct

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from recon.errors import InputError
from recon.quantization import load_weights, quantize, read_configuration, restore, write_weights


@pytest.fixture
def network() -> nn.Sequential:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(16, 64, 5), nn.Linear(200, 128))
    with torch.no_grad():
        network[0].weight[3] *= 1000  # channels of very different size
        network[1].weight[5] = 0
    return network


def write(path, network):
    write_weights(path, network.state_dict(), network="net", licence="Apache-2.0", origin="a test")
    return path


def test_error_is_within_half_a_step_of_each_channel(network):
    state = network.state_dict()
    restored = restore(quantize(state))
    assert restored.keys() == state.keys()
    for name, tensor in state.items():
        if tensor.ndim < 2:
            assert torch.equal(restored[name], tensor)
            continue
        error = (restored[name] - tensor).flatten(1).abs().amax(1)
        largest = tensor.flatten(1).abs().amax(1)
        assert (error <= largest / 254 * 1.001).all()
        assert error.max() > 0
    assert torch.equal(restored["1.weight"][5], torch.zeros(200))


def test_a_file_takes_a_quarter_and_says_what_it_is(network, tmp_path):
    path = write(tmp_path / "net.safetensors", network)
    assert path.stat().st_size < 0.3 * sum(4 * tensor.numel() for tensor in network.state_dict().values())
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    assert metadata["licence"] == "Apache-2.0"
    assert metadata["origin"] == "a test"
    assert metadata["network"] == "net"


def test_a_file_says_which_network_it_is_of_and_how_it_was_made(network, tmp_path):
    path = tmp_path / "net.safetensors"
    write_weights(
        path,
        network.state_dict(),
        network="net",
        licence="Apache-2.0",
        origin="a test",
        configuration={"fine_channels": 32, "taps": (1, 2)},
        training={"seed": 7, "hours": 0.5},
    )
    assert read_configuration(path) == {"fine_channels": 32, "taps": [1, 2]}
    with safe_open(path, "pt") as file:
        assert json.loads(file.metadata()["training"]) == {"seed": 7, "hours": 0.5}


def test_a_file_that_says_nothing_of_its_network_is_of_the_default_one(network, tmp_path):
    save_file(dict(network.state_dict()), tmp_path / "plain.safetensors")
    assert read_configuration(tmp_path / "plain.safetensors") == {}
    with pytest.raises(InputError, match="cannot be read"):
        read_configuration(tmp_path / "none.safetensors")


def test_weights_come_back_from_a_file(network, tmp_path):
    expected = restore(quantize(network.state_dict()))
    path = write(tmp_path / "net.safetensors", network)
    other = nn.Sequential(nn.Conv2d(16, 64, 5), nn.Linear(200, 128))
    load_weights(other, path)
    for name, tensor in other.state_dict().items():
        assert torch.equal(tensor, expected[name])


def test_plain_floats_are_taken_as_they_are(network, tmp_path):
    save_file({name: tensor.half() for name, tensor in network.state_dict().items()}, tmp_path / "plain.safetensors")
    other = nn.Sequential(nn.Conv2d(16, 64, 5), nn.Linear(200, 128))
    load_weights(other, tmp_path / "plain.safetensors")
    assert torch.equal(other[1].weight, network[1].weight.half().float())


def test_missing_file(network, tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        load_weights(network, tmp_path / "none.safetensors")


def test_cut_file(network, tmp_path):
    path = write(tmp_path / "net.safetensors", network)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(InputError, match="cannot be read"):
        load_weights(network, path)


def test_file_of_something_else(network, tmp_path):
    path = tmp_path / "photo.safetensors"
    path.write_bytes(b"\xff\xd8\xff\xe0 not weights at all")
    with pytest.raises(InputError, match="cannot be read"):
        load_weights(network, path)


@pytest.mark.parametrize(
    "other",
    [
        nn.Sequential(nn.Conv2d(16, 64, 5)),
        nn.Sequential(nn.Conv2d(16, 64, 5), nn.Linear(200, 64)),
        nn.Sequential(nn.Conv2d(16, 64, 5), nn.Linear(200, 128), nn.Linear(2, 2)),
    ],
    ids=["too many keys", "another shape", "too few keys"],
)
def test_weights_of_another_network(network, other, tmp_path):
    path = write(tmp_path / "net.safetensors", network)
    with pytest.raises(InputError, match="another network"):
        load_weights(other, path)


def test_a_scale_of_another_shape(network, tmp_path):
    stored = quantize(network.state_dict())
    stored["1.weight:scale"] = stored["1.weight:scale"][:5].contiguous()
    save_file(stored, tmp_path / "net.safetensors")
    with pytest.raises(InputError, match="another network"):
        load_weights(network, tmp_path / "net.safetensors")


def test_a_newer_version(network, tmp_path):
    path = write(tmp_path / "net.safetensors", network)
    content = path.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"]["version"] = "2"
    changed = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(changed)) + changed + content[8 + length :])
    with pytest.raises(InputError, match="update Parallax"):
        load_weights(network, path)
