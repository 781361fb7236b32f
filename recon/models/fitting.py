"""Pictures to the size of a network's input, to the pixel as VGGT's own preprocessing makes them.

Sizes are multiples of `PATCH` (rounded to the nearest, ties to even), pictures are resized by Pillow's bicubic filter
on 8-bit values, and what is padded stays known: `Fitted.content` is the part of the input that shows the picture, and
`Fitted.original_from_processed` takes its pixels back. Pixel centres lie at +0.5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from recon.models.base import Fit
from recon.scene import Camera, Frame, View

PATCH = 14
SIDE = 518  # of the published network's input


@dataclass(frozen=True)
class Fitted:
    """A picture as a network is given it.

    Attributes:
        image: ``[H,W,3] uint8``.
        original_from_processed: ``[3,3] float64``, pixels of ``image`` to pixels of the picture it was made from.
        content: ``(left, top, right, bottom)`` in pixels of ``image``: where it shows the picture and no padding.
    """

    image: np.ndarray
    original_from_processed: np.ndarray
    content: tuple[float, float, float, float]

    @property
    def size(self) -> tuple[int, int]:
        """``(width, height)`` of ``image``."""
        return self.image.shape[1], self.image.shape[0]


def on_white(image: np.ndarray) -> np.ndarray:
    """``[H,W,4] uint8`` (RGBA) over white as ``[H,W,3]``; ``[H,W,3]`` is returned as it is."""
    if image.shape[2] == 3:
        return image
    picture = Image.fromarray(image)
    return np.asarray(Image.alpha_composite(Image.new("RGBA", picture.size, (255,) * 4), picture).convert("RGB"))


def crop(image: np.ndarray, side: int = SIDE) -> Fitted:
    """``image [H,W,3] uint8`` (or RGBA) at width ``side``; what is then higher than ``side`` loses top and bottom."""
    width, height = scaled_size(image.shape[1], image.shape[0], "crop", side)
    shown = min(height, side)
    start = (height - shown) // 2
    resized = _resized(image, (width, height))[start : start + shown]
    back = original_from_part((image.shape[1], image.shape[0]), (width, height), (0, start))
    return Fitted(np.ascontiguousarray(resized), back, (0, 0, width, shown))


def pad(image: np.ndarray, side: int = SIDE) -> Fitted:
    """``image [H,W,3] uint8`` (or RGBA) with ``side`` pixels on its long side, white to a square of ``side``."""
    size = scaled_size(image.shape[1], image.shape[0], "pad", side)
    back = original_from_part((image.shape[1], image.shape[0]), size)
    return _padded(Fitted(_resized(image, size), back, (0, 0, *size)), (side, side))


def square(image: np.ndarray, side: int = 1024) -> Fitted:
    """``image [H,W,3] uint8`` (or RGBA) padded with black to a square, then resized: ``content`` may end within pixels.

    So pictures reach VGGT for COLMAP export.
    """
    image = on_white(image)
    height, width = image.shape[:2]
    largest = max(width, height)
    left, top = (largest - width) // 2, (largest - height) // 2
    canvas = np.zeros((largest, largest, 3), np.uint8)
    canvas[top : top + height, left : left + width] = image
    scale = side / largest
    return Fitted(
        _resized(canvas, (side, side)),
        _shift(-left, -top) @ original_from_part((largest, largest), (side, side)),
        (left * scale, top * scale, (left + width) * scale, (top + height) * scale),
    )


def together(fitted: Sequence[Fitted]) -> list[Fitted]:
    """The same pictures at one size, the largest width and height among them: smaller ones centred on white."""
    size = max(one.size[0] for one in fitted), max(one.size[1] for one in fitted)
    return [_padded(one, size) for one in fitted]


def fit(images: Sequence[np.ndarray], mode: Fit, side: int = SIDE) -> list[Fitted]:
    """All pictures of one run, by `crop` or `pad`, at one size."""
    return together([crop(image, side) if mode == "crop" else pad(image, side) for image in images])


def scaled_size(width: int, height: int, mode: Fit, side: int = SIDE) -> tuple[int, int]:
    """``(width, height)`` to which a picture is resized, before it is cropped or padded; at least one patch each."""
    if mode == "crop" or width >= height:
        return side, max(PATCH, round(height * (side / width) / PATCH) * PATCH)
    return max(PATCH, round(width * (side / height) / PATCH) * PATCH), side


def common_size(sizes: Sequence[tuple[int, int]], mode: Fit, side: int = SIDE) -> tuple[int, int]:
    """``(width, height)`` that `fit` gives pictures of these sizes."""
    if mode == "pad":
        return side, side
    return side, max(min(scaled_size(*size, mode, side)[1], side) for size in set(sizes))


def cut(fitted: Fitted) -> Fitted:
    """Without its padding; ``content`` must be whole pixels, as it is after `crop`, `pad` and `together`."""
    left, top, right, bottom = map(int, fitted.content)
    return Fitted(
        np.ascontiguousarray(fitted.image[top:bottom, left:right]),
        fitted.original_from_processed @ _shift(left, top),
        (0, 0, right - left, bottom - top),
    )


def centred(image: np.ndarray, size: tuple[int, int]) -> Fitted:
    """``image [H,W,3] uint8`` in the middle of a white ``size`` (width, height), where `fit` had it before `cut`."""
    return _padded(Fitted(image, np.eye(3), (0, 0, image.shape[1], image.shape[0])), size)


def sample(values: np.ndarray, fitted: Fitted) -> np.ndarray:
    """``values [H,W,...]``, one for each pixel of the picture, at the nearest to each pixel of ``fitted``."""
    width, height = fitted.size
    (scale_x, _, x), (_, scale_y, y), _ = fitted.original_from_processed
    columns = np.floor(scale_x * (np.arange(width) + 0.5) + x).astype(int).clip(0, values.shape[1] - 1)
    rows = np.floor(scale_y * (np.arange(height) + 0.5) + y).astype(int).clip(0, values.shape[0] - 1)
    return values[rows][:, columns]


def pictures(inputs: Sequence[Fitted], device: torch.device) -> Tensor:
    """The network's ``[1,V,3,H,W]`` in 0..1, of pictures of one size."""
    images = torch.from_numpy(np.stack([one.image for one in inputs])).to(device)
    return images.permute(0, 3, 1, 2).float().div_(255)[None]


