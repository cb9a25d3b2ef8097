import json
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from bharnet_mm.datasets import ClipStore, StoreWriter
from bharnet_mm.errors import ClipError, ConfigError, StoreError
from bharnet_mm.layouts import get_layout

ARRAYS = ('body', 'body_score', 'hand', 'hand_score', 'frame_index')
TEXTS = ('clip_id', 'label', 'subject', 'camera', 'setup', 'source', 'video', 'image_size', 'fps')
ROOT = Path(__file__).resolve().parents[3]


def assert_same(clip, stored):
    for name in TEXTS:
        assert getattr(clip, name) == getattr(stored, name), name
    for name in ARRAYS:
        assert np.array_equal(getattr(clip, name), getattr(stored, name)), name


def test_roundtrip(write_store, make_clip):
    store = ClipStore(write_store(7))
    assert len(store) == 7 and store.name == 'toy'
    for i in range(7):
        clip = store[i]
        assert_same(make_clip(i, frames=3 + i % 4, persons=1 + i % 2), clip)
        assert clip.body_pixel is None
        for name in ARRAYS:
            array = getattr(clip, name)
            assert not array.flags.writeable and not array.flags.owndata
            assert array.dtype == (np.int32 if name == 'frame_index' else np.float32)
    assert store[-1].clip_id == 'clip_006'
    assert store.labels.tolist() == [0, 1, 2, 3, 0, 1, 2]
    assert store.clip_ids.tolist() == [f'clip_{i:03d}' for i in range(7)]
    assert store.column('subject')[1] == b'2'
    assert store.find('clip_004') == 4 and store.verify() == []
    assert "num_clips=7, body_layout='kinect_v2', hand_layout='hand'" in repr(store)
    with pytest.raises(IndexError):
        store[7]
    with pytest.raises(StoreError, match="no clip 'clip_9'.*clip_000"):
        store.find('clip_9')
    with pytest.raises(ConfigError, match="field 'colour'"):
        store.column('colour')


def test_missing_entries_are_stored_as_zero(write_store, make_clip):
    clip = make_clip(persons=2)
    clip.body[1, 2], clip.body_score[1, 2] = np.nan, 0
    clip.hand[0, 1, 3], clip.hand_score[0, 1, 3] = np.inf, 0
    stored = ClipStore(write_store(clips=[clip]))[0]
    assert not stored.body[1, 2].any() and not stored.hand[0, 1, 3].any()
    assert np.array_equal(stored.body[0], clip.body[0]) and np.isfinite(stored.hand).all()


def test_pixels_channels_and_float64(write_store, make_clip):
    pixels = np.arange(250, dtype=np.float32).reshape(1, 5, 25, 2)
    clip = make_clip(body=np.full((1, 5, 25, 2), 1 / 3), body_pixel=pixels)
    options = {'body_channels': ('x', 'y'), 'pixels': True}
    store = ClipStore(write_store(clips=[clip], **options))
    assert np.array_equal(store[0].body_pixel, pixels)
    assert store[0].body[0, 0, 0, 0] == np.float32(1 / 3)
    assert store.channels == {'body': ('x', 'y'), 'hand': ('x', 'y', 'z')}
    for wrong in (make_clip(1), make_clip(1, body=clip.body)):
        with pytest.raises(ClipError, match="clip 'clip_001': found body"):
            write_store(clips=[wrong], name=f'wrong{wrong.body.shape[-1]}', **options)
    with pytest.raises(ClipError, match='holds no pixels'):
        write_store(clips=[make_clip(body_pixel=pixels)], name='none')


def test_store_without_hands(write_store, make_clip):
    clip = make_clip(persons=2, hand_score=np.zeros((2, 2, 5), np.float32))
    path = write_store(clips=[clip], hand_layout=None)
    assert not (path / 'hand.bin').exists() and not (path / 'hand_score.bin').exists()
    store = ClipStore(path)
    assert not store.has_hands and store.hand_layout is get_layout('hand')
    assert store[0].hand.shape == (2, 2, 5, 21, 3) and not store[0].hand_score.any()
    assert store[0].hand.strides == (0,) * 5
    with pytest.raises(ClipError, match='visible hands'):
        write_store(clips=[make_clip()], name='other', hand_layout=None)


