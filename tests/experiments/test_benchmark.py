import json

import pytest
import torch
from command import run_tool

from bharnet_mm.errors import ConfigError
from bharnet_mm.experiments import contenders as tool
from bharnet_mm.experiments.release import Release


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


def test_the_release_is_measured_from_its_checkout(tmp_path):
    """A stand-in with the release's files and calls: one linear layer."""
    network = """
import torch

class Model(torch.nn.Module):
    def __init__(self, num_class, num_stream, graph, graph_args):
        super().__init__()
        assert (graph, graph_args) == ('graph.ntu_rgb_d.Graph', dict(labeling_mode='spatial'))
        self.fc = torch.nn.Linear(3, num_class)

    def forward(self, x):
        assert x.shape[1:] == (3, 64, 25, 2)
        return [self.fc(x.mean((2, 3, 4)))]
"""
    for name, text in (('model/degcn.py', network), ('graph/ntu_rgb_d.py', '')):
        path = tmp_path / 'checkout' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    words = ['analysis/benchmark.py', '--contenders', 'DeGCN release', '--modes', 'train']
    words += ['--cases', '1:full', '--rounds', '1', '--threads', '1', '--out', tmp_path / 'bench']
    run_tool(*words, '--release', tmp_path / 'checkout')
    (row,) = json.loads((tmp_path / 'bench.json').read_text())['rows']
    assert row['contender'] == 'DeGCN release' and row['parameters'] == 4 * tool.CLASSES
    assert row['cpu_ms'] > 0
    with pytest.raises(ConfigError, match='without model/degcn.py'):
        Release(tmp_path)
