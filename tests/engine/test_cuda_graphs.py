"""Steps and inference, recorded and replayed; on a CPU a replay calls the function."""

import threading
import time
import warnings
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from small_models import build, data

import bharnet_mm  # noqa: F401
from bharnet_mm.engine import BFloat16OptimWrapper, recordings
from bharnet_mm.engine.cuda_graph_hook import CUDAGraphHook
from bharnet_mm.engine.cuda_graphs import GraphedForward, GraphedStep, mean_over_processes
from bharnet_mm.errors import ConfigError
from bharnet_mm.experiments import contenders

CLASSES = contenders.CLASSES


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
    results, expected_norms = [], None
    for graphed in (False, True):
        model = build().train()
        wrapper = optimizer(model, **options)
        step = GraphedStep(model) if graphed else model.train_step
        model.data_preprocessor.bucket_steps = 4
        logged = [step(data(5 - i % 2, seed=i), wrapper) for i in range(4)]
        results.append((logged, dict(model.named_parameters()), dict(model.named_buffers())))
        if graphed:
            assert len(step.recordings.by_key) == 2
        if graphed and 'clip_grad' in options:
            # The runner's hook gives it to the message hub, as the wrapper did.
            norms = [float(values.pop('grad_norm')) for values in logged]
            assert norms == pytest.approx(expected_norms, rel=1e-4)
        elif 'clip_grad' in options:
            expected_norms = wrapper.message_hub.get_scalar('train/grad_norm').data[0].tolist()[-4:]
    (logged, parameters, buffers), (logged_2, parameters_2, buffers_2) = results
    for one, other in zip(logged, logged_2, strict=True):
        assert list(one) == list(other)
        for name in one:
            torch.testing.assert_close(other[name], one[name].detach().float())
    for name, value in parameters.items():
        torch.testing.assert_close(parameters_2[name], value, rtol=1e-4, atol=1e-5)
    for name, value in buffers.items():
        torch.testing.assert_close(buffers_2[name], value, rtol=1e-4, atol=1e-5)


def test_logged_values_outlive_the_next_step():
    model = build().train()
    model.data_preprocessor.bucket_steps = 4
    step, wrapper = GraphedStep(model), optimizer(model)
    first = step(data(5, seed=0), wrapper)['loss']
    value = float(first)
    assert float(step(data(5, seed=1), wrapper)['loss']) != value
    assert float(first) == value


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


def test_inference_is_recorded_again_when_its_operands_were_dropped():
    """A graph would read the memory of operands that are no longer kept."""
    model = build().eval()
    model.data_preprocessor.bucket_steps = 8
    forward, narrow = GraphedForward(model), GraphedForward(model, dtype=torch.bfloat16)
    inputs = model.data_preprocessor(data(number=1))['inputs']

    def recorded(graphed):
        graphed(inputs)
        return next(iter(graphed.recordings.by_key.values()))

    first, second = recorded(forward), recorded(narrow)
    assert recorded(forward) is first and recorded(narrow) is second  # both types are kept
    model.eval()  # which drops the operands, though nothing has changed
    assert recorded(forward) is not first and recorded(narrow) is not second
    first = recorded(forward)
    with torch.no_grad():
        next(model.parameters()).mul_(1)
    assert recorded(forward) is not first
    first = recorded(forward)
    assert recorded(forward) is first


def test_threads_share_a_recording():
    model = torch.nn.Linear(1, 1)

    def slow(model, inputs):
        time.sleep(0.05)  # the other thread would overwrite the inputs meanwhile
        return inputs['x'] + 0

    forward = GraphedForward(model, slow)
    results: dict = {}

    def run(value):
        results[value] = float(forward(dict(x=torch.tensor(value))))

    run(0.0)
    threads = [threading.Thread(target=run, args=(value,)) for value in (1.0, 2.0, 3.0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {value: value for value in (0.0, 1.0, 2.0, 3.0)}


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
