"""Models by name: the shipped configs, and the trained models in the package."""

from __future__ import annotations

import ast
import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError
from ..layouts import SkeletonLayout, get_layout
from ..registration import mmaction_scope
from .model_card import describe_layout, read_card

if TYPE_CHECKING:
    from torch import nn

_PACKAGE = Path(__file__).resolve().parents[1]
# `model` in it is P; the other variants are the values `bharnet_...` that change it
_VARIANTS = Path('_base_/models/bharnet.py')


def config_folder() -> Path:
    """The folder of the shipped configs: inside an installed package, beside it in a checkout.

    Raises:
        ConfigError: The installation is incomplete.
    """
    for folder in (_PACKAGE / '.mim' / 'configs', _PACKAGE.parent / 'configs'):
        if (folder / '_base_').is_dir():
            return folder
    raise ConfigError(
        'configs',
        f'none in {_PACKAGE}',
        'the configs of the package',
        'install bharnet_mm again, from a wheel or a checkout',
    )


def trained_folder() -> Path:
    """The folder of the trained models that come with the package."""
    return _PACKAGE / 'pretrained'


def list_models(trained: bool | None = None) -> list[str]:
    """Sorted names of the models for :func:`create_model` and the inferencer.

    Args:
        trained: True: only the trained models, ready to predict. False: only untrained ones, that
            is the variants (``bharnet_p``) and the configs of each data set (``bharnet_p_ntu60``).
            None: all.
    """
    ready = {path.stem for path in trained_folder().glob('*.safetensors')}
    folder = config_folder()
    variants = set(_variants())
    configs = {path.stem for path in folder.glob('*.py')}
    if trained is None:
        return sorted(ready | variants | configs)
    return sorted(ready if trained else variants | configs)


def _variants() -> list[str]:
    """Names of the variants, read from the file without running it."""
    tree = ast.parse((config_folder() / _VARIANTS).read_text(encoding='utf-8'))
    names = [node.targets[0].id for node in tree.body if isinstance(node, ast.Assign)]
    return ['bharnet_p', *(name for name in names if name.startswith('bharnet_'))]


def config_path(name: str) -> Path:
    """The config file of a name of :func:`list_models`. All variants are in one file.

    Raises:
        ConfigError: Unknown name.
    """
    if name in _variants():
        return config_folder() / _VARIANTS
    path = config_folder() / f'{name}.py'
    if path.is_file():
        return path
    raise _unknown(name, list_models(False))


def _model_config(name: str) -> Any:
    """The recognizer's config of a name of :func:`list_models`."""
    from mmengine.config import Config

    if name in list_models(True) and name not in list_models(False):
        return Config(dict(model=read_card(find_trained(name)).model)).model
    cfg = Config.fromfile(config_path(name))
    if name in _variants() and name in cfg:
        cfg.merge_from_dict(dict(model=cfg[name].to_dict()))
    return cfg.model


def find_config(config: str) -> str:
    """The path of a config, given as a file or as the name of a shipped one.

    Raises:
        ConfigError: There is neither such a file nor such a name.
    """
    path = Path(config)
    if path.is_file() and path.suffix in ('.py', '.json', '.yml', '.yaml'):
        return config
    if path.is_file():
        found = f'a file {path.suffix or "without an ending"}'
        fix = 'give the config first; that of a training lies in its work folder'
        raise ConfigError(config, found, 'a config, a .py file', fix)
    if path.suffix != '.py' and path.name == config:
        return str(config_path(config))
    raise ConfigError(
        config,
        'a folder' if path.is_dir() else 'no such file',
        'a config file, or the name of a shipped config',
        'correct the path; `bharnet models` lists the names',
    )


def find_trained(name: str) -> Path:
    """The path of a trained model, given as the name of a shipped one, or as a file or folder.

    Raises:
        ConfigError: There is no such model.
    """
    shipped = trained_folder() / f'{name}.safetensors'
    if shipped.is_file() and os.sep not in name:
        return shipped
    if '://' in name or Path(name).exists():
        return Path(name)
    if name in list_models(False):
        return _refuse_variant(name) if name in _variants() else config_path(name)
    raise _unknown(name, list_models(True))


def _refuse_variant(name: str) -> Path:
    raise ConfigError(
        f'model {name!r}',
        'an untrained variant',
        f'a trained model: one of {list_models(True)}, a file or a work folder',
        'train it first, or build it untrained with create_model',
    )


def _unknown(name: str, known: Sequence[str]) -> ConfigError:
    import difflib

    near = difflib.get_close_matches(name, list_models(), 1)
    return ConfigError(
        f'model {name!r}',
        'no model of this name and no such file',
        f'one of {list(known)}, or a path',
        f'did you mean {near[0]!r}?' if near else 'correct the name; `bharnet models` lists them',
    )


