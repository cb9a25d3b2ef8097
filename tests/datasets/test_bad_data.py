"""Bad data that toolboxes swallow ends here in an error that names the clip and the fix."""

import numpy as np
import pytest

from bharnet_mm.datasets import BodyHandDataset, ClipStore
from bharnet_mm.errors import BHaRNetError, ClipError, ConfigError, StoreError


def nan_joint(clip):
    clip.body[0, 2, 7, 1] = np.nan


def integer_keypoints(clip):
    clip.body = (clip.body * 100).astype(np.int64)


def half_precision_pixels(clip):
    clip.body = clip.body.astype(np.float16)


def frame_count_that_disagrees(clip):
    clip.frame_index = clip.frame_index[:-1]


def no_frames(clip):
    clip.body = clip.body[:, :0]


def seventeen_joints(clip):
    clip.body = clip.body[:, :, :17]


def label_outside(clip):
    clip.label = 7


def scores_in_percent(clip):
    clip.body_score = clip.body_score * 100


@pytest.mark.parametrize(
    'spoil',
    [
        nan_joint,
        integer_keypoints,
        half_precision_pixels,
        frame_count_that_disagrees,
        no_frames,
        seventeen_joints,
        label_outside,
        scores_in_percent,
    ],
)
def test_a_bad_clip_never_enters_a_store(write_store, make_clip, tmp_path, spoil):
    clip = make_clip(3)
    spoil(clip)
    with pytest.raises(ClipError, match="clip 'clip_003': found .*; expected .*") as error:
        write_store(clips=[make_clip(1), clip])
    assert 'Fix: ' in str(error.value)
    with pytest.raises(StoreError, match='no clip store'):
        ClipStore(tmp_path / 'store')


def test_nan_joint_can_be_repaired_and_is_counted(write_store, make_clip):
    clip = make_clip(3)
    nan_joint(clip)
    repaired, count = clip.with_nonfinite_masked()
    assert count == 1
    results = BodyHandDataset(write_store(clips=[repaired]), [])[0]
    assert results['body_visible'].tolist() == [[True, True, False, True, True]]
    assert np.isfinite(results['body']).all()


def test_a_missing_hand_at_the_origin_is_missing_not_a_place(write_store, make_clip):
    clip = make_clip(3)
    clip.hand[0, 1], clip.hand_score[0, 1] = 0, 0
    visible = BodyHandDataset(write_store(clips=[clip]), [])[0]['hand_visible']
    assert visible[0, 0].all() and not visible[0, 1].any()


def test_more_than_two_persons_are_kept(write_store, make_clip):
    results = BodyHandDataset(write_store(clips=[make_clip(3, persons=5)]), [])[0]
    assert results['body'].shape[0] == 5 and results['hand_visible'].shape[0] == 5


@pytest.mark.parametrize('split', ['xview_train', {'clip_id': ['clip_000', 'clip_099']}])
def test_unknown_splits_and_ids_without_clips(write_store, split):
    with pytest.raises(ConfigError, match='xsub_train|clip_099') as error:
        BodyHandDataset(write_store(3), [], split=split)
    assert 'Fix: ' in str(error.value)


def test_no_bare_errors(write_store):
    path = write_store(3)
    (path / 'hand.bin').write_bytes(b'')
    with pytest.raises(BHaRNetError, match=r'hand\.bin'):
        BodyHandDataset(path, [])
