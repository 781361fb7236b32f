"""How the page looks: one dark theme, the fonts of the system, nothing fetched from anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

FONTS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]


def theme() -> gr.themes.Base:
    """Dark in both of Gradio's modes, so that page and canvas agree whatever the system prefers."""
    chosen = gr.themes.Base(
        primary_hue="sky", neutral_hue="slate", radius_size="lg", spacing_size="sm", text_size="md",
        font=FONTS, font_mono=["ui-monospace", "monospace"],
    ).set(
        body_background_fill_dark="#0b0f17",
        background_fill_primary_dark="#121826",
        background_fill_secondary_dark="#0f1420",
        block_background_fill_dark="#121826",
        block_border_color_dark="#222c3e",
        border_color_primary_dark="#2b374c",
        input_background_fill_dark="#0d121d",
        block_label_text_color_dark="#c4cede",
        block_title_text_color_dark="#e5ebf5",
        block_info_text_color_dark="#9fadc2",
        body_text_color_dark="#e5ebf5",
        body_text_color_subdued_dark="#9fadc2",
        button_primary_background_fill_dark="linear-gradient(90deg,#38bdf8,#818cf8)",
        button_primary_background_fill_hover_dark="linear-gradient(90deg,#7dd3fc,#a5b4fc)",
        button_primary_text_color_dark="#06101d",
        button_secondary_background_fill_dark="#1c2638",
        button_secondary_background_fill_hover_dark="#273450",
        button_secondary_text_color_dark="#e5ebf5",
        button_cancel_background_fill_dark="#5b1d24",
        button_cancel_background_fill_hover_dark="#7f2a33",
        button_cancel_text_color_dark="#ffe4e6",
        checkbox_label_background_fill_dark="#1c2638",
        checkbox_label_background_fill_hover_dark="#273450",
        checkbox_label_background_fill_selected_dark="#1e3a56",
        slider_color_dark="#38bdf8",
    )  # fmt: skip
    for name, value in list(vars(chosen).items()):
        if name.endswith("_dark") and value is not None:
            setattr(chosen, name.removesuffix("_dark"), value)
    return chosen


def launch_options() -> dict[str, Any]:
    """What `gr.Blocks.launch` needs to know of the looks."""
    names = (
        "style.css", "timeline.css", "tracking.css", "measuring.css", "knowing.css", "painting.css", "legend.css",
    )  # fmt: skip
    css = "".join(Path(__file__).with_name(name).read_text() for name in names)
    return {"theme": theme(), "css": css, "footer_links": []}
