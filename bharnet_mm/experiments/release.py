"""DeGCN's public release as a contender, from a checkout of its repository.

Nothing of it is part of this package; it is only measured.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

import torch
import torch.nn.functional as F
from mmaction.structures import ActionDataSample
from torch import Tensor, nn

from ..errors import ConfigError
from .contenders import CLASSES

#: Name of the contender.
NAME = 'DeGCN release'


class Release(nn.Module):
    """One stream of the release's network for NTU's bodies, called as a recognizer of MMAction2.

    Args:
        path (Path): The checkout, which has ``model/degcn.py`` and ``graph/ntu_rgb_d.py``.

    Raises:
        ConfigError: For a folder without them.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        for part in ('model/degcn.py', 'graph/ntu_rgb_d.py'):
            if not (path / part).is_file():
                raise ConfigError(
                    '--release', f'{path} without {part}', "a checkout of DeGCN's public release"
                )
        sys.path.insert(0, str(path.resolve()))
        graph = dict(graph='graph.ntu_rgb_d.Graph', graph_args=dict(labeling_mode='spatial'))
        network = import_module('model.degcn').Model
        self.network = network(num_class=CLASSES, num_stream=1, **graph)

    def extract_feat(self, inputs: Tensor, stage: str = 'head') -> Tensor:
        """Bodies ``(N, 1, M, T, V, C)`` → logits ``(N, K)``."""
        return sum(self.network(inputs[:, 0].permute(0, 4, 2, 3, 1)))

    def forward(
        self, inputs: Tensor, data_samples: list[ActionDataSample], mode: str = 'predict'
    ) -> Tensor | dict[str, Tensor]:
        """Bodies ``(N, 1, M, T, V, C)`` → logits ``(N, K)``, or the loss ``()``."""
        logits = self.extract_feat(inputs)
        if mode != 'loss':
            return logits
        labels = torch.cat([sample.gt_label for sample in data_samples]).to(logits.device)
        return dict(loss_cls=F.cross_entropy(logits.float(), labels))
