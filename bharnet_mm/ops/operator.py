"""Definition of operators, each once under a name in torch's dispatcher.

Each operator of this package is a name ``bharnet::NAME`` with

- a *reference* of a few lines that follows the equation, with torch's operators and autograd.
  Inside :func:`plain_form` the operator is its reference;
- a forward and a backward kernel for every device with torch's operators, in the module of the
  operator;
- C++ kernels for CPUs (:mod:`.native`), which these call if they are available;
- kernels for CUDA, which :func:`register_kernel` registers;
- a fake kernel (shapes and types), a gradient, and a rule for autocast, so that ``torch.compile``,
  export and mixed precision need no branch in a model.

Parameters keep their own type (float32 in mixed precision). Kernels convert them when they read
them, and return gradients in that type. Only the features follow autocast.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

_plain = False
_library = torch.library.Library('bharnet', 'FRAGMENT')


@contextlib.contextmanager
def plain_form() -> Iterator[None]:
    """Context in which every operator is its reference. Gradients may be computed outside of it."""
    global _plain
    before, _plain = _plain, True
    try:
        yield
    finally:
        _plain = before


def is_plain() -> bool:
    """Whether operators are their references now."""
    return _plain


def define(
    kernel: Callable,
    fake: Callable,
    setup_context: Callable | None = None,
    backward: Callable | None = None,
    features: Sequence[str] = (),
    autocast: Callable[[Tensor | None, str], Tensor | None] | None = None,
) -> torch._ops.OpOverload:
    """Registers an operator ``bharnet::KERNEL``, named as the kernel is.

    A network calls hundreds of them in a step, so they are registered without the wrappers of
    :func:`torch.library.custom_op`, which took a quarter of a step's time on the host.

    Args:
        kernel (Callable): Forward for any device, with torch's operators. Its signature is the
            schema.
        fake (Callable): Gives empty results of the right shapes and types.
        setup_context (Callable, optional): Context of the gradient, see
            :func:`torch.library.register_autograd`.
        backward (Callable, optional): The gradient, which calls one further operator. It can be
            computed once: a second derivative raises an error. Without it the operator has no
            gradient, and is to be called by the gradient of another one.
        features (Sequence[str]): Arguments that autocast casts to its type if they are float32.
        autocast (Callable, optional): Used for the cast instead; takes a tensor and the type of the
            device.
    """
    name = kernel.__name__.strip('_')
    schema = torch.library.infer_schema(kernel, mutates_args=())
    _library.define(name + schema, tags=torch.Tag.pt2_compliant_tag)
    _library.impl(name, kernel, 'CompositeExplicitAutograd')
    torch.library.register_fake(f'bharnet::{name}', fake, lib=_library)
    op = getattr(torch.ops.bharnet, name).default
    if backward is not None:
        gradient = _with_gradient(op, setup_context, backward)
        _library.impl(name, gradient, 'Autograd', with_keyset=True)
    names = list(inspect.signature(kernel).parameters)
    positions = {names.index(feature) for feature in features}
    for device, key in (('cpu', 'AutocastCPU'), ('cuda', 'AutocastCUDA')) if features else ():
        _library.impl(name, _autocast_rule(op, device, positions, autocast), key)
    return op


def register_kernel(op: torch._ops.OpOverload, device: str, kernel: Callable) -> None:
    """Gives an operator its kernel for a type of device, such as ``'cuda'``, or another one."""
    name = op._schema.name.split('::')[1]
    _library.impl(name, kernel, device.upper(), allow_override=True)  # torch 2.11 asks for it


def _with_gradient(
    op: torch._ops.OpOverload, setup_context: Callable, backward: Callable
) -> Callable:
    """What the dispatcher calls for an operator that may need a gradient."""
    after = torch._C._after_autograd_keyset

    def run(keyset, *args):
        with torch._C._AutoDispatchBelowAutograd():
            return op.redispatch(keyset & after, *args)

    class Gradient(torch.autograd.Function):
        @staticmethod
        def forward(ctx, keyset, *args):
            """The operator's result; its reference states the shapes, such as ``(N, C, T)``."""
            result = run(keyset, *args)
            setup_context(ctx, args, result)
            return result

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, *grads):
            return None, *backward(ctx, *grads)

    def differentiable(keyset, *args):
        if torch.is_grad_enabled() and torch._C._any_requires_grad(*args):
            return Gradient.apply(keyset, *args)
        return run(keyset, *args)

    return differentiable


def _autocast_rule(
    op: torch._ops.OpOverload, device: str, positions: set[int], autocast: Callable | None
) -> Callable:
    def default(x: Tensor | None, device: str) -> Tensor | None:
        return narrowed(x, torch.get_autocast_dtype(device))

    cast_one = autocast or default

    def rule(*args):
        cast = [cast_one(a, device) if i in positions else a for i, a in enumerate(args)]
        with torch._C._DisableAutocast():
            return op(*cast)

    return rule


def narrowed(x: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """Float32 features in autocast's type; others are not changed."""
    return x.to(dtype) if x is not None and x.dtype == torch.float32 else x


def wide(dtype: torch.dtype) -> torch.dtype:
    """The type of sums over values of a type: at least float32."""
    return torch.promote_types(dtype, torch.float32)
