"""Accuracy of the fused prediction and of each expert."""

from collections.abc import Sequence

import numpy as np
from mmaction.registry import METRICS
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger

from ..errors import ConfigError
from .scores import save_scores

_SUFFIX = '_logits'


def top_k(scores: np.ndarray, label: np.ndarray, k: int) -> float:
    """Share of clips whose true class is among the ``k`` highest scores, ``(N, K)`` and ``(N,)``.

    A class counts as higher than the true one only where its score is strictly greater, or equal
    with a smaller number, as ``argmax`` decides ties.
    """
    own = scores[np.arange(len(label)), label][:, None]
    earlier = np.arange(scores.shape[1]) < label[:, None]
    rank = ((scores > own) | ((scores == own) & earlier)).sum(1)
    return float((rank < k).mean())


def mean_class_accuracy(predicted: np.ndarray, label: np.ndarray) -> float:
    """Mean over the classes that occur of the share of their clips that is predicted right."""
    return float(np.mean([(predicted[label == c] == c).mean() for c in np.unique(label)]))


@METRICS.register_module()
class BodyHandMetric(BaseMetric):
    """Top-1, top-5 and mean class accuracy of the fused prediction, and top-1 of every expert.

    ``acc/top1``, ``acc/top5`` and ``acc/mean1`` are of ``pred_score``, as MMAction2's ``AccMetric``
    names them; ``acc/body_top1``, ``acc/hand_top1`` and so on of the experts' own logits. A clip in
    which an expert has nothing to see counts as its first class, right or not.

    Args:
        scores_file (str, optional): Where to write the logits of all clips with their ids, as
            :func:`save_scores` does (``.npz``).
        collect_device (str): ``'cpu'`` or ``'gpu'``. Defaults to ``'cpu'``.
        prefix (str, optional): Defaults to ``'acc'``.

    Raises:
        ConfigError: For data samples without a clip id, and for one clip that came up twice.
    """

    default_prefix = 'acc'

    def __init__(
        self,
        scores_file: str | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.scores_file = scores_file

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
        metrics = {f'top{k}': top_k(score, label, k) for k in (1, 5)}
        metrics['mean1'] = mean_class_accuracy(score.argmax(1), label)
        metrics |= {f'{name}_top1': top_k(value, label, 1) for name, value in logits.items()}
        if self.scores_file is not None:
            classes = self.dataset_meta['classes'] if self.dataset_meta else range(score.shape[1])
            # `pred` is what the configured fusion said, in log space so that it reads like logits.
            logits['pred'] = np.log(np.maximum(score, np.finfo(np.float32).tiny))
            save_scores(self.scores_file, [r['clip_id'] for r in results], label, logits, classes)
            MMLogger.get_current_instance().info(
                f'scores of {len(label)} clips: {self.scores_file}'
            )
        return metrics
