"""The table of ways to read regions, of short trainings on noise."""

import sys
from pathlib import Path

import numpy as np
import pytest

from bharnet_mm.datasets.regions import RegionGrid
from bharnet_mm.datasets.store import ClipStore
from bharnet_mm.datasets.store.regions import RegionWriter, encode
from bharnet_mm.errors import ConfigError
from bharnet_mm.experiments import compare_rgb
from bharnet_mm.experiments.cross_validation import Entry

sys.path.insert(0, str(Path(__file__).parents[1]))

from tiny_sample import write_tiny_sample  # noqa: E402

NAMES = ['grid, random', 'cells, random, motion']


@pytest.fixture
def config(tmp_path):
    path = write_tiny_sample(tmp_path, epochs=1, variant='m')
    grid = RegionGrid(cell=24, motion=True)
    rng = np.random.default_rng(0)
    with RegionWriter(tmp_path / 'store_regions', grid) as writer:
        for clip_id in ClipStore(tmp_path / 'store').clip_ids:
            image = rng.integers(0, 256, (4, *grid.shape)).astype(np.uint8)
            mask = np.ones((3, len(grid.parts), grid.num_frames), bool)
            writer.add(clip_id, [encode(image, 90)] * 3, mask)
    return path


def test_a_variant_differs_from_the_config_by_its_images(config, tmp_path):
    entry = Entry(config=str(config), work_dir=tmp_path)
    plain = entry.read()
    for name, (kind, backbone, motion) in compare_rgb.VARIANTS.items():
        cfg = compare_rgb.variant_config(entry, name, ('xsub_train', 'xsub_test'))
        assert cfg.model.rgb.type == kind and cfg.model.rgb.backbone == backbone
        assert cfg.model.backbone == plain.model.backbone
        for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
            assert loader.dataset.regions.motion == motion
        assert cfg.train_dataloader.dataset.split == 'xsub_train'
        assert cfg.test_dataloader.dataset.split == 'xsub_test'


def test_the_table_of_saved_scores(tmp_path):
    from bharnet_mm.evaluation import save_scores

    label = np.array([0, 1, 0, 1])
    good, bad = np.eye(2, dtype=np.float32)[label], np.eye(2, dtype=np.float32)[1 - label]
    for seed, rgb in ((0, good), (1, bad)):
        folder = compare_rgb.folder_of(tmp_path, 'cells, random', seed)
        folder.mkdir()
        ids = np.array([f'c{i}' for i in range(4)])
        logits = {'body': good, 'rgb': rgb, 'fused': good, 'pred': good}
        save_scores(folder / 'scores.npz', ids, label, logits, ('a', 'b'))
    rows = compare_rgb.rows_of(tmp_path, ['cells, random', 'grid, random'], [0, 1, 2])
    assert rows[0]['rgb'] == {'mean': 0.5, 'std': pytest.approx(0.5**0.5)}
    table = compare_rgb.to_markdown(rows)
    assert '| cells, random | 2 | 1.000 | - | 0.500 ± 0.707 | 1.000 | 1.000 |' in table
    assert '| grid, random | 0 | - | - | - | - | - |' in table


@pytest.mark.long
def test_trained_from_the_command_line(config, tmp_path, capsys):
    words = [str(config), '--train', 'xsub_train', '--test', 'xsub_test', '--out']
    words += [str(tmp_path / 'out'), '--variants', *NAMES]
    compare_rgb.main(words)
    table = capsys.readouterr().out
    assert all(f'| {name} | 1 |' in table for name in NAMES)
    compare_rgb.main([*words, '--no-train'])
    assert capsys.readouterr().out == table
    with pytest.raises(ConfigError, match='begun with another config'):
        compare_rgb.main([*words, '--test', 'xsub_train'])
