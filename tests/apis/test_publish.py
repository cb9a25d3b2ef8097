import argparse
import json

import numpy as np
import pytest
import torch

from bharnet_mm import create_model
from bharnet_mm.apis import publish
from bharnet_mm.apis.model_card import CARD_KEY, ModelCard, read_card
from bharnet_mm.apis.recognizer import load_recognizer
from bharnet_mm.datasets import Clip
from bharnet_mm.errors import BHaRNetError, ConfigError
from bharnet_mm.evaluation import Scores, save_scores
from bharnet_mm.io.weights import load_weights

CLASSES = [f'class {i}' for i in range(9)] + ['none']


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """Checkpoint of an untrained light model for asl10."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp('trained') / 'epoch_1.pth'
    model = create_model('bharnet_light_asl10')
    meta = dict(dataset_meta=dict(classes=CLASSES, body_layout='mediapipe_pose'))
    torch.save(dict(state_dict=model.state_dict(), meta=meta), path)
    return path


def clips(number=3, frames=20):
    rng = np.random.default_rng(0)
    return [
        Clip(
            clip_id=f'{i}',
            label=0,
            body=rng.random((1, frames, 33, 3), np.float32),
            body_score=np.ones((1, frames), np.float32),
            hand=rng.random((1, 2, frames, 21, 3), np.float32),
            hand_score=np.float32(rng.random((1, 2, frames)) > 0.3 * i),
            frame_index=np.arange(frames, dtype=np.int32),
        )
        for i in range(number)
    ]


def held_out(temperature, number=4000, seed=0):
    """Scores whose probabilities are right after division by the temperature."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(number, len(CLASSES))) * 2
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    label = np.array([rng.choice(len(CLASSES), p=row) for row in p])
    ids = np.array([f'{seed}-{i}' for i in range(number)])
    return Scores(ids, label, {'pred': (z * temperature).astype(np.float32)}, tuple(CLASSES))


def publish_it(trained, out, *more):
    parser = argparse.ArgumentParser()
    publish.add_arguments(parser)
    words = ['bharnet_light_asl10', str(trained), '--out', str(out), *more]
    return publish.run(parser.parse_args(words))


def test_published_model_answers_as_the_checkpoint(trained, tmp_path, capsys):
    out = tmp_path / 'mine.safetensors'
    save = tmp_path / 'scores.npz'
    scores = held_out(2.0, 500)
    save_scores(save, scores.clip_id, scores.label, scores.logits, CLASSES)
    more = ['--held-out', str(save), '--data', 'my signs', '--licence', 'CC0', '--window', '1.5']
    assert publish_it(trained, out, *more) == 0
    printed = capsys.readouterr().out
    assert 'sha256' in printed and 'my signs' in printed and out.stat().st_size < 1e6

    before = load_recognizer('bharnet_light_asl10', trained, 'cpu')
    after = load_recognizer(out, device='cpu')
    a, b = before.scores(clips()), after.scores(clips())
    assert set(a) == {'fused', 'body', 'hand'}
    for name in a:
        np.testing.assert_array_equal(a[name], b[name])

    card = read_card(out)
    assert card == after.card and card.classes == tuple(CLASSES) and card.window == 1.5
    assert card.none_classes == ('none',) and card.licence == 'CC0'
    assert card.temperature == pytest.approx(2.0, rel=0.2) and 0 < card.unsure_below < 1
    assert 'store' not in json.dumps(card.pipeline)
    # The file is what anybody's reader of safetensors takes.
    assert set(load_weights(out)['state_dict']) == set(before.model.state_dict())


def test_temperature_and_threshold():
    card = ModelCard('m', {}, [], tuple(CLASSES), 'coco', {'body': ('x',), 'hand': ('x',)})
    for temperature in (0.5, 1.0, 3.0):
        done = publish.calibrate(card, held_out(temperature), kept=0.8)
        assert done.temperature == pytest.approx(temperature, rel=0.08)
        assert done.results['held_out_ece'] < 0.03
    scores = held_out(1.0, seed=1)
    probability = publish.calibrated(scores.logits['pred'], done.temperature / 3)
    done = publish.calibrate(card, scores, kept=0.8)
    probability = publish.calibrated(scores.logits['pred'], done.temperature)
    right = probability.argmax(1) == scores.label
    kept = (probability.max(1)[right] >= done.unsure_below).mean()
    assert kept == pytest.approx(0.8, abs=0.01)
    assert done.results['held_out_top1_of_the_sure'] > done.results['held_out_top1']
    with pytest.raises(ConfigError, match='classes'):
        publish.calibrate(card, Scores(scores.clip_id, scores.label, scores.logits, ('a',) * 10))


