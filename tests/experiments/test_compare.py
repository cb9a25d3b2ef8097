import json
from argparse import Namespace

import numpy as np
import pytest
from command import ROOT, run_tool
from mmengine.config import Config
from tiny_sample import write_tiny_sample

from bharnet_mm.errors import ConfigError
from bharnet_mm.evaluation import save_scores
from bharnet_mm.experiments import compare as tool
from bharnet_mm.features import FEATURES
from bharnet_mm.layouts import get_layout


def arguments(tmp_path, **more):
    values = dict(configs=['configs/p.py', 'configs/q.py'], ensembles=['configs/q.py'])
    values |= dict(out=tmp_path, field='subject', exclude=[], amp=True, no_train=False)
    values |= dict(train_share=1.0, fit_fusion=False)
    return Namespace(**values | more)


def write_fold(entry, value, seed, right, order=None):
    """20 clips of 2 classes, the first ``right`` of them predicted right."""
    label = np.arange(20) % 2
    said = np.where(np.arange(20) < right, label, 1 - label)
    order = np.arange(20) if order is None else order
    names = [f'{value}-{i}' for i in order]
    logits = {'pred': 3.0 * np.eye(2)[said[order]]}
    save_scores(entry.folder(value, seed) / 'scores.npz', names, label[order], logits, ['a', 'b'])


def test_order_of_training_and_where_it_goes(tmp_path):
    found = tool.entries(arguments(tmp_path))
    pairs = [(config[8], feature) for config, feature in found]
    assert pairs == [('p', 'joint'), ('q', 'joint')] + [('q', f) for f in FEATURES[1:]]
    entry = found['configs/q.py', 'bone']
    assert entry.work_dir == tmp_path / 'q-bone' and entry.feature == 'bone' and entry.amp


def test_mean_and_spread_of_complete_seeds_only(tmp_path):
    entry = tool.entries(arguments(tmp_path))['configs/p.py', 'joint']
    for value, seed, right in (('A', 0, 20), ('B', 0, 10), ('A', 1, 18), ('B', 1, 14), ('A', 2, 0)):
        write_fold(entry, value, seed, right)
    row = tool.accuracies([entry], ['A', 'B'], [0, 1, 2])
    assert row['folds'] == {'A': {'0': 1.0, '1': 0.9, '2': 0.0}, 'B': {'0': 0.5, '1': 0.7}}
    assert row['seeds'] == [0, 1] and row['mean'] == pytest.approx(0.775)
    assert row['std'] == pytest.approx(np.std([0.75, 0.8], ddof=1), abs=1e-4)
    kept = {f'{value}-{i}' for value in 'AB' for i in range(10)}
    assert tool.accuracies([entry], ['A', 'B'], [0], kept)['mean'] == 1


def test_ensemble_is_fused_by_clip_id_and_waits_for_all_members(tmp_path):
    found = tool.entries(arguments(tmp_path))
    members = [found['configs/q.py', feature] for feature in FEATURES]
    order = np.random.default_rng(0).permutation(20)
    for entry in members[:3]:
        write_fold(entry, 'A', 0, 20, order)
    assert tool.member_scores(members, 'A', 0) is None
    write_fold(members[3], 'A', 0, 0)  # wrong throughout, outvoted
    scores = tool.member_scores(members, 'A', 0)
    assert scores.top1('pred') == 1 and len(scores) == 20


def test_time_of_interrupted_runs_is_not_counted(tmp_path):
    entry = tool.entries(arguments(tmp_path))['configs/p.py', 'joint']
    for value, cost in (('A', {'cpu_seconds': 120.0}), ('B', None)):
        entry.folder(value, 0).mkdir(parents=True)
        (entry.folder(value, 0) / 'cost.json').write_text(json.dumps(cost))
    assert tool.cpu_minutes(entry, ['A', 'B', 'C'], [0, 1]) == 2.0
    assert tool.cpu_minutes(entry, ['B'], [0]) is None


