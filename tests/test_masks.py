import io
import zipfile

import numpy as np
import pytest
from PIL import Image

import recon
from recon.errors import InputError
from recon.masks import apply, onto_frame, onto_view, read_masks, warped
from recon.scene import View
from tests.helpers import moving_scene, synthetic_scene, synthetic_views

BOX = np.zeros((48, 64), bool)
BOX[10:20, 30:50] = True


def views(*names: str) -> list[View]:
    return [View(np.zeros((48, 64, 3), np.uint8), name) for name in names]


def picture(mask: np.ndarray, mode: str = "L", kind: str = "PNG") -> bytes:
    image = Image.fromarray(255 * mask.astype(np.uint8)).convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def write(path, content):
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("name", ["IMG_1.png", "img_1.PNG", "IMG_1.jpg.png"])
def test_a_mask_belongs_to_the_photo_of_its_name(tmp_path, name):
    (index, mask), *none = read_masks([write(tmp_path / name, picture(BOX))], views("IMG_2.jpg", "IMG_1.jpg")).items()
    assert (index, none) == (1, [])
    np.testing.assert_array_equal(mask, BOX)


def test_as_many_masks_as_photos_go_together_in_natural_order(tmp_path):
    files = [write(tmp_path / f"mask{number}.png", picture(np.roll(BOX, number, 0))) for number in (10, 2, 1)]
    masks = read_masks(files, views("a.jpg", "b.jpg", "c.jpg"))
    for index, number in enumerate((1, 2, 10)):
        np.testing.assert_array_equal(masks[index], np.roll(BOX, number, 0))


def test_what_is_not_black_moves_whatever_the_colours(tmp_path):
    objects = np.zeros((48, 64, 3), np.uint8)
    objects[BOX] = (0, 128, 0)
    objects[:5, :5] = (64, 0, 0)
    expected = BOX.copy()
    expected[:5, :5] = True
    Image.fromarray(objects).quantize(8).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_masks([tmp_path / "a.png"], views("a.jpg"))[0], expected)
    Image.fromarray(BOX.astype(np.uint8)).save(tmp_path / "a.png")  # zeros and ones
    np.testing.assert_array_equal(read_masks([tmp_path / "a.png"], views("a.jpg"))[0], BOX)
    write(tmp_path / "a.png", picture(BOX, "1"))
    np.testing.assert_array_equal(read_masks([tmp_path / "a.png"], views("a.jpg"))[0], BOX)
    write(tmp_path / "a.png", picture(np.zeros_like(BOX)))
    assert not read_masks([tmp_path / "a.png"], views("a.jpg"))[0].any()


def test_a_mask_of_the_photos_own_size_fits_the_smaller_view(tmp_path):
    large = np.kron(BOX, np.ones((3, 3), bool))
    np.testing.assert_array_equal(read_masks([write(tmp_path / "a.png", picture(large))], views("a.jpg"))[0], BOX)


def test_what_was_exported_comes_back_from_a_folder_or_a_zip(tmp_path):
    scene = moving_scene(3)
    for index, frame in enumerate(scene.frames):
        frame.name = f"run.mp4 at {index / 2:.2f} s"
    given = [View(frame.image, frame.name, time=frame.time) for frame in scene.frames]
    path = recon.export(scene, tmp_path / "out.masks.zip")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("__MACOSX/._a.png", b"rubbish")
        archive.extractall(tmp_path / "folder", [name for name in archive.namelist() if "MACOSX" not in name])
    for source in (path, tmp_path / "folder"):
        masks = read_masks([source], given)
        for index, frame in enumerate(scene.frames):
            np.testing.assert_array_equal(masks[index], frame.moving)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("stranger.png", picture(BOX), "'stranger.png' belongs to none"),
        ("a.png", b"no picture", "'a.png' cannot be read"),
        ("a.png", picture(BOX)[:55], "'a.png' cannot be read"),
        ("a.png", picture(BOX[:, :20]), "same shape"),
        ("a.zip", b"no zip", "no zip file"),
        ("a.zip", b"PK\5\6" + bytes(18), "no masks"),
    ],
    ids=["stranger", "letter", "cut", "shape", "rubbish", "empty"],
)
def test_what_cannot_be_used_is_one_sentence(tmp_path, name, content, said):
    with pytest.raises(InputError, match=said) as error:
        read_masks([write(tmp_path / name, content)], views("a.jpg", "b.jpg"))
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there_is_said(tmp_path):
    with pytest.raises(InputError, match=r"'a\.png' cannot be read"):
        read_masks([tmp_path / "a.png"], views("a.jpg"))


def test_a_mask_that_is_carried_over_lies_where_the_pixels_do():
    scaled = warped(BOX, np.diag([2, 2, 1]), (128, 96))
    np.testing.assert_array_equal(scaled, np.kron(BOX, np.ones((2, 2), bool)))
    shifted = warped(BOX, np.array([[1, 0, -5], [0, 1, 3], [0, 0, 1]]), (64, 48))
    np.testing.assert_array_equal(shifted, np.roll(BOX, (3, -5), (0, 1)))


def test_view_and_frame_of_other_sizes_agree_about_the_original():
    frame = synthetic_scene(1).frames[0]
    (view,) = synthetic_views(synthetic_scene(1))
    # the photo is 2 * 64 + 8 wide; the frame is its middle, halved, and the view the whole, halved
    frame.original_from_processed = np.array([[2, 0, 4], [0, 2, 0], [0, 0, 1]], np.float32)
    view.image = np.zeros((48, 68, 3), np.uint8)
    view.original_from_view = np.diag([2, 2, 1]).astype(np.float32)
    view.moving = np.pad(BOX, ((0, 0), (2, 2)))
    frame.moving = onto_frame(view, frame)
    np.testing.assert_array_equal(frame.moving, BOX)
    np.testing.assert_array_equal(onto_view(frame, view), view.moving)


def test_what_the_user_said_holds_whatever_the_model_said():
    scene = moving_scene(3)
    given = synthetic_views(scene)
    before = [frame.moving for frame in scene.frames]
    given[1].moving = BOX
    found = apply(scene, given)
    assert list(found) == [1]
    assert found[1] is before[1]
    np.testing.assert_array_equal(scene.frames[1].moving, BOX)
    assert scene.frames[0].moving is before[0]
