"""Photos or a video in; cameras, depth and a coloured point cloud out.

>>> scene = recon.reconstruct(["a.jpg", "b.jpg"])
>>> recon.export(scene, "out.glb")
"""

from __future__ import annotations

import os

# numpy's matrix products here are small and many, and run in threads of ours: more threads inside each would spend most
# of their time waiting for one another. Read when numpy is first imported, hence up here.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from recon.errors import InputError as InputError
from recon.export import export as export
from recon.filters import Filters as Filters
from recon.known import attach as attach
from recon.media import read as read
from recon.models import CARDS as CARDS
from recon.models import Model as Model
from recon.models import Options as Options
from recon.models import Plan as Plan
from recon.models import Update as Update
from recon.models import load as load
from recon.models import plan as plan
from recon.scene import Camera as Camera
from recon.scene import Frame as Frame
from recon.scene import Gaussians as Gaussians
from recon.scene import Labels as Labels
from recon.scene import Scene as Scene
from recon.scene import Segment as Segment
from recon.scene import Tracks as Tracks
from recon.scene import View as View


def reconstruct(
    source: str | Path | Sequence[str | Path] | Sequence[View],
    model: str | Model = "embedded",
    options: Options = Options(),
    *,
    device: str | None = None,
    progress: Callable[[Update], Any] | None = None,
) -> Scene:
    """Photos, folders and videos (or Views) to a Scene.

    Args:
        source: a path, several, or views as `recon.read` gives them.
        model: a name of `recon.CARDS`, or a loaded model.
        options: what may be chosen for the run.
        device: a torch device for a model given by name; None takes CUDA where there is one, else the CPU.
        progress: called at each update.

    Raises:
        InputError: nothing among ``source`` can be read, or the model or device is unknown.
    """
    loaded = load(model, device) if isinstance(model, str) else model
    items = [source] if isinstance(source, (str, Path)) else list(source)
    views = [item for item in items if isinstance(item, View)]
    paths = [item for item in items if not isinstance(item, View)]
    notes: list[str] = []
    if paths or not views:
        media = read(paths, maximum_views=options.maximum_views or loaded.card.maximum_views)
        views, notes = views + media.views, media.notes
    scene = loaded.reconstruct(views, options, progress)
    scene.notes = notes + scene.notes
    return scene
