"""The words that the glossary of docs/design.md replaces do not come back."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CODE = sorted(p for name in ('bharnet_mm', 'tools', 'configs') for p in (ROOT / name).rglob('*.py'))
PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md'))]

#: Words of the glossary's column "not" that have no other use here. The rest of the column, such as
#: "sample" or "keypoint", occurs in MMAction2's names.
FORBIDDEN = {'roi', 'rois', 'patch', 'patches'}


def names(source: str) -> set[str]:
    """Every name that the code defines: functions, classes, arguments, variables, attributes."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.arg):
            found.add(node.arg)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            found.add(node.attr)
        elif isinstance(node, ast.keyword) and node.arg:
            found.add(node.arg)
    return found


def words(name: str) -> set[str]:
    """``SkeletonROI`` and ``skeleton_roi`` are both of the words skeleton and roi."""
    return {word.lower() for word in re.findall('[A-Z]+(?![a-z])|[A-Z]?[a-z]+', name)}


def test_words_of_a_name():
    assert words('SkeletonROI') == words('_skeleton_roi') == {'skeleton', 'roi'}
    assert words('num_persons2') == {'num', 'persons'} and words('RGBGrid') == {'rgb', 'grid'}


@pytest.mark.parametrize('path', CODE, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_names_in_code(path):
    found = {name for name in names(path.read_text('utf-8')) if words(name) & FORBIDDEN}
    found |= names(path.read_text('utf-8')) & {'seen', '_seen'}  # visible, mask or present
    assert not found and not words(path.stem) & FORBIDDEN


@pytest.mark.parametrize('path', PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_words_in_pages(path):
    text = path.read_text('utf-8')
    if path.name == 'design.md':  # the glossary names them
        before, glossary = text.split('## Glossary', 1)
        text = before + glossary.split('\n## ', 1)[1]
    found = re.findall(r'\b(?:ROIs?|rois?)\b|\w*ROI\b|\w+_rois?\b', text)
    assert not found
