"""The GPU check, in small and on a CPU."""

import contextlib
import json
import warnings
from functools import partial
from types import SimpleNamespace

import pytest
from command import run_tool

from bharnet_mm.experiments import gpu_check
from bharnet_mm.experiments.gpu_results import UNENDED, attempt, counted
from bharnet_mm.experiments.gpu_sections import Sizes, spread


def test_what_is_there_is_not_run_again(tmp_path, monkeypatch):
    (tmp_path / 'machine.json').write_text(json.dumps(dict(ok=True, device='cpu')))
    monkeypatch.setattr(gpu_check.multiprocessing, 'get_context', None)  # starts no process
    with pytest.raises(TypeError):
        gpu_check.run(['machine', 'parity'], Sizes('cpu'), tmp_path, 10)
    monkeypatch.setattr(gpu_check.multiprocessing, 'get_context', lambda kind: None)
    gpu_check.run(['machine'], Sizes('cpu'), tmp_path, 10)
    assert gpu_check.read(tmp_path)['machine']['device'] == 'cpu'


def test_the_report_says_what_failed_and_what_is_missing():
    row = dict(clips_per_s=3000.4, memory_gb=2.5)
    results = dict(
        machine=dict(ok=True, name='H100', seconds=1.0),
        train_real_bf16=dict(ok=True, failed=1, rows=dict(P=row, M=dict(error='no memory'))),
        latency=dict(ok=False, error='took too long'),
        epoch=dict(ok=True, loader_share=0.125, steps=9),
        profile=dict(
            ok=True,
            results={'BHaRNet-P': dict(launches=9, kernels=[dict(name='sum', launches=4, ms=1.5)])},
        ),
    )
    text = gpu_check.to_markdown(results)
    assert '| P | 3000 (2.5) |' in text and '| M | failed |' in text
    assert 'loader_share 0.125, steps 9' in text
    assert '| `sum` | 4 | 1.50 |' in text and '- BHaRNet-P: launches 9' in text
    for line in ('latency: took too long', 'train_real_bf16: 1 contenders', 'parity: not run'):
        assert line in text


def test_the_report_sets_the_goals_beside_what_was_measured():
    rows = {'BHaRNet-P': dict(clips_per_s=2000.0), 'STGCN++ unified': dict(clips_per_s=400.0)}
    steps = {'BHaRNet-P, graph': dict(clips_per_s=3100.0), 'BHaRNet-P, eager': dict(error='none')}
    clips = {'BHaRNet-P, bf16, graph': dict(ms=2.5, p99_ms=3.0)}
    text = gpu_check.to_markdown(
        dict(
            train_real_bf16=dict(ok=True, rows=rows),
            graphs=dict(ok=True, results=steps),
            infer_graphs=dict(ok=True, results={'BHaRNet-P': dict(clips_per_s=12500.0)}),
            epoch=dict(ok=True, end_to_end_clips_per_s=2600.0),
            latency=dict(ok=True, results=clips),
        )
    )
    best = (
        'P trains, CUDA graph with the optimizer: 3100 clips/s of 3000, 7.8 times STGCN++ unified'
    )
    assert f'{best} (eager 2000)' in text
    assert 'P infers, CUDA graph: 12500 clips/s of 12000' in text
    assert 'P trains end to end, CUDA graph: 2600 clips/s of 2550' in text
    assert 'one clip, BHaRNet-P, bf16, graph: 2.5 ms of 5, p99 3.0' in text


def test_a_contender_that_fails_leaves_the_others():
    results: dict = {}

    def fails(text):
        raise RuntimeError(text)

    attempt(results, 'first', lambda: fails('no kernel'))
    attempt(results, 'second', lambda: dict(ms=1.0))
    assert counted(results)['failed'] == 1 and results['second']['ms'] == 1.0
    for text in ('CUDA error: device-side assert', 'Triton Error [CUDA]: an illegal memory access'):
        with pytest.raises(RuntimeError):
            attempt(results, text, lambda text=text: fails(text))

    results = {}
    attempt(results, 'graph', lambda: fails('CUDA error: operation failed during capture'))
    assert 'capture' in results['graph']['error']  # after which the device is as before


