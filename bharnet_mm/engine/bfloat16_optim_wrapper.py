"""Mixed precision without a GPU."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmaction.registry import OPTIM_WRAPPERS
from mmengine.device import get_device
from mmengine.optim import OptimWrapper
from torch import nn


@OPTIM_WRAPPERS.register_module()
class BFloat16OptimWrapper(OptimWrapper):
    """Runs the forward pass under ``torch.autocast`` in bfloat16, on a CPU or a GPU.

    bfloat16 has the exponent range of float32, so the loss needs no scaling. This is what ``--amp``
    of ``tools/train.py`` uses if there is no GPU; MMEngine's ``AmpOptimWrapper`` needs one. A
    checkpoint of one of them can be resumed with the other. Arguments are those of
    :class:`mmengine.optim.OptimWrapper`.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """The context in which the runner computes the losses."""
        with super().optim_context(model), torch.autocast(get_device(), dtype=torch.bfloat16):
            yield
