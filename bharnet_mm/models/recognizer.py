"""The body-hand recognizer."""

from mmaction.models.recognizers import BaseRecognizer
from mmaction.registry import MODELS
from torch import Tensor


@MODELS.register_module()
class BHaRNet(BaseRecognizer):
    """BHaRNet-B, -P and -E (Cho and Kim, IROS 2025): :class:`BodyHandBackbone` +
    :class:`BHaRNetHead`.

    Args:
        backbone (dict): Config of the two experts.
        cls_head (dict): Config of the head.
        data_preprocessor (dict, optional): Defaults to :class:`BodyHandPreprocessor`.

    Shapes:
        See :class:`BodyHandBackbone` for ``inputs``. ``mode='tensor'`` gives a dict of modality →
        list of logits ``(N, K)``, one a branch.
    """

    def __init__(
        self, backbone: dict, cls_head: dict, data_preprocessor: dict | None = None, **kwargs
    ) -> None:
        super().__init__(
            backbone=backbone,
            cls_head=cls_head,
            data_preprocessor=data_preprocessor or dict(type='mmaction.BodyHandPreprocessor'),
            **kwargs,
        )

    def extract_feat(self, inputs: dict[str, Tensor], stage: str = 'backbone', **kwargs) -> tuple:
        """Features by modality (``stage='backbone'``) or logits by modality (``stage='head'``), and
        no loss keywords.
        """
        features = self.backbone(inputs)
        return (self.cls_head(features) if stage == 'head' else features), {}

    def forward(self, inputs: dict[str, Tensor], data_samples=None, mode: str = 'tensor', **kwargs):
        if mode == 'tensor':
            return self.extract_feat(inputs, stage=kwargs.get('stage', 'head'))[0]
        return super().forward(inputs, data_samples, mode=mode, **kwargs)
