"""Fusion weights of a trained model from training clips that its experts had not seen."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from subprocess import CalledProcessError
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from ..datasets import ClipStore
from ..errors import ConfigError
from ..evaluation.fusion import Fitted, concatenate, fit_weights, fuse, unsure_threshold
from ..evaluation.measures import calibration_error
from ..evaluation.scores import Scores, load_scores
from ..io.atomic import write_built
from ..io.names import from_bytes, shown
from ..io.weights import load_weights
from .tool_process import run_tool
from .trained_run import checkpoint_of

#: Key of the fusion weights in the state dict of a recognizer.
WEIGHT = 'cls_head.fusion_weight'
EXPERTS = ('body', 'hand', 'rgb')
FOLDS = 2


class FusionFacts(Hook):
    """Adds the weights of the experts, expert → weight, to the facts of a test's scores.

    Args:
        facts: What :attr:`BodyHandMetric.facts` is.
    """

    def __init__(self, facts: dict[str, Any]) -> None:
        self.facts = facts

    def before_test_epoch(self, runner: Runner) -> None:
        """The checkpoint, and with it the weights, is loaded by now."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        weights = getattr(getattr(model, 'cls_head', None), 'fusion_weights', None)
        if weights is not None:
            self.facts['fusion_weights'] = weights


@dataclass(frozen=True)
class Part:
    """One fold inside the training clips.

    Attributes:
        held: Rule of the clips that are left out of the training of this fold.
        rest: Rule of the others.
    """

    held: dict[str, Any]
    rest: dict[str, Any]


def parts_of(store: ClipStore, split: Any, folds: int = FOLDS, seed: int = 0) -> list[Part]:
    """Divides the training clips into folds, by subject where at least two are known.

    Subjects are spread so that the folds have about equally many clips of each class. Without
    subjects each fold has an equal share of the clips of every class, drawn at random.

    Args:
        store: Of the clips.
        split: Name or rule of the training split, None for all clips.
        folds: How many, at most as many as there are subjects.
        seed: Of the random shares.

    Raises:
        ConfigError: Fewer than two folds, more folds than subjects, too few clips for the folds, or
            a fold that leaves fewer than two classes to train on.
    """
    chosen = store.select(split)
    if folds < 2 or len(chosen) < 2 * folds:
        raise ConfigError(
            '--fit-fusion',
            f'{folds} folds of {len(chosen)} training clips',
            'at least two folds, of at least two clips each',
            'give another number of folds, or more clips',
        )
    if isinstance(split, str):
        base = present(store.splits[split], store.absent_values(split))
    else:
        base = dict(split or {})
    exclude = base.get('exclude') or []
    exclude = [exclude] if isinstance(exclude, Mapping) else list(exclude)
    subjects = [from_bytes(value) for value in store.column('subject')[chosen].tolist()]
    names, counts = np.unique(subjects, return_counts=True)
    if len(names) > 1 and '' not in names.tolist():
        if folds > len(names):
            raise ConfigError(
                '--fit-fusion',
                f'{folds} folds of the training clips of {len(names)} subjects',
                f'2 to {len(names)} folds, so that each holds out a subject',
                'give another number of folds',
            )
        field, groups = 'subject', [[] for _ in range(folds)]
        # Clips of each class in each fold: a subject goes where its classes are rarest.
        of = np.searchsorted(names, subjects)
        classes = np.zeros((len(names), len(store.classes)), int)
        np.add.at(classes, (of, store.labels[chosen]), 1)
        filled = np.zeros((len(groups), len(store.classes)), int)
        for done, i in enumerate(np.argsort(-counts, kind='stable')):
            crowd = ((filled + classes[i]) ** 2 - filled**2).sum(1)
            if (filled.sum(1) == 0).sum() == len(names) - done:  # one for each that is empty yet
                crowd[filled.sum(1) > 0] = crowd.max() + 1
            smallest = int(np.lexsort((filled.sum(1), crowd))[0])
            groups[smallest].append(str(names[i]))
            filled[smallest] += classes[i]
    else:
        field, groups = 'clip_id', [[] for _ in range(folds)]
        order = np.random.default_rng(seed).permutation(len(chosen))
        order = order[np.argsort(store.labels[chosen][order], kind='stable')]
        for position, i in enumerate(order.tolist()):
            groups[position % folds].append(str(store.clip_ids[int(chosen[i])]))
    values = subjects if field == 'subject' else [str(store.clip_ids[int(i)]) for i in chosen]
    for group in groups:
        left = set(store.labels[chosen][~np.isin(values, group)].tolist())
        if len(left) < 2:
            raise ConfigError(
                '--fit-fusion',
                f'a fold (by {field}) outside which there are clips of {len(left)} class only',
                'two classes or more to train on outside each fold',
                'give another number of folds, or more clips',
            )
    return [
        Part(
            held=base | {'exclude': [*exclude, {field: {'not_in': sorted(group)}}]},
            rest=base | {'exclude': [*exclude, {field: sorted(group)}]},
        )
        for group in groups
    ]


