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
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from functools import partial
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import Any, NoReturn, get_args

import recon
from recon import live, video
from recon.alignment.pair_graph import GRAPHS
from recon.errors import InputError
from recon.evaluation import report
from recon.evaluation.scenes import find_scenes, load_scene
from recon.export import LAYOUTS, WRITERS, export, format_of
from recon.filters import Filters, Moving
from recon.known import attach
from recon.masks import apply, read_masks
from recon.media import Media, read
from recon.models import CARDS, Card, Model, Options, Update, card_of
from recon.models.base import USES
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
    for add in (_add_run, _add_models, _add_download, _add_evaluate, _add_bench, add_train, add_finetune):
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
    command.add_argument("--max-frames", type=_positive, metavar="N", help="use at most N photos or video frames")
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
    _add_model_arguments(command)
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
    command.add_argument("--frames", type=_positive, default=8, metavar="N", help="how many pictures (default: 8)")
    command.add_argument("--first", action="store_true", help="take the first N, not N spread evenly")
    command.add_argument("--json", action="store_true", help="print JSON, not a table")
    _add_model_arguments(command)
    command.set_defaults(run=_evaluate)


def _add_bench(commands: Any) -> None:
    command = commands.add_parser(
        "bench",
        help="measure seconds by stage and peak memory",
        description="Measure seconds by stage and peak memory of whole runs, or, with --size, the network alone; print "
        "a Markdown table.",
    )
    command.add_argument(
        "photos", nargs="?", type=Path, metavar="FOLDER",
        help="photos to measure with, as they are (default: an example's, enlarged to 12 megapixels)",
    )  # fmt: skip
    command.add_argument(
        "--frames", type=_counts, default=[1, 2, 4, 8, 16], metavar="N,N,...", help="numbers of photos (1,2,4,8,16)"
    )
    command.add_argument("--repeat", type=_positive, default=5, metavar="N", help="take the median of N runs (5)")
    command.add_argument(
        "--size", type=_size, metavar="HEIGHTxWIDTH",
        help="measure the network alone, from pictures of this size on the device to all maps, and its distance from "
        "float32 (vggt, mapanything, dust3r), or its frames a second (must3r); stand-in weights where none are at hand",
    )  # fmt: skip
    _add_model_arguments(command)
    command.set_defaults(run=_bench)


def _add_model_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("--model", default="embedded", metavar="NAME", help="a name of `parallax models` (embedded)")
    command.add_argument("--device", help="cpu, cuda, cuda:1 ... (default: cuda where there is one)")
    command.add_argument("--weights", type=Path, metavar="FILE", help="a checkpoint to use in place of the model's own")
    command.add_argument(
        "--verify", action=argparse.BooleanOptionalAction,
        help="check the cameras by matches and bundle adjustment, or not (default: as the model's card says)",
    )  # fmt: skip
    command.add_argument(
        "--dense", action=argparse.BooleanOptionalAction,
        help="refine depth by the other views where cameras are verified, or not (default: as the model's card says)",
    )  # fmt: skip
    command.add_argument(
        "--points", choices=["depth", "head"], default="depth",
        help="take points from depth and cameras, or from the network's own pointmap, where it has one (depth)",
    )  # fmt: skip
    command.add_argument(
        "--fit", choices=["crop", "pad"], default="crop",
        help="bring tall photos to the network's size by cropping or by padding, where that is asked (crop)",
    )  # fmt: skip
    command.add_argument(
        "--refine", action="store_true", help="adjust the cameras by bundle adjustment over the network's tracks"
    )
    phrases = "; ".join(f"{name}, {phrase}" for name, phrase in GRAPHS.items())
    command.add_argument(
        "--graph", default="auto", metavar="NAME",
        help=f"which photos a network of pairs is given together (auto): {phrases}; or with a number, as swin-5, "
        "swin-5-noncyclic, oneref-2",
    )  # fmt: skip
    command.add_argument(
        "--shared-focal", action=argparse.BooleanOptionalAction,
        help="all photos were taken with one lens at one zoom, or not (default: only where they are one video's)",
    )  # fmt: skip
    command.add_argument(
        "--use", type=_kinds, default=USES, metavar="KIND,KIND,...",
        help=f"what the network is told of that which is known of the photos: among {', '.join(USES)}, or none (all)",
    )  # fmt: skip
    command.add_argument(
        "--align", action=argparse.BooleanOptionalAction, default=True,
        help="move the scene to where it meets the poses that are known (default)",
    )  # fmt: skip
    command.add_argument(
        "--mask", action=argparse.BooleanOptionalAction, default=True,
        help="leave out what the network calls ambiguous, and torn edges (default)",
    )  # fmt: skip
    command.add_argument(
        "--agreement", action="store_true", help="judge confidence by how many other photos see the same surface"
    )
    command.add_argument(
        "--order", choices=["auto", "photos", "video"], default="auto",
        help="for a network with a memory: photos in any order, or the frames of a video in theirs; a video alone is "
        "then read while it is reconstructed, all of it or --fps frames a second (auto)",
    )  # fmt: skip
    command.add_argument(
        "--keyframes", type=_positive, metavar="N", help="its memory holds at most N views (default: what fits, or 50)"
    )
    command.add_argument(
        "--forget", choices=["oldest", "crowded"], default="oldest",
        help="of a video's keyframes, which leaves for a new one: the oldest, or one that is near another (oldest)",
    )  # fmt: skip
    command.add_argument(
        "--window", type=int, default=0, metavar="N", help="of a video, remember the last N frames too (0)"
    )
    command.add_argument(
        "--rounds", type=int, default=0, metavar="N", help="go through the views N times more, which closes loops (0)"
    )
    command.add_argument(
        "--rerender", action="store_true", help="place all frames of a video anew at the end, by the whole memory"
    )


