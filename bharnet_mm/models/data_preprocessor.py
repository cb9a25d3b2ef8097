"""Makes a batch on the device from a list of clips."""

from collections.abc import Sequence

import torch
from mmaction.registry import MODELS
from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from ..errors import ConfigError
from .instances import bucket


@MODELS.register_module()
class BodyHandPreprocessor(BaseDataPreprocessor):
    """Stacks the packed clips of :class:`PackBodyHand`, moves them to the model's device and
    normalises region grids.

    Data samples (labels) remain on the host.

    Args:
        mean (Sequence[float]): Mean of red, green and blue, 0 to 255. Defaults to ImageNet's.
        std (Sequence[float]): Standard deviation of red, green and blue. Defaults to ImageNet's.
        bucket_steps (int, optional): If given, the present instances are counted on the host before
            the batch is moved, so the model packs them without waiting for the device. Their number
            is rounded up to one of so many sizes in each power of two, so batches share shapes. The
            added rows are padding and change no result. CUDA graphs need this
            (:class:`CUDAGraphHook` sets it). By default nothing is counted or padded.

    Shapes:
        ``inputs``: dict of lists (or of stacked tensors) of ``body (M, T, V, C)``, ``body_mask (M,
        T)``, ``hand (2M, T, 21, C)``, ``hand_mask (2M, T)`` and, if the pipeline cuts regions,
        ``rgb (3, H, W)`` uint8 and ``rgb_mask (R, F)`` → the same with a leading ``N``, ``rgb`` as
        float32. With ``bucket_steps`` also the integers ``body_rows``, ``hand_rows`` (rows of the
        packed form), ``rgb_rows`` (clips with a region) and ``rgb_cells`` (visible cells).

    Raises:
        ConfigError: If the clips of a batch differ in shape; the message names the first such clip.
    """

    def __init__(
        self,
        mean: Sequence[float] = (123.675, 116.28, 103.53),
        std: Sequence[float] = (58.395, 57.12, 57.375),
        bucket_steps: int | None = None,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        if bucket_steps is not None and bucket_steps < 1:
            raise ConfigError(
                'BodyHandPreprocessor', f'bucket_steps={bucket_steps}', 'None, or 1 or more'
            )
        self.bucket_steps = bucket_steps
        self.set_normalisation(mean, std)

    def set_normalisation(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Sets what is taken from the channels of images, and what they are divided by, 0 to 255.

        Channels of images beyond these are dropped: the motion of regions where the model does
        not look at it.
        """
        for name, value in (('mean', mean), ('std', std)):
            values = torch.tensor(tuple(map(float, value))).view(-1, 1, 1)
            self.register_buffer(name, values, persistent=False)

    def forward(self, data: dict, training: bool = False) -> dict:
        """The batch of :meth:`stack` on the device, with region grids normalised.

        Args:
            data: ``inputs`` and ``data_samples`` as the data loader gives them. Each of the inputs
                is a list of N tensors, such as ``body (M, T, V, C)``, or one stacked tensor.
            training: Not used.

        Returns:
            ``inputs`` with a leading ``N``, such as ``body (N, M, T, V, C)``, and ``data_samples``.
        """
        batch = self.stack(data)
        batch['inputs'] = {name: self._move(value) for name, value in batch['inputs'].items()}
        return self.normalize(batch)

    def stack(self, data: dict) -> dict:
        """The stacked batch, not moved, with the numbers of rows. Shapes as above; ``rgb`` is not
        changed.
        """
        samples = data.get('data_samples')
        inputs = {name: self._stack(name, x, samples) for name, x in data['inputs'].items()}
        return dict(inputs=inputs | self._count(inputs), data_samples=samples)

    def normalize(self, batch: dict) -> dict:
        """The batch with normalised region grids."""
        if 'rgb' in batch['inputs']:
            images = batch['inputs']['rgb'][:, : len(self.mean)]
            batch['inputs']['rgb'] = (images.float() - self.mean) / self.std
        return batch

    def _count(self, inputs: dict[str, Tensor]) -> dict[str, int]:
        if self.bucket_steps is None:
            return {}
        rows = {}
        for name in ('body', 'hand'):
            if f'{name}_mask' in inputs:
                present = inputs[f'{name}_mask'].any(-1)
                number = bucket(int(present.sum()), self.bucket_steps)
                rows[f'{name}_rows'] = min(number, present.numel())
        if 'rgb_mask' in inputs:  # padding would enter the statistics of its network
            rows['rgb_rows'] = int(inputs['rgb_mask'].flatten(1).any(1).sum())
            rows['rgb_cells'] = int(inputs['rgb_mask'].sum())
        return rows

    def _move(self, value: Tensor | int) -> Tensor | int:
        if not isinstance(value, Tensor):
            return value
        # _stack gives pinned memory, which is copied while the host continues.
        return value.to(self.device, non_blocking=value.is_pinned() or self._non_blocking)

    def _stack(self, name: str, values: list[Tensor] | Tensor, samples) -> Tensor:
        if isinstance(values, Tensor):
            return values
        for i, value in enumerate(values):
            if value.shape != values[0].shape:
                clip = samples[i].metainfo.get('clip_id', i) if samples else i
                raise ConfigError(
                    f'clip {clip!r}',
                    f'{name} of shape {tuple(value.shape)}',
                    f'{tuple(values[0].shape)} as in the rest of the batch',
                    'end the pipeline with SampleWindow (one length) and FormatBodyHand (one '
                    'number of persons)',
                )
        if self.device.type != 'cuda' or values[0].is_cuda:
            return torch.stack(list(values))
        stacked = torch.empty(
            (len(values), *values[0].shape), dtype=values[0].dtype, pin_memory=True
        )
        return torch.stack(list(values), out=stacked)
