"""An exported program of torch runs nothing but tensor operators, or is refused."""

import io
import json
import os
import pickle
import zipfile

import numpy as np
import pytest
import torch
from torch import nn

from bharnet_mm.errors import ConfigError
from bharnet_mm.io.program import load_program


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 2)
        self.register_buffer('scale', torch.tensor([2.0, 3.0]))

    def forward(self, inputs):
        x = inputs['x']
        y = torch.einsum('ntc,nt->nc', x, x.mean(-1)) / max(x.size(1) // 2, 1)
        return {'y': self.fc(y) * self.scale + x.new_ones(2)}


class Shell:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f'touch {self.path}',)


@pytest.fixture(scope='module')
def exported(tmp_path_factory):
    path = tmp_path_factory.mktemp('pt2') / 'm.pt2'
    net = Net().eval()
    x = torch.randn(2, 6, 3)
    sizes = {'inputs': {'x': {0: torch.export.Dim.AUTO, 1: torch.export.Dim.AUTO}}}
    program = torch.export.export(net, ({'x': x},), dynamic_shapes=sizes)
    torch.export.save(program, path, extra_files={'card': 'text'})
    return path, net


def test_it_answers_as_the_module(exported):
    path, net = exported
    module, texts = load_program(path)
    assert texts['card'] == 'text'
    for shape in ((2, 6, 3), (5, 9, 3)):
        x = torch.randn(shape)
        with torch.no_grad():
            np.testing.assert_allclose(module({'x': x})['y'], net({'x': x})['y'], rtol=1e-5)


def rewritten(source, target, change):
    """A copy in which ``change`` has had the parts, by their names within the archive."""
    with zipfile.ZipFile(source) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    root = next(iter(parts)).split('/')[0]
    parts = {name.partition('/')[2]: content for name, content in parts.items()}
    change(parts)
    with zipfile.ZipFile(target, 'w') as archive:
        for name, content in parts.items():
            archive.writestr(f'{root}/{name}', content)
    return target


def in_program(change):
    def apply(parts):
        program = json.loads(parts['models/model.json'])
        change(program)
        parts['models/model.json'] = json.dumps(program).encode()

    return apply


def in_payload(kind, name, **changes):
    def apply(parts):
        file = f'data/{kind}/model_{kind}_config.json'
        config = json.loads(parts[file])
        entry = dict(path_name=name, is_param=False, use_pickle=True, tensor_meta=None)
        config['config']['more'] = entry | changes
        parts[file] = json.dumps(config).encode()
        parts[f'data/{kind}/{name}'] = b'evil'

    return apply


def every(value, key, new):
    """Replaces what stands under a key, wherever in nested lists and dicts."""
    if isinstance(value, dict):
        for k, item in value.items():
            if k == key:
                value[k] = new
            else:
                every(item, key, new)
    elif isinstance(value, list):
        for item in value:
            every(item, key, new)


def nodes(program):
    return program['graph_module']['graph']['nodes']


CODE = "__import__('os').system('touch made')"
HOSTILE = {
    'operator of python': in_program(lambda p: nodes(p)[0].update(target='torch.os.system')),
    'operator of files': in_program(
        lambda p: nodes(p)[0].update(target='torch.ops.aten.from_file.default')
    ),
    'attribute': in_program(lambda p: nodes(p)[0].update(target='_operator.attrgetter')),
    'higher order': in_program(lambda p: nodes(p)[0].update(target='torch.ops.higher_order.cond')),
    'size': in_program(lambda p: every(p, 'expr_str', CODE)),
    'size by attribute': in_program(lambda p: every(p, 'expr_str', "Integer(1).__class__('s1')")),
    'range': in_program(lambda p: p['range_constraints'].update({CODE: {'min_val': 0}})),
    'name': in_program(lambda p: every(p, 'name', f'x = {CODE}')),
    'container': in_program(
        lambda p: every(
            p,
            'in_spec',
            json.dumps(
                [1, {'type': 'collections.defaultdict', 'context': '{}', 'children_spec': []}]
            ),
        )
    ),
    'pickled weight': in_payload('weights', 'weight_99'),
    'pickled constant': in_payload('constants', 'tensor_99'),
    'script object': in_payload('constants', 'custom_obj_0', use_pickle=False),
    'opaque object': in_payload('constants', 'opaque_obj_0', use_pickle=False),
    'old weights': lambda parts: parts.update({'data/weights/model.pt': b'evil'}),
    'old constants': lambda parts: parts.update({'data/constants/model.pt': b'evil'}),
    'compiled library': lambda parts: parts.update({'data/aotinductor/m/a.so': b'evil'}),
    'no program': lambda parts: parts.pop('models/model.json'),
    'no weights': lambda parts: parts.pop('data/weights/weight_0'),
}


@pytest.mark.parametrize('name', HOSTILE)
def test_content_that_could_run_is_refused(name, exported, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = rewritten(exported[0], tmp_path / 'm.pt2', HOSTILE[name])
    with pytest.raises(ConfigError, match='m.pt2: found'):
        load_program(path)
    assert sorted(os.listdir(tmp_path)) == ['m.pt2']


def test_what_is_not_needed_is_left_out(exported, tmp_path, monkeypatch):
    """Example inputs are unpickled and guards evaluated by torch; the program needs neither."""
    monkeypatch.chdir(tmp_path)

    def change(parts):
        parts['data/sample_inputs/model.pt'] = pickle.dumps(Shell(tmp_path / 'made'))
        in_program(lambda p: p.update(guards_code=[CODE]))(parts)
        in_program(lambda p: every(nodes(p), 'stack_trace', f'\n{CODE}'))(parts)

    module, _ = load_program(rewritten(exported[0], tmp_path / 'm.pt2', change))
    assert module({'x': torch.randn(2, 6, 3)})['y'].shape == (2, 2)
    assert sorted(os.listdir(tmp_path)) == ['m.pt2']


def test_other_files(exported, tmp_path):
    whole = exported[0].read_bytes()
    packed = io.BytesIO()
    with zipfile.ZipFile(exported[0]) as old, zipfile.ZipFile(packed, 'w', 8) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    for content in (b'', b'text', whole[: len(whole) // 2], packed.getvalue()):
        (tmp_path / 'm.pt2').write_bytes(content)
        with pytest.raises(ConfigError, match='m.pt2: found'):
            load_program(tmp_path / 'm.pt2')
    with pytest.raises(ConfigError, match='no such file'):
        load_program(tmp_path / 'n.pt2')
