"""One picture file to one View."""

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pillow_heif
import pytest
from PIL import Image

from recon import photo
from recon.photo import Unreadable, read

pillow_heif.register_heif_opener()

CORNERS = {"red": (200, 30, 30), "green": (30, 170, 30), "blue": (40, 40, 210), "yellow": (220, 210, 40)}
# EXIF 2.32, tag 274: on which side of the upright picture the stored row 0 and column 0 belong
SIDES = {
    1: ("top", "left"),
    2: ("top", "right"),
    3: ("bottom", "right"),
    4: ("bottom", "left"),
    5: ("left", "top"),
    6: ("right", "top"),
    7: ("right", "bottom"),
    8: ("left", "bottom"),
}


def four_corners(width: int = 96, height: int = 64) -> np.ndarray:
    """Red, green / blue, yellow quarters."""
    red, green, blue, yellow = CORNERS.values()
    picture = np.empty((height, width, 3), np.uint8)
    picture[: height // 2, : width // 2], picture[: height // 2, width // 2 :] = red, green
    picture[height // 2 :, : width // 2], picture[height // 2 :, width // 2 :] = blue, yellow
    return picture


def corners(image: np.ndarray) -> list[str]:
    """Names of the colours at the four corners, reading order."""
    height, width = image.shape[:2]
    names = []
    for y, x in [(8, 8), (8, width - 8), (height - 8, 8), (height - 8, width - 8)]:
        distance = {name: np.abs(image[y, x].astype(int) - colour).max() for name, colour in CORNERS.items()}
        names.append(min(distance, key=lambda name: distance[name]))
    return names


def stored_for(orientation: int, upright: np.ndarray) -> np.ndarray:
    """The pixels a camera would store with this EXIF orientation."""
    row_side, column_side = SIDES[orientation]
    turned = np.swapaxes(upright, 0, 1) if row_side in ("left", "right") else upright
    if row_side in ("bottom", "right"):
        turned = turned[::-1]
    if column_side in ("bottom", "right"):
        turned = turned[:, ::-1]
    return np.ascontiguousarray(turned)


def save(path: Path, picture: np.ndarray | Image.Image, **settings: object) -> Path:
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    image.save(path, **settings)
    return path


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds no pixel."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(b"")
    chunks = [
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in (header, data)
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("a.jpg", {"quality": 95}),
        ("progressive.jpeg", {"quality": 95, "progressive": True}),
        ("a.png", {}),
        ("a.webp", {"quality": 95}),
        ("a.tif", {"compression": "tiff_lzw"}),
        ("a.bmp", {}),
        ("a.gif", {}),
        ("a.heic", {"quality": 95}),
        ("a.avif", {"quality": 95}),
        ("two.mpo", {"format": "MPO", "quality": 95}),
        ("JPEG without a suffix", {"format": "JPEG"}),
    ],
)
def test_every_format_gives_its_picture(tmp_path, name, settings):
    view = read(save(tmp_path / name, four_corners(), **settings), 1600)
    assert view.image.shape == (64, 96, 3)
    assert view.image.dtype == np.uint8
    assert view.image.flags.writeable
    assert corners(view.image) == ["red", "green", "blue", "yellow"]
    assert (view.name, view.path, view.original_size, view.mask) == (name, tmp_path / name, (96, 64), None)


@pytest.mark.parametrize("mode", ["P", "CMYK", "RGBX"])
def test_colour_modes_keep_their_colours(tmp_path, mode):
    suffix = {"P": "png", "CMYK": "jpg"}.get(mode, "tif")
    view = read(save(tmp_path / f"a.{suffix}", Image.fromarray(four_corners()).convert(mode)), 1600)
    assert corners(view.image) == ["red", "green", "blue", "yellow"]
    assert view.mask is None


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_pictures_keep_their_values(tmp_path, suffix):
    ramp = np.broadcast_to(np.arange(256, dtype=np.uint16) * 256 + 77, (64, 256))
    grey, colour = tmp_path / f"grey.{suffix}", tmp_path / f"colour.{suffix}"
    cv2.imwrite(str(grey), ramp)
    cv2.imwrite(str(colour), np.stack([ramp, ramp[::-1], ramp[:, ::-1]], -1))
    assert np.array_equal(read(grey, 1600).image, np.repeat((ramp >> 8).astype(np.uint8)[..., None], 3, -1))
    assert np.array_equal(read(colour, 1600).image[..., 0], (ramp[:, ::-1] >> 8).astype(np.uint8))


def test_floating_point_and_bilevel_pictures(tmp_path):
    ramp = np.tile(np.linspace(0, 1, 64, dtype=np.float32), (64, 1))
    floating = read(save(tmp_path / "a.tif", Image.fromarray(ramp)), 1600)
    assert np.abs(floating.image[..., 1].astype(int) - 255 * ramp).max() <= 1
    bilevel = read(save(tmp_path / "b.png", Image.fromarray(ramp > 0.5)), 1600)
    assert set(np.unique(bilevel.image)) == {0, 255}


def test_a_gif_gives_its_first_frame(tmp_path):
    other = Image.new("RGB", (96, 64), "white")
    path = save(tmp_path / "a.gif", four_corners(), save_all=True, append_images=[other], duration=100)
    assert corners(read(path, 1600).image) == ["red", "green", "blue", "yellow"]


@pytest.mark.parametrize("orientation", SIDES)
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp", "heic", "avif"])
def test_orientation_is_honoured(tmp_path, suffix, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = four_corners(120, 80)
    path = save(tmp_path / f"a.{suffix}", stored_for(orientation, upright), exif=exif.tobytes())
    view = read(path, 60)
    assert view.size == (60, 40)
    assert view.original_size == (120, 80)
    assert corners(view.image) == ["red", "green", "blue", "yellow"]
    assert np.allclose(view.original_from_view, np.diag([2, 2, 1]))


@pytest.mark.parametrize("suffix", ["jpg", "png"])
@pytest.mark.parametrize(
    ("size", "side"), [((1003, 757), 400), ((1003, 757), 1003), ((2003, 1501), 200), ((757, 1003), 333)]
)
def test_original_from_view_is_exact(tmp_path, suffix, size, side):
    """A blob near the far corner, where a wrong scale shows most, is found at its true place in the original."""
    x, y = size[0] - 60.3, size[1] - 70.6
    columns, rows = np.arange(size[0]) + 0.5, np.arange(size[1])[:, None] + 0.5
    blob = 255 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 15**2))
    view = read(save(tmp_path / f"a.{suffix}", blob.astype(np.uint8)), side)
    assert max(view.size) == side
    weight = view.image[..., 0].astype(float) * (view.image[..., 0] > 20)
    columns, rows = np.arange(view.size[0]) + 0.5, np.arange(view.size[1])[:, None] + 0.5
    found = np.array([(weight * columns).sum() / weight.sum(), (weight * rows).sum() / weight.sum(), 1])
    assert np.abs(view.original_from_view @ found - [x, y, 1]).max() < 0.25


