"""The legend of what is recognised, without a browser; `test_legend_browser` clicks it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import gradio as gr
import numpy as np
import pytest

from demo import legend, markup
from demo.legend import NOTHING, Legend
from demo.measures import measures_of
from demo.picking import Hit
from demo.recognised import Recognised, recognised_of
from demo.session import Sessions
from demo.visit import Visit, visit
from recon.filters import Filters, keep
from recon.placement import place
from recon.scale import rescaled
from recon.scene import Labels, Scene
from tests.demo.test_measures import click
from tests.demo.wire import Page
from tests.helpers import labelled_scene, synthetic_scene


@pytest.fixture
def visitor(tmp_path: Path) -> Iterator[Visit]:
    sessions = Sessions(tmp_path)
    somebody = visit(sessions.create())
    show(somebody, labelled_scene(3))
    yield somebody
    sessions.close()


@pytest.fixture
def known(visitor: Visit) -> Recognised:
    return recognised_of(visitor)


@pytest.fixture
def page(visitor: Visit) -> Iterator[Page]:
    with Page(f"http://127.0.0.1:{visitor.session.viewer.port}") as page:
        page.settle()
        yield page


@pytest.fixture
def drawn() -> Legend:
    with gr.Blocks():
        return legend.layout()


def show(visitor: Visit, scene: Scene) -> Scene:
    visitor.session.scene = scene
    visitor.session.viewer.show(scene)
    return scene


def place_of(scene: Scene, number: int) -> Hit:
    """A pixel in the middle of a segment."""
    rows, columns = np.nonzero(scene.frames[1].segments == number)
    middle = np.argmin(np.hypot(rows - rows.mean(), columns - columns.mean()))
    return Hit(1, (int(columns[middle]), int(rows[middle])))


def test_classes_with_their_points(known: Recognised) -> None:
    scene = known.visit.session.scene
    ids = np.concatenate([frame.segments.ravel() for frame in scene.frames])
    assert [part.name for part in known.parts[-1:]] == ["nothing known"]
    by_name = {part.name: part.points for part in known.parts}
    assert by_name == {
        "wall": (ids == 101).sum(), "floor": (ids == 102).sum(), "ball": np.isin(ids, (1, 2)).sum(),
        "nothing known": (ids == -1).sum(),
    }  # fmt: skip


def test_a_class_that_is_not_ticked_is_not_there(known: Recognised, page: Page) -> None:
    session = known.visit.session
    known.show({1, 3})
    page.settle()
    chosen = Filters(segments=frozenset({1, 2, 102}))
    assert len(page.points()) == sum(mask.sum() for mask in keep(session.scene, chosen))
    assert {part.name for part in known.parts if known.shows(part)} == {"floor", "ball"}
    known.show({0, 1, 3, -1})
    assert session.filters.segments is None


def test_clicks_in_the_scene_select_things(known: Recognised, page: Page) -> None:
    scene = known.visit.session.scene
    placement = place(scene.frames)
    click(page, placement, scene, place_of(scene, 2))
    page.wait_for(lambda: known.selected == {2})
    click(page, placement, scene, place_of(scene, 102))
    page.wait_for(lambda: known.selected == {102})
    click(page, placement, scene, place_of(scene, 102))
    page.wait_for(lambda: known.selected == frozenset())
    measures_of(known.visit).turn(True)
    click(page, placement, scene, place_of(scene, 1))
    page.settle()
    assert known.selected == frozenset(), "who measures selects nothing"
    measures_of(known.visit).turn(False)
    click(page, placement, scene, place_of(scene, 1))
    page.wait_for(lambda: known.selected == {1})


def test_files_of_the_selection_alone(known: Recognised) -> None:
    known.toggle(frozenset({1}))
    known.toggle(frozenset({2}))
    assert known.taken_home(Filters()).segments is None
    known.alone = True
    assert known.taken_home(Filters()).segments == {1, 2}
    known.toggle(frozenset({1}))
    assert known.taken_home(Filters(confidence=7)) == Filters(confidence=7, segments=frozenset({2}))
    known.toggle(frozenset({2}))
    assert known.taken_home(Filters()).segments is None


def test_another_scale_is_the_same_scene_and_another_run_is_not(visitor: Visit, known: Recognised) -> None:
    known.select(frozenset({1}))
    visitor.session.scene = rescaled(visitor.session.scene, 2.0)
    assert recognised_of(visitor).selected == {1}
    show(visitor, labelled_scene(2))
    assert recognised_of(visitor).selected == frozenset()
    show(visitor, synthetic_scene(2))
    assert recognised_of(visitor).parts == []


def test_what_the_page_shows(visitor: Visit, known: Recognised, drawn: Legend) -> None:
    known.select(frozenset({2}))
    known.show({0, 3})
    updates = drawn.restored(visitor)
    assert updates[drawn.section].visible
    assert updates[drawn.timer].active
    rows = {row["name"]: row for row in updates[drawn.list]["rows"]}
    assert (rows["ball"]["shown"], rows["floor"]["shown"], rows["nothing known"]["shown"]) == (True, False, False)
    assert [thing["selected"] for thing in rows["ball"]["things"]] == [False, True]
    assert "points selected" in updates[drawn.sentence]
    show(visitor, synthetic_scene(1))
    assert not drawn.restored(visitor)[drawn.section].visible


def test_nothing_recognised_is_a_sentence_and_the_points(visitor: Visit, page: Page, drawn: Legend) -> None:
    scene = synthetic_scene(2)
    scene.labels = Labels(("ball",), np.zeros((1, 3), np.uint8))
    for frame in scene.frames:
        frame.segments = np.full(frame.depth.shape, -1, np.int32)
    show(visitor, scene)
    updates = drawn.restored(visitor)
    assert updates[drawn.section].visible
    assert NOTHING in updates[drawn.sentence]
    assert updates[drawn.list]["rows"] == []
    page.settle()
    assert len(page.points()) == sum(mask.sum() for mask in keep(scene))


def test_figures_show_segments_where_there_are_any() -> None:
    scene = labelled_scene(1)
    figures = markup.figures(scene.frames[0], True, scene.labels)
    assert "Recognised" in figures
    assert "floor" in figures
    assert "table" not in figures
    assert "Recognised" not in markup.figures(scene.frames[0], True)
    assert "Recognised" not in markup.figures(replace(scene.frames[0], segments=None), True, scene.labels)
