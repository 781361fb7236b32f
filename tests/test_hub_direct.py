"""Fetching checkpoints that lie outside of the Hub, from a server on the loopback interface."""

import hashlib
import socket
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from recon import InputError, hub
from recon.hub import transfer
from recon.models import CARDS, Direct
from tests.hub_server import HubServer

SIZE = 1_000_000


@pytest.fixture
def environment(tmp_path, monkeypatch):
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setattr(transfer, "PAUSES", (0.01, 0.02))
    return monkeypatch


@pytest.fixture
def served(environment, tmp_path):
    folder = tmp_path / "served"
    folder.mkdir()
    values = torch.from_numpy(np.random.default_rng(0).standard_normal(SIZE // 4, np.float32))
    torch.save({"values": values}, folder / "MUSt3R.pth")
    torch.save({"values": values[:100].clone()}, folder / "retrieval.pth")
    (folder / "codebook.pkl").write_bytes(b"\x80\x04N.")
    with HubServer(folder) as server:
        yield server


@pytest.fixture
def card(served):
    def direct(name):
        checksum = hashlib.md5((served.folder / name).read_bytes()).hexdigest()
        return Direct(f"{served.endpoint}/delivery/{name}", checksum)

    files = ("MUSt3R.pth", "retrieval.pth", "codebook.pkl")
    return replace(CARDS["must3r"], direct=tuple(direct(name) for name in files))


def refusal(card):
    with pytest.raises(InputError) as error:
        hub.fetch(card)
    sentence = str(error.value)
    assert sentence.endswith(".")
    assert "\n" not in sentence
    return sentence


def is_whole(path: Path, server: HubServer) -> bool:
    return path.read_bytes() == (server.folder / path.name).read_bytes()


def test_the_first_download_brings_all_files_and_tells_how_it_goes(served, card, tmp_path):
    served.faults.speed = 2e6
    told = []
    assert hub.cached(card) is None
    path = hub.fetch(card, lambda *step: told.append(step))
    assert path.name == "MUSt3R.pth"
    assert is_whole(path, served)
    assert path.is_relative_to(tmp_path / "home" / "hub")
    assert [found.name for found in hub.companions(card)] == ["retrieval.pth", "codebook.pkl"]
    fractions = [fraction for fraction, _ in told]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    assert any(" of 1.0 MB" in message for _, message in told)
    assert {request.token for request in served.requests} == {None}  # the Hub's token is not for others


def test_the_second_time_nobody_is_asked(served, card):
    path = hub.fetch(card)
    served.requests.clear()
    assert hub.cached(card) == hub.fetch(card) == path
    assert served.requests == []


def test_a_file_that_two_models_share_is_fetched_once(served, card):
    hub.fetch(card)
    served.requests.clear()
    (served.folder / "other.pth").write_bytes((served.folder / "retrieval.pth").read_bytes())
    checksum = hashlib.md5((served.folder / "other.pth").read_bytes()).hexdigest()
    other = Direct(f"{served.endpoint}/delivery/other.pth", checksum)
    assert hub.fetch(replace(card, direct=(other, *card.direct[1:]))).name == "other.pth"
    assert served.asked("retrieval") == []


def test_a_cut_download_goes_on_where_it_was(served, card):
    served.faults.cuts = [10**6, 10**6, 300_000, 200_000]  # the first two are of the small files
    assert is_whole(hub.fetch(card), served)
    assert [request.start for request in served.asked("MUSt3R.pth")] == [None, 300_000, 500_000]


def test_a_connection_that_stays_broken_is_told_and_the_next_try_goes_on(served, card):
    served.faults.cuts = [10**6, 10**6, 400_000, 0, 0, 0]
    assert "goes on from where it is" in refusal(card)
    assert hub.cached(card) is None
    assert is_whole(hub.fetch(card), served)
    assert served.asked("MUSt3R.pth")[-1].start == 400_000


def test_a_server_that_does_not_tell_the_size_beforehand_does(served, card):
    served.faults.heads = False
    assert is_whole(hub.fetch(card), served)


def test_a_wrong_checksum_is_found_out(served, card):
    wrong = replace(card, direct=(replace(card.direct[0], checksum="0" * 32),))
    assert "came damaged" in refusal(wrong)
    assert hub.cached(wrong) is None
    assert is_whole(hub.fetch(card), served)


def test_a_file_that_lost_its_end_is_fetched_again(served, card):
    path = hub.fetch(card)
    path.write_bytes(path.read_bytes()[:-1])
    assert hub.cached(card) is None
    assert is_whole(hub.fetch(card), served)


def test_what_is_no_more_is_told(served, card):
    (served.folder / "MUSt3R.pth").unlink()
    sentence = refusal(replace(card, direct=(Direct(f"{served.endpoint}/gone/MUSt3R.pth", "0" * 32),)))
    assert "'MUSt3R.pth' is not on 127.0.0.1" in sentence
    assert "--weights" in sentence


def test_the_page_of_a_proxy_is_not_taken_for_a_checkpoint(served, card):
    served.faults.page = "bytes"
    assert "open http://127.0.0.1" in refusal(card)
    served.faults.page = None
    assert is_whole(hub.fetch(card), served)


def test_trouble_of_the_server_is_told(served, card):
    served.faults.delivery = 503
    assert "is in trouble (error 503)" in refusal(card)
    served.faults.delivery = 403
    assert "refuses 'MUSt3R.pth' (error 403)" in refusal(card)


def test_a_run_can_do_without_what_lies_beside_the_checkpoint(served, card):
    gone = Direct(f"{served.endpoint}/gone/codebook.pkl", "0" * 32)
    without = replace(card, direct=(card.direct[0], gone))
    assert is_whole(hub.fetch(without), served)
    assert hub.companions(without) == []


def test_offline_takes_what_is_there_and_else_says_so(served, card, environment):
    environment.setenv("HF_HUB_OFFLINE", "1")
    assert "HF_HUB_OFFLINE" in refusal(card)
    assert served.requests == []
    environment.delenv("HF_HUB_OFFLINE")
    path = hub.fetch(card)
    environment.setenv("HF_HUB_OFFLINE", "1")
    served.requests.clear()
    assert hub.fetch(card) == path
    assert served.requests == []


def test_without_network_what_is_there_is_taken_and_else_it_is_told(card):
    path = hub.fetch(card)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{closed.getsockname()[1]}/MUSt3R.pth"
        sentence = refusal(replace(card, direct=(Direct(nowhere, "0" * 32),)))
        assert "cannot be reached" in sentence
        assert "--weights" in sentence
    assert hub.fetch(card) == path


def test_cards_say_where_their_files_come_from():
    files = [file for card in CARDS.values() for file in card.direct]
    assert {file.host for file in files} == {"download.europe.naverlabs.com"}
    assert len({file.name for file in files}) == len({file.checksum for file in files}) == 7
    assert all(len(file.checksum) == 32 for file in files)
    assert CARDS["must3r"].source == "download.europe.naverlabs.com"
    assert CARDS["vggt"].source == CARDS["vggt"].repository
    assert [name for name, card in CARDS.items() if card.shipped] == ["embedded"]
