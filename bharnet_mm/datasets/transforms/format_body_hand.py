"""Formats clips for BHaRNet's recognizers."""

from __future__ import annotations

import numpy as np

from .base import SKELETONS, BodyHandTransform, get_known, get_part, is_count


class FormatBodyHand(BodyHandTransform):
    """Pads to a fixed number of persons, makes an instance of each hand and sets missing entries to
    0.

    Required Keys:

        - body, body_visible, body_layout, hand, hand_visible, hand_layout
        - body_pixel, body_joint_visible, hand_joint_visible (optional)

    Modified Keys:

        - body: (M, T, V, C) float32 with M = ``num_persons``
        - hand: (2M, T, 21, C) float32 in the order person 0 left, person 0 right, person 1 left ...
        - body_pixel: (M, T, V, 2) float32

    Added Keys:

        - body_mask: (M, T) bool
        - hand_mask: (2M, T) bool

    Removed Keys:

        - body_visible, hand_visible, body_joint_visible, hand_joint_visible

    Args:
        num_persons: M. Defaults to 2.
        visibility: Whether to append a channel that is 1 for a visible joint and 0 for a missing or
            filled one, for ``BodyHandBackbone(visibility=True)``. Defaults to False.

    Raises:
        ClipError: The clip has more persons.
    """

    def __init__(self, num_persons: int = 2, visibility: bool = False) -> None:
        self.num_persons = num_persons
        self.visibility = visibility
        self._check(isinstance(visibility, bool), 'visibility', 'True or False')
        self._check(is_count(num_persons), 'num_persons', 'a whole number of at least 1')

    def transform(self, results: dict) -> dict:
        """Pads the body and the hands of ``results`` to the slots of a batch."""
        if results.get('body_pixel') is not None:
            pixel = results | {'body': results['body_pixel']}
            results['body_pixel'], _ = pad_part(self, pixel, 'body', self.num_persons)
        padded = {part: pad_part(self, results, part, self.num_persons) for part in SKELETONS}
        if self.visibility:
            for part, (x, mask) in padded.items():
                padded[part] = with_visibility(results, part, x, mask), mask
        for part, (x, mask) in padded.items():
            results[part], results[f'{part}_mask'] = x, mask
            del results[f'{part}_visible']
            results.pop(f'{part}_joint_visible', None)
        return results


def with_visibility(results: dict, part: str, x: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(I, T, V, C) with a further channel, 1 where a joint is there itself; mask (I, T)."""
    channel = np.broadcast_to(mask[..., None], x.shape[:-1]).astype(np.float32)
    known = get_known(results, part)
    if known is not None:
        channel[: len(known)] *= known
    return np.concatenate([x, channel[..., None]], axis=-1)


def pad_part(
    transform: BodyHandTransform, results: dict, part: str, num_persons: int
) -> tuple[np.ndarray, np.ndarray]:
    """Instances (I, T, V, C) of a part for ``num_persons`` persons, 0 outside their mask (I, T)."""
    x, visible, _ = get_part(results, part)
    persons = len(results[part])
    if persons > num_persons:
        raise transform._clip_error(
            results,
            f'{persons} persons',
            f'at most num_persons={num_persons}',
            f'put SelectPersons(max_persons={num_persons}) first in the pipeline',
        )
    num = num_persons * len(x) // persons
    mask = np.zeros((num, x.shape[1]), dtype=bool)
    mask[: len(x)] = visible
    padded = np.zeros((num, *x.shape[1:]), dtype=np.float32)
    if visible.any():
        padded[: len(x)] = x
        if not visible.all():
            padded[~mask] = 0
    return padded, mask
