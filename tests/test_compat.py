"""Each work-around does what it says; those about other installations run in a new process."""

import builtins
import importlib
import sys
import zipfile
from importlib.machinery import PathFinder

import numpy as np
import pytest
import torch
from command import run
from mmaction.registry import MODELS, TRANSFORMS
from mmengine.config import Config
from mmengine.dist import utils as dist_utils
from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.model import MMDistributedDataParallel
from mmengine.runner import runner as runner_module

from bharnet_mm import compat

STOCK_BASE = '_base_ = "mmaction::_base_/default_runtime.py"\n'


def patched():
    names = ('_init_dist_pytorch', '_init_dist_slurm', '_init_dist_mpi')
    return [
        *(getattr(dist_utils, name) for name in names),
        MMDistributedDataParallel.__init__,
        runner_module.collect_env,
        MODELS.get('GCNHead').loss_by_feat,
        TRANSFORMS.get('ColorJitter').adjust_hue,
        *sys.meta_path,
    ]


def test_applying_twice_changes_nothing():
    before = patched()
    compat.apply()
    assert all(a is b for a, b in zip(before, patched(), strict=True))


# ---- importing MMAction2
def test_missing_localizer_says_so_when_built():
    with pytest.raises(ImportError, match='git repository'):
        MODELS.build(dict(type='DRN'))


def test_a_real_copy_of_the_localizer_wins():
    ours = [i for i, finder in enumerate(sys.meta_path) if isinstance(finder, compat._DRNFinder)]
    assert len(ours) == 1 and ours[0] > sys.meta_path.index(PathFinder)
    assert compat._DRNFinder().find_spec('mmaction.models.localizers.bmn') is None


def write_distribution(folder, name, version, source):
    (folder / name).mkdir()
    (folder / name / '__init__.py').write_text(source)
    metadata = folder / f'{name}-{version}.dist-info'
    metadata.mkdir()
    (metadata / 'METADATA').write_text(f'Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n')


def test_with_transformers_and_a_broken_torchvision(tmp_path):
    write_distribution(tmp_path, 'transformers', '4.40.0', '')
    write_distribution(
        tmp_path, 'torchvision', '0.1', 'raise RuntimeError("operator does not exist")'
    )
    code = (
        'import bharnet_mm, mmaction.models\n'
        'from mmengine.runner.runner import collect_env\n'
        'from mmaction.registry import MODELS\n'
        'assert MODELS.get("STGCN") and MODELS.get("VindLURetrieval")\n'
        'print(collect_env())'
    )
    printed = run(sys.executable, '-W', 'ignore', '-c', code, PYTHONPATH=str(tmp_path))
    assert 'operator does not exist' in printed


# ---- setuptools 82
def test_without_pkg_resources(tmp_path):
    (tmp_path / 'config.py').write_text(STOCK_BASE)
    code = (
        'import sys; sys.modules["pkg_resources"] = None\n'
        'import bharnet_mm\n'
        'from mmengine.config import Config\n'
        'from mmengine.utils import get_installed_path, is_installed\n'
        'assert not is_installed("no_such_package") and is_installed("mmaction2")\n'
        'print(get_installed_path("mmaction2"), get_installed_path("bharnet_mm"))\n'
        f'print(Config.fromfile({str(tmp_path / "config.py")!r}).default_scope)'
    )
    printed = run(sys.executable, '-W', 'ignore', '-c', code).split()
    assert printed[0].endswith('mmaction')
    assert printed[1].endswith('bharnet_mm')
    assert printed[2] == 'mmaction'


def test_stock_base_config(tmp_path):
    (tmp_path / 'config.py').write_text(STOCK_BASE)
    assert Config.fromfile(tmp_path / 'config.py').default_scope == 'mmaction'


# ---- checkpoints
@pytest.fixture
def checkpoint(tmp_path):
    hub = MessageHub('test_compat')
    for value in (0.5, 0.25, 1.5):
        hub.update_scalar('train/loss', value)
    hub.update_info('best', np.float64(0.75))
    hub.update_info('single', np.float32(0.5))
    hub.update_info('count', np.int64(3))
    path = tmp_path / 'epoch_1.pth'
    torch.save(dict(message_hub=hub.state_dict(), state_dict=dict(a=torch.ones(2))), path)
    return path


