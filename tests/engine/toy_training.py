"""A model and random data so small that a whole training takes about a second."""

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import Dataset

CLIPS, BATCH, EPOCHS = 11, 3, 4
STEPS = 4  # an epoch


class Noisy(Dataset):
    """Augmented by NumPy's generator, as the transforms are."""

    def __len__(self):
        return CLIPS

    def __getitem__(self, i):
        x = torch.full((4,), float(i)) / CLIPS + np.random.normal(0, 0.1, 4).astype(np.float32)
        return dict(inputs=x)


class Toy(BaseModel):
    """A linear layer, dropout and a batch norm."""

    def __init__(self, poison=None):
        super().__init__()
        self.fc, self.norm = nn.Linear(4, 4), nn.BatchNorm1d(4)
        self.poison, self.calls = poison, 0

    def forward(self, inputs, mode='loss'):
        x = inputs
        if mode == 'predict':
            return list(self.norm(self.fc(x)).mean(1))
        x = self.norm(nn.functional.dropout(self.fc(x), 0.3, self.training))
        self.calls += 1
        if self.poison == self.calls:  # a finite loss of which a gradient is not
            x = x + torch.sqrt((self.fc.weight * 0).sum())
        return dict(loss=(x - 1).square().mean())


def make_runner(work_dir, name, resume=None, poison=None, by_epoch=True, interval=1, **changed):
    """A runner of the toy whose epochs, checkpoints and validation are those of a real config."""
    from mmengine.registry import DefaultScope

    if not DefaultScope.check_instance_created('mmaction'):
        DefaultScope.get_instance('mmaction', scope_name='mmaction')
    torch.manual_seed(0)
    checkpoint = dict(type='CheckpointHook', interval=interval, by_epoch=by_epoch)
    checkpoint |= dict(max_keep_ckpts=2, save_best='top1') if by_epoch else {}
    options = dict(
        model=Toy(poison),
        work_dir=str(work_dir),
        train_dataloader=dict(
            batch_size=BATCH,
            num_workers=0,
            sampler=dict(type='DefaultSampler', shuffle=True),
            dataset=Noisy(),
            collate_fn=dict(type='default_collate'),
        ),
        train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=EPOCHS),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.05, momentum=0.9)),
        param_scheduler=dict(type='CosineAnnealingLR', T_max=EPOCHS * STEPS, by_epoch=False),
        default_hooks=dict(checkpoint=checkpoint, logger=dict(type='LoggerHook', interval=1)),
        custom_hooks=[dict(type='NonFiniteGuardHook'), dict(type='EpochSeedHook')],
        randomness=dict(seed=3),
        default_scope='mmaction',
        experiment_name=name,
        log_level='WARNING',
    )
    if by_epoch:
        options |= dict(
            val_dataloader=dict(
                batch_size=BATCH,
                num_workers=0,
                sampler=dict(type='DefaultSampler', shuffle=False),
                dataset=Noisy(),
                collate_fn=dict(type='default_collate'),
            ),
            val_cfg=dict(),
            val_evaluator=[Epochs()],
        )
    if resume is not None:
        options |= dict(resume=True, load_from=str(resume))
    runner = Runner(**(options | changed))
    Epochs.runner = runner
    return runner


class Epochs(BaseMetric):
    """Is best in the second epoch."""

    values = (0.2, 0.8, 0.5, 0.6)
    runner = None

    def process(self, data_batch, data_samples):
        self.results.append(0)

    def compute_metrics(self, results):
        return dict(top1=self.values[self.runner.epoch - 1])
