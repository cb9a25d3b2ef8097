import importlib.metadata
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from fake_estimator import BACKEND, CRASH, HANG, draw, moving, write_video

from bharnet_mm.datasets import ClipStore, StoreWriter
from bharnet_mm.datasets.extraction.output import ALGORITHM, Settings, merge, shard_folder
from bharnet_mm.datasets.extraction.own_splits import OwnSplits
from bharnet_mm.datasets.extraction.runner import CUT_OFF, extract
from bharnet_mm.errors import BHaRNetError, ConfigError, SourceError, StoreError

FAKE = Settings(backend=BACKEND)
needs_av = pytest.mark.skipif(
    importlib.util.find_spec('av') is None, reason='PyAV is not installed (pip install av)'
)
ROOT = Path(__file__).parents[3]


@pytest.fixture
def videos(tmp_path):
    """Six videos of two classes and two signers; the fourth is no video."""
    folder = tmp_path / 'videos'
    for i, name in enumerate(
        ['tea/S1_a', 'tea/S2_a', 'book/S1_a', 'book/S1_b', 'book/S2_a', 'tea/S2_b']
    ):
        write_video(folder / f'{name}.avi', moving(4 + i, seed=i))
    (folder / 'book/S1_b.avi').write_bytes(b'no video at all' * 99)
    (folder / 'readme.txt').write_text('not a video either')
    return folder


def content(store):
    """Every file that makes the result; the lock holds a process number."""
    return {
        path.name: path.read_bytes()
        for path in sorted(Path(store).iterdir())
        if path.is_file() and path.name != 'writer.lock'
    }


def test_a_folder_of_videos(tmp_path, videos):
    train = tmp_path / 'train.txt'
    train.write_text('# signer 1\nbook/S1_a.avi\ntea/S1_a\nbook/S1_b\n\n')
    report = extract(
        videos, tmp_path / 'out', FAKE, workers=0,
        subject=r'(S\d)_', split_lists=[f'own_train={train}'],
    )  # fmt: skip
    store = ClipStore(tmp_path / 'out')
    assert store.clip_ids.tolist() == ['book/S1_a', 'book/S2_a', 'tea/S1_a', 'tea/S2_a', 'tea/S2_b']
    assert store.classes == ['book', 'tea'] and store.labels.tolist() == [0, 0, 1, 1, 1]
    assert [clip.subject for clip in store] == ['S1', 'S2', 'S1', 'S2', 'S2']
    assert [clip.num_frames for clip in store] == [6, 8, 4, 5, 9]
    assert store.channels == {'body': ('x', 'y'), 'hand': ('x', 'y', 'z')}
    assert store.verify() == []
    assert store.select('own_train').tolist() == [0, 2]
    assert all((clip.hand_score > 0).all() and clip.fps == 25 for clip in store)
    assert (report.found, report.kept, report.num_refused, report.frames) == (6, 5, 1, 32)
    refused = json.loads((tmp_path / 'out' / 'refused.json').read_text())
    ((reason, names),) = refused.items()
    assert list(names) == ['book/S1_b.avi'] and 'cannot read' in reason
    assert any('1 of 3' in note for note in report.notes)


def test_a_flat_folder(tmp_path):
    write_video(tmp_path / 'v' / 'a.avi', moving(3))
    extract(tmp_path / 'v', tmp_path / 'out', FAKE, workers=0)
    store = ClipStore(tmp_path / 'out')
    assert store.classes == ['unknown'] and store.clip_ids.tolist() == ['a']


