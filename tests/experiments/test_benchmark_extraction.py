import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / 'datasets' / 'extraction'))

from fake_estimator import BACKEND, moving, write_video  # noqa: E402

from bharnet_mm.experiments.benchmark_extraction import STAGES, main  # noqa: E402


def test_frames_hands_and_stages(tmp_path, capsys):
    write_video(tmp_path / 'v' / 'a.avi', moving(4))
    write_video(tmp_path / 'v' / 'b.avi', moving(6, persons=2))
    rows = main([str(tmp_path / 'v'), '--backend', BACKEND, '--out', str(tmp_path / 'rows.json')])
    assert [rows[name]['frames'] for name in ('a.avi', 'b.avi', 'all')] == [4, 6, 10]
    assert rows['all']['hands'] == rows['all']['wrists'] == 2 * 4 + 4 * 6
    assert set(rows['a.avi']['seconds']) == set(STAGES)
    assert rows['a.avi']['seconds']['hands'] > 0
    assert 'frames a CPU second' in capsys.readouterr().out
    assert (tmp_path / 'rows.json').is_file()