def test_small_pictures_are_not_enlarged(tmp_path):
    view = read(save(tmp_path / "a.png", four_corners(48, 40)), 1600)
    assert view.size == (48, 40)
    assert np.array_equal(view.original_from_view, np.eye(3))


def exif_with(**tags: object) -> Image.Exif:
    names = {"equivalent": 0xA405, "length": 0x920A, "density": 0xA20E, "unit": 0xA210, "width": 0xA002}
    exif = Image.Exif()
    exif.get_ifd(0x8769).update({names[name]: value for name, value in tags.items()})
    return exif


@pytest.mark.parametrize("suffix", ["jpg", "heic", "png", "tif"])
def test_focal_length_from_its_35_mm_equivalent(tmp_path, suffix):
    """A 36x24 mm frame of 360x240 pixels has 10 pixels a millimetre."""
    exif = exif_with(equivalent=28, length=4.2)
    path = save(tmp_path / f"a.{suffix}", four_corners(360, 240), exif=exif.tobytes())
    assert read(path, 1600).focal_prior == pytest.approx(280)
    assert read(path, 180).focal_prior == pytest.approx(140)
    exif[0x0112] = 6
    turned = read(save(tmp_path / f"turned.{suffix}", four_corners(360, 240), exif=exif.tobytes()), 180)
    assert turned.size == (120, 180)
    assert turned.focal_prior == pytest.approx(140)


