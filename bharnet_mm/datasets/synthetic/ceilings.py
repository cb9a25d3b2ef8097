"""What top-1 the streams can reach at best on the synthetic sample: known, as its classes are made
of known parts.

All take the classes to be balanced. There is none for the image, which shows arms, fingers and
objects: 1.
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
    """Best top-1 that hands alone allow.

    Hands show the hand action and how many persons there are. Where the acting hand is never seen
    (share q), at most the number of persons is left:
    `(1 - q) distinct (action, persons) / classes + q distinct persons / classes`.
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
    and the body's share of the q in which the acting hand is never seen.

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
