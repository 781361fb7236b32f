"""A scene folder to train on in seconds, and a configuration for it."""

from pathlib import Path

from recon.training.config import read_configuration
from tests.evaluation.scene_folder import write_scene
from tests.helpers import synthetic_scene


def write_room(root: Path, frames: int = 4) -> Path:
    """A room with two balls, its cameras and its depth."""
    return write_scene(synthetic_scene(frames=frames, height=60, width=80), root, depths=frames)


def configure(folder: Path, *changes: str):
    """Tiny, on the pictures of a scene folder."""
    smaller = ["data.shapes=[[48, 64, 1.0]]", "data.views=[[2, 1.0]]", "data.batch=2", "data.batches=0"]
    return read_configuration(Path("tiny.toml"), [f"data.folders=['{folder}']", *smaller, *changes])