def test_focal_length_from_the_sensor_resolution(tmp_path):
    """50 mm at 200 pixels a centimetre is 1000 pixels of the 720 the camera wrote, hence 500 of the 360 left."""
    exif = exif_with(length=50.0, density=200.0, unit=3, width=720)
    view = read(save(tmp_path / "a.jpg", four_corners(360, 240), exif=exif), 1600)
    assert view.focal_prior == pytest.approx(500)


@pytest.mark.parametrize(
    ("make", "model", "width"),
    [
        ("GoPro", "HERO4 Black", 6.17),
        ("OLYMPUS CORPORATION", "E-M10MarkII", 17.3),
        ("RICOH IMAGING COMPANY, LTD.", "RICOH GR II", 23.5),
        ("Apple", "iPhone 5s", 4.89),
        ("Apple", "iPhone 5", 4.54),
        ("Unheard of", "HERO4 Black", None),
        ("", "E-M1", None),
    ],
)
def test_focal_length_from_the_sensor_of_a_camera_that_is_known(tmp_path, make, model, width):
    exif = exif_with(length=8.0)
    exif[0x010F], exif[0x0110] = make, model
    prior = read(save(tmp_path / "a.jpg", four_corners(360, 240), exif=exif), 180).focal_prior
    assert prior == (None if width is None else pytest.approx(180 * 8 / width))


@pytest.mark.parametrize("tags", [{}, {"equivalent": 0}, {"equivalent": 65535}, {"length": 4.2}, {"equivalent": 1}])
def test_no_focal_length_where_the_tags_do_not_tell(tmp_path, tags):
    assert read(save(tmp_path / "a.jpg", four_corners(), exif=exif_with(**tags)), 1600).focal_prior is None


@pytest.mark.filterwarnings("ignore:Truncated File Read")
def test_damaged_exif_does_not_refuse_the_photo(tmp_path):
    exif = exif_with(equivalent=28).tobytes()
    path = save(tmp_path / "a.jpg", four_corners(), exif=exif[:-9] + b"\xff" * 9)
    assert corners(read(path, 1600).image) == ["red", "green", "blue", "yellow"]


@pytest.mark.parametrize("suffix", ["png", "webp", "tif", "avif", "heic"])
def test_alpha_becomes_the_mask(tmp_path, suffix):
    alpha = np.full((64, 96, 1), 255, np.uint8)
    alpha[:, 48:] = 0
    rgba = np.concatenate([four_corners(), alpha], -1)
    view = read(save(tmp_path / f"a.{suffix}", rgba, **({} if suffix in ("png", "tif") else {"quality": 95})), 1600)
    assert view.mask is not None
    assert np.array_equal(view.mask, alpha[..., 0] > 0)
    assert np.abs(view.image[:, 50:].astype(int) - 255).max() <= 2  # the hidden colours are gone
    assert corners(view.image)[0] == "red"


def test_half_transparent_colours_lie_over_white(tmp_path):
    rgba = np.full((64, 64, 4), (200, 0, 100, 128), np.uint8)
    view = read(save(tmp_path / "a.png", rgba), 32)
    assert view.mask is None
    assert np.abs(view.image.astype(int) - (227, 127, 177)).max() <= 1


