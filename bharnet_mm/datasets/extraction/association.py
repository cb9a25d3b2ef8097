"""Which hand hangs on which arm, and which body is whose from frame to frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.optimize import linear_sum_assignment

from ...layouts import SkeletonLayout
from ..regions import forearm_length
from .estimators import LEFT, RIGHT, Arm, BodyPose, Estimator, HandPose
from .geometry import hand_size

# In forearm lengths: how far a hand's wrist may lie from its body's wrist, which the body estimators place to
# about a palm; how much a hand that looks like the other side costs; how near two finds are one hand (in palms).
MAX_DISTANCE = 0.6
WRONG_SIDE_COST = 0.15
SAME_HAND = 0.35


def find_hands(estimator: Estimator, image: np.ndarray, arms: list[Arm]) -> list[HandPose | None]:
    """For each arm its hand in one frame, or None.

    An arm that stays without a hand while another arm's hand lies within its reach gets a second look
    with the hands found so far painted over: of two hands together the models see the front one twice.
    """
    if not arms:
        return []
    found = estimator.hands(image, arms)
    given = assign_hands(found, arms)
    taken = [hand for hand in given if hand is not None]
    again = [
        a
        for a, hand in enumerate(given)
        if hand is None and any(_distance(other, arms[a]) < 2 * MAX_DISTANCE for other in taken)
    ]
    if again:
        rest = [arms[a] for a in again]
        more = estimator.hands(image, rest, taken)
        more = [hand for hand in more if not any(_same(hand, other) for other in taken)]
        for a, hand in zip(again, assign_hands(more, rest), strict=True):
            given[a] = hand
    return _verified(given, arms)


def _verified(given: list[HandPose | None], arms: Sequence[Arm]) -> list[HandPose | None]:
    """Without hands that lie nearer to another arm which has a hand: mostly that hand once more, fitted badly."""
    out = list(given)
    for a, hand in enumerate(given):
        for b, other in enumerate(given):
            if a == b or hand is None or other is None or not arms[b].reliable:
                continue
            if _distance(hand, arms[b]) < _distance(hand, arms[a]):
                out[a] = None
    return out


def find_arms(pixel: np.ndarray, joint_score: np.ndarray, layout: SkeletonLayout) -> list[Arm]:
    """The arms of one body whose wrists are known.

    The size is ``regions.forearm_length``.

    Args:
        pixel: Joints of the body, ``(V, 2 or more)``.
        joint_score: ``(V,)``; a joint of score 0 or with a non-finite position is unknown, a wrist
            below 0.5 is not relied on.
        layout: Has ``left_wrist`` and ``right_wrist``, and perhaps elbows, shoulders and hips.
    """

    xy = np.asarray(pixel[:, :2], dtype=np.float64)
    known = (np.asarray(joint_score) > 0) & np.isfinite(xy).all(axis=1)
    size = float(forearm_length(xy, known, layout))
    if size <= 0:
        return []
    arms = []
    for number, side in ((LEFT, 'left'), (RIGHT, 'right')):
        wrist, elbow = (
            xy[layout.index(name)] if name in layout.joints and known[layout.index(name)] else None
            for name in (f'{side}_wrist', f'{side}_elbow')
        )
        if wrist is not None:
            sure = bool(joint_score[layout.index(f'{side}_wrist')] >= 0.5)
            elbow = np.full(2, np.nan) if elbow is None else elbow
            arms.append(Arm(wrist, elbow, size, sure, side=number))
    return arms


def assign_hands(hands: Sequence[HandPose], arms: Sequence[Arm]) -> list[HandPose | None]:
    """For each arm its hand, or None.

    Finds of one physical hand are merged to the best one. The rest goes to the arms (of all persons at once)
    so that as many as possible have a hand and the sum of costs is smallest (Hungarian). The cost is the
    distance from the hand's wrist to the body's in forearm lengths, plus ``WRONG_SIDE_COST`` times the
    probability that the hand is of the other side: enough to decide between wrists that touch, too
    little to move a hand to another arm. Nothing further than ``MAX_DISTANCE`` is assigned; a wrist that
    cannot be relied on is replaced by where its last hand was.
    """

    hands = _distinct(hands)
    out: list[HandPose | None] = [None] * len(arms)
    if not hands or not arms:
        return out
    cost = np.empty((len(arms), len(hands)))
    for a, arm in enumerate(arms):
        for h, hand in enumerate(hands):
            cost[a, h] = _cost(hand, arm)
    # An arm without a hand costs more than any hand within reach, so that it comes last.
    none = np.full((len(arms), len(arms)), 1e3)
    rows, columns = linear_sum_assignment(np.hstack([np.where(np.isinf(cost), 1e6, cost), none]))
    for a, h in zip(rows, columns, strict=True):
        if h < len(hands) and np.isfinite(cost[a, h]):
            out[a] = hands[h]
    return out


def nearest_arm(hand: HandPose, arms: Sequence[Arm]) -> Arm | None:
    """The arm that the hand belongs to with the least cost, None where none is within reach."""
    best = min(arms, key=lambda arm: _cost(hand, arm), default=None)
    return best if best is not None and np.isfinite(_cost(hand, best)) else None


def _cost(hand: HandPose, arm: Arm) -> float:
    """Distance from the hand's wrist to the arm's in forearm lengths, more if it looks like the other side."""
    distance = _distance(hand, arm)
    other = hand.right if arm.side == LEFT else 1.0 - hand.right
    return distance + WRONG_SIDE_COST * other if distance <= MAX_DISTANCE else np.inf


def _distance(hand: HandPose, arm: Arm) -> float:
    anchor = arm.wrist
    if not arm.reliable and arm.previous is not None:
        anchor = arm.previous[0, :2]
    return float(np.linalg.norm(hand.points[0, :2] - anchor)) / arm.size


def _distinct(hands: Sequence[HandPose]) -> list[HandPose]:
    """The best find of each physical hand, by falling score, with the mean opinion on its side."""
    groups: list[list[HandPose]] = []
    for hand in sorted(hands, key=lambda hand: -hand.score):
        for group in groups:
            if _same(hand, group[0]):
                group.append(hand)
                break
        else:
            groups.append([hand])
    return [
        replace(group[0], right=float(np.mean([hand.right for hand in group]))) for group in groups
    ]


def _same(a: HandPose, b: HandPose) -> bool:
    distance = np.linalg.norm(a.points[:, :2] - b.points[:, :2], axis=1).mean()
    return bool(distance <= SAME_HAND * max(hand_size(a.points), hand_size(b.points)))


class HandTracker:
    """Remembers each arm's last hand and moves it along with the wrist.

    Args:
        max_gap: Frames after which a hand not seen again is forgotten.
    """

    def __init__(self, max_gap: int = 10) -> None:
        self.max_gap = max_gap
        self._last: dict[tuple[int, int], tuple[int, np.ndarray, Arm]] = {}
        self._frame = 0

    def recall(self, arms: Sequence[Arm]) -> None:
        """Begins a frame: sets ``previous`` of each arm."""
        self._frame += 1
        for arm in arms:
            seen, points, then = self._last.get((arm.person, arm.side), (-self.max_gap, None, arm))
            if points is not None and self._frame - seen <= self.max_gap:
                arm.previous = points.copy()
                if arm.reliable and then.reliable:
                    arm.previous[:, :2] += arm.wrist - then.wrist

    def remember(self, arms: Sequence[Arm], hands: Sequence[HandPose | None]) -> None:
        """Ends a frame: keeps the hands found."""
        for arm, hand in zip(arms, hands, strict=True):
            if hand is not None:
                self._last[arm.person, arm.side] = (self._frame, hand.points, arm)


class PersonTracker:
    """Gives each body the number it had in the frame before.

    Bodies are matched to the last ones seen by the mean joint distance (Hungarian); one further away than
    ``max_distance`` of the body's size is a new person. A person unseen for ``max_gap`` frames is gone.
    """

    def __init__(self, max_distance: float = 0.5, max_gap: int = 30) -> None:
        self.max_distance = max_distance
        self.max_gap = max_gap
        self.count = 0
        self._last: dict[int, tuple[int, np.ndarray]] = {}
        self._frame = 0

    def update(self, bodies: Sequence[BodyPose]) -> list[int]:
        """The person number of each body of the next frame."""

        self._frame += 1
        known = {
            p: xy for p, (seen, xy) in self._last.items() if self._frame - seen <= self.max_gap
        }
        numbers = [-1] * len(bodies)
        if known and bodies:
            persons = list(known)
            cost = np.array(
                [[_body_distance(body.points, known[p]) for p in persons] for body in bodies]
            )
            for b, p in zip(*linear_sum_assignment(np.minimum(cost, 1e3)), strict=True):
                if cost[b, p] <= self.max_distance:
                    numbers[b] = persons[p]
        for b, body in enumerate(bodies):
            if numbers[b] < 0:
                numbers[b] = self.count
                self.count += 1
            self._last[numbers[b]] = (self._frame, np.asarray(body.points))
        return numbers


def _body_distance(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a[:, :2], b[:, :2]
    size = max(float(np.ptp(a, axis=0).max()), float(np.ptp(b, axis=0).max()), 1e-6)
    return float(np.linalg.norm(a - b, axis=1).mean()) / size
