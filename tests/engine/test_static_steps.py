"""A step in the shape of a CUDA graph: the same losses and gradients, and nothing that waits for
the device.
"""

import copy

import pytest
import torch
from mmaction.structures import ActionDataSample
from small_models import build, data
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

#: Operators that make the host wait for a GPU, or whose shape depends on values.
WAITS = ('_local_scalar_dense', 'nonzero', 'is_nonzero', 'masked_select', 'unique', 'equal', 'item')


class Waits(TorchDispatchMode):
    """Notes the operators that would wait for the device."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, op, types, args=(), kwargs=None):
        name = str(op).split('.')[1]
        indexed = name.startswith('index') and any(
            t is not None and t.dtype == torch.bool
            for group in args
            if isinstance(group, (list, tuple))
            for t in group
        )
        if name in WAITS or indexed:
            self.found.append(str(op))
        return op(*args, **(kwargs or {}))


def losses_and_gradients(model, bucket_steps):
    model = copy.deepcopy(model).train()
    model.data_preprocessor.bucket_steps = bucket_steps
    torch.manual_seed(0)  # the same paths of the attention are dropped
    losses = model(**model.data_preprocessor(data(), True), mode='loss')
    total = sum(value for name, value in losses.items() if 'loss' in name)
    total.backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return losses, gradients, dict(model.named_buffers())


@pytest.mark.parametrize(
    ('name', 'options'),
    [
        ('p', {}),
        pytest.param('b', {}, marks=pytest.mark.long),
        pytest.param('e', dict(split_at=1), marks=pytest.mark.long),
    ],
)
def test_a_padded_step_has_the_losses_and_gradients_of_the_packed_one(name, options):
    model = build(name, **options)
    exact, padded = (losses_and_gradients(model, steps) for steps in (None, 2))
    for name in exact[0]:
        assert torch.equal(exact[0][name], padded[0][name]), name  # to the bit
    for name, buffer in exact[2].items():
        assert torch.equal(buffer, padded[2][name]), name
    assert exact[1].keys() == padded[1].keys()
    for name, gradient in exact[1].items():
        # Sums over instances have further terms, all zero, and may be formed in another order.
        torch.testing.assert_close(padded[1][name], gradient, rtol=1e-5, atol=1e-6)


def test_the_padding_of_the_test_is_some():
    preprocessor = build().data_preprocessor
    preprocessor.bucket_steps = 2
    inputs = preprocessor(data(), True)['inputs']
    body, hand = (int(inputs[f'{name}_mask'].any(-1).sum()) for name in ('body', 'hand'))
    assert (inputs['body_rows'], inputs['hand_rows']) != (body, hand)
    assert inputs['body_rows'] >= body and inputs['hand_rows'] >= hand


def test_nothing_in_a_step_waits_for_the_device():
    model = build().train()
    model.data_preprocessor.bucket_steps = 8
    batch = model.data_preprocessor(data(), True)
    samples = [ActionDataSample().set_gt_label(s.gt_label) for s in batch['data_samples']]
    model.cls_head.check_labels = lambda *args: None  # done on the host before
    with Waits() as waits:
        losses = model(batch['inputs'], samples, mode='loss')
        sum(value for name, value in losses.items() if 'loss' in name).backward()
    assert not waits.found
    with Waits() as waits, torch.no_grad():
        model.eval()(batch['inputs'], samples, mode='tensor')
    assert not waits.found
    model.data_preprocessor.bucket_steps = None
    with Waits() as waits, torch.no_grad():  # the mode sees what it looks for
        model(model.data_preprocessor(data(), True)['inputs'], samples, mode='tensor')
    assert 'aten.nonzero.default' in waits.found


class OnTheHost(TorchDispatchMode):
    """Notes operators with tensors on the host."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, op, types, args=(), kwargs=None):
        out = op(*args, **(kwargs or {}))
        tensors = [t for t in pytree.tree_leaves((args, kwargs, out)) if torch.is_tensor(t)]
        if any(t.device.type == 'cpu' for t in tensors):
            self.found.append(str(op))
        return out


@pytest.mark.parametrize('name', ['p', 'e'])
def test_nothing_in_a_step_is_on_the_host(name):
    """A copy from the host would wait, and be the same in each replay of a graph."""
    model = build(name, **(dict(split_at=1) if name == 'e' else {})).train()
    model.data_preprocessor.bucket_steps = 8
    inputs = model.data_preprocessor(data(), True)['inputs']
    inputs = {n: x.to('meta') if torch.is_tensor(x) else x for n, x in inputs.items()}
    labels = torch.zeros(5, dtype=torch.long, device='meta')
    samples = [ActionDataSample().set_gt_label(label) for label in labels.split(1)]
    model.to('meta').cls_head.check_labels = lambda *args: None  # done on the host before
    with OnTheHost() as host:
        losses = model(inputs, samples, mode='loss')
        sum(value for key, value in losses.items() if 'loss' in key).backward()
        with torch.no_grad():
            model.eval()(inputs, None, mode='tensor')
    assert not host.found
    with OnTheHost() as host:  # the mode sees what it looks for
        labels[torch.tensor([1])]
    assert host.found