def test_mask_is_turned_with_the_picture(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    rgba = np.full((64, 96, 4), 255, np.uint8)
    rgba[:10, :20, 3] = 0  # stored top left is the upright picture's top right
    view = read(save(tmp_path / "a.png", rgba, exif=exif), 1600)
    assert view.mask is not None
    assert view.mask.shape == (96, 64)
    assert not view.mask[:20, -10:].any()
    assert view.mask.sum() == 64 * 96 - 200


def test_palette_and_grey_transparency(tmp_path):
    indexed = Image.fromarray(four_corners()).quantize(4)
    hidden = indexed.getpixel((90, 60))
    for name, picture, key in [("p.png", indexed, hidden), ("l.png", Image.fromarray(four_corners()[..., 0]), 220)]:
        view = read(save(tmp_path / name, picture, transparency=key), 1600)
        assert view.mask is not None
        assert not view.mask[40:, 56:].any()
        assert view.mask[:30, :40].all()


def test_a_wholly_transparent_picture_is_refused(tmp_path):
    with pytest.raises(Unreadable, match="wholly transparent"):
        read(save(tmp_path / "a.png", np.zeros((64, 64, 4), np.uint8)), 1600)


def icc_profile_with_red_and_green_swapped() -> bytes:
    """A matrix profile (ICC.1:2010, 8.3) of linear sRGB with two primaries swapped."""

    def fixed(*values: float) -> bytes:
        return b"".join(struct.pack(">i", round(value * 65536)) for value in values)

    red, green, blue = (0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141)
    name = b"Swapped\0"
    description = b"desc\0\0\0\0" + struct.pack(">I", len(name)) + name + bytes(78)
    curve = b"curv\0\0\0\0" + struct.pack(">IHH", 1, 256, 0)
    tags = {b"desc": description + bytes(-len(description) % 4), b"cprt": b"text\0\0\0\0none\0\0\0\0"}
    tags |= {b"wtpt": b"XYZ \0\0\0\0" + fixed(0.9642, 1.0, 0.8249)}
    tags |= {tag: b"XYZ \0\0\0\0" + fixed(*v) for tag, v in ((b"rXYZ", green), (b"gXYZ", red), (b"bXYZ", blue))}
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    table, body, start = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for tag, content in tags.items():
        table += tag + struct.pack(">II", start + len(body), len(content))
        body += content
    header = struct.pack(">I4sI4s4s4s12s4s", start + len(body), bytes(4), 0x02400000, b"mntr", b"RGB ", b"XYZ ",
                         bytes(12), b"acsp")  # fmt: skip
    header += bytes(68 - len(header)) + fixed(0.9642, 1.0, 0.8249)
    return header + bytes(128 - len(header)) + table + body


def test_colours_are_read_by_their_profile(tmp_path):
    pure = np.zeros((64, 64, 3), np.uint8)
    pure[..., 0] = 255
    plain = read(save(tmp_path / "plain.png", pure), 1600)
    managed = read(save(tmp_path / "a.png", pure, icc_profile=icc_profile_with_red_and_green_swapped()), 1600)
    broken = read(save(tmp_path / "broken.png", pure, icc_profile=b"not a profile at all"), 1600)
    assert plain.image[5, 5].tolist() == broken.image[5, 5].tolist() == [255, 0, 0]
    assert np.abs(managed.image[5, 5].astype(int) - (0, 255, 0)).max() <= 3


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_bad_files_end_in_one_sentence(tmp_path):
    jpeg = io.BytesIO()
    Image.fromarray(four_corners(400, 300)).save(jpeg, "JPEG", quality=95)
    heic = save(tmp_path / "whole.heic", four_corners(400, 300)).read_bytes()
    contents = {
        "text.jpg": (b"Dear diary, today I went to the sea.\n" * 20, "of an unknown kind"),
        "cut.jpg": (jpeg.getvalue()[: len(jpeg.getvalue()) // 2], "damaged or cut off"),
        "stub.jpg": (jpeg.getvalue()[:200], "unknown kind|damaged or cut off"),
        "cut.heic": (heic[: len(heic) // 2], "unknown kind|damaged or cut off"),
        "tiny.png": (png_header(1, 1), "1x1 pixels.*at least 32x32"),
        "huge.png": (png_header(20_000, 20_000), "20000x20000 pixels.*200 megapixels"),
        "beyond.png": (png_header(60_000, 60_000), "too many pixels.*200 megapixels"),
        "strip.png": (png_header(1000, 100), "1000x100 pixels, too long a strip.*5 times"),
        "drawing.svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "of an unknown kind"),
        "page.eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n", "of an unknown kind"),
        "shot.nef": (b"II*\0 whatever", "camera raw file"),
    }
    for name, (content, message) in contents.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(Unreadable, match=message) as caught:
            read(tmp_path / name, 1600)
        sentence = str(caught.value)
        assert sentence.startswith(f"'{name}' ")
        assert sentence.endswith(".")
        assert "\n" not in sentence
        assert len(sentence) < 200


def test_limits_leave_ordinary_pictures_alone(tmp_path):
    for size in [(32, 32), (160, 32), (100, 500)]:
        assert read(save(tmp_path / "a.png", Image.new("RGB", size, "teal")), 1600).size == size
    photo.check_size("the largest phone cameras", (16320, 12240))
