"""Builds models from the card of a file. The file may come from anywhere, so the card is not
trusted.

MMEngine builds whatever Python object a config names (``type='subprocess.call'``). The user of a
config knows that it is code, but expects a file of weights to be harmless.
"""

from __future__ import annotations

import contextlib
import copy
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ..errors import ConfigError
from ..io.guard import reading
from ..registration import mmaction_scope
from .model_card import ModelCard
from .model_zoo import build_model
from .region_grids import given

#: Registered parts of OpenMMLab that open no file and no connection when they are built.
_SAFE = tuple(
    f'mmaction.models.{name}.'
    for name in 'backbones common data_preprocessors heads losses necks recognizers utils'.split()
) + ('mmengine.model.', 'mmcv.cnn.', 'mmaction.datasets.transforms.formatting.')
#: Arguments that name other files or addresses. They are not needed, since the weights are in the
#: file.
_SOURCES = frozenset(
    'init_cfg experts_checkpoint load_from checkpoint checkpoint_path pretrained_cfg '
    'pretrained_cfg_overlay cache_dir store data_root'.split()
)
#: A network of timm by its name; `hf-hub:...` would be an address.
_TIMM = re.compile(r'timm\.[A-Za-z0-9_.]+')
_LARGEST = 1e5  # a count of frames, channels or joints; more could only take memory or time
_EXPECTED = 'a model of bharnet_mm or MMAction2, and the weights of that model'
_FIX = 'take the file from somebody you trust, or publish the model again'


def build_from_card(card: ModelCard, state: Mapping[str, Any], trusted: bool = False) -> Any:
    """The model of a card with its weights, in evaluation mode.

    Only registered parts are built, and arguments that name other files are left out. Memory for
    the model is allocated only after the names and shapes of its tensors were found equal to the
    file's.

    Args:
        card: As it was read.
        state: Weights from the same file, name to tensor.
        trusted: Whether the card was made from the user's own config.

    Raises:
        ConfigError: The card names an object that is not registered or a part that cannot be built,
            or the weights are those of another model.
    """
    import torch

    where = f'model {card.name!r}'
    if trusted:
        model = build_model(copy.deepcopy(card.model))
        check_weights(card.name, model.state_dict(), state)
        model.load_state_dict(dict(state))
        return model.eval()
    config = without_sources(card.model)
    with reading(where, _EXPECTED, _FIX, ConfigError):
        check_types(config, where)
        with torch.device('meta'), _at_most(2 * len(state) + 64):
            shapes = build_model(copy.deepcopy(config)).state_dict()
        check_weights(card.name, shapes, state)
        model = build_model(copy.deepcopy(config))
        model.load_state_dict(dict(state))
    classes = getattr(getattr(model, 'cls_head', None), 'num_classes', len(card.classes))
    if classes != len(card.classes):
        raise ConfigError(where, f'{classes} outputs', f'{len(card.classes)}, one a class', _FIX)
    return model.eval()


def build_steps(card: ModelCard, trusted: bool = False) -> Any:
    """The transforms of a card's pipeline, by registered names only.

    Region grids come with the clips, see :class:`~bharnet_mm.apis.region_grids.GridCutter`.

    Args:
        card: As it was read.
        trusted: Whether the card was made from the user's own config.

    Raises:
        ConfigError: The card names an object that is not registered, or wrong arguments.
    """
    from mmaction.registry import TRANSFORMS
    from mmengine.dataset import Compose

    where = f'pipeline of model {card.name!r}'
    steps = [
        dict(given(step), type=step['type']) if step['type'] == 'CutRegions' else step
        for step in card.pipeline
    ]
    if trusted:
        with mmaction_scope():
            return Compose([TRANSFORMS.build(dict(step)) for step in steps])
    steps = without_sources(steps)
    with (
        mmaction_scope(),
        reading(where, 'transforms of bharnet_mm or MMAction2', _FIX, ConfigError),
    ):
        check_types(steps, where, TRANSFORMS)
        return Compose([TRANSFORMS.build(step) for step in steps])


