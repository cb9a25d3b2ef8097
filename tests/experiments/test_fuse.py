import json

import numpy as np
import pytest
from command import run_tool

from bharnet_mm.evaluation import load_scores, save_scores

RNG = np.random.default_rng(0)
LABEL = RNG.integers(0, 3, 60)


def write(path, order, strength=9.0, ids='c', **more):
    logits = strength * np.eye(3)[LABEL[order]] + RNG.normal(size=(len(order), 3))
    names = [f'{ids}{i}' for i in order]
    save_scores(path, names, LABEL[order], {'pred': logits, **more}, ['a', 'b', 'c'])
    return str(path)


@pytest.fixture
def files(tmp_path):
    order = np.arange(60)
    return [
        write(tmp_path / 'a.npz', order),
        write(tmp_path / 'b.npz', RNG.permutation(60)),
        write(tmp_path / 'weak.npz', order, 0.5, body=9 * np.eye(3)[LABEL]),
    ]


def test_fuses_by_id_tests_in_pairs_and_writes(files, tmp_path):
    out = tmp_path / 'r.json'
    printed = run_tool('analysis/fuse.py', *files, '--json', out, '--dump', tmp_path / 'fused.npz')
    result = json.loads(out.read_text())
    assert result['clips'] == 60 and result['entries']['fused']['top1'] == 1
    pairs = {(row['a'], row['b']): row for row in result['pairs']}
    assert len(pairs) == 6
    weak = pairs[files[2], 'fused']
    assert weak['only_a'] == 0 and weak['p_value'] < 0.01 and weak['interval'][1] < 0
    assert pairs[files[0], files[1]]['p_value'] == 1
    assert load_scores(tmp_path / 'fused.npz').top1('pred') == 1
    assert 'McNemar' in printed
    low, high = result['entries'][files[2]]['top1_interval']
    assert low < result['entries'][files[2]]['top1'] < high


def test_another_expert_by_name(files, tmp_path):
    out = tmp_path / 'r.json'
    run_tool('analysis/fuse.py', f'{files[2]}:body', files[0], '--json', out)
    assert json.loads(out.read_text())['entries'][f'{files[2]}:body']['top1'] == 1
    said = run_tool('analysis/fuse.py', f'{files[2]}:hand', status=1)
    assert "expert 'hand'" in said


def test_other_clips_are_refused_by_name(files, tmp_path):
    other = write(tmp_path / 'other.npz', np.arange(50))
    said = run_tool('analysis/fuse.py', files[0], other, status=1)
    assert '10 clips missing' in said and 'other.npz against' in said


def test_folds_are_put_together(files, tmp_path):
    halves = [
        write(tmp_path / 'first.npz', np.arange(30)),
        write(tmp_path / 'second.npz', np.arange(30, 60)),
    ]
    out = tmp_path / 'r.json'
    run_tool('analysis/fuse.py', ','.join(halves), files[1], '--json', out)
    assert json.loads(out.read_text())['entries']['fused']['top1'] == 1
    said = run_tool('analysis/fuse.py', ','.join([halves[0], files[0]]), status=1)
    assert 'more than once' in said


def test_weights_are_searched_on_held_out_clips_only(files, tmp_path):
    held_out = [
        write(tmp_path / 'va.npz', np.arange(60), 3.0, ids='v'),
        write(tmp_path / 'vw.npz', np.arange(60), 0.1, ids='v'),
    ]
    out = tmp_path / 'r.json'
    run_tool('analysis/fuse.py', files[0], files[2], '--search', *held_out, '--json', out)
    result = json.loads(out.read_text())
    assert result['weights'][files[0]] > result['weights'][files[2]]
    assert result['searched']['clips'] == 60
    said = run_tool('analysis/fuse.py', *files[:2], '--search', *files[:2], status=1)
    assert 'tested on as well' in said


def test_experts_of_one_checkpoint_have_its_weights(tmp_path):
    z = {name: RNG.normal(size=(60, 3)) for name in ('pred', 'body', 'hand')}
    facts = {'checkpoint_sha256': 'f' * 64, 'fusion_weights': {'body': 0.25, 'hand': 1.5}}
    names = [f'c{i}' for i in range(60)]
    save_scores(tmp_path / 's.npz', names, LABEL, z, ['a', 'b', 'c'], facts)
    members = [f'{tmp_path}/s.npz:hand', f'{tmp_path}/s.npz:body']
    out = tmp_path / 'r.json'
    run_tool('analysis/fuse.py', *members, '--json', out)
    assert list(json.loads(out.read_text())['weights'].values()) == [1.5, 0.25]
    run_tool('analysis/fuse.py', *members, '--weights', '1', '1', '--json', out)
    assert list(json.loads(out.read_text())['weights'].values()) == [1, 1]
    write(tmp_path / 'other.npz', np.arange(60))
    run_tool('analysis/fuse.py', members[0], f'{tmp_path}/other.npz', '--json', out)
    assert list(json.loads(out.read_text())['weights'].values()) == [1, 1]