def present(rule: Mapping[str, Any], absent: Mapping[str, list[str]]) -> dict[str, Any]:
    """A rule of a split without the values that no clip of the store has, as in a store with a part
    of a data set; it selects the same clips.

    Args:
        rule: See ``splits.check_rule``.
        absent: Values by field, see :meth:`ClipStore.absent_values`.
    """
    out: dict[str, Any] = {}
    for key, wanted in rule.items():
        if key == 'exclude':
            parts = [wanted] if isinstance(wanted, Mapping) else wanted
            parts = [present(part, absent) for part in parts]
            # A part that names nobody who is there excludes no clip.
            out[key] = [part for part in parts if all(part.values())]
            continue
        inverse = isinstance(wanted, Mapping)
        values = wanted['not_in'] if inverse else wanted
        values = [values] if isinstance(values, (str, int)) else values
        kept = [value for value in values if str(value) not in absent.get(key, ())]
        if not inverse:
            out[key] = kept
        elif kept:
            out[key] = {'not_in': kept}
    return out


def part_config(cfg: Config, part: Part) -> Config:
    """The config that trains on a fold's other clips and tests on those that it holds out."""
    inner = copy.deepcopy(cfg)
    train = _innermost(inner.train_dataloader.dataset)
    test = _innermost(inner.test_dataloader.dataset)
    train.split = part.rest
    test.split, test.store = part.held, train.store
    for name in ('val_cfg', 'val_dataloader', 'val_evaluator', 'load_from'):
        inner[name] = None
    inner.resume = False
    return inner


def _innermost(dataset: Any) -> Any:
    """The config of the data set within wrappers of MMEngine."""
    while 'store' not in dataset and 'dataset' in dataset:
        dataset = dataset['dataset']
    return dataset


def check_config(cfg: Config, folds: int = FOLDS) -> None:
    """Refuses a model whose weights cannot be fitted, and folds that the training clips do not
    allow, before anything is trained.

    Raises:
        ConfigError: No head of experts; given weights; a fusion without weights. See
            :func:`parts_of` for the folds.
    """
    head = cfg.model.cls_head
    found = None
    if head.get('type') != 'BHaRNetHead':
        found = f'a {head.get("type")}'
    elif head.get('fusion_weights'):
        found = f'fusion_weights={dict(head.fusion_weights)}, which are given'
    elif head.get('fusion', 'sum') != 'sum':
        found = f'fusion={head.fusion!r}'
    if found:
        raise ConfigError(
            '--fit-fusion, model.cls_head',
            found,
            "experts whose weights are open: fusion='sum' and no fusion_weights",
            'take the flag away, or change the head',
        )
    _parts(cfg, folds)


def _parts(cfg: Config, folds: int) -> list[Part]:
    train = _innermost(cfg.train_dataloader.dataset)
    return parts_of(ClipStore(train.store), train.get('split'), folds)


def out_of_fold_scores(
    cfg: Config, folder: Path, folds: int, seed: int | None, amp: bool
) -> Scores:
    """Trains the config once for each fold inside its training clips, and scores what was held out.

    Folds that are done are kept.

    Args:
        cfg: Of the whole training.
        folder: Where the folds are put.
        folds: How many.
        seed: Of the trainings.
        amp: Mixed precision.
    """
    parts = _parts(cfg, folds)
    scores = []
    for number, part in enumerate(parts, 1):
        place = folder / f'fold{number}'
        place.mkdir(parents=True, exist_ok=True)
        file = place / 'scores.npz'
        if not file.exists():
            print(shown(f'fusion weights: fold {number} of {len(parts)}, {place}'), flush=True)
            config = place / 'fold.py'
            part_config(cfg, part).dump(config)
            train_arguments = [config, '--work-dir', place, '--resume', '--no-validate']
            train_arguments += ['--seed', seed] if seed is not None else []
            log = place / 'output.log'
            _run('train', [*train_arguments, *(['--amp'] if amp else [])], log)
            test = [config, checkpoint_of(place), '--work-dir', place, '--dump', file]
            _run('test', test, log)
        scores.append(load_scores(file))
    return concatenate(scores)


