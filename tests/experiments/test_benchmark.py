import json

import pytest
import torch
from command import run_tool

from bharnet_mm.experiments import contenders as tool


def test_the_same_people_in_every_form():
    ours, _ = tool.make_batch('both', 10, 'real')
    unified, _ = tool.make_batch('unified', 10, 'real')
    assert unified.shape == (10, 1, 2, 64, 25 + 42, 3)
    assert torch.equal(unified[:, 0, :, :, :25], ours['body'])
    assert torch.equal(unified[:, 0, 1, :, 46:], ours['hand'][:, 3])
    assert ours['body_mask'][:, 1].any(-1).sum() == 2  # two persons in a fifth of the clips
    plain, _ = tool.make_batch('plain', 10, 'real')
    assert plain['hand_mask'].all() and torch.equal(plain['hand'], ours['hand'])
    assert not (ours['hand_mask'][:, 2:].any(-1) & ~ours['body_mask'][:, 1:].any(-1)).any()


def test_unified_graph_is_a_tree_of_all_joints():
    graph = tool.unified_graph()
    assert graph['num_node'] == 67 and len(graph['inward']) == 66
    assert len({child for child, _ in graph['inward']}) == 66


def test_runs_and_counts(tmp_path):
    run_tool(
        'analysis/benchmark.py',
        *(
            '--contenders',
            'BHaRNet light',
            'STGCN body',
            '--modes',
            'inference',
            '--cases',
            '1:full',
        ),
        *('--rounds', '1', '--threads', '1', '--out', tmp_path / 'bench'),
    )
    rows = {r['contender']: r for r in json.loads((tmp_path / 'bench.json').read_text())['rows']}
    assert rows['BHaRNet light']['gmacs'] < 1 < rows['STGCN body']['gmacs']
    assert rows['STGCN body']['parameters'] > 2.9e6
    parts = rows['BHaRNet light']['gmacs_parts']
    assert set(parts) == {'body', 'hand', 'fusion'} and parts['fusion'] < 0.01
    assert sum(parts.values()) == pytest.approx(rows['BHaRNet light']['gmacs'])
    assert (tmp_path / 'bench.md').read_text().count('\n') == 4
