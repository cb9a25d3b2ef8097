"""Registers the transforms with MMAction2. The transforms work without it."""

from mmaction.registry import TRANSFORMS
from mmcv.transforms import BaseTransform

from . import transforms

BaseTransform.register(transforms.BodyHandTransform)
for _name in transforms.__all__:
    if _name != 'BodyHandTransform':
        TRANSFORMS.register_module(module=getattr(transforms, _name))
