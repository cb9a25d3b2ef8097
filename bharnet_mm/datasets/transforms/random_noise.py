"""Adds noise to joints."""

from __future__ import annotations

import numpy as np

from .base import (
    SKELETONS,
    BodyHandTransform,
    clip_scale,
    get_known,
    get_part,
    is_number,
    scale_lengths,
    set_part,
)


class RandomNoise(BodyHandTransform):
    """Adds independent Gaussian noise to every coordinate.

    ``x -> x + sigma[part] s n`` with n ~ N(0, 1) and s the mean distance of the layout's ``scale``
    joints over the visible frames of that body or hand. If the distance is zero in all frames, no
    noise is added. Such clips are counted in ``num_untreated`` and the first one is logged.

    Required Keys:

        - body, body_visible, body_layout, hand, hand_visible, hand_layout

    Modified Keys:

        - body, hand: those in ``sigma``

    Args:
        sigma: 'body' or 'hand' to standard deviation as a fraction of s.
    """

    def __init__(self, sigma: dict[str, float]) -> None:
        self.sigma = sigma
        self._check(
            isinstance(sigma, dict)
            and set(sigma) <= set(SKELETONS)
            and len(sigma) > 0
            and all(is_number(value, 0) for value in sigma.values()),
            'sigma',
            "a dict from 'body' or 'hand' to a number >= 0",
        )

    def transform(self, results: dict) -> dict:
        """Adds noise to the visible joints of ``results``."""
        # The global generator seeds another one, which draws float32 faster.
        generator = np.random.Generator(np.random.SFC64(np.random.randint(2**31)))
        for part in SKELETONS:
            x, visible, layout = get_part(results, part)
            if not self.sigma.get(part) or not visible.any():
                continue
            size, found = clip_scale(*scale_lengths(x, visible, layout, get_known(results, part)))
            if (~found & visible.any(axis=1)).any():
                self._count(
                    results, f'no length between {layout.scale} to measure noise on a {part} by'
                )
            size = np.where(found, size * np.float32(self.sigma[part]), np.float32(0))
            noise = generator.standard_normal(x.shape, dtype=np.float32)
            noise *= size[:, None, None, None]
            noise += x
            set_part(results, part, noise)
        return results