def check_history(path):
    found = torch.load(path, weights_only=True)['message_hub']
    history = found['log_scalars']['train/loss']
    assert isinstance(history, HistoryBuffer)
    np.testing.assert_array_equal(history.data[0], [0.5, 0.25, 1.5])
    assert history.statistics('max') == 1.5
    info = found['runtime_info']
    assert (info['best'], info['single'], info['count']) == (0.75, 0.5, 3)


def test_log_history_loads_with_weights_only(checkpoint):
    check_history(checkpoint)


@pytest.mark.parametrize('core', ['core', '_core'])
def test_checkpoint_of_either_numpy(checkpoint, core, tmp_path):
    other = tmp_path / 'other.pth'
    with zipfile.ZipFile(checkpoint) as old, zipfile.ZipFile(other, 'w') as new:
        for name in old.namelist():
            data = old.read(name)
            for written in (b'numpy._core.', b'numpy.core.'):
                data = data.replace(written, f'numpy.{core}.'.encode())
            new.writestr(name, data)
    check_history(other)


class Asks:
    """Pickles as a call of ``function``."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    'call',
    [
        Asks(getattr, HistoryBuffer, '__init__'),
        Asks(getattr, np.ndarray, 'tofile'),
        Asks(getattr, HistoryBuffer, '_set_default_statistics'),
        Asks(builtins.eval, '1 + 1'),
        Asks(np.load, 'file'),
    ],
)
def test_nothing_else_is_allowed(call, tmp_path):
    torch.save(dict(x=call), tmp_path / 'bad.pth')
    with pytest.raises(Exception, match='not allowed|Unsupported global|GLOBAL'):
        torch.load(tmp_path / 'bad.pth', weights_only=True)


# ---- NumPy 2
def test_upstream_modules_find_the_names_they_use():
    for module, name in compat._OLD_NUMPY_NAMES.items():
        assert hasattr(importlib.import_module(module).np, name), module


def test_pose_compact():
    keypoint = np.random.default_rng(0).uniform(20, 60, (1, 4, 17, 2)).astype(np.float32)
    results = dict(img_shape=(100, 100), keypoint=keypoint.copy())
    found = TRANSFORMS.build(dict(type='PoseCompact', hw_ratio=None, padding=0.0))(results)
    low = np.floor(keypoint.min((0, 1, 2)))
    np.testing.assert_allclose(found['keypoint'], keypoint - low, atol=1)


@pytest.mark.parametrize('factor', [-0.5, -0.1, 0.0, 0.1, 0.5])
def test_hue_turns_by_the_factor(factor):
    import cv2

    hue = np.arange(0, 180, 4, dtype=np.uint8)
    hsv = np.stack([hue, np.full_like(hue, 255), np.full_like(hue, 255)], -1)[None]
    image = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB).astype(np.float32)
    turned = TRANSFORMS.get('ColorJitter').adjust_hue(image, factor)
    assert turned.dtype == np.float32
    found = cv2.cvtColor(turned.astype(np.uint8), cv2.COLOR_RGB2HSV)[..., 0].astype(int)
    # numpy 1 wraps sums above 255 in the unpatched code, so only sums below are compared there
    wanted = hue.astype(int) + int(factor * 255)
    same = (wanted < 256) | (np.lib.NumpyVersion(np.__version__) >= '2.0.0')
    error = (found[0] - wanted + 90) % 180 - 90
    assert np.abs(error)[same].max() <= 1


# ---- mixed precision
def test_stock_head_takes_bfloat16_scores():
    from mmaction.structures import ActionDataSample

    head = MODELS.build(dict(type='GCNHead', num_classes=3, in_channels=4))
    scores = torch.tensor([[2.0, 0.0, 0.0], [0.0, 0.0, 4.0]])
    samples = [ActionDataSample().set_gt_label(i) for i in (0, 2)]
    found = head.loss_by_feat(scores.bfloat16(), samples)
    wanted = head.loss_by_feat(scores, samples)
    assert found['top1_acc'] == 1
    torch.testing.assert_close(found['loss_cls'], wanted['loss_cls'])