def _run(name: str, arguments: list[Any], log: Path) -> None:
    try:
        run_tool(name, arguments, log, None)
    except CalledProcessError:
        lines = log.read_text(encoding='utf-8', errors='replace').split('\n')
        last = next((line for line in reversed(lines) if line.strip()), 'no output')
        raise ConfigError(
            f'--fit-fusion, {log}',
            f'a {name} that failed ({last[:500]})',
            'one that ends well',
            'the log tells more; `bharnet train` with --fit-fusion and --resume goes on from there',
        ) from None


def fit(scores: Scores) -> tuple[dict[str, float], dict[str, Any]]:
    """Weights of the experts, and what to know of them.

    Args:
        scores: Of clips that the experts were not trained on, with the logits of each expert.

    Returns:
        Expert → weight of its logits; and plain facts: ``shares`` and ``temperature`` (see
        :class:`~bharnet_mm.evaluation.fusion.Fitted`), ``unsure_below`` and ``results``, numbers by
        name as a model card has them.
    """
    names = [name for name in EXPERTS if name in scores.logits]
    logits = [scores.logits[name] for name in names]
    fitted: Fitted = fit_weights(logits, scores.label)
    probability = np.exp(fuse(logits, fitted.weights))
    results = {'held_out_clips': len(scores), 'held_out_top1': round(fitted.top1, 4)}
    results |= {f'held_out_{name}_top1': round(scores.top1(name), 4) for name in names}
    equal = fuse(logits).argmax(1) == scores.label
    results['held_out_equal_sum_top1'] = round(float(equal.mean()), 4)
    results['held_out_ece'] = round(calibration_error(probability, scores.label), 4)
    facts = {
        'shares': {name: round(s, 4) for name, s in zip(names, fitted.shares, strict=True)},
        'temperature': round(fitted.temperature, 4),
        'unsure_below': round(unsure_threshold(probability, scores.label), 4),
        'results': results,
    }
    return dict(zip(names, fitted.weights, strict=True)), facts


def store_in(checkpoint: Path, weights: Mapping[str, float], facts: Mapping[str, Any]) -> None:
    """Writes weights and facts into a checkpoint, which appears whole or stays as it was."""
    content = load_weights(checkpoint)
    content['state_dict'][WEIGHT] = torch.tensor(list(weights.values()))
    content.setdefault('meta', {})['held_out'] = dict(facts)
    write_built(checkpoint, partial(torch.save, content))


def fit_fusion(
    cfg: Config, folds: int = FOLDS, seed: int | None = None, amp: bool = False
) -> dict[str, Any]:
    """Fits the fusion weights of a finished training and stores them in its checkpoints.

    Each fold is a training with the clips of the other folds, so two folds cost about as much as
    the training itself. The weights are the best ones of :func:`fit_weights` for the clips of all
    folds together, each scored by the model that had not seen it.

    Args:
        cfg: Of the training; its ``work_dir`` holds the checkpoints.
        folds: Folds inside the training clips.
        seed: Of the trainings.
        amp: Mixed precision.

    Returns:
        The facts of :func:`fit`.
    """
    check_config(cfg, folds)
    work_dir = Path(cfg.work_dir)
    checkpoint_of(work_dir)
    folder = work_dir / 'fusion'
    weights, facts = fit(out_of_fold_scores(cfg, folder, folds, seed, amp))
    for checkpoint in sorted(work_dir.glob('*.pth')):
        store_in(checkpoint, weights, facts)
    for weights_of_fold in folder.glob('fold*/*.pth'):
        weights_of_fold.unlink()
    said = ', '.join(f'{name} {share:g}' for name, share in facts['shares'].items())
    print(
        f'fusion weights, from {facts["results"]["held_out_clips"]} training clips that the '
        f'experts had not seen: {said}; temperature {facts["temperature"]:g}'
    )
    return facts


def forget(work_dir: Path) -> None:
    """Removes the folds of a former training in the same folder."""
    shutil.rmtree(work_dir / 'fusion', ignore_errors=True)
