"""Two streams while a graph is recorded; the streams here only note what is asked of them."""

import pytest
import torch

from bharnet_mm.models import beside
from bharnet_mm.models.backbone import BodyHandBackbone


class Noted(beside.Beside):
    """Runs the work at once."""

    notes = []

    def __init__(self, name):
        self.name = name

    def start(self, work, reads):
        self.notes.append(('start', self.name, len(reads)))
        return work()

    def join(self, results):
        assert all(isinstance(result, torch.Tensor) for result in results)
        self.notes.append(('join', self.name))


@pytest.mark.parametrize('streams', [1, 2])
def test_results_are_those_of_one_stream(streams, monkeypatch):
    torch.manual_seed(0)
    net = dict(type='DeGCN', base_channels=16, num_stream=streams, split_at=3)
    backbone = BodyHandBackbone(body=net | dict(layout='kinect_v2'), hand=net | dict(layout='hand'))
    inputs = dict(
        body=torch.randn(2, 1, 8, 25, 3),
        body_mask=torch.ones(2, 1, 8, dtype=torch.bool),
        hand=torch.randn(2, 2, 8, 21, 3),
        hand_mask=torch.ones(2, 2, 8, dtype=torch.bool),
    )
    backbone.eval()
    Noted.notes.clear()
    with torch.no_grad():
        expected = backbone(inputs)
        assert not Noted.notes
        monkeypatch.setattr(beside, 'is_recording', lambda: True)
        monkeypatch.setattr(beside, 'Beside', Noted)
        found = backbone(inputs)
    of_expert = [('start', 'stream 1', 1), ('join', 'stream 1')] * (streams - 1)
    assert Noted.notes == [('start', 'hand', 0), *of_expert, *of_expert, ('join', 'hand')]
    assert list(found) == ['body', 'hand']
    for name in found:
        for one, other in zip(found[name], expected[name], strict=True):
            assert torch.equal(one.x, other.x)
