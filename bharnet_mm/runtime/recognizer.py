"""Recognizers that run an exported graph."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..apis.model_card import CARD_KEY, ModelCard
from ..apis.recognizer import Recognizer, log_scores, with_grid
from ..apis.region_grids import given
from ..datasets import transforms
from ..datasets.clip import Clip, pipeline_input
from ..errors import ConfigError
from ..io.guard import reading
from ..io.packages import import_package
from ..io.text import parse_json
from ..layouts import get_layout

#: Metadata key of the graph's inputs: name to shape without the batch, with ``'frames'`` for any
#: number.
INPUTS_KEY = 'bharnet_mm.inputs'

_TYPES = {'body': np.float32, 'hand': np.float32, 'rgb': np.uint8}
_MOST_NUMBERS = 2**28  # in an input of one clip
_FIX = 'export the model with `bharnet export`'


class ExportedRecognizer(Recognizer):
    """Base class of exported models. It has the pipeline of the card; subclasses run the graph.

    Args:
        path: The file.
        meta: Its metadata, with card and inputs.
        **regions: ``data_root`` (folder of the videos) or ``store`` (a region store), for the
            regions of BHaRNet-M. Without them the grids are given with the clips.

    Raises:
        ConfigError: The file was not written by ``bharnet export``.
    """

    def __init__(
        self, path: str | os.PathLike, meta: Mapping[str, str], **regions: str | os.PathLike
    ) -> None:
        if not meta.get(CARD_KEY) or not meta.get(INPUTS_KEY):
            raise ConfigError(f'{path}', 'no model card in it', f'the key {CARD_KEY!r}', _FIX)
        super().__init__(ModelCard.from_json(meta[CARD_KEY], str(path)))
        self.path = Path(path)
        self.inputs = read_inputs(meta[INPUTS_KEY], path)
        self.pipeline = build_pipeline(self.card.pipeline, **regions)

    def __repr__(self) -> str:
        return f'{type(self).__name__}({str(self.path)!r})'

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Runs the graph.

        Args:
            inputs: ``body`` (N, M, T, V, C), ``body_mask`` (N, M, T), ``hand`` (N, 2M, T, 21, C),
                ``hand_mask`` (N, 2M, T), and in M ``rgb`` (N, 3, H, W) uint8 with ``rgb_mask`` (N,
                R, F); those that ``self.inputs`` names.

        Returns:
            ``body_logits`` and so on, ``fused_logits`` and ``pred_score``, (N, K) each. The last is
            not calibrated.
        """
        raise NotImplementedError

    def prepare(
        self, clips: Sequence[Clip], grids: Sequence[Any] | None = None
    ) -> dict[str, np.ndarray]:
        """The graph's inputs for clips with the card's layout and channels, made by its test
        pipeline. Frames with NaN or infinity become missing; ``grids`` is as in :meth:`predict`.
        """
        layouts = self.card.layout, get_layout('hand')
        prepared = []
        for i, clip in enumerate(clips):
            results = pipeline_input(clip.with_nonfinite_masked()[0], *layouts)
            results |= with_grid(grids, i)
            for step in self.pipeline:
                results = step(results)
            prepared.append([self._input(name, results) for name in self.inputs])
        return {
            name: np.stack(x)
            for name, x in zip(self.inputs, zip(*prepared, strict=True), strict=True)
        }

    def _input(self, name: str, results: Mapping[str, Any]) -> np.ndarray:
        kind = _TYPES.get(name, np.bool_)
        if name.startswith('rgb') and name not in results:
            return np.zeros(self.inputs[name], kind)  # no region: an absent image
        return np.asarray(results[name], kind)

    def scores(
        self, clips: Sequence[Clip], grids: Sequence[Any] | None = None
    ) -> dict[str, np.ndarray]:
        """Log probabilities ``(N, K)`` of the fused prediction and of each expert."""
        answers = self.run(self.prepare(clips, grids))
        with reading(self.path, 'a graph with pred_score and logits', _FIX, ConfigError):
            return log_scores(answers)


