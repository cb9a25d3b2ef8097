"""Counts the operators that the networks dispatch and the bytes that they move.

python tools/analysis/operators.py BHaRNet-P 'STGCN++ unified'

The number of operators is a measure of the kernels that a GPU launches; no GPU is needed. An
operator that only makes a view or allocates is not counted. An custom operator counts once,
whatever it launches. Gradients start from None, as in training, so nothing is added to older
gradients.

The bytes are calculated. The least that an operator can move is each of its inputs and outputs
once. *Moved* also counts the further passes of its kernels (:data:`FURTHER`). Sums of gradients of
features that are used more than once count as moved only.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence

import torch
from mmaction.registry import MODELS
from mmengine.registry import init_default_scope
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ..io.arguments import decimal, integer
from .contenders import contenders, make_batch

#: Parts of the names of operators that only make a view or allocate.
FREE = ('view', 'transpose', 'permute', 'expand', 'unsqueeze', 'squeeze', 'slice', 'select')
FREE += ('split', 'detach', '.t.', 'alias', 'as_strided', 'unbind', 'chunk', 'size', 'stride')
FREE += ('lift', 'empty', 'promote_types', 'is_same_size')

#: Further passes of a kernel over its arguments: operator → position → how often more than once.
#: ``out`` is the first output. Batch statistics need a pass before features are normalised, and the
#: gradients' sums one before the gradient; the mean over time is a pass of its own; both products
#: of a 1x1 convolution's gradient read it.
FURTHER: dict[str, dict[int | str, float]] = {
    'pointwise_backward': {0: 1},
    'refined_graph_conv': {0: 1},
    'refined_graph_conv_backward': {'out': 2},
    'norm_act': {0: 1},
    'norm_act_backward': {0: 1, 1: 1, 2: 1},
    'temporal_branches': {0: 0.75},
    'temporal_branches_backward': {1: 0.75, 'out': 1.5},
    'axis_tokens': {0: 1},
}


def size(values) -> int:
    """Bytes of all tensors in a structure."""
    return sum(t.numel() * t.element_size() for t in tree_leaves(values) if isinstance(t, Tensor))


class Ledger(TorchDispatchMode):
    """Within it, operators are counted and their bytes added up.

    Attributes:
        count (Counter): Operator → how often.
        least (Counter): Operator → bytes of inputs and outputs.
        moved (Counter): Operator → bytes with all passes.
    """

    def __init__(self) -> None:
        super().__init__()
        self.count: Counter = Counter()
        self.least: Counter = Counter()
        self.moved: Counter = Counter()

    def __torch_dispatch__(self, op, types, args=(), kwargs=None):
        out = op(*args, **(kwargs or {}))
        if any(word in str(op) for word in FREE):
            return out
        name = op._schema.name.removeprefix('bharnet::')
        self.count[name] += 1
        once = size((args, kwargs, out))
        first = tree_leaves(out)[:1]
        more = FURTHER.get(name, {}).items()
        more = sum(size(first if at == 'out' else args[at]) * times for at, times in more)
        self.moved[name] += int(once + more)
        if name not in ('aten::add', 'aten::add_'):
            self.least[name] += once
        return out


def measure(name: str, dtype: str = 'bf16', batch: int = 2, mix: str = 'real') -> dict[str, Ledger]:
    """Ledgers of a training step (``'train'``) and of a prediction (``'inference'``) of a
    contender.

    Args:
        name (str): One of :func:`contenders`.
        dtype (str): ``'fp32'`` or ``'bf16'``, mixed precision.
        batch (int): Clips.
        mix (str): See :func:`make_batch`.
    """
    init_default_scope('mmaction')
    config, kind = contenders()[name]
    model = MODELS.build(config)
    inputs, samples = make_batch(kind, batch, mix)
    train, inference = Ledger(), Ledger()
    with torch.autocast('cpu', torch.bfloat16, enabled=dtype == 'bf16'):
        model.train()
        with train:
            losses = model(inputs, samples, mode='loss')
            sum(v for k, v in losses.items() if 'loss' in k).backward()
        model.eval()
        with torch.no_grad():
            model(inputs, samples, mode='predict')  # folds the parameters
            with inference:
                model(inputs, samples, mode='predict')
    return dict(train=train, inference=inference)


def to_markdown(ledger: Ledger, batch: int, bandwidth: float | None = None) -> str:
    """A table of our operators and the sum of the others: calls, MB per clip, least and moved.

    With the ``bandwidth`` of a memory in TB/s also the time that the moved bytes of 64 clips take
    there, in ms: no kernel can be faster.
    """
    lines = ['| operator | calls | least, MB a clip | moved | times |', '|---|---|---|---|---|']
    if bandwidth:
        lines = [lines[0] + f' ms of 64 clips at {bandwidth:g} TB/s |', lines[1] + '---|']
    own = [name for name in ledger.moved if '::' not in name]
    others = [name for name in ledger.moved if '::' in name]
    rows = [(name, [name]) for name in sorted(own, key=lambda name: -ledger.moved[name])]
    rows += [('all others, of torch', others), ('**all**', [*own, *others])]
    for title, names in rows:
        calls, least, moved = (
            sum(counter[name] for name in names)
            for counter in (ledger.count, ledger.least, ledger.moved)
        )
        least, moved = least / batch / 1e6, moved / batch / 1e6
        times = f'{moved / least:.2f}' if least else ''
        time = f' {64 * moved / bandwidth / 1e3:.2f} |' if bandwidth else ''
        lines.append(f'| {title} | {calls} | {least:.1f} | {moved:.1f} | {times} |{time}')
    return '\n'.join(lines) + '\n'


def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('contenders', nargs='*', default=['BHaRNet-P'], help='default: BHaRNet-P')
    parser.add_argument('--dtypes', nargs='+', default=['bf16'], choices=['fp32', 'bf16'])
    parser.add_argument('--batch', type=integer(1), default=2)
    parser.add_argument(
        '--bandwidth',
        type=decimal(above=0),
        help='of a memory in TB/s (an H100: 3.0): adds a column of times',
    )
    args = parser.parse_args(argv)
    for name in args.contenders:
        for dtype in args.dtypes:
            ledgers = measure(name, dtype, args.batch)
            train, inference = (sum(ledgers[k].count.values()) for k in ('train', 'inference'))
            print(f'\n{name}, {dtype}: training step {train} operators, inference {inference}\n')
            print(to_markdown(ledgers['train'], args.batch, args.bandwidth))


if __name__ == '__main__':
    main()
