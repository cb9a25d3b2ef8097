import re
import sys

import numpy as np
import pytest
import torch
from command import ROOT
from tiny_export import arguments, write_untrained
from tiny_sample import write_tiny_sample

from bharnet_mm.apis.export import data_for_check, run, some_clips
from bharnet_mm.apis.export_check import check
from bharnet_mm.apis.export_graph import graph_inputs
from bharnet_mm.apis.exported import load_exported
from bharnet_mm.apis.inferencer import BodyHandInferencer
from bharnet_mm.apis.recognizer import load_recognizer
from bharnet_mm.datasets import ClipStore
from bharnet_mm.errors import BHaRNetError, ConfigError

pytest.importorskip('onnxscript')
pytest.importorskip('onnxruntime')


def test_command_compares_each_file_and_times_onnxruntime(exported):
    _, text = exported
    found = re.findall(r'm\.(\w+): \S+ MB, at most (\S+) from torch', text)
    assert [name for name, _ in found] == ['onnx', 'pt2']
    assert all(0 < float(difference) < 1e-4 for _, difference in found)
    p50, p99 = re.search(r'1 thread: p50 (\S+) ms, p99 (\S+) ms', text).groups()
    assert 0 < float(p50) <= float(p99)


def torch_model(folder):
    return load_recognizer(folder / 'tiny.py', folder / 'untrained.pth', 'cpu')


@pytest.mark.parametrize('name', ['m.onnx', 'm.pt2'])
def test_exported_file_answers_as_the_model_it_came_from(exported, name):
    folder, _ = exported
    original, file = torch_model(folder), load_recognizer(folder / name)
    assert file.classes == original.classes and file.card == original.card
    store, _, _ = data_for_check(str(folder / 'tiny.py'))
    clips = some_clips(store, None, 7)
    for expected, found in zip(original.predict(clips), file.predict(clips), strict=True):
        assert found.label == expected.label and found.unsure == expected.unsure
        for name in expected.experts:
            assert [a.name for a in found.experts[name]] == [a.name for a in expected.experts[name]]
        np.testing.assert_allclose(
            [a.probability for a in found.labels],
            [a.probability for a in expected.labels],
            atol=1e-4,
        )


def test_inferencer_takes_an_exported_file(exported):
    folder, _ = exported
    store, _, _ = data_for_check(str(folder / 'tiny.py'))
    found = [r.label for r in BodyHandInferencer(folder / 'm.onnx')(store[3])]
    assert found == [r.label for r in BodyHandInferencer(torch_model(folder))(store[3])]


def test_a_file_that_differs_is_refused_and_not_written(exported, monkeypatch, tmp_path):
    folder, _ = exported
    original, file = torch_model(folder), load_exported(folder / 'm.onnx')
    store, _, _ = data_for_check(str(folder / 'tiny.py'))
    clips = some_clips(store, None, 3)
    with torch.no_grad():
        original.model.cls_head.classifiers['hand'][0].fc.weight[0] += 1e-3
    with pytest.raises(BHaRNetError, match='differs by .* from the model in torch'):
        check(original.model, file, clips)

    def copied(model, card, clip, paths):
        paths[0].parent.mkdir(parents=True)
        paths[0].write_bytes((folder / 'm.onnx').read_bytes())

    def refused(*_):
        raise BHaRNetError('m.onnx', 'a difference', 'none')

    monkeypatch.setattr('bharnet_mm.apis.export_graph.export', copied)
    monkeypatch.setattr('bharnet_mm.apis.export_check.check', refused)
    args = (folder / 'tiny.py', folder / 'untrained.pth', '--out', tmp_path / 'm.onnx')
    with pytest.raises(BHaRNetError, match='a difference'):
        run(arguments(*args))
    assert not (tmp_path / 'm.onnx').exists()
    (tmp_path / 'm.onnx').write_text('an earlier one')
    with pytest.raises(BHaRNetError, match='a difference'):
        run(arguments(*args))
    assert (tmp_path / 'm.onnx').read_text() == 'an earlier one'


def test_the_check_tries_every_kind_of_absence(exported):
    folder, _ = exported
    store, _, _ = data_for_check(str(folder / 'tiny.py'))
    differences = check(
        torch_model(folder).model, load_exported(folder / 'm.onnx'), some_clips(store, None, 4)
    )
    assert {
        'one clip',
        'without hand',
        'without body',
        'without left hands',
        'without anything',
        'NaN where frames are missing',
        'fewer frames',
        'more frames',
    } <= set(differences)


