"""The temporal branches against their reference in float64, where frames and offsets are odd."""

import pytest
import torch

from bharnet_mm.ops import temporal

OFFSETS = {
    'as trained': lambda frames: [-2.0, -0.7, 0.7, 2.0],
    'all at the frame itself': lambda frames: [0.0, 0.0, 0.0, 0.0],
    'far beyond the clip': lambda frames: [-1e5, 1e5, -frames, frames],
    'at the last frame': lambda frames: [frames - 0.5, 0.3 - frames, 1.0, -1.0],
    'all behind the clip': lambda frames: [40.0, 41.5, 42.0, 39.0],
}


@pytest.mark.parametrize('offsets', OFFSETS)
@pytest.mark.parametrize('stride', [1, 2])
@pytest.mark.parametrize('frames', [1, 2, 5, 16, 17, 33])
def test_values_and_gradients(frames, stride, offsets):
    torch.manual_seed(0)
    for width, joints in ((4, 25), (20, 2)):
        u = torch.randn(3, 4 * width, joints, frames)
        weight, bias = torch.rand(3 * width) + 0.5, torch.randn(3 * width)
        near = torch.tensor(OFFSETS[offsets](frames))
        far = torch.tensor([-4.2, -1.3, 1.3, 4.0])
        kernels = torch.randn(2, width, width, 4)
        given = weight, bias, kernels[0], near, kernels[1], far
        operands = *given[:2], None, None, *given[2:]
        z, stats = temporal.OPERATOR(u, *operands, None, 1e-5, stride, 0.1)
        grad = torch.randn_like(z)
        found = temporal.BACKWARD(grad, u, stats, *given, None, True, stride, 0.1)

        inputs = [t.double().requires_grad_() for t in (u, *given)]
        expected = temporal.reference(
            *inputs[:3], None, None, *inputs[3:], eps=1e-5, stride=stride, slope=0.1
        )
        torch.testing.assert_close(z.double(), expected.detach(), rtol=1e-4, atol=1e-4)
        wanted = torch.autograd.grad(expected, inputs, grad.double())
        for one, other in zip(found, wanted, strict=True):
            assert float((one - other).norm()) < 1e-4 * (float(other.norm()) + 0.1)
