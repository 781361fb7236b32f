"""View, Camera, Frame, Scene: plain dataclasses over numpy arrays.

Conventions: OpenCV axes (x right, y down, z forward); ``a_from_b`` takes b coordinates to a; the centre of the top-left
pixel is (0.5, 0.5); depth is z-depth, 0 where unknown; metres where ``scene.metric``; float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recon import geometry
from recon.given import Given
from recon.measurement import Measurement

if TYPE_CHECKING:
    from recon.alignment.refine import Refinement


@dataclass
class View:
    """One input picture, upright, with whatever else is known of it.

    Attributes:
        image: ``[H,W,3] uint8``, perhaps smaller than the user's file.
        name: how the user knows it (file name, or file name and time for a video frame).
        path: the file it came from, or None for an array.
        original_size: ``(width, height)`` of the upright, untouched picture.
        original_from_view: ``[3,3]``, pixels of ``image`` to pixels of the untouched picture.
        mask: ``[H,W] bool``, False where the picture says nothing (transparent), or None.
        time: seconds from the start of the video, or None for a photo.
        focal_prior: focal length in pixels of ``image`` as the EXIF data suggest it, or None. A hint, not a promise.
        intrinsics: ``[3,3]`` in pixels of ``image`` where known.
        world_from_camera: ``[4,4]`` where known.
        depth: ``[H,W]`` z-depth where known, 0 for unknown pixels.
        metric: True where the known pose and depth are in metres.
        moving: ``[H,W] bool``, True on things that move, where somebody has said so, or None.
    """

    image: np.ndarray
    name: str
    path: Path | None = None
    original_size: tuple[int, int] = (0, 0)
    original_from_view: np.ndarray = field(default_factory=lambda: np.eye(3, dtype=np.float32))
    mask: np.ndarray | None = None
    time: float | None = None
    focal_prior: float | None = None
    intrinsics: np.ndarray | None = None
    world_from_camera: np.ndarray | None = None
    depth: np.ndarray | None = None
    metric: bool = False
    moving: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.original_size == (0, 0):
            self.original_size = (self.image.shape[1], self.image.shape[0])

    @property
    def size(self) -> tuple[int, int]:
        """``(width, height)`` of ``image``."""
        return self.image.shape[1], self.image.shape[0]


@dataclass
class Camera:
    """A pinhole camera.

    Attributes:
        intrinsics: ``[3,3]`` in pixels of the frame's own image.
        world_from_camera: ``[4,4]`` rigid transform.
    """

    intrinsics: np.ndarray
    world_from_camera: np.ndarray

    @property
    def camera_from_world(self) -> np.ndarray:
        """``[4,4]``, the inverse of ``world_from_camera``."""
        return geometry.invert(self.world_from_camera)

    @property
    def centre(self) -> np.ndarray:
        """``[3]``, the optical centre in the world."""
        return self.world_from_camera[:3, 3]


@dataclass
class Frame:
    """One reconstructed view. All maps share the size of ``image``.

    Attributes:
        image: ``[H,W,3] uint8``.
        depth: ``[H,W] float32`` z-depth, 0 where unknown.
        confidence: ``[H,W] float32``, larger is better, the network's own scale.
        camera: the pinhole camera of ``image``.
        name: the name of the view it came from.
        view: index of that view in the list given to the model.
        path: the user's untouched file, or None.
        original_size: ``(width, height)`` of the untouched picture.
        original_from_processed: ``[3,3]``, pixels of ``image`` to pixels of the untouched picture.
        time: seconds from the start of the video, or None.
        points: ``[H,W,3]`` in the world where the model gives them itself; otherwise depth and camera do.
        valid: ``[H,W] bool``, False where the frame says nothing, or None for everywhere.
        moving: ``[H,W] bool``, True on moving things, or None.
        segments: ``[H,W] int32`` segment ids, -1 for none, or None.
    """

    image: np.ndarray
    depth: np.ndarray
    confidence: np.ndarray
    camera: Camera
    name: str = ""
    view: int = 0
    path: Path | None = None
    original_size: tuple[int, int] = (0, 0)
    original_from_processed: np.ndarray = field(default_factory=lambda: np.eye(3, dtype=np.float32))
    time: float | None = None
    points: np.ndarray | None = None
    valid: np.ndarray | None = None
    moving: np.ndarray | None = None
    segments: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.original_size == (0, 0):
            self.original_size = (self.image.shape[1], self.image.shape[0])

    @property
    def size(self) -> tuple[int, int]:
        """``(width, height)`` of ``image``."""
        return self.image.shape[1], self.image.shape[0]

    def world_points(self) -> np.ndarray:
        """``[H,W,3] float32``: every pixel's position in the world; meaningless where ``known()`` is False."""
        if self.points is not None:
            return self.points
        points_in_camera = geometry.unproject(self.depth, self.camera.intrinsics)
        return geometry.transform(self.camera.world_from_camera, points_in_camera).astype(np.float32)

    def known(self) -> np.ndarray:
        """``[H,W] bool``: pixels that have a position."""
        known = np.isfinite(self.depth) & (self.depth > 0)
        if self.points is not None:
            known &= np.isfinite(self.points).all(-1)
        return known if self.valid is None else known & self.valid

    def thinned(self, stride: int) -> Frame:
        """A frame of every ``stride``-th row and column, whose pixels stay where they are in the world."""
        offset = (1 - stride) / 2  # pixel i was pixel i * stride, and centres lie at +0.5
        self_from_thinned = np.array([[stride, 0, offset], [0, stride, offset], [0, 0, 1]], np.float32)
        names = ("image", "depth", "confidence", "points", "valid", "moving", "segments")
        maps = {name: value[::stride, ::stride] for name in names if (value := getattr(self, name)) is not None}
        return replace(
            self,
            camera=replace(self.camera, intrinsics=np.linalg.inv(self_from_thinned) @ self.camera.intrinsics),
            original_from_processed=self.original_from_processed @ self_from_thinned,
            **maps,
        )


