"""Writes a trained model with its card as ONNX or as a ``torch.export`` program."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import json
import logging
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from ..datasets.clip import Clip, pipeline_input
from ..datasets.regions import RegionGrid
from ..errors import ConfigError
from ..io.atomic import atomic_write, write_built
from ..layouts import get_layout
from ..models import BHaRNet
from ..models.instances import every_slot
from ..ops import plain_form
from ..runtime.recognizer import INPUTS_KEY, build_pipeline
from .export import check_format
from .model_card import CARD_KEY, ModelCard

#: Sizes of the example batch. They must not be 0 or 1, which exporters treat as constants.
EXAMPLE_CLIPS = 7


class ExportForm(nn.Module):
    """A recognizer as one graph whose shapes depend on no data.

    All persons and hands of a clip are computed, and absent ones have weight 0
    (:class:`~bharnet_mm.models.instances.AllSlots`); images are normalised inside.

    Args:
        model (BHaRNet): The model, which is copied. Its operators are computed by their references.

    Shapes:
        ``inputs``: dict of ``body (N, M, T, V, C)``, ``body_mask (N, M, T)``, ``hand (N, 2M, T, 21,
        C)``, ``hand_mask (N, 2M, T)`` and, in M, ``rgb (N, 3, H, W)`` uint8, ``rgb_mask (N, R, F)``
        → dict of ``body_logits``, ``hand_logits``, ``rgb_logits``, ``fused_logits`` and
        ``pred_score``, ``(N, K)`` each.
    """

    def __init__(self, model: BHaRNet) -> None:
        super().__init__()
        self.model = copy.deepcopy(model).cpu().float().eval()
        for parameter in self.parameters():
            parameter.requires_grad_(False)

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Answers of the model by name for one batch of the graph's inputs.

        Shapes: ``body (N, M, T, V, C)``, ``hand (N, 2M, T, 21, C)`` with masks ``(N, M, T)`` and
        ``(N, 2M, T)``, ``rgb (N, 3, H, W)`` with ``rgb_mask (N, R, F)`` → ``(N, K)`` each.
        """
        inputs = dict(inputs)
        if 'rgb' in inputs:
            process = self.model.data_preprocessor
            inputs = process.normalize(dict(inputs=inputs))['inputs']
        with every_slot(), plain_form():
            features, _ = self.model.extract_feat(inputs, stage='backbone')
            return self.model.cls_head.answers(features)


def graph_inputs(model: BHaRNet, card: ModelCard, clip: Clip) -> dict[str, list[int | str]]:
    """Name of each input of the graph to its shape without the batch, ``'frames'`` where any number
    of frames will do.

    Args:
        model: The model.
        card: Its card.
        clip: Any clip of the card's layout and channels, for the shapes after its pipeline.

    Raises:
        ConfigError: The model is not a BHaRNet, or its pipeline has transforms of other packages.
    """
    if not isinstance(model, BHaRNet):
        raise ConfigError(
            f'export of {card.name!r}',
            f'a {type(model).__name__}',
            'a BHaRNet or BHaRNetM',
            "export MMAction2's own models by the tools of their project",
        )
    results = pipeline_input(clip.with_nonfinite_masked()[0], card.layout, get_layout('hand'))
    for step in build_pipeline(card.pipeline):
        results = step(results)
    experts = model.backbone.experts
    # The stride along time of other networks is unknown, so other lengths are not tried.
    any_length = all(hasattr(network, 'temporal_stride') for network in experts.values())
    inputs: dict[str, list[int | str]] = {}
    for part in experts:
        slots, frames, *joints = results[part].shape
        frames = 'frames' if any_length else frames
        inputs |= {part: [slots, frames, *joints], f'{part}_mask': [slots, frames]}
    if 'rgb' in model.cls_head.modalities:
        steps = [dict(s) for s in card.pipeline if s['type'].endswith('CutRegions')]
        names = {field.name for field in dataclasses.fields(RegionGrid)}
        grid = RegionGrid(**{k: v for s in steps[:1] for k, v in s.items() if k in names})
        rgb, mask = grid.empty()
        inputs |= dict(rgb=list(rgb.shape), rgb_mask=list(mask.shape))
    return inputs


