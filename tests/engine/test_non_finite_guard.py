from types import SimpleNamespace

import pytest
import torch
from mmaction.structures import ActionDataSample

from bharnet_mm.engine import NonFiniteGuardHook
from bharnet_mm.errors import BHaRNetError

RUNNER = SimpleNamespace(epoch=4)


def batch(**metainfo):
    return dict(data_samples=[ActionDataSample(metainfo=metainfo) for _ in range(2)])


def check(outputs, data_batch):
    NonFiniteGuardHook().after_train_iter(RUNNER, 6, data_batch, outputs)


def test_finite_losses_pass():
    check(dict(loss=torch.tensor(2.0), loss_body=1.0, grad_norm=float('inf')), batch(clip_id='a'))
    check(None, None)


@pytest.mark.parametrize('value', [float('nan'), float('inf'), torch.tensor(float('-inf'))])
def test_names_clips_terms_and_place(value):
    with pytest.raises(BHaRNetError) as error:
        check(dict(loss=value, loss_body=torch.tensor(1.0)), batch(clip_id='S001A002'))
    text = str(error.value)
    assert 'epoch 5, iteration 7, clips S001A002, S001A002' in text
    assert f'loss = {float(value)}' in text and 'loss_body' not in text
    assert 'Fix: ' in text


def test_names_of_stock_samples_and_none():
    with pytest.raises(BHaRNetError, match='clips video7, video7'):
        check(dict(loss=float('nan')), batch(frame_dir='video7'))
    with pytest.raises(BHaRNetError, match='list clip_id in the meta_keys'):
        check(dict(loss=float('nan')), batch())


def test_runs_before_checkpoints_are_saved():
    from mmengine.hooks import CheckpointHook
    from mmengine.runner import get_priority

    assert get_priority(NonFiniteGuardHook.priority) < get_priority(CheckpointHook.priority)


def test_predictions():
    good, bad = (ActionDataSample(metainfo=dict(clip_id=name)) for name in ('good', 'bad'))
    good.set_pred_score(torch.rand(3))
    bad.set_pred_score(torch.tensor([0.1, float('nan'), 0.2]))
    hook = NonFiniteGuardHook()
    hook.after_val_iter(RUNNER, 0, None, [good])
    for check in (hook.after_val_iter, hook.after_test_iter):
        with pytest.raises(BHaRNetError, match='clips bad: found predictions that are not finite'):
            check(RUNNER, 0, None, [good, bad])
