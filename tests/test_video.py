"""One video file to Views."""

import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from recon import media, video
from recon.errors import InputError
from recon.media import Media
from recon.photo import Unreadable
from recon.scene import View

WIDTH, HEIGHT = 160, 96
CONTAINERS = [("mp4", "mp4v"), ("mov", "mp4v"), ("avi", "MJPG"), ("mkv", "mp4v"), ("webm", "VP80"), ("webm", "VP90")]


def texture(width: int, height: int, seed: int = 0) -> np.ndarray:
    """Blobs of a few pixels, in colour."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // 6 + 1, width // 6 + 1, 3)).astype(np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def pan(frames: int, step: int = 4) -> Iterator[np.ndarray]:
    """A camera that moves right over a texture, ``step`` pixels a frame."""
    wall = texture(WIDTH + step * frames, HEIGHT)
    for i in range(frames):
        yield wall[:, i * step : i * step + WIDTH]


def numbered(frames: int) -> Iterator[np.ndarray]:
    """Frames whose eight columns are the bits of their number, dark or bright, over a faint texture."""
    for i in range(frames):
        bits = np.array([40 + 160 * (i >> k & 1) for k in range(8)], np.uint8)
        yield np.repeat(np.tile(np.repeat(bits, WIDTH // 8), (HEIGHT, 1))[..., None], 3, -1)


def number_of(image: np.ndarray) -> int:
    """Read `numbered` back."""
    columns = (np.arange(8) + 0.5) * image.shape[1] / 8
    return sum(int(image[image.shape[0] // 2, int(x), 0] > 120) << k for k, x in enumerate(columns))


def write(path: Path, frames: Iterable[np.ndarray], rate: float = 30, codec: str = "mp4v") -> Path:
    size = (WIDTH, HEIGHT)
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), rate, size)
    assert writer.isOpened()
    for frame in frames:
        writer.write(np.ascontiguousarray(frame))
    writer.release()
    return path


def with_index_first(content: bytes) -> bytes:
    """An mp4 with its index moved before its data, as it is made for the web, so that a cut one can be played."""
    boxes, start = {}, 0
    while start < len(content):
        length, kind = struct.unpack(">I4s", content[start : start + 8])
        boxes[kind] = content[start : start + length]
        start += length
    index = bytearray(boxes[b"moov"])
    table = index.index(b"stco") + 8
    (count,) = struct.unpack(">I", index[table : table + 4])
    for at in range(table + 4, table + 4 + 4 * count, 4):
        index[at : at + 4] = struct.pack(">I", struct.unpack(">I", index[at : at + 4])[0] + len(index))
    rest = b"".join(box for kind, box in boxes.items() if kind not in (b"ftyp", b"moov"))
    return boxes[b"ftyp"] + bytes(index) + rest


def with_rotation(content: bytes, degrees: int) -> bytes:
    """An mp4 whose track header asks the player to turn it clockwise (ISO 14496-12, 8.3.2)."""
    a, b = {0: (1, 0), 90: (0, 1), 180: (-1, 0), 270: (0, -1)}[degrees]
    at = content.index(b"tkhd") + 4 + 40
    matrix = struct.pack(">9i", a << 16, b << 16, 0, -b << 16, a << 16, 0, 0, 0, 1 << 30)
    return content[:at] + matrix + content[at + 36 :]


def with_pixel_aspect(content: bytes, width: int, height: int) -> bytes:
    """An mp4 whose pixels are to be shown ``width`` by ``height`` (ISO 14496-12, 12.1.4)."""
    box = struct.pack(">I4sII", 16, b"pasp", width, height)
    changed, at = bytearray(content), 0
    for kind in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"mp4v"):
        at = content.index(kind, at)
        (length,) = struct.unpack(">I", content[at - 4 : at])
        changed[at - 4 : at] = struct.pack(">I", length + len(box))
    end = at - 4 + length
    return bytes(changed[:end]) + box + bytes(changed[end:])


def sampled(path: Path, frames: int | None = None, **settings: float) -> Media:
    return media.read(path, frames_per_video=frames, **settings)


@pytest.mark.parametrize(("suffix", "codec"), CONTAINERS)
def test_every_container_gives_its_frames_at_their_times(tmp_path, suffix, codec):
    path = write(tmp_path / f"a.{suffix}", numbered(60), codec=codec)
    views = sampled(path, 12).views
    assert len(views) == 12
    for view in views:
        assert view.time is not None
        assert number_of(view.image) == round(view.time * 30)
        assert view.name == f"a.{suffix} at {view.time:.2f} s"
        assert (view.path, view.size, view.original_size) == (path, (WIDTH, HEIGHT), (WIDTH, HEIGHT))
    assert np.all(np.abs([view.time - (i + 0.5) / 6 for i, view in enumerate(views)]) < 0.1)


def test_rates_and_numbers_of_frames(tmp_path):
    path = write(tmp_path / "a.mp4", pan(90))
    assert len(sampled(path, frames_per_second=4).views) == 12
    assert len(sampled(path, frames_per_second=1000).views) == 90
    assert len(sampled(path, 5).views) == 5
    assert len(sampled(path).views) == video.DEFAULT_MINIMUM
    limited = sampled(path, frames_per_second=10, maximum_views=3)
    assert len(limited.views) == 3
    assert "Of 30 video frames, 3 were taken" in limited.notes[0]


def test_long_videos_are_limited_and_sought_through(tmp_path):
    """Between samples far apart the reader seeks; it must still find the frames it says it found."""
    path = write(tmp_path / "a.mp4", numbered(250), rate=2)
    views = sampled(path).views
    assert len(views) == video.DEFAULT_MAXIMUM
    few = sampled(path, 5).views
    assert [number_of(view.image) for view in few] == [round(view.time * 2) for view in few]
    assert np.allclose([view.time for view in few], [12.5, 37.5, 62.5, 87.5, 112.5], atol=0.5)


def test_the_sharpest_frame_near_each_time_is_taken(tmp_path):
    sharp = {4, 14, 24, 34, 44, 54}
    frames = [f if i in sharp else cv2.GaussianBlur(f, (0, 0), 2.5) for i, f in enumerate(pan(60))]
    views = sampled(write(tmp_path / "a.mp4", frames), 6).views
    assert {round(view.time * 30) for view in views} == sharp


def test_near_duplicates_are_skipped_and_said(tmp_path):
    moving = list(pan(60))
    noise = np.random.default_rng(0).normal(0, 3, (60, HEIGHT, WIDTH, 3))
    resting = [np.clip(moving[29] + n, 0, 255).astype(np.uint8) for n in noise]
    read = sampled(write(tmp_path / "a.mp4", moving[:30] + resting + moving[30:]), 12)
    times = np.array([view.time for view in read.views])
    assert len(times) == 7  # three before, one at rest, three after
    assert ((times > 1.05) & (times < 2.95)).sum() == 1
    assert any("5 of 12 samples of 'a.mp4' hardly differ" in note for note in read.notes)


def test_a_slow_dark_pan_is_not_taken_for_a_rest(tmp_path):
    frames = [f // 8 for f in pan(60, step=2)]
    assert len(sampled(write(tmp_path / "a.avi", frames, codec="MJPG"), 12).views) == 12


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_rotation_metadata_is_honoured(tmp_path, degrees):
    upright = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    upright[:30, :50] = 255  # a mark in the stored picture's top left corner
    path = write(tmp_path / "a.mp4", [upright] * 10)
    path.write_bytes(with_rotation(path.read_bytes(), degrees))
    view = sampled(path, maximum_side=80).views[0]
    expected = np.rot90(upright, -degrees // 90)
    assert view.original_size == expected.shape[1::-1]
    assert view.size == (view.original_size[0] // 2, view.original_size[1] // 2)
    assert np.abs(view.image.astype(int) - expected[::2, ::2]).mean() < 8
    assert np.allclose(view.original_from_view, np.diag([2, 2, 1]))


def test_pixels_that_are_not_square_are_made_so(tmp_path):
    """Shown twice as wide as stored: the view is that wide, and its map leads back to the stored pixels."""
    path = write(tmp_path / "a.mp4", pan(10))
    path.write_bytes(with_pixel_aspect(path.read_bytes(), 2, 1))
    view = sampled(path, maximum_side=WIDTH).views[0]
    assert view.size == (WIDTH, HEIGHT // 2)
    assert view.original_size == (WIDTH, HEIGHT)
    assert np.allclose(view.original_from_view, np.diag([1, 2, 1]))


@pytest.mark.parametrize(("suffix", "codec"), CONTAINERS)
def test_what_decodes_of_a_cut_video_is_used_and_said(tmp_path, suffix, codec):
    path = write(tmp_path / f"a.{suffix}", pan(120), codec=codec)
    content = path.read_bytes()
    content = with_index_first(content) if suffix in ("mp4", "mov") else content
    path.write_bytes(content[: int(0.6 * len(content))])
    read = sampled(path)
    assert len(read.views) == video.DEFAULT_MINIMUM
    assert 1.5 < read.views[-1].time < 3.5
    assert any("breaks off after" in note and "of 4.0 s" in note for note in read.notes)


def test_a_damaged_stretch_is_stepped_over(tmp_path):
    path = write(tmp_path / "a.webm", numbered(120), codec="VP80")
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 300] = np.random.default_rng(0).bytes(300)
    path.write_bytes(content)
    times = [view.time for view in sampled(path, 12).views]
    assert times[0] < 0.5
    assert times[-1] > 3.5


def test_a_recording_that_does_not_say_its_length(tmp_path):
    """Browsers record webm without a duration; here that element is made a void (RFC 8794, 11.3.2)."""
    path = write(tmp_path / "a.webm", numbered(60), codec="VP80")
    content = path.read_bytes()
    at = content.index(b"\x44\x89\x88")
    path.write_bytes(content[:at] + b"\xec\x89" + bytes(9) + content[at + 11 :])
    views = sampled(path, 6).views
    assert [number_of(view.image) for view in views] == [round(view.time * 30) for view in views]
    assert len(views) == 6
    assert not any("breaks off" in note for note in sampled(path, 6).notes)


def test_videos_that_give_nothing_end_in_one_sentence(tmp_path):
    whole = write(tmp_path / "whole.mp4", pan(30)).read_bytes()
    stream = write(tmp_path / "whole.mkv", pan(30)).read_bytes()
    contents = {
        "index missing.mp4": (whole[: len(whole) // 2], "is a video that cannot be opened"),
        "no frames.mkv": (stream[: stream.index(b"\x1f\x43\xb6\x75")], "without frames|cannot be opened"),
        "playlist.mp4": (b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n", "of an unknown kind"),
        "list.mkv": (b"ffconcat version 1.0\nfile 'whole.mp4'\n", "of an unknown kind"),
    }
    for name, (content, message) in contents.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=message) as caught:
            media.read(tmp_path / name)
        assert str(caught.value).startswith(f"'{name}' ")
        assert "\n" not in str(caught.value)


def test_tiny_frames_are_refused(tmp_path):
    small = tmp_path / "a.avi"
    writer = cv2.VideoWriter(str(small), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"MJPG"), 30, (16, 16))
    for _ in range(5):
        writer.write(np.zeros((16, 16, 3), np.uint8))
    writer.release()
    with pytest.raises(Unreadable, match=r"16x16 pixels.*at least 32x32"):
        video.probe(small)


@pytest.mark.parametrize("name", ["-i.mp4", "http:a.mp4", "frame%03d.mp4", "été 日本.mp4", "a b'c.mp4"])
def test_names_that_a_decoder_could_misread(tmp_path, monkeypatch, name):
    write(tmp_path / "plain.mp4", pan(10)).rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    views: list[View] = media.read(name).views
    assert views
    assert views[0].name.startswith(f"{name} at ")
