"""Points that are clicked, and the runs that follow them; `test_tracking_browser` clicks them on the page."""

import logging
import time
from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import numpy as np
import pytest

from demo import tracking
from demo.following import Following, Picks
from demo.job import Job
from demo.session import Session, Sessions
from demo.tracking import Tracking, picks_of
from demo.visit import Visit, visit
from recon import CARDS, InputError, Options, Scene
from recon.scene import Tracks
from tests.demo.staged import CARD, Staged, wait
from tests.demo.wire import Page
from tests.helpers import synthetic_scene, synthetic_views

CLICKED = [[20.0, 12.0], [40.5, 30.25], [50.0, 40.0]]


@pytest.fixture
def sessions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sessions]:
    monkeypatch.setitem(CARDS, CARD.name, CARD)
    Staged.reset()
    sessions = Sessions(tmp_path)
    yield sessions
    sessions.close()


@pytest.fixture
def visitor(sessions: Sessions) -> Visit:
    """Somebody with a scene of four frames."""
    return visit(with_scene(sessions.create()))


def with_scene(session: Session) -> Session:
    session.scene = synthetic_scene(4)
    session.scene.model = CARD.name
    session.viewer.show(session.scene)
    return session


def picks_in(visitor: Visit) -> Picks:
    picks = picks_of(visitor)
    assert picks is not None
    return picks


def started(visitor: Visit, frame: int = 0, find: bool = False) -> Following:
    run = Following(visitor.session, picks_in(visitor), frame, find)
    assert run.start()
    return run


def followed(visitor: Visit, frame: int = 0, find: bool = False) -> Tracks:
    """The tracks that a whole run gives to the scene."""
    Staged.steps.release()
    run = started(visitor, frame, find)
    wait(lambda: not run.active)
    assert (run.state, run.error) == ("done", "")
    assert picks_in(visitor).scene.tracks is not None
    return picks_in(visitor).scene.tracks


def test_clicked_points_are_followed_through_all_frames_in_order(visitor: Visit) -> None:
    picks = picks_in(visitor)
    picks.place(1, CLICKED)
    tracks = followed(visitor, 1)
    assert tracks.pixels.shape == (4, 3, 2)
    np.testing.assert_array_equal(tracks.pixels[1], CLICKED)
    assert picks.points(1) == CLICKED
    assert not any(picks.fresh.values())
    assert visitor.session.scene.tracks is tracks


def test_the_lines_stand_in_the_viewer_when_the_run_ends(visitor: Visit) -> None:
    picks_in(visitor).place(0, CLICKED)
    with Page(f"http://127.0.0.1:{visitor.session.viewer.port}") as page:
        page.settle()
        start = time.perf_counter()
        followed(visitor)
        page.wait_for(lambda: "/tracks/lines" in page.nodes)
        assert page.received_since(start) < 5_000, "no points were sent again"


def test_points_of_several_photos_are_kept_side_by_side_and_followed_anew_each(visitor: Visit) -> None:
    picks = picks_in(visitor)
    for frame, points in ((0, CLICKED), (2, CLICKED[:1]), (0, [*CLICKED, [8.0, 8.0]])):
        picks.place(frame, points)
        followed(visitor, frame)
    assert sorted(picks.scene.tracks.query) == [0, 0, 0, 0, 2]
    assert (picks.points(0), picks.points(2)) == ([*CLICKED, [8.0, 8.0]], CLICKED[:1])


def test_a_point_taken_away_takes_its_track_along_and_no_other(visitor: Visit) -> None:
    picks = picks_in(visitor)
    picks.place(0, CLICKED)
    followed(visitor)
    picks.place(3, CLICKED)
    before = followed(visitor, 3)
    assert picks.place(3, [CLICKED[0], CLICKED[2], [5.0, 5.0]])
    assert picks.fresh[3] == [[5.0, 5.0]]
    after = picks.scene.tracks
    assert after.query.tolist() == [0, 0, 0, 3, 3]
    np.testing.assert_array_equal(after.pixels[:, 3:], before.pixels[:, [3, 5]])
    assert not picks.place(3, picks.points(3)), "the same points drop nothing"
    assert picks.place(0, [])
    assert picks.place(3, [])
    assert picks.scene.tracks is None


def test_found_points_join_those_that_are_clicked_but_not_followed_yet(visitor: Visit) -> None:
    picks = picks_in(visitor)
    picks.place(0, CLICKED)
    tracks = followed(visitor, 0, find=True)
    assert len(tracks.query) > 20
    assert len(picks.points(0)) == len(tracks.query) + len(CLICKED)
    assert picks.fresh[0] == CLICKED


def test_points_clicked_during_a_run_are_left_to_the_next(visitor: Visit) -> None:
    picks = picks_in(visitor)
    picks.place(0, CLICKED[:1])
    run = started(visitor)
    picks.place(0, CLICKED)
    Staged.steps.release()
    wait(lambda: not run.active)
    assert len(picks.scene.tracks.query) == 1
    assert (picks.points(0), picks.fresh[0]) == (CLICKED, CLICKED[1:])


