"""A log that cannot be written, as on a full disk, does not end a training."""

from __future__ import annotations

import functools
import logging
import sys
import threading
from collections.abc import Callable
from typing import Any

from mmengine.runner import Runner

from ..io.atomic import is_disk_error

_WRITES = ('add_config', 'add_graph', 'add_image', 'add_scalar', 'add_scalars', 'close')


def guard_logs(runner: Runner) -> Runner:
    """Lets a runner go on where a file of its log cannot be written; returns the runner.

    This holds for the text log and for everything that the visualizer writes (JSON, TensorBoard).
    The first failure of each is said on standard error. Checkpoints are no logs: one that cannot be
    written is an error.

    TensorBoard writes in a thread. An error of the disk ends that thread, and the next call raises
    it here, so the thread's own traceback is not printed.
    """
    threading.excepthook = _ThreadErrors.around(threading.excepthook)
    for backend in getattr(getattr(runner, 'visualizer', None), '_vis_backends', {}).values():
        tell = _Once(type(backend).__name__)
        for name in _WRITES:
            setattr(backend, name, _guarded(getattr(backend, name), tell))
    for handler in getattr(getattr(runner, 'logger', None), 'handlers', ()):
        if isinstance(handler, logging.FileHandler):
            handler.handleError = _Once(handler.baseFilename)
    return runner


class _Once:
    """Says the first time it is called that something is not written any more."""

    def __init__(self, what: str) -> None:
        self.what, self.said = what, False

    def __call__(self, _: Any = None) -> None:
        if not self.said:
            self.said = True
            error = sys.exc_info()[1]
            print(
                f'warning: {self.what}: the log cannot be written ({error}); the training goes on',
                file=sys.stderr,
            )


class _ThreadErrors:
    """Says an error of the disk in a thread in one line; others go to the hook of before."""

    def __init__(self, before: Callable[[Any], Any]) -> None:
        self.before = before

    @classmethod
    def around(cls, hook: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """The hook with this one around it, once."""
        return hook if isinstance(hook, cls) else cls(hook)

    def __call__(self, args: Any) -> None:
        if is_disk_error(args.exc_value):
            name = args.thread.name if args.thread else 'a thread'
            print(f'warning: {name} ended: {args.exc_value}', file=sys.stderr)
        else:
            self.before(args)


def _guarded(write: Callable, tell: _Once) -> Callable:
    @functools.wraps(write)
    def guarded(*args: Any, **options: Any) -> None:
        try:
            write(*args, **options)
        except OSError:
            tell()

    return guarded
