"""CUDA graphs: a step is recorded once for each shape of a batch, and replayed as one launch.

A training step of a skeleton network launches a thousand small kernels, and inference of one clip
hundreds. The host needs more time to launch them than the GPU to compute them. A graph needs static
shapes, so instances are packed into one of a few numbers of rows
(:func:`.models.instances.bucket`), and nothing in a step waits for the host.

On a CPU a replay calls the function again. This is slower than without a graph, but has the same
shapes, copies and order, so everything but the recording can be tested there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import torch
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapper
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils import _pytree as pytree

from ..errors import ConfigError
from .recordings import Recordings


class GraphedForward:
    """Runs a model at inference, with one recording for each shape of inputs.

    Args:
        model (nn.Module): A recognizer in evaluation mode.
        function (Callable, optional): Takes the model and its inputs (a dict), gives tensors in any
            nesting. By default the logits of every branch, ``model(inputs, None, mode='tensor')``.
        dtype (torch.dtype, optional): Type of autocast; by default none.
        max_graphs (int): More shapes than that run without a graph. Defaults to 32.
        after (int): Calls with the same shapes that run without a graph before it is recorded,
            which takes as long as some dozen calls. Defaults to 0.

    If a recording fails, one warning says why, and the model runs without graphs from then on.
    Several threads may call it, on the same stream.
    """

    def __init__(
        self,
        model: nn.Module,
        function: Callable | None = None,
        dtype: torch.dtype | None = None,
        max_graphs: int = 32,
        after: int = 0,
    ) -> None:
        self.model, self.dtype = model, dtype
        self.function = function or (lambda model, inputs: model(inputs, None, mode='tensor'))
        # Folded weights are part of a recording, so it is for constant values.
        self.recordings = Recordings(model, max_graphs, after, constant=True)
        self.device = next(model.parameters()).device.type
        self.lock = threading.Lock()  # a recording has one set of inputs and results

    def _run(self, inputs: dict[str, Tensor | int]) -> Any:
        # Autocast would keep casts from one call to the next, which would be missing in a graph.
        with torch.autocast(
            self.device, dtype=self.dtype, enabled=self.dtype is not None, cache_enabled=False
        ):
            return self.function(self.model, inputs)

    @torch.no_grad()
    def __call__(self, inputs: dict[str, Tensor | int]) -> Any:
        """Results for inputs on the model's device, in new tensors.

        ``inputs`` are those of the model, as :class:`BodyHandPreprocessor` gives them with
        ``bucket_steps``.
        """
        tensors = {name: value for name, value in inputs.items() if isinstance(value, Tensor)}
        with self.lock:
            recording = self.recordings.get(inputs, self._run)
            if recording is not None:
                return pytree.tree_map(Tensor.clone, recording(tensors))
        return self._run(inputs)


class _Replayed(torch.autograd.Function):
    """A loss whose backward pass returns gradients that are computed already."""

    @staticmethod
    def forward(ctx, anchor: Tensor, loss: Tensor, give: Callable[[Tensor], None]) -> Tensor:
        """``loss ()`` → ``()``; the backward pass calls ``give`` with the gradient to the loss."""
        ctx.give = give
        return loss.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, None, None]:
        ctx.give(grad)
        return torch.zeros_like(grad), None, None


class GraphedStep:
    """A training step, ``model.train_step``, whose forward and backward pass are replayed.

    The optimizer wrapper scales the loss, accumulates, clips and steps as usual. With several
    processes the gradients are averaged after the replay, as DistributedDataParallel would.

    Args:
        model (nn.Module): A recognizer, or its distributed wrapper.
        max_graphs (int): Batches of more shapes than that run without a graph. Defaults to 32.
        after (int): Batches of a shape that run without a graph before it is recorded. Defaults to
            0.

    If a recording fails, one warning says why, and the training goes on without graphs.

    Raises:
        ConfigError: For synchronised batch norms, which wait for other processes inside the step,
            and for float16, whose gradients need a scaled loss inside the graph.
    """

    def __init__(self, model: nn.Module, max_graphs: int = 32, after: int = 0) -> None:
        self.wrapper = model
        self.model = model.module if is_model_wrapper(model) else model
        if any(isinstance(m, nn.SyncBatchNorm) for m in self.model.modules()):
            raise ConfigError(
                'CUDAGraphHook',
                'a model with SyncBatchNorm',
                'batch norms of one process',
                'drop sync_bn from the config, or the hook',
            )
        self.recordings = Recordings(self.model, max_graphs, after)
        self.names: list[str] = []
        self.buffers = [*self.model.buffers()]
        device = next(self.model.parameters()).device
        self.anchor = torch.zeros((), device=device, requires_grad=True)
        self.norm: Tensor | None = None

    def __call__(self, data: dict, optim_wrapper: OptimWrapper) -> dict[str, Tensor]:
        """Runs one step, and does not wait for it.

        Returns:
            What the model logs, and the norm of clipped gradients, as scalars ``()`` on its device.
        """
        batch = self.model.data_preprocessor(data, True)
        inputs, samples = batch['inputs'], batch['data_samples']
        if not isinstance(inputs, dict):
            inputs = dict(inputs=inputs)
        labels = torch.cat([sample.gt_label.reshape(-1) for sample in samples])
        self._check(labels, samples)
        given = inputs | dict(labels=labels.to(self.anchor.device, non_blocking=True))

        def run(values: dict) -> tuple[Tensor, Tensor, list[nn.Parameter], list[Tensor]]:
            return self._losses(values, optim_wrapper)

        recording = self.recordings.get(given, run, self.buffers)
        tensors = {name: value for name, value in given.items() if isinstance(value, Tensor)}
        total, values, *pairs = run(given) if recording is None else recording(tensors)
        share = optim_wrapper.should_sync() and self.wrapper is not self.model
        loss = _Replayed.apply(self.anchor, total, lambda scale: _give(*pairs, scale, share))
        self.norm = None
        if optim_wrapper.clip_grad_kwargs:
            optim_wrapper._clip_grad = lambda: self._clip(optim_wrapper)
        optim_wrapper.update_params(loss)
        # A recording's results are overwritten by its next call.
        logged = dict(zip(self.names, values.clone().unbind(), strict=True))
        return logged if self.norm is None else logged | {optim_wrapper.grad_name: self.norm}

    def _clip(self, optim_wrapper: OptimWrapper) -> None:
        """Clips the gradients as the optimizer wrapper does, without waiting for the norm."""
        groups = optim_wrapper.optimizer.param_groups
        given = [p for group in groups for p in group['params'] if p.grad is not None]
        if given:
            self.norm = optim_wrapper.clip_func(given, **optim_wrapper.clip_grad_kwargs)

    def _losses(self, values: dict, optim_wrapper: OptimWrapper) -> tuple:
        """The loss, one tensor with all logged values, the parameters that have a gradient, and
        their gradients.
        """
        from mmaction.structures import ActionDataSample

        labels = values['labels']
        inputs = {name: value for name, value in values.items() if name != 'labels'}
        samples = [ActionDataSample().set_gt_label(label) for label in labels.split(1)]
        if inputs.keys() == {'inputs'}:
            inputs = inputs['inputs']
        with optim_wrapper.optim_context(self.model):
            kind = labels.device.type
            if torch.is_autocast_enabled(kind):
                if torch.get_autocast_dtype(kind) == torch.float16:
                    raise ConfigError(
                        'CUDAGraphHook',
                        'mixed precision in float16',
                        'bfloat16 or float32',
                        "set optim_wrapper.dtype='bfloat16', or drop the hook",
                    )
                torch.clear_autocast_cache()
            # Gradients are taken to new leaves with the same memory. The nodes that accumulate
            # those of the parameters belong to the stream on which they were made, for example by
            # DistributedDataParallel, and a graph must not wait for another stream.
            named = {n: p for n, p in self.model.named_parameters() if p.requires_grad}
            leaves = {name: p.detach().requires_grad_() for name, p in named.items()}
            losses = functional_call(self.model, leaves, (inputs, samples), dict(mode='loss'))
        total, logged = self.model.parse_losses(losses)
        self.names = list(logged)
        grads = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
        pairs = [
            (p, _laid_out_as(p, g))
            for p, g in zip(named.values(), grads, strict=True)
            if g is not None
        ]
        logged = torch.stack([v.detach().float() for v in logged.values()])
        return total.detach(), logged, *map(list, zip(*pairs, strict=True))

    def _check(self, labels: Tensor, samples: list) -> None:
        """Checks the labels on the host, so that the message can name the clip."""
        check = getattr(getattr(self.model, 'cls_head', None), 'check_labels', None)
        if check is not None:
            check(labels, samples)


def _laid_out_as(parameter: Tensor, grad: Tensor) -> Tensor:
    """A gradient in the parameter's order in memory, which fused optimizers take for granted."""
    if grad.stride() == parameter.stride():
        return grad
    return torch.empty_like(parameter, dtype=grad.dtype, requires_grad=False).copy_(grad)


def _give(parameters: list[nn.Parameter], grads: list[Tensor], scale: Tensor, share: bool) -> None:
    """Adds scaled gradients to the parameters', averaged over the processes."""
    scaled = torch._foreach_mul(grads, scale)
    old = [(p.grad, g) for p, g in zip(parameters, scaled, strict=True) if p.grad is not None]
    if old:
        torch._foreach_add_(*map(list, zip(*old, strict=True)))
    for p, g in zip(parameters, scaled, strict=True):
        if p.grad is None:
            p.grad = g
    if share:
        mean_over_processes([p.grad for p in parameters])


@torch.no_grad()
def mean_over_processes(tensors: list[Tensor]) -> None:
    """Averages tensors over all processes in place, with one collective call for each dtype."""
    for dtype in {t.dtype for t in tensors}:
        group = [t for t in tensors if t.dtype == dtype]
        flat = torch.cat([t.flatten() for t in group])
        torch.distributed.all_reduce(flat)
        flat /= torch.distributed.get_world_size()
        parts = flat.split([t.numel() for t in group])
        torch._foreach_copy_(group, [p.view_as(t) for p, t in zip(parts, group, strict=True)])
