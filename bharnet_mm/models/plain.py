"""The networks' plain form: same parameters, same mathematics, every operator by its reference."""

import functools

from torch import nn

from ..ops import plain_form


def use_plain_form(model: nn.Module) -> nn.Module:
    """Makes every module of ours compute by the operators' references, which read as the equations
    and use the framework's operators alone: for parity tests and benchmarks. Changes ``model``.
    """
    for module in model.modules():
        if type(module).__module__.startswith(__package__):
            module.forward = _plainly(module.forward)
    return model


def _plainly(forward):
    @functools.wraps(forward)
    def plain(*args, **kwargs):
        with plain_form():
            return forward(*args, **kwargs)

    return plain