def test_layouts_travel_with_the_store(write_store, make_clip):
    definition = get_layout('kinect_v2').to_dict() | {'name': 'mine', 'center': ('head',)}
    store = ClipStore(write_store(clips=[make_clip()], body_layout=definition))
    assert store.body_layout.name == 'mine' and store.body_layout.center == ('head',)


def test_texts_in_utf8_and_of_fixed_width(write_store, make_clip):
    name = 'Hände/手_01 🙌'
    store = ClipStore(write_store(clips=[make_clip(clip_id=name, subject='Zoë', label=3)]))
    assert store[0].clip_id == name and store[0].subject == 'Zoë'
    assert store.clip_ids.tolist() == [name] and store.find(name) == 0
    assert store.select({'clip_id': name, 'subject': 'Zoë', 'label': 'écrire'}).tolist() == [0]
    longest = 'é' * 64
    assert ClipStore(write_store(clips=[make_clip(clip_id=longest)], name='b')).find(longest) == 0
    too_long = [{'clip_id': 'é' * 64 + 'x'}, {'video': 'v' * 257}, {'subject': 'a\0'}]
    for number, fields in enumerate(too_long):
        with pytest.raises(ClipError, match='bytes; expected a string of at most (128|256|32)'):
            write_store(clips=[make_clip(**fields)], name=f'c{number}')


def test_pickle_sends_the_path(write_store):
    store = ClipStore(write_store(3))
    data = pickle.dumps(store)
    assert len(data) < 500
    assert_same(store[2], pickle.loads(data)[2])


def test_opening_keeps_nothing_per_clip(write_store, make_clip):
    def held(path):
        tracemalloc.start()
        store = ClipStore(path)
        size, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert len(store)
        return size

    clips = [make_clip(i, frames=1) for i in range(1500)]
    many, few = write_store(clips=clips, name='many'), write_store(clips=clips[:2], name='few')
    held(few)
    assert held(many) < held(few) + 4096


def test_commit_makes_clips_visible(tmp_path, make_clip):
    options = {'name': 'toy', 'body_layout': 'kinect_v2', 'classes': list('abcd')}
    with StoreWriter(tmp_path, **options) as writer:
        with pytest.raises(StoreError, match='no clip store'):
            ClipStore(tmp_path)
        writer.commit()
        assert len(ClipStore(tmp_path)) == 0 and ClipStore(tmp_path).verify() == []
        writer.add(make_clip(0))
        writer.commit()
        early = ClipStore(tmp_path)
        writer.add(make_clip(1))
        assert len(ClipStore(tmp_path)) == 1
    assert len(early) == 1 and len(ClipStore(tmp_path)) == 2
    assert_same(make_clip(0), early[0])
    with pytest.raises(StoreError, match='a writer that is closed'):
        writer.add(make_clip(2))


def test_an_exception_in_the_context_commits_nothing(tmp_path, make_clip):
    options = {'name': 'toy', 'body_layout': 'kinect_v2', 'classes': list('abcd')}
    with pytest.raises(RuntimeError, match='stop'), StoreWriter(tmp_path, **options) as writer:
        writer.add(make_clip(0))
        writer.commit()
        writer.add(make_clip(1))
        raise RuntimeError('stop')
    assert ClipStore(tmp_path).clip_ids.tolist() == ['clip_000']


def test_append_and_resume(write_store, make_clip):
    path = write_store(3)
    with StoreWriter(path, append=True, splits={'all_test': {'label': [0, 1, 2, 3]}}) as writer:
        assert writer.clip_ids == {'clip_000', 'clip_001', 'clip_002'}
        with pytest.raises(StoreError, match="clip 'clip_001': found a clip of this id"):
            writer.add(make_clip(1))
        with pytest.raises(ClipError):
            writer.add(make_clip(9, joints=17))
        writer.add(make_clip(3))
    store = ClipStore(path)
    assert_same(make_clip(3), store[3])
    assert store.verify() == [] and len(store.select('all_test')) == 4
    assert 'xsub_train' in store.splits


@pytest.mark.parametrize(
    'options',
    [
        {'name': 'other'},
        {'body_layout': 'kinect_v1'},
        {'hand_layout': None},
        {'pixels': True},
        {'body_channels': 'xy'},
    ],
)
def test_append_refuses_another_store(write_store, options):
    path = write_store(2)
    with pytest.raises(StoreError, match='in the store; expected .* as asked'):
        StoreWriter(path, append=True, **options)
    assert len(ClipStore(path)) == 2
    StoreWriter(path, append=True).close()


