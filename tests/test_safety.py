"""What MMEngine reads for MMAction2 and for configs runs no code."""

import os
import pickle

import mmengine
import numpy as np
import pytest
from hostile import Shell
from mmengine.config import Config

import bharnet_mm  # noqa: F401
from bharnet_mm.errors import SourceError


def test_a_pickle_that_mmengine_loads(tmp_path):
    plain = dict(split=dict(train=['a']), annotations=[dict(keypoint=np.ones((1, 2), np.float16))])
    mmengine.dump(plain, tmp_path / 'a.pkl')
    found = mmengine.load(tmp_path / 'a.pkl')
    assert found['split'] == plain['split']
    keypoint = found['annotations'][0]['keypoint']
    assert type(keypoint) is np.ndarray and keypoint.dtype == np.float16
    made = tmp_path / 'made'
    (tmp_path / 'bad.pkl').write_bytes(pickle.dumps([Shell(made)]))
    with pytest.raises(SourceError, match='plain|numpy arrays'):
        mmengine.load(tmp_path / 'bad.pkl')
    (tmp_path / 'torn.pkl').write_bytes((tmp_path / 'a.pkl').read_bytes()[:40])
    with pytest.raises(SourceError):
        mmengine.load(tmp_path / 'torn.pkl')
    assert not made.exists()


def test_the_data_set_of_mmaction2_reads_annotations_safely(tmp_path):
    from mmaction.datasets import PoseDataset

    made, bad = tmp_path / 'made', tmp_path / 'bad.pkl'
    bad.write_bytes(pickle.dumps(dict(split={}, annotations=[Shell(made)])))
    with pytest.raises(SourceError):
        PoseDataset(ann_file=str(bad), pipeline=[])
    assert not made.exists()


def test_a_config_in_yaml(tmp_path):
    made, file = tmp_path / 'made', tmp_path / 'a.yaml'
    file.write_text(f"x: !!python/object/apply:os.system ['touch {made}']\n")
    with pytest.raises(Exception, match='could not determine a constructor'):
        Config.fromfile(str(file))
    assert not os.path.exists(made)
    Config(dict(x=(1, 2), y=[dict(z=None)])).dump(str(file))
    assert Config.fromfile(str(file)).x == (1, 2)
