import builtins
import os
import pathlib
import sys
import types
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from recon.checkpoint import fill, read_state
from recon.errors import InputError
from recon.networks.siu3r import Siu3r
from recon.networks.siu3r_checkpoint import read_checkpoint
from tests.networks.small_siu3r import stand_in_network, write_sizes
from tests.networks.stand_in import smooth_images

LENS = torch.eye(3).expand(1, 2, 3, 3)


@dataclass
class Settings:
    """As a training's own module has it."""

    mode: str
    inner: Any = None


@pytest.fixture
def training(tmp_path, monkeypatch):
    """A module that lies beside training scripts, and leaves a mark where it is imported."""
    module = types.ModuleType("src.config")
    monkeypatch.setattr(Settings, "__module__", "src.config")
    module.Settings = Settings
    (tmp_path / "src").mkdir()
    for name in ("__init__", "config"):
        (tmp_path / "src" / f"{name}.py").write_text(f"open({str(tmp_path / 'imported')!r}, 'w')\n")
    monkeypatch.syspath_prepend(tmp_path)
    return module


class Reduced:
    """Calls a function where it is unpickled."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


def write(path: Path, training, **more) -> Siu3r:
    """A checkpoint as Lightning writes it, beside the sizes of the small network."""
    network = stand_in_network(multiple=more.pop("multiple", False), text=more.pop("text", False))
    state = {f"model.{name}": tensor for name, tensor in network.state_dict().items()}
    state |= {"lpips.net.lins.0.model.1.weight": torch.ones(2), "lpips.net.net.slice1.0.bias": torch.ones(1)}
    settings = Settings("train", [Settings("inner"), pathlib.PurePosixPath("/somewhere"), slice(3)])
    content = {
        "epoch": 100,
        "pytorch-lightning_version": "2.5.1",
        "state_dict": state,
        "optimizer_states": [{"state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.zeros(5)}}}],
        "hyper_parameters": {"cfg": settings},
        **more,
    }
    sys.modules["src"], sys.modules["src.config"] = types.ModuleType("src"), training
    try:
        torch.save(content, path)
    finally:
        del sys.modules["src"], sys.modules["src.config"]
    write_sizes(path.parent)
    return network


@pytest.mark.parametrize("kind", ["", "multiple", "text"])
def test_a_file_of_the_training_becomes_the_network(tmp_path, training, kind):
    path = tmp_path / "siu3r.ckpt"
    network = write(path, training, **({kind: True} if kind else {}))
    with pytest.raises(InputError, match="something else than tensors"):
        read_state(path)  # without leave to meet strangers
    read, state = read_checkpoint(path)
    assert (read.multiple, read.text) == (kind == "multiple", kind == "text")
    with torch.device("meta"):
        empty = Siu3r(read).eval()
    fill(empty, state, path.name)
    images = smooth_images(2, 64, 64)
    with torch.inference_mode():
        expected, given = network(images, LENS), empty(images, LENS)
    assert torch.equal(given.masks, expected.masks)
    assert torch.equal(given.gaussians.harmonics, expected.gaussians.harmonics)
    assert "src" not in sys.modules
    assert not (tmp_path / "imported").exists()


def test_nothing_of_a_hostile_file_is_run(tmp_path, training):
    trap, path = tmp_path / "trap", tmp_path / "bad.ckpt"
    touch = f"open({str(trap)!r}, 'w')"
    hostile = {
        "open": Reduced(open, str(trap), "w"),
        "exec": Reduced(builtins.exec, touch),
        "eval": Reduced(builtins.eval, touch),
        "path": Reduced(pathlib.Path.touch, pathlib.PurePosixPath(trap)),
        "import": Reduced(builtins.__import__, "src.config"),
        "chain": Reduced(map, builtins.exec, [touch]),
        "own": Settings(Reduced(builtins.exec, touch), Reduced(open, str(trap), "w")),
        "load": Reduced(torch.load, str(trap)),
        "setstate": Reduced(getattr, Reduced(__import__, "os"), "system"),
    }
    for name, thing in hostile.items():
        write(path, training, loops={name: thing})
        with suppress(InputError):  # some are refused, others read without what they hide
            assert "backbone.enc_norm.weight" in read_checkpoint(path)[1]
        assert not trap.exists(), name
        assert not (tmp_path / "imported").exists(), name
    write(path, training, loops=Reduced(os.system, f"touch {trap}"))
    with pytest.raises(InputError, match=r"'bad\.ckpt' holds something else"):
        read_checkpoint(path)
    assert not trap.exists()


def test_weights_that_are_none_are_refused(tmp_path, training):
    path = tmp_path / "bad.ckpt"
    write(path, training, state_dict={"model.backbone.enc_norm.weight": Settings("no tensor")})
    with pytest.raises(InputError, match="something else than tensors by name"):
        read_checkpoint(path)


def test_other_checkpoints_are_told_apart(tmp_path, training):
    path = tmp_path / "other.ckpt"
    write(path, training, state_dict={"model.depth_head.weight": torch.ones(3)})
    read, state = read_checkpoint(path)
    with torch.device("meta"):
        network = Siu3r(read)
    with pytest.raises(InputError, match="does not fit Siu3r"):
        fill(network, state, path.name)
