import numpy as np
import pytest

from bharnet_mm.errors import ConfigError, SourceError
from bharnet_mm.evaluation.scores import load_scores, save_scores


def example():
    rng = np.random.default_rng(0)
    return dict(
        clip_id=['a/é', 'b', 'c'],
        label=[0, 1, 1],
        logits={name: rng.normal(size=(3, 2)) for name in ('body', 'hand', 'fused')},
        classes=['wave', 'écrire'],
    )


def test_round_trip(tmp_path):
    given = example()
    save_scores(tmp_path / 'new' / 'scores.npz', **given)
    scores = load_scores(tmp_path / 'new' / 'scores.npz')
    assert scores.clip_id.tolist() == given['clip_id'] and scores.classes == ('wave', 'écrire')
    assert scores.label.tolist() == [0, 1, 1] and len(scores) == 3
    assert list(scores.logits) == ['body', 'hand', 'fused']
    for name, value in given['logits'].items():
        np.testing.assert_array_equal(scores.logits[name], value.astype(np.float32))
    assert [p.name for p in (tmp_path / 'new').iterdir()] == ['scores.npz']


def test_nothing_in_the_file_needs_pickle(tmp_path):
    save_scores(tmp_path / 'scores.npz', **example())
    with np.load(tmp_path / 'scores.npz', allow_pickle=False) as file:
        assert {file[name].dtype.kind for name in file.files} == {'U', 'i', 'f'}


def test_top1():
    logits = np.array([[2.0, 1.0], [2.0, 1.0], [0.0, 3.0]])
    scores = save_scores_nowhere(logits={'body': logits})
    assert scores.correct('body').tolist() == [True, False, True]
    assert scores.top1('body') == pytest.approx(2 / 3)
    with pytest.raises(ConfigError, match="expert 'hand'"):
        scores.top1('hand')


def save_scores_nowhere(tmp='unused', **changes):
    from bharnet_mm.evaluation.scores import Scores

    given = example() | changes
    return Scores(
        np.array(given['clip_id']),
        np.array(given['label']),
        given['logits'],
        tuple(given['classes']),
    )


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(label=[0, 1]), r'label: found shape \(2,\)'),
        (dict(label=[0, 1, 2]), 'labels 0 to 2'),
        (dict(label=[-1, 1, 1]), 'labels -1 to 1'),
        (dict(logits={'hand': np.zeros((3, 3))}), r'hand_logits: found shape \(3, 3\)'),
        (dict(clip_id=['a', 'b', 'b']), "'b' more than once"),
    ],
)
def test_disagreements_are_errors(tmp_path, change, message):
    with pytest.raises(ConfigError, match=message):
        save_scores(tmp_path / 'scores.npz', **(example() | change))
    assert not list(tmp_path.iterdir())


def test_wrong_files(tmp_path):
    with pytest.raises(ConfigError, match='npz'):
        save_scores(tmp_path / 'scores.pkl', **example())
    with pytest.raises(SourceError, match='no such file'):
        load_scores(tmp_path / 'none.npz')
    (tmp_path / 'text.npz').write_text('hello')
    np.save(tmp_path / 'array.npy', np.zeros(3))
    np.savez(tmp_path / 'objects.npz', clip_id=np.array([{}], dtype=object))
    np.savez(tmp_path / 'less.npz', label=np.zeros(3))
    for name in ('text.npz', 'array.npy', 'objects.npz', 'less.npz'):
        with pytest.raises(SourceError, match=name):
            load_scores(tmp_path / name)


def test_equal_scores_are_equal_bytes(tmp_path, monkeypatch):
    """An archive holds the time of its making, unless it is told another."""
    save_scores(tmp_path / 'a.npz', **example())
    monkeypatch.setattr('time.time', lambda: 2e9)
    monkeypatch.setattr('time.localtime', lambda *now: (2030, 1, 1, 0, 0, 0, 0, 0, 0))
    save_scores(tmp_path / 'b.npz', **example())
    assert (tmp_path / 'a.npz').read_bytes() == (tmp_path / 'b.npz').read_bytes()
    with np.load(tmp_path / 'a.npz') as plain:  # NumPy's own format
        assert plain['label'].tolist() == [0, 1, 1]
