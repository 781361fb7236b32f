"""The tab of the masks: the visitor paints on the photos what moves, or drops masks; the scene follows at once."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import gradio as gr
import numpy as np

from demo import markup
from demo.controls import LIVE
from demo.pictures import address
from demo.visit import Visit
from demo.widgets import widgets
from recon import InputError, View
from recon.masks import onto_frame, onto_view, read_masks
from recon.scene import Frame

Updates = dict[Any, Any]

COLOUR = (107, 59, 255, 255)  # of what moves, as OpenCV has it: blue, green, red, opaque
NOTHING = "Add photos or a video: then you can paint on them what moves."
HINT = (
    "Paint over what moves: in the scene it is then shown at its time, or hidden, at once, and a run of a model for "
    "moving scenes heeds it. The photos themselves stay as they are."
)

# All that the canvas needs is in the value, as in `demo.tracking`.
CANVAS = """${!value ? '' : `<div class="paint" style="--ratio:${value.width / value.height}">
<canvas width="${value.width}" height="${value.height}" aria-label="What moves in the photo"></canvas></div>`}"""


@dataclass
class Painting:
    """The widgets of the tab."""

    sentence: gr.HTML
    photo: gr.Slider
    picture: gr.HTML
    mask: gr.HTML
    tools: gr.Row
    undo: gr.Button
    files: gr.UploadButton
    said: gr.HTML

    def restored(self, visit: Visit) -> Updates:
        """Updates that bring the widgets to the visitor's photos."""
        views = visit.media.views
        if not views:
            empty = {self.picture: "", self.mask: None, self.said: "", self.photo: gr.Slider(visible=False)}
            return {self.sentence: markup.quiet(NOTHING), self.tools: gr.Row(visible=False), **empty}
        visit.painting = min(visit.painting, len(views) - 1)
        slider = gr.Slider(maximum=max(2, len(views)), value=visit.painting + 1, visible=len(views) > 1)
        words = {self.sentence: markup.quiet(HINT), self.said: ""}
        return {**words, self.photo: slider, self.tools: gr.Row(visible=True), **self.shown(visit)}

    def shown(self, visit: Visit) -> Updates:
        """The chosen photo and its mask."""
        view = visit.media.views[visit.painting]
        width, height = view.size
        picture = address(view.image, 88)
        return {
            self.picture: f'<img style="--ratio:{width / height}" src="{picture}" alt="The chosen photo">',
            self.mask: {"view": visit.painting, "width": width, "height": height, "mask": _encoded(_mask(visit, view))},
            self.undo: gr.Button(interactive=view.moving is not None),
        }


def layout() -> Painting:
    """Put the widgets into the present tab."""
    sentence = gr.HTML(markup.quiet(NOTHING), elem_id="paint-sentence")
    photo = gr.Slider(1, 2, 1, step=1, label="Photo", visible=False, buttons=[], elem_id="paint-number")
    with gr.Row(visible=False, elem_id="paint-tools") as tools:
        gr.Radio(  # painting.js reads it, and the slider
            [("Paint", "paint"), ("Erase", "erase")], value="paint", show_label=False, container=False, min_width=0,
            elem_id="brush-kind", label="Brush",
        )  # fmt: skip
        gr.Slider(4, 120, 24, step=2, label="Brush size", buttons=[], elem_id="brush")
        undo = gr.Button("Undo my mask", size="sm", interactive=False, min_width=110, elem_id="undo-mask")
        files = gr.UploadButton(
            "Masks from files", file_count="multiple", size="sm", min_width=130, elem_id="mask-files"
        )
    said = gr.HTML("", elem_id="mask-said")
    with gr.Column(elem_id="paint-photo", min_width=0):
        picture = gr.HTML("")
        script = Path(__file__).with_name("painting.js").read_text()
        mask = gr.HTML(None, html_template=CANVAS, js_on_load=script, elem_id="paint-mask")
    return Painting(sentence, photo, picture, mask, tools, undo, files, said)


