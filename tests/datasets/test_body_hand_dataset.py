import pickle

import numpy as np
import pytest
from mmaction.registry import DATASETS, TRANSFORMS
from mmengine.dataset import ClassBalancedDataset, ConcatDataset
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from bharnet_mm.datasets import BodyHandDataset, ClipStore
from bharnet_mm.datasets.store.format import ROW, checksum
from bharnet_mm.errors import ClipError, ConfigError, StoreError
from bharnet_mm.layouts import get_layout

HEAD = ['clip_id', 'label', 'total_frames', 'body', 'body_visible', 'hand', 'hand_visible']
HEAD += ['body_layout', 'hand_layout', 'frame_index', 'video', 'image_size', 'fps', 'body_pixel']


def keep_id(results):
    return results['clip_id']


@TRANSFORMS.register_module()
class _TakeKeys:
    """Takes some entries of the results."""

    def __init__(self, keys):
        self.keys = keys

    def __call__(self, results):
        return {key: results[key] for key in self.keys}


def test_head_of_the_pipeline(write_store, make_clip):
    clip = make_clip(5, frames=4, persons=2)
    clip.body_score[1, 2] = 0
    dataset = BodyHandDataset(write_store(clips=[clip]), pipeline=[])
    results = dataset[0]
    assert list(results) == HEAD
    for key in ('clip_id', 'label', 'video', 'image_size', 'fps'):
        assert results[key] == getattr(clip, key)
    assert results['total_frames'] == 4 and results['body_pixel'] is None
    assert np.array_equal(results['hand'], clip.hand)
    assert results['body_visible'].dtype == bool
    assert np.array_equal(results['body_visible'], clip.body_score > 0)
    assert results['hand_visible'].shape == (2, 2, 4) and results['hand_visible'].all()
    assert results['body_layout'] is dataset.store.body_layout
    assert results['hand_layout'] == get_layout('hand')
    assert np.array_equal(results['frame_index'], clip.frame_index)


def test_min_score(write_store, make_clip):
    clip = make_clip()
    dataset = BodyHandDataset(write_store(clips=[clip]), pipeline=[], min_score=0.5)
    visible = dataset[0]['hand_visible']
    assert np.array_equal(visible, clip.hand_score > 0.5) and 0 < visible.sum() < visible.size


def test_store_without_hands(write_store, make_clip):
    clip = make_clip(hand_score=np.zeros((1, 2, 5), np.float32))
    dataset = BodyHandDataset(write_store(clips=[clip], hand_layout=None), pipeline=[])
    results = dataset[0]
    assert results['hand'].shape == (1, 2, 5, 21, 3) and not results['hand_visible'].any()
    assert results['hand_layout'] == get_layout('hand')
    assert dataset.metainfo['hand_layout'] is None


def test_split_repeat_and_classes(write_store):
    path = write_store(12)
    dataset = BodyHandDataset(path, [keep_id], split='xsub_test', repeat=3)
    assert len(dataset) == 12
    assert [dataset[i] for i in range(12)] == ['clip_002', 'clip_005', 'clip_008', 'clip_011'] * 3
    assert dataset[-1] == 'clip_011' and dataset.get_cat_ids(9) == [1]
    with pytest.raises(IndexError):
        dataset[12]
    by_rule = BodyHandDataset(ClipStore(path), [keep_id], split=dict(label=['small'], subject=3))
    assert [by_rule[i] for i in range(len(by_rule))] == ['clip_002']
    assert dataset.metainfo == {
        'dataset': 'toy',
        'classes': ['wave', 'clap', 'small', 'écrire'],
        'body_layout': 'kinect_v2',
        'hand_layout': 'hand',
        'input_channels': {'body': ['x', 'y', 'z'], 'hand': ['x', 'y', 'z']},
    }
    assert "split='xsub_test', num_clips=4, repeat=3" in repr(dataset)


