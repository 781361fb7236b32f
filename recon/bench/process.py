"""Work in a process of its own, so that its peak of memory is its own."""

from __future__ import annotations

import multiprocessing
import platform
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

from recon.errors import InputError
from recon.models import memory

Done = TypeVar("Done")


def peak_memory() -> int:
    """The largest resident set this process has had, in bytes."""
    status = Path("/proc/self/status")
    if status.is_file():  # getrusage would count what the parent held when it forked
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if platform.system() == "Darwin" else peak * 1024


def apart(what: str, work: Callable[..., Done], *arguments: Any) -> Done:
    """Do ``work`` in a process of its own, whose memory is its own.

    Args:
        what: the run that this is, for a complaint.
        work: a function of a module; it and its arguments and value go from process to process.
        arguments: of ``work``.

    Raises:
        InputError: that ``work`` raised, or the process ended without an answer.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(sender, work, arguments), daemon=True)
    # Ctrl-C reaches both processes. The child inherits to ignore it; the parent ends the child.
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    process.start()
    signal.signal(signal.SIGINT, handler)
    sender.close()
    try:
        answer = receiver.recv()
        process.join()
    except EOFError as error:
        process.join()
        raise InputError(f"The run {what} ended early (exit code {process.exitcode}).") from error
    finally:
        process.kill()
        process.join()
    if isinstance(answer, InputError):
        raise answer
    return answer


def _answer(sender: Connection, work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    try:
        sender.send(work(*arguments))
    except InputError as error:
        sender.send(error)


@contextmanager
def enough_memory(count: int) -> Iterator[None]:
    """Tell in a sentence where memory does not suffice for ``count`` pictures.

    Raises:
        InputError: it does not.
    """
    try:
        yield
    except Exception as error:
        if not memory.is_refusal(error):
            raise
        raise InputError(f"There is not enough memory for {count} pictures; measure fewer or smaller ones.") from error
