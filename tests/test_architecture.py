"""Which part of the package may import which, checked on the code's own imports."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / 'bharnet_mm'

#: From the ground up. A part may import the parts of earlier rows, and those beside it in its row
#: only where ``BESIDE`` says so; those of the first row may import each other. The entry points
#: above all (cli, tools) may import anything.
ROWS = (
    ('errors', 'version', 'compat', 'log', 'lazy', 'registration', 'io', 'safety'),
    ('ops',),
    ('layout_definitions', 'layouts', 'features', 'fusion'),
    ('anatomy',),
    ('datasets',),
    ('models',),
    ('engine', 'evaluation'),
    ('apis', 'runtime'),
    ('experiments',),
    ('cli', '__main__'),
)
BESIDE = {
    ('apis', 'runtime'),
    ('runtime', 'apis'),
    ('layouts', 'layout_definitions'),
    ('cli', '__main__'),
    ('__main__', 'cli'),
}
#: Pairs of parts that the order of the rows alone would allow: who may not import whom.
FORBIDDEN = (
    ('ops', 'version'),
    ('models', 'datasets'),
    ('datasets.transforms', 'datasets.extraction'),
    ('datasets.store', 'datasets.extraction'),
)
LEVEL = {name: i for i, row in enumerate(ROWS) for name in row}


def modules() -> dict[str, Path]:
    """Dotted name within the package → file, for all modules but the package itself."""
    found = {}
    for path in sorted(PACKAGE.rglob('*.py')):
        parts = path.relative_to(PACKAGE).with_suffix('').parts
        parts = parts[:-1] if parts[-1] == '__init__' else parts
        if parts:
            found['.'.join(parts)] = path
    return found


def imports(name: str, path: Path) -> set[str]:
    """Our own modules that a module imports, at its head or within a function."""
    package = name.split('.') if path.name == '__init__.py' else name.split('.')[:-1]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.startswith('bharnet_mm.')}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ''
            if node.level:
                above = package[: len(package) - node.level + 1]
                base = '.'.join(['bharnet_mm', *above, *([base] if base else [])])
            if base.split('.')[0] == 'bharnet_mm':
                found |= {f'{base}.{alias.name}' for alias in node.names}
    return {target.removeprefix('bharnet_mm.') for target in found}


def wrong_arrows(name: str, targets: set[str]) -> list[str]:
    """The imports of a module that the rows do not allow."""
    own, wrong = name.split('.')[0], []
    for target in sorted(targets):
        part = target.split('.')[0]
        if part not in LEVEL:  # a name of the package itself
            continue
        upward = LEVEL[part] > LEVEL[own]
        across = LEVEL[part] == LEVEL[own] > 0 and part != own and (own, part) not in BESIDE
        banned = any(
            f'{name}.'.startswith(f'{a}.') and f'{target}.'.startswith(f'{b}.')
            for a, b in FORBIDDEN
        )
        if upward or across or banned:
            wrong.append(f'{name} imports {target}')
    return wrong


MODULES = modules()


def test_every_part_has_a_place():
    assert {name.split('.')[0] for name in MODULES} <= set(LEVEL)


@pytest.mark.parametrize('name', MODULES)
def test_imports_point_down(name):
    assert not wrong_arrows(name, imports(name, MODULES[name]))


def test_a_wrong_arrow_is_noticed():
    assert wrong_arrows('datasets.clip', {'models.head.BHaRNetHead'})
    assert wrong_arrows('models.rgb', {'datasets.regions'})
    assert wrong_arrows('engine.command_line', {'evaluation.scores'})
    assert wrong_arrows('datasets.transforms.base', {'datasets.extraction.plan'})
    assert not wrong_arrows('models.rgb', {'layouts.get_layout', 'errors.ConfigError'})


def test_relative_imports_are_resolved(tmp_path):
    file = tmp_path / 'reader.py'
    file.write_text(
        'from ...errors import StoreError\nfrom .. import clip\nfrom .format import x\n'
    )
    assert imports('datasets.store.reader', file) == {
        'errors.StoreError',
        'datasets.clip',
        'datasets.store.format.x',
    }


def test_scripts_are_only_entry_points():
    """A script that tests or other scripts would have to import has its code in the package."""
    for path in sorted((ROOT / 'tools/analysis').glob('*.py')):
        assert len(path.read_text(encoding='utf-8').splitlines()) < 20, path.name
    for path in sorted((ROOT / 'tests').rglob('*.py')):
        text = path.read_text(encoding='utf-8')
        assert f"'{'tools'}' / '{'analysis'}'" not in text, path


def test_every_forward_states_its_shapes():
    """What goes in and out of a network's ``forward`` stands in its docstring."""
    for name, path in MODULES.items():
        if name.split('.')[0] not in ('models', 'ops'):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            if isinstance(node, ast.FunctionDef) and node.name == 'forward':
                said = ast.get_docstring(node) or ''
                assert re.search(r'\((?:N|P|D)\b', said), f'{name}, line {node.lineno}'