@pytest.mark.parametrize(('min_clips', 'repeat'), [(0, 1), (4, 1), (5, 2), (12, 3), (13, 4)])
def test_an_epoch_of_few_clips_goes_through_them_more_often(write_store, min_clips, repeat):
    path = write_store(12)
    dataset = BodyHandDataset(path, [keep_id], split='xsub_test', min_clips=min_clips)
    assert len(dataset) == 4 * repeat and dataset.repeat == repeat
    often = BodyHandDataset(path, [keep_id], split='xsub_test', min_clips=min_clips, repeat=3)
    assert often.repeat == max(repeat, 3)


def test_built_from_a_config_without_a_default_scope(write_store):
    keys = dict(type='_TakeKeys', keys=['label'])
    dataset = DATASETS.build(
        dict(type='BodyHandDataset', store=str(write_store(3)), pipeline=[keys], test_mode=True)
    )
    assert dataset[1] == {'label': 1}


@pytest.mark.parametrize(
    ('options', 'error', 'message'),
    [
        ({'nonfinite': 'drop'}, ConfigError, "nonfinite: found 'drop'"),
        ({'min_score': 1}, ConfigError, 'min_score'),
        ({'repeat': 0}, ConfigError, 'repeat'),
        ({'min_clips': -1}, ConfigError, 'min_clips'),
        ({'min_clips': 1.5}, ConfigError, 'min_clips'),
        ({'split': 'xview_test'}, ConfigError, "'xsub_test', 'xsub_train'"),
        ({'split': {'subject': ['S1']}}, ConfigError, 'which no clip has'),
    ],
)
def test_wrong_arguments(write_store, options, error, message):
    with pytest.raises(error, match=message):
        BodyHandDataset(write_store(3), [], **options)


def test_a_pipeline_may_not_drop_clips(write_store):
    dataset = BodyHandDataset(write_store(3), [lambda results: None])
    with pytest.raises(ConfigError, match="clip 'clip_001': found a transform that returned None"):
        dataset[1]


def test_reading_leaves_the_random_state_alone(write_store):
    dataset = BodyHandDataset(write_store(3), [], test_mode=True)
    before = np.random.get_state()[1].copy()
    for i in range(3):
        dataset[i]
    assert np.array_equal(before, np.random.get_state()[1])


def test_pickle_is_small(write_store):
    dataset = BodyHandDataset(write_store(12), [keep_id], split='xsub_train')
    data = pickle.dumps(dataset)
    assert len(data) < 2000
    again = pickle.loads(data)
    assert [again[i] for i in range(8)] == [dataset[i] for i in range(8)]


@pytest.mark.parametrize('context', ['fork', 'spawn'])
def test_workers(write_store, context):
    dataset = BodyHandDataset(write_store(8), [keep_id])
    loader = DataLoader(dataset, 3, num_workers=1, collate_fn=list, multiprocessing_context=context)
    assert sum(loader, []) == [f'clip_{i:03d}' for i in range(8)]


def test_errors_keep_their_class_across_workers(write_store):
    path = write_store(4)
    _poison(path, 2)
    loader = DataLoader(BodyHandDataset(path, [keep_id]), num_workers=1, collate_fn=list)
    with pytest.raises(ClipError, match="clip 'clip_002'"):
        list(loader)


def _poison(path, number):
    """Puts a NaN into the first body coordinate of a clip, as a writer without checks would."""
    offset = ClipStore(path).column('offset')[number] * 25 * 3 * 4
    with open(path / 'body.bin', 'r+b') as stream:
        stream.seek(int(offset))
        stream.write(np.float32(np.nan).tobytes())
    store = ClipStore(path, check=False)
    row = store._index[number].copy()
    values = (int(row[key]) for key in ('offset', 'frame_offset', 'persons', 'frames'))
    row['crc32'] = checksum(row, store._slices(*values).values())
    with open(path / 'index.bin', 'r+b') as stream:
        stream.seek(number * ROW.itemsize)
        stream.write(row.tobytes())


