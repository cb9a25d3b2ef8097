"""Trains the toy on two processes; the second's loss becomes NaN in its sixth iteration."""

import sys

import torch
from toy_training import Toy, make_runner

import bharnet_mm  # noqa: F401


class Half(Toy):
    def forward(self, inputs, mode='loss'):
        found = super().forward(inputs, mode)
        if mode == 'loss' and self.calls == 6 and torch.distributed.get_rank() == 1:
            found['loss'] = found['loss'] * float('nan')
        return found


make_runner(sys.argv[1], 'ranks', launcher='pytorch', model=Half(), by_epoch=False).train()