def test_continued_after_each_clip_it_is_the_same(tmp_path, videos, monkeypatch):
    extract(videos, tmp_path / 'whole', FAKE, workers=0)
    add, left = StoreWriter.add, [1]

    def dying(self, clip):
        if not left[0]:
            self.commit()
            raise KeyboardInterrupt
        left[0] -= 1
        add(self, clip)

    monkeypatch.setattr(StoreWriter, 'add', dying)
    for _ in range(4):
        left[0] = 1
        with pytest.raises(KeyboardInterrupt):
            extract(videos, tmp_path / 'parts', FAKE, workers=0)
        assert content(tmp_path / 'parts') != content(tmp_path / 'whole')
    left[0] = 1
    report = extract(videos, tmp_path / 'parts', FAKE, workers=0)
    assert (report.skipped, report.kept, report.num_refused) == (4, 1, 1)
    assert content(tmp_path / 'parts') == content(tmp_path / 'whole')
    left[0] = 0
    report = extract(videos, tmp_path / 'parts', FAKE, workers=0)
    assert report.skipped == 5 and content(tmp_path / 'parts') == content(tmp_path / 'whole')


def test_killed_half_way_and_run_again_it_is_the_same(tmp_path, videos):
    for i in range(6):
        write_video(videos / 'milk' / f'S3_{i}.avi', moving(12, seed=i))
    extract(videos, tmp_path / 'whole', FAKE, workers=0)
    script = f"""
import os
os.fsync = lambda handle: None
from pathlib import Path
import bharnet_mm.datasets.extraction.runner as runner
import bharnet_mm.datasets.ingest as ingest
from bharnet_mm.datasets.extraction.output import Settings
ingest._COMMIT_SECONDS = -1
runner.extract(Path({str(videos)!r}), Path({str(tmp_path / 'parts')!r}),
               Settings(backend={BACKEND!r}), workers=0)
"""
    process = subprocess.Popen(
        [sys.executable, '-c', script],
        env={
            **os.environ,
            'PYTHONPATH': os.pathsep.join(map(str, (ROOT, ROOT / 'tests', Path(__file__).parent))),
        },
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    meta = tmp_path / 'parts' / 'store.json'
    while process.poll() is None and time.monotonic() < deadline:
        if meta.exists() and json.loads(meta.read_text())['num_clips'] >= 3:
            process.send_signal(signal.SIGKILL)
        time.sleep(0.01)
    assert process.wait() == -signal.SIGKILL
    have = len(ClipStore(tmp_path / 'parts'))
    assert 3 <= have < 11
    report = extract(videos, tmp_path / 'parts', FAKE, workers=0)
    assert (report.skipped, report.kept) == (have, 11 - have)
    assert content(tmp_path / 'parts') == content(tmp_path / 'whole')


def test_processes_write_what_one_writes(tmp_path, videos):
    write_video(videos / 'book' / 'S0_hang.avi', [*moving(3), draw({}) * 0 + np.uint8(HANG)])
    write_video(videos / 'tea' / 'S0_crash.avi', [*moving(3), draw({}) * 0 + np.uint8(CRASH)])
    report = extract(videos, tmp_path / 'two', FAKE, workers=2, timeout=5)
    assert (report.kept, report.num_refused) == (5, 3)
    reasons = {name: reason for reason, names in report.refused.items() for name, _ in names}
    assert 'no progress' in reasons['book/S0_hang.avi']
    assert 'crashed' in reasons['tea/S0_crash.avi']
    for name in ('book/S0_hang.avi', 'tea/S0_crash.avi'):
        (videos / name).unlink()
    extract(videos, tmp_path / 'one', FAKE, workers=0)
    one, two = content(tmp_path / 'one'), content(tmp_path / 'two')
    one.pop('refused.json'), two.pop('refused.json')
    assert one == two


@pytest.mark.parametrize('count', [2, 9])
def test_shards_joined_are_one_run(tmp_path, videos, count):
    train = tmp_path / 'train.txt'
    train.write_text('book/S1_a\n')
    lists = [f'own_train={train}']
    extract(videos, tmp_path / 'whole', FAKE, workers=0, split_lists=lists)
    out = tmp_path / 'out'
    for i in range(count, 0, -1):
        if i == 1:
            with pytest.raises(StoreError, match='shard'):
                merge(videos, out, split_lists=lists)
        extract(videos, out, FAKE, workers=0, shard=(i, count))
    assert len(list(out.iterdir())) == count
    (out / f'shard-1-of-{count}').rename(tmp_path / 'kept')
    extract(videos / 'book', tmp_path / 'half', FAKE, workers=0)
    (tmp_path / 'half').rename(out / f'shard-1-of-{count}')
    with pytest.raises(StoreError, match='book/S1_a'):
        merge(videos, out, split_lists=lists)
    shutil.rmtree(out / f'shard-1-of-{count}')
    (tmp_path / 'kept').rename(out / f'shard-1-of-{count}')
    report = merge(videos, out, split_lists=lists)
    assert (report.kept, report.num_refused) == (5, 1)
    assert content(out) == content(tmp_path / 'whole')
    assert sum(len(ClipStore(s)) for s in out.glob('shard-*') if (s / 'store.json').exists()) == 5
    assert shard_folder(out, 1, count).is_dir()


def test_a_changed_setting_is_not_mixed_in(tmp_path, videos):
    extract(videos, tmp_path / 'out', FAKE, workers=0)
    with pytest.raises(ConfigError, match='min_score'):
        extract(videos, tmp_path / 'out', Settings(BACKEND, 0.1), workers=0)


@pytest.mark.parametrize('changes', [dict(algorithm=1), dict(library='mediapipe 0.9')])
def test_what_another_version_began_is_not_continued(tmp_path, videos, changes):
    extract(videos, tmp_path / 'out', FAKE, workers=0)
    file = tmp_path / 'out/extraction.json'
    begun = json.loads(file.read_text())
    assert begun['algorithm'] == ALGORITHM
    file.write_text(json.dumps(begun | changes))
    ((name, old),) = changes.items()
    with pytest.raises(ConfigError, match=f'{name} {old!r}; expected {name} {begun[name]!r}'):
        extract(videos, tmp_path / 'out', FAKE, workers=0)
    del begun['algorithm']
    file.write_text(json.dumps(begun))
    with pytest.raises(ConfigError, match='algorithm .unknown, of an earlier version'):
        extract(videos, tmp_path / 'out', FAKE, workers=0)
    shutil.move(tmp_path / 'out', tmp_path / 'all/shard-1-of-1')
    with pytest.raises(ConfigError, match='algorithm .unknown, of an earlier version'):
        merge(videos, tmp_path / 'all')


def test_the_library_of_the_backend_is_named():
    found = Settings('mediapipe').library
    if importlib.util.find_spec('mediapipe') is not None:
        assert found == f'mediapipe {importlib.metadata.version("mediapipe")}'
    assert FAKE.library == ''


def test_another_store_is_not_written_to(tmp_path, videos, make_clip):
    with StoreWriter(tmp_path / 'out', name='x', body_layout='kinect_v2', classes=['a']) as writer:
        writer.add(make_clip(label=0))
    with pytest.raises(StoreError, match='not made by extraction'):
        extract(videos, tmp_path / 'out', FAKE, workers=0)


def test_wrong_folders(tmp_path, videos):
    with pytest.raises(SourceError, match='no folder'):
        extract(tmp_path / 'nowhere', tmp_path / 'out', FAKE)
    (tmp_path / 'empty').mkdir()
    with pytest.raises(SourceError, match='no video'):
        extract(tmp_path / 'empty', tmp_path / 'out', FAKE)
    with pytest.raises(ConfigError, match='no match'):
        extract(videos, tmp_path / 'out', FAKE, subject=r'P\d')
    write_video(videos / 'tea' / 'S1_a.mp4.avi', moving(2))
    (videos / 'tea' / 'S1_a.mp4').write_bytes(b'')
    with pytest.raises(SourceError, match='tea/S1_a'):
        extract(videos, tmp_path / 'out', FAKE)
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize('backend', ['alphapose', 'nowhere:Thing', f'{__name__}:Nothing'])
def test_an_unknown_backend(tmp_path, videos, backend):
    with pytest.raises(BHaRNetError, match='backend'):
        extract(videos, tmp_path / 'out', Settings(backend), workers=0)


@pytest.fixture
def body_store(tmp_path, videos, make_clip):
    """Bodies of videos, with an id that is not the video's name, one clip's video missing."""
    from test_extract import body_clip, wrists

    with StoreWriter(
        tmp_path / 'bodies', name='bodies', body_layout='coco', hand_layout=None, pixels=True,
        classes=['x', 'y'], splits={'own_train': {'subject': ['7']}},
    ) as writer:  # fmt: skip
        for i, (video, first) in enumerate(
            [('S2_a_rgb.avi', 0), ('deep/S1.mp4', 0), ('gone.avi', 0), ('deep/S1.mp4', 3)]
        ):
            clip = body_clip(
                wrists(3, 2, first), first=first, clip_id=f'c{i}', video=video, subject=str(6 + i),
                label=i % 2, camera='2', setup='3', source='lab', fps=30.0,
            )  # fmt: skip
            writer.add(clip)
    folder = tmp_path / 'rgb'
    write_video(folder / 'a' / 'S2_a_rgb.avi', moving(5, persons=2))
    write_video(folder / 'b' / 'S1.avi', moving(8, persons=2))
    return tmp_path / 'bodies', folder


def test_hands_for_a_store(tmp_path, body_store):
    source, folder = body_store
    settings = Settings(BACKEND, with_store=True)
    report = extract(folder, tmp_path / 'out', settings, store=source, workers=0)
    before, after = ClipStore(source), ClipStore(tmp_path / 'out')
    assert after.clip_ids.tolist() == ['c0', 'c1', 'c3']
    assert report.refused == {'no video of this name': [('c2', 'gone.avi')]}
    assert after.splits == before.splits and after.classes == before.classes
    assert after.name == 'bodies' and after.verify() == []
    for clip in after:
        old = before[before.find(clip.clip_id)]
        for name in ('body', 'body_score', 'body_pixel', 'frame_index'):
            np.testing.assert_array_equal(getattr(clip, name), getattr(old, name))
        for name in ('label', 'subject', 'camera', 'setup', 'source', 'video', 'fps', 'image_size'):
            assert getattr(clip, name) == getattr(old, name)
        assert (clip.hand_score > 0).all()
        wrist = [[joint[COCO_WRISTS] for joint in person] for person in clip.body_pixel]
        wrist = np.array(wrist).swapaxes(1, 2) / [160, 120]
        np.testing.assert_allclose(clip.hand[..., 0, :2], wrist, atol=0.01)


COCO_WRISTS = [9, 10]


def test_shards_of_a_store(tmp_path, body_store):
    source, folder = body_store
    settings = Settings(BACKEND, with_store=True)
    extract(folder, tmp_path / 'whole', settings, store=source, workers=0)
    for i in (1, 2):
        extract(folder, tmp_path / 'out', settings, store=source, workers=0, shard=(i, 2))
    merge(folder, tmp_path / 'out', store=source)
    assert content(tmp_path / 'out') == content(tmp_path / 'whole')


def test_new_videos_and_new_labels_are_added_to_a_store(tmp_path, videos):
    """The classes that are new come after the old ones, whose numbers stay; clips too."""
    extract(videos, tmp_path / 'out', FAKE, workers=0)
    before = {clip.clip_id: clip.label for clip in ClipStore(tmp_path / 'out')}
    write_video(videos / 'apple' / 'S1_a.avi', moving(5))
    write_video(videos / 'tea' / 'S9_a.avi', moving(5))
    report = extract(
        videos, tmp_path / 'out', FAKE, workers=0, splits=OwnSplits(test_share=0.5), subject='S.'
    )
    store = ClipStore(tmp_path / 'out')
    assert (report.kept, report.skipped) == (2, 5)
    assert store.classes == ['book', 'tea', 'apple']
    after = {clip.clip_id: clip.label for clip in store}
    assert {k: v for k, v in after.items() if k in before} == before
    assert after['apple/S1_a'] == 2 and after['tea/S9_a'] == 1
    assert len(store.select('own_train')) + len(store.select('own_test')) == 7


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        (dict(splits=OwnSplits(test_subjects=('S7',)), subject=r'(S\d)_'), 'S7'),
        (dict(splits=OwnSplits(leave_one_out=True)), 'subject-regex'),
        (dict(splits=OwnSplits(test_share=0.2)), 'two clips of a class'),
        (dict(split_lists=['own_train={file}']), 'no clip of these 1 lines'),
    ],
)
def test_splits_that_cannot_be_made_are_refused_before_the_work(tmp_path, options, said):
    for name in ('tea/S1_a', 'book/S2_a'):
        write_video(tmp_path / 'videos' / f'{name}.avi', moving(4))
    file = tmp_path / 'list.txt'
    file.write_text('somewhere/else.mp4\n')
    if 'split_lists' in options:
        options = dict(split_lists=[text.format(file=file) for text in options['split_lists']])
    with pytest.raises(ConfigError, match=said):
        extract(tmp_path / 'videos', tmp_path / 'out', FAKE, workers=0, **options)
    assert not (tmp_path / 'out').exists()


