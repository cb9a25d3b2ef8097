"""Finds layout, channels and unit of keypoint arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ...anatomy import usual_layout
from ...errors import ConfigError, SourceError
from ...layouts import LAYOUTS, SkeletonLayout, get_layout

NUM_WHOLEBODY = 133
#: Values of ``--channels``; c is the confidence of the joint.
CHANNELS = ('xy', 'xyz', 'xyc', 'xyzc')
#: Layouts of estimators that see an image only.
_FLAT = ('coco', 'coco_wholebody', 'openpose_18', 'openpose_25')
_LOOKED_AT = 200  # annotations
_PIXELS = 10.0  # no coordinate in metres is so large, and most in pixels are


class KeypointForm(NamedTuple):
    """Layout, channels (one of ``CHANNELS``) and unit (``'pixel'``, ``'fraction'`` or ``''``)."""

    layout: SkeletonLayout
    channels: str
    unit: str

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the coordinates."""
        return tuple(self.channels.removesuffix('c'))


def form_of(
    annotations: Sequence[dict], layout: str | None = None, channels: str | None = None
) -> KeypointForm:
    """The form of annotations of MMAction2 or pyskl.

    Args:
        annotations: Annotations with ``keypoint (M, T, V, C)``.
        layout: Name of the layout; None takes it from the number of joints.
        channels: One of ``CHANNELS``; None takes them from the values if these are clear.

    Raises:
        SourceError: No annotation has keypoints.
        ConfigError: The layout or the channels are not clear.
    """
    skeleton = layout_of(annotations, layout)
    values = _values(annotations)
    channels = channels_of(values, skeleton, channels)
    plane = np.abs(values[:, :2])
    unit = ''
    if channels in ('xy', 'xyc') and len(plane):
        unit = 'fraction' if plane.max() <= 2.0 and np.median(plane) <= 1.0 else 'pixel'
    return KeypointForm(skeleton, channels, unit)


def layout_of(annotations: Sequence[dict], layout: str | None = None) -> SkeletonLayout:
    """The layout by name, or by the number of joints of the first annotation that has keypoints.

    Raises:
        SourceError: No annotation has keypoints.
        ConfigError: There is no layout with this number of joints, or it is not that of the layout.
    """
    shapes = [shape_of(a['keypoint']) for a in annotations if a.get('keypoint') is not None]
    whole = [shape for shape in shapes if isinstance(shape, tuple) and len(shape) == 4]
    if not whole:
        found = f'keypoints of shape {shapes[0]}' if shapes else 'no keypoint in any of them'
        raise SourceError(
            'annotations',
            found=found,
            expected='keypoints of shape (M, T, V, C): persons, frames, joints, channels',
            fix='add the axis of persons (keypoint[None]) where there is one person; keypoints '
            'kept '
            'in separate files have to be put into the annotations first',
        )
    joints = whole[0][2]
    if layout is None and joints == NUM_WHOLEBODY:
        return get_layout('coco_wholebody')
    if layout is None and (usual := usual_layout(joints)) is not None:
        return usual
    if layout is None or get_layout(layout).num_joints != joints:
        raise ConfigError(
            '--layout',
            found=f'{layout} for {joints} joints',
            expected=f'a layout with {joints} joints, one of {sorted(LAYOUTS)}',
            fix='name the layout of this data',
        )
    return get_layout(layout)


def shape_of(keypoint: Any) -> tuple[int, ...] | str:
    """Shape of a keypoint array; a description in words if it is not one array of numbers."""
    try:
        array = np.asarray(keypoint)
    except ValueError:
        return f'that differs within a {type(keypoint).__name__} of {len(keypoint)} entries'
    if array.dtype.kind not in 'fiu':
        return f'{array.shape} and type {array.dtype}'
    return array.shape


def channels_of(values: np.ndarray, layout: SkeletonLayout, given: str | None = None) -> str:
    """The channels of keypoints.

    A third channel within [0, 1] beside pixels is a confidence. If it could be a depth or a
    confidence, an error is raised.

    Args:
        values: Some keypoints, (n, C).
        layout: Layout of the joints.
        given: Channels that the user named.

    Raises:
        ConfigError: The channels are not clear, or are not those that the user named.
    """
    count = values.shape[1]
    fix = 'say what they are: --channels xyc (x, y, confidence), xyz (depth) or xy (drop the rest)'
    if given is not None:
        if len(given) > count:
            raise ConfigError('--channels', f'{given} for {count} channels', 'what is there', fix)
        return given
    if count == 2:
        return 'xy'
    last = values[:, -1] if len(values) else np.zeros(1)
    low, high = float(last.min()), float(last.max())
    unsure = f'{count} channels, the last from {low:.4g} to {high:.4g}'
    if count == 4 and 0 <= low < high <= 1:
        return 'xyzc'
    if count == 3 and len(values):
        reach = float(np.abs(values[:, :2]).max())
        if 0 <= low and 0 < high <= 1 and reach > _PIXELS:
            return 'xyc'
        depth = low != high and not (0 <= low and high <= 1)
        if depth and layout.name not in _FLAT:
            return 'xyz'
        unsure += f', with joints of {layout.name!r}' + ('' if depth else ', which may be a depth')
    raise ConfigError('--channels', unsure, 'channels whose meaning is clear', fix)


def _values(annotations: Sequence[dict]) -> np.ndarray:
    """Keypoints of some annotations that are not all zero or not finite, (n, C) float32."""
    chosen = np.unique(np.linspace(0, len(annotations) - 1, _LOOKED_AT).round().astype(int))
    parts: list[np.ndarray] = []
    for annotation in (annotations[i] for i in chosen.tolist()):
        shape = shape_of(annotation.get('keypoint'))
        if not isinstance(shape, tuple) or len(shape) != 4:
            continue  # refused when it is read
        points = np.asarray(annotation['keypoint']).reshape(-1, shape[3]).astype(np.float32)
        if parts and points.shape[1] != parts[0].shape[1]:
            continue
        parts.append(points[np.isfinite(points).all(axis=1) & (points[:, :2] != 0).any(axis=1)])
    return np.concatenate(parts) if parts else np.zeros((0, 2), np.float32)
