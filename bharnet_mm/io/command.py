"""Runs a command: its errors are one line, and a signal ends it in order."""

from __future__ import annotations

import contextlib
import importlib
import os
import select
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any

from ..errors import BHaRNetError
from .names import shown
from .process import end_children

_SIGNALS = ('SIGINT', 'SIGTERM', 'SIGHUP')


class Stopped(KeyboardInterrupt):
    """A signal asked the process to end.

    It is raised where the main thread is, so that files, locks and child processes are let go.
    Code that handles Ctrl-C handles it as well.

    Attributes:
        number: Of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def run_command(
    command: Callable[[], Any] | str, debug: bool | None = None, hint: str = ''
) -> None:
    """Runs a command and ends the process with its status.

    An error of this package or of the system is printed as one line, with status 1. SIGINT
    (Ctrl-C), SIGTERM and SIGHUP end it with 128 and the number of the signal (130, 143, 129), as
    shells do; a signal that is ignored, as ``nohup`` sets it, stays ignored.

    A reader that closes the pipe, as ``head`` does, ends it quietly with 141.

    Args:
        command: Returns the exit status; anything but a number is 0. Or the name of a module with
            such a function ``main``, which is then imported here.
        debug: Whether tracebacks are shown. By default only those of faults of the program are.
        hint: Printed where a signal ended the command, such as how to go on.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError):  # replaced by a test or a notebook
            stream.reconfigure(errors='backslashreplace')  # names that the terminal has no text for
    with stopped_by_signals() as received:
        try:
            if isinstance(command, str):
                command = importlib.import_module(command).main
            status = command()
            if sys.stdout is not None:
                sys.stdout.flush()  # here, where an error of it is handled
        except SystemExit:
            raise
        except BaseException as error:
            # Libraries turn the exception of a signal into others (MMEngine, where it formats a
            # config), so the signal itself counts.
            number = signal.SIGINT if isinstance(error, KeyboardInterrupt) else None
            number = next(iter(received), number)
            if number is not None:
                end_children()
                text = 'interrupted' if number == signal.SIGINT else f'ended by {_name(number)}'
                status = 128 + _failed(text + hint, debug, number)
            elif isinstance(error, BrokenPipeError) and _nobody_reads():
                status = 128 + getattr(signal, 'SIGPIPE', 13)
            elif isinstance(error, (BHaRNetError, OSError)):
                status = _failed(f'error: {_of_system(error)}', debug)
            elif debug is None or not isinstance(error, Exception):
                raise
            else:
                said = shown(' '.join(str(error).split())) or 'no message'
                text = f'error: {type(error).__name__}: {said}\n--debug shows where it came from'
                status = _failed(text, debug)
    sys.exit(status if isinstance(status, int) else 0)


@contextlib.contextmanager
def stopped_by_signals() -> Iterator[list[int]]:
    """Has signals that end the process raise :class:`Stopped` within the block; yields the list of
    those that came.

    Forked children get the system's handling of the signals back, except that of Ctrl-C, which
    reaches the parent too.
    """

    received: list[int] = []

    def stop(number: int, frame: Any) -> None:
        received.append(number)
        raise Stopped(number)

    before = {}
    for name in _SIGNALS:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            with contextlib.suppress(ValueError):  # not in the main thread
                before[number] = signal.signal(number, stop)

    def forget() -> None:
        for number in before:
            if signal.getsignal(number) is stop:
                ignored = signal.SIG_IGN if number == signal.SIGINT else signal.SIG_DFL
                signal.signal(number, ignored)

    if before and hasattr(os, 'register_at_fork'):
        os.register_at_fork(after_in_child=forget)
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _of_system(error: BHaRNetError | OSError) -> str:
    """The text of an error; that of the system is 'file: reason', without its number."""
    if isinstance(error, BHaRNetError) or not error.strerror:
        return shown(error)
    files = [os.fsdecode(name) for name in (error.filename, error.filename2) if name]
    return shown(': '.join([' and '.join(files), error.strerror]).removeprefix(': '))


def _nobody_reads() -> bool:
    """Whether standard output is a pipe that was closed; if so, the rest of it is discarded."""
    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), select.POLLOUT)
    except (AttributeError, ValueError):  # on Windows, or replaced by a test or a notebook
        return False
    if not any(event & select.POLLERR for _, event in poll.poll(0)):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return True


def _name(number: int) -> str:
    return signal.Signals(number).name


def _failed(text: str, debug: bool | None, status: int = 1) -> int:
    with contextlib.suppress(OSError):  # a pipe that was closed
        sys.stdout.flush()
    if debug:
        traceback.print_exc()
    print(text, file=sys.stderr)
    return status
