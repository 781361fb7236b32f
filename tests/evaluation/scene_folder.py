"""A scene in the format that `recon.evaluation.scenes` reads."""

import json
from pathlib import Path

import cv2
import numpy as np

from recon.scene import Scene

DEPTH_SCALE = 1e-4


def write_scene(scene: Scene, root: Path, depths: int) -> Path:
    """Write the pictures and cameras of ``scene``, and the depth of its first ``depths`` frames, to ``root``."""
    (root / "images").mkdir(parents=True)
    (root / "depth").mkdir()
    for i, frame in enumerate(scene.frames):
        cv2.imwrite(str(root / "images" / f"{i:03d}.png"), frame.image[..., ::-1])
        if i < depths:
            cv2.imwrite(str(root / "depth" / f"{i:03d}.png"), (frame.depth / DEPTH_SCALE).round().astype(np.uint16))
    to_centres = np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])
    np.savez(
        root / "cameras.npz",
        K=np.stack([frame.camera.intrinsics - to_centres for frame in scene.frames]),
        world_to_camera=np.stack([frame.camera.camera_from_world for frame in scene.frames]),
    )
    (root / "meta.json").write_text(json.dumps({"depth_scale": DEPTH_SCALE, "units_metric": True}))
    return root