def test_absent_experts_are_absent_in_the_file_too(exported):
    folder, _ = exported
    file = load_exported(folder / 'm.onnx')
    store, _, _ = data_for_check(str(folder / 'tiny.py'))
    inputs = file.prepare(some_clips(store, None, 2))
    inputs['hand_mask'] = np.zeros_like(inputs['hand_mask'])
    answers = file.run(inputs)
    assert not answers['hand_logits'].any() and answers['body_logits'].any()
    inputs['body_mask'] = np.zeros_like(inputs['body_mask'])
    np.testing.assert_allclose(file.run(inputs)['pred_score'], 1 / len(file.classes), atol=1e-6)


def test_bad_arguments_are_told_before_anything_is_built(tmp_path, exported):
    folder, _ = exported
    model = folder / 'tiny.py', folder / 'untrained.pth'
    for words, told in (
        ((*model, '--out', tmp_path / 'm.tflite'), 'm.tflite'),
        ((*model, '--out', tmp_path / 'm.onnx', '--data', tmp_path / 'none'), 'no clip store'),
        ((folder / 'm.onnx', '--out', tmp_path / 'n.onnx', '--data', folder / 'store'), 'exported'),
    ):
        with pytest.raises(ConfigError, match=told):
            run(arguments(*words))
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_told_before_anything_is_built(tmp_path, exported, monkeypatch):
    folder, _ = exported
    monkeypatch.setitem(sys.modules, 'onnxscript', None)
    with pytest.raises(ConfigError, match='no package onnxscript'):
        run(arguments(folder / 'tiny.py', folder / 'untrained.pth', '--out', tmp_path / 'm.onnx'))


def test_stock_models_are_refused():
    class Card:
        name = 'stock'

    with pytest.raises(ConfigError, match='a Linear'):
        graph_inputs(torch.nn.Linear(1, 1), Card, None)


@pytest.mark.long
@pytest.mark.parametrize('variant', ['b', 'e', 'm', 'light'])
@pytest.mark.parametrize('feature, fusion', [('joint', 'sum'), ('bone_motion', 'noisy_or')])
def test_every_variant(tmp_path, variant, feature, fusion):
    config, checkpoint = write_untrained(tmp_path, variant)
    options = dict(model=dict(backbone=dict(feature=feature), cls_head=dict(fusion=fusion)))
    changed = tmp_path / 'changed.py'
    changed.write_text(f'_base_ = {str(config)!r}\nmodel = {options["model"]!r}\n')
    run(arguments(changed, checkpoint, '--out', tmp_path / 'm.onnx', tmp_path / 'm.pt2'))


@pytest.mark.long
@pytest.mark.parametrize('motion', [False, True])
def test_regions_one_by_one(tmp_path, motion):
    """The cells that are visible depend on the data; the graph computes all and weighs them."""
    base = write_tiny_sample(tmp_path, variant='m')
    config = tmp_path / 'cells.py'
    config.write_text(
        f'_base_ = {str(base)!r}\n'
        f"model = dict(rgb=dict(type='RegionEncoder', motion={motion}))\n"
        f'test_dataloader = dict(dataset=dict(regions=dict(motion={motion})))\n'
    )
    from mmaction.registry import MODELS
    from mmengine.config import Config
    from mmengine.registry import init_default_scope

    init_default_scope('mmaction')
    model = MODELS.build(Config.fromfile(config).model)
    torch.nn.init.normal_(model.cls_head.classifiers['rgb'][0].fc.weight)
    torch.nn.init.normal_(model.rgb.norm.running_mean)
    torch.nn.init.uniform_(model.rgb.norm.running_var, 0.5, 2)
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'w.pth')
    run(arguments(config, tmp_path / 'w.pth', '--out', tmp_path / 'm.onnx', tmp_path / 'm.pt2'))


@pytest.mark.long
@pytest.mark.parametrize('name', ['bharnet_p_sample', 'bharnet_e_sample', 'bharnet_b_sample'])
def test_shipped_configs_with_onnx_alone(tmp_path, name):
    from mmaction.registry import MODELS
    from mmengine.config import Config
    from mmengine.registry import init_default_scope

    from bharnet_mm.datasets.synthetic.sample import write_sample

    init_default_scope('mmaction')
    write_sample(tmp_path / 'sample', clips_per_class=1)
    cfg = Config.fromfile(ROOT / f'configs/{name}.py')
    meta = dict(dataset_meta=dict(classes=ClipStore(tmp_path / 'sample').classes))
    state = MODELS.build(cfg.model).state_dict()
    torch.save(dict(state_dict=state, meta=meta), tmp_path / 'w.pth')
    run(
        arguments(
            ROOT / f'configs/{name}.py',
            tmp_path / 'w.pth',
            *('--out', tmp_path / 'm.onnx', '--data', tmp_path / 'sample'),
        )
    )
