import numpy as np
import pytest
import torch
from torch import nn

from bharnet_mm.apis.attention_maps import AttentionRecorder
from bharnet_mm.models import PoolingAttention
from bharnet_mm.models.instances import pack

FRAMES = 4


def instances(count, joints, mask=None, clips=3):
    x = torch.randn(clips, count, FRAMES, joints, 8)
    mask = torch.ones(clips, count, FRAMES, dtype=torch.bool) if mask is None else mask
    return pack(x, mask)


@pytest.fixture
def attention():
    torch.manual_seed(0)
    module = PoolingAttention(8, 8, body_joints=5, num_frames=FRAMES, embed_dims=8, num_heads=2)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.5)
    return module.eval()


def test_result_is_not_changed_and_even_attention_is_one(attention):
    body, hand = instances(1, 5), instances(2, 21)
    plain = attention(body, hand)
    for cross in (*attention.body.values(), *attention.hand.values()):
        nn.init.zeros_(cross.query.weight)  # all keys alike
    even = attention(body, hand)
    recorder = AttentionRecorder(attention)
    with recorder.listening(), torch.no_grad():
        torch.testing.assert_close(attention(body, hand), even)
    maps = recorder.maps()
    assert set(maps) == {(m, a) for m in ('body', 'hand') for a in ('frame', 'joint', 'instance')}
    assert maps['body', 'joint'].focus.shape == (21,) and maps['hand', 'joint'].focus.shape == (5,)
    for value in maps.values():
        np.testing.assert_allclose(value.focus, 1, rtol=1e-5)
        assert value.clips == 3 and value.change > 0
    assert not torch.allclose(plain[0], even[0])


def test_focus_is_the_mean_attention(attention):
    """Against attention written out, with gaps and a clip without hands."""
    mask = torch.ones(3, 2, FRAMES, dtype=torch.bool)
    mask[0, :, 1], mask[2] = False, False
    body, hand = instances(1, 5), instances(2, 21, mask)
    recorder = AttentionRecorder(attention)
    seen = {}
    hook = attention.body['frame'].register_forward_hook(lambda m, i, o: seen.update(inputs=i))
    with recorder.listening(), torch.no_grad():
        attention(body, hand)
    hook.remove()
    cross, (x, other, weight) = attention.body['frame'], seen['inputs']
    q = cross.query(cross.norm(x) + cross.position)
    k = cross.key_value(cross.other_norm(other) + cross.other_position).chunk(2, -1)[0]
    expected = torch.zeros(FRAMES)
    count = torch.zeros(FRAMES)
    for n in (0, 1):
        there = weight[n] > 0
        for head in (slice(0, 4), slice(4, 8)):
            p = torch.softmax(q[n, :, head] @ k[n, there, head].T / 2, -1).mean(0)
            expected[there] += p * there.sum() / 2
        count += there
    found = recorder.maps()['body', 'frame']
    assert found.clips == 2
    np.testing.assert_allclose(found.focus, (expected / count).detach(), rtol=1e-4)


def test_what_is_never_visible_has_no_focus(attention):
    mask = torch.ones(3, 2, FRAMES, dtype=torch.bool)
    mask[:, 0] = False
    recorder = AttentionRecorder(attention)
    with recorder.listening(), torch.no_grad():
        attention(instances(1, 5), instances(2, 21, mask))
    focus = recorder.maps()['body', 'instance'].focus
    assert np.isnan(focus[0]) and focus[1] == pytest.approx(1)


def test_nothing_to_record():
    recorder = AttentionRecorder(nn.Linear(2, 2))
    with recorder.listening():
        pass
    assert recorder.maps() == {}