def wire(
    painting: Painting,
    token: gr.BrowserState,
    find: Callable[[str | None], Visit | None],
    scene_widgets: Sequence[Any],
    show_scene: Callable[[Visit], Updates],
) -> None:
    """Connect the tab with the photos, and the scene, of the visitor whose token the page holds.

    Args:
        painting: the tab.
        token: of the visitor.
        find: the visit of a token.
        scene_widgets: those that depend on whether anything is known to move.
        show_scene: updates of these.
    """
    everything = [*widgets(painting), *scene_widgets]

    def handler(work: Callable[..., Updates]) -> Callable[..., Updates]:
        def handled(key: str, *values: Any) -> Updates:
            visit = find(key)
            if visit is None or not visit.media.views:
                return {painting.said: gr.skip()}
            try:
                return work(visit, *values)
            except InputError as error:
                return {painting.said: markup.failed(str(error))}

        return handled

    def choose(visit: Visit, number: float) -> Updates:
        visit.painting = min(max(int(number) - 1, 0), len(visit.media.views) - 1)
        return {**painting.shown(visit), painting.said: ""}

    def paint(visit: Visit, value: dict[str, Any] | None) -> Updates:
        if not value or not 0 <= value["view"] < len(visit.media.views):
            return {painting.said: gr.skip()}
        view = visit.media.views[value["view"]]
        set_masks(visit, {value["view"]: _decoded(value["mask"], view)})
        return {painting.undo: gr.Button(interactive=True), painting.said: "", **show_scene(visit)}

    def undo(visit: Visit) -> Updates:
        set_masks(visit, {visit.painting: None})
        return {**painting.shown(visit), painting.said: "", **show_scene(visit)}

    def drop(visit: Visit, paths: str | Sequence[str] | None) -> Updates:
        masks = read_masks([paths] if isinstance(paths, str) else list(paths or []), visit.media.views)
        set_masks(visit, dict(masks))
        said = markup.quiet(f"{markup.count(len(masks), 'mask')} of {markup.count(len(visit.media.views), 'photo')}.")
        return {**painting.shown(visit), painting.said: said, **show_scene(visit)}

    painting.photo.input(handler(choose), [token, painting.photo], everything, **LIVE)
    painting.mask.input(handler(paint), [token, painting.mask], everything, **LIVE)
    painting.undo.click(handler(undo), token, everything, **LIVE)
    painting.files.upload(handler(drop), [token, painting.files], everything, **LIVE)


def set_masks(visit: Visit, masks: dict[int, np.ndarray | None]) -> None:
    """Let the visitor's photos, and the frames that were made of them, have these masks, by the index of the photo.

    None takes back what the visitor said; a frame then has again what the model said of it.
    """
    scene, found = visit.session.scene, visit.session.found
    changed = []
    for index, mask in masks.items():
        view = visit.media.views[index]
        view.moving = mask
        for place, frame in enumerate(scene.frames if scene else []):
            if not _is_of(frame, view):
                continue
            found.setdefault(place, frame.moving)
            frame.moving = found[place] if mask is None else onto_frame(view, frame)
            changed.append(place)
    if scene is not None and changed:
        visit.session.viewer.show(scene, changed)


def _mask(visit: Visit, view: View) -> np.ndarray:
    """What moves in a photo, as far as anybody has said."""
    if view.moving is not None:
        return view.moving
    for frame in visit.session.scene.frames if visit.session.scene else []:
        if frame.moving is not None and _is_of(frame, view):
            return onto_view(frame, view)
    return np.zeros(view.image.shape[:2], bool)


def _is_of(frame: Frame, view: View) -> bool:
    """Whether a frame was made of a view."""
    same_file = frame.path is None or view.path is None or frame.path == view.path
    return frame.name == view.name and same_file


def _encoded(mask: np.ndarray) -> str:
    """``[H,W] bool`` as a PNG in a `data:` address, clear where nothing moves."""
    _, encoded = cv2.imencode(".png", np.where(mask[..., None], COLOUR, 0).astype(np.uint8))
    return "data:image/png;base64," + base64.b64encode(encoded.tobytes()).decode()


def _decoded(text: str, view: View) -> np.ndarray:
    """The inverse of `_encoded`, for what the page sends.

    Raises:
        InputError: it is no mask of the view.
    """
    try:
        content = np.frombuffer(base64.b64decode(text.split(",", 1)[1], validate=True), np.uint8)
        picture = cv2.imdecode(content, cv2.IMREAD_UNCHANGED)
    except (IndexError, binascii.Error, cv2.error):
        picture = None
    if picture is None or picture.ndim != 3 or picture.shape != (*view.image.shape[:2], 4):
        raise InputError("The mask got lost on its way here: paint again.")
    return picture[..., 3] > 127