def test_cancel_leaves_the_tracks_as_they_were_and_one_can_begin_again(visitor: Visit) -> None:
    picks = picks_in(visitor)
    picks.place(0, CLICKED)
    before = followed(visitor)
    with Page(f"http://127.0.0.1:{visitor.session.viewer.port}") as page:
        page.settle()
        start = time.perf_counter()
        run = started(visitor, find=True)
        wait(lambda: run.update)
        assert "Looking closely" in tracking._line(run)
        visitor.session.cancel.set()
        wait(lambda: not run.active, 2)
        page.settle()
        assert page.received_since(start) == 0, "the scene in the viewer is the same"
    assert run.state == "stopped"
    assert picks.scene.tracks is before
    followed(visitor)


def test_following_takes_its_turn_with_the_runs_of_others(sessions: Sessions, visitor: Visit) -> None:
    other = sessions.create()
    views = synthetic_views(synthetic_scene(1))
    first = Job(other, CARD.name, views, [], Options())
    assert first.start()
    wait(lambda: first.state == "running")
    picks_in(visitor).place(0, CLICKED)
    run = started(visitor)
    wait(lambda: run.place == 1)
    assert "1 run before yours" in tracking._line(run)
    Staged.steps.release(2)
    wait(lambda: not run.active)
    assert (first.state, run.state) == ("done", "done")


def test_one_visitor_does_one_thing_at_a_time(visitor: Visit) -> None:
    picks_in(visitor).place(0, CLICKED)
    run = started(visitor)
    views = synthetic_views(synthetic_scene(1))
    assert not Job(visitor.session, CARD.name, views, [], Options()).start()
    visitor.session.cancel.set()
    wait(lambda: not run.active)


@pytest.mark.parametrize("failure", [InputError("Choose other points."), ZeroDivisionError("a bug")])
def test_a_failure_is_a_sentence_and_the_points_stay(
    visitor: Visit, failure: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    picks = picks_in(visitor)
    picks.place(0, CLICKED)
    Staged.failure = failure
    Staged.steps.release()
    with caplog.at_level(logging.ERROR):
        run = started(visitor)
        wait(lambda: not run.active)
    assert run.state == "failed"
    assert run.error.endswith(".")
    assert "a bug" not in run.error
    assert picks.points(0) == CLICKED


# --- the tab -------------------------------------------------------------------------------------------------------


@pytest.fixture
def tab() -> Tracking:
    with gr.Blocks():
        return tracking.layout()


def restored(tab: Tracking, visitor: Visit) -> dict[str, object]:
    """What the tab shows, by the widgets' names."""
    updates = tab.restored(visitor)
    return {name: updates.get(getattr(tab, name)) for name in Tracking.__dataclass_fields__}


def test_a_reload_finds_points_pictures_and_what_was_said(tab: Tracking, visitor: Visit) -> None:
    picks = picks_in(visitor)
    picks.frame = 2
    picks.place(2, CLICKED)
    picks.following = started(visitor, 2)
    Staged.steps.release()
    wait(lambda: not picks.active)
    picks.lines = False
    found = restored(tab, visitor)
    assert found["frame"].value == 3
    assert found["points"] == {"frame": 2, "points": CLICKED, "width": 64, "height": 48}
    assert "<img" in found["photo"]
    assert found["pictures"].count("<img") == 4
    assert "3 points followed" in found["status"]
    assert (found["lines"].value, found["follow"].interactive, found["cancel"].visible) == (False, False, False)


def test_a_reload_in_the_midst_of_a_run_finds_it(tab: Tracking, visitor: Visit) -> None:
    picks = picks_in(visitor)
    picks.place(0, CLICKED)
    picks.following = started(visitor)
    wait(lambda: picks.following.update)
    found = restored(tab, visitor)
    assert (found["follow"].visible, found["cancel"].visible, found["find"].interactive) == (False, True, False)
    assert "progressbar" in found["status"]
    visitor.session.cancel.set()
    wait(lambda: not picks.active)


def test_a_new_scene_has_no_points(visitor: Visit) -> None:
    picks_in(visitor).place(0, CLICKED)
    visitor.session.scene = Scene(synthetic_scene(2).frames, model=CARD.name)
    assert picks_in(visitor).points(0) == []
    visitor.session.scene = None
    assert picks_of(visitor) is None


def test_a_scene_without_tracks_says_which_models_give_them(tab: Tracking, visitor: Visit) -> None:
    for model, frames, words in (
        ("embedded", 2, ["Parallax small does not", "VGGT"]),
        ("one of long ago", 2, ["does not", "VGGT"]),
        (CARD.name, 1, ["only one photo"]),
    ):
        visitor.session.scene = Scene(synthetic_scene(frames).frames, model=model)
        found = restored(tab, visitor)
        assert all(word in found["sentence"] for word in words)
        assert (found["photo"], found["points"], found["follow"].visible, found["lines"].visible) == (
            "",
            None,
            False,
            False,
        )
    visitor.session.scene = None
    assert "once there is a scene" in restored(tab, visitor)["sentence"]


def test_of_many_photos_some_are_shown_and_the_chosen_one_among_them(
    visitor: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking, "MAXIMUM_PICTURES", 2)
    picks = picks_in(visitor)
    picks.frame = 1
    picks.place(1, CLICKED)
    followed(visitor, 1)
    html = tracking._pictures(picks)
    assert html.count("<img") == 3
    assert html.count("class=here") == 1
    assert "3 of 4 photos" in html


def test_names_of_photos_cannot_speak_html(visitor: Visit) -> None:
    picks = picks_in(visitor)
    picks.scene.frames[0].name = "<img src=x onerror=alert(1)>"
    picks.place(0, CLICKED)
    followed(visitor)
    assert "<img src=x" not in tracking._pictures(picks)
