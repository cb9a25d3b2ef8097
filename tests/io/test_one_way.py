"""Files are read and written through ``bharnet_mm.io``, or through MMEngine, which goes that way
too.
"""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2] / 'bharnet_mm'
#: What runs code, believes headers, or writes in place.
BANNED = {
    'torch.load', 'torch.save', 'pickle.load', 'pickle.loads', 'np.load', 'np.save',
    'np.savez', 'torch.export.save', 'torch.hub.load_state_dict_from_url',
    'urllib.request.urlretrieve',
}  # fmt: skip
IN_PLACE = {'write_text', 'write_bytes', 'savefig', 'VideoWriter', 'imwrite', 'tofile', 'copyfile'}
#: What starts processes, which have to end with the one that started them.
STARTS = {'ProcessPoolExecutor', 'Process', 'Pool', 'Popen'}  # worker_pool of io sees to it
#: Places with a reason of their own.
ADMITTED = {
    ('evaluation/foreign_scores.py', 'torch.load'),  # of bytes, with weights_only=True
    ('experiments/benchmark.py', 'write_text'),  # to the kernel, under /proc
    ('experiments/benchmark_data.py', 'write_bytes'),  # files of a benchmark's own
    ('experiments/benchmark_data.py', 'pickle.loads'),
    ('datasets/collate.py', 'pickle.loads'),  # what a loader's process has sent
    ('engine/config_file.py', 'write_text'),  # into a temporary folder
    ('apis/visualizer.py', 'savefig'),
    ('apis/html_page.py', 'savefig'),  # into memory
    ('datasets/synthetic/videos.py', 'VideoWriter'),  # of OpenCV, to a temporary name
    ('apis/tool_process.py', 'open to write'),  # a log that grows
}


def calls(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        last = name.rpartition('.')[2]
        if name in BANNED:
            found.add(name)
        elif last in STARTS or (last in IN_PLACE and last != name):
            found.add(last)
        modes = node.args[1 if name == 'open' else 0 :][:1] if last == 'open' else []
        modes += [word.value for word in node.keywords if last == 'open' and word.arg == 'mode']
        if any(isinstance(mode, ast.Constant) and set('wax+') & set(mode.value) for mode in modes):
            found.add('open to write')
    return found


def test_no_other_way():
    found = set()
    for path in sorted(ROOT.rglob('*.py')):
        place = str(path.relative_to(ROOT))
        if not place.startswith('io/'):
            found |= {(place, name) for name in calls(path) - STARTS}
    assert found <= ADMITTED, sorted(found - ADMITTED)


def test_it_is_noticed(tmp_path):
    (tmp_path / 'a.py').write_text(
        "torch.load(x)\nPath('a').write_text('b')\nopen(x)\nopen(x, 'rb')\nPath('a').open('wb')\n"
        'figure.savefig(x)\nPool(3)\n'
    )
    assert calls(tmp_path / 'a.py') == {
        'torch.load', 'write_text', 'open to write', 'savefig', 'Pool',
    }  # fmt: skip


def test_processes_end_with_the_one_that_started_them():
    places = [path for path in sorted(ROOT.rglob('*.py')) if calls(path) & STARTS]
    assert len(places) >= 5
    for path in places:
        assert 'die_with' in path.read_text(encoding='utf-8'), path
