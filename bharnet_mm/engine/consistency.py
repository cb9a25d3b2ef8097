"""Checks that model, data and checkpoint fit together, before training or testing."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from mmaction.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import nn

from ..errors import ConfigError

#: Key of the model's description in the ``meta`` of a checkpoint.
META_KEY = 'model_facts'


def model_facts(model: nn.Module, cfg: Mapping | None = None) -> dict[str, Any]:
    """Facts about a model, as plain values.

    Args:
        model: A recognizer, ours or MMAction2's.
        cfg: The whole config, which has the feature of a stock model.

    Returns:
        As far as they are known: ``type``, ``feature``, ``num_classes``, and by expert (``body``,
        ``hand``; of a stock model ``backbone``) ``layout`` and ``channels``.
    """
    facts: dict[str, Any] = {'type': type(model).__name__}
    backbone = getattr(model, 'backbone', None)
    feature = getattr(backbone, 'feature', None) or _feature_of_pipeline(cfg)
    if feature is not None:
        facts['feature'] = feature
    classes = getattr(getattr(model, 'cls_head', None), 'num_classes', None)
    if classes is not None:
        facts['num_classes'] = int(classes)
    networks = getattr(backbone, 'experts', None)
    networks = dict(networks.items()) if networks is not None else {'backbone': backbone}
    for key, attribute in (('layout', 'layout'), ('channels', 'in_channels')):
        values = {name: getattr(network, attribute, None) for name, network in networks.items()}
        found = {n: getattr(v, 'name', v) for n, v in values.items() if v is not None}
        if found:
            facts[key] = found
    return facts


def _feature_of_pipeline(cfg: Mapping | None) -> str | None:
    """The feature that a stock model's test pipeline makes."""
    loader = (cfg or {}).get('test_dataloader') or {}
    steps = (loader.get('dataset') or {}).get('pipeline') or []
    for step in steps:
        if step.get('type') == 'MakeFeature':
            return step.get('feature', 'joint')
    return None


def differences(expected: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """The facts in which two descriptions differ, among those that both have."""
    return [
        f'{name} {found[name]!r} instead of {expected[name]!r}'
        for name in expected
        if name in found and found[name] != expected[name]
    ]


@HOOKS.register_module()
class ConsistencyHook(Hook):
    """Refuses a model for other classes than the data's, and a checkpoint of another model.

    - Training, validation and test: ``cls_head.num_classes`` is the number of classes of the data
      set.
    - Test and ``--resume``: the facts in the checkpoint (feature, layouts, channels, classes) are
      those of the config, and its channels have the names of those in the data. Data with some of
      its classes, or without labels, can be tested, with the classes of the checkpoint. Checkpoints
      of earlier versions have fewer facts, and only these are compared. Initial weights of a
      training (``load_from``) may be of another model.

    The facts are stored in the ``meta`` of every checkpoint (:func:`model_facts`).

    Raises:
        ConfigError: Something differs; the message names it.
    """

    def before_train(self, runner: Runner) -> None:
        """Compares the head with the classes of the training data."""
        self._check_classes(runner, runner.train_dataloader)

    def before_val(self, runner: Runner) -> None:
        """Compares the head with the classes of the validation data."""
        self._check_classes(runner, runner.val_dataloader)

    def before_test(self, runner: Runner) -> None:
        """Compares the head's classes with the checkpoint's, or else with the test data's."""
        for metric in runner.test_evaluator.metrics:
            if getattr(metric, 'model_classes', None):
                return  # compared with the head by its weights
        self._check_classes(runner, runner.test_dataloader)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Stores the facts of the model in the checkpoint."""
        checkpoint.setdefault('meta', {})[META_KEY] = model_facts(_bare(runner), runner.cfg)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Compares the facts in the checkpoint with the model of the config."""
        training = not isinstance(runner._train_loop, (dict, type(None)))
        if training and not runner._resume:
            return
        meta = checkpoint.get('meta') or {} if isinstance(checkpoint, Mapping) else {}
        wrong = differences(model_facts(_bare(runner), runner.cfg), meta.get(META_KEY) or {})
        loader = runner.train_dataloader if training else runner.test_dataloader
        trained, classes = _trained_classes(meta), _classes(loader)
        if training or not _serve(trained, classes):
            wrong += _other_classes(trained, classes)
        else:
            for metric in runner.test_evaluator.metrics:
                metric.model_classes = trained
        wrong += _other_channels(meta, loader)
        if wrong:
            raise ConfigError(
                f'checkpoint {runner._load_from or runner.work_dir}',
                'a model with ' + '; '.join(wrong),
                f'the model of {runner.cfg.filename}',
                'use the config that it was trained with, and the same --cfg-options',
            )

    @staticmethod
    def _check_classes(runner: Runner, loader: Any) -> None:
        classes = _classes(loader)
        count = getattr(getattr(_bare(runner), 'cls_head', None), 'num_classes', None)
        if not classes or count is None or count == len(classes):
            return
        raise ConfigError(
            'model.cls_head.num_classes',
            f'{count}',
            f'{len(classes)}, the classes of the data set ({", ".join(map(str, classes[:3]))} ...)',
            'give the head as many classes as the data set has',
        )


def _trained_classes(meta: Mapping) -> list[str]:
    return [str(name) for name in (meta.get('dataset_meta') or {}).get('classes') or []]


def _serve(trained: Sequence[str], classes: Sequence[str] | None) -> bool:
    """Whether a model can be tested on data with these classes: with some of its classes, matched
    by name, or with one class that it lacks, which means clips without labels.
    """
    found = [str(name) for name in classes or ()]
    return bool(trained) and (set(found) <= set(trained) or len(found) == 1)


def _other_classes(trained: Sequence[str], classes: Sequence[str] | None) -> list[str]:
    """The first class in which the classes of the checkpoint and of the data differ."""
    if not trained or not classes:
        return []
    for i, (own, other) in enumerate(itertools.zip_longest(trained, classes)):
        if str(own) != str(other):
            return [f'class {i} {own!r} instead of {other!r}']
    return []


def _other_channels(meta: Mapping, loader: Any) -> list[str]:
    """The channels that the checkpoint was trained on where the data have others of other names."""
    trained = (meta.get('dataset_meta') or {}).get('input_channels') or {}
    dataset = getattr(loader, 'dataset', None)
    found = (getattr(dataset, 'metainfo', None) or {}).get('input_channels') or {}
    return [
        f'{part} channels {list(trained[part])} where the data give {list(found[part])}'
        for part in trained
        if part in found and list(trained[part]) != list(found[part])
    ]


def _bare(runner: Runner) -> nn.Module:
    return runner.model.module if is_model_wrapper(runner.model) else runner.model


def _classes(loader: Any) -> Sequence[str] | None:
    dataset = getattr(loader, 'dataset', None)
    return (getattr(dataset, 'metainfo', None) or {}).get('classes')
