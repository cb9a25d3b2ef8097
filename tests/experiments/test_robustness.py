import json

import pytest
from command import run_tool
from tiny_sample import write_tiny_sample

from bharnet_mm.experiments import robustness as tool


def test_levels_without_chance_run_once():
    cells = tool.cells_of(['hands_missing'], [0, 1])
    assert cells.count(('hands_missing', 1.0, 0)) == 1
    assert ('hands_missing', 1.0, 1) not in cells and ('hands_missing', 0.5, 1) in cells


def test_a_line_is_the_mean_over_runs_for_each_seed():
    def run(clean, low, high):
        cells = {'clean 0 0': clean, 'hands_missing 0.5 0': low, 'hands_missing 0.5 1': high}
        return {'cells': {k: {'sum': v} for k, v in cells.items()}}

    results = {'P': {'S1': run(1.0, 0.6, 0.8), 'S2': run(0.8, 0.4, 0.4)}}
    points = tool.collect(results, 'P', 'sum', 'hands_missing')
    assert [level for level, _ in points] == [0.0, 0.5]
    assert points[0][1] == pytest.approx([0.9]) and points[1][1] == pytest.approx([0.5, 0.6])
    table = tool.to_markdown(results, ['hands_missing'])
    assert '| P | 0.900 | not run | 0.550 | not run | not run |' in table


def test_trained_model_from_its_work_folder(tmp_path):
    config = write_tiny_sample(tmp_path, epochs=1)
    run_tool('train.py', config, '--work-dir', tmp_path / 'w', '--no-validate')
    command = ['analysis/robustness.py', '--entry', 'P', tmp_path / 'w', '--seeds', '0']
    command += ['--conditions', 'hands_missing', '--out', tmp_path / 'r']
    table = run_tool(*command)
    assert '| P, noisy_or |' in table and 'not run' not in table
    results = json.loads((tmp_path / 'r.json').read_text())
    (cells,) = (run['cells'] for run in results['P'].values())
    assert len(cells) == 5 and set(cells['clean 0 0']) == {'sum', 'noisy_or'}
    # without hands there is only the body to listen to
    assert cells['hands_missing 1 0']['sum'] == cells['hands_missing 1 0']['noisy_or']
    assert (tmp_path / 'r.png').stat().st_size > 5000
    cells['clean 0 0']['sum'] = 0.123  # what is there is not run again
    (tmp_path / 'r.json').write_text(json.dumps(results))
    assert '0.123' in run_tool(*command)
