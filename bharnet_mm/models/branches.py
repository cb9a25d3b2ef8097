"""Expert branches, which compute logits from an expert's features."""

import math

from mmaction.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn


@MODELS.register_module()
class ExpertBranch(BaseModule):
    """Classifier on a clip's pooled features, ``dropout → linear``.

    Args:
        in_channels (int): Channels of the pooled features.
        num_classes (int): Classes.
        dropout (float): Defaults to 0.

    Shapes:
        ``(*, N, C)``, present ``(N,)`` bool → ``(*, N, K)``; zero if the clip has no instance of
        the modality.
    """

    def __init__(
        self, in_channels: int, num_classes: int, dropout: float = 0.0, init_cfg: dict | None = None
    ) -> None:
        super().__init__(init_cfg)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(in_channels, num_classes)
        # As in other graph networks of the field.
        nn.init.normal_(self.fc.weight, std=math.sqrt(2.0 / num_classes))
        nn.init.zeros_(self.fc.bias)

    def forward(self, x: Tensor, present: Tensor) -> Tensor:
        """``(*, N, C)``, present ``(N,)`` → logits ``(*, N, K)``, zero for absent clips."""
        return self.fc(self.dropout(x)) * present[:, None]
