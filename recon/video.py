"""One video file to Views: the sharpest frame near each sample time, near-duplicates skipped."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from recon.geometry import resize_transform
from recon.photo import Unreadable, check_size, reduced_size, shown_name
from recon.scene import View

SUFFIXES = frozenset({".mp4", ".mov", ".m4v", ".webm", ".avi", ".mkv", ".3gp"})
DEFAULT_RATE = 2.0  # samples a second
DEFAULT_MINIMUM, DEFAULT_MAXIMUM = 8, 32  # samples a video, where the caller does not say
REACH = 0.15  # seconds to both sides of a sample time in which the sharpest frame is sought
PATIENCE = 100  # frames in a row that may fail before the video counts as ended: damaged packets fail one by one
SEEK = 4.0  # seconds without a sample that are skipped by a seek; decoding through shorter gaps is as quick, and surer

UNOPENED = "is a video that cannot be opened: it is cut off, damaged, or has no picture"
NO_FRAMES = "is a video without frames that can be decoded: record or copy it again"

# FFmpeg and OpenCV would report every flaw of a damaged file on the user's terminal.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


@dataclass(frozen=True)
class Clip:
    """A video that has frames.

    Attributes:
        path: the file.
        name: as the user knows it.
        duration: seconds that can be decoded.
        claimed: seconds that the file claims to have; more than ``duration`` where it is cut off.
        rate: frames per second.
        pixel_aspect: width of a pixel by its height, as the video wants to be shown.
    """

    path: Path
    name: str
    duration: float
    claimed: float
    rate: float
    pixel_aspect: float

    def samples(self, frames_per_second: float | None, frames: int | None) -> int:
        """How many frames to take: ``frames``, or at a rate, or, where both are None, as many as usually serve."""
        if frames is not None:
            wanted = frames
        elif frames_per_second is not None:
            wanted = round(self.duration * frames_per_second)
        else:
            wanted = min(max(round(self.duration * DEFAULT_RATE), DEFAULT_MINIMUM), DEFAULT_MAXIMUM)
        return max(1, min(wanted, round(self.duration * self.rate)))


def probe(path: Path) -> Clip:
    """Open a video, decode its first frame and look whether its end is there.

    Raises:
        Unreadable: it cannot be opened, has no frames, or its frames are outside the limits of `check_size`.
    """
    name = shown_name(path)
    with _opened(path) as capture:
        if not capture.isOpened():
            raise Unreadable(name, UNOPENED)
        if not _grab(capture):
            raise Unreadable(name, NO_FRAMES)
        check_size(name, (int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))))
        count, rate = capture.get(cv2.CAP_PROP_FRAME_COUNT), _rate(capture)
        claimed = count / rate if 1 <= count < 1e8 else 0.0  # a recording made for streaming does not say
        pixel_aspect = _pixel_aspect(capture)
        tolerance = max(0.5, 0.03 * claimed)  # sound may outlast the picture
        capture.set(cv2.CAP_PROP_POS_MSEC, 1000 * max(0.0, claimed - tolerance))
        complete = claimed > 0 and _grab(capture) and _time(capture) > claimed - 2 * tolerance
    if complete:
        return Clip(path, name, claimed, claimed, rate, pixel_aspect)
    count, last = _scan(path)
    rate = (count - 1) / last if last > 0 else rate
    if claimed - last - 1 / rate > tolerance:
        return Clip(path, name, max(last, 1 / rate), claimed, rate, pixel_aspect)  # without the frame that broke off
    return Clip(path, name, last + 1 / rate, last + 1 / rate, rate, pixel_aspect)


def sample(clip: Clip, count: int, maximum_side: int, notes: list[str]) -> Iterator[View]:
    """Yield at most ``count`` frames spread evenly over a video, in order.

    Args:
        clip: as `probe` gave it.
        count: the number of sample times; near-duplicates make the frames fewer.
        maximum_side: frames are reduced to this many pixels on their long side.
        notes: receives sentences for the user, at the end.

    Raises:
        Unreadable: after all, none could be decoded.
    """
    kept = repeated = 0
    last: np.ndarray | None = None
    for time, frame in _sharpest(clip, count):
        grey = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
        thumbnail = cv2.resize(grey, (48, 32), interpolation=cv2.INTER_AREA).astype(np.float32)
        if last is not None and _same(thumbnail, last):
            repeated += 1
            continue
        last, kept = thumbnail, kept + 1
        yield _view(clip, time, frame, maximum_side)
    if kept == 0:
        raise Unreadable(clip.name, NO_FRAMES)
    frames = "1 frame was" if kept == 1 else f"{kept} frames were"
    notes.append(f"From '{clip.name}' ({clip.duration:.1f} s) {frames} taken, the sharpest near each sample time.")
    if repeated:
        notes.append(
            f"{repeated} of {count} samples of '{clip.name}' hardly differ from the one before and were skipped."
        )
    if clip.duration < clip.claimed:
        notes.append(
            f"'{clip.name}' breaks off after {clip.duration:.1f} of {clip.claimed:.1f} s; what can be decoded is used."
        )


def frames(path: Path, maximum_side: int = 1600, frames_per_second: float | None = None) -> Iterator[View]:
    """Yield the frames of a video as they are decoded, in order; nothing is looked at before.

    Args:
        path: the file.
        maximum_side: frames are reduced to this many pixels on their long side.
        frames_per_second: take at most so many; None for all.

    Raises:
        Unreadable: it cannot be opened, has no frames, or they are outside the limits of `check_size`; or, after the
            last one, that it breaks off.
    """
    name = shown_name(path)
    last, due = -1.0, 0.0
    with _opened(path) as capture:
        if not capture.isOpened():
            raise Unreadable(name, UNOPENED)
        check_size(name, (int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))))
        count, rate = capture.get(cv2.CAP_PROP_FRAME_COUNT), _rate(capture)
        claimed = count / rate if 1 <= count < 1e8 else 0.0
        clip = Clip(path, name, claimed, claimed, rate, _pixel_aspect(capture))
        while _grab(capture):
            time = _time(capture)
            if time < due - 0.5 / rate:
                continue
            found, frame = capture.retrieve()
            if not found:
                continue
            if frames_per_second is not None:
                due = (math.floor(time * frames_per_second + 1e-6) + 1) / frames_per_second
            last = time
            yield _view(clip, time, frame, maximum_side)
        ended = _time(capture)
    if last < 0:
        raise Unreadable(name, NO_FRAMES)
    if claimed - max(last, ended) > max(0.5, 0.03 * claimed):  # sound may outlast the picture
        raise Unreadable(name, f"breaks off after {max(last, ended):.1f} of {claimed:.1f} s")


@contextmanager
def _opened(path: Path) -> Iterator[cv2.VideoCapture]:
    # An absolute path cannot be taken for an address or a pattern; OpenCV turns the frames upright by itself.
    capture = cv2.VideoCapture(str(path.absolute()), cv2.CAP_FFMPEG)
    try:
        yield capture
    except cv2.error as error:
        raise Unreadable(shown_name(path), NO_FRAMES) from error
    finally:
        capture.release()


def _grab(capture: cv2.VideoCapture) -> bool:
    return any(capture.grab() for _ in range(PATIENCE))


def _time(capture: cv2.VideoCapture) -> float:
    return float(capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000


def _rate(capture: cv2.VideoCapture) -> float:
    rate = capture.get(cv2.CAP_PROP_FPS)
    return rate if math.isfinite(rate) and 0 < rate <= 1000 else 30.0


def _pixel_aspect(capture: cv2.VideoCapture) -> float:
    width, height = capture.get(cv2.CAP_PROP_SAR_NUM), capture.get(cv2.CAP_PROP_SAR_DEN)
    if not (width > 0 and height > 0 and 0.2 < width / height < 5):
        return 1.0
    turned = round(capture.get(cv2.CAP_PROP_ORIENTATION_META)) % 180 == 90
    return height / width if turned else width / height


def _scan(path: Path) -> tuple[int, float]:
    """Number of frames and time of the last, by decoding them all."""
    with _opened(path) as capture:
        count, last = 0, 0.0
        while _grab(capture):
            count, last = count + 1, _time(capture)
    return count, last


def _sharpest(clip: Clip, count: int) -> Iterator[tuple[float, np.ndarray]]:
    """Time and BGR pixels of the sharpest frame near each of ``count`` times, the middles of as many equal parts.

    Where no frame is near, the next one of that part stands in; a part without frames (a damaged stretch) gives none.
    """
    spacing, half_frame = clip.duration / count, 0.5 / clip.rate
    reach = max(min(REACH, 0.4 * spacing), 1.01 * half_frame)
    with _opened(clip.path) as capture:
        middle, pending = 0.0, False  # middle of the time for which the last frame is shown; whether it is yet unused
        for wanted in (np.arange(count) + 0.5) * spacing:
            if wanted - reach - middle > SEEK:
                capture.set(cv2.CAP_PROP_POS_MSEC, 1000 * (wanted - reach - half_frame))
                pending = False
            best: tuple[float, float, np.ndarray] | None = None
            while pending or _grab(capture):
                middle, pending = _time(capture) + half_frame, True
                if middle > wanted + (reach if best is not None else max(reach, spacing / 2)):
                    break
                pending = False
                if middle >= wanted - reach:
                    found, frame = capture.retrieve()
                    sharpness = _sharpness(frame) if found else 0.0
                    if found and (best is None or sharpness > best[0]):
                        best = sharpness, middle - half_frame, frame
            if best is not None:
                yield best[1:]


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two grey thumbnails differ by less than a shift of about half a percent of the width makes them."""
    return float(np.abs(one - other).mean()) < max(0.5, 0.07 * float(one.std()))


def _sharpness(frame: np.ndarray) -> float:
    """Mean squared Laplacian at about 480 pixels across: motion blur and defocus lower it."""
    height, width = frame.shape[:2]
    scale = min(1.0, 480 / max(height, width))
    small = cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else frame
    grey = cv2.cvtColor(small, cv2.COLOR_BGR2GRAY)
    return float(np.square(cv2.Laplacian(grey, cv2.CV_32F)).mean())


def _view(clip: Clip, time: float, frame: np.ndarray, maximum_side: int) -> View:
    stored = frame.shape[1], frame.shape[0]
    size = reduced_size((round(stored[0] * clip.pixel_aspect), stored[1]), maximum_side)
    small = frame if size == stored else cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
    return View(
        image=cv2.cvtColor(small, cv2.COLOR_BGR2RGB),
        name=f"{clip.name} at {time:.2f} s",
        path=clip.path,
        original_size=stored,
        original_from_view=resize_transform(size, stored),
        time=time,
    )
