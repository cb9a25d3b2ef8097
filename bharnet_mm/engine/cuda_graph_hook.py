"""Trains with CUDA graphs."""

from mmaction.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from ..errors import ConfigError
from .cuda_graphs import GraphedStep


@HOOKS.register_module()
class CUDAGraphHook(Hook):
    """Replays the forward and backward pass of a training step as one CUDA graph.

    ``custom_hooks=[..., dict(type='CUDAGraphHook')]``. It works with bfloat16, gradient clipping,
    accumulation and several processes. Without a GPU it only logs a message.

    Args:
        bucket_steps (int): The number of present instances is rounded up to one of so many sizes in
            each power of two, see :class:`BodyHandPreprocessor`. Each combination for body and
            hands is recorded once. Defaults to 8, which gives about twenty recordings for batches
            of 64, with a sixteenth of the rows as padding.
        max_graphs (int): Largest number of recordings; other shapes run without a graph. Defaults
            to 32.

    Raises:
        ConfigError: For a model that is not preprocessed by :class:`BodyHandPreprocessor`.
    """

    priority = 'LOW'

    def __init__(self, bucket_steps: int = 8, max_graphs: int = 32) -> None:
        self.bucket_steps, self.max_graphs = bucket_steps, max_graphs

    def before_train(self, runner: Runner) -> None:
        """Replaces the training step of the model."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        preprocessor = model.data_preprocessor
        if not hasattr(preprocessor, 'bucket_steps'):
            raise ConfigError(
                'CUDAGraphHook',
                f'data_preprocessor={type(preprocessor).__name__}',
                'BodyHandPreprocessor, which can pad a batch',
                'drop the hook',
            )
        if next(model.parameters()).device.type != 'cuda':
            print_log('No GPU: CUDAGraphHook does nothing', logger='current')
            return
        preprocessor.bucket_steps = self.bucket_steps
        runner.model.train_step = GraphedStep(runner.model, self.max_graphs)

    def after_train(self, runner: Runner) -> None:
        """Restores the training step of the model."""
        runner.model.__dict__.pop('train_step', None)
