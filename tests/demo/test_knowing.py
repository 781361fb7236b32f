"""What a visitor knows beside the photos: understood, told, given to the run, compared with what was found."""

import json
from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import numpy as np
import pytest

from demo import knowing
from demo.job import Job
from demo.knowing import Knowing
from demo.session import Sessions
from demo.visit import Visit, visit
from recon import CARDS, Options, geometry, media
from recon.alignment.given import compare
from recon.given import Given, given_cameras
from recon.scene import Scene
from tests.demo.staged import CARD, Staged, wait
from tests.demo.wire import Page
from tests.helpers import synthetic_scene
from tests.known.photographed import photographed

OPENCV_FROM_OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])


def silent(fraction: float, name: str) -> None:
    pass


def transforms(folder: Path, scene: Scene, names: list[str] | None = None) -> Path:
    """A nerfstudio file of the cameras of ``scene``."""
    width, height = scene.frames[0].size
    matrix = scene.frames[0].camera.intrinsics
    names = names or [frame.name for frame in scene.frames]
    frames = [
        {
            "file_path": f"images/{name}",
            "transform_matrix": (frame.camera.world_from_camera @ OPENCV_FROM_OPENGL).tolist(),
        }
        for name, frame in zip(names, scene.frames, strict=False)
    ]
    content = {
        "fl_x": float(matrix[0, 0]), "fl_y": float(matrix[1, 1]), "cx": width / 2, "cy": height / 2,
        "w": width, "h": height, "frames": frames,
    }  # fmt: skip
    folder.mkdir(exist_ok=True, parents=True)
    path = folder / "transforms.json"
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def visitor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Visit]:
    monkeypatch.setitem(CARDS, CARD.name, CARD)
    Staged.reset()
    sessions = Sessions(tmp_path / "sessions")
    yield visit(sessions.create())
    sessions.close()


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """What the photos in ``tmp_path / "photos"`` show."""
    return photographed(tmp_path / "photos", 3)[0]


@pytest.fixture
def panel() -> Knowing:
    with gr.Blocks():
        return knowing.layout()(knowing.beside_scene())


def take(visitor: Visit, folder: Path) -> None:
    visitor.take(media.read([folder]), [])
    visitor.knowledge.follow(visitor.media.views)


def drop(visitor: Visit, *paths: Path) -> None:
    visitor.knowledge.add(list(paths), visitor.media.views, silent)


def test_what_is_dropped_is_known_of_the_photos_and_told(
    visitor: Visit, scene: Scene, panel: Knowing, tmp_path: Path
) -> None:
    take(visitor, tmp_path / "photos")
    drop(visitor, transforms(tmp_path / "a", scene))
    for view, frame, plain in zip(visitor.views, scene.frames, visitor.media.views, strict=True):
        assert view.intrinsics is not None
        assert view.world_from_camera is not None
        np.testing.assert_allclose(view.world_from_camera, frame.camera.world_from_camera, atol=1e-5)
        assert plain.world_from_camera is None
    updates = panel.restored(visitor)
    assert "intrinsics and poses of all photos" in updates[panel.said]
    assert "Parallax small does not heed known intrinsics and poses" in updates[panel.said]
    table = updates[panel.table]
    assert table.count("<tr>") == 4
    assert all(f"IMG_{index}.jpg" in table for index in range(3))
    assert "transforms.json" in table
    assert "focal length" in table
    assert (updates[panel.clear].visible, updates[panel.metric].visible, updates[panel.depth_scale].visible) == (
        True, True, False,
    )  # fmt: skip
    visitor.choose("mapanything-apache")
    assert "heed" not in panel.heeded(visitor)[panel.said]


def test_files_wait_for_photos_and_follow_when_photos_change(
    visitor: Visit, scene: Scene, panel: Knowing, tmp_path: Path
) -> None:
    drop(visitor, transforms(tmp_path / "a", scene))
    assert "once there are some" in panel.restored(visitor)[panel.said]
    take(visitor, tmp_path / "photos")
    assert all(view.world_from_camera is not None for view in visitor.views)
    (tmp_path / "photos" / "IMG_0.jpg").unlink()
    visitor.take(media.read([tmp_path / "photos"]), [])
    assert all(view.world_from_camera is None for view in visitor.views), "not understood yet for these"
    visitor.knowledge.follow(visitor.media.views)
    assert len(visitor.views) == 2
    np.testing.assert_allclose(visitor.views[0].world_from_camera, scene.frames[1].camera.world_from_camera, atol=1e-5)


def test_a_file_that_says_nothing_is_named_and_takes_nothing_away(
    visitor: Visit, scene: Scene, panel: Knowing, tmp_path: Path
) -> None:
    take(visitor, tmp_path / "photos")
    wrong = tmp_path / "letter.json"
    wrong.write_text("Dear reader")
    drop(visitor, wrong)
    assert "letter.json" in panel.restored(visitor)[panel.said]
    assert "failed" in panel.restored(visitor)[panel.said]
    assert visitor.views == visitor.media.views
    drop(visitor, transforms(tmp_path / "a", scene))
    said = panel.restored(visitor)[panel.said]
    assert "poses of all photos" in said
    assert "letter.json" in said


