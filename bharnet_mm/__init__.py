"""BHaRNet for MMAction2: body-hand action recognition from skeletons.

``custom_imports = dict(imports=['bharnet_mm'])`` in a config does three things. It works around
faults of MMAction2 and MMEngine (:mod:`bharnet_mm.compat`). It makes MMEngine read and write files
through :mod:`bharnet_mm.io` (:mod:`bharnet_mm.safety`). And it registers every data set, transform,
model, metric, hook and optimizer wrapper of the package with MMAction2
(:mod:`bharnet_mm.registration`). torch and MMAction2 are imported only when something needs them.
"""

from . import compat, registration, safety
from .lazy import attributes
from .version import __version__

compat.apply()
safety.apply()
registration.register()

PLACES = {
    'BodyHandInferencer': '.apis.inferencer',
    'create_model': '.apis.model_zoo',
    'datasets': '.datasets',
    'engine': '.engine',
    'evaluation': '.evaluation',
    'list_models': '.apis.model_zoo',
    'models': '.models',
}
__getattr__, __dir__, __all__ = attributes(__name__, PLACES)
__all__ += ['__version__', 'compat']
