"""A disk that is really full, for what writes but the stores and checkpoints of other tests."""

import numpy as np
import pytest
import torch
from formats import write_store
from subjects import BACKEND, moving, write_video

from bharnet_mm.apis import export_graph
from bharnet_mm.apis.annotate import VideoWriter
from bharnet_mm.apis.model_card import read_card
from bharnet_mm.apis.model_zoo import find_trained
from bharnet_mm.apis.publish import write_published
from bharnet_mm.apis.visualizer import new_figure, save_figure
from bharnet_mm.datasets import ClipStore, ingest
from bharnet_mm.datasets.extraction.output import Settings
from bharnet_mm.datasets.extraction.runner import extract
from bharnet_mm.datasets.ingest import Report
from bharnet_mm.datasets.regions import RegionGrid
from bharnet_mm.datasets.sources.annotation_export import export_annotations
from bharnet_mm.datasets.store.regions import RegionStore, RegionWriter
from bharnet_mm.datasets.synthetic.gestures import GESTURES
from bharnet_mm.datasets.synthetic.sample import SyntheticSample
from bharnet_mm.datasets.synthetic.videos import write_videos
from bharnet_mm.errors import StoreError, WriteError
from bharnet_mm.evaluation.scores import load_scores, save_scores


def fill(disk, left=20 << 10):
    (disk / 'filler').write_bytes(bytes((1 << 20) - left))


def used(disk):
    return sum(path.stat().st_blocks * 512 for path in disk.iterdir())


def test_regions(small_disk):
    grid = RegionGrid(('head', 'left_wrist'), num_frames=3, cell=16, num_offsets=3)
    masks = np.ones((3, 2, 3), bool)
    with pytest.raises(StoreError, match='No space left'), RegionWriter(small_disk, grid) as writer:
        writer.add('first', [(b'x' * 1000, b'')] * 3, masks)
        writer.commit()
        for i in range(999):
            writer.add(f'clip{i}', [(b'x' * 9000, b'')] * 3, masks)
    assert RegionStore(small_disk).clip_ids == ['first']


def test_scores_reports_and_exports(small_disk, tmp_path):
    logits = {'body': np.zeros((2, 3))}
    save_scores(small_disk / 'a.npz', ['a', 'b'], [0, 1], logits, ['x', 'y', 'z'])
    store = ClipStore(write_store(tmp_path / 'store', 20))
    fill(small_disk)
    noise = {'body': np.random.default_rng(0).normal(size=(4000, 3))}
    ids = [str(i) for i in range(4000)]
    report = Report()
    for i in range(4000):
        report.refuse(f'clip{i}', 'a long story')
    for write in (
        lambda: save_scores(small_disk / 'a.npz', ids, [0] * 4000, noise, ['x', 'y', 'z']),
        lambda: export_annotations(store, small_disk / 'a.pkl'),
        lambda: report.save(small_disk / 'report.json'),
    ):
        with pytest.raises(WriteError, match='No space left'):
            write()
    assert len(load_scores(small_disk / 'a.npz')) == 2
    assert sorted(path.name for path in small_disk.iterdir()) == ['a.npz', 'filler']


def test_videos_of_the_sample(small_disk):
    one = SyntheticSample(classes=GESTURES[:1], clips_per_class=1)
    write_videos(small_disk, one, workers=0)
    whole = {path.name: path.read_bytes() for path in small_disk.iterdir()}
    (small_disk / 'filler').write_bytes(bytes((1 << 20) - used(small_disk) - (1 << 13)))
    with pytest.raises(WriteError, match='frames on the disk'):
        write_videos(small_disk, one, workers=0)
    (small_disk / 'filler').unlink()
    assert {path.name: path.read_bytes() for path in small_disk.iterdir()} == whole


class Scores(torch.nn.Module):
    """From a dict to a dict, as models are exported."""

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(300, 300)

    def forward(self, inputs):
        return dict(pred_score=self.linear(inputs['body']))


def test_models_figures_and_videos(small_disk):
    """What was there stays, and nothing else is left."""
    noise = np.random.default_rng(0)
    card = read_card(find_trained('bharnet_light_asl10'))
    model = Scores()
    program = torch.export.export(model, (dict(body=torch.zeros(2, 300)),))

    def draw(path):
        figure = new_figure(9, 9)
        figure.add_subplot().imshow(noise.random((700, 700)))
        save_figure(figure, path, dpi=200)

    def film(path):
        with VideoWriter(path, 25) as writer:
            for _ in range(99):
                writer.write(noise.integers(256, size=(128, 128, 3)).astype(np.uint8))

    ways = {
        'm.safetensors': lambda path: write_published(path, card, model.state_dict()),
        'm.pt2': lambda path: export_graph.write(program, path, {}),
        'm.onnx': lambda path: export_graph.write(program, path, {}),
        'f.png': draw,
        'v.mp4': film,
        'v.mkv': film,
    }
    for name in ways:
        (small_disk / name).write_text('of before')
    fill(small_disk, 60 << 10)
    for name, way in ways.items():
        with pytest.raises(WriteError, match='No space left'):
            way(small_disk / name)
        assert (small_disk / name).read_text() == 'of before'
    assert sorted(path.name for path in small_disk.iterdir()) == sorted([*ways, 'filler'])


def test_an_extraction_goes_on_once_there_is_room(small_disk, tmp_path, monkeypatch):
    monkeypatch.setattr(ingest, '_COMMIT_EVERY', 1)
    for i in range(4):
        write_video(tmp_path / f'videos/a/{i}.avi', moving(30, seed=i))
    videos, settings = tmp_path / 'videos', Settings(backend=BACKEND)
    extract(videos, tmp_path / 'whole', settings, workers=0)
    size = sum(path.stat().st_size for path in (tmp_path / 'whole').iterdir())
    out = small_disk / 'out'
    (small_disk / 'filler').write_bytes(bytes((1 << 20) - size // 2 - (24 << 10)))
    with pytest.raises((StoreError, WriteError), match='No space left'):
        extract(videos, out, settings, workers=0)
    held = len(ClipStore(out)) if (out / 'store.json').exists() else 0
    assert held < 4
    (small_disk / 'filler').unlink()
    extract(videos, out, settings, workers=0)
    for path in sorted((tmp_path / 'whole').iterdir()):
        if path.is_file() and path.name != 'writer.lock':
            assert (out / path.name).read_bytes() == path.read_bytes(), path.name
