"""The recognizers: BHaRNet (body and hands) and BHaRNetM (with rgb)."""

import torch
from mmaction.models.recognizers import BaseRecognizer
from mmaction.registry import MODELS
from mmaction.utils import SampleList
from mmengine.runner import CheckpointLoader
from torch import Tensor, nn

from ..errors import ConfigError
from .rgb import RegionFeatures, rgb_width
from .sizes import fill_head


@MODELS.register_module()
class BHaRNet(BaseRecognizer):
    """BHaRNet-B, -P and -E (Cho and Kim, IROS 2025): :class:`BodyHandBackbone` +
    :class:`BHaRNetHead`.

    Sizes that follow from the networks are filled in: the head's ``in_channels`` and ``modalities``
    from the experts' networks, the attention's joints and frames from their layouts and strides.

    Args:
        backbone (dict): Config of the two experts.
        cls_head (dict): Config of the head.
        num_frames (int, optional): Frames of a clip, for the positions of the attention.
        data_preprocessor (dict, optional): Defaults to :class:`BodyHandPreprocessor`.
        more_widths (dict, optional): Modality → channels of streams beside the backbone.

    Shapes:
        See :class:`BodyHandBackbone` for ``inputs``. ``mode='tensor'`` gives a dict of modality →
        list of logits ``(N, K)``, one for each branch.

    Raises:
        ConfigError: If given sizes of the head do not fit the networks.
    """

    def __init__(
        self,
        backbone: dict,
        cls_head: dict,
        num_frames: int | None = None,
        data_preprocessor: dict | None = None,
        more_widths: dict[str, int] | None = None,
        **kwargs,
    ) -> None:
        super().__init__(
            backbone=backbone,
            data_preprocessor=data_preprocessor or dict(type='mmaction.BodyHandPreprocessor'),
            **kwargs,
        )
        self.cls_head = MODELS.build(
            fill_head(cls_head, self.backbone, more_widths or {}, num_frames)
        )

    def extract_feat(self, inputs: dict[str, Tensor], stage: str = 'backbone', **kwargs) -> tuple:
        """Features by modality (``stage='backbone'``) or logits by modality (``stage='head'``), and
        no loss keywords.
        """
        features = self.backbone(inputs)
        return (self.cls_head(features) if stage == 'head' else features), {}

    def forward(self, inputs: dict[str, Tensor], data_samples=None, mode: str = 'tensor', **kwargs):
        """Logits, losses or predictions.

        Args:
            inputs: ``body (N, M, T, V, C)`` and the others of :class:`BodyHandBackbone`; in M
                also ``rgb (N, 3, H, W)`` and ``rgb_mask (N, R, F)``.
            data_samples: N of them, for losses and predictions.
            mode: ``'tensor'``, ``'loss'`` or ``'predict'``.

        Returns:
            Modality → logits ``(N, K)``, one a branch (``'tensor'``); name → loss ``()``
            (``'loss'``); the data samples with their predictions (``'predict'``).
        """
        if mode == 'tensor':
            return self.extract_feat(inputs, stage=kwargs.get('stage', 'head'))[0]
        return super().forward(inputs, data_samples, mode=mode, **kwargs)


