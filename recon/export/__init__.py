"""Scene -> files for other programs: a registry keyed by suffix, one file a format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from recon.errors import InputError
from recon.export.glb import write_glb
from recon.export.npz import write_npz
from recon.export.ply import write_ply
from recon.filters import Filters, keep
from recon.scene import Scene
from recon.storage import replacing

Writer = Callable[[Scene, Filters, list[np.ndarray], Path], None]
"""Writes a scene to a file that does not exist yet, given the filters and what they leave of each frame (`keep`)."""

WRITERS: dict[str, Writer] = {".glb": write_glb, ".ply": write_ply, ".npz": write_npz}


def export(scene: Scene, path: str | Path, filters: Filters | None = None) -> Path:
    """Write what ``filters`` (by default `Filters()`) leave of ``scene``, in the format that ``path``'s suffix names.

    GLB and PLY hold the points that the viewer shows (`filters.keep`), standing as they do there (`gravity.upright`),
    in the scene's unit about its origin. NPZ and folders (a path without a suffix: `Scene.save`) keep the scene's own
    frame, and a folder keeps all points. The file appears under its name once it is complete; its path is returned.

    Raises:
        InputError: no such format, no points left to write, or the file cannot be written.
    """
    folder = isinstance(path, str) and path.endswith(("/", "\\"))
    path = Path(path)
    if folder or path.is_dir() or not path.suffix:
        return scene.save(path)
    if path.suffix.lower() not in WRITERS:
        formats = ", ".join(WRITERS)
        raise InputError(f"There is no format '{path.suffix}'; name a file {formats}, or a folder without a suffix.")
    filters = filters or Filters()
    masks = keep(scene, filters)
    if not any(mask.any() for mask in masks):
        raise InputError("There is nothing to write: the filters hide every point; show more, then export again.")
    with replacing(path) as temporary:
        WRITERS[path.suffix.lower()](scene, filters, masks, temporary)
    return path


__all__ = ["WRITERS", "Writer", "export"]
