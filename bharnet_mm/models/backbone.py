"""Body and hand experts side by side."""

from mmaction.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn

from ..errors import ConfigError
from .instances import Instances, pack


@MODELS.register_module()
class BodyHandBackbone(BaseModule):
    """One network for bodies, one for hands, on the present instances of a batch.

    Either may be left out: ``hand=None`` is a body-only model. A network with ``forward_instances``
    (:class:`DeGCN`) gets packed instances; any other graph network of MMAction2 (``STGCN``,
    ``AAGCN``) gets each instance as a clip of one person.

    Args:
        body (dict, optional): Config of the body's network.
        hand (dict, optional): Config of the hands' network.

    Shapes:
        ``inputs``: ``body (N, M, T, V, C)``, ``body_mask (N, M, T)``, ``hand (N, 2M, T, 21, C)``,
        ``hand_mask (N, 2M, T)`` → dict of ``'body'`` and ``'hand'``, each a list of
        :class:`Instances`, one a stream.
    """

    def __init__(
        self, body: dict | None = None, hand: dict | None = None, init_cfg: dict | None = None
    ) -> None:
        super().__init__(init_cfg)
        experts = {name: cfg for name, cfg in (('body', body), ('hand', hand)) if cfg is not None}
        if not experts:
            raise ConfigError(
                'BodyHandBackbone', 'neither body nor hand', 'at least one', 'give a config for one'
            )
        self.experts = nn.ModuleDict({name: MODELS.build(cfg) for name, cfg in experts.items()})

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, list[Instances]]:
        features = {}
        for name, network in self.experts.items():
            instances = pack(inputs[name], inputs[f'{name}_mask'])
            features[name] = _run(network, instances)
        return features


def _run(network: nn.Module, instances: Instances) -> list[Instances]:
    if hasattr(network, 'forward_instances'):
        return network.forward_instances(instances)
    x = instances.x.permute(0, 3, 2, 1).unsqueeze(1)  # (P, 1, T, V, C)
    return [instances.with_features(network(x).squeeze(1).transpose(2, 3))]  # from (P, 1, D, T', V)
