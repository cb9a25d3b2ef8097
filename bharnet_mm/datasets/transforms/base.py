"""Base class of the transforms, checks of arguments, and access to bodies and hands of a clip."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np

from bharnet_mm.errors import ClipError, ConfigError
from bharnet_mm.layouts import SkeletonLayout
from bharnet_mm.log import warn

from ..joints import neighbours  # noqa: F401  of instances, and so used by the transforms

SKELETONS = ('body', 'hand')
#: Arrays of a clip with an entry for each frame, and the axis of the frames. Where that is not the
#: first axis, the first one is that of the persons.
FRAME_AXES = {
    'frame_index': 0,
    'body': 1,
    'body_visible': 1,
    'body_joint_visible': 1,
    'body_pixel': 1,
    'hand': 2,
    'hand_visible': 2,
    'hand_joint_visible': 2,
}


class BodyHandTransform:
    """Base class of the transforms on body and hand clips.

    Transforms need only numpy, so that an exported model can use the same code without MMAction2
    (:mod:`bharnet_mm.runtime`). :mod:`bharnet_mm.datasets.registration` registers them in
    MMAction2's ``TRANSFORMS``.

    ``results`` is the dict that ``BodyHandDataset`` makes. A call does not change that dict or its
    arrays, which may be read-only memory maps. The transform works on a shallow copy and replaces
    arrays. Missing entries have no meaning and may have any value, also NaN; they never influence a
    visible entry.

    Subclasses keep each argument in an attribute of the same name, which ``repr`` prints.

    Attributes:
        num_untreated: Number of clips that could not be treated as asked (see the subclass).
    """

    num_untreated: int = 0

    def __call__(self, results: dict) -> dict:
        """Applies the transform to a shallow copy of ``results``.

        Raises:
            ConfigError: ``results`` lacks a key that the transform needs.
            ClipError: The clip does not fit the transform.
        """
        results = results.copy()
        try:
            # Missing entries may be infinite. The values computed from them are missing too.
            with np.errstate(all='ignore'):
                return self.transform(results)
        except KeyError as error:
            key = error.args[0] if error.args else None
            if key in results:
                raise
            raise ConfigError(
                f'{type(self).__name__} on clip {results.get("clip_id")!r}',
                f'no key {key!r} in results (only {sorted(map(str, results))})',
                'the keys it requires, see its docstring',
                'correct the order of the pipeline',
            ) from error

    def transform(self, results: dict) -> dict:
        """Changes a shallow copy of ``results`` and returns it. Subclasses implement it."""
        raise NotImplementedError

    def __repr__(self) -> str:
        names = inspect.signature(type(self).__init__).parameters
        arguments = ', '.join(f'{n}={getattr(self, n)!r}' for n in names if n != 'self')
        return f'{type(self).__name__}({arguments})'

    def _check(self, ok: Any, argument: str, expected: str) -> None:
        """Raises ConfigError about an argument, which is an attribute already, unless ``ok``."""
        if not ok:
            raise ConfigError(
                f'{type(self).__name__}({argument}=...)',
                repr(getattr(self, argument)),
                expected,
                f'correct {argument} in the config',
            )

    def _clip_error(self, results: dict, found: str, expected: str, fix: str) -> ClipError:
        where = f'clip {results.get("clip_id")!r} in {type(self).__name__}'
        return ClipError(where, found, expected, fix)

    def _count(self, results: dict, what: str) -> None:
        """Counts a clip that could not be treated as asked; logs the first one."""
        self.num_untreated += 1
        if self.num_untreated == 1:
            warn(
                f'{type(self).__name__}: {what} in clip {results.get("clip_id")!r}; further such '
                'clips of this process are not logged (tools/data/doctor.py looks at all)'
            )


def is_number(value: Any, low: float = -np.inf, high: float = np.inf) -> bool:
    """Whether it is a finite real number (not a bool) within [low, high]."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        return False
    return bool(np.isfinite(value)) and low <= value <= high


def is_count(value: Any, low: int = 1) -> bool:
    """Whether it is a whole number (not a bool) of at least ``low``."""
    return not isinstance(value, bool) and isinstance(value, (int, np.integer)) and value >= low


def is_pair(value: Any, low: float, high: float) -> bool:
    """Whether it is two numbers in ascending order within [low, high]."""
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        return False
    return all(is_number(v, low, high) for v in value) and value[0] <= value[1]


