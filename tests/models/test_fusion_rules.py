"""The head and the fusion of score files follow the same rules."""

import numpy as np
import pytest
import torch
from mmaction.structures import ActionDataSample

from bharnet_mm.evaluation import fusion as files
from bharnet_mm.evaluation.body_hand_metric import BodyHandMetric
from bharnet_mm.evaluation.scores import load_scores
from bharnet_mm.fusion import METHODS, fuse
from bharnet_mm.models import BHaRNetHead, Instances

CLASSES, CHANNELS, CLIPS = 5, 8, 6
#: Clip → its experts: both, only the body, only the hands, none.
BODY = torch.tensor([True, True, True, False, True, False])
HAND = torch.tensor([True, True, False, True, False, False])


def instances(present, seed):
    clip = present.nonzero().flatten()
    x = torch.randn(len(clip), CHANNELS, 4, 3, generator=torch.Generator().manual_seed(seed))
    mask = torch.ones(len(clip), 3, dtype=torch.bool)
    return Instances(3 * x, mask, clip, torch.zeros_like(clip), CLIPS, 1)


def dump(head, path):
    """What ``tools/test.py --dump`` writes for this head: its probabilities and a score file."""
    streams = len(head.branches)
    features = {
        'body': [instances(BODY, i) for i in range(streams)],
        'hand': [instances(HAND, 10 + i) for i in range(streams)],
    }
    samples = [ActionDataSample().set_gt_label(i % CLASSES) for i in range(CLIPS)]
    for i, sample in enumerate(samples):
        sample.set_metainfo(dict(clip_id=f'clip{i}'))
    with torch.no_grad():
        head.eval().predict(features, samples)
    metric = BodyHandMetric(scores_file=str(path))
    metric.process(None, [sample.to_dict() for sample in samples])
    measured = metric.evaluate(CLIPS)
    return torch.stack([sample.pred_score for sample in samples]).numpy(), measured


def make_head(expertized, **options):
    torch.manual_seed(0)
    branches = ('vanilla', 'expertized') if expertized else ('vanilla',)
    return BHaRNetHead(num_classes=CLASSES, in_channels=CHANNELS, branches=branches, **options)


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('expertized', [False, True])
@pytest.mark.parametrize('weights', [None, (0.3, 1.7)])
def test_test_tool_and_fuse_tool_agree(method, expertized, weights, tmp_path):
    if method == 'noisy_or' and weights:
        pytest.skip("the head's weights are those of sum and mean_prob")
    given = dict(zip(('body', 'hand'), weights, strict=True)) if weights else None
    head = make_head(expertized, fusion=method, fusion_weights=given)
    tested, measured = dump(head, tmp_path / 's.npz')
    scores = load_scores(tmp_path / 's.npz')
    members = ['body', 'hand']
    if method == 'noisy_or' and expertized:  # each branch has its own say
        members = [f'{m}_{b}' for m in members for b in ('vanilla', 'expertized')]
    fused = np.exp(files.fuse([scores.logits[name] for name in members], weights, method))
    np.testing.assert_allclose(fused, tested, atol=1e-6)
    ece = files_measure(fused, scores.label)
    assert measured['acc/ece'] == pytest.approx(ece, abs=1e-6)


def files_measure(probabilities, label):
    from bharnet_mm.evaluation.measures import calibration_error

    return calibration_error(probabilities, label)


@pytest.mark.parametrize('method', METHODS)
def test_an_absent_expert_has_no_influence(method):
    random = torch.Generator().manual_seed(1)
    body, hand = torch.randn(2, CLIPS, CLASSES, generator=random, dtype=torch.float64)
    hand[~HAND] = 99 * torch.randn(int((~HAND).sum()), CLASSES, generator=random).double()
    fused = fuse([body, hand], [BODY, HAND], method=method).exp()
    alone = body.softmax(-1)
    torch.testing.assert_close(fused[[2, 4]], alone[[2, 4]])
    torch.testing.assert_close(fused[3], hand[3].softmax(-1))
    torch.testing.assert_close(fused[5], torch.full((CLASSES,), 1 / CLASSES).double())
    torch.testing.assert_close(fused.sum(-1), torch.ones(CLIPS).double())


def test_a_member_of_weight_zero_has_no_influence():
    body, hand = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(2))
    seen = torch.ones(4, dtype=torch.bool)
    for method in METHODS:
        fused = fuse([body, hand], [seen, seen], [1, 0], method).exp()
        torch.testing.assert_close(fused, body.softmax(-1))
