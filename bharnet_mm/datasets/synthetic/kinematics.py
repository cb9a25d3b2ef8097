"""Forward kinematics of a standing person and of a hand, vectorised over frames.

Axes of a person's own frame (right-handed, metres): x to the person's right, y up, z backwards, so
a person looks along -z. These are the axes of a Kinect v2 that looks at the person's front: its x
grows to the *sensor's* left (a Kinect's image is mirrored), y up, z away from the sensor.

Axes of a right hand's own frame (right-handed): x towards the thumb, y from the wrist to the
fingers, z out of the palm. A left hand is the same with x negated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...layouts import get_layout

#: Elbow angle in degrees between upper arm and forearm: 180 is a straight arm.
ELBOW_LIMITS = (35.0, 178.0)

#: Degrees, (finger, angle, [lowest, highest]). Thumb: spread from the palm's axis, lift out of the
#: palm's plane, flexion of the two joints. Other fingers: abduction towards the thumb, flexion at
#: the knuckle and at the two joints beyond it.
HAND_LIMITS = np.array(
    [
        [[0, 95], [0, 60], [-20, 60], [-15, 80]],
        [[-20, 20], [-25, 90], [0, 110], [0, 80]],
        [[-15, 15], [-25, 90], [0, 110], [0, 80]],
        [[-20, 15], [-25, 90], [0, 110], [0, 80]],
        [[-30, 15], [-25, 90], [0, 110], [0, 80]],
    ],
    dtype=np.float64,
)

# Metres, for a hand 0.19 long: where each chain starts on the palm and the lengths of its three
# phalanges (the thumb's first is its metacarpal). Proportions of an adult hand, rounded.
_HAND_LENGTH = 0.19
_CHAIN_STARTS = np.array(
    [
        [0.022, 0.022, 0.008],
        [0.026, 0.088, 0.000],
        [0.004, 0.091, -0.002],
        [-0.016, 0.085, 0.000],
        [-0.033, 0.076, 0.004],
    ]
)
_PHALANGES = np.array(
    [
        [0.044, 0.034, 0.028],
        [0.043, 0.026, 0.021],
        [0.047, 0.029, 0.022],
        [0.043, 0.027, 0.021],
        [0.034, 0.020, 0.018],
    ]
)


@dataclass(frozen=True)
class BodySize:
    """Lengths of one person's bones in metres."""

    height: float
    arm: float  # shoulder to wrist
    shoulders: float
    hand: float

    @property
    def upper_arm(self) -> float:
        """Shoulder to elbow, in metres."""
        return 0.53 * self.arm

    @property
    def forearm(self) -> float:
        """Elbow to wrist, in metres."""
        return 0.47 * self.arm


def rotation(axis: str, degrees: np.ndarray | float) -> np.ndarray:
    """Rotation about one axis, right-handed.

    Args:
        axis (str): `x`, `y` or `z`.
        degrees (np.ndarray | float): Any shape (...).

    Returns:
        np.ndarray: (..., 3, 3), to be applied as `R @ column`.
    """
    angle = np.deg2rad(np.asarray(degrees, dtype=np.float64))
    first, second = {'x': (1, 2), 'y': (2, 0), 'z': (0, 1)}[axis]
    matrix = np.zeros((*angle.shape, 3, 3))
    fixed = 3 - first - second
    matrix[..., fixed, fixed] = 1
    matrix[..., first, first] = matrix[..., second, second] = np.cos(angle)
    matrix[..., first, second] = -np.sin(angle)
    matrix[..., second, first] = np.sin(angle)
    return matrix


