"""Joints that a model has to do without."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .base import (
    BodyHandTransform,
    are_parts,
    get_known,
    get_part,
    is_count,
    is_number,
    set_known,
    set_part,
)


class DropJoints(BodyHandTransform):
    """Sets random joints to 0, the same in all frames and instances of a part.

    They count as missing by themselves afterwards, so the channel of
    ``FormatBodyHand(visibility=True)`` says so. With centred coordinates 0 is where the centre is.
    SkateFormer's public recipe for N-UCLA drops 4 to 12 of 20 joints.

    Required Keys:

        - the parts with their visibility and layout, e.g. body, body_visible, body_layout
        - body_joint_visible, hand_joint_visible (optional)

    Modified Keys:

        - the parts

    Added Keys:

        - body_joint_visible, hand_joint_visible: of the parts with dropped joints

    Args:
        count: Least and largest number of joints.
        prob: Probability of dropping joints of a part. Defaults to .5.
        parts: One or both of 'body' and 'hand'. Defaults to the body.

    Raises:
        ClipError: A part with no more joints than may be dropped.
    """

    def __init__(
        self, count: tuple[int, int], prob: float = 0.5, parts: Sequence[str] = ('body',)
    ) -> None:
        self.count = count
        self.prob = prob
        self.parts = parts
        self._check(
            isinstance(count, (tuple, list))
            and len(count) == 2
            and all(is_count(value) for value in count)
            and count[0] <= count[1],
            'count',
            'two whole numbers of at least 1, in ascending order',
        )
        self._check(is_number(prob, 0, 1), 'prob', 'a probability')
        self._check(are_parts(parts), 'parts', "one or both of 'body' and 'hand'")

    def transform(self, results: dict) -> dict:
        """Drops joints of ``results``."""
        for part in self.parts:
            x, visible, layout = get_part(results, part)
            if layout.num_joints <= self.count[1]:
                raise self._clip_error(
                    results,
                    f'{layout.num_joints} joints in {part!r}',
                    f'more than count={tuple(self.count)}',
                    'drop fewer joints',
                )
            if np.random.random() >= self.prob or not visible.any():
                continue
            number = np.random.randint(self.count[0], self.count[1] + 1)
            chosen = np.random.permutation(layout.num_joints)[:number]
            x, known = np.array(x), get_known(results, part)
            x[:, :, chosen] = 0
            known = np.ones(x.shape[:-1], dtype=bool) if known is None else np.array(known)
            known[:, :, chosen] = False
            set_part(results, part, x)
            set_known(results, part, known)
        return results
