import json

import numpy as np
import pytest
import robustness as tool
from command import run_tool
from tiny_sample import write_tiny_sample


def test_same_damage_for_every_entry_and_another_for_every_seed(make_results):
    noise = tool.CONDITIONS['noise'].make(0.1)
    results = make_results(persons=2)
    before = np.random.get_state()[1].copy()
    first = tool.Damage(noise, 0)(results)['body']
    assert (
        np.random.get_state()[1] == before
    ).all()  # the pipeline's own numbers stay as they were
    np.random.random(7)
    visible = results['body_visible']
    np.testing.assert_array_equal(first[visible], tool.Damage(noise, 0)(results)['body'][visible])
    assert (first[visible] != tool.Damage(noise, 1)(results)['body'][visible]).any()
    other = results | {'clip_id': 'another'}
    assert (first[visible] != tool.Damage(noise, 0)(other)['body'][visible]).any()


def test_one_hand_of_each_person_is_lost(make_results):
    results = make_results(persons=2, gaps=False)
    lost = tool.Damage(tool.CONDITIONS['one_hand_missing'].make(1.0), 0)(results)
    assert lost['hand_visible'].any(-1).sum(1).tolist() == [1, 1]
    assert results['hand_visible'].all()
    kept = tool.drop_one_hand(results, 0.0)
    assert kept['hand_visible'].all()
    sides = {
        tool.Damage(tool.CONDITIONS['one_hand_missing'].make(1.0), seed)(results)['hand_visible'][
            0, 0, 0
        ].item()
        for seed in range(20)
    }
    assert sides == {True, False}


def test_hands_are_exchanged_with_their_masks(make_results):
    results = make_results()
    swapped = tool.swap_hands(results, 1.0)
    np.testing.assert_array_equal(swapped['hand_visible'][:, 0], results['hand_visible'][:, 1])
    again = tool.swap_hands(swapped, 1.0)
    for name in ('hand', 'hand_visible'):
        np.testing.assert_array_equal(again[name], results[name])
    assert tool.swap_hands(results, 0.0) is results


def test_a_slower_camera_keeps_every_third_frame(make_results):
    results = make_results(frames=50, persons=2, pixels=True)
    slow = tool.keep_every(results, 3)
    assert slow['total_frames'] == 17 and slow['fps'] == 10
    np.testing.assert_array_equal(slow['frame_index'], results['frame_index'][::3])
    np.testing.assert_array_equal(slow['hand_visible'], results['hand_visible'][:, :, ::3])
    np.testing.assert_array_equal(slow['body'], results['body'][:, ::3])
    np.testing.assert_array_equal(slow['body_pixel'], results['body_pixel'][:, ::3])


def test_every_condition_makes_a_transform(make_results):
    for condition in tool.CONDITIONS.values():
        for level in condition.levels:
            tool.Damage(condition.make(level), 0)(make_results())


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