def rotate(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Applies (T, 3, 3) or (3, 3) to (T, 3) or (T, V, 3)."""
    if points.ndim == matrix.ndim:
        return np.einsum('...ij,...vj->...vi', matrix, points)
    return np.einsum('...ij,...j->...i', matrix, points)


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector, axis=-1, keepdims=True)


def bend_arm(
    shoulder: np.ndarray, target: np.ndarray, pole: np.ndarray, upper: float, lower: float
) -> tuple[np.ndarray, np.ndarray]:
    """Elbow and wrist of an arm that reaches for a target.

    The law of cosines in the plane of shoulder, target and pole; the elbow lies on the pole's
    side. A target out of reach is approached along the same line, so the bones keep their lengths
    and the elbow keeps to `ELBOW_LIMITS`.

    Args:
        shoulder (np.ndarray): (T, 3).
        target (np.ndarray): (T, 3), where the wrist wants to be.
        pole (np.ndarray): (3,), the direction in which the elbow points.
        upper (float): Length of the upper arm.
        lower (float): Length of the forearm.

    Returns:
        tuple[np.ndarray, np.ndarray]: elbow (T, 3), wrist (T, 3).
    """
    reach_min, reach_max = (
        np.sqrt(upper**2 + lower**2 - 2 * upper * lower * np.cos(np.deg2rad(limit)))
        for limit in ELBOW_LIMITS
    )
    offset = target - shoulder
    direction = _unit(offset)
    reach = np.clip(np.linalg.norm(offset, axis=-1, keepdims=True), reach_min, reach_max)
    along = (upper**2 - lower**2 + reach**2) / (2 * reach)
    across = np.sqrt(np.maximum(upper**2 - along**2, 0))
    side = _unit(pole - (direction @ pole)[:, None] * direction)
    return shoulder + along * direction + across * side, shoulder + reach * direction


def body_pose(
    size: BodySize,
    root: np.ndarray,
    yaw: np.ndarray,
    lean: np.ndarray,
    wrists: dict[str, np.ndarray],
) -> np.ndarray:
    """Joints of a standing person, Kinect v2 order.

    The Kinect's own hand, hand tip and thumb joints continue the forearm with an open hand,
    whatever the fingers do.

    Args:
        size (BodySize): The person.
        root (np.ndarray): (T, 3), where the person stands on the floor y = 0, with the sway of the
            hips.
        yaw (np.ndarray): (T,) degrees about y; positive turns the person's front towards -x.
        lean (np.ndarray): (T,) degrees the upper body leans forward.
        wrists (dict[str, np.ndarray]): `left` and `right`: (T, 3), wrist less shoulder in lengths
            of the arm, in the upper body's axes but x *outwards* (to the arm's own side).

    Returns:
        np.ndarray: (T, 25, 3) metres.
    """
    scale = size.height / 1.7
    hips = np.array([0.0, 0.93 * scale, 0.0])
    upper = {
        'spine_base': np.zeros(3),
        'spine_mid': np.array([0, 0.27, 0.0]) * scale,
        'spine_shoulder': np.array([0, 0.48, 0.0]) * scale,
        'neck': np.array([0, 0.55, -0.01]) * scale,
        'head': np.array([0, 0.71, -0.03]) * scale,
    }
    count = len(yaw)
    local = {name: np.broadcast_to(point, (count, 3)) for name, point in upper.items()}
    for side, sign in (('left', -1.0), ('right', 1.0)):
        outwards = np.array([sign, 1, 1])
        shoulder = local['spine_shoulder'] + np.array([sign * size.shoulders / 2, -0.03 * scale, 0])
        elbow, wrist = bend_arm(
            shoulder,
            shoulder + wrists[side] * outwards * size.arm,
            np.array([0.5, -0.8, 0.35]) * outwards,
            size.upper_arm,
            size.forearm,
        )
        forward = _unit(wrist - elbow)
        inwards = np.array([-sign, 0, -0.3])
        inwards = _unit(inwards - (forward @ inwards)[:, None] * forward)
        hand = wrist + forward * 0.4 * size.hand
        local |= {
            f'{side}_shoulder': shoulder,
            f'{side}_elbow': elbow,
            f'{side}_wrist': wrist,
            f'{side}_hand': hand,
            f'{side}_hand_tip': hand + forward * 0.45 * size.hand,
            f'{side}_thumb': wrist + (0.45 * forward + 0.3 * inwards) * size.hand,
        }
    turn = rotation('y', yaw)
    tilt = turn @ rotation('x', -lean)
    origin = hips + root
    joints = {name: origin + rotate(tilt, point) for name, point in local.items()}

    for side, sign in (('left', -1.0), ('right', 1.0)):
        leg = {
            f'{side}_hip': (sign * 0.085, -0.03, 0.0),
            f'{side}_knee': (sign * 0.10, -0.44, -0.03),
            f'{side}_ankle': (sign * 0.11, -0.85, 0.02),
            f'{side}_foot': (sign * 0.13, -0.90, -0.12),
        }
        for name, point in leg.items():
            # The feet stand still while the hips sway about their mean place.
            loose = 1.0 + point[1] / 0.93
            place = root.mean(axis=0) + loose * (root - root.mean(axis=0))
            offset = np.broadcast_to(np.array(point) * scale, (count, 3))
            joints[name] = hips + place + rotate(turn, offset)
    return np.stack([joints[name] for name in get_layout('kinect_v2').joints], axis=1)


def hand_pose(angles: np.ndarray, length: float) -> np.ndarray:
    """Joints of a right hand in its own frame, wrist at the origin, order of the `hand` layout.

    A finger with abduction a and the cumulated flexion f of its joints so far runs along
    d = cos f (sin a, cos a, 0) + sin f (0, 0, 1): flexion turns it out of the palm's plane, to the
    palm's side. The thumb starts along (cos e sin s, cos e cos s, sin e), spread s and lift e, and
    bends across the palm.

    Args:
        angles (np.ndarray): (T, 5, 4) degrees, thumb to little finger, clipped to `HAND_LIMITS`.
        length (float): From the wrist to the tip of the middle finger, metres.

    Returns:
        np.ndarray: (T, 21, 3) metres.
    """
    angles = np.deg2rad(np.clip(angles, HAND_LIMITS[..., 0], HAND_LIMITS[..., 1]))
    count = len(angles)
    starts, directions = (
        np.zeros((count, 5, 3)),
        np.zeros((count, 5, 3, 3)),
    )  # (T, finger, phalanx, xyz)

    abduction, flexion = angles[:, 1:, 0], np.cumsum(angles[:, 1:, 1:], axis=-1)
    straight = np.stack([np.sin(abduction), np.cos(abduction), np.zeros_like(abduction)], -1)
    directions[:, 1:] = np.cos(flexion)[..., None] * straight[:, :, None]
    directions[:, 1:, :, 2] += np.sin(flexion)

    spread, lift = angles[:, 0, 0], angles[:, 0, 1]
    base = np.stack(
        [np.cos(lift) * np.sin(spread), np.cos(lift) * np.cos(spread), np.sin(lift)], -1
    )
    across = np.array([-0.9, 0.15, 0.35])
    across = _unit(across - (base @ across)[:, None] * base)
    bend = np.cumsum(np.concatenate([np.zeros((count, 1)), angles[:, 0, 2:]], axis=1), axis=1)
    directions[:, 0] = (
        np.cos(bend)[..., None] * base[:, None] + np.sin(bend)[..., None] * across[:, None]
    )

    starts[:] = _CHAIN_STARTS
    chains = starts[:, :, None] + np.cumsum(directions * _PHALANGES[:, :, None], axis=2)
    fingers = np.concatenate([starts[:, :, None], chains], axis=2).reshape(count, 20, 3)
    return np.concatenate([np.zeros((count, 1, 3)), fingers], axis=1) * (length / _HAND_LENGTH)
