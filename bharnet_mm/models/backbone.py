"""The backbone: a body expert and a hand expert."""

from functools import partial
from typing import Protocol, runtime_checkable

import torch
from mmaction.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn

from ..errors import ConfigError
from ..features import check_feature, make_feature
from ..layouts import SkeletonLayout
from .beside import side_by_side
from .instances import Instances, pack


@runtime_checkable
class ExpertNetwork(Protocol):
    """Interface of an expert's network for :class:`BodyHandBackbone` and the head.

    :class:`DeGCN` is one. A network of MMAction2 that only has ``forward`` works as well. The
    config of the head then needs ``in_channels`` and, with an attention, joints and frames.

    Attributes:
        layout: Layout of its skeleton; bone features need its parents.
        num_features: Channels ``D`` of its features.
        temporal_stride: Of ``T`` frames, ``T' = ceil(T / temporal_stride)`` remain.
    """

    layout: SkeletonLayout
    num_features: int
    temporal_stride: int

    def forward_instances(self, instances: Instances) -> list[Instances]:
        """Features of packed instances.

        Shapes:
            ``x (P, C, V, T)``, ``mask (P, T)`` → one :class:`Instances` a stream, ``x (P, D, V,
            T')``.
        """
        ...


@MODELS.register_module()
class BodyHandBackbone(BaseModule):
    """One network for bodies and one for hands, applied to the present instances of a batch.

    Either may be left out: ``hand=None`` is a body-only model. A network with ``forward_instances``
    (:class:`DeGCN`) gets packed instances; any other graph network of MMAction2 (``STGCN``,
    ``AAGCN``) gets each instance as a clip of one person.

    The skeleton feature is made here from joint positions, not in the pipeline. It belongs to the
    trained model, so inference needs only the checkpoint with its config, and the members of a
    four-feature ensemble share one pipeline.

    Args:
        body (dict, optional): Config of the body's network.
        hand (dict, optional): Config of the hands' network.
        feature (str): Input feature of the networks: ``'joint'``, ``'bone'``, ``'joint_motion'`` or
            ``'bone_motion'``, see :func:`make_feature`. Defaults to ``'joint'``.
        visibility (bool): Whether the last channel of the inputs says which joints are there, as
            ``FormatBodyHand(visibility=True)`` appends it: no feature is made of it. The networks
            get one input channel more than their ``in_channels``, which are those of the
            coordinates. Defaults to False.

    Shapes:
        ``inputs``: ``body (N, M, T, V, C)``, ``body_mask (N, M, T)``, ``hand (N, 2M, T, 21, C)``,
        ``hand_mask (N, 2M, T)`` → dict of ``'body'`` and ``'hand'``, each a list of
        :class:`Instances`, one for each stream. If ``inputs`` has ``body_rows`` and ``hand_rows``
        (see :class:`BodyHandPreprocessor`), these are the rows of the packed form, and the host
        does not wait for the device.

    Raises:
        ConfigError: If there is no network, the feature is unknown, or a bone feature is requested
            and a network has no layout.
    """

    def __init__(
        self,
        body: dict | None = None,
        hand: dict | None = None,
        feature: str = 'joint',
        visibility: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        experts = {name: cfg for name, cfg in (('body', body), ('hand', hand)) if cfg is not None}
        if not experts:
            raise ConfigError(
                'BodyHandBackbone', 'neither body nor hand', 'at least one', 'give a config for one'
            )
        self.feature = check_feature(feature)
        self.visibility = visibility
        if visibility:
            experts = {
                name: cfg | dict(in_channels=cfg.get('in_channels', 3) + 1)
                for name, cfg in experts.items()
            }
        self.experts = nn.ModuleDict({name: MODELS.build(cfg) for name, cfg in experts.items()})
        for name, network in self.experts.items():
            layout = getattr(network, 'layout', None)
            if layout is None and feature.startswith('bone'):
                raise ConfigError(
                    f'BodyHandBackbone, {name}',
                    f'feature {feature!r} with a {type(network).__name__}, which has no layout',
                    'a network with a SkeletonLayout, such as DeGCN',
                    'use a joint feature, or DeGCN',
                )
            parents = torch.zeros(0) if layout is None else torch.tensor(layout.parent_index)
            self.register_buffer(f'{name}_parents', parents, persistent=False)

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, list[Instances]]:
        """Features of both experts.

        Args:
            inputs: ``body (N, M, T, V, C)``, ``body_mask (N, M, T)``, ``hand (N, 2M, T, 21, C)``
                and ``hand_mask (N, 2M, T)``, for those with a network.

        Returns:
            ``'body'`` and ``'hand'`` → one :class:`Instances` a stream, ``x (P, D, V, T')``.
        """
        works = {name: partial(self._features, name, inputs) for name in self.experts}
        features = side_by_side(works, lambda streams: [x for s in streams for x in s.tensors()])
        return dict(zip(self.experts, features, strict=True))

    def _features(self, name: str, inputs: dict[str, Tensor]) -> list[Instances]:
        x, known = inputs[name], None
        if self.visibility:
            x, known = x[..., :-1], x[..., -1:]
        x, mask = make_feature(
            x, inputs[f'{name}_mask'], getattr(self, f'{name}_parents'), self.feature
        )
        if known is not None:
            x = torch.cat([x, known], dim=-1)
        return _run(self.experts[name], x, mask, inputs.get(f'{name}_rows'))


def _run(network: nn.Module, x: Tensor, mask: Tensor, rows: int | None) -> list[Instances]:
    if hasattr(network, 'forward_instances'):
        return network.forward_instances(pack(x, mask, rows))
    # Rows of padding would enter the statistics of other networks' batch norms.
    instances = pack(x, mask)
    x = instances.x.permute(0, 3, 2, 1).unsqueeze(1)  # (P, 1, T, V, C)
    features = network(x).squeeze(1).transpose(2, 3)  # from (P, 1, D, T', V)
    return [instances.with_features(features)]
