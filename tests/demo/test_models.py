"""Which models are here and loaded, and how the others come; the Hub is the small one of `tests.hub_server`."""

import argparse
import gc
import weakref
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from demo import choices, models, server
from demo.job import Job
from demo.models import Download
from demo.session import Session, Sessions
from demo.visit import Visit
from recon import CARDS, InputError, Options
from recon.alignment.pair_graph import GRAPHS
from tests.demo.staged import CARD, Staged
from tests.demo.test_job import VIEWS, wait
from tests.hub_server import HubServer, write_small_vggt

NAMES = ("staged-one", "staged-two")


class Stop(Exception):
    pass


@pytest.fixture(autouse=True)
def nothing_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "_loaded", OrderedDict())
    monkeypatch.setattr(models, "_local", {})
    for name in NAMES:
        monkeypatch.setitem(CARDS, name, replace(CARD, name=name, parameters=int(0.7 * models.KEPT)))
    monkeypatch.setitem(CARDS, CARD.name, CARD)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hub")
    write_small_vggt(folder)
    return folder


@pytest.fixture
def hub(checkpoints: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with HubServer(checkpoints, {"facebook/VGGT-1B-Commercial"}) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
        monkeypatch.delenv("HF_HUB_CACHE", raising=False)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        yield hub


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    sessions = Sessions(tmp_path / "sessions")
    yield sessions.create()
    sessions.close()


def test_a_model_is_loaded_once_for_all() -> None:
    assert models.load(CARD.name) is models.load(CARD.name)


def test_a_second_large_model_frees_the_first_and_small_ones_stay() -> None:
    first, small = weakref.ref(models.load(NAMES[0])), models.load(CARD.name)
    second = models.load(NAMES[1])
    gc.collect()
    assert first() is None
    assert models.load(CARD.name) is small
    assert models.load(NAMES[1]) is second


def test_a_local_checkpoint_counts_as_here_and_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    large = replace(CARD, name="large", repository="nobody/nothing", download=10**9)
    monkeypatch.setitem(CARDS, "large", large)
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"")
    models.use_local({"large": path})
    assert models.here(large)
    models.fetch("large", lambda download: pytest.fail("nothing is to be fetched"))
    model = models.load("large")
    assert isinstance(model, Staged)
    assert model.weights == path


