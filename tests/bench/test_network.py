"""Measurements of a network alone."""

import copy
import json
import time
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from recon import CARDS, cli
from recon.bench import network as network_bench
from recon.bench.kinds import KINDS, vggt_outputs
from recon.bench.network import Measured, Request, Result
from recon.bench.stand_ins import fill_in, stand_in_pictures
from recon.networks.vggt import VGGT
from recon.networks.vggt_acceleration import Accelerated
from tests.networks import small_mapanything
from tests.networks.small_vggt import configuration, stand_in_state

CPU = torch.device("cpu")
OUTPUTS = ["pose", "depth", "depth confidence", "points", "points confidence"]


@pytest.fixture
def checkpoint(tmp_path):
    save_file(stand_in_state(), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(asdict(configuration())))
    return str(tmp_path / "model.safetensors")


@pytest.fixture(scope="module")
def network():
    torch.set_num_threads(1)
    network = VGGT(configuration())
    fill_in(network)
    return network.eval()


def rows(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines() if line.startswith("|")]


def test_a_table_of_the_network_alone(checkpoint, capsys):
    asked = ["--model", "vggt", "--weights", checkpoint, "--device", "cpu", "--repeat", "3"]
    assert cli.main(["bench", *asked, "--frames", "1,3", "--size", "28x42"]) == 0
    table = capsys.readouterr().out
    header, rule, *measured = rows(table)
    assert header == ["frames", "time", "peak memory", "first calls"]  # on the CPU it is float32 itself
    assert rule == ["---:"] * 4
    assert [row[0] for row in measured] == ["1", "3"]
    for _, took, memory, first in measured:
        assert 0 < float(took.removesuffix(" ms")) < 5000
        assert 0.2 < float(memory.removesuffix(" GB")) < 3
        assert float(first.removesuffix(" s")) >= 0
    assert "28 x 42 (height x width)" in table
    assert "median of 3 calls" in table
    assert "Stand-in" not in table


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--model", "vggt", "--size", "30x42"], "multiples of 14"),
        (["--size", "28x42"], "'embedded' is not measured alone"),
        (["--model", "vggt", "--size", "28"], "not a number from 1 up"),
        (["--model", "vggt", "--size", "28x42", "."], "leave the folder out"),
        (["--model", "vggt", "--size", "28x42", "--device", "abacus"], "'abacus' cannot be used"),
    ],
)
def test_what_cannot_be_measured_is_told(checkpoint, capsys, arguments, told):
    assert cli.main(["bench", "--weights", checkpoint, "--frames", "1", "--device", "cpu", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert told in captured.err.splitlines()[-1]


def test_what_was_measured_before_memory_is_refused_is_printed(checkpoint, capsys):
    asked = ["--model", "vggt", "--weights", checkpoint, "--device", "cpu", "--repeat", "1", "--size", "28x42"]
    assert cli.main(["bench", *asked, "--frames", f"1,{10**12}"]) == 2
    captured = capsys.readouterr()
    assert [row[0] for row in rows(captured.out)[2:]] == ["1"]
    assert "not enough memory" in captured.err


def test_the_table_of_a_gpu_has_deviations_and_tells_of_stand_ins():
    small = Result(1, Measured(0.0123, 3_210_000_000, 1.5, 5), True, "Abacus", {"depth": 0.00123})
    large = Result(200, Measured(7.5, 13_500_000_000, 14.0, 5), True, "Abacus")
    table = network_bench.as_table(Request("vggt", 336, 518), [small, large])
    assert table.startswith("Stand-in weights: time and memory are those of the published checkpoint.\n")
    assert rows(table)[2:] == [
        ["1", "12.3 ms", "3.21 GB", "1.50 s", "1.2e-03"],
        ["200", "7500.0 ms", "13.50 GB", "14.00 s", ""],
    ]
    assert "Abacus" in table.splitlines()[-1]


def test_a_function_is_warm_before_it_is_timed():
    calls = []

    def function():
        calls.append(0)
        time.sleep(0.2 if len(calls) <= 2 else 0.01)

    measured = network_bench.measure(function, 3, CPU)
    assert (len(calls), measured.calls) == (5, 3)
    assert measured.warm == pytest.approx(0.4, abs=0.1)
    assert 0.01 <= measured.seconds < 0.1


def test_a_function_that_takes_long_is_called_once(monkeypatch):
    monkeypatch.setattr(network_bench, "LONG", 0.05)
    calls = []

    def function():
        calls.append(0)
        time.sleep(0.06)

    measured = network_bench.measure(function, 5, CPU)
    assert (len(calls), measured.calls) == (1, 1)
    assert measured.seconds == measured.warm >= 0.06


def test_deviation_from_float32(network):
    pictures = stand_in_pictures(2, 28, 42, CPU)
    exact = network_bench.yardstick(lambda: vggt_outputs(network(pictures, chunk=1)))
    assert list(exact) == OUTPUTS
    with torch.inference_mode():
        same = network_bench.deviations(vggt_outputs(network(pictures, chunk=2)), exact)
        coarse = Accelerated(copy.deepcopy(network), torch.bfloat16)(pictures)
        found = network_bench.deviations(vggt_outputs(coarse), exact)
    assert max(same.values()) < 1e-6
    assert all(1e-5 < value < 0.1 for value in found.values())


def test_stand_ins_keep_what_flows_through_a_network_in_range(network):
    pictures = stand_in_pictures(3, 28, 42, CPU)
    assert pictures.shape == (1, 3, 3, 28, 42)
    assert 0 <= pictures.min() < 0.2 < 0.8 < pictures.max() <= 1
    assert not torch.equal(pictures[0, 0], pictures[0, 1])
    with torch.inference_mode():
        outputs = vggt_outputs(network(pictures))
    assert_in_range(outputs)
    assert (outputs["pose"][..., 7:] > 0).all()


@pytest.mark.parametrize("version", ["1", "1.1"])
def test_stand_ins_keep_what_flows_through_mapanything_in_range(version):
    kind = KINDS["mapanything"]
    network = kind.network(small_mapanything.configuration(version)).eval()
    fill_in(network)
    with torch.inference_mode():
        assert_in_range(kind.outputs(network(stand_in_pictures(3, 28, 42, CPU))))


def assert_in_range(outputs):
    for name, values in outputs.items():
        assert values.isfinite().all(), name
        assert 0.01 < values.abs().mean() < 100, name


@pytest.mark.parametrize("name", KINDS)
def test_stand_ins_have_the_size_of_the_published_network(name):
    with torch.device("meta"):
        network = KINDS[name].network(KINDS[name].published)
    assert sum(weight.numel() for weight in network.parameters()) == CARDS[name].parameters


def test_any_network_of_the_table_is_measured(tmp_path, capsys):
    checkpoint = str(small_mapanything.write(tmp_path))
    asked = ["--model", "mapanything", "--weights", checkpoint, "--device", "cpu", "--repeat", "1"]
    assert cli.main(["bench", *asked, "--frames", "2", "--size", "28x42"]) == 0
    assert [row[0] for row in rows(capsys.readouterr().out)[2:]] == ["2"]


def test_stand_ins_are_the_same_each_time_and_others_for_each_seed(network):
    again, other = VGGT(configuration()), VGGT(configuration())
    fill_in(again)
    fill_in(other, seed=1)
    for (name, weight), same, different in zip(
        network.state_dict().items(), again.state_dict().values(), other.state_dict().values(), strict=True
    ):
        assert torch.equal(weight, same), name
        assert not torch.equal(weight, different), name


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_is_close_to_float32_and_counts_weights_as_memory(checkpoint):
    result = network_bench.run(Request("vggt", 56, 70, "cuda", Path(checkpoint), 2), 2)
    assert list(result.deviation) == OUTPUTS
    assert all(0 < value < 0.1 for value in result.deviation.values())
    assert 0 < result.measured.memory < 1_000_000_000
