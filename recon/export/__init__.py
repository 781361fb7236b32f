"""Scene -> files for other programs: a registry keyed by suffix, one file a format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from recon.errors import InputError
from recon.export import colmap
from recon.export.gaussians import write_gaussians
from recon.export.glb import write_glb
from recon.export.html import write_html
from recon.export.labels import write_labels
from recon.export.masks import write_masks
from recon.export.nerfstudio import write_nerfstudio
from recon.export.npz import write_npz
from recon.export.ply import write_ply
from recon.export.sequence import write_sequence
from recon.export.tum import write_tum
from recon.filters import Filters, keep
from recon.scene import Scene
from recon.storage import LAYOUT, replacing

Writer = Callable[[Scene, Filters, list[np.ndarray], Path], None]
"""Writes a scene to a file or folder that does not exist yet, given filters and what `keep` leaves by them."""

WRITERS: dict[str, Writer] = {
    ".glb": write_glb,
    ".ply": write_ply,
    ".splat.ply": write_gaussians,
    ".npz": write_npz,
    ".labels.zip": write_labels,
    ".colmap.zip": colmap.write_zip,
    ".colmap": colmap.write_folder,
    ".nerfstudio.zip": write_nerfstudio,
    ".html": write_html,
    ".frames.zip": write_sequence,
    ".masks.zip": write_masks,
    ".tum": write_tum,
}
LAYOUTS: dict[str, set[str]] = {"": LAYOUT, ".colmap": {"sparse", "images"}}
"""What the formats that are folders hold; one without a suffix is a scene's own."""


def format_of(path: str | Path) -> str:
    """The suffix in `WRITERS` that ``path`` asks for, or "" for a scene's own folder.

    Raises:
        InputError: there is no such format.
    """
    folder = isinstance(path, str) and path.endswith(("/", "\\"))
    path = Path(path)
    folder = folder or path.is_dir() or not path.suffix
    suffix = max((suffix for suffix in WRITERS if path.name.lower().endswith(suffix)), key=len, default="")
    if not suffix and not folder:
        raise InputError(f"There is no format '{path.suffix}': name a file {', '.join(WRITERS)}, or a folder/.")
    return "" if folder and suffix not in LAYOUTS else suffix


def export(scene: Scene, path: str | Path, filters: Filters | None = None) -> Path:
    """Write what ``filters`` (by default `Filters()`) leave of ``scene``, in the format that ``path``'s suffix names.

    GLB and PLY hold the points that the viewer shows (`filters.keep`), standing as they do there (`gravity.upright`),
    in the scene's unit about its origin, and so do the clouds of single frames (``.frames.zip``: `sequence`) and, with
    +Y down, splats (``.splat.ply``). COLMAP (a zip, or a folder of that suffix: `colmap`), TUM, NPZ and folders (a path
    without a suffix: `Scene.save`) keep the scene's own frame, and a folder keeps all points. nerfstudio's cameras
    (``.nerfstudio.zip``) stand with +Z up. HTML stands as in the
    viewer. Masks of what moves and labels are pictures of the photos' size (``.masks.zip``, ``.labels.zip``). The file
    appears under its name once it is complete; its path is returned.

    Raises:
        InputError: no such format, no points left to write, or the file cannot be written.
    """
    suffix = format_of(path)
    path = Path(path)
    if not suffix:
        return scene.save(path)
    if suffix in LAYOUTS and path.is_dir() and not {entry.name for entry in path.iterdir()} <= LAYOUTS[suffix]:
        raise InputError(f"'{path}' holds other files, which writing would replace; name a new folder.")
    filters = filters or Filters()
    masks = keep(scene, filters)
    if not any(mask.any() for mask in masks):
        raise InputError("There is nothing to write: the filters hide every point; show more, then export again.")
    with replacing(path) as temporary:
        WRITERS[suffix](scene, filters, masks, temporary)
    return path


__all__ = ["LAYOUTS", "WRITERS", "Writer", "export", "format_of"]
