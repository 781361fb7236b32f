"""Measurements of networks of pairs, and of the alignment of what they say."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from recon import CARDS, cli, geometry
from recon.alignment.global_alignment import align
from recon.alignment.pair_graph import pairs_of
from recon.alignment.pair_store import PairStore
from recon.bench.network import Measured
from recon.bench.pairs import FOCAL, MODELS, OUTPUTS, Request, Result, as_table, first_pair, known_pairs
from recon.bench.stand_ins import fill_in, stand_in_pictures
from recon.networks.dust3r import Dust3r
from tests.bench.test_network import assert_in_range, rows
from tests.helpers import drained
from tests.models.test_dust3r import write
from tests.networks.small_dust3r import configuration

CPU = torch.device("cpu")


def test_a_table_of_pairs_and_of_their_alignment(tmp_path, capsys):
    asked = ["--model", "dust3r", "--weights", str(write(tmp_path)), "--device", "cpu", "--repeat", "1"]
    assert cli.main(["bench", *asked, "--frames", "2,3", "--size", "48x80"]) == 0
    table = capsys.readouterr().out
    header, _, *measured = rows(table)
    assert header == ["photos", "pairs", "comparing", "aligning", "peak memory", "first calls"]
    assert [row[:2] for row in measured] == [["2", "2"], ["3", "6"]]
    for row in measured:
        assert 0 < float(row[2].removesuffix(" s")) < 5
        assert 0 < float(row[3].removesuffix(" s")) < 5
    assert "48 x 80 (height x width)" in table
    assert "Stand-in" not in table


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--size", "50x80", "--frames", "2"], "multiples of 16"),
        (["--size", "48x80", "--frames", "1"], "2 or more"),
        (["--size", "48x80", "--frames", "2", "--graph", "oneref-5"], "no photo 5"),
    ],
)
def test_what_cannot_be_measured_is_told(tmp_path, capsys, arguments, told):
    asked = ["--model", "dust3r", "--weights", str(write(tmp_path)), "--device", "cpu", "--repeat", "1"]
    assert cli.main(["bench", *asked, *arguments]) == 2
    assert told in capsys.readouterr().err


def test_the_scene_that_is_aligned_is_one():
    store = PairStore(12)
    for pair in known_pairs(pairs_of("complete", 4), 4, 48, 64, CPU):
        store.add([pair])
    result = drained(align(store))
    np.testing.assert_allclose(result.focal, FOCAL * 64, rtol=0.005)
    poses = result.world_from_camera
    turns = [geometry.rotation_angle(one[:3, :3].T @ two[:3, :3]) for one, two in pairwise(poses)]
    np.testing.assert_allclose(turns, 8, atol=0.3)


@pytest.mark.parametrize("head", ["dpt", "linear"])
def test_stand_ins_keep_what_flows_through_the_network_in_range(head):
    network = Dust3r(configuration(head)).eval()
    fill_in(network)
    with torch.inference_mode():
        found = first_pair(network, stand_in_pictures(2, 48, 80, CPU)[0])
    assert_in_range(found)


@pytest.mark.parametrize("name", MODELS)
def test_stand_ins_have_the_size_of_the_published_network(name):
    with torch.device("meta"):
        network = Dust3r(MODELS[name])
    assert sum(weight.numel() for weight in network.parameters()) == CARDS[name].parameters
    assert max(MODELS[name].img_size) == CARDS[name].resolution


def test_the_table_of_a_gpu_has_deviations_and_tells_of_stand_ins():
    comparing, aligning = Measured(0.3, 5_000_000_000, 1.5, 5), Measured(0.25, 1_000_000_000, 0.5, 5)
    result = Result(10, 90, comparing, aligning, True, "Abacus", {OUTPUTS[0]: 0.00123})
    table = as_table(Request("dust3r", 384, 512), [result])
    assert table.startswith("Stand-in weights")
    assert rows(table)[2:] == [["10", "90", "0.300 s", "0.250 s", "5.00 GB", "2.00 s", "1.2e-03"]]
    assert "Abacus" in table.splitlines()[-1]
