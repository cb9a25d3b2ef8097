"""Each promise of docs/reliability.md names a test that exists."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / 'docs/reliability.md'


def named() -> list[tuple[str, str]]:
    """File and function of all tests in the page; ``::test`` is of the file named before."""
    found, file = [], ''
    for path, name in re.findall(r'`(tests/[\w/]+\.py)?::(\w+)`', PAGE.read_text()):
        file = path or file
        found.append((file, name))
    return found


def test_every_promise_has_a_test():
    assert len(named()) > 30
    for file, name in named():
        tree = ast.parse((ROOT / file).read_text())
        functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        assert name in functions, f'{file}::{name}'
    rows = re.findall(r'^\| [A-Z.`].*$', PAGE.read_text(), flags=re.MULTILINE)
    assert all('::test_' in row for row in rows), 'a promise without a test'
