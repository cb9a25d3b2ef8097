"""Tracks people and their hands from frame to frame, for extraction and live use.

Callers need only ``BodyHandTracker.step(image)``; see docs/extraction.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from ...layouts import get_layout
from .association import MAX_DISTANCE, assign_hands, distance, find_arms, same_hand, verified_hands
from .estimators import Arm, BodyPose, Estimator, HandPose

HandsByArm = dict[tuple[int, int], HandPose]


class BodyHandTracker:
    """Bodies and hands of a plain video or a camera, frame by frame.

    Args:
        estimator: Finds bodies and hands. It can be used by one tracker at a time.
    """

    def __init__(self, estimator: Estimator) -> None:
        self.estimator = estimator
        self.layout = get_layout(estimator.body_layout)
        self.reset()

    def reset(self) -> None:
        """Forgets everybody, for a new video or after an interruption of the camera."""
        self._persons, self._hands = (
            PersonTracker(),
            HandTracker(self.estimator),
        )
        self.estimator.start()

    def step(self, image: np.ndarray) -> tuple[dict[int, BodyPose], HandsByArm]:
        """Bodies and hands of the next frame.

        Args:
            image: RGB ``(H, W, 3)`` uint8; all frames of a video have one size.

        Returns:
            Bodies by person number, which a person keeps while visible, and hands by
            (person number, side) with side 0 left and 1 right. All positions in pixels.
        """
        bodies = self.estimator.bodies(image)
        numbered = dict(zip(self._persons.update(bodies), bodies, strict=True))
        arms = []
        for number, body in numbered.items():
            arms += find_arms(body.points, body.joint_score, self.layout, person=number)
        return numbered, self._hands.step(image, arms)


@dataclass(eq=False)
class _Memory:
    """Memory of an arm: its last hand, and the searches for it."""

    hand: HandPose | None = None
    arm: Arm | None = None  # the arm when the hand was found
    frame: int = 0  # the number of that frame
    behind: bool = False  # whether another hand was painted over for it, in the last frame
    searches: int = 0
    next_search: int = 0  # frame
    notes: dict[str, Any] = field(default_factory=dict)


class HandTracker:
    """Hands of known arms, frame by frame.

    A hand that was found is followed; its region moves with the wrist. A lost hand is searched for
    at once, and then less and less often (at most ``max_wait`` frames apart). Each search looks at
    some places only; ``Arm.search`` counts the searches and the estimator chooses the places. If
    another arm's hand is near, that hand is painted over while this one is searched for and
    followed, since the models find the front one of two joined hands twice.

    Args:
        estimator: Finds the hands.
        max_gap: Frames after which a lost hand is forgotten.
        max_wait: Largest number of frames between two searches.
    """

    def __init__(self, estimator: Estimator, max_gap: int = 10, max_wait: int = 4) -> None:
        self.estimator = estimator
        self.max_gap, self.max_wait = max_gap, max_wait
        self._memory: dict[tuple[int, int], _Memory] = {}
        self._frame = 0

    def step(
        self, image: np.ndarray, arms: Sequence[Arm], taken: Sequence[HandPose] = ()
    ) -> HandsByArm:
        """Hands of the next frame by (person, side).

        Args:
            image: The frame.
            arms: All known arms; those that end far outside the image are ignored.
            taken: Hands in this frame that belong to other arms.
        """
        self._frame += 1
        arms = [arm for arm in arms if _in_image(arm, image)]
        if not arms:
            return {}
        memories = [self._memory.setdefault((arm.person, arm.side), _Memory()) for arm in arms]
        for arm, memory in zip(arms, memories, strict=True):
            self._recall(arm, memory)
            arm.rivals = arms
        given: list[HandPose | None] = [None] * len(arms)
        behind = [a for a, memory in enumerate(memories) if memory.behind]
        front = [a for a in range(len(arms)) if a not in behind]
        self._look(image, arms, front, given, taken)
        covered = self._look(image, arms, behind, given, taken, cover=True)
        due = [
            a for a, arm in enumerate(arms) if given[a] is None and self._is_due(arm, memories[a])
        ]
        covered |= self._look(image, arms, due, given, taken, cover=True)
        given = verified_hands(given, arms)
        found = {}
        for a, (arm, hand) in enumerate(zip(arms, given, strict=True)):
            memories[a].behind = False
            if hand is not None:
                self._memory[arm.person, arm.side] = _Memory(hand, arm, self._frame, a in covered)
                found[arm.person, arm.side] = hand
        return found

    def _recall(self, arm: Arm, memory: _Memory) -> None:
        """Sets the arm's fields about its last hand for the estimator."""
        arm.notes = memory.notes
        if memory.hand is None or self._frame - memory.frame > self.max_gap:
            return
        arm.last, arm.previous = memory.hand, memory.hand.points.copy()
        arm.lost = self._frame - memory.frame - 1
        if arm.reliable and memory.arm.reliable:
            arm.previous[:, :2] += arm.wrist - memory.arm.wrist

    def _is_due(self, arm: Arm, memory: _Memory) -> bool:
        """Whether a lost hand is to be searched in this frame; if so ``arm.search`` is set."""
        if self._frame < memory.next_search:
            return False
        memory.searches += 1
        memory.next_search = self._frame + min(1 + memory.searches // 12, self.max_wait)
        arm.search = memory.searches
        return True

    def _look(
        self,
        image: np.ndarray,
        arms: Sequence[Arm],
        chosen: Sequence[int],
        given: list[HandPose | None],
        taken: Sequence[HandPose],
        cover: bool = False,
    ) -> set[int]:
        """Assigns new hands to the chosen arms, besides the hands that are already assigned.

        With ``cover`` hands nearby are painted over.

        Returns:
            The chosen arms for which a hand nearby was painted over.
        """
        taken = [*taken, *(hand for hand in given if hand is not None)]
        near = {
            a: [h for h in taken if cover and distance(h, arms[a]) < 2 * MAX_DISTANCE]
            for a in chosen
        }
        if not chosen:
            return set()
        rest = [arms[a] for a in chosen]
        hidden = [hand for hand in taken if any(hand is h for a in chosen for h in near[a])]
        more = self.estimator.hands(image, rest, hidden)
        more = [hand for hand in more if not any(same_hand(hand, other) for other in taken)]
        for a, hand in zip(chosen, assign_hands(more, rest), strict=True):
            given[a] = hand
        return {a for a in chosen if near[a]}


def _in_image(arm: Arm, image: np.ndarray) -> bool:
    """Whether the arm ends in the image or not far outside."""
    size = np.array([image.shape[1], image.shape[0]])
    return bool((arm.wrist > -0.5 * arm.size).all() and (arm.wrist < size + 0.5 * arm.size).all())


class PersonTracker:
    """Gives each body the number that it had in the last frame.

    Bodies are matched to earlier ones by the mean joint distance (Hungarian algorithm). A body
    further away than ``max_distance`` of its size is a new person. A person who is missing for
    ``max_gap`` frames is forgotten.
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
            p: xy for p, (last, xy) in self._last.items() if self._frame - last <= self.max_gap
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
