import re

import numpy as np
import pytest

from bharnet_mm.apis import model_report as report
from bharnet_mm.apis.attention_maps import AttentionMap
from bharnet_mm.apis.training_curve import TrainingCurve
from bharnet_mm.evaluation import Scores
from bharnet_mm.layouts import get_layout

LABEL = np.array([0, 0, 0, 1, 1, 2])
SAID = {
    'body': [0, 0, 1, 0, 0, 2],
    'hand': [0, 1, 1, 1, 1, 0],
    'pred': [0, 0, 1, 1, 1, 1],
}


def scores(said=SAID, classes=('wave <b>', 'point', 'clap', 'never')):
    logits = {k: 4 * np.eye(4, dtype='f4')[v] for k, v in said.items()}
    return Scores(np.array([f'c{i}' for i in range(6)]), LABEL, logits, classes)


def test_confusions_and_accuracy_by_class():
    expected = [[2, 1, 0, 0], [0, 2, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]]
    np.testing.assert_array_equal(report.confusion_matrix(scores()), expected)
    np.testing.assert_allclose(report.class_accuracy(scores(), 'body'), [2 / 3, 0, 1, np.nan])
    assert report.mistakes(scores()) == [(0, 1, 1), (2, 1, 1)]


def example_maps():
    lengths = {'frame': (8, 8), 'joint': (21, 25), 'instance': (4, 2)}
    return {
        (who, axis): AttentionMap(np.linspace(0.5, 1.5, pair[i]), 0.1 + i, 6)
        for axis, pair in lengths.items()
        for i, who in enumerate(('body', 'hand'))
    }


def test_page_says_where_hands_help_and_needs_nothing_else(tmp_path):
    rng = np.random.default_rng(0)
    layouts = {'body': get_layout('kinect_v2'), 'hand': get_layout('hand')}
    curve = TrainingCurve(
        {'loss': np.array([[1.0, 2.0], [2.0, 1.0]])}, {'acc/top1': np.array([[1.0, 0.5]])}
    )
    report.write_report(
        tmp_path / 'r.html',
        'P',
        scores(),
        maps=example_maps(),
        poses={name: rng.normal(size=(layout.num_joints, 3)) for name, layout in layouts.items()},
        layouts=layouts,
        curves={'run': curve},
    )
    page = (tmp_path / 'r.html').read_text()
    # right against the body: clips 3 and 4 more, clip 5 less
    assert 'on <b>2</b> clips more' in page and 'on <b>1</b> that were right' in page
    assert 'clap (-1.00)' in page
    assert page.count('<img') == 4 and 'wave &lt;b&gt;' in page
    assert not re.search(r'<script|<link|src="(?!data:)|href=', page)


def test_against_a_body_only_model(tmp_path):
    without = scores({'pred': [0, 1, 1, 1, 1, 2]})
    report.write_report(tmp_path / 'r.html', 'P', scores(), without)
    page = (tmp_path / 'r.html').read_text()
    assert 'Against the body-only model' in page and 'on <b>1</b> clips more' in page
    assert page.count('<img') == 2


def test_one_expert_alone_has_no_gain_to_show(tmp_path):
    report.write_report(tmp_path / 'r.html', 'body', scores({'pred': SAID['body']}))
    assert 'hands help' not in (tmp_path / 'r.html').read_text()


@pytest.mark.parametrize('classes', [120])
def test_many_classes_are_drawn(classes):
    rng = np.random.default_rng(0)
    accuracy = {'body': rng.random(classes), 'pred': rng.random(classes)}
    names = tuple(f'class {i}' for i in range(classes))
    figure = report.draw_classes(accuracy, names)
    shown = [t.get_text() for t in figure.axes[0].get_yticklabels()]
    assert len(shown) == report.MAX_NAMED
    gain = accuracy['pred'] - accuracy['body']
    assert shown[0].startswith(f'class {gain.argmin()} ')
    assert shown[-1].startswith(f'class {gain.argmax()} ')
