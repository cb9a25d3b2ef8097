"""A step in the shape of a CUDA graph: the same losses and gradients, and nothing that waits for
the device.
"""

import copy
import warnings
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample
from mmengine.registry import init_default_scope
from torch.utils._python_dispatch import TorchDispatchMode

import bharnet_mm  # noqa: F401
from bharnet_mm.engine import BFloat16OptimWrapper, recordings
from bharnet_mm.engine.cuda_graph_hook import CUDAGraphHook
from bharnet_mm.engine.cuda_graphs import GraphedForward, GraphedStep, mean_over_processes
from bharnet_mm.errors import ConfigError
from bharnet_mm.experiments import contenders

CLASSES = contenders.CLASSES
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


def build(name='p', **options):
    init_default_scope('mmaction')
    torch.manual_seed(0)
    small = dict(base_channels=16, num_blocks=3, widen_at=(2,), stride_at=(2,)) | options
    changes = {f'backbone__{part}__{k}': v for part in ('body', 'hand') for k, v in small.items()}
    changes['cls_head__in_channels'] = 32
    return MODELS.build(contenders.shipped(f'bharnet_{name}_ntu120', **changes))


def data(number: int = 5, seed: int = 0) -> dict:
    """Clips as the data loader gives them: some instances and frames are missing."""
    g = torch.Generator().manual_seed(seed)
    inputs = dict(
        body=[torch.randn(2, 16, 25, 3, generator=g) for _ in range(number)],
        body_mask=[torch.rand(2, 16, generator=g) > 0.2 for _ in range(number)],
        hand=[torch.randn(4, 16, 21, 3, generator=g) for _ in range(number)],
        hand_mask=[torch.rand(4, 16, generator=g) > 0.2 for _ in range(number)],
    )
    for i in range(number):
        inputs['body_mask'][i][1] &= bool(i % 3)
        inputs['hand_mask'][i][i % 4] = False
    samples = [ActionDataSample().set_gt_label(i) for i in range(number)]
    return dict(inputs=inputs, data_samples=samples)


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


def optimizer(model, **options):
    from mmengine.optim import build_optim_wrapper

    wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1)) | options
    wrapper = build_optim_wrapper(model, wrapper)
    wrapper.initialize_count_status(model, 0, 4)
    return wrapper


@pytest.mark.parametrize(
    'options',
    [
        dict(clip_grad=dict(max_norm=0.05)),
        dict(accumulative_counts=2),
        dict(type=BFloat16OptimWrapper),
        dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9, fused=True)),
    ],
    ids=['clipped', 'accumulated', 'bfloat16', 'fused'],
)
def test_a_replayed_step_trains_as_the_models_own(options):
    results = []
    for graphed in (False, True):
        model = build().train()
        wrapper = optimizer(model, **options)
        step = GraphedStep(model) if graphed else model.train_step
        model.data_preprocessor.bucket_steps = 4
        logged = [step(data(5 - i % 2, seed=i), wrapper) for i in range(4)]
        results.append((logged, dict(model.named_parameters()), dict(model.named_buffers())))
        if graphed:
            assert len(step.recordings.by_key) == 2
        if 'clip_grad' in options:
            assert wrapper.message_hub.get_scalar('train/grad_norm').current() > 0
    (logged, parameters, buffers), (logged_2, parameters_2, buffers_2) = results
    for one, other in zip(logged, logged_2, strict=True):
        assert list(one) == list(other)
        for name in one:
            torch.testing.assert_close(other[name], one[name].detach().float())
    for name, value in parameters.items():
        torch.testing.assert_close(parameters_2[name], value, rtol=1e-4, atol=1e-5)
    for name, value in buffers.items():
        torch.testing.assert_close(buffers_2[name], value, rtol=1e-4, atol=1e-5)


def test_more_shapes_than_graphs_are_computed_without():
    model = build().train()
    model.data_preprocessor.bucket_steps = 8
    step, wrapper = GraphedStep(model, max_graphs=1), optimizer(model)
    for i in (1, 2, 3):
        assert torch.isfinite(step(data(number=i + 1), wrapper)['loss'])
    assert len(step.recordings.by_key) == 1


def test_a_wrong_label_has_a_name():
    model = build().train()
    model.data_preprocessor.bucket_steps = 8
    batch = data()
    batch['data_samples'][3].set_gt_label(CLASSES)
    with pytest.raises(ConfigError, match=f'label {CLASSES}'):
        GraphedStep(model)(batch, optimizer(model))


def test_synchronised_batch_norms_and_float16_are_refused():
    model = torch.nn.SyncBatchNorm.convert_sync_batchnorm(build())
    with pytest.raises(ConfigError, match='SyncBatchNorm'):
        GraphedStep(model)


def test_a_training_without_graphs_says_why(monkeypatch):
    model = build().train()
    wrapper = optimizer(model)
    obstacle = partial(CUDAGraphHook._obstacle, SimpleNamespace(model=model, optim_wrapper=wrapper))
    assert obstacle(model) is None
    monkeypatch.setattr(torch, 'is_autocast_enabled', lambda kind: True)
    monkeypatch.setattr(torch, 'get_autocast_dtype', lambda kind: torch.float16)
    assert 'float16' in obstacle(model)
    assert 'SyncBatchNorm' in obstacle(torch.nn.SyncBatchNorm.convert_sync_batchnorm(model))
    other = torch.nn.Module()
    other.data_preprocessor = torch.nn.Identity()
    assert 'Identity' in obstacle(other)


