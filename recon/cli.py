"""The same core from a shell: ``parallax run | models | download | evaluate | bench | train | ...``, others add more.

Results go to standard output, progress and complaints to standard error. Exit codes: 0 done, 1 failed, 2 something
given cannot be used, 130 interrupted.

A package adds a command by an entry point of the group ``parallax.commands``: a function that takes what
``ArgumentParser.add_subparsers`` returns, adds its parser to it and sets the default ``run`` of that to a function from
the parsed arguments to an exit code. (So ``parallax serve`` comes from `demo`, of which nothing here knows.)
"""

from __future__ import annotations

import argparse
import errno
import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import Any, NoReturn, get_args

import recon
from recon import live, video
from recon.arguments import add_model_arguments, options_of, positive
from recon.bench.commands import add_bench
from recon.errors import InputError
from recon.evaluation import report
from recon.evaluation.scenes import find_scenes, load_scene
from recon.export import LAYOUTS, WRITERS, export, format_of
from recon.filters import Filters, Moving
from recon.known import attach
from recon.masks import apply, read_masks
from recon.media import Media, read
from recon.models import CARDS, Card, Model, Update, card_of, unheeded
from recon.progress import ProgressBar, duration
from recon.training.commands import add_finetune, add_train

log = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    try:
        parsed = _parser(arguments).parse_args(arguments)
        logging.basicConfig(level=logging.INFO if parsed.verbose else logging.WARNING, stream=sys.stderr)
        code: int = parsed.run(parsed)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return _complain("stopped.", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the flush at the end would fail again
        return 1
    except InputError as error:
        return _complain(str(error), 2)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        why = "the disk is full: free some space and run this again" if full else str(error)
        return _complain(f"{why}.", 1)
    except Exception as error:
        return _complain(f"something went wrong inside ({_first_line(error)}); -v shows where.", 1)


def _complain(sentence: str, code: int) -> int:
    log.info("the trace of what follows", exc_info=True)
    print(f"parallax: {sentence}", file=sys.stderr)
    return code


def _first_line(error: Exception) -> str:
    return " ".join([type(error).__name__ + ":", *str(error).splitlines()[:1]])


# --- arguments -----------------------------------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message} (see {self.prog} --help).")


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    parser = _Parser(
        prog="parallax", description="Photos or a video in; cameras, depth and a coloured point cloud out."
    )
    parser.add_argument("--version", action="version", version=f"parallax {version('parallax-3d')}")
    parser.add_argument("-v", "--verbose", action="store_true", help="show the log, and the trace of an error")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for add in (_add_run, _add_models, _add_download, _add_evaluate, add_bench, add_train, add_finetune):
        add(commands)
    if not arguments or arguments[0] not in commands.choices:  # importing what others add takes time
        for entry in entry_points(group="parallax.commands"):
            entry.load()(commands)
    for command in commands.choices.values():
        command.add_argument("-v", "--verbose", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    return parser


def _add_run(commands: Any) -> None:
    command = commands.add_parser(
        "run",
        help="reconstruct photos or a video",
        description="Reconstruct photos, folders of photos, videos, and live streams. File names that begin with a "
        "dash go after --. A stream is reconstructed until it ends or Ctrl-C is pressed.",
    )
    command.add_argument("photos", nargs="+", metavar="PHOTO|FOLDER|VIDEO|ADDRESS")
    command.add_argument(
        "-o", "--output", action="append", required=True, metavar="FILE",
        help=f"where to write: {', '.join(WRITERS)}, or a folder/ that keeps the whole scene; may be given again",
    )  # fmt: skip
    command.add_argument("--max-frames", type=positive, metavar="N", help="use at most N photos or video frames")
    command.add_argument(
        "--fps", type=float, metavar="F", help="take F frames a second of a video (default: 2, but 8 to 32 in all)"
    )
    command.add_argument(
        "--known", action="append", default=[], metavar="FILE|FOLDER|ZIP",
        help="what is known of the photos: a COLMAP model, transforms.json, depth maps, a table of cameras, an export "
        "of Polycam, 3D Scanner App or Record3D; may be given again",
    )  # fmt: skip
    command.add_argument(
        "--depth-scale", type=float, metavar="S",
        help="units for a value of 1 in known depth maps (default: millimetres where they hold whole numbers)",
    )  # fmt: skip
    command.add_argument(
        "--metric", action=argparse.BooleanOptionalAction,
        help="known poses and depth are in metres, or not (default: as their kind says)",
    )  # fmt: skip
    add_model_arguments(command)
    command.add_argument(
        "--confidence", type=float, default=20, metavar="PERCENT",
        help="leave this share of the pixels out, the least confident ones (default: 20)",
    )  # fmt: skip
    command.add_argument(
        "--edges", action=argparse.BooleanOptionalAction, default=True, help="leave points at depth edges out (default)"
    )
    command.add_argument("--sky", action="store_true", help="leave the sky out")
    command.add_argument("--black", action="store_true", help="leave black backgrounds out")
    command.add_argument("--white", action="store_true", help="leave white backgrounds out")
    command.add_argument(
        "--masks", type=Path, nargs="+", default=[], metavar="FILE|FOLDER|ZIP",
        help="pictures named like the photos: what is not black in them moves",
    )  # fmt: skip
    command.add_argument(
        "--moving",
        choices=get_args(Moving),
        default="show",
        help="what moves: show it, hide it, or write it only (show)",
    )
    command.set_defaults(run=_run)


def _add_models(commands: Any) -> None:
    command = commands.add_parser("models", help="list the models, what they give and their licences")
    command.set_defaults(run=_models)


def _add_download(commands: Any) -> None:
    command = commands.add_parser(
        "download",
        help="fetch the weights of models beforehand",
        description="Fetch the weights of models into the cache (HF_HOME), and print where they are.",
    )
    command.add_argument("models", nargs="+", metavar="NAME", help="a name of `parallax models`")
    command.set_defaults(run=_download)


def _add_evaluate(commands: Any) -> None:
    command = commands.add_parser(
        "evaluate",
        help="compare a model with ground truth",
        description="Run a model on the pictures of scenes with known cameras or depth, and compare.",
    )
    command.add_argument("scenes", nargs="+", type=Path, metavar="SCENE", help="a scene's folder, or a folder of such")
    command.add_argument("--frames", type=positive, default=8, metavar="N", help="how many pictures (default: 8)")
    command.add_argument("--first", action="store_true", help="take the first N, not N spread evenly")
    command.add_argument("--json", action="store_true", help="print JSON, not a table")
    add_model_arguments(command)
    command.set_defaults(run=_evaluate)


# --- commands ------------------------------------------------------------------------------------------------------


def _run(arguments: argparse.Namespace) -> int:
    filters = Filters(
        confidence=arguments.confidence,
        edges=arguments.edges,
        sky=arguments.sky,
        black=arguments.black,
        white=arguments.white,
        moving=arguments.moving,
    )
    options = options_of(arguments, arguments.max_frames)
    for output in arguments.output:
        check_output(output)
    start = time.monotonic()
    streamed = _streamed(arguments)
    with ProgressBar(sys.stderr) as bar:
        media = Media() if streamed is not None else read(
            arguments.photos,
            maximum_views=arguments.max_frames,
            frames_per_second=arguments.fps,
            progress=lambda fraction, name: bar.show("Reading", fraction),
        )  # fmt: skip
    if arguments.known:
        known = attach(media.views, arguments.known, depth_scale=arguments.depth_scale, metric=arguments.metric)
        lost = unheeded(card_of(arguments.model), known.views)
        media = Media(known.views, [*media.notes, *known.notes, *([lost] if lost else [])])
    if arguments.masks:
        for index, mask in read_masks(arguments.masks, media.views).items():
            media.views[index].moving = mask
    if streamed is None:
        recon.plan(arguments.model, media.views, arguments.device, options)  # what cannot be run needs no weights
    model = _load(arguments)
    if isinstance(streamed, live.Live):
        _stop_at_first(streamed)
    with ProgressBar(sys.stderr) as bar:
        scene = model.reconstruct(media.views if streamed is None else streamed, options, _show_on(bar))
    if isinstance(streamed, live.Live):
        streamed.stop()
        scene.notes.append(streamed.told)
    if arguments.masks:
        apply(scene, media.views)
    for note in media.notes + scene.notes:
        print(f"Note: {note}", file=sys.stderr)
    scene.notes = media.notes + scene.notes
    count = len(scene.frames)
    took = duration(time.monotonic() - start)
    print(f"Reconstructed {count} {'frame' if count == 1 else 'frames'} in {took}.", file=sys.stderr)
    return _write(scene, arguments.output, filters)


def _write(scene: recon.Scene, outputs: Sequence[str], filters: Filters) -> int:
    """Write all that can be written, whatever cannot, and name it; the exit code."""
    code = 0
    for output in outputs:
        try:
            export(scene, output, filters)
            print(output)
        except InputError as error:
            code = _complain(f"{output}: {error}", 2)
    return code


def _streamed(arguments: argparse.Namespace) -> Any:
    """The frames of a video or stream that is to be read while it is reconstructed; None where all is read before."""
    card = card_of(arguments.model)
    if any(map(live.is_address, arguments.photos)):
        others = len(arguments.photos) > 1 or arguments.known or arguments.masks or arguments.fps
        if others or arguments.order == "photos":
            raise InputError("A stream is reconstructed alone, as a video: leave everything else out.")
        if not card.streams:
            raise InputError(f"{card.title} takes no pictures as they come: choose a model with a memory, as must3r.")
        return live.stream(arguments.photos[0])
    path = Path(arguments.photos[0])
    wanted = arguments.order == "video" and card.streams
    wanted &= not arguments.known and not arguments.masks
    if not wanted or len(arguments.photos) > 1 or path.suffix.lower() not in video.SUFFIXES:
        return None
    return video.frames(path, frames_per_second=arguments.fps)


def check_output(output: str) -> None:
    """Tell before the work what would keep `recon.export.export` from writing to ``output``.

    Raises:
        InputError: there is no such format, or the place cannot be written.
    """
    path = Path(output).expanduser()
    suffix = format_of(output)
    if suffix in LAYOUTS and path.exists():
        if not path.is_dir():
            raise InputError(f"'{output}' is a file: name a file {', '.join(WRITERS)}, or another folder/.")
        if not {entry.name for entry in path.iterdir()} <= LAYOUTS[suffix]:
            raise InputError(f"'{output}' holds other files: name a new folder/, or a file {', '.join(WRITERS)}.")
    parent = path.resolve().parent
    while not parent.exists():
        parent = parent.parent
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise InputError(f"'{output}' cannot be written, since '{parent}' is no folder or may not be written to.")


# Where a signal falls into foreign code, a library may swallow the exception; the next update then asks here.
_stopped = threading.Event()


def _stop(*_: Any) -> NoReturn:
    _stopped.set()
    raise KeyboardInterrupt


def _stop_at_first(source: live.Live) -> None:
    """Let the first Ctrl-C end the source, so that what came is kept, and the second end the run."""

    def stop(*_: Any) -> None:
        signal.signal(signal.SIGINT, _stop)
        source.stop()

    signal.signal(signal.SIGINT, stop)


def _show_on(bar: ProgressBar) -> Callable[[Update], None]:
    def show(update: Update) -> None:
        if _stopped.is_set():
            raise KeyboardInterrupt
        bar.show(update.stage, update.fraction)

    return show


def _load(arguments: argparse.Namespace) -> Model:
    import pycolmap  # noqa: F401  # takes SIGTERM for itself when it is first imported, hence before the next line

    _stopped.clear()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    if arguments.weights is None:
        _announce(card_of(arguments.model))
    with ProgressBar(sys.stderr) as bar:
        return recon.load(arguments.model, arguments.device, arguments.weights, _show_download_on(bar))


def _announce(card: Card) -> None:
    """Tell whose weights are about to be downloaded, and under which licence."""
    from recon import hub  # here, since most runs need no network

    if not card.shipped and hub.cached(card) is None:
        print(f"Note: {card.source} is under {_licence(card)}, {card.licence_url}", file=sys.stderr)


def _licence(card: Card) -> str:
    licence = card.licence or "no stated licence"
    return licence if card.commercial else f"{licence} (not for commercial use)"


def _show_download_on(bar: ProgressBar) -> Callable[[float, str], None]:
    def show(fraction: float, message: str) -> None:
        if _stopped.is_set():
            raise KeyboardInterrupt
        bar.show("Downloading", fraction, message)

    return show


def _models(arguments: argparse.Namespace) -> int:
    rows = [("NAME", "GIVES", "SIZE", "WEIGHTS", "LICENCE OF THE WEIGHTS", "SOURCE")]
    for card in CARDS.values():
        size = f"{card.parameters / 1e6:,.0f} M"
        rows.append((card.name, ", ".join(card.gives), size, _weights(card), _licence(card), card.source))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
    return 0


def _weights(card: Card) -> str:
    from recon import hub  # here, since most runs need no network

    if card.shipped:
        return "shipped"
    if hub.cached(card) is not None:
        return "here"
    return f"{card.download / 1e9:.1f} GB to download{', gated' if card.gated else ''}"


def _download(arguments: argparse.Namespace) -> int:
    from recon import hub

    _stopped.clear()
    for card in [card_of(name) for name in arguments.models]:
        _announce(card)
        with ProgressBar(sys.stderr) as bar:
            path = hub.fetch(card, _show_download_on(bar))
        print(path)
    return 0


def _evaluate(arguments: argparse.Namespace) -> int:
    scenes = [load_scene(folder) for folder in find_scenes(arguments.scenes)]
    names = [scene.name for scene in scenes]
    if len(set(names)) < len(names):
        raise InputError("Two of these scenes have the same name: evaluate them apart.")
    options = options_of(arguments)
    model = _load(arguments)
    results = {}
    for index, scene in enumerate(scenes, 1):
        title = f"[{index}/{len(scenes)}] {scene.name}  "
        with ProgressBar(sys.stderr, title) as bar:
            chosen = scene.choose(arguments.frames, arguments.first)
            results[scene.name] = report.evaluate(scene, model, chosen, options, _show_on(bar))
    print(json.dumps(report.as_json(results), indent=2) if arguments.json else report.as_table(results))
    return 0
