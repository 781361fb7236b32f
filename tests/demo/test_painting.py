"""Masks by hand: what is painted holds in the scene at once, and in the next run."""

import base64
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from demo import painting
from demo.job import Job
from demo.session import Sessions
from demo.visit import Visit, visit
from recon import CARDS, InputError, Options
from recon.filters import Filters, keep
from recon.media import Media
from recon.scene import View
from tests.demo.staged import CARD, Staged, wait
from tests.demo.wire import Page
from tests.helpers import moving_scene


@pytest.fixture
def visitor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Visit]:
    """Somebody with a scene of three frames through which a ball runs, and the pictures it was made of."""
    monkeypatch.setitem(CARDS, CARD.name, CARD)
    monkeypatch.setattr(Staged, "render", staticmethod(moving_scene))
    Staged.reset()
    sessions = Sessions(tmp_path)
    visitor = visit(sessions.create())
    scene = moving_scene(3)
    visitor.take(Media([View(frame.image, frame.name) for frame in scene.frames]))
    visitor.session.scene = scene
    visitor.session.viewer.show(scene)
    yield visitor
    sessions.close()


def box(rows: slice, columns: slice) -> np.ndarray:
    mask = np.zeros((48, 64), bool)
    mask[rows, columns] = True
    return mask


BOX = box(slice(10, 20), slice(30, 50))


def masks(visitor: Visit) -> list[np.ndarray | None]:
    assert visitor.session.scene is not None
    return [frame.moving for frame in visitor.session.scene.frames]


def test_a_mask_holds_in_the_shown_scene_at_once_and_can_be_undone(visitor: Visit) -> None:
    scene, viewer = visitor.session.scene, visitor.session.viewer
    assert scene is not None
    before = masks(visitor)
    with Page(f"http://127.0.0.1:{viewer.port}") as page:
        for mask in (BOX, ~BOX, None):
            painting.set_masks(visitor, {1: mask})
            chosen = viewer.snap(Filters(moving="only"))
            viewer.set_filters(chosen)
            page.settle()
            assert [len(page.points(i)) for i in range(3)] == [int(kept.sum()) for kept in keep(scene, chosen)]
    assert all(now is then for now, then in zip(masks(visitor), before, strict=True))
    assert visitor.media.views[1].moving is None


def test_what_was_painted_is_given_to_the_next_run_and_holds_after_it(visitor: Visit) -> None:
    painting.set_masks(visitor, {0: BOX})
    views = visitor.views
    assert views[0].moving is BOX
    assert views[1].moving is None
    Staged.steps.release(3)
    job = Job(visitor.session, CARD.name, views, [], Options())
    assert job.start()
    wait(lambda: not job.active)
    now = masks(visitor)
    np.testing.assert_array_equal(now[0], BOX)
    painting.set_masks(visitor, {0: None})
    np.testing.assert_array_equal(masks(visitor)[0], moving_scene(3).frames[0].moving, "the model's own is back")


def test_the_canvas_begins_with_what_the_model_found(visitor: Visit) -> None:
    expected = moving_scene(3).frames[2].moving
    mask = painting._mask(visitor, visitor.media.views[2])
    np.testing.assert_array_equal(mask, expected)
    address = painting._encoded(mask)
    np.testing.assert_array_equal(painting._decoded(address, visitor.media.views[2]), expected)
    browser = np.asarray(Image.open(io.BytesIO(base64.b64decode(address.split(",")[1]))))
    assert (browser[..., 3] > 0).tolist() == mask.tolist()


@pytest.mark.parametrize("sent", ["", "data:,", "data:image/png;base64,AAAA", painting._encoded(BOX[:5])])
def test_what_is_no_mask_of_the_photo_is_one_sentence(visitor: Visit, sent: str) -> None:
    with pytest.raises(InputError, match="paint again"):
        painting._decoded(sent, visitor.media.views[0])


def test_frames_of_photos_that_are_no_longer_there_are_left_alone(visitor: Visit) -> None:
    before = masks(visitor)
    visitor.take(Media([View(np.zeros((48, 64, 3), np.uint8), "other.jpg")]))
    painting.set_masks(visitor, {0: BOX})
    assert all(now is then for now, then in zip(masks(visitor), before, strict=True))
    assert visitor.views[0].moving is BOX