@pytest.mark.parametrize("given", ["vggt", "vggt=", "nothing=model.pt", "vggt=/no/such/file.pt"])
def test_wrong_weights_are_refused_at_the_start(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    server.add_arguments(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(["--weights", given])
    assert given.partition("=")[2] in capsys.readouterr().err


def test_weights_for_several_models_may_be_given(tmp_path: Path) -> None:
    for name in ("a.pt", "b.pt"):
        (tmp_path / name).touch()
    parser = argparse.ArgumentParser()
    server.add_arguments(parser)
    arguments = ["--weights", f"vggt={tmp_path / 'a.pt'}", "--weights", f"vggt-commercial={tmp_path / 'b.pt'}"]
    assert parser.parse_args(arguments).weights == [
        ("vggt", tmp_path / "a.pt"),
        ("vggt-commercial", tmp_path / "b.pt"),
    ]


def test_a_download_that_was_stopped_goes_on_from_there(hub: HubServer) -> None:
    card = CARDS["vggt"]
    assert not models.here(card)
    assert hub.requests == [], "whether it is here is no question for the Hub"
    hub.faults.speed = 4e6

    def impatient(download: Download) -> None:
        if download.fraction > 0.3:
            raise Stop

    with pytest.raises(Stop):
        models.fetch("vggt", impatient)
    assert not models.here(card)
    told: list[Download] = []
    models.fetch("vggt", told.append)
    assert models.here(card)
    assert any(request.start for request in hub.asked("model.safetensors"))
    assert {"Downloading"} <= {download.stage for download in told}
    assert any("MB" in download.detail for download in told)


def test_cancel_stops_a_download_at_once_and_the_next_run_ends_well(hub: HubServer, session: Session) -> None:
    hub.faults.speed = 1e5
    run = Job(session, "vggt", VIEWS, [], Options())
    assert run.start()
    wait(lambda: run.download and run.download.fraction > 0)
    session.cancel.set()
    wait(lambda: not run.active, 2)
    assert (run.state, run.download) == ("stopped", None)
    hub.faults.speed = None
    run = Job(session, "vggt", VIEWS, [], Options())
    assert run.start()
    wait(lambda: not run.active, 60)
    assert (run.state, run.error) == ("done", "")
    assert session.scene is not None
    assert len(session.scene.frames) == len(VIEWS)


def test_what_no_run_can_be_made_of_is_refused_before_the_download(hub: HubServer, session: Session) -> None:
    run = Job(session, "siu3r", VIEWS[:1], [], Options())
    assert run.start()
    wait(lambda: not run.active)
    assert run.state == "failed"
    assert "needs two photos" in run.error
    assert hub.requests == []


def test_a_gated_model_without_token_says_where_to_ask_and_the_scene_stays(hub: HubServer, session: Session) -> None:
    kept = Job(session, CARD.name, VIEWS, [], Options())
    Staged.reset()
    Staged.steps.release(len(VIEWS))
    assert kept.start()
    wait(lambda: not kept.active)
    before = session.scene
    run = Job(session, "vggt-commercial", VIEWS, [], Options())
    assert run.start()
    wait(lambda: not run.active)
    assert run.state == "failed"
    assert CARDS["vggt-commercial"].licence_url in run.error
    assert "HF_TOKEN" in run.error
    assert session.scene is before is not None


def test_nobody_waits_in_line_for_the_download_of_another(hub: HubServer, tmp_path: Path) -> None:
    hub.faults.stall = 100_000
    sessions = Sessions(tmp_path / "two")
    try:
        first, second = sessions.create(), sessions.create()
        slow, quick = Job(first, "vggt", VIEWS, [], Options()), Job(second, CARD.name, VIEWS, [], Options())
        Staged.reset()
        Staged.steps.release(len(VIEWS))
        assert slow.start()
        wait(lambda: slow.download is not None)
        assert quick.start()
        wait(lambda: not quick.active)
        assert (slow.state, quick.state) == ("fetching", "done")
        first.cancel.set()
        wait(lambda: not slow.active, 3)
    finally:
        sessions.close()


def test_what_must_be_downloaded_waits_for_the_licence_to_be_accepted(hub: HubServer, session: Session) -> None:
    visit = Visit(session, ticked=[0])
    assert visit.ready
    visit.choose("vggt")
    assert not visit.ready
    visit.accepted.add("vggt")
    assert visit.ready
    visit.choose("vggt-commercial")
    assert not visit.ready, "each licence is accepted for itself"
    visit.choose("vggt")
    assert visit.ready, "and once a visit"


def test_the_choices_begin_where_the_model_would(session: Session) -> None:
    visit = Visit(session)
    assert visit.options == Options(verify=True, dense=True)
    visit.choose("vggt")
    assert visit.options == Options(verify=False, dense=False)


def test_a_bad_plan_is_refused_in_words() -> None:
    with pytest.raises(InputError):
        models.plan("no-such-model", VIEWS, Options())


def test_graphs_of_pairs_are_chosen_by_name_and_number() -> None:
    card, rest = CARDS["dust3r"], ("depth", "crop", False, False, False)
    assert set(choices.GRAPH) == set(GRAPHS)
    assert choices.options(card, *rest, "auto", 5, "auto") == Options(verify=False, dense=False)
    chosen = choices.options(card, *rest, "swin", 5, "shared")
    assert (chosen.graph, chosen.shared_focal) == ("swin-5", True)
    assert choices.options(card, *rest, "oneref", 0, "own").graph == "oneref-0"
    assert choices.options(card, *rest, "swin", 0, "own") == Options(
        verify=False, dense=False, graph="swin", shared_focal=False
    )
    assert choices.options(CARDS["vggt"], *rest, "swin", 5, "shared") == Options(verify=False, dense=False)


def test_what_is_told_of_the_known_is_chosen_where_a_model_heeds_it() -> None:
    rest = ("depth", "crop", False, False, False, "auto", None, "auto", ["poses"], False, False)
    chosen = choices.options(CARDS["mapanything"], *rest)
    assert (chosen.use, chosen.align, chosen.mask) == (("poses",), False, False)
    assert choices.options(CARDS["vggt"], *rest) == Options(verify=False, dense=False)
