"""Whatever is given, in any mix: what is found is attached, what is not is told."""

import io
import struct
import zipfile

import numpy as np
import pytest
from PIL import ExifTags, Image

import recon
from recon import InputError, cli
from recon.known import Row, attach, files
from tests.known.photographed import photographed
from tests.known.test_depth import save
from tests.known.test_tables import k_file


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return photographed(tmp_path_factory.mktemp("attach") / "images")


def packed(**entries: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def test_nothing_given_is_nothing_known(photos):
    _, views = photos
    known = attach(views, [])
    assert known.rows == [Row("IMG_0.jpg"), Row("IMG_1.jpg"), Row("IMG_2.jpg")]
    assert known.notes == []


def test_a_file_that_is_not_there_is_told_and_the_rest_is_used(photos, tmp_path):
    scene, views = photos
    known = attach(views, [tmp_path / "gone.zip", k_file(scene, tmp_path)])
    assert known.views[0].intrinsics is not None
    assert known.notes == ["'gone.zip' does not exist: check its name."]
    with pytest.raises(InputError, match=r"'gone.zip' does not exist"):
        attach(views, [tmp_path / "gone.zip"])


@pytest.mark.parametrize("name", ["../../IMG_0.npy", "/IMG_0.npy", "C:\\\\x\\\\IMG_0.npy", "a/../b/IMG_0.npy"])
def test_no_name_in_a_zip_leads_out_of_it(photos, tmp_path, name):
    scene, views = photos
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "depth.zip").write_bytes(packed(**{name: npy(scene.frames[0].depth)}))
    before = sorted(tmp_path.rglob("*"))
    known = attach(views, [inner / "depth.zip"])
    np.testing.assert_array_equal(known.views[0].depth, scene.frames[0].depth)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_zip_that_unpacks_to_too_much_is_refused(photos, tmp_path, monkeypatch):
    _, views = photos
    monkeypatch.setattr(files, "MOST_BYTES", 1 << 20)
    bomb = packed(**{"IMG_0.npy": bytes(3 << 20)})
    size = struct.pack("<I", 3 << 20)
    (tmp_path / "bomb.zip").write_bytes(bomb)
    (tmp_path / "liar.zip").write_bytes(bomb.replace(size, struct.pack("<I", 1000)))
    for name in ("bomb.zip", "liar.zip"):
        with pytest.raises(InputError, match=name):
            attach(views, [tmp_path / name])


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and no more", b"<html>"])
def test_what_is_no_zip_is_told(photos, tmp_path, content):
    (tmp_path / "model.zip").write_bytes(content)
    with pytest.raises(InputError, match=r"'model.zip'.*pack it again"):
        attach(photos[1], [tmp_path / "model.zip"])


def test_a_folder_with_nothing_known(photos, tmp_path):
    with pytest.raises(InputError, match="tells nothing of photos"):
        attach(photos[1], [tmp_path])
    with pytest.raises(InputError, match="tells nothing of photos"):
        attach(photos[1], [photos[1][0].path.parent])


def test_photos_of_the_same_name_in_several_folders(photos, tmp_path):
    scene, views = photos
    both = [
        recon.View(views[0].image, "a.jpg", tmp_path / "left" / "a.jpg"),
        recon.View(views[0].image, "a.jpg", tmp_path / "right" / "a.jpg"),
    ]
    for value, side in enumerate(["left", "right"], 1):
        save_in = tmp_path / "depth" / side
        save_in.mkdir(parents=True)
        save(save_in / "A.npy", np.full((72, 96), float(value)))
    known = attach(both, [tmp_path / "depth"])
    assert [view.depth[0, 0] for view in known.views] == [1, 2]
    alone = save(tmp_path / "a.npy", scene.frames[0].depth)
    with pytest.raises(InputError, match="could be of several photos"):
        attach(both, [alone])


def test_the_focal_length_of_the_exif_data_is_told_and_can_be_trusted(photos, tmp_path):
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.FocalLengthIn35mmFilm] = 26
    Image.fromarray(photos[0].frames[0].image).save(tmp_path / "a.jpg", exif=exif)
    views = recon.read(tmp_path).views
    known = attach(views, [])
    assert known.rows[0].intrinsics == "about 26 mm, from EXIF"
    assert known.views[0].intrinsics is None
    trusted = attach(views, [], exif=True)
    assert trusted.views[0].intrinsics[0, 0] == pytest.approx(26 * np.hypot(96, 72) / np.hypot(36, 24), rel=1e-5)
    assert trusted.rows[0].source == "EXIF"
    better = attach(views, [k_file(photos[0], tmp_path)], exif=True)
    np.testing.assert_allclose(better.views[0].intrinsics, photos[0].frames[0].camera.intrinsics, rtol=1e-5)


def test_the_views_given_are_untouched(photos, tmp_path):
    scene, views = photos
    attach(views, [k_file(scene, tmp_path), save(tmp_path / "IMG_0.npy", scene.frames[0].depth)])
    assert all(view.intrinsics is None and view.depth is None for view in views)


def test_the_shell_takes_what_is_known(photos, tmp_path, capsys):
    scene, views = photos
    folder = str(views[0].path.parent)
    arguments = ["run", folder, "-o", str(tmp_path / "out.ply"), "--no-verify"]
    assert cli.main([*arguments, "--known", str(tmp_path / "gone")]) == 2
    assert "does not exist" in capsys.readouterr().err
    depth = save(tmp_path / "IMG_0.npy", scene.frames[0].depth)
    assert cli.main([*arguments, "--known", str(k_file(scene, tmp_path)), "--known", str(depth), "--metric"]) == 0
    assert "No depth was found for 'IMG_1.jpg' and 'IMG_2.jpg'" in capsys.readouterr().err


def test_of_two_that_say_the_same_the_first_counts_and_the_other_is_named(photos, tmp_path):
    _, views = photos
    for value, name in enumerate(["first", "second"], 1):
        (tmp_path / name).mkdir()
        save(tmp_path / name / "IMG_0.npy", np.full((72, 96), float(value)))
    known = attach(views, [tmp_path / "first", tmp_path / "second"])
    assert known.views[0].depth[0, 0] == 1
    assert "What second (depth maps) says of depth was left out where first (depth maps) says it." in known.notes


def test_progress_is_told_and_can_stop(photos, tmp_path):
    scene, views = photos
    told: list[tuple[float, str]] = []
    attach(views, [k_file(scene, tmp_path)], progress=lambda share, name: told.append((share, name)))
    assert told[-1] == (1, "IMG_2.jpg")
    with pytest.raises(ZeroDivisionError):
        attach(views, [k_file(scene, tmp_path)], progress=lambda share, name: 1 / 0)