def test_a_file_of_the_same_name_takes_the_place_of_the_former(visitor: Visit, scene: Scene, tmp_path: Path) -> None:
    take(visitor, tmp_path / "photos")
    drop(visitor, transforms(tmp_path / "a", scene))
    scene.frames[0].camera.world_from_camera = geometry.rigid(np.eye(3), np.array([7.0, 0, 0]))
    drop(visitor, transforms(tmp_path / "b", scene))
    assert visitor.views[0].world_from_camera[0, 3] == pytest.approx(7)
    assert [path.name for path in (visitor.session.folder / "known").rglob("*.json")] == ["transforms.json"]
    letter = tmp_path / "letter.txt"
    letter.write_text("twice")
    drop(visitor, letter, letter)
    visitor.knowledge.clear()
    assert not list((visitor.session.folder / "known").rglob("*.json"))
    assert visitor.views == visitor.media.views


def test_metres_and_the_scale_of_depth_are_taken_from_the_visitor(
    visitor: Visit, scene: Scene, panel: Knowing, tmp_path: Path
) -> None:
    take(visitor, tmp_path / "photos")
    for frame in scene.frames:
        np.save(tmp_path / f"{Path(frame.name).stem}.npy", frame.depth * 100)
    drop(visitor, *sorted(tmp_path.glob("*.npy")))
    assert panel.restored(visitor)[panel.depth_scale].visible
    visitor.knowledge.depth_scale, visitor.knowledge.metric = 0.01, True
    visitor.knowledge.understand(visitor.media.views)
    view, frame = visitor.views[1], scene.frames[1]
    assert view.metric
    assert view.depth is not None
    assert np.median(view.depth) == pytest.approx(np.median(frame.depth), rel=0.02)
    visitor.knowledge.depth_scale = -1
    visitor.knowledge.understand(visitor.media.views)
    assert "above 0" in panel.restored(visitor)[panel.said]


# --- beside what was found -----------------------------------------------------------------------------------------


def finished(visitor: Visit) -> Job:
    """A run of the staged model over the visitor's views."""
    Staged.steps.release(len(visitor.views))
    job = Job(visitor.session, CARD.name, visitor.views, [], Options())
    assert job.start()
    wait(lambda: not job.active)
    assert (job.state, job.error) == ("done", "")
    return job


def test_a_run_is_told_and_its_scene_remembers_the_given_cameras(
    visitor: Visit, scene: Scene, panel: Knowing, tmp_path: Path
) -> None:
    take(visitor, tmp_path / "photos")
    larger = scene.rescaled(3)
    drop(visitor, transforms(tmp_path / "a", larger))
    with Page(f"http://127.0.0.1:{visitor.session.viewer.port}") as page:
        finished(visitor)
        page.wait_for(lambda: {f"/given/{index}" for index in range(3)} <= page.nodes.keys())
        for index in range(3):
            np.testing.assert_allclose(
                page.nodes[f"/given/{index}"].position, page.nodes[f"/cameras/{index}"].position, atol=1e-3
            )
        assert page.nodes["/given/0"].props["color"] != page.nodes["/cameras/0"].props["color"]
        updates = panel.compared(visitor)
        assert "All 3 cameras were given: on average 0.0°" in updates[panel.comparing.legend]
        assert updates[panel.comparing.tick].visible
        visitor.session.viewer.set_given_visible(False)
        page.wait_for(lambda: not page.drawn("/given/0"))
        visitor.session.viewer.set_given_visible(True)
        visitor.session.viewer.show(synthetic_scene(2))
        page.wait_for(lambda: not any(name.startswith("/given/") for name in page.nodes))
    assert visitor.session.scene is not None
    loaded = Scene.load(visitor.session.scene.save(tmp_path / "scene"))
    assert loaded.given is not None
    np.testing.assert_array_equal(loaded.given.world_from_camera, visitor.session.scene.given.world_from_camera)


def test_a_scene_of_photos_alone_has_nothing_to_compare(
    visitor: Visit, scene: Scene, panel: Knowing, tmp_path: Path
) -> None:
    take(visitor, tmp_path / "photos")
    finished(visitor)
    assert visitor.session.scene is not None
    assert visitor.session.scene.given is None
    updates = panel.compared(visitor)
    assert (updates[panel.comparing.legend], updates[panel.comparing.tick].visible) == ("", False)


def test_cameras_in_metres_are_not_scaled(visitor: Visit) -> None:
    scene = synthetic_scene(4)
    poses = np.stack([frame.camera.world_from_camera for frame in scene.frames]).astype(np.float64)
    poses[:, :3, 3] *= 1.5
    scene.given = Given((0, 1, 2, 3), poses, True)
    assert compare(scene.given, scene.frames, True).distance > 0.1
    assert compare(scene.given, scene.frames, False).distance < 1e-3
    assert given_cameras(scene.frames, []) is None
