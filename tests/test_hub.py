"""Fetching checkpoints, from a Hub on the loopback interface, through huggingface_hub itself."""

import resource
import shutil
import socket
import threading
import time
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import constants, hf_hub_download
from safetensors.torch import save_file

import recon
from recon import InputError, cli, hub
from recon.hub import transfer
from recon.models import CARDS
from tests.hub_server import GATED, READER, STRANGER, HubServer, write_small_vggt
from tests.networks import small_mapanything

PUBLIC = "facebook/VGGT-1B"
SIZE = 1_000_000  # bytes of the tensors in the checkpoint that is served


class Stopped(Exception):
    """What a visitor's cancel looks like."""


class Steps(list):
    """Collects progress; raises once the share done reaches ``stop``."""

    def __init__(self, stop: float = 2):
        self.stop = stop

    def __call__(self, fraction, message):
        self.append((fraction, message))
        if fraction >= self.stop:
            raise Stopped

    @property
    def told(self):
        return "\n".join(message for _, message in self)


@pytest.fixture
def environment(tmp_path, monkeypatch):
    """A fresh home for huggingface_hub, and nothing of the developer's own."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("HUGGING_FACE_HUB_TOKEN", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "home" / "token"))  # read when it was imported
    monkeypatch.setattr(transfer, "PAUSES", (0.01, 0.02))
    return monkeypatch


@pytest.fixture
def served(environment, tmp_path):
    folder = tmp_path / "hub"
    for repository in (PUBLIC, GATED):
        (folder / repository).mkdir(parents=True)
    values = torch.from_numpy(np.random.default_rng(0).standard_normal(SIZE // 4, np.float32))
    save_file({"values": values}, folder / PUBLIC / "model.safetensors")
    torch.save({"values": values}, folder / GATED / "vggt_1B_commercial.pt")
    (folder / PUBLIC / "config.json").write_text('{"img_size": 518}')
    with HubServer(folder, {GATED}) as server:
        environment.setenv("HF_ENDPOINT", server.endpoint)
        yield server


@pytest.fixture
def card():
    return CARDS["vggt"]


@pytest.fixture
def gated():
    return CARDS["vggt-commercial"]


def stop_halfway(server, card):
    """Cancel a download once 500,000 bytes are here."""
    server.faults.stall = 500_000
    with pytest.raises(Stopped):
        hub.fetch(card, Steps(stop=0.4999))
    server.faults.stall = None


def is_whole(path, server, card=CARDS["vggt"]):
    return path.read_bytes() == (server.folder / card.repository / path.name).read_bytes()


def partial_files(tmp_path):
    return list((tmp_path / "home").rglob("*.incomplete"))


def refusal(card, progress=None):
    """The sentence with which fetching ends."""
    with pytest.raises(InputError) as error:
        hub.fetch(card, progress)
    sentence = str(error.value)
    assert sentence.endswith(".")
    assert "\n" not in sentence
    return sentence


# --- the cache -----------------------------------------------------------------------------------------------------


def test_the_first_download_tells_how_it_goes(served, card):
    served.faults.speed = 1e6
    steps = Steps()
    assert hub.cached(card) is None
    path = hub.fetch(card, steps)
    assert is_whole(path, served)
    assert (path.parent / "config.json").read_text() == '{"img_size": 518}'
    fractions = [fraction for fraction, _ in steps]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    assert any(0.2 < fraction < 0.8 for fraction in fractions)
    assert " of 1.0 MB, " in steps.told
    assert "MB/s" in steps.told


def test_the_second_time_nobody_is_asked(served, card):
    path = hub.fetch(card)
    served.requests.clear()
    assert hub.cached(card) == path
    assert hub.fetch(card) == path
    assert served.requests == []


def test_other_programs_find_what_was_fetched(served, card, tmp_path):
    path = hub.fetch(card)
    for name in ("model.safetensors", "config.json"):
        found = hf_hub_download(PUBLIC, name, cache_dir=tmp_path / "home" / "hub", local_files_only=True)
        assert found == str(path.parent / name)


def test_what_other_programs_fetched_is_used(served, card, tmp_path, environment):
    found = hf_hub_download(
        PUBLIC, "model.safetensors", cache_dir=tmp_path / "home" / "hub", endpoint=served.endpoint, tqdm_class=None
    )
    served.requests.clear()
    assert str(hub.cached(card)) == found
    assert served.requests == []
    assert str(hub.fetch(card)) == found
    assert served.asked("model.safetensors") == []
    assert (hub.fetch(card).parent / "config.json").is_file()  # which the other program did not need


def test_a_repository_without_configuration_is_asked_for_it_once(served, card):
    (served.folder / PUBLIC / "config.json").unlink()
    path = hub.fetch(card)
    assert not (path.parent / "config.json").exists()
    served.requests.clear()
    hub.fetch(card)
    assert served.requests == []


def test_the_best_file_that_is_there_is_taken(served, card):
    values = torch.ones(1000)
    torch.save({"values": values}, served.folder / PUBLIC / "model.pt")
    (served.folder / PUBLIC / "model.safetensors").unlink()
    assert hub.fetch(card).name == "model.pt"


@pytest.mark.parametrize("damage", ["shorter", "longer", "empty"])
@pytest.mark.parametrize("name", ["vggt", "vggt-commercial"])
def test_a_file_altered_in_size_is_found_out_and_fetched_again(served, environment, name, damage):
    environment.setenv("HF_TOKEN", READER)
    card = CARDS[name]
    path = hub.fetch(card)
    content = path.read_bytes()
    path.write_bytes({"shorter": content[:-1], "longer": content + b"\0", "empty": b""}[damage])
    assert hub.cached(card) is None
    assert is_whole(hub.fetch(card), served, card)
    assert hub.cached(card) == path


def test_an_altered_configuration_is_found_out_and_fetched_again(served, card):
    beside = hub.fetch(card).parent / "config.json"
    beside.write_text('{"img_size": 519}')
    hub.fetch(card)
    assert beside.read_text() == '{"img_size": 518}'


def test_a_disk_without_links_holds_the_file_itself(served, card, environment):
    def refuse(*_):
        raise OSError(1, "no links here")

    environment.setattr(Path, "symlink_to", refuse)
    path = hub.fetch(card)
    assert not path.is_symlink()
    assert is_whole(path, served)
    served.requests.clear()
    assert hub.fetch(card) == path
    assert served.requests == []
    path.write_bytes(path.read_bytes()[:-1])
    assert is_whole(hub.fetch(card), served)


class Waiting(Steps):
    """Progress of somebody who comes second; ``seen`` is set once that is told."""

    def __init__(self):
        super().__init__()
        self.seen = threading.Event()

    def __call__(self, fraction, message):
        super().__call__(fraction, message)
        if "Waiting for another download" in message:
            self.seen.set()


def start(card, progress):
    """Fetch in a thread of its own, and return it and the list that the path is put into."""
    paths = []
    thread = threading.Thread(target=lambda: paths.append(hub.fetch(card, progress)))
    thread.start()
    return thread, paths


def test_two_who_ask_at_once_download_once(served, card):
    served.faults.stall = 500_000
    first, paths = start(card, None)
    while not served.asked("/delivery/"):
        time.sleep(0.01)
    steps = Waiting()
    second, same = start(card, steps)
    assert steps.seen.wait(20)
    served.faults.stall = None
    first.join()
    second.join()
    assert paths == same
    assert is_whole(paths[0], served)
    assert len(served.asked("/delivery/")) == 1


def test_who_waited_goes_on_when_the_other_gives_up(served, card):
    served.faults.stall = 500_000
    steps = Waiting()

    def give_up(fraction, message):
        if fraction > 0.4 and steps.seen.is_set():
            served.faults.stall = None
            raise Stopped

    def first():
        with pytest.raises(Stopped):
            hub.fetch(card, give_up)

    thread = threading.Thread(target=first)
    thread.start()
    while not served.asked("/delivery/"):
        time.sleep(0.01)
    assert is_whole(hub.fetch(card, steps), served)
    thread.join()
    assert [request.start for request in served.asked("/delivery/")] == [None, 500_000]


# --- downloads that end early --------------------------------------------------------------------------------------


def test_a_cut_download_goes_on_where_it_was(served, card):
    served.faults.cuts = [300_000, 200_000]
    assert is_whole(hub.fetch(card), served)
    assert [request.start for request in served.asked("/delivery/")] == [None, 300_000, 500_000]


def test_a_connection_that_stays_broken_is_told_and_what_came_is_kept(served, card, tmp_path):
    served.faults.cuts = [400_000, 0, 0, 0]
    assert "goes on from where it is" in refusal(card)
    assert hub.cached(card) is None
    assert [path.stat().st_size for path in partial_files(tmp_path)] == [400_000]
    assert is_whole(hub.fetch(card), served)
    assert served.asked("/delivery/")[-1].start == 400_000
    assert partial_files(tmp_path) == []


def test_a_download_that_was_stopped_goes_on_where_it_was(served, card, tmp_path):
    stop_halfway(served, card)
    assert hub.cached(card) is None
    assert [path.stat().st_size for path in partial_files(tmp_path)] == [500_000]
    assert is_whole(hub.fetch(card), served)
    assert served.asked("/delivery/")[-1].start == 500_000


def test_a_download_from_a_silent_server_stops_at_once(served, card):
    served.faults.stall = 500_000
    arrived = []

    def impatient(fraction, message):
        if fraction > 0.4:
            arrived.append(time.monotonic())
        if arrived and time.monotonic() > arrived[0] + 0.3:
            raise Stopped

    with pytest.raises(Stopped):
        hub.fetch(card, impatient)
    assert time.monotonic() < arrived[0] + 3  # though the server still says nothing
    served.faults.stall = None
    assert is_whole(hub.fetch(card), served)
    assert served.asked("/delivery/")[-1].start == 500_000


def test_a_silent_server_is_left_in_the_end(served, card, environment):
    environment.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.2)
    served.faults.stall = 500_000
    assert "broke off" in refusal(card, Steps())


def test_a_server_without_ranges_sends_all_of_it_again(served, card):
    served.faults.cuts = [300_000]
    served.faults.ranges = False
    assert is_whole(hub.fetch(card), served)


def test_damage_on_the_way_is_found_out(served, card, tmp_path):
    served.faults.corrupt = True
    (served.folder / PUBLIC / "config.json").unlink()
    assert "came damaged" in refusal(card)
    assert hub.cached(card) is None
    assert partial_files(tmp_path) == []
    served.faults.corrupt = False
    assert is_whole(hub.fetch(card), served)


def test_damage_in_what_was_kept_is_found_out(served, card, tmp_path):
    stop_halfway(served, card)
    (partial,) = partial_files(tmp_path)
    partial.write_bytes(bytes(partial.stat().st_size))
    assert is_whole(hub.fetch(card), served)


def test_more_than_the_file_kept_is_thrown_away(served, card, tmp_path):
    hub.fetch(card)
    (blob,) = (path for path in (tmp_path / "home").rglob("blobs/*") if path.stat().st_size > SIZE)
    blob.with_name(f"{blob.name}.incomplete").write_bytes(bytes(2 * SIZE))
    blob.unlink()
    assert is_whole(hub.fetch(card), served)


# --- no network ----------------------------------------------------------------------------------------------------


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


def test_without_network_what_is_there_is_taken_and_else_it_is_told(served, card, environment):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{closed.getsockname()[1]}"
        environment.setenv("HF_ENDPOINT", nowhere)
        sentence = refusal(card)
        assert f"{nowhere} cannot be reached" in sentence
        assert "--weights" in sentence
        environment.setenv("HF_ENDPOINT", served.endpoint)
        path = hub.fetch(card)
        environment.setenv("HF_ENDPOINT", nowhere)
        assert hub.fetch(card) == path


def test_an_address_that_is_none_is_told(served, card, environment):
    environment.setenv("HF_ENDPOINT", "huggingface.co")
    assert "begin it with https://" in refusal(card)


# --- what the Hub refuses ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("token", "words"),
    [
        (None, ["request it at https://huggingface.co/facebook/VGGT-1B-Commercial", "`hf auth login`", "HF_TOKEN"]),
        (STRANGER, ["request access at https://huggingface.co/facebook/VGGT-1B-Commercial", "wait for the answer"]),
        ("hf_wrong", ["does not know your token", "settings/tokens"]),
    ],
)
def test_a_gate_says_how_to_come_in(served, gated, environment, token, words):
    if token is not None:
        environment.setenv("HF_TOKEN", token)
    sentence = refusal(gated)
    assert all(word in sentence for word in [*words, "--weights"])
    assert hub.cached(gated) is None


def test_a_gate_opens_to_a_token_that_stays_with_the_hub(served, gated, environment, tmp_path):
    environment.setenv("HF_TOKEN", READER)
    assert is_whole(hub.fetch(gated), served, gated)
    assert {request.token for request in served.asked("/resolve/")} == {READER}
    assert {request.token for request in served.asked("/delivery/")} == {None}  # another host


def test_the_token_of_a_login_is_used(served, gated, tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "token").write_text(READER)
    assert is_whole(hub.fetch(gated), served, gated)


def test_what_is_no_more_is_told(served, card):
    assert "is not on http://127.0.0.1" in refusal(replace(card, repository="facebook/GONE"))
    assert "has no a.pt nor b.pt" in refusal(replace(card, files=("a.pt", "b.pt")))


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "is not on"),
        (403, "refuses"),
        (404, "is not on"),
        (429, "too many requests"),
        (500, "in trouble"),
        (503, "try again later"),
    ],
)
def test_every_refusal_is_a_sentence(served, card, status, words):
    served.faults.status = status
    assert words in refusal(card)
    served.faults.status = None
    served.faults.delivery = status
    assert words in refusal(card)
    served.faults.delivery = None
    assert is_whole(hub.fetch(card), served)


@pytest.mark.parametrize("page", ["everything", "bytes"])
def test_the_page_of_a_proxy_is_no_checkpoint(served, card, page, tmp_path):
    served.faults.page = page
    assert "in a browser" in refusal(card)
    assert hub.cached(card) is None
    served.faults.page = None
    assert is_whole(hub.fetch(card), served)


# --- what the disk refuses -----------------------------------------------------------------------------------------


def test_a_full_disk_is_told_before_the_download(served, card, environment):
    usage = namedtuple("usage", "total used free")(10**9, 10**9, 1000)
    environment.setattr(shutil, "disk_usage", lambda path: usage)
    assert "free some space" in refusal(card)
    assert served.asked("/delivery/") == []


def test_a_disk_that_takes_no_more_is_told(served, card, tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (SIZE // 2, limits[1]))
    try:
        assert "takes no file of that size" in refusal(card)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert hub.cached(card) is None
    assert is_whole(hub.fetch(card), served)


def test_a_home_that_is_no_folder_is_told(served, card, environment, tmp_path):
    (tmp_path / "file").write_text("")
    environment.setenv("HF_HOME", str(tmp_path / "file"))
    assert "set HF_HOME" in refusal(card)
    environment.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "file" / "token"))
    assert "token' cannot be read; set HF_HOME" in refusal(card)


# --- from the Hub to a model ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    folder = tmp_path_factory.mktemp("published") / "hub"
    write_small_vggt(folder)
    return folder


@pytest.fixture
def vggt(published, environment):
    environment.setenv("HF_TOKEN", READER)
    with HubServer(published, {GATED}) as server:
        environment.setenv("HF_ENDPOINT", server.endpoint)
        yield server


@pytest.mark.parametrize("name", ["vggt", "vggt-commercial"])
def test_a_model_comes_from_the_hub(vggt, name):
    steps = Steps()
    model = recon.load(name, device="cpu", progress=steps)
    assert steps[-1][0] == 1
    assert not any(weight.is_meta for weight in model.network.parameters())
    vggt.requests.clear()
    recon.load(name, device="cpu")
    assert vggt.requests == []


@pytest.mark.parametrize(("name", "version"), [("mapanything-apache", "1.1"), ("mapanything-v1-apache", "1")])
def test_a_configuration_comes_with_the_checkpoint(environment, tmp_path, name, version):
    folder = tmp_path / "hub" / CARDS[name].repository
    folder.mkdir(parents=True)
    small_mapanything.write(folder, version)  # which the network of no other configuration takes
    with HubServer(tmp_path / "hub") as server:
        environment.setenv("HF_ENDPOINT", server.endpoint)
        model = recon.load(name, device="cpu")
        assert model.card.parameters < 7_000_000
        server.requests.clear()
        recon.load(name, device="cpu")
        assert server.requests == []


def test_a_local_file_needs_no_hub(vggt, published):
    recon.load("vggt", device="cpu", weights=published / PUBLIC / "model.safetensors")
    assert vggt.requests == []


def test_weights_may_lie_in_a_data_set(served, tmp_path):
    card = CARDS["siu3r"]
    folder = served.folder / "datasets" / card.repository
    folder.mkdir(parents=True)
    torch.save({"state_dict": {"model.values": torch.ones(1000)}}, folder / card.files[0])
    path = hub.fetch(card)
    assert path.read_bytes() == (folder / path.name).read_bytes()
    assert hub.cached(card) == path
    found = hf_hub_download(
        card.repository, path.name, repo_type="dataset", cache_dir=tmp_path / "home" / "hub", local_files_only=True
    )
    assert found == str(path)
    assert hub.cached(replace(card, repository_type="model")) is None
    assert "is not on" in refusal(replace(card, repository_type="model"))


def test_a_file_with_wrong_keys_is_told(served):
    with pytest.raises(InputError, match=r"does not fit VGGT: it lacks 'aggregator\.camera_token'"):
        recon.load("vggt", device="cpu")


def test_the_shell_downloads_beforehand_and_lists_what_is_here(served, capsys):
    assert cli.main(["models"]) == 0
    assert "5.0 GB to download" in capsys.readouterr().out.splitlines()[2]
    assert cli.main(["download", "vggt"]) == 0
    told = capsys.readouterr()
    assert told.out.endswith("/model.safetensors\n")
    assert "CC-BY-NC-4.0 (not for commercial use)" in told.err
    assert cli.main(["models"]) == 0
    assert " here " in capsys.readouterr().out.splitlines()[2]
    assert cli.main(["download", "vggt-commercial"]) == 2
    assert "HF_TOKEN" in capsys.readouterr().err
    assert cli.main(["download", "embedded"]) == 2
    assert "shipped" in capsys.readouterr().err
