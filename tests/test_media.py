"""Files and folders to Views: what is taken, in which order, and what the user is told."""

import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from recon import media
from recon.errors import InputError
from recon.media import read


def photo(path: Path, seed: int = 0, size: tuple[int, int] = (64, 48)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1] // 8, size[0] // 8, 3)).astype(np.uint8)
    Image.fromarray(pixels).resize(size).save(path)
    return path


def film(path: Path, frames: int = 60) -> Path:
    wall = cv2.resize(np.random.default_rng(0).integers(0, 255, (16, 100, 3)).astype(np.uint8), (800, 96))
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"mp4v"), 30, (160, 96))
    for i in range(frames):
        writer.write(np.ascontiguousarray(wall[:, 8 * i : 8 * i + 160]))
    writer.release()
    return path


def names(read_media: media.Media) -> list[str]:
    return [view.name for view in read_media.views]


def test_a_folder_is_read_in_natural_order(tmp_path):
    for i, name in enumerate(["IMG_10.jpg", "IMG_9.png", "img_2.JPG", "IMG_1a.webp", "b.png", "10.png", "9.png"]):
        photo(tmp_path / name, i)
    for name in [".hidden.jpg", "._IMG_2.jpg", "notes.txt", "Thumbs.db", "IMG_2.AAE", "noextension"]:
        (tmp_path / name).write_bytes(b"x")
    result = read(tmp_path)
    assert names(result) == ["9.png", "10.png", "b.png", "IMG_1a.webp", "img_2.JPG", "IMG_9.png", "IMG_10.jpg"]
    assert result.notes == []


def test_explicit_order_is_kept_and_folders_open_in_place(tmp_path):
    for i, name in enumerate(["b.png", "a.png", "in/2.png", "in/1.png"]):
        photo(tmp_path / name, i)
    given = [str(tmp_path / "b.png"), tmp_path / "in", tmp_path / "a.png"]
    assert names(read(given)) == ["b.png", "1.png", "2.png", "a.png"]


def test_sub_folders_are_read_where_a_folder_has_no_pictures_itself(tmp_path):
    for i, name in enumerate(["day 10/x.png", "day 2/y.png", "day 2/deep/z.png"]):
        photo(tmp_path / "trip" / name, i)
    assert names(read(tmp_path / "trip")) == ["y.png", "x.png"]
    for i, name in enumerate(["images/1.png", "depth/1.png", "masks/1.png"]):
        photo(tmp_path / "scene" / name, 10 + i)
    assert [view.path for view in read(tmp_path / "scene").views] == [tmp_path / "scene/images/1.png"]


def test_a_live_photo_gives_its_still_only(tmp_path):
    photo(tmp_path / "IMG_1.jpg")
    film(tmp_path / "a.mp4").rename(tmp_path / "IMG_1.MOV")
    result = read(tmp_path)
    assert names(result) == ["IMG_1.jpg"]
    assert result.notes == ["'IMG_1.MOV' was left out: a photo of the same name is there."]


def test_sizes_and_kinds_mix(tmp_path):
    paths = [photo(tmp_path / "a.png", 0, (64, 48)), photo(tmp_path / "b.jpg", 1, (400, 800)), film(tmp_path / "c.mp4")]
    result = read(paths, maximum_side=200, frames_per_video=3)
    assert [view.size for view in result.views] == [(64, 48), (100, 200), (160, 96), (160, 96), (160, 96)]
    assert [view.time is None for view in result.views] == [True, True, False, False, False]


@pytest.mark.parametrize(
    "name", ["with space.png", "été 日本 🏛.png", "-o out.png", "a'b\"c.png", "%s{}.png", "a\nb.png"]
)
def test_unusual_names(tmp_path, monkeypatch, name):
    photo(tmp_path / "sub" / name)
    monkeypatch.chdir(tmp_path / "sub")
    assert names(read([name])) == [name]
    assert names(read([f"../sub/{name}"])) == [name]
    assert names(read(".")) == [name]


def test_names_that_are_not_text_can_still_be_shown(tmp_path):
    path = os.fsencode(photo(tmp_path / "a.png").parent) + b"/caf\xe9.png"
    os.rename(tmp_path / "a.png", path)
    (shown,) = names(read(os.fsdecode(path)))
    assert shown.encode() == "caf\N{REPLACEMENT CHARACTER}.png".encode()


def test_more_photos_than_wanted_are_chosen_evenly_and_before_decoding(tmp_path):
    for i in range(500):
        (tmp_path / f"{i}.png").write_bytes(b"damaged")
    for i in [0, 166, 333, 499]:
        photo(tmp_path / f"{i}.png", i)
    result = read(tmp_path, maximum_views=4)
    assert names(result) == ["0.png", "166.png", "333.png", "499.png"]
    assert result.notes == ["Of 500 photos, 4 were taken, spread evenly from the first to the last."]


def test_a_damaged_choice_is_replaced_by_its_neighbour(tmp_path):
    for i in range(10):
        photo(tmp_path / f"{i}.png", i)
    (tmp_path / "0.png").write_bytes(b"damaged")
    result = read(tmp_path, maximum_views=2)
    assert names(result) == ["1.png", "9.png"]
    assert "'0.png' was left out because it is of an unknown kind" in " ".join(result.notes)
    assert names(read(tmp_path, maximum_views=1)) == ["1.png"]


