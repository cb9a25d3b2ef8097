"""MediaPipe: pose, then the hand models on regions around the wrists.

The full-frame hand detector of MediaPipe misses hands that are small in the picture, so the palm detector sees
crops here, and the landmark model is run by itself: it gives the probability that there is a hand at
all (the `Hands` solution keeps it to itself), and a hand that was found is followed without the detector.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import cv2
import numpy as np

from ...errors import ConfigError
from .association import nearest_arm
from .estimators import Arm, BodyPose, HandPose
from .geometry import Region, region_from_hand, upright_angle

_CROP = 256
_LANDMARK_INPUT = 224
_BENDS = (0.0, -0.5, 0.5)  # of the wrist, in radians

# One thread each: the runner has one process a core.
_LANDMARK_GRAPH = """
num_threads: 1
input_stream: "image"
output_stream: "landmarks"
output_stream: "right"
output_stream: "presence"
node {
  calculator: "ImageToTensorCalculator" input_stream: "IMAGE:image" output_stream: "TENSORS:input"
  options { [mediapipe.ImageToTensorCalculatorOptions.ext] {
    output_tensor_width: 224 output_tensor_height: 224 output_tensor_float_range { min: 0.0 max: 1.0 } } }
}
node {
  calculator: "InferenceCalculator" input_stream: "TENSORS:input" output_stream: "TENSORS:output"
  options { [mediapipe.InferenceCalculatorOptions.ext] {
    model_path: "mediapipe/modules/hand_landmark/hand_landmark_full.tflite"
    delegate { xnnpack { num_threads: 1 } } } }
}
node {
  calculator: "SplitTensorVectorCalculator" input_stream: "output"
  output_stream: "points_tensor" output_stream: "presence_tensor" output_stream: "right_tensor"
  options { [mediapipe.SplitVectorCalculatorOptions.ext] {
    ranges { begin: 0 end: 1 } ranges { begin: 1 end: 2 } ranges { begin: 2 end: 3 } } }
}
node { calculator: "TensorsToFloatsCalculator" input_stream: "TENSORS:presence_tensor" output_stream: "FLOAT:presence" }
node { calculator: "TensorsToFloatsCalculator" input_stream: "TENSORS:right_tensor" output_stream: "FLOAT:right" }
node {
  calculator: "TensorsToLandmarksCalculator" input_stream: "TENSORS:points_tensor"
  output_stream: "NORM_LANDMARKS:landmarks"
  options { [mediapipe.TensorsToLandmarksCalculatorOptions.ext] {
    num_landmarks: 21 input_image_width: 224 input_image_height: 224 normalize_z: 0.4 } }
}
"""
_PALM_GRAPH = """
num_threads: 1
input_stream: "image"
output_stream: "palms"
node {
  calculator: "ConstantSidePacketCalculator" output_side_packet: "PACKET:complexity"
  options { [mediapipe.ConstantSidePacketCalculatorOptions.ext] { packet { int_value: 1 } } }
}
node {
  calculator: "PalmDetectionCpu" input_stream: "IMAGE:image"
  input_side_packet: "MODEL_COMPLEXITY:complexity" output_stream: "DETECTIONS:palms"
}
"""


class MediaPipeEstimator:
    """Pose 33 of one person, and hands on the regions around the wrists of any number of persons.

    Coordinates are pixels; depth is MediaPipe's, relative to the hip centre (body) or the wrist (hand), in pixels.
    A body's score is the mean visibility of its joints; a hand's is the model's hand presence.

    Args:
        models: Must be None: they come with the package.
        min_score: A hand below this presence is not one.
        crop_scale: Side of the square in which palms are looked for, in forearm lengths.

    Raises:
        ConfigError: mediapipe is missing, or a version without models inside the package.
    """

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
        self._mediapipe = _import_mediapipe()
        from mediapipe.python.solution_base import SolutionBase

        self.min_score = min_score
        self.crop_scale = crop_scale
        blank = np.zeros((_LANDMARK_INPUT, _LANDMARK_INPUT, 3), np.uint8)
        with _quiet():
            self._landmarks = SolutionBase(graph_config=_LANDMARK_GRAPH)
            self._palms = SolutionBase(graph_config=_PALM_GRAPH)
            self._landmarks.process(blank)
            self._palms.process(blank)
        self._pose = None

    def __repr__(self) -> str:
        return f'MediaPipeEstimator(min_score={self.min_score}, crop_scale={self.crop_scale})'

    def start(self) -> None:
        # A new graph, not a reset one: what is left in a smoothing filter would make a clip depend on the one before.
        if self._pose is not None:
            self._pose.close()
        self._pose = None

    def bodies(self, image: np.ndarray) -> list[BodyPose]:
        if self._pose is None:
            with _quiet():
                self._pose = self._mediapipe.solutions.pose.Pose(model_complexity=1)
                found = self._pose.process(image).pose_landmarks
        else:
            found = self._pose.process(image).pose_landmarks
        if found is None:
            return []
        height, width = image.shape[:2]
        points = np.array([[p.x * width, p.y * height, p.z * width] for p in found.landmark])
        visibility = np.clip([p.visibility for p in found.landmark], 0.0, 1.0)
        return [BodyPose(points, visibility, float(np.clip(visibility.mean(), 1e-3, 1.0)))]

    def hands(
        self, image: np.ndarray, arms: list[Arm], taken: Sequence[HandPose] = ()
    ) -> list[HandPose]:
        if taken:
            image = _paint_over(image, taken)
        found: list[HandPose] = []
        for arm in arms:
            found += self._at(image, arm, arms)
        return found

    def _at(self, image: np.ndarray, arm: Arm, arms: list[Arm]) -> list[HandPose]:
        """Cheapest first: follow the last hand, then look for palms, then try where a hand should be."""
        found: list[HandPose] = []
        for look in (self._follow, self._detect, self._guess):
            found += [hand for hand in look(image, arm) if hand.score >= self.min_score]
            # The hand of another arm, seen in this arm's crop, is no reason to stop.
            if any(nearest_arm(hand, arms) is arm for hand in found):
                break
        return found

    def _follow(self, image: np.ndarray, arm: Arm) -> list[HandPose]:
        if arm.previous is None:
            return []
        return [self._settle(image, region_from_hand(arm.previous))]

    def _detect(self, image: np.ndarray, arm: Arm) -> list[HandPose]:
        """Hands whose palms are seen in an upright square at the wrist."""
        crop = Region(tuple(arm.wrist + 0.3 * _beyond(arm)), self.crop_scale * arm.size)
        found = []
        for palm in self._palms.process(crop.cut(image, _CROP)).palms or []:
            box = palm.location_data.relative_bounding_box
            keys = [(k.x, k.y) for k in palm.location_data.relative_keypoints]
            angle = upright_angle(*(crop.to_image(np.array(keys[i])) for i in (0, 2)))
            middle = crop.to_image(np.array([box.xmin + box.width / 2, box.ymin + box.height / 2]))
            # A palm's box, moved by half to the fingers and enlarged: MediaPipe's step from palm to hand.
            side = max(box.width, box.height) * crop.side
            up = -Region((0, 0), 1, angle).axes[:, 1]
            center = tuple(middle + 0.5 * box.height * crop.side * up)
            found.append(self._settle(image, Region(center, 2.6 * side, angle)))
        return found

    def _guess(self, image: np.ndarray, arm: Arm) -> list[HandPose]:
        """A hand that continues the forearm, for hands whose palm the detector cannot see (fists, edges)."""
        beyond = _beyond(arm)
        if not beyond.any():
            return []
        center, found = tuple(arm.wrist + 0.35 * beyond), []
        for bend in _BENDS:
            region = Region(center, arm.size, upright_angle(np.zeros(2), beyond) + bend)
            rough = self._landmark(image, region)
            found = max(
                found, [self._landmark(image, region_from_hand(rough.points))], [rough], key=_score
            )
            if _score(found) >= self.min_score:
                break
        return found

    def _settle(self, image: np.ndarray, region: Region) -> HandPose:
        """The hand in a region, looked at once more around what was found where the model is not sure."""
        hand = self._landmark(image, region)
        if hand.score < self.min_score:
            again = self._landmark(image, region_from_hand(hand.points))
            hand = max(hand, again, key=lambda hand: hand.score)
        return hand

    def _landmark(self, image: np.ndarray, region: Region) -> HandPose:
        out = self._landmarks.process(region.cut(image, _LANDMARK_INPUT))
        points = np.array([[p.x, p.y, p.z] for p in out.landmarks.landmark])
        return HandPose(
            region.to_image(points), float(np.clip(out.presence, 0, 1)), float(out.right)
        )


def _beyond(arm: Arm) -> np.ndarray:
    """From the wrist as far as the forearm is long, in its direction; zero where the elbow is unknown."""
    forearm = arm.wrist - arm.elbow
    length = np.linalg.norm(forearm)
    if not np.isfinite(length) or length < 1e-6:
        return np.zeros(2)
    # A forearm that points at the camera has no direction to speak of: its step stays short.
    return forearm * (arm.size / max(length, 0.5 * arm.size))


def _score(hands: list[HandPose]) -> float:
    return hands[0].score if hands else -1.0


def _paint_over(image: np.ndarray, hands: Sequence[HandPose]) -> np.ndarray:
    """The picture without these hands, so that the models see the one beside or behind them."""

    out = image.copy()
    for hand in hands:
        hull = cv2.convexHull(hand.points[:, :2].round().astype(np.int32))
        around = cv2.mean(image[_bounds(hull, image.shape)].reshape(-1, 1, 3))[:3]
        cv2.fillConvexPoly(out, hull, around)
    return out


def _bounds(hull: np.ndarray, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Rows and columns of the box around a hull, at least a pixel inside the picture."""
    low, high = hull.reshape(-1, 2).min(axis=0), hull.reshape(-1, 2).max(axis=0) + 1
    rows, columns = (
        slice(int(np.clip(low[i], 0, n - 1)), int(np.clip(high[i], 1, n)))
        for i, n in ((1, shape[0]), (0, shape[1]))
    )
    return rows, columns


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the lines that MediaPipe's C++ code and its protobuf use print for every graph begun."""
    sys.stderr.flush()
    kept, sink = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 2)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(sink)


def _import_mediapipe():
    try:
        import mediapipe
    except ImportError as error:
        raise ConfigError(
            'backend mediapipe',
            f'no usable mediapipe ({error})',
            'mediapipe 0.10.14, 0.10.18 or 0.10.21',
            'pip install -r requirements/extract.txt',
        ) from error
    folder = os.path.join(os.path.dirname(mediapipe.__file__), 'modules', 'hand_landmark')
    if not os.path.exists(os.path.join(folder, 'hand_landmark_full.tflite')):
        raise ConfigError(
            'backend mediapipe',
            f'version {mediapipe.__version__} without models inside the package',
            'mediapipe 0.10.14, 0.10.18 or 0.10.21, which carry them',
            'pip install -r requirements/extract.txt',
        )
    # Said by protobuf at each result, about MediaPipe's own code.
    warnings.filterwarnings('ignore', r'SymbolDatabase\.GetPrototype', UserWarning)
    return mediapipe
