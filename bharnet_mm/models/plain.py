"""The plain form of the networks: every operator is computed by its reference."""

import functools

from torch import nn

from ..ops import plain_form


def use_plain_form(model: nn.Module) -> nn.Module:
    """Makes every module of a model compute with the operators' references, which follow the
    equations and use torch's operators only. It is for parity tests and benchmarks. Changes
    ``model``.
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