def example_inputs(
    inputs: Mapping[str, Sequence[int | str]], clips: int, frames: int, seed: int = 0
) -> dict[str, Tensor]:
    """Random values for the graph's inputs, with every kind of absence: missing frames, hands,
    bodies and images, and a last clip without anything.

    Args:
        inputs: As :func:`graph_inputs` gives them.
        clips: N.
        frames: T, if the graph takes any number.
        seed: Seed of the values.
    """
    generator = torch.Generator().manual_seed(seed)
    values = {}
    for name, shape in inputs.items():
        size = [clips, *(frames if s == 'frames' else s for s in shape)]
        if name.endswith('_mask'):
            values[name] = torch.rand(size, generator=generator) > 0.3
            values[name][-1] = False
        elif name == 'rgb':
            values[name] = torch.randint(256, size, generator=generator, dtype=torch.uint8)
        else:
            values[name] = torch.randn(size, generator=generator)
    if clips > 1 and 'hand_mask' in inputs:
        values['hand_mask'][0] = False
        values['hand_mask'][1, 1:] = False
    return values


def export_program(
    model: BHaRNet, inputs: Mapping[str, Sequence[int | str]], frames: int
) -> ExportedProgram:
    """The model as a ``torch.export`` program for any number of clips and frames.

    The least number of frames is one more than the temporal stride (4).

    Args:
        model: The model, which is not changed.
        inputs: As :func:`graph_inputs` gives them.
        frames: Frames of a clip in training.
    """
    form = ExportForm(model)
    example = example_inputs(inputs, EXAMPLE_CLIPS, frames)
    strides = [getattr(e, 'temporal_stride', 1) for e in form.model.backbone.experts.values()]
    batch, time = {0: Dim('batch')}, {2: Dim('frames', min=max(strides) + 1)}
    shapes = {n: batch | time if 'frames' in shape else batch for n, shape in inputs.items()}
    # Sizes are not compared with 0 and 1 during tracing, since the graph would then be valid for
    # the example's sizes only. Remaining conditions on sizes become assertions in the graph.
    from torch.fx.experimental import _config

    with torch.no_grad(), _config.patch(backed_size_oblivious=True), _quiet():
        program = torch.export.export(
            form,
            (example,),
            dynamic_shapes=(shapes,),
            strict=False,
            prefer_deferred_runtime_asserts_over_guards=True,
        )
    # The assertions exclude sizes such as one clip, for which the graph is valid too, because they
    # only concern shortcuts of the tracer. export_check tries such sizes.
    graph = program.graph_module.graph
    for node in list(graph.nodes):
        if node.target is torch.ops.aten._assert_scalar.default:
            graph.erase_node(node)
    graph.eliminate_dead_code()
    program.graph_module.recompile()
    return program


def write(program: ExportedProgram, path: str | os.PathLike, meta: Mapping[str, str]) -> None:
    """Writes a program as ``.onnx``, by torch's current exporter, or as ``.pt2``; the file appears
    whole or not at all.

    Args:
        program: Result of :func:`export_program`.
        path: File to write; its ending gives the format.
        meta: Texts that are stored in the file.

    Raises:
        ConfigError: The ending is another one, or a package for it is missing.
    """
    suffix = check_format(path)
    if suffix == '.pt2':
        write_built(path, partial(torch.export.save, program, extra_files=dict(meta)))
        return
    names = dict(
        input_names=list(program.call_spec.in_spec.children()[0].children()[0].context),
        output_names=list(program.call_spec.out_spec.context),
    )
    with _quiet():
        exported = torch.onnx.export(program, dynamo=True, verbose=False, **names)
    exported.model.metadata_props.update(meta)
    with atomic_write(path, 'wb') as stream:
        stream.write(exported.model_proto.SerializeToString())


def export(model: BHaRNet, card: ModelCard, clip: Clip, paths: Sequence[str | os.PathLike]) -> None:
    """Writes a model to each of the paths, ``.onnx`` or ``.pt2`` by its ending.

    Args:
        model: The model.
        card: Its card, which is stored in the files.
        clip: Any clip of the card's layout and channels.
        paths: Files to write.
    """
    inputs = graph_inputs(model, card, clip)
    frames = [s['num_frames'] for s in card.pipeline if s['type'].endswith('SampleWindow')]
    program = export_program(model, inputs, frames[-1] if frames else clip.num_frames)
    meta = {CARD_KEY: card.to_json(), INPUTS_KEY: json.dumps(inputs)}
    for path in paths:
        write(program, path, meta)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hides the exporters' remarks on operators that are not used here or not folded."""
    loggers = [logging.getLogger(name) for name in ('torch.onnx', 'onnxscript')]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
