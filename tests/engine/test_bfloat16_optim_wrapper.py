import pytest
import torch
from mmengine.optim import OptimWrapper
from torch import nn

from bharnet_mm.engine import BFloat16OptimWrapper


def step(wrapper_type):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    wrapper = wrapper_type(torch.optim.SGD(model.parameters(), lr=0.1), accumulative_counts=1)
    x, y = torch.randn(32, 8), torch.randint(4, (32,))
    with wrapper.optim_context(model):
        scores = model(x)
        loss = nn.functional.cross_entropy(scores, y)
    wrapper.update_params(loss)
    return scores, model


def test_forward_is_bfloat16_and_weights_stay_float32():
    scores, model = step(BFloat16OptimWrapper)
    expected, reference = step(OptimWrapper)
    assert scores.dtype == torch.bfloat16 and expected.dtype == torch.float32
    torch.testing.assert_close(scores.float(), expected, rtol=0.02, atol=0.02)
    for found, wanted in zip(model.parameters(), reference.parameters(), strict=True):
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, wanted, rtol=0, atol=2e-3)


def test_resumes_from_a_checkpoint_with_a_loss_scale():
    model = nn.Linear(2, 2)
    wrapper = BFloat16OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9))
    state = wrapper.state_dict() | dict(loss_scaler=dict(scale=65536.0))
    state['param_groups'][0]['lr'] = 0.05
    wrapper.load_state_dict(state)
    assert wrapper.get_lr()['lr'] == [pytest.approx(0.05)]
