"""What a training run leaves to read: one JSON object a line, and the same as curves for TensorBoard."""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from recon.errors import InputError


class Journal:
    """``log.jsonl``, ``tensorboard/`` and the last picture, in a folder. Use it with ``with``.

    Raises:
        InputError: TensorBoard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise InputError("Training writes its curves for TensorBoard: pip install 'parallax-3d[train]'.") from error
        self.folder = folder
        self._lines = (folder / "log.jsonl").open("a", encoding="utf-8")
        self._curves = SummaryWriter(str(folder / "tensorboard"))

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lines.close()
        self._curves.close()

    def write(self, group: str, step: int, values: dict[str, float]) -> None:
        """Add a line, and a point to the curve of each value."""
        rounded = {name: float(f"{value:.6g}") for name, value in values.items()}
        self._lines.write(json.dumps({"step": step, "kind": group, **rounded}) + "\n")
        self._lines.flush()
        for name, value in values.items():
            self._curves.add_scalar(f"{group}/{name}", value, step)
        self._curves.flush()

    def show(self, name: str, step: int, image: np.ndarray) -> None:
        """Add a picture ``[H,W,3] uint8``, and leave it as a file too."""
        self._curves.add_image(name, image, step, dataformats="HWC")
        cv2.imencode(".png", image[..., ::-1])[1].tofile(self.folder / f"{name}.png")


class Means:
    """Running means of numbers that stay on the device until they are asked for.

    Steps may tell of different parts; each is averaged over the steps that told of it.
    """

    def __init__(self) -> None:
        self._sums: dict[tuple[str, ...], tuple[Tensor, int]] = {}

    def add(self, parts: dict[str, Tensor]) -> None:
        """Of one step."""
        names = tuple(parts)
        values = torch.stack([part.float() for part in parts.values()]).nan_to_num(0.0, 0.0, 0.0)
        total, count = self._sums.get(names, (torch.zeros_like(values), 0))
        self._sums[names] = (total + values, count + 1)

    def take(self) -> dict[str, float]:
        """The means since the last call; waits for the device."""
        totals: dict[str, Any] = {}
        for names, (total, count) in self._sums.items():
            for name, value in zip(names, total.tolist(), strict=True):
                before, steps = totals.get(name, (0.0, 0))
                totals[name] = (before + value, steps + count)
        self._sums = {}
        return {name: value / steps for name, (value, steps) in totals.items()}


class Clock:
    """Seconds that a run has taken, over all its calls."""

    def __init__(self, before: float) -> None:
        self._start = time.monotonic() - before

    def __call__(self) -> float:
        """Now."""
        return time.monotonic() - self._start
