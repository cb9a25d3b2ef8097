"""Two streams while a graph is recorded; the streams here only note what is asked of them."""

import pytest
import torch

from bharnet_mm.models import backbone as module
from bharnet_mm.models.backbone import BodyHandBackbone
from bharnet_mm.models.beside import Beside


@pytest.fixture
def backbone():
    torch.manual_seed(0)
    network = dict(type='DeGCN', base_channels=16)
    return BodyHandBackbone(
        body=network | dict(layout='kinect_v2'), hand=network | dict(layout='hand')
    ).eval()


def test_results_are_those_of_one_stream(backbone, monkeypatch):
    notes = []

    class Noted(Beside):
        def __init__(self):
            notes.append('new')

        def start(self, work):
            notes.append('start')
            return work()

        def join(self, results):
            notes.append(('join', len(results)))

    inputs = dict(
        body=torch.randn(2, 1, 8, 25, 3),
        body_mask=torch.ones(2, 1, 8, dtype=torch.bool),
        hand=torch.randn(2, 2, 8, 21, 3),
        hand_mask=torch.ones(2, 2, 8, dtype=torch.bool),
    )
    with torch.no_grad():
        expected = backbone(inputs)
        assert not notes
        monkeypatch.setattr(module, 'is_recording', lambda: True)
        monkeypatch.setattr(module, 'Beside', Noted)
        found = backbone(inputs)
    assert notes == ['new', 'start', ('join', 1)] and list(found) == ['body', 'hand']
    for name in found:
        assert torch.equal(found[name][0].x, expected[name][0].x)
