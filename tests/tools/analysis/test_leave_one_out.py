import importlib.util
import json
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
from command import run_tool

from bharnet_mm.evaluation import save_scores

ROOT = Path(__file__).resolve().parents[3]
DATA = ROOT.parent / 'shared' / 'data' / 'asl10.npz'


@pytest.fixture(scope='module')
def tool():
    spec = importlib.util.spec_from_file_location('loo', ROOT / 'tools/analysis/leave_one_out.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_summary_is_the_mean_over_folds_of_each_seed(tool, tmp_path):
    right = {('S1', 0): 4, ('S2', 0): 2, ('S1', 1): 3, ('S2', 1): 2}  # of 4 clips each
    files = {}
    for (fold, seed), count in right.items():
        label = np.zeros(4, int)
        body = np.array([[1.0, 0.0]] * count + [[0.0, 1.0]] * (4 - count))
        path = tmp_path / f'{fold}{seed}.npz'
        save_scores(path, [f'{fold}{i}' for i in range(4)], label, {'body': body}, ['a', 'b'])
        files[fold, seed] = path
    summary = tool.summarise(files)
    row = summary['experts']['body']
    assert summary['seeds'] == [0, 1]
    assert row['folds'] == {'S1': [1.0, 0.75], 'S2': [0.5, 0.5]}
    assert row['by_seed'] == [0.75, 0.625] and row['mean'] == 0.6875
    assert row['std'] == pytest.approx(0.0884, abs=1e-4)
    assert '| body | 0.875 | 0.500 | 0.688 | 0.088 |' in tool.to_markdown(summary)


def test_a_fold_trains_on_all_others(tool):
    args = Namespace(
        config=str(ROOT / 'configs/bharnet_p_asl10.py'),
        field='subject',
        exclude=[json.dumps({'subject': ['S1'], 'label': ['small']})],
        cfg_options={'model.backbone.feature': 'bone'},
    )
    cfg = tool.fold_config(args, 'S2')
    exclude = [{'subject': ['S1'], 'label': ['small']}]
    assert cfg.train_dataloader.dataset.split == {'subject': {'not_in': ['S2']}, 'exclude': exclude}
    assert cfg.test_dataloader.dataset.split == {'subject': ['S2'], 'exclude': exclude}
    assert cfg.model.backbone.feature == 'bone'
    compile(cfg.pretty_text, 'config', 'exec')  # what MMEngine dumps has to be Python


@pytest.mark.long
@pytest.mark.skipif(not DATA.exists(), reason='asl10.npz is not at ../shared/data')
def test_real_clips(tmp_path):
    """Trains P on two signers of asl10 for a third of the schedule and tests on the third."""
    run_tool('data/holistic.py', str(DATA), str(tmp_path / 'asl10'))
    options = [
        f'{split}_dataloader.dataset.store={tmp_path}/asl10' for split in ('train', 'val', 'test')
    ]
    run_tool(
        'analysis/leave_one_out.py',
        'configs/bharnet_p_asl10.py',
        '--work-dir',
        str(tmp_path / 'out'),
        '--folds',
        'S3',
        '--cfg-options',
        'train_cfg.max_epochs=10',
        *options,
    )
    summary = json.loads((tmp_path / 'out/summary.json').read_text())
    assert summary['experts']['pred']['mean'] >= 0.9
