import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

import recon
from demo import job, models
from demo.job import Job
from demo.session import Session, Sessions
from recon import CARDS, InputError, Options, View
from recon.filters import Filters
from tests.demo.staged import CARD, Staged, wait
from tests.helpers import synthetic_scene, synthetic_views

VIEWS = synthetic_views(synthetic_scene(3))


@pytest.fixture
def sessions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sessions]:
    monkeypatch.setitem(CARDS, CARD.name, CARD)
    Staged.reset()
    sessions = Sessions(tmp_path)
    yield sessions
    sessions.close()


def started(session: Session, views: Sequence[View] = VIEWS, notes: Sequence[str] = ()) -> Job:
    run = Job(session, CARD.name, views, notes, Options())
    assert run.start()
    return run


def finish(run: Job) -> None:
    Staged.steps.release(len(VIEWS))
    wait(lambda: not run.active)


def test_a_run_makes_the_scene_and_tells_how_far_it_is(sessions: Sessions) -> None:
    session = sessions.create()
    run = started(session, notes=["a note about the photos"])
    Staged.steps.release()
    wait(lambda: run.update and run.update.fraction > 0.3)
    assert run.update is not None
    assert run.update.stage in ("Placing", "Looking")
    assert run.seconds_left < 60
    assert session.scene is None
    finish(run)
    assert (run.state, len(session.scene.frames)) == ("done", 3)
    assert session.scene.notes == ["a note about the photos"]


def test_the_next_run_is_predicted_by_the_last(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "_pace", {})
    assert models.plan(CARD.name, VIEWS, Options()) == recon.plan(CARD.name, VIEWS)
    run = started(sessions.create())
    wait(lambda: run.state == "running")
    time.sleep(0.3)
    finish(run)
    assert 0.3 <= models.plan(CARD.name, VIEWS, Options()).seconds == pytest.approx(run.seconds, abs=0.1)


def test_the_button_pressed_ten_times_is_one_run(sessions: Sessions) -> None:
    session = sessions.create()
    run = started(session)
    assert not any(Job(session, CARD.name, VIEWS, [], Options()).start() for _ in range(9))
    finish(run)
    assert Job(session, CARD.name, VIEWS, [], Options()).start()
    session.cancel.set()


def test_cancel_stops_the_model_and_the_scene_before_stays(sessions: Sessions) -> None:
    session = sessions.create()
    finish(started(session))
    before = session.scene
    Staged.reset()
    run = started(session, VIEWS[:2])
    Staged.steps.release()
    wait(lambda: run.update and run.update.fraction >= 0.5)
    session.cancel.set()
    wait(lambda: not run.active, 2)
    assert run.state == "stopped"
    assert Staged.closed.is_set()
    assert session.scene is before
    finish(started(session))


def test_a_run_of_nobody_stops(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "ABSENCE", 0.1)
    session = sessions.create()
    session.enter()
    run = started(session)
    session.leave()
    wait(lambda: not run.active, 2)
    assert run.state == "stopped"


def test_a_reload_does_not_stop_a_run(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "ABSENCE", 0.5)
    session = sessions.create()
    session.enter()
    run = started(session)
    session.leave()
    session.enter()
    time.sleep(0.7)
    finish(run)
    assert run.state == "done"


def test_a_failure_is_a_sentence_and_the_trace_is_in_the_log(
    sessions: Sessions, caplog: pytest.LogCaptureFixture
) -> None:
    session = sessions.create()
    finish(started(session))
    before = session.scene
    Staged.failure = ZeroDivisionError("a bug")
    with caplog.at_level(logging.ERROR):
        run = started(session)
        finish(run)
    assert run.state == "failed"
    assert "a bug" not in run.error
    assert run.error.endswith(".")
    assert "ZeroDivisionError" in caplog.text
    assert session.scene is before


def test_what_the_visitor_can_mend_is_said_in_the_models_own_words(sessions: Sessions) -> None:
    Staged.failure = InputError("Give other photos.")
    run = started(sessions.create())
    finish(run)
    assert run.error == "Give other photos."


def test_runs_take_turns_and_a_cancelled_one_leaves_the_line(sessions: Sessions) -> None:
    first, second, third = (sessions.create() for _ in range(3))
    runs = [started(first)]
    wait(lambda: runs[0].state == "running")
    for session in (second, third):
        runs.append(started(session))
        wait(lambda: runs[-1].place == len(runs) - 1)
    assert [run.state for run in runs] == ["running", "waiting", "waiting"]
    second.cancel.set()
    wait(lambda: not runs[1].active, 2)
    assert runs[2].place == 1
    finish(runs[0])
    finish(runs[2])
    assert [run.state for run in runs] == ["done", "stopped", "done"]


def test_too_long_a_line_is_refused(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "LONGEST_LINE", 0)
    run = started(sessions.create())
    wait(lambda: run.state == "running")
    other = sessions.create()
    with pytest.raises(InputError, match="waiting"):
        Job(other, CARD.name, VIEWS, [], Options()).start()
    assert not other.lock.locked()
    finish(run)


def test_frames_hidden_before_are_shown_after_a_new_run(sessions: Sessions) -> None:
    session = sessions.create()
    finish(started(session))
    session.filters = Filters(confidence=40, frames=frozenset({2}))
    finish(started(session, VIEWS[:1]))
    assert session.filters == replace(Filters(), confidence=40)
