"""Splits the 133 keypoints of COCO-WholeBody (rtmlib, MMPose) into a body and two hands.

The order is body 0-16, feet 17-22, face 23-90, left hand 91-111, right hand 112-132; both hands in
the order of MediaPipe's 21 joints. The joints are selected by name; feet and face are not used.
"""

import numpy as np

from ...errors import SourceError
from ...layouts import get_layout

NUM_KEYPOINTS = 133


def split_wholebody(
    keypoint: np.ndarray, score: np.ndarray | None, where: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Splits whole-body keypoints.

    Args:
        keypoint (np.ndarray): Shape (M, T, 133, C).
        score (np.ndarray, optional): Shape (M, T, 133), confidence of each keypoint. None: a joint
            is present unless it is all zero.
        where (str): Name of the clip, for error messages.

    Returns:
        tuple: ``body (M, T, 17, C)``, ``body_score (M, T, 17)``, ``hand (M, 2, T, 21, C)`` left
            then right, ``hand_score (M, 2, T, 21)``.

    Raises:
        SourceError: Other shapes.
    """
    if keypoint.ndim != 4 or keypoint.shape[2] != NUM_KEYPOINTS:
        raise SourceError(
            where,
            found=f'keypoints of shape {keypoint.shape}',
            expected=f'(persons, frames, {NUM_KEYPOINTS}, channels)',
            fix='give all COCO-WholeBody keypoints, persons first',
        )
    if score is None:
        score = (keypoint != 0).any(axis=-1).astype(np.float32)
    if score.shape != keypoint.shape[:3]:
        raise SourceError(
            where,
            found=f'scores of shape {score.shape}',
            expected=f'{keypoint.shape[:3]}, one for each keypoint',
            fix='give the scores of the same persons and frames',
        )
    whole = get_layout('coco_wholebody')
    body = whole.select('coco')
    hands = [whole.select('hand', prefix=f'{side}_hand.') for side in ('left', 'right')]
    return (
        keypoint[:, :, body],
        score[:, :, body],
        np.stack([keypoint[:, :, hand] for hand in hands], axis=1),
        np.stack([score[:, :, hand] for hand in hands], axis=1),
    )
