"""What the page says, as HTML: the bar of progress, the card of a model, the figures of a frame. No Gradio here."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence
from html import escape

import numpy as np

from demo import models
from demo.job import Job
from demo.models import Download
from demo.pictures import Chart, address, confidence_chart, depth_chart, segments_picture
from recon import CARDS, Frame, Plan, Scene
from recon.models import Card
from recon.scene import Labels

HEADER = """
<div class="brand"><span class="mark" aria-hidden="true"></span><h1>Parallax</h1>
<p>Photos in, 3D out. Everything runs on this machine, and your files are deleted when you leave.</p></div>
"""

CAMERA = """
<div class="camera"><video playsinline muted hidden></video>
<div><button type="button">Start the camera</button><button type="button" hidden>Take a picture</button></div>
<p role="status" class="hint"></p></div>
"""
TAKE_HOME = '<h3 class="section">Take it home</h3><p class="hint">The file holds what you see.</p>'
ADDRESS = re.compile(r"https://[\w./-]*\w")
NO_FIGURES = "Depth and confidence of every frame appear here after a run."

WELCOME = """
<div class="welcome">
  <svg viewBox="0 0 360 170" aria-hidden="true" fill="none" stroke-linejoin="round" stroke-linecap="round">
    <g class="dots">%s</g>
    <g class="frusta">
      <path d="M64 118 26 100v-34l38 52-38 16v-34m38 18L26 134M26 66v34"/>
      <path d="M180 150l-26-22h52l-26 22-26-40h52l-26 40M154 110v18m52-18v18"/>
      <path d="M296 118l38-18v-34l-38 52 38 16v-34"/>
    </g>
  </svg>
  <h2>See your photos in three dimensions</h2>
  <ol>
    <li><b>Add</b> a few photos of one place, or a short video. Two to sixteen, overlapping, is a good start.</li>
    <li><b>Reconstruct.</b> Cameras, depth and a coloured point cloud appear as they are found.</li>
    <li><b>Look around</b> and take it home as GLB, PLY, NPZ or COLMAP.</li>
  </ol>
  <p class="hint">Nothing at hand? Try one of the examples.</p>
