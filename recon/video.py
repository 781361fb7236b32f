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
REACH = 0.2  # seconds to both sides of a sample time in which the sharpest frame is sought
SEEK = 4.0  # seconds without a sample that are skipped by a seek; decoding through shorter gaps is as quick, and surer
SAME = 1.5  # mean difference in grey levels under which two frames count as one

# FFmpeg and OpenCV would report every flaw of a damaged file on the user's terminal.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")


@dataclass(frozen=True)
class Clip:
    """A video that has frames.

    Attributes:
        path: the file.
        name: as the user knows it.
        duration: seconds, as the file claims; a damaged file may hold less.
        rate: its frames per second.
    """

    path: Path
    name: str
    duration: float
    rate: float

    def samples(self, frames_per_second: float | None) -> int:
        """How many frames to take at a rate, or, for None, as many as usually serve."""
        if frames_per_second is None:
            wanted = min(max(round(self.duration * DEFAULT_RATE), DEFAULT_MINIMUM), DEFAULT_MAXIMUM)
        else:
            wanted = round(self.duration * frames_per_second)
        return max(1, min(wanted, round(self.duration * self.rate)))


def probe(path: Path) -> Clip:
    """Open a video and decode its first frame.

    Raises:
        Unreadable: it cannot be opened, has no frames, or its frames are outside the limits of `check_size`.
    """
    name = shown_name(path)
    with _opened(path) as capture:
        if not capture.isOpened():
            raise Unreadable(name, "is a video that cannot be opened: it is damaged, cut off, or without a picture")
        found, frame = capture.read()
        if not found:
            raise Unreadable(name, "is a video without frames")
        check_size(name, (frame.shape[1], frame.shape[0]))
        count, rate = capture.get(cv2.CAP_PROP_FRAME_COUNT), capture.get(cv2.CAP_PROP_FPS)
        rate = rate if math.isfinite(rate) and 0 < rate <= 1000 else 30.0
        if 1 <= count < 1e7:
            return Clip(path, name, count / rate, rate)
        # A recording made for streaming does not say how long it is.
        count = 1
        while capture.grab():
            count += 1
        duration = max(_time(capture) + 1 / rate, 1 / rate)
        return Clip(path, name, duration, count / duration)


def sample(clip: Clip, count: int, maximum_side: int, notes: list[str]) -> Iterator[View]:
    """Yield at most ``count`` frames spread evenly over a video, in order.

    Args:
        clip: as `probe` gave it.
        count: the number of sample times; near-duplicates make the frames fewer.
        maximum_side: frames are reduced to this many pixels on their long side.
        notes: receives sentences for the user, at the end.
    """
    duration, repeated, kept = clip.duration, 0, 0
    last: np.ndarray | None = None
    end = 0.0
    spacing = duration / count
    times = [(i + 0.5) * spacing for i in range(count)]
    for time, frame in _sharpest(clip.path, times, min(REACH, 0.4 * spacing)):
        end = time
        thumbnail = cv2.resize(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY), (96, 64), interpolation=cv2.INTER_AREA)
        if last is not None and np.abs(thumbnail.astype(np.float32) - last).mean() < SAME:
            repeated += 1
            continue
        last, kept = thumbnail.astype(np.float32), kept + 1
        yield _view(clip, time, frame, maximum_side)
    notes.append(f"From '{clip.name}' ({duration:.1f} s), {kept} frames were taken, the sharpest near each moment.")
    if repeated:
        notes.append(f"{repeated} more frames of '{clip.name}' hardly differ from the one before and were skipped.")
    if end < 0.9 * times[-1] - 0.5:
        notes.append(f"'{clip.name}' breaks off after {end:.1f} of {duration:.1f} s; what can be decoded is used.")


@contextmanager
def _opened(path: Path) -> Iterator[cv2.VideoCapture]:
    # An absolute path cannot be taken for an address or a pattern; OpenCV turns the frames upright by itself.
    capture = cv2.VideoCapture(str(path.absolute()), cv2.CAP_FFMPEG)
    try:
        yield capture
    finally:
        capture.release()


def _time(capture: cv2.VideoCapture) -> float:
    return float(capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000


def _sharpest(path: Path, times: list[float], reach: float) -> Iterator[tuple[float, np.ndarray]]:
    """For each of ``times``, the time and BGR pixels of the sharpest frame within ``reach``, else of the next one."""
    with _opened(path) as capture:
        now, grabbed = 0.0, False
        for wanted in times:
            if wanted - reach - now > SEEK:
                capture.set(cv2.CAP_PROP_POS_MSEC, 1000 * (wanted - reach))
                grabbed = False
            best: tuple[float, float, np.ndarray] | None = None
            while best is None or now <= wanted + reach:
                if not grabbed and not capture.grab():
                    break
                grabbed, now = True, _time(capture)
                if best is not None and now > wanted + reach:
                    break
                if now >= wanted - reach:
                    found, frame = capture.retrieve()
                    sharpness = _sharpness(frame) if found else -1.0
                    if found and (best is None or sharpness > best[0]):
                        best = sharpness, now, frame
                grabbed = False
            if best is None:
                return
            yield best[1:]


def _sharpness(frame: np.ndarray) -> float:
    """Mean squared Laplacian at about 480 pixels across: motion blur and defocus lower it."""
    height, width = frame.shape[:2]
    scale = min(1.0, 480 / max(height, width))
    small = cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else frame
    grey = cv2.cvtColor(small, cv2.COLOR_BGR2GRAY)
    return float(np.square(cv2.Laplacian(grey, cv2.CV_32F)).mean())


def _view(clip: Clip, time: float, frame: np.ndarray, maximum_side: int) -> View:
    stored = frame.shape[1], frame.shape[0]
    size = reduced_size(stored, maximum_side)
    small = frame if size == stored else cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
    return View(
        image=cv2.cvtColor(small, cv2.COLOR_BGR2RGB),
        name=f"{clip.name} at {time:.2f} s",
        path=clip.path,
        original_size=stored,
        original_from_view=resize_transform(size, stored),
        time=time,
    )