def _options(arguments: argparse.Namespace, maximum_views: int | None = None) -> Options:
    options = Options(
        maximum_views, arguments.verify, arguments.dense, arguments.points, arguments.fit, arguments.refine,
        arguments.graph, arguments.shared_focal, arguments.use, arguments.align, arguments.mask,
        arguments.agreement,
        arguments.order, arguments.keyframes, arguments.forget, arguments.window, arguments.rounds, arguments.rerender,
    )  # fmt: skip
    card, plain = card_of(arguments.model), Options()
    own = ("points", "fit", "refine", "graph", "shared_focal", "use", "align", "mask", "agreement")
    for name in (*own, "order", "keyframes", "forget", "window", "rounds", "rerender"):
        if getattr(options, name) != getattr(plain, name) and name not in card.choices:
            flag = name.replace("_", "-")
            raise InputError(f"{card.title} knows no --{flag}: leave it out, or choose another model.")
    return options


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number from 1 up")
    return int(text)


def _kinds(text: str) -> tuple[str, ...]:
    return () if text == "none" else tuple(part.strip() for part in text.split(","))


def _size(text: str) -> tuple[int, int]:
    height, _, width = text.lower().partition("x")
    return _positive(height), _positive(width)


def _counts(text: str) -> list[int]:
    return [_positive(part.strip()) for part in text.split(",")]


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
    options = _options(arguments, arguments.max_frames)
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
        media = Media(known.views, media.notes + known.notes)
    if arguments.masks:
        for index, mask in read_masks(arguments.masks, media.views).items():
            media.views[index].moving = mask
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
    for output in arguments.output:
        export(scene, output, filters)
    count = len(scene.frames)
    took = duration(time.monotonic() - start)
    print(f"Reconstructed {count} {'frame' if count == 1 else 'frames'} in {took}.", file=sys.stderr)
    print(*arguments.output, sep="\n")
    return 0


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
    options = _options(arguments)
    model = _load(arguments)
    results = {}
    for index, scene in enumerate(scenes, 1):
        title = f"[{index}/{len(scenes)}] {scene.name}  "
        with ProgressBar(sys.stderr, title) as bar:
            chosen = scene.choose(arguments.frames, arguments.first)
            results[scene.name] = report.evaluate(scene, model, chosen, options, _show_on(bar))
    print(json.dumps(report.as_json(results), indent=2) if arguments.json else report.as_table(results))
    return 0


def _bench(arguments: argparse.Namespace) -> int:
    if arguments.size is not None:
        return _bench_network(arguments)
    from recon.bench import runs  # brings torch, which most commands need later or not at all

    request = runs.Request(arguments.model, arguments.device, arguments.weights, _options(arguments), arguments.repeat)
    progress = runs.bench(request, arguments.frames, arguments.photos)
    return _measured(progress, arguments.frames, "photos", runs.as_table)


def _bench_network(arguments: argparse.Namespace) -> int:
    from recon.bench import memory, network

    if arguments.photos is not None:
        raise InputError("--size measures the network on pictures of its own: leave the folder out.")
    if "graph" in card_of(arguments.model).choices:
        return _bench_pairs(arguments)
    height, width = arguments.size
    request = network.Request(arguments.model, height, width, arguments.device, arguments.weights, arguments.repeat)
    kind: Any = memory if arguments.model in memory.MODELS else network
    progress = kind.measure_network(request, arguments.frames)
    return _measured(progress, arguments.frames, "pictures", partial(kind.as_table, request))


def _bench_pairs(arguments: argparse.Namespace) -> int:
    from recon.bench import pairs

    if arguments.model not in pairs.MODELS:
        raise InputError(f"The network of '{arguments.model}' is not measured alone; leave --size out.")
    height, width = arguments.size
    graph = "complete" if arguments.graph == "auto" else arguments.graph
    request = pairs.Request(
        arguments.model, height, width, graph, arguments.device, arguments.weights, arguments.repeat
    )
    progress = pairs.measure_pairs(request, arguments.frames)
    return _measured(progress, arguments.frames, "pictures", partial(pairs.as_table, request))


def _measured(
    progress: Generator[Any, None, None], counts: Sequence[int], what: str, as_table: Callable[[Sequence[Any]], str]
) -> int:
    """Print what is measured, and what was until then if something ends it early."""
    results: list[Any] = []
    try:
        with ProgressBar(sys.stderr) as bar, closing(progress):
            for index, count in enumerate(counts):
                bar.show(f"Measuring with {count} of {max(counts)} {what}", index / len(counts))
                results.append(next(progress))
    finally:
        if results:
            print(as_table(results))
    return 0