def test_graphed_inference():
    model = build().eval()
    model.data_preprocessor.bucket_steps = 8
    forward = GraphedForward(model, max_graphs=2)
    for seed in (0, 1, 0):
        inputs = model.data_preprocessor(data(number=1, seed=seed))['inputs']
        with torch.no_grad():
            expected = model(inputs, None, mode='tensor')
        logits = forward(inputs)
        for name, branches in expected.items():
            for one, other in zip(logits[name], branches, strict=True):
                torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)
    before = set(forward.recordings.by_key.values())
    with torch.no_grad():
        next(model.parameters()).add_(1)
    forward(inputs)
    assert not before & set(forward.recordings.by_key.values())  # folded weights are recorded anew


def test_inference_is_recorded_when_its_shapes_come_again():
    model = build().eval()
    model.data_preprocessor.bucket_steps = 8
    forward = GraphedForward(model, after=2)
    inputs = model.data_preprocessor(data(number=1))['inputs']
    recorded = [(forward(inputs), len(forward.recordings.by_key))[1] for _ in range(4)]
    assert recorded == [0, 0, 1, 1]


def test_a_model_that_cannot_be_recorded_runs_without(monkeypatch):
    model = build().eval()
    model.data_preprocessor.bucket_steps = 8

    def fails(*args):
        raise RuntimeError('operation not permitted when stream is capturing')

    monkeypatch.setattr(recordings, 'Recording', fails)
    forward = GraphedForward(model)
    inputs = model.data_preprocessor(data(number=1))['inputs']
    with torch.no_grad():
        expected = model(inputs, None, mode='tensor')
    with pytest.warns(UserWarning, match='cannot be recorded as a CUDA graph'):
        first = forward(inputs)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        second = forward(inputs)
    for name, branches in expected.items():
        for logits in (first, second):
            assert torch.equal(logits[name][0], branches[0])


def test_a_training_that_cannot_be_recorded_goes_on_without(monkeypatch):
    def fails(*args):
        raise recordings.NotRecordable('the host waits for the device')

    model = build().train()
    model.data_preprocessor.bucket_steps = 4
    step, wrapper = GraphedStep(model), optimizer(model)
    step(data(), wrapper)  # a recording that is there remains
    monkeypatch.setattr(recordings, 'Recording', fails)
    with pytest.warns(UserWarning, match='the host waits for the device'):
        first = step(data(3), wrapper)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert torch.isfinite(step(data(4), wrapper)['loss'])
    assert torch.isfinite(first['loss']) and len(step.recordings.by_key) == 1


def test_recordings_are_dropped_with_what_they_take_as_fixed():
    model = build().train()
    model.data_preprocessor.bucket_steps = 4
    step, wrapper = GraphedStep(model), optimizer(model)
    step(data(), wrapper)
    (first,) = step.recordings.by_key.values()
    step(data(), wrapper)
    assert [first] == list(step.recordings.by_key.values())  # an update of weights changes nothing
    parameter = next(model.parameters())
    for change in (
        lambda: setattr(parameter, 'data', parameter.data.clone()),
        lambda: parameter.requires_grad_(False),
        lambda: model.backbone.eval(),
    ):
        change()
        (before,) = step.recordings.by_key.values()
        step(data(), wrapper)
        assert before not in step.recordings.by_key.values()


def test_several_processes_average_after_the_replay(monkeypatch):
    monkeypatch.setattr(torch.distributed, 'all_reduce', lambda t: t.add_(1))  # the other's are 1
    monkeypatch.setattr(torch.distributed, 'get_world_size', lambda: 2)
    tensors = [torch.zeros(2, 3), torch.full((4,), 3.0), torch.ones(2, dtype=torch.float64)]
    mean_over_processes(tensors)
    assert tensors[0].eq(0.5).all() and tensors[1].eq(2).all() and tensors[2].eq(1).all()


def test_a_distributed_model_trains_as_without_graphs():
    from mmengine.model import MMDistributedDataParallel

    torch.distributed.init_process_group(
        'gloo', store=torch.distributed.HashStore(), rank=0, world_size=1
    )
    try:
        results = []
        for graphed in (False, True):
            model = build().train()
            wrapped = MMDistributedDataParallel(model, find_unused_parameters=True)
            model.data_preprocessor.bucket_steps = 4
            wrapper = optimizer(wrapped, accumulative_counts=2)
            step = GraphedStep(wrapped) if graphed else wrapped.train_step
            for i in range(2):
                step(data(5, seed=i), wrapper)
            results.append(dict(model.named_parameters()))
        for name, value in results[0].items():
            torch.testing.assert_close(results[1][name], value, rtol=1e-4, atol=1e-5)
    finally:
        torch.distributed.destroy_process_group()