def test_many_pictures_share_the_memory_and_say_so(tmp_path, monkeypatch):
    monkeypatch.setattr(media, "PIXEL_BUDGET", 8 * 100 * 75)
    for i in range(8):
        photo(tmp_path / f"{i}.jpg", i, (400, 300))
    result = read(tmp_path)
    assert {view.size for view in result.views} == {(100, 75)}
    assert result.notes == ["To fit 8 pictures into memory, each was reduced to 100 pixels on its long side."]
    assert {view.size for view in read(tmp_path, maximum_views=2).views} == {(200, 150)}


def test_unreadable_files_are_left_out_and_named_with_their_reason(tmp_path):
    good = photo(tmp_path / "good.jpg")
    for name in ["e1.jpg", "e2.jpg", "e3.jpg", "e4.jpg", "e5.jpg"]:
        (tmp_path / name).touch()
    (tmp_path / "cut.jpg").write_bytes(good.read_bytes()[:-200])
    result = read([*sorted(tmp_path.iterdir()), tmp_path / "missing.jpg"])
    assert names(result) == ["good.jpg"]
    assert sorted(result.notes) == [
        "'cut.jpg' was left out because it is damaged or cut off: copy it again from where it came from.",
        "'e1.jpg', 'e2.jpg', 'e3.jpg' and 2 more were left out because each is empty (0 bytes): "
        "copy it again from where it came from.",
        "'missing.jpg' was left out because it does not exist: check its name.",
    ]


def test_nothing_readable_ends_in_one_sentence(tmp_path):
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("hello")
    (tmp_path / "folder").mkdir()
    raw = tmp_path / "folder.raw" / "shot.cr3"
    raw.parent.mkdir()
    raw.write_bytes(b"\0\0\0\x18ftypcrx \0\0\0\1crx isom")
    cases = [
        ([], "There is nothing to read"),
        ([""], "There is nothing to read"),
        (tmp_path / "empty.jpg", "'empty.jpg' is empty"),
        ([tmp_path / "text.jpg"], "'text.jpg' is of an unknown kind"),
        (raw, "'shot.cr3' is a camera raw file: export it"),
        (tmp_path, "None of the 2 files can be read; for one, 'empty.jpg' is empty"),
        (tmp_path / "folder", "'folder' is a folder without photos or videos"),
        ("../nowhere.jpg", "'nowhere.jpg' does not exist"),
        ("a\0b.jpg", "does not exist"),
        ("x" * 300 + ".jpg", "cannot be opened .file name too long"),
        ("/dev/null", "'null' is not a file"),
    ]
    for paths, message in cases:
        with pytest.raises(InputError, match=message) as caught:
            read(paths)
        assert str(caught.value).endswith(".")
        assert "\n" not in str(caught.value)


def test_forbidden_files_and_folders_are_said():
    user = os.geteuid()
    with tempfile.TemporaryDirectory() as name:  # unlike tmp_path, no parent of it keeps others out
        folder = Path(name)
        folder.chmod(0o755)
        good, forbidden = photo(folder / "good.png"), photo(folder / "forbidden.png", 1)
        closed = photo(folder / "closed" / "a.png").parent
        forbidden.chmod(0)
        closed.chmod(0)
        if user == 0:  # to root nothing is forbidden
            os.seteuid(65534)
        try:
            result = read([closed, good, forbidden])
        finally:
            os.seteuid(user)
            closed.chmod(0o755)
    assert names(result) == ["good.png"]
    assert result.notes == [
        "'closed' and 'forbidden.png' were left out because each cannot be opened (permission denied)."
    ]


def test_numbers_that_make_no_sense_are_refused(tmp_path):
    path = photo(tmp_path / "a.png")
    for settings in [
        {"maximum_views": 0},
        {"frames_per_second": 0},
        {"frames_per_second": -1},
        {"frames_per_video": 0},
    ]:
        with pytest.raises(InputError, match="must be"):
            read(path, **settings)


def test_identical_photos_are_kept_and_said(tmp_path):
    photo(tmp_path / "a.png", 1)
    photo(tmp_path / "b.png", 2)
    (tmp_path / "c.png").write_bytes((tmp_path / "a.png").read_bytes())
    result = read(tmp_path)
    assert names(result) == ["a.png", "b.png", "c.png"]
    assert result.notes == ["'a.png' and 'c.png' are the same picture."]


def test_many_identical_photos_are_one_sentence(tmp_path):
    for number in range(4):
        photo(tmp_path / f"{number}.png", number)
        (tmp_path / f"{number} copy.png").write_bytes((tmp_path / f"{number}.png").read_bytes())
    assert read(tmp_path).notes == ["8 of 8 pictures are among them more than once."]


def test_progress_rises_to_one_and_can_stop_the_reading(tmp_path):
    paths = [photo(tmp_path / f"{i}.png", i) for i in range(5)] + [film(tmp_path / "a.mp4")]
    seen: list[tuple[float, str]] = []
    result = read(paths, progress=lambda share, name: seen.append((share, name)))
    assert [name for _, name in seen] == names(result)
    shares = [share for share, _ in seen]
    assert shares == sorted(shares)
    assert shares[0] > 0
    assert shares[-1] == 1

    class Stopped(Exception):
        pass

    def stop(share: float, name: str) -> None:
        raise Stopped

    with pytest.raises(Stopped):
        read(paths, progress=stop)


def test_several_threads_read_alike(tmp_path):
    paths = [photo(tmp_path / f"{i}.jpg", i, (400, 300)) for i in range(6)] + [film(tmp_path / "a.mp4")]
    expected = read(paths, maximum_side=128)
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: read(paths, maximum_side=128), range(8)))
    for result in results:
        assert names(result) == names(expected)
        assert result.notes == expected.notes
        for view, other in zip(result.views, expected.views, strict=True):
            assert np.array_equal(view.image, other.image)
