"""Trains with CUDA graphs."""

import os

import torch
from mmaction.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import nn

from .cuda_graphs import GraphedStep


@HOOKS.register_module()
class CUDAGraphHook(Hook):
    """Replays the forward and backward pass of a training step as one CUDA graph.

    The shipped configs have it. It works with bfloat16, gradient clipping, accumulation and several
    processes. It does nothing without a GPU, with ``BHARNET_CUDA_GRAPHS=0`` in the environment, and
    where a step cannot be a graph: in float16, with ``SyncBatchNorm``, or with another
    ``data_preprocessor`` than :class:`BodyHandPreprocessor`; the log says so. If a recording fails,
    one warning says why, and the training goes on without.

    Args:
        bucket_steps (int): The number of present instances is rounded up to one of so many sizes in
            each power of two, see :class:`BodyHandPreprocessor`. Each combination for body and
            hands is recorded once. Defaults to 8, which gives about twenty recordings for batches
            of 64, with a sixteenth of the rows as padding.
        max_graphs (int): Largest number of recordings; other shapes run without a graph. Defaults
            to 32.
        after (int): Batches of a shape that run without a graph before it is recorded. Defaults to
            1, so that shapes which come once are not recorded.
    """

    priority = 'LOW'

    def __init__(self, bucket_steps: int = 8, max_graphs: int = 32, after: int = 1) -> None:
        self.bucket_steps, self.max_graphs, self.after = bucket_steps, max_graphs, after

    def before_train(self, runner: Runner) -> None:
        """Replaces the training step of the model."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        device = next(model.parameters()).device
        if device.type != 'cuda' or os.environ.get('BHARNET_CUDA_GRAPHS') == '0':
            return
        why = self._obstacle(runner, model)
        if why is None:
            model.data_preprocessor.bucket_steps = self.bucket_steps
            runner.model.train_step = GraphedStep(runner.model, self.max_graphs, self.after)
        else:
            print_log(f'This training runs without CUDA graphs: {why}', logger='current')

    @staticmethod
    def _obstacle(runner: Runner, model: nn.Module) -> str | None:
        """Why the steps of a training cannot be graphs; None if they can."""
        preprocessor = model.data_preprocessor
        if not hasattr(preprocessor, 'bucket_steps'):
            return f'{type(preprocessor).__name__} does not pad batches to equal shapes'
        if any(isinstance(m, nn.SyncBatchNorm) for m in model.modules()):
            return 'SyncBatchNorm waits for other processes'
        with runner.optim_wrapper.optim_context(runner.model):
            if torch.is_autocast_enabled('cuda'):
                if torch.get_autocast_dtype('cuda') == torch.float16:
                    return 'float16 needs a scaled loss'
        return None

    def after_train(self, runner: Runner) -> None:
        """Restores the training step of the model."""
        runner.model.__dict__.pop('train_step', None)
