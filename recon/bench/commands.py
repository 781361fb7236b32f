"""``parallax bench``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from recon.arguments import add_model_arguments, counts, options_of, positive, size
from recon.errors import InputError
from recon.models import card_of
from recon.progress import ProgressBar


def add_bench(commands: Any) -> None:
    """Add ``bench`` to what ``ArgumentParser.add_subparsers`` returned."""
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
        "--frames", type=counts, default=[1, 2, 4, 8, 16], metavar="N,N,...", help="numbers of photos (1,2,4,8,16)"
    )
    command.add_argument("--repeat", type=positive, default=5, metavar="N", help="take the median of N runs (5)")
    command.add_argument(
        "--size", type=size, metavar="HEIGHTxWIDTH",
        help="measure the network alone, from pictures of this size on the device to all maps, and its distance from "
        "float32 (vggt, mapanything, dust3r), or its frames a second (must3r); stand-in weights where none are at hand",
    )  # fmt: skip
    add_model_arguments(command)
    command.set_defaults(run=_bench)


def _bench(arguments: argparse.Namespace) -> int:
    if arguments.size is not None:
        return _bench_network(arguments)
    from recon.bench import runs  # brings torch, which most commands need later or not at all

    request = runs.Request(
        arguments.model, arguments.device, arguments.weights, options_of(arguments), arguments.repeat
    )
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