def without_sources(config: Any) -> Any:
    """A copy of a config without the arguments that name files or addresses."""
    from ..models.image_network import PACKAGES

    if isinstance(config, Mapping):
        return {
            key: without_sources(value)
            for key, value in config.items()
            # The name of shipped weights also says how their images are normalised.
            if key not in _SOURCES and (key != 'pretrained' or value in PACKAGES)
        }
    if isinstance(config, (list, tuple)):
        return [without_sources(item) for item in config]
    return config


def check_types(config: Any, where: str, registry: Any = None) -> None:
    """Refuses a config with a ``type`` that is not a registered part, or with a huge number.

    Parts that the user's own code has registered are allowed. Of OpenMMLab's packages, parts are
    allowed that open no file when they are built.

    Args:
        config: Plain dicts and lists.
        where: Place for the message.
        registry: A registry of MMEngine. Defaults to MMAction2's models.

    Raises:
        ConfigError: A type or a number is refused; the message names it.
    """
    from mmaction.registry import MODELS

    huge = next((n for n in _numbers(config) if not abs(n) <= _LARGEST), None)
    if huge is not None:
        raise ConfigError(where, f'the number {huge:g}', f'at most {_LARGEST:g}', _FIX)
    registry = MODELS if registry is None else registry
    registry.import_from_location()
    for kind in _types(config):
        if isinstance(kind, str) and _TIMM.fullmatch(kind):
            continue
        found, place = None, registry
        name = kind.removeprefix('mmaction.') if isinstance(kind, str) else ''
        while found is None and place is not None:
            found, place = place.module_dict.get(name), place.parent
        module = f'{getattr(found, "__module__", "")}.'
        if found is None or (module.startswith('mm') and not module.startswith(_SAFE)):
            raise ConfigError(
                where,
                f'the type {str(kind)[:60]!r}',
                'registered parts of bharnet_mm or MMAction2',
                'such a file could run any code: take it from somebody you trust',
            )


def _types(config: Any) -> Iterator[Any]:
    if isinstance(config, Mapping):
        if 'type' in config:
            yield config['type']
            if config['type'] == 'TimmBackbone':
                yield f'timm.{config.get("model")}'
        for value in config.values():
            yield from _types(value)
    elif isinstance(config, (list, tuple)):
        for item in config:
            yield from _types(item)


def _numbers(config: Any) -> Iterator[float]:
    if isinstance(config, (int, float)):
        yield config
    elif isinstance(config, (Mapping, list, tuple)):
        for value in config.values() if isinstance(config, Mapping) else config:
            yield from _numbers(value)


@contextlib.contextmanager
def _at_most(number: int) -> Iterator[None]:
    """Stops the building of a model with more parameters than the file can have."""
    from torch.nn.modules.module import register_module_parameter_registration_hook

    left = [number]

    def count(*_: Any) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise ValueError(f'a model of more tensors than its file (about {number // 2})')

    hook = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        hook.remove()


def check_weights(name: str, wanted: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    """Refuses weights of another model, by the names and shapes of the tensors."""
    # Files of earlier versions have no fusion weights; then they are those of the config.
    missing = [k for k in wanted if k not in found and not k.endswith('.fusion_weight')]
    unknown = [key for key in found if key not in wanted]
    reshaped = [k for k in wanted if k in found and wanted[k].shape != found[k].shape]
    if missing or unknown or reshaped:
        raise ConfigError(
            f'weights of {name!r}',
            f'{len(missing)} missing tensors {missing[:2]}, {len(unknown)} unknown ones '
            f'{unknown[:2]} and {len(reshaped)} of another shape {reshaped[:2]}',
            'the weights of the model that the config describes',
            'use the config that the checkpoint was trained with',
        )