def test_a_folder_holds_runs_of_one_kind(tmp_path):
    tool.keep_settings(arguments(tmp_path))
    with pytest.raises(ConfigError, match="'amp': True"):
        tool.keep_settings(arguments(tmp_path, amp=False))
    assert tool.keep_settings(arguments(tmp_path, amp=False, no_train=True))['amp'] is True


def test_missing_cells_say_so():
    row = dict(config='configs/p.py', features=['joint'], folds={'A': {'0': 0.5}, 'B': {}})
    row |= dict(seeds=[], mean=None, std=None, parameters=2e6, gmacs=0.123, cpu_minutes=None)
    table = tool.to_markdown([row])
    assert '| `p` | joint | .500 | not run yet | not run yet |  |  | 2.00 | 123 |  |' in table


def test_table_goes_between_its_markers(tmp_path):
    page = tmp_path / 'page.md'
    page.write_text('a\n<!-- t -->\nold\n<!-- /t -->\nb\n')
    for text in ('| x\\1 |', '| new |'):
        tool.write_between(page, 't', text)
    assert page.read_text() == 'a\n<!-- t -->\n\n| new |\n<!-- /t -->\nb\n'
    with pytest.raises(ConfigError, match='<!-- u -->'):
        tool.write_between(page, 'u', 'x')


def test_graph_of_the_unified_peers_is_our_layout():
    graph = Config.fromfile(ROOT / 'configs/unified_stgcnpp_asl10.py').model.backbone.graph_cfg
    layout = get_layout('mediapipe_upper_body+hand')
    expected = {(layout.index(a), layout.index(b)) for a, b in layout.parents.items()}
    assert {tuple(pair) for pair in graph.layout.inward} == expected
    assert graph.layout.num_node == layout.num_joints
    assert graph.layout.center == layout.index(layout.root)


def test_peers_are_trained_as_ours():
    """Same clips, normalisation, augmentation and schedule; only the packing differs."""
    ours = Config.fromfile(ROOT / 'configs/bharnet_p_asl10.py')
    for name in ('degcn', 'degcn_light', 'stgcnpp', 'aagcn'):
        peer = Config.fromfile(ROOT / f'configs/unified_{name}_asl10.py')
        for part in ('train_dataloader', 'test_dataloader'):
            one, other = (cfg[part].dataset.pipeline for cfg in (ours, peer))
            assert one[:-2] == other[:-3]
            assert ours[part].batch_size == peer[part].batch_size
        for part in ('optim_wrapper', 'param_scheduler', 'train_cfg'):
            assert ours[part] == peer[part]


def test_trains_once_and_rebuilds_the_table_without(tmp_path):
    config = write_tiny_sample(tmp_path, epochs=1)
    page = tmp_path / 'page.md'
    page.write_text('<!-- compare -->\n<!-- /compare -->\n')
    command = ['analysis/compare.py', config, '--out', tmp_path / 'out', '--page', page]
    command += ['--field', 'camera', '--folds', '1', '--json', tmp_path / 'r.json']
    printed = run_tool(*command)
    result = json.loads((tmp_path / 'r.json').read_text())
    (row,) = result['rows']
    assert row['seeds'] == [0] and 0 <= row['mean'] <= 1 and printed.count(': done') == 1
    assert row['gmacs'] > 0 and row['parameters'] > 0 and row['cpu_minutes'] > 0
    assert '| `tiny` | joint |' in page.read_text()
    again = run_tool(*command, '--no-train')
    assert ': done' not in again and json.loads((tmp_path / 'r.json').read_text()) == result


@pytest.mark.parametrize('name', ('asl10', 'nucla'))
def test_the_table_of_the_page_is_that_of_the_file(name):
    rows = json.loads((ROOT / f'docs/results/compare_{name}.json').read_text())['rows']
    page = (ROOT / 'docs/results.md').read_text()
    table = page.split(f'<!-- {name} -->')[1].split(f'<!-- /{name} -->')[0]
    assert table.strip() == tool.to_markdown(rows).strip()
