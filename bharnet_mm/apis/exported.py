"""Recognizers from exported files."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..errors import ConfigError
from ..io.guard import reading
from ..runtime import ExportedRecognizer, OnnxRecognizer


class ProgramRecognizer(ExportedRecognizer):
    """A model in a ``.pt2`` file of ``bharnet export``, which torch runs without this package's
    models.

    Args:
        path: The file.
        **regions: See :class:`~bharnet_mm.runtime.ExportedRecognizer`.

    Raises:
        ConfigError: torch cannot open the file, it could run code, or there is no card in it.
    """

    def __init__(self, path: str | os.PathLike, **regions: str | os.PathLike) -> None:
        from ..io.program import load_program

        self._module, meta = load_program(path)
        super().__init__(path, meta, **regions)

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Answers of the exported program by name, ``(N, K)`` each, on the CPU."""
        import torch

        where, fix = 'a program for these inputs', 'export the model again'
        with torch.no_grad(), reading(self.path, where, fix, ConfigError):
            answers = self._module({n: torch.from_numpy(inputs[n]) for n in self.inputs})
            return {name: value.numpy() for name, value in answers.items()}


def load_exported(
    path: str | os.PathLike,
    device: str | None = None,
    threads: int | None = None,
    **regions: str | os.PathLike,
) -> ExportedRecognizer:
    """The recognizer of an exported file, chosen by its ending.

    Args:
        path: ``.onnx`` or ``.pt2``.
        device: ``'cuda'`` or ``'cuda:1'`` for onnxruntime's CUDA provider. Defaults to the CPU, on
            which a ``.pt2`` always runs.
        threads: Threads of onnxruntime.
        **regions: See :class:`~bharnet_mm.runtime.ExportedRecognizer`.

    Raises:
        ConfigError: See the recognizers, or the device is unknown or cannot be used.
    """
    if Path(path).suffix == '.pt2':
        if device not in (None, 'cpu'):
            raise ConfigError(f'{path}', f'device={device!r}', "'cpu'", 'export to ONNX for a GPU')
        return ProgramRecognizer(path, **regions)
    known = re.fullmatch(r'cpu|cuda(?::(\d+))?', device or 'cpu')
    if known is None:
        raise ConfigError(f'{path}', f'device={device!r}', "'cpu', 'cuda' or 'cuda:1'")
    providers: list = ['CPUExecutionProvider']
    if known[0] != 'cpu':
        providers.insert(0, ('CUDAExecutionProvider', {'device_id': int(known[1] or 0)}))
    return OnnxRecognizer(path, threads, providers, **regions)
