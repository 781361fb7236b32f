"""Reading checkpoints of others, and fitting them to a network."""

import pickle
import re
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from recon import InputError, hub
from recon.checkpoint import fill, read_json_beside, read_state


class Net(nn.Module):
    def __init__(self, width=40):
        super().__init__()
        self.first = nn.Linear(30, width)
        self.second = nn.Linear(width, 20)
        self.register_buffer("running", torch.zeros(width))


@pytest.fixture
def network():
    torch.manual_seed(0)
    return Net()


@pytest.fixture
def state(network):
    return network.state_dict()


@pytest.fixture
def empty():
    with torch.device("meta"):
        return Net()


def write_safetensors(state, path):
    save_file(state, path)


def write_pickle(state, path):
    torch.save(state, path)


def write_old_pickle(state, path):
    torch.save(state, path, _use_new_zipfile_serialization=False)


def write_training(state, path):
    torch.save({"epoch": 3, "model": state, "optimizer": {"lr": 0.1}}, path)


def write_lightning(state, path):
    torch.save({"state_dict": OrderedDict(state), "global_step": 7}, path)


WRITERS = [write_safetensors, write_pickle, write_old_pickle, write_training, write_lightning]


@pytest.mark.parametrize("write", WRITERS)
def test_every_container_gives_the_tensors(state, empty, tmp_path, write):
    path = tmp_path / "weights"  # the name does not matter
    write(state, path)
    assert hub.whole(path)
    read = read_state(path)
    assert read.keys() == state.keys()
    fill(empty, read, path.name)
    for name, tensor in empty.state_dict().items():
        assert torch.equal(tensor, state[name])
    assert empty.first(torch.ones(1, 30)).shape == (1, 40)


def anonymous_memory():
    """Bytes of this process that no file holds."""
    status = Path("/proc/self/status")
    if not status.is_file():
        pytest.skip("needs Linux")
    return 1024 * int(re.search(r"RssAnon:\s+(\d+)", status.read_text())[1])


@pytest.mark.parametrize("write", [write_safetensors, write_pickle])
def test_gigabytes_are_not_copied(tmp_path, write):
    def build():
        return nn.Sequential(*[nn.Linear(1024, 1024) for _ in range(16)])

    path = tmp_path / "large"
    write(build().state_dict(), path)
    before = anonymous_memory()
    with torch.device("meta"):
        network = build()
    fill(network, read_state(path), path.name)
    with torch.inference_mode():
        assert network(torch.ones(1, 1024)).isfinite().all()
    assert anonymous_memory() - before < 0.25 * path.stat().st_size


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("wanted", [torch.float32, torch.bfloat16])
def test_numbers_become_those_of_the_network(state, empty, tmp_path, dtype, wanted):
    save_file({name: tensor.to(dtype) for name, tensor in state.items()}, tmp_path / "other.safetensors")
    empty.to(wanted)
    fill(empty, read_state(tmp_path / "other.safetensors"), "other.safetensors")
    for name, tensor in empty.state_dict().items():
        assert tensor.dtype == wanted
        torch.testing.assert_close(tensor.float(), state[name], rtol=0.01, atol=0.01)


class Malice:
    """Creates a file where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("new", [True, False])
def test_nothing_is_executed(state, tmp_path, new):
    trap, path = tmp_path / "trap", tmp_path / "bad.pt"
    torch.save({**state, "extra": Malice(trap)}, path, _use_new_zipfile_serialization=new)
    with pytest.raises(InputError, match=r"'bad\.pt'"):
        read_state(path)
    assert not trap.exists()
    path.write_bytes(pickle.dumps(Malice(trap)))
    with pytest.raises(InputError, match=r"'bad\.pt'"):
        read_state(path)
    assert not trap.exists()


@pytest.mark.parametrize(
    "content", [{"first": 1}, {1: torch.ones(1)}, [torch.ones(1)], torch.ones(1), {}, {"model": 3}]
)
def test_anything_but_tensors_by_name_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "strange.pt")
    with pytest.raises(InputError, match="something else than tensors by name"):
        read_state(tmp_path / "strange.pt")


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.999])
def test_half_a_file_is_refused(state, tmp_path, write, share):
    path = tmp_path / "half.pt"
    write(state, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError, match=r"'half\.pt' is no checkpoint or a damaged one"):
        read_state(path)
    if write is not write_old_pickle:  # which does not know its length
        assert not hub.whole(path)


def test_what_is_no_checkpoint_is_refused(tmp_path):
    path = tmp_path / "page.pt"
    for content in (b"<!DOCTYPE html>", b"\0" * 1000, b"PK\3\4" + b"\0" * 100, b'........{"a": 1}'):
        path.write_bytes(content)
        assert not hub.whole(path)
        with pytest.raises(InputError, match="is no checkpoint or a damaged one"):
            read_state(path)
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n")
    with pytest.raises(InputError, match="git lfs pull"):
        read_state(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_state(tmp_path / "missing.pt")
    with pytest.raises(InputError, match="cannot be read"):
        read_state(tmp_path)


def test_what_does_not_fit_is_named(state, empty):
    other = {name.replace("second", "third"): tensor for name, tensor in state.items()}
    other["first.weight"] = torch.ones(2, 2)
    with pytest.raises(InputError) as error:
        fill(empty, other, "other.pt")
    sentence = str(error.value)
    assert sentence.startswith("'other.pt' does not fit Net: it lacks 'second.weight', 'second.bias'")
    assert "has no use for 'third.weight', 'third.bias'" in sentence
    assert "has another shape for 'first.weight'" in sentence
    assert all(tensor.is_meta for tensor in empty.state_dict().values())  # nothing is half filled
    with pytest.raises(InputError, match="and 2 more"):
        fill(empty, {}, "none.pt")
    with pytest.raises(InputError, match="another kind of numbers for 'running'"):
        fill(empty, {**state, "running": torch.zeros(40, dtype=torch.int8)}, "int.pt")


def test_a_network_without_its_constants_is_not_left_so(state):
    class Constant(Net):
        def __init__(self):
            super().__init__()
            self.register_buffer("mean", torch.ones(3), persistent=False)

    with torch.device("meta"):
        network = Constant()
    with pytest.raises(RuntimeError, match="'mean'"):
        fill(network, state, "net.pt")


def test_the_configuration_beside_is_read(tmp_path):
    path, beside = tmp_path / "model.pt", tmp_path / "config.json"
    assert read_json_beside(path) == {}
    beside.write_text('{"img_size": 518}')
    assert read_json_beside(path) == {"img_size": 518}
    for wrong in ("{", "[1]", "\xff"):
        beside.write_bytes(wrong.encode("latin1"))
        with pytest.raises(InputError, match=r"config\.json"):
            read_json_beside(path)