def create_model(
    name: str,
    num_classes: int | None = None,
    layout: str | dict | SkeletonLayout | None = None,
    *,
    channels: Mapping[str, int] | int | None = None,
    feature: str | None = None,
    num_frames: int | None = None,
    pretrained: str | os.PathLike | bool = False,
    device: str | None = None,
    store: str | os.PathLike | None = None,
    **options: Any,
) -> nn.Module:
    """A recognizer by the name of its variant or config.

    Args:
        name: One of :func:`list_models`, such as ``bharnet_p`` or ``bharnet_p_ntu60``.
        num_classes: Number of classes. Defaults to the config's.
        layout: Skeleton of the bodies: a name, a definition as a dict or a ``SkeletonLayout``.
        channels: Number of channels of body and hands, ``dict(body=2, hand=2)`` or one number for
            both.
        feature: ``joint``, ``bone``, ``joint_motion`` or ``bone_motion``.
        num_frames: Frames of the clips.
        pretrained: Weights to start from: True for the shipped weights of this name, or a file or
            URL for :func:`bharnet_mm.io.weights.load_weights`. Classifiers with another number of
            classes start from random weights.
        device: Device of the model, by default the CPU.
        store: Path of a clip store. Models for own data, such as ``bharnet_p_own``, take from it
            what the arguments do not give.
        **options: Further overrides of the config, dots written as two underscores:
            ``cls_head__fusion='noisy_or'``.

    Returns:
        A model in training mode. Its ``forward`` takes the dict that :class:`BodyHandPreprocessor`
        makes, see :class:`BHaRNet`.

    Raises:
        BHaRNetError: An unknown name or override, a missing size, or weights of another model.
    """
    cfg = _model_config(name)
    _override(cfg, name, num_classes, layout, channels, feature, num_frames)
    for key, value in options.items():
        _set(cfg, key.split('__'), value, name)
    model = build_model(_without_open_facts(cfg, name, store))
    if pretrained:
        _load(model, name, pretrained)
    else:
        with _quiet_init():
            model.init_weights()
    return model if device is None else model.to(device)


#: What says a fact that a config takes from a clip store, as an argument of ``create_model``.
_SAID_BY = {
    'num_classes': 'num_classes',
    'layout': 'layout',
    'num_body_channels': 'channels',
    'num_hand_channels': 'channels',
    'num_frames': 'num_frames',
    'region_parts': 'rgb__parts',
}


def _without_open_facts(cfg: Any, name: str, store: str | os.PathLike | None) -> Any:
    """The config with the values ``'store:FACT'`` filled in.

    Raises:
        ConfigError: There are some, and no store.
    """
    from ..engine.from_store import fill_value, open_facts

    content = cfg.to_dict()
    lacking = open_facts(content)
    if not lacking:
        return cfg
    if store is None:
        said = sorted({_SAID_BY.get(fact, fact) for fact in lacking})
        raise ConfigError(
            f'create_model({name!r})',
            f'no {", ".join(said)}',
            'what the config takes from the clip store of the training data',
            f'give {", ".join(said)}, or store=PATH',
        )
    from mmengine.config import ConfigDict

    return ConfigDict(fill_value(content, store))


def build_model(cfg: Any) -> nn.Module:
    """A model of its config, by the names of MMAction2's registry."""
    from mmaction.registry import MODELS

    with mmaction_scope():
        return MODELS.build(cfg)


@contextlib.contextmanager
def _quiet_init() -> Iterator[None]:
    """Hides MMEngine's two lines about the initialisation of each parameter, which would also go
    into the log file of an earlier runner of the process.
    """
    from mmengine.logging import MMLogger

    logger = MMLogger.get_current_instance()
    level, handlers = logger.level, logger.handlers
    logger.setLevel('WARNING')
    logger.handlers = []
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.handlers = handlers


def _override(
    cfg: Any,
    name: str,
    num_classes: int | None,
    layout: str | dict | SkeletonLayout | None,
    channels: Mapping[str, int] | int | None,
    feature: str | None,
    num_frames: int | None,
) -> None:
    """Sets the values that depend on the data set."""
    if num_classes is not None:
        _set(cfg, ['cls_head', 'num_classes'], num_classes, name)
    if layout is not None:
        layout = get_layout(layout)
        _set(cfg, ['backbone', 'body', 'layout'], describe_layout(layout), name)
    if channels is not None:
        both = dict(body=channels, hand=channels) if isinstance(channels, int) else channels
        for part, number in both.items():
            _set(cfg, ['backbone', part, 'in_channels'], number, name)
    if feature is not None:
        _set(cfg, ['backbone', 'feature'], feature, name)
    if num_frames is not None:
        cfg.num_frames = num_frames


def _set(cfg: Any, keys: Sequence[str], value: Any, name: str) -> None:
    at = cfg
    for key in keys[:-1]:
        if not isinstance(at.get(key) if isinstance(at, Mapping) else None, Mapping):
            raise ConfigError(
                f'create_model({name!r})',
                f'the option {"__".join(keys)!r}',
                f'a part of its config, one of {sorted(at) if isinstance(at, Mapping) else []}',
                'correct the name',
            )
        at = at[key]
    at[keys[-1]] = value


def _load(model: nn.Module, name: str, pretrained: str | os.PathLike | bool) -> None:
    from ..io.weights import load_weights

    source = find_trained(name) if pretrained is True else pretrained
    loaded = load_weights(source)
    state = loaded.get('state_dict', loaded)
    own = model.state_dict()
    fits = {key: v for key, v in state.items() if key in own and own[key].shape == v.shape}
    lacking = [key for key in own if key not in fits and '.fc.' not in key]
    if lacking:
        raise ConfigError(
            f'{source}',
            f'weights without {len(lacking)} of {len(own)} tensors of {name!r}, '
            f'such as {lacking[0]}',
            'weights of the same model; only the classifiers may differ',
            'create the model with the layout, channels and sizes that it was trained with',
        )
    model.load_state_dict(fits, strict=False)
