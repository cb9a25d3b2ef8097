from types import SimpleNamespace

import pytest
import torch
from torch import nn

from bharnet_mm.engine import CheckpointGuardHook
from bharnet_mm.errors import BHaRNetError, ConfigError


def network(width=3):
    return nn.Sequential(nn.Linear(2, width), nn.BatchNorm1d(width), nn.Linear(width, 5))


def runner(model, how='load_from'):
    """One that begins a training with given weights, resumes one, or tests."""
    return SimpleNamespace(
        model=model, _train_loop=None if how == 'test' else object(), _resume=how == 'resume'
    )


def load(checkpoint, how='load_from', **kwargs):
    hook = CheckpointGuardHook(**kwargs)
    hook.after_load_checkpoint(runner(network(), how), checkpoint)


def renamed(prefix):
    return {prefix + name: value for name, value in network().state_dict().items()}


@pytest.mark.parametrize(
    'checkpoint',
    [
        dict(state_dict=network().state_dict(), meta={}),
        network().state_dict(),
        dict(state_dict=renamed('module.')),
    ],
)
@pytest.mark.parametrize('how', ['load_from', 'resume', 'test'])
def test_own_checkpoint_passes(checkpoint, how):
    load(checkpoint, how, min_matched=1)


@pytest.mark.parametrize('checkpoint', [dict(state_dict=renamed('encoder.')), dict(), [1, 2]])
def test_wrong_names(checkpoint):
    with pytest.raises(BHaRNetError) as error:
        load(checkpoint)
    text = str(error.value)
    assert (
        '0 of the 6 parameters of Sequential; 6 missing (0.weight, 0.bias, 1.weight, ...)' in text
    )
    assert 'Fix: ' in text


def test_wrong_names_are_shown():
    with pytest.raises(BHaRNetError, match=r'9 that the model does not have \(encoder\.0\.weight'):
        load(dict(state_dict=renamed('encoder.')))


def test_wrong_shapes():
    with pytest.raises(
        BHaRNetError, match=r'1 of the 6 .* 5 of another shape \(0\.weight: \(4, 2\) '
    ):
        load(dict(state_dict=network(4).state_dict()))


def test_share_decides():
    state = network().state_dict()
    half = {name: state[name] for name in ('0.weight', '0.bias', '1.weight')}
    load(half, min_matched=0.5)
    with pytest.raises(BHaRNetError, match='3 of the 6'):
        load(half, min_matched=0.51)
    with pytest.raises(ConfigError):
        CheckpointGuardHook(min_matched=50)


@pytest.mark.parametrize('how', ['resume', 'test'])
def test_a_part_of_the_model_or_more_than_it_is_another_model(how):
    state = network().state_dict()
    part = {name: value for name, value in state.items() if name != '2.bias'}
    with pytest.raises(BHaRNetError, match=r'5 of the 6 .* 1 missing \(2\.bias\)'):
        load(part, how)
    more = state | {'attention.weight': torch.zeros(2)}
    with pytest.raises(BHaRNetError, match=r'does not have \(attention\.weight\).*and no others'):
        load(more, how)
    load(part), load(more)  # initial weights may be those of a similar model


def test_model_in_a_wrapper():
    from mmengine.registry import MODEL_WRAPPERS

    wrapper = nn.DataParallel(network())
    assert isinstance(wrapper, MODEL_WRAPPERS.get('DataParallel'))
    CheckpointGuardHook(1).after_load_checkpoint(runner(wrapper), network().state_dict())


def test_tensors_only_count():
    with pytest.raises(BHaRNetError, match='0 of the 6'):
        load(dict(state_dict={name: None for name in network().state_dict()}))
    assert torch.is_tensor(network().state_dict()['0.weight'])