def test_card_survives_json():
    card = ModelCard(
        'm',
        {'type': 'BHaRNet'},
        [{'type': 'FormatBodyHand', 'num_persons': 2}],
        ('a', 'b'),
        {'name': 'mine', 'joints': ['p', 'q'], 'edges': [['p', 'q']], 'parents': {'q': 'p'},
         'center': ['p'], 'scale': ['p', 'q']},
        {'body': ('x', 'y'), 'hand': ('x', 'y')},
    )  # fmt: skip
    again = ModelCard.from_json(card.to_json(), 'here')
    assert again == card and again.layout.num_joints == 2 and again.num_persons == 2
    future = json.dumps(json.loads(card.to_json()) | {'of_a_later_version': 1})
    assert ModelCard.from_json(future, 'here') == card
    for wrong in ('{', '[]', '{}', json.dumps(json.loads(card.to_json()) | {'temperature': 0})):
        with pytest.raises(BHaRNetError, match='here'):
            ModelCard.from_json(wrong, 'here')


def test_weights_that_do_not_fit(trained, tmp_path):
    with pytest.raises(ConfigError, match='missing tensors'):
        load_recognizer('bharnet_p_asl10', trained, 'cpu')
    with pytest.raises(BHaRNetError, match='card'):
        from safetensors.torch import save_file

        save_file({'a': torch.zeros(1)}, tmp_path / 'plain.safetensors')
        load_recognizer(tmp_path / 'plain.safetensors')
    (tmp_path / 'broken.safetensors').write_bytes(b'no model')
    with pytest.raises(BHaRNetError):
        load_recognizer(tmp_path / 'broken.safetensors')
    with pytest.raises(ConfigError, match='weights'):
        load_recognizer('bharnet_light_asl10_video')
    assert CARD_KEY == 'bharnet_mm.card'


def test_unknown_actions_choose_what_says_unsure(tmp_path):
    """The experts agree on known actions and disagree on unknown ones, each as sure as ever."""
    random = np.random.default_rng(0)
    label = random.integers(0, 10, 400)
    unknown = np.isin(label, [8, 9])
    said = np.where(unknown, random.integers(0, 8, 400), label)
    other = np.where(unknown, (said + 1) % 8, said)
    logits = {
        'body': 6 * np.eye(10)[said] + random.normal(size=(400, 10)),
        'hand': 5 * np.eye(10)[other] + random.normal(size=(400, 10)),
    }
    logits['pred'] = np.log(publish.calibrated(logits['body'], 1.0))
    names = np.array([f'c{i}' for i in range(400)])
    scores = Scores(names, label, logits, tuple(CLASSES))
    (tmp_path / 'S1_seed0').mkdir()
    save_scores(tmp_path / 'S1_seed0/scores.npz', names, label, logits, CLASSES)
    summary = tmp_path / 'summary.json'
    with pytest.raises(ConfigError, match='leave_one_out.py --unknown'):
        publish.read_unknown(tmp_path)
    summary.write_text(json.dumps({'unknown': CLASSES[8:]}))
    read = publish.read_unknown(tmp_path)
    assert len(read) == 1 and list(read[0][1]) == CLASSES[8:]

    card = ModelCard('m', {}, [], tuple(CLASSES), 'coco', {'body': ('x',), 'hand': ('x',)})
    known = ~unknown
    held = Scores(
        names[known], label[known], {k: v[known] for k, v in logits.items()}, scores.classes
    )
    done = publish.calibrate(card, held, unknown=read)
    assert done.unsure_by == 'agreement' and done.results['unknown_share_unsure'] > 0.9
    assert (
        done.results['unknown_auroc_agreement'] > 0.95 > done.results['unknown_auroc_probability']
    )
    assert publish.calibrate(card, held).unsure_by == 'probability'
    assert ModelCard.from_json(done.to_json(), 'card') == done