def test_writing_over_a_store_is_refused(write_store):
    write_store(1)
    with pytest.raises(StoreError, match='append=True'):
        write_store(1)


def test_new_store_needs_its_description(tmp_path):
    with pytest.raises(ConfigError, match='no classes'):
        StoreWriter(tmp_path / 'a', name='toy', body_layout='coco', append=True)
    with pytest.raises(ConfigError, match=r"classes \['b'\] repeated"):
        StoreWriter(tmp_path / 'b', name='toy', body_layout='coco', classes=['b', 'b'])
    with pytest.raises(ConfigError, match="split 'x'"):
        StoreWriter(tmp_path / 'c', name='t', body_layout='coco', classes='ab', splits={'x': 1})


def test_two_writers_at_once_are_refused(write_store):
    path = write_store(1)
    with StoreWriter(path, append=True):
        with pytest.raises(StoreError, match=f'another writer at work .process {os.getpid()}'):
            StoreWriter(path, append=True)
        assert len(ClipStore(path)) == 1
    StoreWriter(path, append=True).close()


def test_killed_between_add_and_commit(tmp_path, make_clip):
    """The process dies with clips on the disk that were never committed."""
    script = textwrap.dedent(
        """
        import os, signal, sys
        import numpy as np
        from bharnet_mm.datasets.clip import Clip, empty_hands
        from bharnet_mm.datasets.store import StoreWriter

        def clip(i):
            hand, score = empty_hands(1, 3)
            body = np.full((1, 3, 25, 3), i, np.float32)
            return Clip(f'c{i}', 0, body, np.ones((1, 3), np.float32), hand, score, np.arange(3))

        writer = StoreWriter(sys.argv[1], name='t', body_layout='kinect_v2', classes=['a'])
        for i in range(3):
            writer.add(clip(i))
        writer.commit()
        writer.add(clip(3))
        os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    environment = {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'}
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', script, str(tmp_path)], env=environment, check=False
    )
    assert done.returncode == -signal.SIGKILL
    row, body = (tmp_path / name for name in ('index.bin', 'body.bin'))
    assert body.stat().st_size == 4 * 3 * 25 * 3 * 4  # the clip is there, yet not committed
    assert ClipStore(tmp_path).clip_ids.tolist() == ['c0', 'c1', 'c2']
    with open(row, 'ab') as stream:
        stream.write(b'torn')
    with StoreWriter(tmp_path, append=True) as writer:
        assert body.stat().st_size == 3 * 3 * 25 * 3 * 4
        writer.add(make_clip(4, clip_id='c4', label=0))
    store = ClipStore(tmp_path)
    assert store.clip_ids.tolist() == ['c0', 'c1', 'c2', 'c4'] and store.verify() == []
    assert (store[2].body == 2).all()
    assert_same(make_clip(4, clip_id='c4', label=0), store[3])


def test_a_full_disk_cannot_commit_half_a_clip(write_store, make_clip, monkeypatch):
    path = write_store(2)
    writer = StoreWriter(path, append=True)

    def full(handle, data):
        raise OSError(28, 'No space left on device')

    with monkeypatch.context() as patch:
        patch.setattr(os, 'write', full)
        with pytest.raises(StoreError, match='No space left'):
            writer.add(make_clip(5))
    with pytest.raises(StoreError, match='last write failed'):
        writer.commit()
    writer.close()
    assert len(ClipStore(path)) == 2
    with StoreWriter(path, append=True) as writer:
        writer.add(make_clip(5))
    assert ClipStore(path).verify() == []


@pytest.mark.parametrize(
    'file', ['body.bin', 'body_score.bin', 'hand.bin', 'hand_score.bin', 'frame_index.bin']
)
def test_a_flipped_byte_is_found(write_store, file):
    path = write_store(8)
    data = bytearray((path / file).read_bytes())
    data[len(data) // 2] ^= 1
    (path / file).write_bytes(data)
    damaged = ClipStore(path).verify()
    assert len(damaged) == 1 and damaged[0].startswith('clip_00')


def test_a_flipped_byte_of_the_index_is_found(write_store):
    path = write_store(3)
    clean = (path / 'index.bin').read_bytes()
    size = len(clean) // 3
    for position in range(0, size, 7):
        data = bytearray(clean)
        data[size + position] ^= 1
        (path / 'index.bin').write_bytes(data)
        assert len(ClipStore(path).verify()) == 1, position
    data = bytearray(clean)
    data[size + 128 + 6] = 1  # an offset beyond the file
    (path / 'index.bin').write_bytes(data)
    with pytest.raises(StoreError, match=r'clip 1 .*verify\(\)'):
        ClipStore(path)[1]


@pytest.mark.parametrize('file', ['index.bin', 'body.bin', 'frame_index.bin'])
def test_truncated_and_lost_files(write_store, file):
    path = write_store(3)
    data = (path / file).read_bytes()
    (path / file).write_bytes(data[:-1])
    with pytest.raises(StoreError, match=f'{file}: found {len(data) - 1} bytes'):
        ClipStore(path)
    (path / file).unlink()
    with pytest.raises(StoreError, match=f'{file}: found no such file'):
        ClipStore(path)
    with pytest.raises(StoreError):
        StoreWriter(path, append=True)


def test_damaged_description(write_store, tmp_path):
    with pytest.raises(StoreError, match='no such folder'):
        ClipStore(tmp_path / 'nowhere')
    path = write_store(1)
    meta = json.loads((path / 'store.json').read_text())
    changes = [
        ('{', 'damaged JSON'),
        ('[]', 'other content'),
        (json.dumps(meta | {'format': 'coco'}), 'other content'),
        (json.dumps(meta | {'num_clips': 'two'}), 'other content'),
        (json.dumps(meta | {'version': 99}), 'format version 99'),
        (json.dumps(meta | {'body_layout': {'name': 'x'}}), 'a damaged description'),
        (json.dumps(meta | {'channels': {}}), 'a damaged description'),
    ]
    for text, message in changes:
        (path / 'store.json').write_text(text)
        with pytest.raises(StoreError, match=message):
            ClipStore(path)


@pytest.mark.parametrize('file', ['index.bin', 'body.bin', 'hand_score.bin', 'frame_index.bin'])
def test_a_changed_byte_is_noticed_when_the_clip_is_read(write_store, file):
    path = write_store(3)
    whole = ClipStore(path)
    data = bytearray((path / file).read_bytes())
    data[len(data) // 2] ^= 1  # of the middle clip
    (path / file).write_bytes(data)
    store = ClipStore(path)
    store[0], store[2]
    with pytest.raises(StoreError, match='clip 1 .*checksum'):
        store[1]
    with pytest.raises(StoreError, match='checksum'):
        pickle.loads(pickle.dumps(store))[1]
    ClipStore(path, check=False)[1]
    assert whole.check and not pickle.loads(pickle.dumps(ClipStore(path, check=False))).check


@pytest.mark.parametrize('value', [1e25, -1e30, 2e6])
def test_an_absurd_coordinate_is_refused(write_store, make_clip, value):
    clip = make_clip(7)
    clip.body[0, 2, 3, 1] = value
    with StoreWriter(write_store(2), append=True) as writer, pytest.raises(ClipError):
        writer.add(clip)


@pytest.mark.parametrize('file', ['body.bin', 'hand_score.bin', 'index.bin'])
def test_a_file_cut_off_while_it_is_open(write_store, file):
    """An error of ours; a mapped file would end the process by SIGBUS."""
    path = write_store(7)
    store = ClipStore(path)
    first = store[0]
    kept = first.body.copy(), store.column('subject'), store.labels
    os.truncate(path / file, 10)
    assert np.array_equal(first.body, kept[0]) and kept[1][0] and kept[2][0] >= 0
    with pytest.raises(StoreError, match=f'{file}: found 10 bytes'):
        store[6]
    if file == 'index.bin':
        for look in (lambda: store.clip_ids, lambda: store.select(), lambda: store.find('a')):
            with pytest.raises(StoreError, match='index.bin'):
                look()
                store.column('subject')
    code = f'from bharnet_mm.datasets import ClipStore; ClipStore({str(path)!r}).verify()'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 1 and 'StoreError' in done.stderr


def test_a_store_that_is_removed_while_it_is_open_can_still_be_read(write_store, make_clip):
    path = write_store(3)
    store = ClipStore(path)
    for file in path.iterdir():
        file.unlink()
    assert_same(make_clip(2, frames=5, persons=1), store[2])