@dataclass
class Tracks:
    """Points followed through F frames, N of them.

    Attributes:
        pixels: ``[F,N,2] float32``, where each point is in each frame's image; it may lie outside.
        visibility: ``[F,N] float32``, 0 to 1: whether it is seen there.
        confidence: ``[F,N] float32``, 0 to 1: whether the place is right.
        query: ``[N] int32``, the frame in which each point was picked.
    """

    pixels: np.ndarray
    visibility: np.ndarray
    confidence: np.ndarray
    query: np.ndarray

    def seen(self, threshold: float = 0.2) -> np.ndarray:
        """``[F,N] bool``: where a point is seen, and its place is trusted, by more than ``threshold``."""
        return (self.visibility > threshold) & (self.confidence > threshold)

    def chosen(self, which: np.ndarray) -> Tracks:
        """Those of the N tracks that a mask or indices name."""
        return Tracks(
            self.pixels[:, which], self.visibility[:, which], self.confidence[:, which], self.query[which]
        )  # fmt: skip

    def joined(self, more: Tracks) -> Tracks:
        """These, then those of ``more``, through the same frames."""
        return Tracks(
            np.concatenate([self.pixels, more.pixels], 1),
            np.concatenate([self.visibility, more.visibility], 1),
            np.concatenate([self.confidence, more.confidence], 1),
            np.concatenate([self.query, more.query]),
        )

    def positions(self, frames: Sequence[Frame]) -> np.ndarray:
        """``[F,N,3] float32``: where each frame's own points put the tracks in the world, seen or not.

        The position is that of the pixel in which the track lies, since a mean over a depth edge hangs in the air; NaN
        where the track leaves the picture or the pixel has no position.
        """
        positions = np.full((*self.pixels.shape[:2], 3), np.nan, np.float32)
        for frame, pixels, place in zip(frames, self.pixels, positions, strict=True):
            width, height = frame.size
            inside = np.flatnonzero(((pixels >= 0) & (pixels < (width, height))).all(-1))
            x, y = pixels[inside].astype(int).T
            known = frame.known()[y, x]
            place[inside[known]] = frame.world_points()[y[known], x[known]]
        return positions


