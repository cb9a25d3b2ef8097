"""Trains the toy on two processes; the second's loss becomes NaN in its sixth iteration."""

import sys

import torch
from mmaction.structures import ActionDataSample
from toy_training import BATCH, Noisy, Toy, make_runner

import bharnet_mm  # noqa: F401


class Named(Noisy):
    def __getitem__(self, i):
        sample = ActionDataSample(metainfo=dict(clip_id=f'clip{i}'))
        return dict(inputs=super().__getitem__(i)['inputs'], data_samples=sample)


def collate(rows):
    samples = [row['data_samples'] for row in rows]
    return dict(inputs=torch.stack([row['inputs'] for row in rows]), data_samples=samples)


class Half(Toy):
    def forward(self, inputs, data_samples=None, mode='loss'):
        found = super().forward(inputs, mode)
        if mode == 'loss' and self.calls == 6 and torch.distributed.get_rank() == 1:
            print('POISONED', *(sample.clip_id for sample in data_samples), flush=True)
            found['loss'] = found['loss'] * float('nan')
        return found


loader = dict(
    batch_size=BATCH,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=Named(),
    collate_fn=collate,
)
changes = dict(launcher='pytorch', model=Half(), by_epoch=False, train_dataloader=loader)
make_runner(sys.argv[1], 'ranks', **changes).train()
