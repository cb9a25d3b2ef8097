"""Accuracy of the fused prediction and of each expert."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from mmaction.registry import METRICS
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger

from ..errors import ConfigError
from .measures import group_members, measure, softmax
from .scores import save_scores

_SUFFIX = '_logits'


@METRICS.register_module()
class BodyHandMetric(BaseMetric):
    """Accuracy and calibration of the fused prediction and of every expert.

    ``acc/top1``, ``acc/top5``, ``acc/mean1`` (mean class accuracy) and ``acc/ece`` (expected
    calibration error) are of ``pred_score``, the first three as MMAction2's ``AccMetric`` names
    them; ``acc/body_top1``, ``acc/hand_ece`` and so on of the experts' own logits, and
    ``acc/<group>_top1``, ``acc/body_<group>_top1`` of the clips of a group of classes. If an
    expert sees nothing in a clip, its logits are zero, which predicts class 0.

    Args:
        scores_file (str, optional): Where to write the logits of all clips with their ids, as
            :func:`save_scores` does (``.npz``).
        class_groups (Sequence[str] | dict): Groups of classes to report top-1 of: names out of
            ``protocols.CLASS_GROUPS``, or a dict of name to class names. Defaults to none.
        collect_device (str): ``'cpu'`` or ``'gpu'``. Defaults to ``'cpu'``.
        prefix (str, optional): Defaults to ``'acc'``.

    Raises:
        ConfigError: For data samples without a clip id, for one clip that came up twice, and for
            groups of classes that the data set has not.
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
        self.class_groups = class_groups
        #: Written to the score file: what was tested, see :class:`Scores`. Set by the test tool.
        self.facts: dict[str, Any] = {}

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
        """Metrics over all clips; writes the score file where one is asked for."""
        label = np.array([r['label'] for r in results])
        score = np.stack([r['score'] for r in results])
        logits = {
            name: np.stack([r['logits'][name] for r in results]) for name in results[0]['logits']
        }
        meta = self.dataset_meta or {}
        classes = [str(name) for name in meta.get('classes', range(score.shape[1]))]
        groups = group_members(self.class_groups, classes)
        metrics = measure(score, label, groups)
        for name, value in logits.items():
            own = measure(softmax(value), label, groups)
            metrics |= {f'{name}_{key}': number for key, number in own.items()}
        if self.scores_file is not None:
            # `pred` is what the configured fusion said, in log space so that it reads like logits.
            logits['pred'] = np.log(np.maximum(score, np.finfo(np.float32).tiny))
            ids = [r['clip_id'] for r in results]
            save_scores(self.scores_file, ids, label, logits, classes, self.facts)
            MMLogger.get_current_instance().info(
                f'scores of {len(label)} clips: {self.scores_file}'
            )
        return metrics
