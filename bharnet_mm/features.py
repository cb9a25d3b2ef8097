"""The four skeleton features, for numpy arrays and torch tensors alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from .errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

FEATURES = ('joint', 'bone', 'joint_motion', 'bone_motion')
Array = TypeVar('Array', 'np.ndarray', 'Tensor')


def check_feature(feature: str) -> str:
    """Returns ``feature``, or raises ConfigError if it is none of :data:`FEATURES`."""
    if feature not in FEATURES:
        raise ConfigError('feature', repr(feature), f'one of {FEATURES}', 'correct feature')
    return feature


def make_feature(
    x: Array, visible: Array, parent_index: Array, feature: str
) -> tuple[Array, Array]:
    """Turns joint positions into one of four features. The input is not changed.

    - ``joint``: the positions x.
    - ``bone``: ``x[v] - x[parent(v)]``; 0 for the root, which is its own parent.
    - ``joint_motion``: ``x[t + 1] - x[t]``; 0 in the last frame.
    - ``bone_motion``: the motion of the bones.

    A motion is visible if both of its frames are visible. The last frame is as visible as the one
    before. If a clip has one frame, its motion is 0 and its visibility is unchanged.

    Args:
        x: (..., T, V, C) positions.
        visible: (..., T) bool.
        parent_index: (V,), see :class:`SkeletonLayout`.
        feature: One of :data:`FEATURES`.

    Returns:
        Feature and visibility, with the shapes of ``x`` and ``visible``.
    """
    if feature.startswith('bone'):
        x = x - x[..., parent_index, :]
    if feature.endswith('motion'):
        motion = _copy(x)
        motion[..., :-1, :, :] = x[..., 1:, :, :] - x[..., :-1, :, :]
        motion[..., -1, :, :] = 0
        x = motion
        if visible.shape[-1] > 1:
            both = _copy(visible)
            both[..., :-1] &= visible[..., 1:]
            both[..., -1] = both[..., -2]
            visible = both
    return x, visible


def _copy(x: Array) -> Array:
    return x.clone() if hasattr(x, 'clone') else x.copy()
