"""From a list of clips to a batch on the device."""

from collections.abc import Sequence

import torch
from mmaction.registry import MODELS
from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from ..errors import ConfigError


@MODELS.register_module()
class BodyHandPreprocessor(BaseDataPreprocessor):
    """Stacks the packed clips of :class:`PackBodyHand`, moves them to the model's device and
    normalises pictures.

    Args:
        mean (Sequence[float]): Of red, green and blue in 0 to 255. Defaults to ImageNet's.
        std (Sequence[float]): Likewise.

    Shapes:
        ``inputs``: dict of lists (or of stacked tensors) of ``body (M, T, V, C)``, ``body_mask (M,
        T)``, ``hand (2M, T, 21, C)``, ``hand_mask (2M, T)`` and, where the pipeline cuts regions,
        ``rgb (3, H, W)`` uint8 and ``rgb_mask (R, F)`` → the same with a leading ``N``, ``rgb`` as
        float32.

    Raises:
        ConfigError: If clips of one batch differ in shape, naming the first that does.
    """

    def __init__(
        self,
        mean: Sequence[float] = (123.675, 116.28, 103.53),
        std: Sequence[float] = (58.395, 57.12, 57.375),
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        for name, value in (('mean', mean), ('std', std)):
            self.register_buffer(name, torch.tensor(value).view(3, 1, 1), persistent=False)

    def forward(self, data: dict, training: bool = False) -> dict:
        inputs = self.cast_data(data['inputs'])
        samples = self.cast_data(data.get('data_samples'))
        batch = {name: self._stack(name, values, samples) for name, values in inputs.items()}
        if 'rgb' in batch:
            batch['rgb'] = (batch['rgb'].float() - self.mean) / self.std
        return dict(inputs=batch, data_samples=samples)

    @staticmethod
    def _stack(name: str, values: list[Tensor] | Tensor, samples) -> Tensor:
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
        return torch.stack(list(values))