</div>
"""


def welcome() -> str:
    """What stands in the place of the scene before there is one."""
    dots = []
    for i in range(230):  # the sunflower spiral, seen aslant and bulging: a point cloud without a file
        radius, angle = math.sqrt((i + 0.5) / 230), i * 2.399963
        x = 180 + 74 * radius * math.cos(angle)
        y = 84 + 30 * radius * math.sin(angle) - 46 * math.exp(-5 * radius * radius)
        dots.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="1.5" style="--i:{i / 230:.2f}"/>')
    return WELCOME % "".join(dots)


def viewer(token: str) -> str:
    """The canvas of the visitor with ``token``; the address is relative, so that a proxy may sit before the app."""
    return f'<iframe class="canvas" title="3D viewer" src="viewer/{escape(token)}/" allow="fullscreen"></iframe>'


# --- the line under the button -------------------------------------------------------------------------------------


def quiet(text: str) -> str:
    """A plain sentence."""
    return f'<div class="status" role="status">{escape(text)}</div>'


def busy(stage: str, fraction: float | None = None, detail: str = "") -> str:
    """A bar at ``fraction`` (None: it is not known how far), the name of the stage, and what else there is to say."""
    width = "" if fraction is None else f"width:{100 * fraction:.1f}%"
    value = "" if fraction is None else f' aria-valuenow="{round(100 * fraction)}"'
    percent = "" if fraction is None else f"{round(100 * fraction)} %"
    return (
        f'<div class="status busy" role="status"><div class="words"><b>{escape(stage)}</b><span>{percent}</span></div>'
        f'<div class="track" role="progressbar" aria-label="{escape(stage)}" aria-valuemin="0" aria-valuemax="100"'
        f'{value}><div class="{"unknown" if fraction is None else "known"}" style="{width}"></div></div>'
        f"<small>{escape(detail)}</small></div>"
    )


def running(job: Job) -> str:
    """Where a run stands."""
    if job.session.cancel.is_set():
        return busy("Stopping")
    if job.download is not None:
        return downloading(job.download)
    if job.state == "waiting" and job.place:
        return busy("Waiting for your turn", None, f"{count(job.place, 'run')} before yours")
    if job.state == "loading":
        return busy("Loading the model")
    if job.update is None:
        return busy("Starting", 0.0, f"about {duration(job.predicted)}" if job.predicted else "")
    if job.streamed:
        return busy(job.update.stage.capitalize(), None, job.update.message)
    return busy(
        job.update.stage.capitalize(), job.update.fraction, f"{job.update.message} · {remaining(job.seconds_left)}"
    )


def downloading(download: Download) -> str:
    """How far the weights have come."""
    left = "" if download.seconds_left is None else f" · {remaining(download.seconds_left)}"
    return busy(download.stage, download.fraction, download.detail + left)


def ended(job: Job, scene: Scene | None) -> str:
    """How a run came to its end."""
    if job.state == "done" and scene is not None:
        return done(scene, job.seconds)
    if job.state == "failed":
        return failed(job.error)
    kept = "" if models.here(CARDS[job.model_name]) else " What has been downloaded is kept."
    return quiet(f"Stopped.{kept}{' The scene you had before is back.' if scene else ''}")


def done(scene: Scene, seconds: float) -> str:
    """What a run gave."""
    points = sum(int(frame.known().sum()) for frame in scene.frames)
    many = f"{points / 1e6:.1f} million" if points >= 1e6 else f"{points:,}"
    return (
        f'<div class="status done" role="status"><b>{count(len(scene.frames), "view")}, {many} points</b> '
        f"in {duration(seconds)}</div>"
    )


def failed(sentence: str) -> str:
    """What went wrong, in the one sentence that says what to do."""
    linked = ADDRESS.sub(r'<a href="\g<0>" target="_blank" rel="noopener">\g<0></a>', escape(sentence))
    return f'<div class="status failed" role="alert">{linked}</div>'


# --- before the run ------------------------------------------------------------------------------------------------


def strip(thumbnails: Sequence[str], names: Sequence[str], ticked: Collection[int]) -> str:
    """Pictures in order, each with a box to tick."""
    cells = [
        f'<label title="{escape(name)}"><input type="checkbox" data-index="{i}"{" checked" if i in ticked else ""}'
        f' aria-label="Use {escape(name)}"><img src="{picture}" alt=""><span>{i + 1}</span></label>'
        for i, (picture, name) in enumerate(zip(thumbnails, names, strict=True))
    ]
    return f'<div class="strip">{"".join(cells)}</div>' if cells else ""


def examples(pictures: dict[str, tuple[str, int]]) -> str:
    """A button for each example: its name, its first picture and the number of its photos."""
    buttons = [
        f'<button type="button" data-example="{escape(name)}"><img src="{picture}" alt="">'
        f"<span>{escape(name.replace('_', ' ').capitalize())}<small>{count(number, 'photo')}</small></span></button>"
        for name, (picture, number) in pictures.items()
    ]
    return f'<div class="examples" role="group" aria-label="Examples">{"".join(buttons)}</div>' if buttons else ""


def card(card: Card, here: bool) -> str:
    """What a model gives, its size, its licence, and whether its weights are ``here``."""
    use = (
        '<span class="badge good">commercial use allowed</span>'
        if card.commercial
        else '<span class="badge caution">research only, not for commercial use</span>'
    )
    gated = '<span class="badge caution">gated: needs a Hugging Face token</span>' if card.gated else ""
    units = "in metres" if card.metric else "scale unknown"
    paper = f' · <a href="{escape(card.paper)}" target="_blank" rel="noopener">paper</a>' if card.paper else ""
    size = f"{weights(card.parameters)}, {_whereabouts(card, here)}"
    return (
        f'<div class="card"><p>{use}{gated} {licence(card)}{paper}</p><p>{escape(card.summary)}</p>'
        f"<p>Gives {escape(', '.join(card.gives))}, {units}. {size}.</p></div>"
    )


def _whereabouts(card: Card, here: bool) -> str:
    if card.shipped:
        return "comes with the app"
    return "on this machine already" if here else f"{gigabytes(card.download)} to download once"


def licence(card: Card) -> str:
    """A link to the licence of the weights."""
    name = escape(licence_name(card))
    return f'<a href="{escape(card.licence_url)}" target="_blank" rel="noopener">{name}</a>'


def licence_name(card: Card) -> str:
    """The licence as people call it: one without an SPDX name goes by its own."""
    if not card.licence:
        return "no stated licence"
    own = card.licence.removeprefix("LicenseRef-")
    return card.licence if own == card.licence else own.replace("-", " ")


def agreement(card: Card) -> str:
    """What a visitor ticks who has weights downloaded."""
    if not card.licence:
        return "I know that their owners state no licence"
    return f"I accept the licence {licence_name(card)}"


def terms(card: Card, host: str, folder: str) -> str:
    """What a visitor agrees to who has weights downloaded: how much, from where to where, under which licence."""
    host = card.source if card.direct else host
    return (
        f'<div class="terms"><b>{gigabytes(card.download)}</b> come once from {escape(host)} to this machine '
        f"({escape(folder)}), under {licence(card)}.</div>"
    )


def plan(plan: Plan, given: int) -> str:
    """What a run will take."""
    views = count(given, "view") if len(plan.views) == given else f"{len(plan.views)} of {given} views"
    where = "" if plan.device == "cpu" else " on the GPU"
    needs = (
        f" · <b>{gigabytes(plan.memory)}</b> memory"
        if plan.available is None
        else f"<br>needs <b>{gigabytes(plan.memory)}</b>; you have {gigabytes(plan.available)} free{where}"
    )
    notes = "".join(f"<p>{escape(note)}</p>" for note in plan.notes)
    return f'<div class="plan"><b>{views}</b> · about <b>{duration(plan.seconds)}</b>{needs}{notes}</div>'


def reading_on(name: str, rate: float) -> str:
    """How a video is taken that is read while it is reconstructed."""
    taken = f"{rate:g} frames a second" if rate else "every frame"
    return (
        f'<div class="plan"><b>{escape(name)}</b> is read while it is reconstructed, {taken} of it.'
        "<p>Untick a picture to use those shown here alone.</p></div>"
    )


# --- after the run -------------------------------------------------------------------------------------------------


def notes(sentences: Sequence[str]) -> str:
    """Sentences the visitor should read."""
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
    return f'<ul class="notes" aria-label="Notes">{items}</ul>' if items else ""


def figures(frame: Frame, metric: bool, labels: Labels | None = None) -> str:
    """The photo of ``frame``, its depth, its confidence and what is recognised in it, with what their colours mean."""
    unit = "metres" if metric else "model units"
    return (
        '<div class="figures">'
        f'<figure><figcaption>{escape(frame.name)}</figcaption><img src="{address(frame.image)}" alt="photo"></figure>'
        + _figure("Depth", unit, depth_chart(frame))
        + _figure("Confidence", "more is better", confidence_chart(frame))
        + (_segments(frame, labels) if labels is not None and frame.segments is not None else "")
        + "</div>"
    )


def _segments(frame: Frame, labels: Labels) -> str:
    """What is recognised, things of one class in shades, with the classes that are there."""
    assert frame.segments is not None
    present = set(np.unique(frame.segments).tolist())
    there = sorted({segment.label for segment in labels.segments if segment.id in present})
    names = "".join(
        f'<span><i style="--colour:rgb({",".join(map(str, labels.colours[label].tolist()))})"></i>'
        f"{escape(labels.names[label])}</span>"
        for label in there
    )
    return (
        f'<figure><figcaption>Recognised</figcaption><img src="{address(segments_picture(frame, labels))}" '
        f'alt="recognised"><div class="named">{names or "nothing"}</div></figure>'
    )


def _figure(title: str, unit: str, chart: Chart) -> str:
    ticks = "".join(f"<span>{tick:.3g}</span>" for tick in chart.ticks)
    return (
        f'<figure><figcaption>{title} <small>{unit}</small></figcaption><img src="{address(chart.picture)}" '
        f'alt="{title.lower()}"><div class="bar" style="background:linear-gradient(90deg,{",".join(chart.colours)})">'
        f'</div><div class="ticks">{ticks}</div></figure>'
    )


# --- numbers in words ----------------------------------------------------------------------------------------------


def count(number: int, thing: str) -> str:
    """ "1 view", "2 views"."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 10:
        return f"{max(seconds, 0.1):.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes} min {seconds:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def remaining(seconds: float) -> str:
    """How long something still takes."""
    if seconds <= 0.5:
        return "almost there"
    return f"about {count(round(seconds), 'second') if seconds < 100 else duration(seconds)} left"


def weights(number: int) -> str:
    """The size of a network."""
    return f"{number / 1e9:.2f} billion weights" if number >= 1e9 else f"{number / 1e6:,.0f} million weights"


def gigabytes(size: float) -> str:
    """Bytes in MB or GB."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
