"""From a folder of videos laid out as JHMDB is, through both tools, to a pipeline that reads the
pictures.
"""

import importlib.util
import sys
from pathlib import Path

import pytest

from bharnet_mm.datasets import BodyHandDataset, ClipStore
from bharnet_mm.datasets.regions import RegionGrid
from bharnet_mm.datasets.store.regions import RegionStore
from bharnet_mm.errors import ConfigError

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT / 'tests' / 'datasets' / 'extraction'))

from fake_estimator import BACKEND, moving, write_video  # noqa: E402


def tool(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / f'tools/data/{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return lambda *args: module.command([*map(str, args), '--workers', '0'])


@pytest.fixture
def data(tmp_path):
    """Four clips of two classes, one of them no video, and the split files."""
    (tmp_path / 'splits').mkdir()
    for label in ('wave', 'pour'):
        for i in range(2):
            write_video(tmp_path / f'videos/{label}/a_{label}_{i}.avi', moving(6, seed=i))
        for number in '123':
            text = f'a_{label}_0.avi 1\na_{label}_1.avi 2\n'
            (tmp_path / f'splits/{label}_test_split{number}.txt').write_text(text)
    (tmp_path / 'videos/wave/a_wave_1.avi').write_bytes(b'nonsense' * 100)
    return tmp_path


def test_videos_to_a_pipeline(data, capsys):
    videos, store = data / 'videos', data / 'jhmdb'
    assert tool('jhmdb')(videos, data / 'splits', store, '--backend', BACKEND) == 0
    said = capsys.readouterr().out
    assert 'kept      3 clips' in said and 'split jhmdb1_test: 1 of 2 not there' in said
    clips = ClipStore(store)
    assert clips.classes == ['pour', 'wave'] and len(clips.splits) == 6
    chosen = [clips[i].clip_id for i in clips.select('jhmdb2_train')]
    assert chosen == ['pour/a_pour_0', 'wave/a_wave_0']
    assert {clip.subject for clip in map(clips.__getitem__, range(3))} == {'a'}

    grid = ('--cell', 8, '--max-persons', 1, '--parts', 'left_wrist', 'right_wrist')
    assert tool('extract_regions')(videos, store, data / 'regions', *grid) == 0
    assert 'kept      3 clips' in capsys.readouterr().out
    assert RegionStore(data / 'regions').grid == RegionGrid(
        ('left_wrist', 'right_wrist'), cell=8, max_persons=1, motion=True
    )
    step = dict(type='CutRegions', parts=('left_wrist', 'right_wrist'), cell=8, max_persons=1)
    results = BodyHandDataset(store, [dict(store=data / 'regions', **step)], split='jhmdb1_train')[
        0
    ]
    assert results['rgb'].shape == (3, 16, 40) and results['rgb_mask'].all()
    # The left wrist is a red disc, the right one a green disc.
    left, right = (
        results['rgb'][:, :8, 3:5].max(axis=(1, 2)),
        results['rgb'][:, 8:, 3:5].max(axis=(1, 2)),
    )
    assert left[0] > left[1] + 30 and right[1] > right[0] + 30


def test_exit_status_of_regions(data, capsys):
    videos, store = data / 'videos', data / 'jhmdb'
    tool('jhmdb')(videos, data / 'splits', store, '--backend', BACKEND)
    parts = ('--parts', 'left_wrist')
    (videos / 'pour/a_pour_0.avi').unlink()
    assert tool('extract_regions')(videos, store, data / 'regions', *parts, '--strict') == 1
    assert 'no video of this name' in capsys.readouterr().out
    assert tool('extract_regions')(videos, store, data / 'regions', *parts) == 0
    with pytest.raises(ConfigError, match='num_offsets'):
        tool('extract_regions')(videos, store, data / 'regions', *parts, '--num-offsets', 4)
