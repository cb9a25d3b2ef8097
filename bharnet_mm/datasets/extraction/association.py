"""Arms of bodies, and the assignment of hands to them within one frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.optimize import linear_sum_assignment

from ...layouts import SkeletonLayout
from ..regions import forearm_length
from .estimators import LEFT, RIGHT, Arm, HandPose
from .geometry import hand_size

# Largest distance between a hand's wrist and the body's wrist (in forearm lengths; body estimators
# are exact to about a palm), cost of a hand that looks like the other side, and distance of two
# detections of one hand (in palms).
MAX_DISTANCE = 0.6
WRONG_SIDE_COST = 0.15
SAME_HAND = 0.35


def verified_hands(given: list[HandPose | None], arms: Sequence[Arm]) -> list[HandPose | None]:
    """For each arm its hand, without those that lie nearer to another arm which has one.

    Such a detection is usually the other hand again, with wrong joints.
    """
    out = list(given)
    for a, hand in enumerate(given):
        for b, other in enumerate(given):
            if a == b or hand is None or other is None or not arms[b].reliable:
                continue
            if distance(hand, arms[b]) < distance(hand, arms[a]):
                out[a] = None
    return out


def find_arms(
    pixel: np.ndarray, joint_score: np.ndarray, layout: SkeletonLayout, person: int = 0
) -> list[Arm]:
    """The arms of one body whose wrists are known.

    The size is ``regions.forearm_length``.

    Args:
        pixel: Joints of the body, ``(V, 2 or more)``.
        joint_score: ``(V,)``; a joint of score 0 or with a non-finite position is unknown, a wrist
            below 0.5 is unreliable.
        layout: Layout with ``left_wrist`` and ``right_wrist``, and perhaps elbows, shoulders, hips
            and the bases of index and little finger (``left_index``, ``left_pinky``).
        person: Number of the person, for the arms.
    """

    xy = np.asarray(pixel[:, :2], dtype=np.float64)
    known = (np.asarray(joint_score) > 0) & np.isfinite(xy).all(axis=1)
    size = float(forearm_length(xy, known, layout))
    if size <= 0:
        return []
    arms = []
    for number, side in ((LEFT, 'left'), (RIGHT, 'right')):
        wrist, elbow, index, pinky = (
            xy[layout.index(name)]
            if name in layout.joints and known[layout.index(name)]
            else np.full(2, np.nan)
            for name in (f'{side}_{part}' for part in ('wrist', 'elbow', 'index', 'pinky'))
        )
        if np.isfinite(wrist).all():
            sure = bool(joint_score[layout.index(f'{side}_wrist')] >= 0.5)
            knuckles = (index + pinky) / 2
            arms.append(
                Arm(wrist, elbow, size, sure, knuckles=knuckles, person=person, side=number)
            )
    return arms


def assign_hands(hands: Sequence[HandPose], arms: Sequence[Arm]) -> list[HandPose | None]:
    """For each arm its hand, or None.

    Detections of one physical hand are merged to the best one. The hands are assigned to the arms
    of all persons at once, so that as many arms as possible have a hand and the sum of costs is
    smallest (Hungarian algorithm). The cost is the distance from the hand's wrist to the body's in
    forearm lengths, plus ``WRONG_SIDE_COST`` times the probability that the hand is of the other
    side. This decides between wrists that touch, but does not move a hand to another arm. Hands
    further than ``MAX_DISTANCE`` are not assigned. An unreliable wrist is replaced by the place of
    its last hand.
    """

    hands = _distinct(hands)
    out: list[HandPose | None] = [None] * len(arms)
    if not hands or not arms:
        return out
    cost = np.empty((len(arms), len(hands)))
    for a, arm in enumerate(arms):
        for h, hand in enumerate(hands):
            cost[a, h] = _cost(hand, arm)
    # An arm without a hand costs more than any hand within reach, so arms get a hand if possible.
    none = np.full((len(arms), len(arms)), 1e3)
    rows, columns = linear_sum_assignment(np.hstack([np.where(np.isinf(cost), 1e6, cost), none]))
    for a, h in zip(rows, columns, strict=True):
        if h < len(hands) and np.isfinite(cost[a, h]):
            out[a] = hands[h]
    return out


def nearest_arm(hand: HandPose, arms: Sequence[Arm]) -> Arm | None:
    """The arm that the hand belongs to with the least cost, None if none is within reach."""
    best = min(arms, key=lambda arm: _cost(hand, arm), default=None)
    return best if best is not None and np.isfinite(_cost(hand, best)) else None


def _cost(hand: HandPose, arm: Arm) -> float:
    """Distance from the hand's wrist to the arm's in forearm lengths, more if it looks like the
    other side.
    """
    far = distance(hand, arm)
    other = hand.right if arm.side == LEFT else 1.0 - hand.right
    return far + WRONG_SIDE_COST * other if far <= MAX_DISTANCE else np.inf


def distance(hand: HandPose, arm: Arm) -> float:
    """From the arm's wrist to the hand's, in forearm lengths."""
    anchor = arm.wrist
    if not arm.reliable and arm.previous is not None:
        anchor = arm.previous[0, :2]
    return float(np.linalg.norm(hand.points[0, :2] - anchor)) / arm.size


def _distinct(hands: Sequence[HandPose]) -> list[HandPose]:
    """The best detection of each physical hand, in the order of scores, with the mean probability
    of its side.
    """
    groups: list[list[HandPose]] = []
    for hand in sorted(hands, key=lambda hand: -hand.score):
        for group in groups:
            if same_hand(hand, group[0]):
                group.append(hand)
                break
        else:
            groups.append([hand])
    return [
        replace(group[0], right=float(np.mean([hand.right for hand in group]))) for group in groups
    ]


def same_hand(a: HandPose, b: HandPose) -> bool:
    """Whether two detections are one physical hand, because their joints are close together."""
    apart = np.linalg.norm(a.points[:, :2] - b.points[:, :2], axis=1).mean()
    return bool(apart <= SAME_HAND * max(hand_size(a.points), hand_size(b.points)))
