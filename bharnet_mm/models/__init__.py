"""Networks: expert backbones, pooling attention, branches, head and recognizer."""

from .attended import AttendedBackbone
from .attention import PoolingAttention
from .backbone import BodyHandBackbone
from .branches import ExpertBranch
from .data_preprocessor import BodyHandPreprocessor
from .degcn.network import DeGCN
from .head import BHaRNetHead
from .image_network import TimmBackbone
from .instances import Instances, pack
from .plain import use_plain_form
from .recognizer import BHaRNet, BHaRNetM
from .region_encoder import RegionEncoder
from .rgb import BodyGuidedRGB, RegionFeatures

__all__ = [
    'AttendedBackbone',
    'BHaRNet',
    'BHaRNetHead',
    'BHaRNetM',
    'BodyGuidedRGB',
    'BodyHandBackbone',
    'BodyHandPreprocessor',
    'DeGCN',
    'ExpertBranch',
    'Instances',
    'PoolingAttention',
    'RegionEncoder',
    'RegionFeatures',
    'TimmBackbone',
    'pack',
    'use_plain_form',
]
