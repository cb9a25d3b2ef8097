"""Selects channels of bodies or hands."""

from __future__ import annotations

from collections.abc import Sequence

from .base import SKELETONS, BodyHandTransform, is_count

NAMES = ('x', 'y', 'z')


class SelectChannels(BodyHandTransform):
    """Keeps some channels of bodies or hands, e.g. hands without the estimated depth.

    Required Keys:

        - the part: body or hand

    Modified Keys:

        - the part: (..., C) to (..., C')

    Args:
        part: 'body' or 'hand'.
        channels: Names among 'x', 'y', 'z' (channels 0, 1, 2), or channel numbers. Defaults to
            ('x', 'y').

    Raises:
        ClipError: The clip has fewer channels.
    """

    def __init__(self, part: str, channels: Sequence[str | int] = ('x', 'y')) -> None:
        self.part = part
        self.channels = channels
        self._check(part in SKELETONS, 'part', f'one of {SKELETONS}')
        self._check(
            isinstance(channels, (tuple, list))
            and len(channels) > 0
            and all(is_count(c, 0) or c in NAMES for c in channels),
            'channels',
            f'a tuple of names {NAMES} or of channel numbers',
        )
        self.index = [NAMES.index(c) if c in NAMES else int(c) for c in channels]
        self._check(len(set(self.index)) == len(self.index), 'channels', 'each channel once')

    def transform(self, results: dict) -> dict:
        """Keeps the chosen channels of ``results``."""
        x = results[self.part]
        if max(self.index) >= x.shape[-1]:
            raise self._clip_error(
                results,
                f'{x.shape[-1]} channels in {self.part!r}',
                f'channel {max(self.index)}, as channels={self.channels!r} asks',
                'ask for channels that the store holds',
            )
        results[self.part] = x.take(self.index, axis=-1)
        return results
