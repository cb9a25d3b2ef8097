import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command import run_tool

from bharnet_mm.errors import ConfigError
from bharnet_mm.evaluation import save_scores
from bharnet_mm.experiments import cross_validation as tool

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / 'shared' / 'data' / 'asl10.npz'


def test_summary_is_the_mean_over_folds_of_each_seed(tmp_path):
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


def test_a_fold_trains_on_all_others(tmp_path):
    exclude = {'subject': ['S1'], 'label': ['small']}
    entry = tool.Entry(
        str(ROOT / 'configs/bharnet_p_asl10.py'),
        tmp_path,
        exclude=(exclude,),
        cfg_options={'model.cls_head.fusion': 'noisy_or'},
        feature='bone',
    )
    cfg = tool.fold_config(entry, 'S2')
    assert cfg.train_dataloader.dataset.split == {
        'subject': {'not_in': ['S2']},
        'exclude': [exclude],
    }
    assert cfg.test_dataloader.dataset.split == {'subject': ['S2'], 'exclude': [exclude]}
    assert cfg.model.backbone.feature == 'bone' and cfg.model.cls_head.fusion == 'noisy_or'
    compile(cfg.pretty_text, 'config', 'exec')  # what MMEngine dumps has to be Python


def test_excluded_values_are_no_folds(tmp_path, monkeypatch):
    """A fold without test clips would fail after it had been trained."""

    class Store:
        def select(self, rule):
            assert rule == {'exclude': [{'subject': ['S1']}]}
            return np.array([1, 2])

        def column(self, field):
            return np.array([b'S1', b'S3', b'S2'])

    monkeypatch.setattr(tool, 'ClipStore', lambda path: Store())
    config = str(ROOT / 'configs/bharnet_p_asl10.py')
    assert tool.folds_of(tool.Entry(config, tmp_path, exclude=({'subject': ['S1']},))) == [
        'S2',
        'S3',
    ]


def test_feature_of_a_stock_model_is_made_in_all_its_pipelines(tmp_path):
    entry = tool.Entry(str(ROOT / 'configs/unified_aagcn_asl10.py'), tmp_path, feature='bone')
    cfg = tool.fold_config(entry, 'S1')
    for name in ('train', 'val', 'test'):
        steps = cfg[f'{name}_dataloader'].dataset.pipeline
        assert [s.feature for s in steps if s.type == 'MakeFeature'] == ['bone']


def test_a_feature_without_a_place_is_refused(tmp_path):
    entry = tool.Entry(str(ROOT / 'configs/stock_stgcn_ntu60.py'), tmp_path, feature='bone')
    with pytest.raises(ConfigError, match='MakeFeature'):
        entry.read()


def test_folds_of_changed_configs_are_not_mixed(tmp_path):
    config = str(ROOT / 'configs/bharnet_p_asl10.py')
    entry = tool.Entry(config, tmp_path)
    folder = entry.folder('S1', 0)
    tool.check_unchanged(folder, tool.fold_config(entry, 'S1'))
    moved = tool.Entry(config, tmp_path, cfg_options={'train_dataloader.dataset.store': 'other'})
    tool.check_unchanged(
        folder, tool.fold_config(moved, 'S1')
    )  # where the clips lie does not matter
    for options in ({'optim_wrapper.optimizer.lr': 0.1}, {'model.cls_head.loss_nor': 0.1}):
        changed = tool.Entry(config, tmp_path, cfg_options=options)
        with pytest.raises(ConfigError, match='another config'):
            tool.check_unchanged(folder, tool.fold_config(changed, 'S1'))


def test_a_tool_that_fails_says_so_and_processor_time_is_counted(tmp_path):
    """In a process of its own: the server that tools are forked from belongs to a whole process."""
    script = f"""
import subprocess, sys
sys.path.insert(0, {str(ROOT)!r})
if __name__ == '__main__':
    from bharnet_mm.experiments import cross_validation as tool
    log = tool.Path({str(tmp_path / 'log')!r})
    cost = tool.run_tool('train', ['--help'], log, 1)
    assert 0 < cost['cpu_seconds'] and 0 < cost['seconds']
    assert '--cfg-options' in log.read_text()
    try:
        tool.run_tool('train', ['no/such/config.py'], log, 1)
    except subprocess.CalledProcessError:
        assert 'no/such/config.py' in log.read_text()
        print('refused')
"""
    file = tmp_path / 'run.py'
    file.write_text(script)
    done = subprocess.run([sys.executable, str(file)], capture_output=True, text=True)
    assert done.stdout.strip().endswith('refused'), done.stderr


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
