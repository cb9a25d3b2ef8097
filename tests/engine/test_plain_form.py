"""Training in the plain form is the same training."""

from types import SimpleNamespace

import torch
from mmaction.registry import HOOKS

from bharnet_mm.models import DeGCN


def test_the_same_losses_by_other_operators():
    losses = []
    for plain in (False, True):
        torch.manual_seed(0)
        model = DeGCN('hand', base_channels=16, num_blocks=5).double()
        if plain:
            HOOKS.build(dict(type='PlainFormHook')).before_run(SimpleNamespace(model=model))
        assert hasattr(model.streams[0][1], 'forward')
        assert ('forward' in vars(model.streams[0][1])) == plain
        optimizer = torch.optim.SGD(model.parameters(), 0.01)
        for step in range(3):
            x = torch.randn(2, 2, 12, 21, 3, generator=torch.Generator().manual_seed(step)).double()
            loss = model(x).pow(2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        losses.append(loss.item())
    assert abs(losses[0] - losses[1]) < 1e-9 * losses[0]
