"""Learning rates that rise for some epochs and then fall, whatever the number of epochs is."""

from __future__ import annotations

from typing import Any

from mmaction.registry import PARAM_SCHEDULERS
from mmengine.optim.scheduler import CosineAnnealingLR, LinearLR


def warm_up_end(warmup: int, epochs: int) -> int:
    """The epoch at which the rate stops rising: ``warmup``, at most half of all, at least 1."""
    return min(warmup, max(epochs // 2, 1))


class _OfAllEpochs:
    """Takes the part of the training that the class is for, and counts in iterations."""

    @classmethod
    def build_iter_from_epoch(
        cls, *args: Any, warmup: int, end: int, epoch_length: int, begin: int = 0, **kwargs: Any
    ) -> Any:
        """Builds the scheduler as MMEngine's config key ``convert_to_iter_based`` asks for it.

        Args:
            *args: The optimizer.
            warmup: Epochs for which the rate rises.
            end: All epochs of the training; the runner fills it in.
            epoch_length: Iterations of an epoch.
            begin: Not used; the part begins where the class says.
            **kwargs: Of MMEngine's class.

        Returns:
            The scheduler.
        """
        begin, end = cls.part(warmup, end)
        return super().build_iter_from_epoch(
            *args, begin=begin, end=end, epoch_length=epoch_length, **kwargs
        )


@PARAM_SCHEDULERS.register_module()
class WarmUpLR(_OfAllEpochs, LinearLR):
    """MMEngine's ``LinearLR`` over the first ``warmup`` epochs of a training."""

    @staticmethod
    def part(warmup: int, epochs: int) -> tuple[int, int]:
        """First epoch and end of the rise."""
        return 0, warm_up_end(warmup, epochs)


@PARAM_SCHEDULERS.register_module()
class WarmedCosineLR(_OfAllEpochs, CosineAnnealingLR):
    """MMEngine's ``CosineAnnealingLR`` from the end of :class:`WarmUpLR` to the last epoch."""

    @staticmethod
    def part(warmup: int, epochs: int) -> tuple[int, int]:
        """First epoch and end of the fall."""
        begin = warm_up_end(warmup, epochs)
        return begin, max(epochs, begin + 1)
