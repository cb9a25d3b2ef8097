"""Files are read and written through ``bharnet_mm.io``, or through MMEngine, which goes that way
too.
"""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2] / 'bharnet_mm'
#: What runs code, believes headers, or writes in place.
BANNED = {
    'torch.load', 'torch.save', 'pickle.load', 'pickle.loads', 'np.load', 'np.save',
    'np.savez', 'torch.hub.load_state_dict_from_url', 'urllib.request.urlretrieve',
}  # fmt: skip
IN_PLACE = {'write_text', 'write_bytes'}
#: Places with a reason of their own.
ADMITTED = {
    ('apis/fit_fusion.py', 'torch.save'),  # into the stream of atomic_write
    ('evaluation/foreign_scores.py', 'torch.load'),  # of bytes, with weights_only=True
    ('experiments/benchmark.py', 'write_text'),  # to the kernel, under /proc
    ('experiments/benchmark_data.py', 'write_bytes'),  # files of a benchmark's own
    ('experiments/benchmark_data.py', 'pickle.loads'),
    ('engine/config_file.py', 'write_text'),  # into a temporary folder
}


def calls(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            name = ast.unparse(node.func)
            if name in BANNED:
                found.add(name)
            elif node.func.attr in IN_PLACE:
                found.add(node.func.attr)
    return found


def test_no_other_way():
    found = set()
    for path in sorted(ROOT.rglob('*.py')):
        place = str(path.relative_to(ROOT))
        if not place.startswith('io/'):
            found |= {(place, name) for name in calls(path)}
    assert found <= ADMITTED, sorted(found - ADMITTED)


def test_it_is_noticed(tmp_path):
    (tmp_path / 'a.py').write_text("torch.load(x)\nPath('a').write_text('b')\n")
    assert calls(tmp_path / 'a.py') == {'torch.load', 'write_text'}
