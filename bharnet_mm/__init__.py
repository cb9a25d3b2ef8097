"""BHaRNet for MMAction2: body-hand action recognition from skeletons.

``custom_imports = dict(imports=['bharnet_mm'])`` in a config mends the platform
(:mod:`bharnet_mm.compat`) and registers every data set, transform, model, metric, hook and
optimizer wrapper of the package.
"""

from . import compat
from .version import __version__

compat.apply()  # before anything below imports MMAction2's parts

from . import datasets, engine, evaluation, models  # noqa: E402
from .datasets import body_hand_dataset  # noqa: E402, F401  registers the transforms as well

__all__ = ['__version__', 'compat', 'datasets', 'engine', 'evaluation', 'models']
