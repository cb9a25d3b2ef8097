import numpy as np
from command import run_tool
from tiny_sample import write_tiny_sample

from bharnet_mm.apis.attention_maps import AttentionMap
from bharnet_mm.experiments import report as tool


def test_maps_of_runs_are_averaged():
    maps = [AttentionMap(np.array([1.0, 2.0]), 0.2, 5), AttentionMap(np.array([3.0, 0.0]), 0.4, 7)]
    mean = tool.mean_map(maps)
    assert mean.focus.tolist() == [2.0, 1.0] and mean.clips == 12
    assert round(mean.change, 6) == 0.3


def test_page_of_a_trained_model(tmp_path):
    config = write_tiny_sample(tmp_path, epochs=1)
    run_tool('train.py', config, '--work-dir', tmp_path / 'w')
    out = tmp_path / 'page' / 'r.html'
    run_tool('analysis/report.py', tmp_path / 'w', '--out', out, '--against', tmp_path / 'w')
    page = out.read_text()
    assert 'Where the attention looks' in page and 'Training' in page
    assert 'on <b>0</b> clips more' in page  # against itself
    assert page.count('<img') == 4
