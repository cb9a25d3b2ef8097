import numpy as np
import pytest
from rich.console import Console

from bharnet_mm.apis.sample_report import accuracy, draw_report, groups, make_table
from bharnet_mm.apis.training_curve import read_training_curve
from bharnet_mm.datasets.store import ClipStore
from bharnet_mm.datasets.synthetic.gestures import GESTURES
from bharnet_mm.datasets.synthetic.sample import write_sample
from bharnet_mm.evaluation.scores import save_scores

CLASSES = [gesture.name for gesture in GESTURES]


@pytest.fixture
def oracles(tmp_path):
    """Experts that know exactly what they can: an oracle for each, the first class of equals."""

    def make(picture):
        label = np.repeat(np.arange(16), 4)
        logits = {}
        for name, parts in zip(('body', 'hand'), groups(CLASSES), strict=False):
            same = np.zeros((16, 16))
            for part in parts:
                same[np.ix_(part.classes, part.classes)] = 1
            logits[name] = same[label]
        logits['fused'] = logits['body'] + logits['hand']
        if picture:
            logits['rgb'] = np.eye(16)[label]
            logits['fused'] = logits['fused'] + logits['rgb']
        ids = [f'synthetic{c * 4 + i:05d}' for c in range(16) for i in range(4)]
        return save_scores(tmp_path / 'scores.npz', ids, label, logits, CLASSES)

    return make


@pytest.fixture
def scores(oracles):
    return oracles(picture=False)


def shown(scores):
    """The table's rows: name to cells."""
    console = Console(width=100, record=True, file=open('/dev/null', 'w'))
    console.print(make_table(scores))
    text = console.export_text()
    assert 'synthetic sample' in text and '64 test clips' in text
    rows = [line.split('│')[1:5] for line in text.splitlines() if line.startswith('│')]
    return {name.strip(): [cell.strip() for cell in cells] for name, *cells in rows}


def test_oracles_reach_the_ceilings_and_the_table_says_so(scores):
    rows = shown(scores)
    assert rows['body expert'] == ['0.375', '0.375', '± 0.061']
    assert rows['hand expert'][:2] == ['0.500', '0.485']  # no hand is missing here
    assert rows['both'][:2] == ['0.750', '0.735']


def test_with_an_rgb_expert_there_are_five_rows(oracles):
    rows = shown(oracles(picture=True))
    names = ['body expert', 'hand expert', 'body + hands', 'rgb expert', 'all three']
    assert [name for name in rows if name in names] == names
    assert [rows[name][:2] for name in names[2:]] == [
        ['0.750', '0.735'],
        ['1.000', '1.000'],
        ['1.000', '1.000'],
    ]


def test_groups_and_their_accuracy(scores):
    arms, hands, both = groups(CLASSES)
    assert [len(g.classes) for g in arms] == [5, 2, 4, 2, 1, 2]
    assert sorted(c for g in hands for c in g.classes) == list(range(16))
    assert [g.name for g in both if len(g.classes) == 3] == ['raise +\nfist', 'mouth +\npinch']
    for group in both:
        assert accuracy(scores, 'skeleton', group.classes) == pytest.approx(group.ceiling)
    for group in arms:
        assert accuracy(scores, 'body', group.classes) == pytest.approx(group.ceiling)
    for group in hands:
        assert accuracy(scores, 'hand', group.classes) == pytest.approx(group.ceiling)
    assert np.isnan(accuracy(scores, 'body', []))


@pytest.mark.parametrize('picture', (False, True))
def test_picture(tmp_path, oracles, picture):
    scores = oracles(picture)
    write_sample(tmp_path / 'sample', clips_per_class=4)
    store = ClipStore(tmp_path / 'sample')
    draw_report(tmp_path / 'with.png', scores, read_training_curve(tmp_path), store)
    draw_report(tmp_path / 'without.png', scores)
    sizes = [(tmp_path / name).stat().st_size for name in ('with.png', 'without.png')]
    assert sizes[0] > sizes[1] > 10_000
