"""The package is light to import, and its parts are found whichever module is imported first."""

import sys

import pytest
from command import run

import bharnet_mm
from bharnet_mm.lazy import after_import

LIGHT = """
import sys
import bharnet_mm, bharnet_mm.datasets.store, bharnet_mm.evaluation.fusion, bharnet_mm.apis.doctor
heavy = {'torch', 'mmengine', 'mmcv', 'mmaction', 'matplotlib', 'scipy'} & set(sys.modules)
assert not heavy, heavy
"""
BY_CONFIG = """
from mmengine.config import Config
cfg = Config(dict(custom_imports=dict(imports=['bharnet_mm'])))
from mmengine.utils import import_modules_from_strings
import_modules_from_strings(**cfg.custom_imports)
from mmengine.registry import HOOKS, MODELS, TRANSFORMS, init_default_scope
init_default_scope('mmaction')
assert MODELS.build(dict(type='ExpertBranch', in_channels=2, num_classes=3))
assert HOOKS.build(dict(type='EpochSeedHook')) and TRANSFORMS.build(dict(type='SelectPersons'))
"""
LATE = """
from mmaction.registry import MODELS, TRANSFORMS
assert TRANSFORMS.get('UniformSampleFrames') and TRANSFORMS.get('SelectPersons') is None
import bharnet_mm
assert 'SelectPersons' in TRANSFORMS.module_dict and MODELS.get('BHaRNet')
"""


def test_import_is_light():
    run(sys.executable, '-c', LIGHT)


@pytest.mark.parametrize(
    'code', [BY_CONFIG, pytest.param(LATE, marks=pytest.mark.long)], ids=['by a config', 'late']
)
def test_parts_are_found(code):
    run(sys.executable, '-W', 'ignore', '-c', code)


def test_lazy_attributes():
    assert set(bharnet_mm.__all__) <= set(dir(bharnet_mm))
    assert bharnet_mm.datasets.ClipStore is sys.modules['bharnet_mm.datasets.store'].ClipStore
    with pytest.raises(AttributeError, match='no_such_name'):
        bharnet_mm.no_such_name  # noqa: B018


def test_after_import(tmp_path, monkeypatch):
    (tmp_path / 'module_of_this_test.py').write_text('value = 1\n')
    monkeypatch.syspath_prepend(tmp_path)
    seen = []
    after_import('module_of_this_test', lambda: seen.append('due'))
    assert not seen
    import module_of_this_test

    assert seen == ['due'] and module_of_this_test.value == 1
    after_import('module_of_this_test', lambda: seen.append('at once'))
    assert seen == ['due', 'at once']