def test_clips_of_earlier_runs_count_for_the_splits(tmp_path):
    write_video(tmp_path / 'first' / 'tea' / 'a.avi', moving(4))
    write_video(tmp_path / 'second' / 'tea' / 'b.avi', moving(4))
    extract(tmp_path / 'first', tmp_path / 'out', FAKE, workers=0)
    share = OwnSplits(test_share=0.5)
    extract(tmp_path / 'second', tmp_path / 'out', FAKE, workers=0, splits=share)
    store = ClipStore(tmp_path / 'out')
    assert [len(store.select(name)) for name in ('own_train', 'own_test')] == [1, 1]


def test_what_was_passed_over_is_named(tmp_path, videos):
    (videos / '._S1_a.avi').write_bytes(b'x')
    report = extract(videos, tmp_path / 'out', FAKE, workers=0)
    (note,) = report.notes
    assert note == 'passed over 1 files that are no videos (.txt), such as readme.txt'


def test_a_name_is_one_class_in_both_unicode_forms(tmp_path):
    for i, form in enumerate(('caf\u00e9', 'cafe\u0301')):
        write_video(tmp_path / 'v' / form / f'{i}.avi', moving(3))
    extract(tmp_path / 'v', tmp_path / 'out', FAKE, workers=0)
    store = ClipStore(tmp_path / 'out')
    assert store.classes == ['caf\u00e9'] and len(store) == 2
    assert sorted(clip.video for clip in store) == sorted(('cafe\u0301/1.avi', 'caf\u00e9/0.avi'))


@needs_av
def test_frames_that_cannot_be_decoded_are_counted_and_the_video_named(tmp_path):
    from everyday import encode, trim

    encode(tmp_path / 'whole.mp4', moving(40))
    (tmp_path / 'v').mkdir()
    trim(tmp_path / 'whole.mp4', tmp_path / 'v' / 'cut.mp4', 25)
    report = extract(tmp_path / 'v', tmp_path / 'out', FAKE, workers=0)
    assert ClipStore(tmp_path / 'out')[0].num_frames == 15
    assert sum(report.repaired.values()) == 25
    assert '            cut.mp4' in str(report).splitlines()


@needs_av
def test_a_video_that_was_cut_off_is_noticed(tmp_path):
    for name in ('whole', 'short'):
        write_video(tmp_path / f'videos/wave/{name}.avi', moving(40))
    short = tmp_path / 'videos/wave/short.avi'
    os.truncate(short, short.stat().st_size // 2)
    report = extract(tmp_path / 'videos', tmp_path / 'out', FAKE, workers=0)
    assert report.kept == 2 and report.noticed == {CUT_OFF: ['wave/short.avi']}
