"""Accuracy of the fused prediction and of each expert."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from mmaction.registry import METRICS
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger

from ..errors import ConfigError
from .measures import MEASURES, group_members, measure, softmax
from .scores import Scores, save_scores

_SUFFIX = '_logits'


@METRICS.register_module()
class BodyHandMetric(BaseMetric):
    """Accuracy and calibration of the fused prediction and of every expert.

    ``acc/top1``, ``acc/top5``, ``acc/mean1`` (mean class accuracy) and ``acc/ece`` (expected
    calibration error) are computed from ``pred_score``; the first three are named as in MMAction2's
    ``AccMetric``. ``acc/body_top1``, ``acc/hand_ece`` and so on are computed from the logits of an
    expert alone, and ``acc/<group>_top1``, ``acc/body_<group>_top1`` from the clips of a group of
    classes. If an expert is absent in a clip, its logits are zero, which predicts class 0.

    Args:
        scores_file (str, optional): Where to write the logits of all clips with their ids, as
            :func:`save_scores` does (``.npz``).
        class_groups (Sequence[str] | dict): Groups of classes for which top-1 is reported: names
            from ``protocols.CLASS_GROUPS``, or a dict of name to class names. Defaults to none.
        collect_device (str): ``'cpu'`` or ``'gpu'``. Defaults to ``'cpu'``.
        prefix (str, optional): Defaults to ``'acc'``.

    Raises:
        ConfigError: If a data sample has no clip id, a clip occurs twice, or a group has classes
            that the data set lacks.
    """

    default_prefix = 'acc'

    def __init__(
        self,
        scores_file: str | None = None,
        class_groups: Sequence[str] | Mapping[str, Sequence[str]] = (),
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.scores_file = scores_file
        self.model_classes: Sequence[str] | None = None  # set if they differ from the data's
        self.class_groups = class_groups
        #: Facts for the score file about what was tested, see :class:`Scores`. The test tool sets
        #: them.
        self.facts: dict[str, Any] = {}

    def names(self, scored: Sequence[str]) -> set[str]:
        """The names of its metrics for a model that gives these logits besides the fused ones.

        Args:
            scored: As in ``BHaRNetHead.scored``, such as ``('body', 'hand')``.
        """
        own = [*MEASURES, *(f'{group}_top1' for group in self.class_groups)]
        prefix = f'{self.prefix}/' if self.prefix else ''
        parts = ['', *(f'{name}_' for name in scored)]
        return {f'{prefix}{part}{name}' for part in parts for name in own}

    def process(self, data_batch: dict | None, data_samples: Sequence[dict]) -> None:
        """Keeps id, label, scores and logits of each clip on the host."""
        for sample in data_samples:
            if 'clip_id' not in sample:
                raise ConfigError(
                    'BodyHandMetric',
                    'a data sample without clip_id',
                    'the clip it belongs to',
                    'end the pipeline with PackBodyHand, which keeps the clip_id',
                )
            logits = {
                name.removesuffix(_SUFFIX): value.float().cpu().numpy()
                for name, value in sample.items()
                if name.endswith(_SUFFIX)
            }
            self.results.append(
                dict(
                    clip_id=sample['clip_id'],
                    label=int(sample['gt_label']),
                    score=sample['pred_score'].float().cpu().numpy(),
                    logits=logits,
                )
            )

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        """Metrics over all clips. Writes the score file if one was given."""
        classes = (self.dataset_meta or {}).get('classes')
        if self.model_classes is not None and classes is not None:
            results = _by_name(results, classes, self.model_classes)
            classes = self.model_classes
        scores = to_scores(results, classes, self.facts)
        groups = group_members(self.class_groups, scores.classes)
        metrics, known = {}, scores.label >= 0
        if not known.all():
            MMLogger.get_current_instance().warning(
                f'{np.count_nonzero(~known)} of {len(known)} clips have no label among the classes '
                'of the model: they count in no metric'
            )
        for name, value in scores.logits.items():
            prefix = '' if name == 'pred' else f'{name}_'
            if not known.any():
                break
            own = measure(softmax(value[known]), scores.label[known], groups)
            metrics |= {f'{prefix}{key}': number for key, number in own.items()}
        if self.scores_file is not None:
            s = scores
            save_scores(self.scores_file, s.clip_id, s.label, s.logits, s.classes, s.facts)
            MMLogger.get_current_instance().info(f'scores of {len(s)} clips: {self.scores_file}')
        return metrics


def _by_name(
    results: Sequence[dict], classes: Sequence[str], model_classes: Sequence[str]
) -> list[dict]:
    """Results with labels of the model's classes; -1 for a class that the model lacks."""
    numbers = {str(name): number for number, name in enumerate(model_classes)}
    of = [numbers.get(str(name), -1) for name in classes]
    return [row | {'label': of[row['label']]} for row in results]


def to_scores(
    results: Sequence[Mapping],
    classes: Sequence[str] | None = None,
    facts: Mapping[str, Any] | None = None,
) -> Scores:
    """The scores of tested clips, as a score file holds them.

    Args:
        results: One for each clip: ``clip_id``, ``label``, ``score`` (fused probabilities, (K,))
            and ``logits`` (expert → (K,)), as :meth:`BodyHandMetric.process` keeps them.
        classes: K names; by default the numbers.
        facts: See :class:`Scores`.

    Returns:
        Scores: With the logits of every expert and ``pred``, the log of the fused probabilities.
    """
    score = np.stack([r['score'] for r in results]).astype(np.float32)
    logits = {name: np.stack([r['logits'][name] for r in results]) for name in results[0]['logits']}
    logits['pred'] = np.log(np.maximum(score, np.finfo(np.float32).tiny))
    return Scores(
        np.array([str(r['clip_id']) for r in results], dtype=np.str_),
        np.array([r['label'] for r in results], dtype=np.int64),
        logits,
        tuple(str(name) for name in (range(score.shape[1]) if classes is None else classes)),
        dict(facts or {}),
    )
