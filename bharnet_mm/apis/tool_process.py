"""The commands ``train`` and ``test`` in processes of their own, as longer experiments run them."""

from __future__ import annotations

import argparse
import importlib
import multiprocessing
import os
import resource
import subprocess
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path

from ..io.process import die_with, unheard


def run_tool(name: str, arguments: list, log: Path, threads: int | None) -> dict[str, float]:
    """Runs ``train`` or ``test`` in a process of its own and returns what it cost.

    The process is forked from one that has imported everything, because importing torch and
    MMAction2 twice took a third of a short fold.

    Args:
        name: Module of :mod:`bharnet_mm.apis` with the command.
        arguments: Its command line.
        log: File that its output is appended to.
        threads: Threads of torch and OpenMP; None leaves them to the environment.

    Returns:
        ``seconds`` on the clock and ``cpu_seconds`` of processor time.

    Raises:
        CalledProcessError: The command failed; the log says why.
    """
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(
        ['__main__', 'bharnet_mm', 'mmaction.models', 'mmaction.datasets', __name__]
    )
    command = [name, *map(str, arguments)]
    receiver, sender = context.Pipe(duplex=False)
    start = time.time()
    process = context.Process(target=_tool, args=(command, log, threads, sender, os.getpid()))
    with unheard():
        process.start()
    sender.close()
    process.join()
    seconds = round(time.time() - start, 2)
    if process.exitcode:
        raise subprocess.CalledProcessError(process.exitcode, command)
    return {'seconds': seconds, 'cpu_seconds': receiver.recv()}


def _tool(
    command: list[str], log: Path, threads: int | None, sender: Connection, parent: int
) -> None:
    """Body of the process: runs the command with its output going to the log."""
    die_with(parent)
    import torch

    with open(log, 'a') as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
    if threads:
        os.environ['OMP_NUM_THREADS'] = str(threads)
        torch.set_num_threads(threads)
    name, *arguments = command
    try:
        module = importlib.import_module(f'bharnet_mm.apis.{name}')
        parser = argparse.ArgumentParser(prog=name)
        module.add_arguments(parser)
        module.run(parser.parse_args(arguments))
    finally:
        # Unlike the clock, processor time is that of the work even where other programs run or the
        # process was stopped for a while.
        usage = [resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        sender.send(round(sum(u.ru_utime + u.ru_stime for u in usage), 2))
