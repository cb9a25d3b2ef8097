"""Kinds of damage to the input of a model: noise, lost frames, lost hands and others."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from ..datasets.transforms.base import FRAME_AXES
from ..io.names import to_bytes


def _has(results: dict, name: str) -> bool:
    return results.get(name) is not None


def drop_one_hand(results: dict, prob: float) -> dict:
    """With this probability one hand of each person, left or right by chance, is missing in the
    whole clip.
    """
    visible = results['hand_visible'].copy()
    for person in visible:
        lost, side = np.random.random() < prob, np.random.randint(2)
        person[side] &= not lost
    return results | {'hand_visible': visible}


def swap_hands(results: dict, prob: float) -> dict:
    """With this probability the hands of a clip are exchanged."""
    if np.random.random() >= prob:
        return results
    hands = [name for name in FRAME_AXES if name.startswith('hand') and _has(results, name)]
    return results | {name: results[name].take((1, 0), axis=1) for name in hands}


def keep_every(results: dict, step: int) -> dict:
    """Reduces the frame rate to 1 / step."""
    kept = {
        name: results[name][(slice(None),) * axis + (slice(None, None, int(step)),)]
        for name, axis in FRAME_AXES.items()
        if _has(results, name)
    }
    fps = results['fps'] / step
    return results | kept | {'total_frames': len(kept['frame_index']), 'fps': fps}


def by_transform(kind: str, **arguments) -> Callable[[dict], dict]:
    """A damage by one of our transforms."""
    from mmaction.registry import TRANSFORMS

    return TRANSFORMS.build(dict(type=kind, **arguments))


@dataclass(frozen=True)
class Condition:
    """A kind of damage.

    Args:
        title: What the level means.
        levels: From the weakest; the undamaged clip is level ``clean``.
        make: Level → damage.
        fixed: Levels without randomness, for which one seed is enough.
        clean: The level without damage.
    """

    title: str
    levels: tuple[float, ...]
    make: Callable[[float], Callable[[dict], dict]]
    fixed: tuple[float, ...] = ()
    clean: float = 0.0


PROBABILITIES = (0.25, 0.5, 0.75, 1.0)
CONDITIONS = {
    'noise': Condition(
        'noise of all joints, share of body scale and palm',
        (0.02, 0.05, 0.1, 0.2),
        lambda s: by_transform('RandomNoise', sigma=dict(body=s, hand=s)),
    ),
    'hand_noise': Condition(
        'noise of the hands, share of the palm',
        (0.05, 0.1, 0.2, 0.4),
        lambda s: by_transform('RandomNoise', sigma=dict(hand=s)),
    ),
    'drop_frames': Condition(
        'share of frames lost',
        (0.25, 0.5, 0.75, 0.9),
        lambda ratio: by_transform('DropFrames', ratio=ratio),
    ),
    'hands_missing': Condition(
        'share of clips without hands',
        PROBABILITIES,
        lambda prob: by_transform('DropHands', prob=prob, mode='clip'),
        fixed=(1.0,),
    ),
    'one_hand_missing': Condition(
        'share of persons with one hand lost',
        PROBABILITIES,
        lambda prob: partial(drop_one_hand, prob=prob),
    ),
    'hand_swap': Condition(
        'share of clips with hands exchanged',
        PROBABILITIES,
        lambda prob: partial(swap_hands, prob=prob),
        fixed=(1.0,),
    ),
    'frame_rate': Condition(
        'one frame of so many is kept',
        (2, 3, 5, 10),
        lambda step: partial(keep_every, step=step),
        fixed=(2, 3, 5, 10),
        clean=1,
    ),
    'mirror': Condition(
        'share of clips mirrored (the other handedness)',
        (0.5, 1.0),
        lambda prob: by_transform('RandomMirror', prob=prob),
        fixed=(1.0,),
    ),
}


class Damage:
    """Damages clips. The damage depends only on (seed, clip id)."""

    def __init__(self, damage: Callable[[dict], dict], seed: int) -> None:
        self.damage, self.seed = damage, seed

    def __call__(self, results: dict) -> dict:
        """The damaged ``results``; NumPy's global random state is left as it was."""
        state = np.random.get_state()
        np.random.seed(zlib.crc32(to_bytes(f'{self.seed} {results["clip_id"]}')))
        try:
            return self.damage(results)
        finally:
            np.random.set_state(state)