class OnnxRecognizer(ExportedRecognizer):
    """A model in an ONNX file of ``bharnet export``. It gives the answers of the torch model
    without torch.

    Args:
        path: The file.
        threads: Threads of onnxruntime; by default one for each core.
        providers: Execution providers of onnxruntime, such as ``['CUDAExecutionProvider']``.
            Defaults to the CPU.
        **regions: See :class:`ExportedRecognizer`.

    Raises:
        ConfigError: onnxruntime or one of the providers is missing, onnxruntime cannot open the
            file, or there is no card in it.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        threads: int | None = None,
        providers: Sequence[str | tuple[str, dict]] = ('CPUExecutionProvider',),
        **regions: str | os.PathLike,
    ) -> None:
        if not Path(path).is_file():
            raise ConfigError(f'{path}', 'no such file', 'an exported model', 'correct the path')
        onnxruntime = import_package(f'{path}', 'onnxruntime')
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        if threads is not None:
            options.intra_op_num_threads = threads
        # onnxruntime has no base class of its own for its errors.
        with reading(path, 'an ONNX file that onnxruntime can open', _FIX, ConfigError):
            session = onnxruntime.InferenceSession(str(path), options, providers=list(providers))
            meta = dict(session.get_modelmeta().custom_metadata_map)
            self._answers = [output.name for output in session.get_outputs()]
        # onnxruntime itself only warns, and takes the CPU.
        absent = {p if isinstance(p, str) else p[0] for p in providers} - {*session.get_providers()}
        if absent:
            raise ConfigError(
                f'{path}',
                f'no {", ".join(sorted(absent))} in onnxruntime',
                f'one of {onnxruntime.get_available_providers()}',
                'use another device, or install onnxruntime-gpu',
            )
        self._session = session
        super().__init__(path, meta, **regions)

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Answers of the ONNX graph by name, ``(N, K)`` each."""
        with reading(self.path, 'a graph for these inputs', _FIX, ConfigError):
            values = self._session.run(self._answers, {name: inputs[name] for name in self.inputs})
        return dict(zip(self._answers, values, strict=True))


def read_inputs(text: str, path: str | os.PathLike) -> dict[str, list[int | str]]:
    """Name of each input of an exported graph to its shape.

    Args:
        text: JSON, as the exporter wrote it.
        path: The file, for the message.

    Raises:
        ConfigError: Not of this form, or of more than a gigabyte.
    """
    with reading(path, 'a description of the inputs', _FIX, ConfigError):
        inputs = parse_json(text)
        for name, shape in inputs.items():
            sizes = [1 if n == 'frames' else n for n in shape]
            if name.removesuffix('_mask') not in _TYPES or any(type(n) is not int for n in sizes):
                raise ValueError(f'the input {name[:40]!r} of shape {str(shape)[:60]}')
            if min(sizes, default=1) < 1 or math.prod(sizes) > _MOST_NUMBERS:
                raise ValueError(f'the input {name!r} of shape {str(shape)[:60]}')
    return inputs


def build_pipeline(
    steps: Sequence[Mapping[str, Any]], **regions: str | os.PathLike
) -> list[transforms.BodyHandTransform]:
    """Builds this package's transforms from config dicts without MMAction2's registry, up to the
    packing.

    Raises:
        ConfigError: A transform is of another package or has wrong arguments.
    """
    built = []
    for step in steps:
        with reading('pipeline of an exported model', 'steps with a type', _FIX, ConfigError):
            arguments = dict(step)
        name = str(arguments.pop('type', None)).removeprefix('mmaction.')
        if name == 'PackBodyHand':
            continue
        if name not in transforms.__all__:
            raise ConfigError(
                'pipeline of an exported model',
                f'the transform {name!r}',
                f'one of {", ".join(transforms.__all__)}',
                'use the transforms of bharnet_mm in the test pipeline',
            )
        if name == 'CutRegions':
            arguments = given(arguments)
            if regions:
                arguments |= dict(given=False, missing='mask') | regions
        where = f'pipeline of an exported model, {name}'
        with reading(where, 'its arguments', _FIX, ConfigError):
            built.append(getattr(transforms, name)(**arguments))
    return built