@dataclass
class Gaussians:
    """N 3D Gaussians in the world (Kerbl et al. 2023).

    Attributes:
        means: ``[N,3] float32``.
        scales: ``[N,3] float32``, standard deviations along their own axes, in the world's unit.
        rotations: ``[N,4] float32``, unit quaternions wxyz, from their own axes to the world's.
        opacities: ``[N] float32``, 0 to 1.
        harmonics: ``[N,3,K] float32``, K = 1, 4, 9, 16 or 25 spherical harmonics of red, green and blue: a colour in
            0..1 is 0.5 plus their sum.
        frame: ``[N] int32``, index of the frame whose pixel each one is.
        pixel: ``[N,2] int32``, column and row of that pixel, so that what is known of pixels is known of Gaussians.
    """

    means: np.ndarray
    scales: np.ndarray
    rotations: np.ndarray
    opacities: np.ndarray
    harmonics: np.ndarray
    frame: np.ndarray
    pixel: np.ndarray

    def __len__(self) -> int:
        return len(self.means)

    def chosen(self, which: np.ndarray) -> Gaussians:
        """Those that a mask or indices name."""
        return Gaussians(*(getattr(self, part.name)[which] for part in fields(self)))

    @staticmethod
    def joined(parts: Sequence[Gaussians]) -> Gaussians:
        """All of one or several."""
        return Gaussians(*(np.concatenate([getattr(one, part.name) for one in parts]) for part in fields(Gaussians)))

    def segments(self, frames: Sequence[Frame]) -> np.ndarray:
        """``[N] int32`` segment ids by the frames' own, -1 for none."""
        found = np.full(len(self), -1, np.int32)
        for index, frame in enumerate(frames):
            if frame.segments is not None:
                mine = self.frame == index
                column, row = self.pixel[mine].T
                found[mine] = frame.segments[row, column]
        return found


@dataclass(frozen=True)
class Segment:
    """A thing, or all stuff of one class, that frames show.

    Attributes:
        id: in `Frame.segments`.
        label: index of its class in `Labels.names`.
        thing: True for one thing among others of its class, False for stuff such as walls.
        score: 0 to 1, how sure the class is.
    """

    id: int
    label: int
    thing: bool
    score: float


@dataclass
class Labels:
    """What segments are.

    Attributes:
        names: of the classes.
        colours: ``[L,3] uint8``, one a class.
        segments: what was found, each id once.
    """

    names: tuple[str, ...]
    colours: np.ndarray
    segments: list[Segment] = field(default_factory=list)


@dataclass
class Scene:
    """Frames in one world.

    Attributes:
        frames: in the order of the views.
        metric: True where one unit is one metre.
        model: name of the model that made it.
        settings: the options it was made with, JSON-compatible.
        notes: sentences the user should read (what was left out, what is uncertain).
        sparse_points: ``[P,3] float32`` triangulated points in the world, or None.
        tracks: points followed through the frames, or None.
        gaussians: of the whole scene, or None.
        labels: what the frames' segments are, or None where the model recognises nothing.
        measurements: lengths that somebody took in it.
        given: the cameras that the user gave, in that user's world, or None.
    """

    frames: list[Frame] = field(default_factory=list)
    metric: bool = False
    model: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    sparse_points: np.ndarray | None = None
    tracks: Tracks | None = None
    gaussians: Gaussians | None = None
    labels: Labels | None = None
    measurements: list[Measurement] = field(default_factory=list)
    given: Given | None = None

    def rescaled(self, factor: float) -> Scene:
        """The same ``factor`` times as large (see `recon.scale`, whose `in_metres` knows what sets the factor)."""
        from recon import scale

        return scale.rescaled(self, factor)

    def refine(self) -> Refinement:
        """Adjust cameras, depth and points in place by bundle adjustment over ``tracks``, and say how well that went.

        See `recon.alignment.refine.refine`, which tells its progress besides.

        Raises:
            InputError: there are no tracks, or they are of other frames.
        """
        from recon.alignment.refine import refine  # brings pycolmap, which nothing else here needs

        steps = refine(self)
        while True:
            try:
                next(steps)
            except StopIteration as stop:
                result: Refinement = stop.value
                return result

    def save(self, folder: str | Path) -> Path:
        """Write everything to ``folder`` (see `recon.storage`); a half-written folder is never left under that name."""
        from recon import storage

        return storage.save(self, Path(folder))

    @staticmethod
    def load(folder: str | Path) -> Scene:
        """Read what `save` wrote. Raises `InputError` where ``folder`` holds no scene or one of a newer layout."""
        from recon import storage

        return storage.load(Path(folder))
