"""Measurements of a network with a memory."""

from recon import cli
from tests.networks.small_must3r import save_checkpoint


def test_a_table_of_frames_a_second_online_and_offline(tmp_path, capsys):
    path = save_checkpoint(tmp_path / "MUSt3R.pth")
    asked = ["--model", "must3r", "--weights", str(path), "--device", "cpu", "--repeat", "2"]
    assert cli.main(["bench", *asked, "--frames", "5", "--size", "32x48"]) == 0
    table = capsys.readouterr().out
    header, rule, *measured = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines() if line.startswith("|")
    ]
    assert header == ["frames", "online", "peak memory", "offline", "peak memory"]
    assert rule == ["---:"] * 5
    assert [row[0] for row in measured] == ["5"]
    for _, online, memory, offline, more in measured:
        assert 0 < float(online.removesuffix(" frames/s")) < 10_000
        assert 0 < float(offline.removesuffix(" frames/s")) < 10_000
        assert 0.2 < float(memory.removesuffix(" GB")) <= float(more.removesuffix(" GB")) < 3
    assert "32 x 48 (height x width)" in table
    assert "Median of 2 runs" in table
    assert "Stand-in" not in table


def test_a_size_that_the_network_cannot_take_is_told(tmp_path, capsys):
    path = save_checkpoint(tmp_path / "MUSt3R.pth")
    asked = ["bench", "--model", "must3r", "--weights", str(path), "--device", "cpu", "--frames", "1"]
    assert cli.main([*asked, "--size", "30x48"]) == 2
    assert "multiples of 16" in capsys.readouterr().err
