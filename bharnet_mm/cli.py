"""The ``bharnet`` command."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from typing import Any

from .engine.kept_warnings import keep_warnings
from .io.command import run_command
from .version import __version__

#: Command → its module and what it does. A module has ``add_arguments(parser)`` and ``run(args)``;
#: It is imported when its command is called, so that the other commands start faster.
COMMANDS = {
    'predict': ('bharnet_mm.apis.predict', 'recognize actions in videos, streams and clip stores'),
    'live': ('bharnet_mm.apis.live.command', 'recognize actions before a camera'),
    'extract': ('bharnet_mm.apis.extract', 'find bodies and hands in videos, into a clip store'),
    'doctor': ('bharnet_mm.apis.doctor.command', 'examine a clip store before it is trained on'),
    'train': ('bharnet_mm.apis.train', 'train a model'),
    'test': ('bharnet_mm.apis.test', 'test a checkpoint'),
    'export': ('bharnet_mm.apis.export', 'write a model as ONNX or for torch.export'),
    'models': ('bharnet_mm.apis.models_command', 'list the models, or describe one'),
    'publish': ('bharnet_mm.apis.publish', 'make one file of a trained model, with its card'),
    'web': ('bharnet_mm.apis.web', 'open a page for videos and the camera'),
}

#: Command → how to go on where a signal has ended it.
_GO_ON = {
    'extract': ': the same command continues',
    'train': ': --resume continues from the last checkpoint',
}


def main(argv: Sequence[str] | None = None) -> None:
    """Runs ``bharnet COMMAND ...``; ends the process with its exit status."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] in ('-h', '--help'):
        print(_help())
        sys.exit(0 if argv else 2)
    if argv[0] == '--version':
        print(f'bharnet_mm {__version__}')
        sys.exit(0)
    if argv[0] not in COMMANDS:
        print(_help(), file=sys.stderr)
        sys.exit(f'error: no command {argv[0]!r}')
    run_module(argv[0], argv[1:])


def run_module(command: str, argv: Sequence[str] | None = None) -> None:
    """Runs one command. ``tools/*.py`` call this as well.

    An error of this package or of the disk is printed last, without a traceback unless ``--debug``
    is given.

    Args:
        command: One of :data:`COMMANDS`.
        argv: Its arguments. Defaults to those of the process.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    debug = '--debug' in argv
    argv = [word for word in argv if word != '--debug']
    if not debug:
        keep_warnings()
    name, text = COMMANDS[command]
    run_command(lambda: _call(command, name, text, argv), debug, _GO_ON.get(command, ''))


def _call(command: str, name: str, text: str, argv: list[str]) -> int | None:
    module: Any = importlib.import_module(name)
    parser = argparse.ArgumentParser(
        prog=f'bharnet {command}',
        description=getattr(module, 'DESCRIPTION', text[0].upper() + text[1:] + '.'),
        epilog='--debug shows the traceback of an error.',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.add_arguments(parser)
    return module.run(parser.parse_args(argv))


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [
        'usage: bharnet COMMAND ...',
        '',
        'Body-hand action recognition from skeletons.',
        '',
        *(f'  {name:{width}}  {text}' for name, (_, text) in COMMANDS.items()),
        '',
        '`bharnet COMMAND --help` explains a command; --debug shows the traceback of an error.',
    ]
    return '\n'.join(lines)
