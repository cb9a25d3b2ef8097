"""The temporal branches with the native kernels."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from . import kernels, library, pointer

SAMPLES = 4  # of a deformable convolution, as in temporal.cpp
FLOATS = ctypes.c_void_p


class Temporal(ctypes.Structure):
    """``Temporal`` of temporal.cpp."""

    _fields_ = [(name, ctypes.c_int64) for name in ('P', 'Q', 'V', 'T', 'stride')]
    _fields_ += [('slope', ctypes.c_float)]
    parameters = ('weight', 'bias', 'near_weight', 'near_offset', 'far_weight', 'far_offset')
    _fields_ += [(name, FLOATS) for name in parameters]


class NativeBranches:
    """The kernels with their parameters, in float32.

    Args:
        u (Tensor): ``(P, 4Q, V, T)``.
        parameters (list[Tensor]): Weight and bias of the norm, weight and offset of the near and
            the far branch.
        stride (int): Along time, 1 or 2.
        slope (float): Of the LeakyReLU.
    """

    def __init__(self, u: Tensor, parameters: list[Tensor], stride: int, slope: float) -> None:
        self.u, self.parameters, frames = u.contiguous(), parameters, u.size(3)
        bounded = [
            t.clamp(-frames, frames) if t.dim() == 1 and i > 1 else t
            for i, t in enumerate(parameters)
        ]
        self.kept = [t.detach().contiguous() for t in bounded]
        size = u.size(0), u.size(1) // 4, u.size(2), frames
        addresses = [t.data_ptr() for t in self.kept]
        self.struct = Temporal(*size, stride, slope, *addresses)
        self.frames = -(-frames // stride)
        self.suffix = {torch.float32: 'f32', torch.bfloat16: 'bf16'}[u.dtype]

    @staticmethod
    def can_take(u: Tensor, parameters: list[Tensor], stride: int) -> bool:
        """Whether the kernels are available and support these operands."""
        fits = stride <= 2 and len(u) and parameters[3].numel() == SAMPLES == parameters[5].numel()
        floats = all(t.dtype == torch.float32 for t in parameters)
        return bool(fits and floats and kernels('temporal', u) is not None)

    def _call(self, name: str, *arguments) -> None:
        getattr(library(), f'temporal_{name}_{self.suffix}')(ctypes.byref(self.struct), *arguments)

    def statistics(self, eps: float) -> Tensor:
        """Statistics of the batch ``(3, 3Q)``, see :func:`..norm_act.batch_statistics`."""
        stats = self.kept[0].new_empty(3, len(self.kept[0]))
        self._call('statistics', pointer(self.u), ctypes.c_double(eps), pointer(stats))
        return stats

    def forward(self, stats: Tensor) -> Tensor:
        """``(P, 4Q, V, ceil(T / stride))``."""
        z = self.u.new_empty(*self.u.shape[:3], self.frames)
        self._call('forward', pointer(self.u), pointer(stats), pointer(z))
        return z

    def backward(self, grad: Tensor, stats: Tensor, by_batch: bool) -> tuple[Tensor, ...]:
        """Gradients to ``u`` and the parameters."""
        grad, grad_u = grad.contiguous(), torch.empty_like(self.u)
        grads = [torch.empty_like(t) for t in self.kept]
        self._call(
            'backward',
            *map(pointer, (grad, self.u, stats)),
            ctypes.c_int(by_batch),
            *map(pointer, (grad_u, *grads)),
        )
        frames = self.u.size(3)
        for i in (3, 5):  # an offset beyond the clip has no gradient
            grads[i] *= self.parameters[i].abs() < frames
        return grad_u, *grads
