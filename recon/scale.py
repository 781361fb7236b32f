"""How large a scene is: a known length puts it in metres, and that can be taken back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from recon.errors import InputError
from recon.measurement import in_words
from recon.scene import Camera, Frame, Gaussians, Scene

LARGEST = 1e9  # times: beyond that, somebody mistyped, and float32 would lose the geometry


def rescaled(scene: Scene, factor: float) -> Scene:
    """``scene``, ``factor`` times as large about the origin of its world. Its maps without a length are shared.

    Raises:
        InputError: the factor is not positive, or absurd.
    """
    if not 1 / LARGEST < factor < LARGEST:  # false for NaN as well
        raise InputError("No scene can be scaled like that: give a positive length for two points that lie apart.")
    sparse, gaussians = scene.sparse_points, scene.gaussians
    return replace(
        scene,
        frames=[_rescaled(frame, factor) for frame in scene.frames],
        settings=dict(scene.settings),
        sparse_points=None if sparse is None else sparse * np.float32(factor),
        gaussians=None if gaussians is None else _larger(gaussians, factor),
    )


def _rescaled(frame: Frame, factor: float) -> Frame:
    world_from_camera = frame.camera.world_from_camera.copy()
    world_from_camera[:3, 3] *= factor
    points = frame.points
    return replace(
        frame,
        depth=frame.depth * np.float32(factor),
        camera=Camera(frame.camera.intrinsics, world_from_camera),
        points=None if points is None else points * np.float32(factor),
    )


def _larger(gaussians: Gaussians, factor: float) -> Gaussians:
    size = np.float32(factor)
    return replace(gaussians, means=gaussians.means * size, scales=gaussians.scales * size)


def in_metres(scene: Scene, length: float, metres: float) -> Scene:
    """``scene`` in metres, from a length in it that is known.

    ``settings["known_length"]`` then tells what was set in a sentence (``note``), and what `as_made` needs to take it
    back: the ``factor`` by which the scene that the model made was multiplied, and whether that was ``metric``. Another
    length takes the place of the former one.

    Args:
        length: in the present units of ``scene``.
        metres: what it really is.

    Raises:
        InputError: a length that is not positive.
    """
    if not (metres > 0 and length > 0):
        raise InputError("Give a length greater than zero, between two points that lie apart.")
    made = as_made(scene)
    former = scene.settings.get("known_length", {}).get("factor", 1.0)
    factor = metres / length * former
    scaled = rescaled(made, factor)
    note = (
        f"The scale comes from a length you gave: what was {in_words(length / former, made.metric)} is "
        f"{in_words(metres, True)}."
    )
    scaled.settings["known_length"] = {"note": note, "factor": factor, "metric": made.metric}
    scaled.metric = True
    return scaled


def as_made(scene: Scene) -> Scene:
    """``scene`` without the length that `in_metres` set: the same one where none was set."""
    known = scene.settings.get("known_length")
    if known is None:
        return scene
    made = rescaled(scene, 1 / known["factor"])
    del made.settings["known_length"]
    made.metric = known["metric"]
    return made