def are_parts(value: Any) -> bool:
    """Whether it is a sequence of 'body', 'hand' or both, each once."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        return False
    return bool(value) and all(v in SKELETONS for v in value) and len(set(value)) == len(value)


def get_part(results: dict, part: str) -> tuple[np.ndarray, np.ndarray, SkeletonLayout]:
    """Coordinates (I, T, V, C), visibility (I, T) and layout of the bodies or hands.

    An instance is one person's body (I = M) or one hand (I = 2M: left and right of person 0, left
    and right of person 1, ...).
    """
    x, visible = results[part], results[f'{part}_visible']
    if part == 'hand':
        x, visible = x.reshape(-1, *x.shape[2:]), visible.reshape(-1, visible.shape[2])
    return x, visible, results[f'{part}_layout']


def set_part(results: dict, part: str, x: np.ndarray, visible: np.ndarray | None = None) -> None:
    """Replaces what ``get_part`` returned."""
    if part == 'hand':
        x = x.reshape(-1, 2, *x.shape[1:])
        visible = None if visible is None else visible.reshape(-1, 2, visible.shape[1])
    results[part] = x
    if visible is not None:
        results[f'{part}_visible'] = visible


def get_known(results: dict, part: str) -> np.ndarray | None:
    """Joints that are not filled, (I, T, V) bool; None if all of them are.

    The other joints have positions that were filled from other frames.
    """
    known = results.get(f'{part}_joint_visible')
    return known if known is None or part == 'body' else known.reshape(-1, *known.shape[2:])


def set_known(results: dict, part: str, known: np.ndarray) -> None:
    """Replaces what ``get_known`` returned."""
    if part == 'hand':
        known = known.reshape(-1, 2, *known.shape[1:])
    results[f'{part}_joint_visible'] = known


def scale_lengths(
    x: np.ndarray, visible: np.ndarray, layout: SkeletonLayout, known: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Length of the layout's ``scale`` pair in each frame, and whether it is valid; both (I, T).

    It is valid if the instance is visible and the length is not zero. With ``known`` (I, T, V) both
    joints must not be filled, unless they are filled in all frames of the instance.
    """
    a, b = layout.scale_index.tolist()
    difference = x[:, :, a] - x[:, :, b]
    lengths = np.sqrt(np.einsum('itc,itc->it', difference, difference))
    valid = visible & (lengths > 1e-6)
    return lengths, valid if known is None else prefer(valid, known[:, :, [a, b]])


def prefer(visible: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Visible frames (I, T) in which no joint of ``known`` (I, T, n) was filled, or all visible
    frames if an instance has no such frame.
    """
    complete = visible & known.all(axis=-1)
    return np.where(complete.any(axis=1, keepdims=True), complete, visible)


def clip_scale(lengths: np.ndarray, valid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean of the valid lengths of each instance, 1 if there is none, and if there is any.

    Returns:
        (I,) float32 and (I,) bool.
    """
    count = valid.sum(axis=1)
    total = np.where(valid, lengths, np.float32(0)).sum(axis=1)
    found = count > 0
    return np.where(found, total / np.maximum(count, 1), 1).astype(np.float32), found


def apply_linear(transform: BodyHandTransform, results: dict, matrix: np.ndarray) -> None:
    """Maps all coordinates of body and hands by ``x -> A x``, A (3, 3).

    A part with two channels takes the upper left 2 x 2 of A. Left hands in canonical space are
    mirror images, ``x = K x'`` with K = diag(-1, 1, 1), so the same map is K A K there.
    """
    for part in SKELETONS:
        x = results[part]
        channels = x.shape[-1]
        if not results[f'{part}_visible'].any():
            continue
        if channels not in (2, 3):
            raise transform._clip_error(
                results,
                f'{channels} channels in {part!r}',
                '2 or 3',
                'select x, y (and z) with SelectChannels',
            )
        a = np.asarray(matrix, dtype=np.float32)[:channels, :channels]
        if part == 'hand' and results.get('hand_space') == 'canonical':
            mirror = np.ones(channels, dtype=np.float32)
            mirror[0] = -1
            mapped = np.empty_like(x)
            mapped[:, 0] = _map(x[:, 0], mirror[:, None] * a * mirror)
            mapped[:, 1] = _map(x[:, 1], a)
            results[part] = mapped
        else:
            results[part] = _map(x, a)


def _map(x: np.ndarray, a: np.ndarray) -> np.ndarray:
    # One flat product is used, since a stacked one would call the matrix routine for each frame.
    return (x.reshape(-1, x.shape[-1]) @ a.T).reshape(x.shape)
