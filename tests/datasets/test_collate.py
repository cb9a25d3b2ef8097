"""Batches that are stacked in the loader's process."""

import pickle

import numpy as np
import pytest
import torch
from mmaction.structures import ActionDataSample
from mmengine.registry import FUNCTIONS

from bharnet_mm.datasets.collate import Samples, stack_clips
from bharnet_mm.errors import ConfigError
from bharnet_mm.models.data_preprocessor import BodyHandPreprocessor


def clip(i: int, frames: int = 4) -> dict:
    body = torch.full((2, frames, 25, 3), float(i))
    sample = ActionDataSample(metainfo=dict(clip_id=f'c{i}', total_frames=frames))
    return dict(
        inputs=dict(body=body, body_mask=torch.ones(2, frames, dtype=torch.bool)),
        data_samples=sample.set_gt_label(i),
    )


class Clips(torch.utils.data.Dataset):
    def __len__(self):
        return 6

    def __getitem__(self, i):
        return clip(i)


def test_a_worker_stacks_and_the_model_gets_the_same():
    function = FUNCTIONS.get('stack_clips')
    loader = torch.utils.data.DataLoader(Clips(), 3, num_workers=1, collate_fn=function)
    listed = torch.utils.data.DataLoader(Clips(), 3, collate_fn=lambda clips: clips)
    preprocessor = BodyHandPreprocessor(bucket_steps=8)
    for batch, clips in zip(loader, listed, strict=True):
        lists = {name: [c['inputs'][name] for c in clips] for name in clips[0]['inputs']}
        samples = [c['data_samples'] for c in clips]
        expected = preprocessor(dict(inputs=lists, data_samples=samples))
        found = preprocessor(batch)
        assert found['inputs'].keys() == expected['inputs'].keys()
        for name, value in expected['inputs'].items():
            assert torch.equal(torch.as_tensor(found['inputs'][name]), torch.as_tensor(value))
        for one, other in zip(found['data_samples'], samples, strict=True):
            assert torch.equal(one.gt_label, other.gt_label) and one.metainfo == other.metainfo


def test_samples_keep_what_they_have():
    sample = ActionDataSample(metainfo=dict(clip_id='a', place=np.arange(2))).set_gt_label(3)
    sample.pred_score = torch.rand(4, dtype=torch.float64)
    (copy,) = pickle.loads(pickle.dumps(Samples([sample])))
    assert torch.equal(copy.pred_score, sample.pred_score) and copy.gt_label.dtype == torch.long
    assert copy.place.tolist() == [0, 1]


def test_clips_of_different_shapes_are_refused_with_their_name():
    batch = stack_clips([clip(0), clip(1, frames=5)])
    with pytest.raises(ConfigError, match="'c1'"):
        BodyHandPreprocessor()(batch)


def test_other_packings_stay_lists():
    clips = [dict(inputs=torch.zeros(2), data_samples=ActionDataSample()) for _ in range(2)]
    assert isinstance(stack_clips(clips)['inputs'], list)
