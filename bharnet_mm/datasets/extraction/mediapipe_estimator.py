"""MediaPipe: pose, then the hand models on regions around the wrists.

The full-frame hand detector of MediaPipe misses hands that are small in the image, so the palm
detector gets crops here, and the landmark model is run separately. It gives the probability that
there is a hand, which the `Hands` solution does not return, and a hand that was found is followed
without the detector.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from ...errors import ConfigError
from .association import nearest_arm
from .estimators import MAX_KEPT, Arm, BodyPose, HandPose
from .geometry import Region, region_from_hand, upright_angle
from .mediapipe_graphs import LANDMARK_INPUT, landmark_graph, palm_graph, pose_graph

_CROP = 256
_LEAST = 32  # pixels of a side of an image in which a body is looked for
_TRACE = 0.1  # presence below which there is no hand near the region
# The places of a search, in order: palms, the last place of the hand, the direction of the body
# pose's knuckles, or the expected place at an angle to the forearm in radians. The first search
# looks at all places, later ones at the next few. While the image around the wrist does not change,
# no place is tried twice.
_PLACES_LOST = ('knuckles', -0.5, 0.5, 'palm', 'last', 0.0)
_PLACES_BEHIND = ('last', 'knuckles', -0.5, 0.5, 'palm', 0.0)
_PLACES_NEW = ('palm', 0.0, 'knuckles', -0.5, 0.5)
_TRIES = 3
# If the model is sure of a hand and the image around it does not change, the hand is kept for some
# frames (MAX_KEPT). Unchanged means that at most a twentieth of a small image of it differs by
# more than so many grey levels of 255.
_SURE = 0.8
_SAME_GREY = 8.0
_VIEW = 28


@dataclass(frozen=True)
class _View:
    """The image of a hand when it was found."""

    region: Region
    picture: np.ndarray
    age: int = 0

    @staticmethod
    def of(image: np.ndarray, region: Region) -> _View:
        return _View(region, _small(image, region))

    def unchanged(self, image: np.ndarray) -> bool:
        difference = np.abs(_small(image, self.region) - self.picture)
        return bool(np.percentile(difference, 95) <= _SAME_GREY)


def _small(image: np.ndarray, region: Region) -> np.ndarray:
    grey = region.cut(image, 4 * _VIEW).mean(axis=2)
    return cv2.resize(grey, (_VIEW, _VIEW), interpolation=cv2.INTER_AREA)


class MediaPipeEstimator:
    """Finds the 33 pose joints of one person, and hands at the wrists of any number of persons.

    Coordinates are pixels; depth is MediaPipe's, relative to the hip centre (body) or the wrist
    (hand), in pixels. A body's score is the mean visibility of its joints; a hand's is the model's
    hand presence.

    Args:
        models: Must be None, since the package has its own.
        min_score: Hands of a lower presence are left out.
        crop_scale: Side of the square in which palms are searched, in forearm lengths.

    Raises:
        ConfigError: mediapipe is missing, or a version without models inside the package.
    """

    packages = ('mediapipe',)
    body_layout = 'mediapipe_pose'
    body_channels = ('x', 'y', 'z')
    hand_channels = ('x', 'y', 'z')

    def __init__(
        self, models: None = None, min_score: float = 0.5, crop_scale: float = 2.0
    ) -> None:
        if models is not None:
            raise ConfigError(
                'backend mediapipe',
                'a folder of models',
                'none, as it carries its own',
                'leave --models out',
            )
        self.min_score = min_score
        self.crop_scale = crop_scale
        self._landmarks = landmark_graph()
        self._palms = palm_graph()
        self._pose = self._still_pose = None

    def __repr__(self) -> str:
        return f'MediaPipeEstimator(min_score={self.min_score}, crop_scale={self.crop_scale})'

    def start(self) -> None:
        """Prepares for a new video: the pose graph begins without memory of earlier frames."""
        # A new graph is built, since the smoothing filters of a reset one would make a clip depend
        # on the one before.
        if self._pose is not None:
            self._pose.close()
        self._pose = None

    def bodies(self, image: np.ndarray) -> list[BodyPose]:
        """The most prominent body of a frame (H, W, 3) RGB: a list of one or none."""
        if self._pose is None:
            self._pose = pose_graph()
        return _bodies(self._pose, image)

    def bodies_in(
        self, image: np.ndarray, box: tuple[float, float, float, float]
    ) -> list[BodyPose]:
        """The most prominent body in the box (x0, y0, x1, y1), independent of earlier frames."""
        if self._still_pose is None:
            self._still_pose = pose_graph(video=False)
        height, width = image.shape[:2]
        x0, y0 = (max(int(v), 0) for v in box[:2])
        x1, y1 = min(int(np.ceil(box[2])), width), min(int(np.ceil(box[3])), height)
        if x1 - x0 < _LEAST or y1 - y0 < _LEAST:
            return []
        bodies = _bodies(self._still_pose, np.ascontiguousarray(image[y0:y1, x0:x1]))
        for body in bodies:
            body.points[:, :2] += (x0, y0)
        return bodies

    def hands(
        self, image: np.ndarray, arms: list[Arm], taken: Sequence[HandPose] = ()
    ) -> list[HandPose]:
        """Hands of these arms, in pixels.

        Args:
            image: Frame (H, W, 3), RGB uint8.
            arms: Arms whose hands are wanted.
            taken: Hands already found; they are painted over before the search.
        """
        if taken:
            image = _paint_over(image, taken)
        found: list[HandPose] = []
        for arm in arms:
            if arm.search:
                looked = self._search(image, arm, bool(taken))
            else:
                looked = self._follow(image, arm)
            found += [hand for hand in looked if hand.score >= self.min_score]
        return found

    def _follow(self, image: np.ndarray, arm: Arm) -> list[HandPose]:
        if arm.previous is None or arm.lost:
            return []
        view = arm.last.view
        if view is not None and view.age < MAX_KEPT and view.unchanged(image):
            return [replace(arm.last, view=replace(view, age=view.age + 1))]
        hand = self._settle(image, region_from_hand(arm.previous))
        if hand.score >= _SURE:
            hand.view = _View.of(image, region_from_hand(hand.points))
        return [hand]

    def _search(self, image: np.ndarray, arm: Arm, covered: bool) -> list[HandPose]:
        """Searches the next places until a hand of the arm is found."""
        places = _PLACES_NEW
        if arm.previous is not None:
            places = _PLACES_BEHIND if covered else _PLACES_LOST
        count = len(places) if arm.search == 1 else _TRIES
        count = min(count, self._untried(image, arm, len(places)))
        found: list[HandPose] = []
        for i in range(count):
            arm.notes['untried'] -= 1
            place = places[(arm.search - 1 + i) % len(places)]
            if place == 'palm':
                found += self._detect(image, arm)
            elif place == 'last':
                found.append(self._settle(image, region_from_hand(arm.previous)))
            else:
                found += self._guess(image, arm, place)
            # The search continues if this arm's crop shows only the hand of another arm.
            if any(h.score >= self.min_score and nearest_arm(h, arm.rivals) is arm for h in found):
                break
        return found

    def _untried(self, image: np.ndarray, arm: Arm, places: int) -> int:
        """Number of places that were not tried since the image around the wrist last changed."""
        view = arm.notes.get('view')
        if view is None or not view.unchanged(image):
            around = Region(tuple(arm.wrist), self.crop_scale * arm.size)
            arm.notes.update(view=_View.of(image, around), untried=places)
        return arm.notes['untried']

    def _detect(self, image: np.ndarray, arm: Arm) -> list[HandPose]:
        """Hands whose palms are detected in an upright square at the wrist."""
        crop = Region(tuple(arm.wrist + 0.3 * _beyond(arm)), self.crop_scale * arm.size)
        found = []
        for palm in self._palms.process(crop.cut(image, _CROP)).palms or []:
            box = palm.location_data.relative_bounding_box
            keys = [(k.x, k.y) for k in palm.location_data.relative_keypoints]
            angle = upright_angle(*(crop.to_image(np.array(keys[i])) for i in (0, 2)))
            middle = crop.to_image(np.array([box.xmin + box.width / 2, box.ymin + box.height / 2]))
            # As in MediaPipe, the palm's box is moved by half to the fingers and enlarged.
            side = max(box.width, box.height) * crop.side
            up = -Region((0, 0), 1, angle).axes[:, 1]
            center = tuple(middle + 0.5 * box.height * crop.side * up)
            found.append(self._settle(image, Region(center, 2.6 * side, angle)))
        return found

    def _guess(self, image: np.ndarray, arm: Arm, place: str | float) -> list[HandPose]:
        """A hand that points to the pose's knuckles or continues the forearm at an angle, for hands
        whose palm the detector cannot see (fists, edges).
        """
        toward, bend = _beyond(arm), place
        if place == 'knuckles':
            knuckles = arm.knuckles - arm.wrist
            length, bend = np.linalg.norm(knuckles), 0.0
            if length > 1e-6:  # not if they are unknown
                toward = knuckles * (arm.size / length)
        if not toward.any():
            return self._detect(image, arm)
        center = tuple(arm.wrist + 0.35 * toward)
        region = Region(center, arm.size, upright_angle(np.zeros(2), toward) + bend)
        return [self._settle(image, region)]

    def _settle(self, image: np.ndarray, region: Region) -> HandPose:
        """The hand in a region. If the model is not sure, it is run again on the region of the
        first result.

        If its probability is very small, it is not run again.
        """
        hand = self._landmark(image, region)
        if _TRACE <= hand.score < self.min_score:
            again = self._landmark(image, region_from_hand(hand.points))
            hand = max(hand, again, key=lambda hand: hand.score)
        return hand

    def _landmark(self, image: np.ndarray, region: Region) -> HandPose:
        out = self._landmarks.process(region.cut(image, LANDMARK_INPUT))
        points = np.array([[p.x, p.y, p.z] for p in out.landmarks.landmark])
        return HandPose(
            region.to_image(points), float(np.clip(out.presence, 0, 1)), float(out.right)
        )


def _bodies(graph, image: np.ndarray) -> list[BodyPose]:
    found = graph.process(image).pose_landmarks
    if found is None:
        return []
    height, width = image.shape[:2]
    points = np.array([[p.x * width, p.y * height, p.z * width] for p in found.landmark])
    visibility = np.clip([p.visibility for p in found.landmark], 0.0, 1.0)
    return [BodyPose(points, visibility, float(np.clip(visibility.mean(), 1e-3, 1.0)))]


def _beyond(arm: Arm) -> np.ndarray:
    """The vector of the forearm's length and direction; zero if the elbow is unknown."""
    forearm = arm.wrist - arm.elbow
    length = np.linalg.norm(forearm)
    if not np.isfinite(length) or length < 1e-6:
        return np.zeros(2)
    # A forearm that points at the camera has no clear direction, so the vector is short.
    return forearm * (arm.size / max(length, 0.5 * arm.size))


def _paint_over(image: np.ndarray, hands: Sequence[HandPose]) -> np.ndarray:
    """The image without these hands, so that the models find the one beside or behind them."""

    out = image.copy()
    for hand in hands:
        hull = cv2.convexHull(hand.points[:, :2].round().astype(np.int32))
        around = cv2.mean(image[_bounds(hull, image.shape)].reshape(-1, 1, 3))[:3]
        cv2.fillConvexPoly(out, hull, around)
    return out


def _bounds(hull: np.ndarray, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Rows and columns of the box around a hull, at least a pixel inside the image."""
    low, high = hull.reshape(-1, 2).min(axis=0), hull.reshape(-1, 2).max(axis=0) + 1
    rows, columns = (
        slice(int(np.clip(low[i], 0, n - 1)), int(np.clip(high[i], 1, n)))
        for i, n in ((1, shape[0]), (0, shape[1]))
    )
    return rows, columns