def arrays(maps: Tensor) -> np.ndarray:
    """``[1,n,...]`` of the device to ``[n,...] float32``."""
    return maps[0].float().cpu().numpy()


def framed(
    view: View,
    index: int,
    fitted: Fitted,
    camera: Camera,
    depth: np.ndarray,
    confidence: np.ndarray,
    points: np.ndarray | None = None,
    valid: np.ndarray | None = None,
    segments: np.ndarray | None = None,
) -> Frame:
    """The frame of one view, whose camera and maps are those of a network's input.

    Args:
        view: what it shows; what its mask leaves out is not valid.
        index: of that view among the user's.
        fitted: the input.
        camera: of all of it.
        depth: ``[H,W]``.
        confidence: ``[H,W]``.
        points: ``[H,W,3]`` in the world, where they are not those of depth and camera.
        valid: ``[H,W] bool``, where depth means something; None for everywhere.
        segments: ``[H,W] int32`` ids, where there are some.
    """
    if view.mask is not None:
        shown = sample(view.mask, fitted)
        valid = shown if valid is None else valid & shown
    return Frame(
        image=fitted.image,
        depth=depth.astype(np.float32, copy=False),
        confidence=confidence.astype(np.float32, copy=False),
        camera=camera,
        name=view.name,
        view=index,
        path=view.path,
        original_size=view.original_size,
        original_from_processed=(view.original_from_view @ fitted.original_from_processed).astype(np.float32),
        time=view.time,
        points=points,
        valid=valid,
        segments=segments,
    )


def original_from_part(
    original: tuple[int, int], resized: tuple[int, int], corner: tuple[int, int] = (0, 0)
) -> np.ndarray:
    """``[3,3] float64``: pixels of a part of a resized picture to pixels of the original.

    Args:
        original: ``(width, height)`` of the picture.
        resized: the same after the resize.
        corner: ``(left, top)`` pixels before the part.
    """
    return np.diag([original[0] / resized[0], original[1] / resized[1], 1.0]) @ _shift(*corner)


def _resized(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return np.asarray(Image.fromarray(on_white(image)).resize(size, Image.Resampling.BICUBIC))


def _padded(fitted: Fitted, size: tuple[int, int]) -> Fitted:
    """Centred on white; an odd row or column goes to the bottom or right."""
    width, height = fitted.size
    if (width, height) == size:
        return fitted
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    canvas = np.full((size[1], size[0], 3), 255, np.uint8)
    canvas[top : top + height, left : left + width] = fitted.image
    x1, y1, x2, y2 = fitted.content
    return Fitted(
        canvas, fitted.original_from_processed @ _shift(-left, -top), (x1 + left, y1 + top, x2 + left, y2 + top)
    )


def _shift(x: float, y: float) -> np.ndarray:
    return np.array([[1.0, 0, x], [0, 1.0, y], [0, 0, 1.0]])
