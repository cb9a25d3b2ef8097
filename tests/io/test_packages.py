import ast
import sys
from types import ModuleType

import pytest
from command import ROOT

from bharnet_mm.errors import ConfigError
from bharnet_mm.io.packages import EXTRAS, check_installed, import_package


def test_what_is_there_is_imported():
    check_installed('here', 'json', 'numpy')
    assert import_package('here', 'os.path') is sys.modules['os.path']


def test_all_missing_packages_are_named_with_one_command():
    with pytest.raises(ConfigError) as caught:
        check_installed('m.onnx', 'json', 'no_such_one', 'no_such_two')
    assert str(caught.value) == (
        'm.onnx: found no package no-such-one, no package no-such-two; expected the packages '
        'no-such-one, no-such-two. Fix: pip install no-such-one no-such-two'
    )


@pytest.mark.parametrize('name', ['mediapipe', 'onnxruntime', 'pose_format', 'timm', 'gradio'])
def test_the_extra_is_named(monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    for ask in (check_installed, import_package):
        with pytest.raises(ConfigError) as caught:
            ask('here', name)
        assert caught.value.fix == f"pip install 'bharnet_mm[{EXTRAS[name]}]'"
        assert f'no package {name.replace("_", "-")}' in caught.value.found


def test_a_package_that_breaks_is_told_in_one_line(tmp_path, monkeypatch):
    (tmp_path / 'broken_one.py').write_text('raise ImportError("libGL.so.1:\\n no such file")')
    monkeypatch.syspath_prepend(str(tmp_path))
    check_installed('here', 'broken_one')
    with pytest.raises(ConfigError, match='cannot be imported .libGL.so.1: no such file.'):
        import_package('here', 'broken_one')


def test_a_stand_in_counts_as_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, 'a_stand_in', ModuleType('a_stand_in'))
    check_installed('here', 'a_stand_in')


def test_extras_are_those_of_setup():
    for name, extra in EXTRAS.items():
        wanted = (ROOT / f'requirements/{extra}.txt').read_text()
        assert name.replace('_', '-') in wanted, name


def test_nothing_else_of_the_package_words_such_an_error():
    """An error of ours where an import fails is raised here alone."""
    for path in sorted((ROOT / 'bharnet_mm').rglob('*.py')):
        if path.name == 'packages.py':
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            if isinstance(node, ast.ExceptHandler) and ast.unparse(node.type or node) in (
                'ImportError',
                'ModuleNotFoundError',
            ):
                raised = [ast.unparse(n) for n in ast.walk(node) if isinstance(n, ast.Raise)]
                assert not [text for text in raised if 'Error(' in text], (path.name, raised)
