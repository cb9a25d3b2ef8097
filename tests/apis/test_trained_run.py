import numpy as np
import pytest
import torch
from command import run_tool
from tiny_sample import write_tiny_sample

from bharnet_mm.apis.trained_run import TrainedRun, checkpoint_of
from bharnet_mm.errors import ConfigError
from bharnet_mm.evaluation import load_scores


def test_folder_without_training_is_refused(tmp_path):
    with pytest.raises(ConfigError, match='last_checkpoint'):
        checkpoint_of(tmp_path)
    with pytest.raises(ConfigError, match='0 configs'):
        TrainedRun(tmp_path)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('run')
    config = write_tiny_sample(folder, epochs=1)
    run_tool('train.py', config, '--work-dir', folder / 'w', '--no-validate')
    checkpoint = folder / 'w/epoch_1.pth'
    run_tool('test.py', config, checkpoint, '--dump', folder / 's.npz')
    (folder / 'w').rename(folder / 'moved')
    return folder


def test_scores_are_those_of_the_test_tool(folder):
    run = TrainedRun(folder / 'moved')
    seen = []
    found, expected = run.scores(seen.append), load_scores(folder / 's.npz')
    assert found.clip_id.tolist() == expected.clip_id.tolist()
    assert found.classes == expected.classes and set(found.logits) == set(expected.logits)
    for name, value in expected.logits.items():
        np.testing.assert_allclose(found.logits[name], value, atol=1e-4)
    assert run.top1()['sum'] == pytest.approx(expected.top1('pred'), abs=1e-6)
    assert sum(len(data['data_samples']) for data in seen) == len(found)


def test_damage_comes_first_and_leaves_no_trace(folder):
    run = TrainedRun(folder / 'moved')
    clean = run.top1()

    def hide(results):
        assert 'body_visible' in results
        return results | {'hand_visible': np.zeros_like(results['hand_visible'])}

    for data in run.batches(hide):
        assert not data['inputs']['hand_mask'].any()
        scores = run.by_fusion(data)
        torch.testing.assert_close(scores['sum'].argmax(-1), scores['noisy_or'].argmax(-1))
    assert run.top1() == clean and run.model.cls_head.fusion == 'sum'
