"""Recognizers from exported files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..errors import ConfigError
from ..runtime import ExportedRecognizer, OnnxRecognizer
from ..runtime.recognizer import INPUTS_KEY
from .model_card import CARD_KEY


class ProgramRecognizer(ExportedRecognizer):
    """A model in a ``.pt2`` file of ``bharnet export``, which torch runs without this package's models.

    Args:
        path: The file.
        **regions: See :class:`~bharnet_mm.runtime.ExportedRecognizer`.

    Raises:
        ConfigError: torch cannot open the file, or there is no card in it.
    """

    def __init__(self, path: str | os.PathLike, **regions: str | os.PathLike) -> None:
        import torch

        meta: dict = {CARD_KEY: '', INPUTS_KEY: ''}
        try:
            self._module = torch.export.load(os.fspath(path), extra_files=meta).module()
        except Exception as error:
            raise ConfigError(
                f'{path}',
                f'what torch cannot open ({error})',
                'a .pt2 file of `bharnet export`',
                'export the model again',
            ) from error
        meta = {k: v.decode() if isinstance(v, bytes) else v for k, v in meta.items()}
        super().__init__(path, meta, **regions)

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        import torch

        with torch.no_grad():
            answers = self._module({n: torch.from_numpy(inputs[n]) for n in self.inputs})
        return {name: value.numpy() for name, value in answers.items()}


def load_exported(
    path: str | os.PathLike,
    device: str | None = None,
    threads: int | None = None,
    **regions: str | os.PathLike,
) -> ExportedRecognizer:
    """The recognizer of an exported file, by the name's ending.

    Args:
        path: ``.onnx`` or ``.pt2``.
        device: ``'cuda'`` for onnxruntime's CUDA provider. Defaults to the CPU, on which a ``.pt2``
            always runs.
        threads: Of onnxruntime.
        **regions: See :class:`~bharnet_mm.runtime.ExportedRecognizer`.
    """
    if Path(path).suffix == '.pt2':
        if device not in (None, 'cpu'):
            raise ConfigError(f'{path}', f'device={device!r}', "'cpu'", 'export to ONNX for a GPU')
        return ProgramRecognizer(path, **regions)
    first = ('CUDAExecutionProvider',) if str(device).startswith('cuda') else ()
    return OnnxRecognizer(path, threads, (*first, 'CPUExecutionProvider'), **regions)
