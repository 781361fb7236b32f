"""3DGS PLY: Gaussians as splat viewers, editors and trainers read them (the layout of Kerbl et al. 2023).

Opacities are logits, scales logarithms, rotations unit quaternions wxyz, colours spherical harmonics: ``f_dc`` of
degree 0, ``f_rest`` of those up to 3, all of red before green before blue. What is beyond degree 3 no program reads.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from recon import geometry, gravity
from recon.export.ply import comments, label_comments, table
from recon.filters import Filters
from recon.palette import classes
from recon.scene import Gaussians, Scene
from recon.spherical_harmonics import rotated
from recon.surfels import gaussians_of

LEAST = 1e-6  # of opacities and of their distance from 1: their logits are finite
HARMONICS = 16
DOWN_FROM_UP = np.diag([-1.0, -1.0, 1.0, 1.0])


def write_gaussians(scene: Scene, filters: Filters, masks: list[np.ndarray], path: Path) -> None:
    """Write the scene's Gaussians, or those that its points make (`recon.surfels`), where ``masks`` leave them.

    Upright with +Y down, as such files are by custom: programs turn them by half a turn about Z, and then they stand as
    the GLB does. Of a scene with labels each has ``semantic``, the number of its class (named in the header), and
    ``instance``, its segment; -1 stands for none.
    """
    gaussians = gaussians_of(scene, masks)
    file_from_world = DOWN_FROM_UP @ gravity.upright(scene.frames)
    vertices = fields(turned(gaussians, file_from_world))
    said = [*comments(scene), "+Y is down, as usual for splats; opacity is a logit, scale a logarithm"]
    if scene.labels is not None:
        segments = gaussians.segments(scene.frames)
        named = {"semantic": classes(segments, scene.labels), "instance": segments}
        vertices = _with(vertices, named)
        said += label_comments(scene.labels)
    path.write_bytes(table(vertices, said))


def turned(gaussians: Gaussians, b_from_a: np.ndarray) -> Gaussians:
    """The same Gaussians after a rotation ``[4,4]`` of the world, colours included."""
    rotation = b_from_a[:3, :3].astype(np.float32)
    axes = rotation @ geometry.rotation_from_quaternion(gaussians.rotations)
    harmonics = rotated(torch.as_tensor(gaussians.harmonics), torch.as_tensor(rotation)).numpy()
    return replace(
        gaussians,
        means=gaussians.means @ rotation.T,
        rotations=geometry.quaternions_from_rotations(axes).astype(np.float32),
        harmonics=harmonics,
    )


def fields(gaussians: Gaussians) -> np.ndarray:
    """``[N]`` with the fields of the file, all float32."""
    harmonics = gaussians.harmonics[..., :HARMONICS]
    opacities = np.clip(gaussians.opacities.astype(np.float64), LEAST, 1 - LEAST)
    columns = {
        **_numbered(("x", "y", "z"), gaussians.means),
        **_numbered(("nx", "ny", "nz"), np.zeros((len(gaussians), 3))),
        **_numbered([f"f_dc_{i}" for i in range(3)], harmonics[..., 0]),
        **_numbered(
            [f"f_rest_{i}" for i in range(3 * (harmonics.shape[-1] - 1))],
            harmonics[..., 1:].reshape(len(gaussians), -1),
        ),
        "opacity": np.log(opacities / (1 - opacities)),
        **_numbered([f"scale_{i}" for i in range(3)], np.log(np.maximum(gaussians.scales, 1e-12))),
        **_numbered([f"rot_{i}" for i in range(4)], gaussians.rotations),
    }
    vertices = np.empty(len(gaussians), [(name, "<f4") for name in columns])
    for name, values in columns.items():
        vertices[name] = values
    return vertices


def _numbered(names: list[str] | tuple[str, ...], columns: np.ndarray) -> dict[str, np.ndarray]:
    return {name: columns[:, number] for number, name in enumerate(names)}


def _with(vertices: np.ndarray, more: dict[str, np.ndarray]) -> np.ndarray:
    """``vertices`` with more fields of whole numbers."""
    joined = np.empty(len(vertices), [*vertices.dtype.descr, *((name, "<i4") for name in more)])
    for name in vertices.dtype.names or ():
        joined[name] = vertices[name]
    for name, values in more.items():
        joined[name] = values
    return joined
