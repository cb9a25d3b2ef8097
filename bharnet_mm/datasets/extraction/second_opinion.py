"""Finds hands of a known skeleton whose wrists are wrong.

A depth sensor loses arms that hang or are hidden. Its joints are then guesses.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...layouts import SkeletonLayout, get_layout
from ..regions import forearm_length
from .association import MAX_DISTANCE, find_arms
from .estimators import Arm, BodyPose, Estimator
from .tracking import HandsByArm, HandTracker

# Joints that are compared between the two skeletons, each of the left and the right side.
_PAIRS = ('shoulder', 'hip', 'elbow', 'knee')
# In forearm lengths: largest mean distance of the joints of one person in the two skeletons, and
# least distance of the two wrists for a search.
_SAME_PERSON = 1.0
_ELSEWHERE = 0.3
_MARGIN = 0.25  # around the known joints, of the longer side of their box


class SecondOpinion:
    """Searches hands at the wrists of a pose estimated in the image, if the known wrists have none.

    The pose is estimated inside the box of the person's known joints. It is used if it is of the
    same person, that is, if shoulders, hips, elbows and knees lie near the known ones. Left and
    right follow the known skeleton if those joints tell them apart, otherwise the estimated pose.

    Args:
        estimator: Estimator with ``bodies_in``. Without that method nothing is done.
        layout: Layout of the known skeleton.
    """

    def __init__(self, estimator: Estimator, layout: SkeletonLayout) -> None:
        self.estimator, self.layout = estimator, layout
        self.own_layout = get_layout(estimator.body_layout)
        self.possible = hasattr(estimator, 'bodies_in')
        self._tracker = HandTracker(estimator)

    def step(
        self, image: np.ndarray, people: Mapping[int, np.ndarray], hands: HandsByArm
    ) -> tuple[HandsByArm, int]:
        """More hands of one frame.

        Args:
            image: The frame.
            people: Known joints by person, ``(V, 2)`` pixels, NaN if unknown.
            hands: Hands found at the known wrists.

        Returns:
            Other hands by (person, side), and at how many wrists without a hand the two skeletons
            disagree by more than the distance at which a hand is assigned.
        """
        if not self.possible:
            return {}, 0
        arms: list[Arm] = []
        elsewhere = 0
        for person, joints in people.items():
            if all((person, side) in hands for side in (0, 1)):
                continue
            for arm in self._arms(image, person, joints):
                if (person, arm.side) in hands:
                    continue
                known = joints[self.layout.index(f'{("left", "right")[arm.side]}_wrist')]
                apart = np.linalg.norm(arm.wrist - known) / arm.size
                if not apart <= _ELSEWHERE:  # NaN if the wrist is unknown
                    arms.append(arm)
                    elsewhere += bool(apart > MAX_DISTANCE)
        return self._tracker.step(image, arms, list(hands.values())), elsewhere

    def _arms(self, image: np.ndarray, person: int, joints: np.ndarray) -> list[Arm]:
        """The arms of one person in the estimated pose, by the sides of the known skeleton."""
        known = np.isfinite(joints).all(axis=1)
        size = float(forearm_length(np.where(known[:, None], joints, 0), known, self.layout))
        if size <= 0:
            return []
        low, high = joints[known].min(axis=0), joints[known].max(axis=0)
        margin = _MARGIN * (high - low).max()
        best, swapped, least = None, False, _SAME_PERSON * size
        for body in self.estimator.bodies_in(image, (*(low - margin), *(high + margin))):
            straight, crossed = self._apart(joints, body)
            if min(straight, crossed) <= least:
                best, swapped, least = body, crossed < straight, min(straight, crossed)
        if best is None:
            return []
        arms = find_arms(best.points, best.joint_score, self.own_layout, person=person)
        for arm in arms:
            arm.side = 1 - arm.side if swapped else arm.side
        return arms

    def _apart(self, joints: np.ndarray, body: BodyPose) -> tuple[float, float]:
        """Mean distances of the joints of two skeletons: same sides, and sides exchanged."""
        straight, crossed = [], []
        for name in _PAIRS:
            names = [f'{side}_{name}' for side in ('left', 'right')]
            if not set(names) <= set(self.layout.joints) & set(self.own_layout.joints):
                continue
            a = joints[[self.layout.index(n) for n in names]]
            own = [self.own_layout.index(n) for n in names]
            b = np.where((body.joint_score[own] >= 0.5)[:, None], body.points[own, :2], np.nan)
            straight += np.linalg.norm(a - b, axis=1).tolist()
            crossed += np.linalg.norm(a - b[::-1], axis=1).tolist()
        if not np.isfinite(straight).any() or not np.isfinite(crossed).any():
            return np.inf, np.inf
        return float(np.nanmean(straight)), float(np.nanmean(crossed))
