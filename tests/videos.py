"""Small real video files for tests."""

import cv2
import numpy as np


def write_video(path, frames, fps=25):
    """Writes RGB frames ``(H, W, 3)`` uint8 to an avi file of Motion JPEG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = frames[0].shape[:2]
    video = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), fps, (width, height))
    assert video.isOpened()
    for frame in frames:
        video.write(np.ascontiguousarray(frame[..., ::-1]))
    video.release()
