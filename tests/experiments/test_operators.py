"""The number of operators and the bytes of a step, which need no GPU to be held."""

import pytest
import torch

from bharnet_mm.experiments.operators import Ledger, main, measure
from bharnet_mm.ops.pointwise import pointwise


@pytest.mark.parametrize(
    'name, train, inference', [('BHaRNet-P', 700, 180), ('BHaRNet-E', 1100, 260)]
)
def test_a_step_dispatches_few_operators(name, train, inference):
    ledgers = measure(name)
    assert sum(ledgers['train'].count.values()) <= train
    assert sum(ledgers['inference'].count.values()) <= inference
    assert sum(ledgers['train'].moved.values()) <= 2.5 * sum(ledgers['train'].least.values())
    assert ledgers['inference'].count['inference_block'] >= 20


def test_bytes_of_one_operator():
    x, weight = torch.randn(2, 4, 3, 5), torch.randn(1, 8, 4, requires_grad=True)
    with Ledger() as ledger:
        y = pointwise(x, weight)
        y.backward(torch.ones_like(y))
    small = 4 * weight.numel()
    assert ledger.least['pointwise'] == 4 * (x.numel() + y.numel()) + small
    more = 4 * y.numel()  # both products of the gradient read it
    assert ledger.moved['pointwise_backward'] - ledger.least['pointwise_backward'] == more


def test_command(capsys):
    main(['DeGCN body', '--dtypes', 'fp32', '--bandwidth', '3'])
    text = capsys.readouterr().out
    assert (
        'DeGCN body, fp32: training step' in text and '| temporal_branches_backward | 10 |' in text
    )
    cells = next(line for line in text.splitlines() if '**all**' in line).split('|')
    assert float(cells[6]) == pytest.approx(64 * float(cells[4]) / 3e3, abs=0.01)  # MB at TB/s
