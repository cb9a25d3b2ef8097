"""Transforms of body and hand clips, registered in MMAction2's ``TRANSFORMS``."""

from .base import BodyHandTransform
from .cut_regions import CutRegions
from .drop_axis import DropAxis
from .drop_frames import DropFrames
from .drop_hands import DropHands
from .drop_joints import DropJoints
from .format_body_hand import FormatBodyHand
from .format_grid import FormatGrid
from .format_keypoint import FormatKeypoint
from .interpolate_missing import InterpolateMissing
from .keep_raised_hands import KeepRaisedHands
from .make_feature import MakeFeature
from .normalize_skeleton import NormalizeSkeleton
from .pack_body_hand import PackBodyHand
from .random_mirror import RandomMirror
from .random_noise import RandomNoise
from .random_rotate import RandomRotate
from .random_scale import RandomScale
from .sample_window import SampleWindow
from .scale_axes import ScaleAxes
from .select_channels import SelectChannels
from .select_joints import SelectJoints
from .select_persons import SelectPersons

__all__ = [
    'BodyHandTransform',
    'DropAxis',
    'DropFrames',
    'DropHands',
    'DropJoints',
    'FormatBodyHand',
    'FormatGrid',
    'FormatKeypoint',
    'InterpolateMissing',
    'KeepRaisedHands',
    'MakeFeature',
    'NormalizeSkeleton',
    'PackBodyHand',
    'RandomMirror',
    'RandomNoise',
    'RandomRotate',
    'RandomScale',
    'SampleWindow',
    'ScaleAxes',
    'SelectChannels',
    'SelectJoints',
    'SelectPersons',
    'CutRegions',
]
