"""Estimator with rtmlib: COCO-WholeBody (133 joints) of all persons, with the user's models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...errors import ConfigError
from ...io.packages import check_installed, import_package
from ...layouts import get_layout
from .estimators import LEFT, RIGHT, Arm, BodyPose, HandPose


class RTMLibEstimator:
    """Finds the 17 COCO joints and the hands of all persons, with one whole-body model.

    Args:
        models: Folder with one detector (``*yolox*.onnx``) and one whole-body pose model
            (``*rtmw*.onnx``, ``*rtmpose*.onnx`` or ``*dw*.onnx``), unpacked. Nothing is downloaded.
        min_score: Hands whose joints have a lower mean confidence are left out.

    Raises:
        ConfigError: rtmlib or onnxruntime is missing, or the folder lacks the models.
    """

    packages = ('rtmlib', 'onnxruntime')
    body_layout = 'coco'
    body_channels = ('x', 'y')
    hand_channels = ('x', 'y')

    def __init__(self, models: str | Path | None, min_score: float = 0.5) -> None:
        if models is None:
            raise ConfigError(
                'backend rtmlib',
                'no folder of model files',
                'the ONNX files of a YOLOX detector and of an RTMW or DWPose model',
                'give it with --models DIR',
            )
        detector, pose = _find_models(Path(models))
        check_installed('backend rtmlib', *self.packages)
        onnxruntime, rtmlib = (
            import_package('backend rtmlib', name) for name in ('onnxruntime', 'rtmlib')
        )

        def build(kind, path: Path):
            shape = (
                onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
                .get_inputs()[0]
                .shape
            )
            height, width = (n if isinstance(n, int) else 640 for n in shape[2:4])
            return kind(str(path), model_input_size=(width, height), backend='onnxruntime')

        self.min_score = min_score
        self._detector = build(rtmlib.YOLOX, detector)
        self._pose = build(rtmlib.RTMPose, pose)
        whole = get_layout('coco_wholebody')
        self._body = whole.select('coco')
        self._hand = [whole.select('hand', prefix=f'{side}_hand.') for side in ('left', 'right')]
        self._last: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None

    def __repr__(self) -> str:
        return f'RTMLibEstimator(min_score={self.min_score})'

    def start(self) -> None:
        """Prepares for a new video by forgetting the last frame."""
        self._last = None

    def bodies(self, image: np.ndarray) -> list[BodyPose]:
        """All bodies of a frame (H, W, 3) RGB, in pixels."""
        keypoints, scores = self._whole(image)
        out = []
        for points, score in zip(keypoints[:, self._body], scores[:, self._body], strict=True):
            out.append(BodyPose(points, score, float(np.clip(score.mean(), 1e-3, 1.0))))
        return out

    def bodies_in(
        self, image: np.ndarray, box: tuple[float, float, float, float]
    ) -> list[BodyPose]:
        """The bodies whose middle lies in the box (x0, y0, x1, y1)."""
        low, high = np.array(box[:2]), np.array(box[2:])
        middles = [(body, body.points[:, :2].mean(axis=0)) for body in self.bodies(image)]
        return [body for body, at in middles if (at >= low).all() and (at <= high).all()]

    def hands(
        self, image: np.ndarray, arms: list[Arm], taken: Sequence[HandPose] = ()
    ) -> list[HandPose]:
        """All hands of a frame whose mean score is at least ``min_score``, in pixels.

        The model finds all hands in one pass. So it gives none when it is asked again with the
        hands that are already ``taken``.
        """
        if taken:  # one pass finds all hands
            return []
        keypoints, scores = self._whole(image)
        found = []
        for points, score in zip(keypoints, scores, strict=True):
            for side in (LEFT, RIGHT):
                index = self._hand[side]
                mean = float(score[index].mean())
                if mean >= self.min_score:
                    found.append(HandPose(points[index], mean, float(side == RIGHT)))
        return found

    def _whole(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Whole bodies of a frame, ``(M, 133, 2)`` and ``(M, 133)``, kept for the next call."""
        if self._last is None or self._last[0] is not image:
            bgr = np.ascontiguousarray(image[..., ::-1])
            boxes = self._detector(bgr)
            if len(boxes):  # without boxes the pose model would take the whole image for a person
                keypoints, scores = self._pose(bgr, bboxes=boxes)
            else:
                keypoints, scores = np.zeros((0, 133, 2)), np.zeros((0, 133))
            self._last = (image, np.asarray(keypoints), np.clip(scores, 0.0, 1.0))
        return self._last[1:]


def _find_models(folder: Path) -> tuple[Path, Path]:
    files = sorted(folder.rglob('*.onnx')) if folder.is_dir() else []
    # A model is named by its file, or by the folder of its unpacked archive (which says
    # end2end.onnx).
    names = {file: str(file.relative_to(folder)).lower() for file in files}
    detectors = [file for file in files if 'yolox' in names[file]]
    poses = [
        file
        for file in files
        if file not in detectors and any(key in names[file] for key in ('rtmw', 'rtmpose', 'dw'))
    ]
    if len(detectors) != 1 or len(poses) != 1:
        raise ConfigError(
            f'--models {folder}',
            f'{len(detectors)} detectors and {len(poses)} pose models '
            f'among {sorted(names.values())}',
            'one *yolox*.onnx and one *rtmw*.onnx, *rtmpose*.onnx or *dw*.onnx (whole body)',
            'put one of each there, unpacked',
        )
    return detectors[0], poses[0]
