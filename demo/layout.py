"""What stands where on the page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import gradio as gr

from demo import choices, controls, knowing, legend, live, markup, measuring, painting, timeline, tracking, uploads
from demo.choices import Choices
from demo.controls import Controls
from demo.knowing import Knowing
from demo.legend import Legend
from demo.measuring import Measuring
from demo.painting import Painting
from demo.pictures import thumbnail
from demo.timeline import Timeline
from demo.tracking import Tracking
from recon import CARDS, photo

FORMATS = {
    "glb": "GLB", "ply": "PLY", "splat.ply": "Splats", "npz": "NPZ", "colmap.zip": "COLMAP",
    "nerfstudio.zip": "nerfstudio", "html": "HTML", "tum": "TUM", "frames.zip": "Frames", "masks.zip": "Masks",
    "labels.zip": "Labels",
}  # fmt: skip

# The boxes on the pictures tell a hidden widget what the visitor ticks. One widget cannot be both: of one that appears
# Gradio now and then loses all but the value, and the value is sent back at each tick.
PICK = """
document.addEventListener('change', event => {
  const strip = event.target.closest('#strip');
  if (!strip) return;
  props.value = [...strip.querySelectorAll('input:checked')].map(box => Number(box.dataset.index));
  trigger('input');
});
"""
CHOOSE = """
element.addEventListener('click', event => {
  const button = event.target.closest('button[data-example]');
  if (button) { props.value = button.dataset.example; trigger('select'); }
});
"""
# Gradio leaves the list of models open behind whoever passes it with the tabulator.
FOLD = """
document.addEventListener('focusout', event => {
  if (event.target.closest('#model')) {
    setTimeout(() => event.target.dispatchEvent(new KeyboardEvent('keydown', { key: 'Escape', bubbles: true })));
  }
});
"""


@dataclass
class Parts:
    """The widgets of the page."""

    token: gr.BrowserState
    files: gr.File
    examples: gr.HTML
    strip: gr.HTML
    ticked: gr.HTML
    video_frames: gr.Slider
    clear: gr.Button
    model: gr.Dropdown
    card: gr.HTML
    choosing: gr.Column
    choices: Choices
    live: live.Parts
    plan: gr.HTML
    consent: gr.Column
    terms: gr.HTML
    accept: gr.Checkbox
    run: gr.Button
    cancel: gr.Button
    status: gr.HTML
    canvas: gr.HTML
    welcome: gr.HTML
    timeline: Timeline
    notes: gr.HTML
    frame: gr.Slider
    figures: gr.HTML
    tracking: Tracking
    painting: Painting
    measuring: Measuring
    knowing: Knowing
    panel: Controls
    legend: Legend
    downloads: dict[str, gr.Button]
    fetch: gr.DownloadButton
    forget: gr.Button


def layout(streams: bool = False) -> Parts:
    """Put all widgets into the present page: inputs on the left, the scene, the panel on the right.

    ``streams`` tells whether visitors may name addresses of streams.
    """
    token = gr.BrowserState(None, storage_key="parallax")
    gr.HTML(markup.HEADER, elem_id="header", padding=False)
    with gr.Row(elem_id="bench", equal_height=False):
        with gr.Column(elem_id="inputs", min_width=0):
            with gr.Column(elem_id="upper", min_width=0):
                # of any type: the reader's sentence on what it cannot read is clearer than Gradio's list of suffixes
                files = gr.File(
                    file_count="multiple", label="Photos or a video", show_label=False, height=84, elem_id="files",
                )  # fmt: skip
                examples = gr.HTML(
                    None, pictures=markup.examples(_example_pictures()), html_template="${pictures}",
                    js_on_load=CHOOSE, visible=bool(uploads.EXAMPLES), elem_id="examples",
                )  # fmt: skip
                with gr.Accordion("Use the camera", open=False, elem_id="camera"):
                    gr.HTML(markup.CAMERA, js_on_load=Path(__file__).with_name("camera.js").read_text())
                strip = gr.HTML("", elem_id="strip", visible=False)
                ticked = gr.HTML([], html_template="", js_on_load=PICK, visible="hidden")
                video_frames = gr.Slider(
                    2, 64, 16, step=1, label="Frames of the video", visible=False, buttons=[], elem_id="video-frames"
                )
                clear = gr.Button("Remove all pictures", size="sm", visible=False, elem_id="clear")
                known = knowing.layout()
                first = next(iter(CARDS.values()))
                model = gr.Dropdown(
                    [(card.title, card.name) for card in CARDS.values()], value=first.name, label="Model",
                    elem_id="model", filterable=False,
                )  # fmt: skip
                card = gr.HTML(markup.card(first, here=True), js_on_load=FOLD, elem_id="card")
                with gr.Column(min_width=0) as choosing:
                    how = choices.layout()
                alive = live.layout(streams)
            with gr.Column(elem_id="lower", min_width=0):
                plan = gr.HTML("", elem_id="plan")
                with gr.Column(visible=False, elem_id="consent", min_width=0) as consent:
                    terms = gr.HTML("")
                    accept = gr.Checkbox(label="I accept the licence", container=False, elem_id="accept")
                with gr.Row(elem_id="go"):
                    run = gr.Button("Reconstruct", variant="primary", interactive=False, elem_id="run")
                    cancel = gr.Button("Cancel", variant="stop", visible=False, elem_id="cancel")
                status = gr.HTML("", elem_id="status")
        with gr.Column(elem_id="stage", min_width=0), gr.Tabs(elem_id="tabs"):
            with gr.Tab("3D"):
                with gr.Column(elem_id="screen", min_width=0):
                    canvas = gr.HTML("", elem_id="canvas")
                    toggle, hint = measuring.overlay()
                    welcome = gr.HTML(markup.welcome(), elem_id="welcome")
                time = timeline.layout()
                notes = gr.HTML("", elem_id="notes")
            with gr.Tab("Depth and confidence"):
                frame = gr.Slider(1, 2, 1, step=1, label="Frame", visible=False, buttons=[], elem_id="frame")
                figures = gr.HTML(markup.quiet(markup.NO_FIGURES), elem_id="figures")
            with gr.Tab("Tracks"):
                following = tracking.layout()
            with gr.Tab("Masks"):
                masks = painting.layout()
            with gr.Tab("Measure"):
                on_photo = measuring.tab()
        with gr.Column(elem_id="panel", min_width=0):
            ruler = measuring.panel(toggle, hint, on_photo)
            recognised = legend.layout()
            panel = controls.layout()
            knows = known(knowing.beside_scene())
            gr.HTML(markup.TAKE_HOME)
            with gr.Row(elem_classes="pair"):
                downloads = {
                    suffix: gr.Button(
                        title, size="sm", interactive=False, elem_id=f"download-{title.lower()}", min_width=0
                    )
                    for suffix, title in FORMATS.items()
                }
            fetch = gr.DownloadButton("Fetch", visible="hidden", elem_id="fetch")
            forget = gr.Button("Delete my pictures and scene now", size="sm", elem_id="forget")
    return Parts(
        token, files, examples, strip, ticked, video_frames, clear, model, card, choosing, how, alive, plan, consent,
        terms, accept, run, cancel, status, canvas, welcome, time, notes, frame, figures, following, masks, ruler,
        knows, panel, recognised, downloads, fetch, forget,
    )  # fmt: skip


def _example_pictures() -> dict[str, tuple[str, int]]:
    return {
        name: (thumbnail(photo.read(paths[len(paths) // 2], 320).image, 160), len(paths))
        for name, paths in uploads.EXAMPLES.items()
        if paths
    }
