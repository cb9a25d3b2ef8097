"""Loads exported programs of torch (``.pt2``) so that only tensor operators can run.

``torch.export.load`` unpickles example inputs and constants without restriction, evaluates the text
of sizes and guards as Python, resolves an operator's name beginning at the module ``torch``
(``torch.os.system``) and loads compiled libraries. So a file is checked before, and the parts that
the program does not need are removed.
"""

from __future__ import annotations

import ast
import io
import json
import os
import re
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

from ..errors import ConfigError
from .archive import check_stored
from .guard import reading
from .text import parse_json

_EXPECTED = 'a .pt2 file of `bharnet export`'
_FIX = 'export the model again, or take the file from somebody you trust'
_OPERATOR = re.compile(
    r'torch\.ops\.aten\.\w+\.\w+|torch\.sym_\w+|math\.\w+'
    r'|_operator\.(add|sub|mul|neg|floordiv|truediv|mod|pow|eq|ne|lt|le|gt|ge|and_|or_|not_)'
)
_NOT_TENSORS = re.compile(r'torch\.ops\.aten\.(from_file|_?save|load|.*script)', re.ASCII)
_NAME = re.compile(r'[\w.+]{0,500}', re.ASCII)
_EQUATION = re.compile(r'[\w,.> -]{0,100}', re.ASCII)  # einsum's, or the name of a mode
_CONTAINERS = {'builtins.dict', 'builtins.list', 'builtins.tuple'}
_PARTS = re.compile(r'data/(weights|constants)/[\w.]+|models/model\.json|extra/[\w.]+')
_MARKS = (
    'archive_format',
    'archive_version',
    'byteorder',
    '.data/version',
    '.data/serialization_id',
)
_SIZE_FUNCTIONS = {
    'Add', 'Mul', 'Pow', 'Max', 'Min', 'Mod', 'PythonMod', 'FloorDiv', 'CeilDiv', 'CleanDiv',
    'Integer', 'IntTrueDiv', 'Symbol', 'ModularIndexing', 'Float', 'Rational', 'Eq', 'Ne',
    'Lt', 'Le', 'Gt', 'Ge', 'TruncToInt', 'ToFloat', 'FloorToInt', 'CeilToInt', 'Equality',
    'Unequality', 'StrictLessThan', 'LessThan', 'StrictGreaterThan', 'GreaterThan', 'And', 'Or',
    'Not', 'Piecewise', 'Where',
}  # fmt: skip


def load_program(path: str | os.PathLike) -> tuple[Callable[..., Any], dict[str, str]]:
    """An exported program as a module, and the texts stored with it.

    Raises:
        ConfigError: The file does not exist, is damaged, or has content that could run code.
    """
    import torch

    with reading(path, _EXPECTED, _FIX, ConfigError):
        data, texts = _checked(path)
        program = torch.export.load(io.BytesIO(data))
        return program.module(check_guards=False), texts


def _checked(path: str | os.PathLike) -> tuple[bytes, dict[str, str]]:
    """The archive without parts that the program does not need, and the texts stored in it."""
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        check_stored(entries, os.path.getsize(path))
        parts = {}
        for entry in entries:
            root, _, name = entry.filename.partition('/')
            if name == 'data/sample_inputs/model.pt':
                parts[entry.filename] = b''  # pickled, and not needed by the program
                continue
            if not (name in _MARKS or _PARTS.fullmatch(name)) or entry.filename in parts:
                raise ValueError(f'the part {name[:60]!r}')
            parts[entry.filename] = archive.read(entry)
    for name, content in parts.items():
        if name.endswith('_config.json'):
            _check_payload(parse_json(content))
        elif name.endswith('models/model.json'):
            parts[name] = _checked_program(parse_json(content))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, 'w') as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    texts = {
        name.rpartition('/extra/')[2]: content.decode()
        for name, content in parts.items()
        if '/extra/' in name
    }
    return packed.getvalue(), texts


def _check_payload(config: Any) -> None:
    """Checks that there are only tensors, none of them pickled."""
    for entry in config['config'].values():
        if entry['use_pickle'] or not re.fullmatch(r'(weight|tensor)_\d+', entry['path_name']):
            raise ValueError(f'pickled content {entry["path_name"][:60]!r}')


def _checked_program(program: dict) -> bytes:
    """The program without guards and notes, after a check that all its texts are harmless."""
    program['guards_code'] = []
    graphs = [program['graph_module']['graph']]
    while graphs:
        graph = graphs.pop()
        for node in graph['nodes']:
            node['metadata'] = {}
            target = node['target']
            if not _OPERATOR.fullmatch(target) or _NOT_TENSORS.match(target):
                raise ValueError(f'the operator {target[:60]!r}')
    for key, text in _texts(program):
        if key == 'expr_str':
            _check_size(ast.parse(text, mode='eval').body)
        elif key in ('in_spec', 'out_spec'):
            kinds = {kind for k, kind in _texts(parse_json(text)) if k == 'type'}
            if not kinds <= _CONTAINERS:
                raise ValueError(f'inputs or outputs of {sorted(kinds)}')
        elif key == 'as_float' and text in ('Infinity', '-Infinity', 'NaN'):
            continue  # how torch.export writes these numbers
        elif not (_EQUATION if key == 'as_string' else _NAME).fullmatch(text):
            raise ValueError(f'the text {text[:60]!r} as {key}')
    if any(not re.fullmatch(r'[su]\d+', name) for name in program['range_constraints']):
        raise ValueError('ranges of what is no size')
    return json.dumps(program).encode()


def _texts(value: Any, key: str = '') -> Iterator[tuple[str, str]]:
    """All texts in plain data except keys, each with its key."""
    stack = [(key, value)]
    while stack:
        key, value = stack.pop()
        if isinstance(value, dict):
            stack += value.items()
        elif isinstance(value, list):
            stack += [(key, item) for item in value]
        elif isinstance(value, str):
            yield key, value


def _check_size(node: ast.AST) -> None:
    """Checks a size: calls of known functions on numbers, truth values and names of sizes."""
    if isinstance(node, ast.Call):
        good = isinstance(node.func, ast.Name) and node.func.id in _SIZE_FUNCTIONS
        parts = [*node.args, *(word.value for word in node.keywords)]
    elif isinstance(node, (ast.UnaryOp, ast.BinOp, ast.Tuple)):
        good = not isinstance(getattr(node, 'op', None), ast.Pow)
        parts = [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr)]
    elif isinstance(node, ast.Name):
        good, parts = bool(re.fullmatch(r'[su]\d+', node.id)), []
    elif isinstance(node, ast.Constant):
        text = isinstance(node.value, str)
        good, parts = not text or bool(re.fullmatch(r'[su]\d+', node.value)), []
    else:
        good, parts = False, []
    if not good:
        raise ValueError(f'the size {ast.unparse(node)[:60]!r}')
    for part in parts:
        _check_size(part)