def test_nonfinite_is_an_error_or_masked_and_counted(write_store, caplog):
    path = write_store(4)
    _poison(path, 1)
    _poison(path, 3)
    strict = BodyHandDataset(path, [])
    strict[0]
    with pytest.raises(ClipError, match="clip 'clip_001': found NaN or infinity in body"):
        strict[1]
    lenient = BodyHandDataset(path, [], nonfinite='mask')
    with caplog.at_level('WARNING'):
        visible = [lenient[i]['body_visible'] for i in range(4)]
    assert not visible[1][0, 0] and visible[1].sum() == visible[1].size - 1
    assert visible[0].all() and lenient.num_masked == 2


def test_labels_outside_the_classes(write_store):
    path = write_store(4)
    text = (path / 'store.json').read_text()
    (path / 'store.json').write_text(text.replace('"small",', '').replace(' "écrire"', '"small"'))
    assert ClipStore(path).classes == ['wave', 'clap', 'small']
    with pytest.raises(StoreError, match="clip 'clip_003': found label 3 .1 such"):
        BodyHandDataset(path, [])


def test_empty_store(write_store):
    with pytest.raises(StoreError, match='a store without clips'):
        BodyHandDataset(write_store(0), [])


def test_wrappers_of_mmengine(write_store):
    path = str(write_store(12))
    config = dict(type='mmaction.BodyHandDataset', store=path, pipeline=[keep_id])
    both = ConcatDataset([dict(config, split='xsub_train'), dict(config, split='xsub_test')])
    assert len(both) == 12 and both[8] == 'clip_002'
    assert both.metainfo['classes'][0] == 'wave'
    balanced = ClassBalancedDataset(dict(config, split={'label': [0, 1]}), oversample_thr=0.9)
    assert len(balanced) >= 6


class _Echo(BaseModel):
    """A model that returns what it was given."""

    def forward(self, clip_id, mode):
        return clip_id


class _Collect:
    """A metric that keeps what it was given."""

    def __init__(self):
        self.seen, self.dataset_meta = [], None

    def process(self, data_samples, data_batch):
        self.seen += data_samples

    def evaluate(self, size):
        return {'size': size}


@pytest.mark.parametrize('workers', [0, 2])
def test_runs_in_mmengines_test_loop(write_store, tmp_path, workers):
    loader = dict(
        batch_size=4,
        num_workers=workers,
        persistent_workers=workers > 0,
        sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=dict(type='pseudo_collate'),
        dataset=dict(
            type='BodyHandDataset',
            store=str(write_store(10)),
            pipeline=[dict(type='_TakeKeys', keys=['clip_id'])],
        ),
    )
    runner = Runner(
        model=_Echo(),
        work_dir=str(tmp_path / 'work'),
        test_dataloader=loader,
        test_cfg=dict(type='TestLoop'),
        test_evaluator=_Collect(),
        default_scope='mmaction',
        experiment_name=f'test_{workers}',
        log_level='ERROR',
    )
    assert runner.test() == {'size': 10}
    evaluator = runner.test_loop.evaluator
    assert evaluator.seen == [f'clip_{i:03d}' for i in range(10)]
    assert evaluator.dataset_meta['classes'][3] == 'écrire'


@pytest.mark.parametrize('test_mode', [False, True])
def test_regions_are_cut_first_and_by_chance_in_training_only(
    test_mode, write_store, make_clip, monkeypatch
):
    built = []
    monkeypatch.setattr(
        'bharnet_mm.datasets.body_hand_dataset.TRANSFORMS.build',
        lambda step: built.append(step) or (lambda results: results),
    )
    options = dict(test_mode=test_mode, regions=dict(store='somewhere', cell=24))
    BodyHandDataset(write_store(clips=[make_clip()]), [dict(type='PackBodyHand')], **options)
    assert built[0] == dict(type='CutRegions', store='somewhere', cell=24, random=not test_mode)
    assert built[1] == dict(type='PackBodyHand')