@pytest.fixture
def here(monkeypatch):
    """Sections run in this process; gives the sections to put functions in."""

    class Process:
        exitcode = 0

        def __init__(self, target, args):
            self.target, self.args = target, args

        def start(self):
            self.target(*self.args)

        def is_alive(self):
            return False

    sections: dict = {}
    context = SimpleNamespace(Process=Process)
    monkeypatch.setattr(gpu_check.multiprocessing, 'get_context', lambda kind: context)
    monkeypatch.setattr(gpu_check, 'die_with', lambda: None)
    monkeypatch.setattr(gpu_check, 'SECTIONS', sections)
    return sections


def test_after_an_error_of_the_device_a_new_process_continues(here, tmp_path):
    calls = []

    def measure(name):
        calls.append(name)
        if name == 'E':
            warnings.warn('The Triton kernel x does not compile here', stacklevel=1)
        if name == 'M' and calls.count('M') == 1:
            raise RuntimeError('CUDA error: an illegal memory access was encountered')
        return dict(ms=1.0)

    def section(sizes):
        results = sizes.results()
        for name in ('P', 'M', 'E'):
            attempt(results, name, partial(measure, name))
        return counted(results)

    def fails(sizes):
        raise RuntimeError('CUDA error: unspecified launch failure')

    here |= dict(parity=(section, 9), machine=(fails, 9), graphs=(section, 9))
    gpu_check.run(['parity', 'machine'], Sizes('cpu', names=()), tmp_path, 60)
    assert calls == ['P', 'M', 'E']
    found = gpu_check.read(tmp_path)
    assert found['parity']['ok'] and found['parity']['failed'] == 1
    assert 'illegal' in found['parity']['results']['M']['error']
    assert not found['machine']['ok'] and 'launch failure' in found['machine']['error']
    gpu_check.run(['parity'], Sizes('cpu', names=()), tmp_path, 60)
    assert calls == ['P', 'M', 'E', 'M']  # what was measured is kept
    assert gpu_check.read(tmp_path)['parity']['failed'] == 0
    calls.clear()
    gpu_check.run(['graphs'], Sizes('cpu', names=()), tmp_path, 60)
    assert 'does not compile' in gpu_check.to_markdown(gpu_check.read(tmp_path))


def test_a_process_that_dies_loses_one_contender(here, tmp_path):
    class Died(BaseException):
        pass

    def section(sizes):
        results = sizes.results()
        attempt(results, 'P', lambda: dict(ms=1.0))
        if 'M' not in results:
            results['M'] = dict(error=UNENDED)
            raise Died
        attempt(results, 'E', lambda: dict(ms=2.0))
        return counted(results)

    here['parity'] = section, 9
    start = gpu_check.multiprocessing.get_context(None).Process.start

    def dies(self):
        with contextlib.suppress(Died):
            start(self)

    gpu_check.multiprocessing.get_context(None).Process.start = dies
    gpu_check.run(['parity'], Sizes('cpu', names=()), tmp_path, 60)
    results = gpu_check.read(tmp_path)['parity']['results']
    assert results['P'] == dict(ms=1.0) and results['E'] == dict(ms=2.0)
    assert results['M']['error'] == UNENDED


def test_spread_is_the_median():
    values = spread([0.1, 0.2, 0.4], 8)
    assert values['clips_per_s'] == 40 and values['ms'] == 200
    assert values['middle_half'][0] < 40 < values['middle_half'][1]


@pytest.mark.long
def test_runs_in_small_without_a_gpu(tmp_path):
    run_tool(
        'analysis/gpu_check.py', '--device', 'cpu', '--quick', '--limit', '900', '--out', tmp_path
    )
    results = json.loads((tmp_path / 'gpu_check.json').read_text())
    assert list(results) == list(gpu_check.SECTIONS)
    assert all(result['ok'] and not result.get('failed') for result in results.values()), results
    same = results['parity']['results']['BHaRNet light, fp32']
    assert same['loss'] < 1e-6 and same['gradient'] < 1e-5
    assert results['graphs']['results']['BHaRNet light, graph']['loss_difference'] < 1e-3
    assert results['epoch']['steps'] == 3
    assert results['kernels']['compiled'] == results['kernels']['variants'] == 2
    assert 'BHaRNet light, graph' in results['train_real_bf16']['rows']