@MODELS.register_module()
class BHaRNetM(BHaRNet):
    """BHaRNet-M: B, P or E with an rgb expert, guided by the body expert.

    It is trained jointly, or in two stages as MMNet. ``experts_checkpoint`` starts the body and the
    hand expert from a checkpoint (of B, P or E, according to ``backbone`` and ``cls_head``).
    ``freeze_experts`` keeps them unchanged: no gradient, no loss, and the same batch statistics.

    Args:
        backbone (dict): Config of the skeleton experts; its body expert guides the rgb expert.
        rgb (dict): Config of the rgb expert's network; ``type`` defaults to :class:`RegionEncoder`
            (:class:`BodyGuidedRGB` takes the grid as one image) and ``layout`` to the body
            expert's. Images are normalised as its network expects, unless ``data_preprocessor``
            says otherwise.
        cls_head (dict): Config of the head, with ``'rgb'`` among its modalities.
        experts_checkpoint (str, optional): Checkpoint of the skeleton experts, which is read before
            a training but not for a test.
        freeze_experts (bool): Defaults to False.
        **kwargs: Further arguments of :class:`BHaRNet`.

    Shapes:
        Those of :class:`BHaRNet`, and ``rgb (N, 3, H, W)``, ``rgb_mask (N, R, F)``. Without these
        two keys (a pipeline without ``CutRegions``) a trained model predicts from the skeletons.

    Raises:
        ConfigError: For a head without the images, a checkpoint without the experts, experts that
            are frozen but not given, and training without images.
    """

    def __init__(
        self,
        backbone: dict,
        rgb: dict,
        cls_head: dict,
        experts_checkpoint: str | None = None,
        freeze_experts: bool = False,
        **kwargs,
    ) -> None:
        rgb = dict(type='RegionEncoder') | rgb
        widths = dict(rgb=rgb_width(rgb))
        super().__init__(backbone, cls_head, more_widths=widths, **kwargs)
        if 'rgb' not in self.cls_head.modalities:
            raise ConfigError(
                'BHaRNetM',
                f'modalities={self.cls_head.modalities}',
                "'rgb' among them",
                "add 'rgb' to cls_head.modalities, or use BHaRNet",
            )
        body = getattr(self.backbone.experts, 'body', None)
        layout = dict(layout=getattr(body, 'layout', None))
        self.rgb = MODELS.build(layout | rgb)
        if getattr(self.rgb, 'classifier_starts_at_zero', False):
            torch.nn.init.zeros_(self.cls_head.classifiers['rgb'][0].fc.weight)
        given = kwargs.get('data_preprocessor') or {}
        if 'mean' not in given and 'std' not in given:
            self.data_preprocessor.set_normalisation(*self.rgb.normalisation)
        self.experts_checkpoint, self.freeze_experts = experts_checkpoint, freeze_experts
        if freeze_experts:
            for module in self.skeleton_modules().values():
                module.requires_grad_(False)

    def skeleton_modules(self) -> dict[str, nn.Module]:
        """The modules of the skeleton experts, by their names in a checkpoint."""
        head = self.cls_head
        parts = {'backbone': self.backbone, 'cls_head.attentions': head.attentions}
        for name, classifier in head.classifiers.items():
            if name != 'rgb':
                parts[f'cls_head.classifiers.{name}'] = classifier
        return parts

    def init_weights(self) -> None:
        """Initialises the weights, and then loads those of the experts from their checkpoint."""
        super().init_weights()
        if self.experts_checkpoint is None:
            if self.freeze_experts:
                raise ConfigError(
                    'BHaRNetM',
                    'freeze_experts without experts',
                    'trained experts',
                    'set model.experts_checkpoint to the checkpoint of a B, P or E',
                )
            return
        checkpoint = CheckpointLoader.load_checkpoint(self.experts_checkpoint, map_location='cpu')
        state = checkpoint.get('state_dict', checkpoint)
        for prefix, module in self.skeleton_modules().items():
            found = {name: state.get(f'{prefix}.{name}') for name in module.state_dict()}
            wrong = [
                f'{prefix}.{name}'
                for name, value in module.state_dict().items()
                if found[name] is None or found[name].shape != value.shape
            ]
            if wrong:
                raise ConfigError(
                    f'checkpoint {self.experts_checkpoint}',
                    f'{len(wrong)} of {len(found)} tensors of {prefix} missing or of another '
                    f'shape, {wrong[0]} for one',
                    'the experts that backbone and cls_head describe',
                    'use a checkpoint trained with the same backbone, branches and classes',
                )
            module.load_state_dict(found)

    def train(self, mode: bool = True) -> 'BHaRNetM':
        """Training mode for all but frozen experts."""
        super().train(mode)
        if self.freeze_experts:
            for module in self.skeleton_modules().values():
                module.eval()
        return self

    def extract_feat(self, inputs: dict[str, Tensor], stage: str = 'backbone', **kwargs) -> tuple:
        """Features of all experts, or the head's logits.

        Shapes: as :meth:`BHaRNet.extract_feat`; ``rgb (N, 3, H, W)`` with ``rgb_mask (N, R, F)``
        give ``features['rgb']``, one :class:`RegionFeatures` with ``x (N, D, h, w)``.
        """
        # Frozen experts run in the inference form, with folded batch norms.
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.freeze_experts):
            features = self.backbone(inputs)
        if 'rgb' in inputs:
            x = self.rgb(
                inputs['rgb'],
                inputs['rgb_mask'],
                features.get('body'),
                num_present=inputs.get('rgb_rows'),
                num_cells=inputs.get('rgb_cells'),
            )
            features['rgb'] = [RegionFeatures(x, inputs['rgb_mask'].flatten(1).any(1))]
        else:
            features['rgb'] = [self._no_grids(len(inputs['body']))]
        return (self.cls_head(features) if stage == 'head' else features), {}

    def loss(self, inputs: dict[str, Tensor], data_samples: SampleList, **kwargs) -> dict:
        """Losses of the head; those of frozen experts alone are left out."""
        losses = super().loss(inputs, data_samples, **kwargs)
        if self.freeze_experts:
            losses = {k: v for k, v in losses.items() if k not in ('loss_body', 'loss_hand')}
        return losses

    def _no_grids(self, size: int) -> RegionFeatures:
        if self.training:
            raise ConfigError(
                'BHaRNetM',
                'a training batch without rgb',
                'region grids',
                'put CutRegions into the training pipeline, or train BHaRNet',
            )
        weight = self.cls_head.classifiers['rgb'][0].fc.weight
        present = weight.new_zeros(size, dtype=bool)
        return RegionFeatures(weight.new_zeros(size, weight.size(1), 1, 1), present)
