"""A trained model and its test clips, given the work folder of the training."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from mmaction.registry import DATASETS, MODELS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmengine.runner import load_checkpoint
from torch import Tensor

from ..errors import ConfigError
from ..evaluation import Scores
from ..evaluation.body_hand_metric import BodyHandMetric, to_scores
from ..io.text import read_text

FUSIONS = ('sum', 'noisy_or')


def checkpoint_of(folder: str | os.PathLike) -> Path:
    """The last checkpoint of a work folder, found by name, since the folder may have been moved."""
    latest = Path(folder) / 'last_checkpoint'
    if not latest.exists():
        raise ConfigError(
            f'{folder}', 'no last_checkpoint', 'a work folder of tools/train.py', 'train it first'
        )
    return Path(folder) / Path(read_text(latest, 'the path of a checkpoint').strip()).name


class TrainedRun:
    """A trained model with its test clips.

    Args:
        folder: Work folder of ``tools/train.py``, or of a fold of ``leave_one_out.py``.
        batch_size: Clips at a time.

    Raises:
        ConfigError: The folder does not have exactly one config and a checkpoint.
    """

    def __init__(self, folder: str | os.PathLike, batch_size: int = 64) -> None:
        configs = sorted(Path(folder).glob('*.py'))
        if len(configs) != 1:
            raise ConfigError(
                f'{folder}',
                f'{len(configs)} configs',
                'one config and the checkpoint trained with it',
                'name a work folder of tools/train.py or of a fold of leave_one_out.py',
            )
        self.folder, self.batch_size = Path(folder), batch_size
        self.checkpoint = checkpoint_of(folder)
        self.cfg = Config.fromfile(configs[0])
        init_default_scope(self.cfg.get('default_scope') or 'mmaction')
        self.model = MODELS.build(self.cfg.model).eval()
        load_checkpoint(self.model, str(self.checkpoint), map_location='cpu', strict=True)
        self.dataset = DATASETS.build(self.cfg.test_dataloader.dataset)

    def batches(self, damage: Callable[[dict], dict] | None = None) -> Iterator[dict]:
        """Yields the test clips in batches of the model's data preprocessor.

        Args:
            damage: Applied to each clip before the pipeline.
        """
        with self._damaged(damage):
            for first in range(0, len(self.dataset), self.batch_size):
                last = min(first + self.batch_size, len(self.dataset))
                batch = pseudo_collate([self.dataset[i] for i in range(first, last)])
                yield self.model.data_preprocessor(batch, training=False)

    @contextlib.contextmanager
    def _damaged(self, damage: Callable[[dict], dict] | None) -> Iterator[None]:
        pipeline = self.dataset.pipeline
        transforms = pipeline.transforms
        pipeline.transforms = [*([damage] if damage else []), *transforms]
        try:
            yield
        finally:
            pipeline.transforms = transforms

    @torch.no_grad()
    def by_fusion(self, data: dict) -> dict[str, Tensor]:
        """Probabilities (N, K) of a batch by fusion; only ``sum`` of a model without experts."""
        head = self.model.cls_head
        if len(getattr(head, 'modalities', ())) < 2:
            samples = self.model(**data, mode='predict')
            return {'sum': torch.stack([sample.pred_score for sample in samples])}
        features, _ = self.model.extract_feat(data['inputs'], stage='backbone')
        logits = head(features)
        present = {name: features[name][0].present() for name in head.modalities}
        return {fusion: head.fuse(logits, present, fusion) for fusion in FUSIONS}

    def top1(self, damage: Callable[[dict], dict] | None = None) -> dict[str, float]:
        """Top-1 on the test clips by fusion."""
        right: dict[str, list[Tensor]] = {}
        for data in self.batches(damage):
            label = torch.cat([sample.gt_label for sample in data['data_samples']])
            for name, scores in self.by_fusion(data).items():
                right.setdefault(name, []).append(scores.argmax(-1) == label)
        return {name: float(torch.cat(parts).float().mean()) for name, parts in right.items()}

    @torch.no_grad()
    def scores(self, watch: Callable[[dict], None] | None = None) -> Scores:
        """Logits of every expert, and ``pred``, the log of the fused probabilities.

        Args:
            watch: Called with each batch before the model.
        """
        metric = BodyHandMetric()
        for data in self.batches():
            if watch is not None:
                watch(data)
            samples = self.model(**data, mode='predict')
            metric.process(data, [sample.to_dict() for sample in samples])
        return to_scores(metric.results, self.dataset.metainfo['classes'])
