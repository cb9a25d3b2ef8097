"""Best possible top-1 of each expert on the synthetic sample. It is known, because the classes are
combinations of known parts.

The classes are assumed to be balanced. The rgb expert has no ceiling below 1, since images show
arms, fingers and objects.
"""

from __future__ import annotations

from collections.abc import Sequence

from .gestures import GESTURES, Gesture, find_gestures

#: Share of clips in which a hand is never found: the acting hand, any other hand.
NEVER_SEEN = (0.04, 0.15)


def body_ceiling(classes: Sequence[str | Gesture] = GESTURES) -> float:
    """Best top-1 of bodies alone: distinct arm motions / classes."""
    gestures = find_gestures(classes)
    return len({gesture.arm for gesture in gestures}) / len(gestures)


def hand_ceiling(
    classes: Sequence[str | Gesture] = GESTURES, never_seen: float = NEVER_SEEN[0]
) -> float:
    """Best top-1 of hands alone.

    Hands show the hand action and the number of persons. If the acting hand is never visible (share
    q), only the number of persons is known: `(1 - q) distinct (action, persons) / classes + q
    distinct persons / classes`.
    """
    gestures = find_gestures(classes)
    shown = len({(gesture.hand, gesture.persons) for gesture in gestures})
    left = len({gesture.persons for gesture in gestures})
    return ((1 - never_seen) * shown + never_seen * left) / len(gestures)


def fused_ceiling(
    classes: Sequence[str | Gesture] = GESTURES,
    never_seen: float = NEVER_SEEN[0],
    rgb: bool = False,
) -> float:
    """Best top-1 of bodies and hands together: `(1 - q) distinct (arm motion, action) / classes`,
    plus the body's ceiling times the share q in which the acting hand is never visible.

    Args:
        classes (Sequence[str | Gesture]): Gestures or their names.
        never_seen (float): q.
        rgb (bool): Whether the model sees the video's regions as well; then the ceiling is 1.
    """
    if rgb:
        return 1.0
    gestures = find_gestures(classes)
    shown = len({(gesture.arm, gesture.hand) for gesture in gestures})
    return (1 - never_seen) * shown / len(gestures) + never_seen * body_ceiling(classes)
