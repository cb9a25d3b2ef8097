"""BHaRNet for MMAction2: body-hand action recognition from skeletons.

``custom_imports = dict(imports=['bharnet_mm'])`` in a config mends the platform
(:mod:`bharnet_mm.compat`), sends its files through
:mod:`bharnet_mm.io` (:mod:`bharnet_mm.safety`) and makes every data set, transform, model, metric,
hook and optimizer wrapper of the package known to MMAction2's registries
(:mod:`bharnet_mm.registration`). Neither torch nor MMAction2 is imported before something needs it.
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
