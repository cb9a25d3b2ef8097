import json

from command import run_tool

from bharnet_mm.datasets.synthetic.sample import write_sample


def test_reads_with_every_contender(tmp_path):
    write_sample(tmp_path / 'store', clips_per_class=1)
    options = ['--clips', '6', '--rounds', '1', '--out', tmp_path / 'out.json']
    run_tool('analysis/benchmark_data.py', tmp_path / 'store', *options)
    rows = json.loads((tmp_path / 'out.json').read_text())
    assert [name.split(':')[0] for name in rows] == ['read'] * 2 + ['pipeline'] * 4
    assert all(row['clips_per_s'] > 0 for row in rows.values())
