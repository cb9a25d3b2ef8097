"""Runs a model in its plain form."""

from mmaction.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ..models.plain import use_plain_form


@HOOKS.register_module()
class PlainFormHook(Hook):
    """Trains and tests with the reference form of all operators, which follows the equations.

    It is slower and has the same results up to rounding. Use it to rule out that a result is due to
    the fast form. ``custom_hooks=[..., dict(type='PlainFormHook')]``, see
    ``configs/bharnet_p_plain_asl10.py``.
    """

    def before_run(self, runner: Runner) -> None:
        """Changes the model of the runner."""
        use_plain_form(runner.model)
