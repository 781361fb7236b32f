import dataclasses
import io
import json
import pickle
from argparse import Namespace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from recon.checkpoint import fill
from recon.errors import InputError
from recon.networks.must3r import Configuration, Memory, Must3r
from recon.networks.must3r_checkpoint import load_retrieval, read_checkpoint, read_words
from tests.networks.small_must3r import (
    DECODER,
    ENCODER,
    configuration,
    save_checkpoint,
    save_retrieval,
    stand_in_network,
)
from tests.networks.stand_in import smooth_images

WIDTH = 32


def rendered(network: Must3r) -> torch.Tensor:
    with torch.inference_mode():
        encoded, memory = network.encode(smooth_images(2, 32, 48)[0]), Memory()
        _, seen = network.update([encoded], memory)
        memory.append(network.entries(seen))
        return network.render(encoded, memory)


@pytest.mark.parametrize("container", ["pth", "safetensors"])
def test_a_checkpoint_of_either_container_becomes_the_network(tmp_path, container):
    network = stand_in_network()
    if container == "pth":
        path = save_checkpoint(tmp_path / "MUSt3R.pth")
    else:
        path = tmp_path / "model.safetensors"
        save_file({key: value.clone() for key, value in network.state_dict().items()}, path)
        (tmp_path / "config.json").write_text(json.dumps({"encoder": ENCODER, "decoder": DECODER}))
    read, state = read_checkpoint(path)
    assert read == configuration()
    with torch.device("meta"):
        empty = Must3r(read).eval()
    fill(empty, state, path.name)
    assert torch.equal(rendered(empty), rendered(network))


def test_without_a_word_a_checkpoint_is_as_published(tmp_path):
    save_file({"encoder.norm_enc.bias": torch.zeros(3)}, tmp_path / "model.safetensors")
    assert read_checkpoint(tmp_path / "model.safetensors")[0] == Configuration()


@pytest.mark.parametrize(
    ("encoder", "decoder", "said"),
    [
        ("__import__('pathlib').Path('made').touch()", DECODER, "cannot be read"),
        (ENCODER, "MUSt3R(depth=__import__('os').getpid())", "cannot be read"),
        (7, DECODER, "should name a constructor, not int"),
        (ENCODER, "Raymap(depth=3)", "a network 'Raymap'"),
    ],
)
def test_other_texts_are_refused_and_never_run(tmp_path, monkeypatch, encoder, decoder, said):
    monkeypatch.chdir(tmp_path)
    path = save_checkpoint(tmp_path / "model.pth", encoder, decoder)
    with pytest.raises(InputError, match=said) as error:
        read_checkpoint(path)
    assert str(error.value).endswith(".")
    assert not (tmp_path / "made").exists()


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path):
    class Touch:
        def __reduce__(self):
            return open, (str(tmp_path / "made"), "w")

    torch.save({"encoder": {}, "decoder": {}, "args": Touch()}, tmp_path / "model.pth")
    with pytest.raises(InputError, match="something else than tensors"):
        read_checkpoint(tmp_path / "model.pth")
    assert not (tmp_path / "made").exists()


def test_a_checkpoint_of_one_part_only_is_told(tmp_path):
    torch.save({"encoder": {"a": torch.zeros(1)}, "args": Namespace()}, tmp_path / "model.pth")
    with pytest.raises(InputError, match="something else than tensors"):
        read_checkpoint(tmp_path / "model.pth")


def test_retrieval_and_its_words_are_read(tmp_path):
    path, words = save_retrieval(tmp_path, WIDTH)
    retrieval, centroids = load_retrieval(path, words, WIDTH)
    assert centroids.shape == (24, WIDTH)
    assert centroids.dtype == torch.float32
    tokens = torch.randn(2, 10, WIDTH)
    assert retrieval(tokens).features.shape == (2, 6, WIDTH)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_words_are_read_whatever_the_protocol(tmp_path, protocol):
    given = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    content = {"type": "Codebook", "params": {"size": 5}, "state": {"centroids": given}}
    (tmp_path / "words.pkl").write_bytes(pickle.dumps(content, protocol))
    np.testing.assert_array_equal(read_words(tmp_path / "words.pkl"), given)


class Touch:
    """Would make a file if it were made itself."""

    def __reduce__(self):
        return open, ("made", "w")


@pytest.mark.parametrize(
    "content",
    [
        {"state": {"centroids": Touch()}},
        {"state": {"centroids": np.array([Touch()], object)}},
        {"state": {"centroids": np.array(["a", "b"])}},
        {"state": {"centroids": np.zeros(3, np.float32)}},
        {"state": {"centroids": np.zeros((2, 2), np.int64)}},
        {"state": {}},
        [1, 2],
        dataclasses.field,
        io.BytesIO,
    ],
)
def test_a_pickle_of_anything_else_is_refused_and_never_run(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "words.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(InputError, match="no visual words") as error:
        read_words(tmp_path / "words.pkl")
    assert str(error.value).endswith(".")
    assert not (tmp_path / "made").exists()


def test_a_damaged_or_missing_pickle_is_told(tmp_path):
    (tmp_path / "words.pkl").write_bytes(pickle.dumps({"state": {"centroids": np.zeros((9, 9), np.float32)}})[:-20])
    with pytest.raises(InputError, match="no visual words"):
        read_words(tmp_path / "words.pkl")
    with pytest.raises(InputError, match="cannot be read"):
        read_words(tmp_path / "none.pkl")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"hdims": "1024_1024"}, "hdims must be"),
        ({"nclusters": 7}, "24 visual words, not 7"),
        ({"nfeat": "a"}, "nfeat"),
    ],
)
def test_retrieval_of_another_kind_is_refused(tmp_path, arguments, said):
    path, words = save_retrieval(tmp_path, WIDTH, **arguments)
    with pytest.raises(InputError, match=said):
        load_retrieval(path, words, WIDTH)
