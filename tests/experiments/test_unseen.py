import json
from dataclasses import replace

import numpy as np
from command import run_tool

from bharnet_mm.datasets import ClipStore, StoreWriter
from bharnet_mm.datasets.synthetic.sample import write_sample
from bharnet_mm.evaluation import save_scores


def test_clips_that_equal_a_training_clip_are_left_out(tmp_path):
    write_sample(tmp_path / 'sample', clips_per_class=2)
    sample = ClipStore(tmp_path / 'sample')
    layouts = dict(body_layout=sample.body_layout, hand_layout=sample.hand_layout)
    splits = {'xview_train': {'camera': ['1']}, 'xview_test': {'camera': ['2']}}
    with StoreWriter(
        tmp_path / 'store',
        name='twins',
        classes=list(sample.classes),
        splits=splits,
        pixels=True,
        **layouts,
    ) as writer:
        for i in range(3):
            writer.add(replace(sample[i], clip_id=f'train{i}', camera='1'))
        writer.add(replace(sample[0], clip_id='same', camera='2'))
        writer.add(replace(sample[5], clip_id='new', camera='2'))
    labels = [int(sample[0].label), int(sample[5].label)]
    logits = np.eye(len(sample.classes))[[labels[0], (labels[1] + 1) % len(sample.classes)]]
    path = tmp_path / 'scores.npz'
    save_scores(path, ['same', 'new'], labels, {'fused': logits}, sample.classes)
    out = run_tool('analysis/unseen.py', path, tmp_path / 'store', '--json', tmp_path / 'r.json')
    result = json.loads((tmp_path / 'r.json').read_text())
    assert json.loads(out[out.index('{') :]) == result
    assert result == {'clips': 2, 'unseen': 1, 'fused': {'top1': 0.5, 'top1_unseen': 0.0}}
