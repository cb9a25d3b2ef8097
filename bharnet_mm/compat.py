"""Work-arounds that let MMAction2 1.2 and MMEngine 0.10 run on a current Python stack.

``import bharnet_mm`` calls :func:`apply` once. Each function below fixes one fault. It first checks
that the fault exists, may be called any number of times, and its docstring says when it can be
removed. A fix is applied right after the faulty module has been imported, so that torch and
MMAction2 are imported only when they are needed. One fault cannot be fixed here, because it occurs
before ``custom_imports`` of a config is read:

* ``_base_ = 'mmaction::...'`` under MMAction2's own ``tools/train.py`` with setuptools >= 82. Our
``tools/`` import this package first, so they work.
"""

import atexit
import gc
import importlib
import importlib.abc
import importlib.machinery
import importlib.metadata
import importlib.util
import os.path as osp
import sys
import warnings
from collections.abc import Callable
from contextlib import contextmanager
from functools import wraps
from types import ModuleType
from typing import Any

import numpy as np

from .io.plain_numpy import STAND_INS
from .lazy import after_import

_DRN = 'mmaction.models.localizers.drn'


# ---- importing MMAction2
class _DRNFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Serves a stand-in for the sub-package that the published MMAction2 lacks."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        if fullname not in (_DRN, f'{_DRN}.drn'):
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=fullname == _DRN)

    def exec_module(self, module: ModuleType) -> None:
        if module.__name__ == f'{_DRN}.drn':
            import torch
            from mmaction.registry import MODELS

            @MODELS.register_module()
            class DRN(torch.nn.Module):
                """Placeholder: the published MMAction2 does not contain this localizer."""

                def __init__(self, *args: Any, **kwargs: Any) -> None:
                    raise ImportError(
                        'DRN is missing from the MMAction2 package on PyPI; install MMAction2 '
                        'from its git repository to use it'
                    )

            module.DRN = DRN


def provide_missing_drn() -> None:
    """Make ``import mmaction.models`` work although its wheel and sdist lack ``localizers.drn``.

    The finder is asked last, so a real copy is preferred. Can be removed when MMAction2 publishes a
    release with the sub-package (open-mmlab/mmaction2#2714).
    """
    if not any(isinstance(finder, _DRNFinder) for finder in sys.meta_path):
        sys.meta_path.append(_DRNFinder())


def skip_broken_multimodal() -> None:
    """Keep an installed ``transformers`` from breaking ``import mmaction.models``.

    If ``transformers`` is installed, MMAction2 imports its video-text models. These need ``timm``,
    which MMAction2 does not declare, and names that newer releases of both packages do not have. If
    they cannot be imported, MMAction2's own placeholders are used. Can be removed when MMAction2
    guards that import.
    """
    from mmaction.utils import dependency

    if not dependency.WITH_MULTIMODAL:
        return
    try:
        from timm.models.layers import DropPath  # noqa: F401
        from transformers.file_utils import add_start_docstrings_to_model_forward  # noqa: F401
        from transformers.modeling_utils import (  # noqa: F401
            apply_chunking_to_forward,
            find_pruneable_heads_and_indices,
        )
        from transformers.models.beit.modeling_beit import BeitRelativePositionBias  # noqa: F401
    except Exception:  # a broken package may raise anything
        dependency.WITH_MULTIMODAL = False


# ---- setuptools 82
def _is_installed(package: str) -> bool:
    """``mmengine.utils.is_installed`` without ``pkg_resources``."""
    try:
        importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError:
        spec = importlib.util.find_spec(package)
        return spec is not None and spec.origin is not None
    return True


def _get_installed_path(package: str) -> str:
    """``mmengine.utils.get_installed_path`` without ``pkg_resources``."""
    names = [package, package.replace('-', '_')]
    try:
        top_level = importlib.metadata.distribution(package).read_text('top_level.txt') or ''
        names += top_level.split()
    except importlib.metadata.PackageNotFoundError:
        pass
    for name in names:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin is not None:
            return osp.dirname(spec.origin)
    raise importlib.metadata.PackageNotFoundError(package)


_ASKING_PKG_RESOURCES = (
    'mmengine.utils.package_utils',
    'mmengine.utils',
    'mmengine.config.config',
    'mmengine.hub.hub',
)


def replace_pkg_resources() -> None:
    """Let MMEngine find packages (``_base_ = 'mmaction::...'``) without ``pkg_resources``.

    setuptools 82 removed that module. Can be removed when MMEngine asks ``importlib.metadata``
    instead.
    """
    if importlib.util.find_spec('pkg_resources') is not None:
        return
    for name in _ASKING_PKG_RESOURCES:
        for old, new in (
            ('is_installed', _is_installed),
            ('get_installed_path', _get_installed_path),
        ):
            if hasattr(sys.modules.get(name), old):
                setattr(sys.modules[name], old, new)


# ---- checkpoints, torch 2.6
def _history_buffer_method(owner: type, name: str) -> Callable:
    """The only ``getattr`` a checkpoint may ask for: a statistic of ``HistoryBuffer``."""
    from mmengine.logging import HistoryBuffer

    if owner is not HistoryBuffer or name not in ('min', 'max', 'current', 'mean'):
        raise ValueError(
            f'checkpoint asks for attribute {name!r} of {owner!r}, which is not allowed'
        )
    return getattr(HistoryBuffer, name)


def allow_message_hub() -> None:
    """Make checkpoints with MMEngine's log history loadable with ``weights_only=True``.

    torch >= 2.6 refuses ``HistoryBuffer`` and the NumPy arrays and numbers in it. They are plain
    data, so exactly these types are allowed. NumPy's types are replaced by stand-ins that build
    plain numbers only, and the pickled ``getattr`` becomes a function that knows four methods. Can
    go when MMEngine saves ``message_hub`` as plain types (open-mmlab/mmengine#1655).
    """
    import torch
    from mmengine.logging.history_buffer import HistoryBuffer

    torch.serialization.add_safe_globals(
        [
            HistoryBuffer,
            (_history_buffer_method, 'builtins.getattr'),
            *((stand_in, '.'.join(name)) for name, stand_in in STAND_INS.items()),
        ]
    )


# ---- several processes, CPU
@contextmanager
def _set_device_does_nothing() -> Any:
    import torch

    original = torch.cuda.set_device
    torch.cuda.set_device = lambda device: None
    try:
        yield
    finally:
        torch.cuda.set_device = original


def _leave_group() -> None:
    import torch

    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
        gc.collect()  # the wrapped model holds the group, and the runner is a reference cycle


def _with_gloo(start: Callable) -> Callable:
    @wraps(start)
    def start_on_this_device(backend: str, **kwargs: Any) -> None:
        from mmengine.device import get_device

        if get_device() != 'cpu':
            return start(backend, **kwargs)
        with _set_device_does_nothing():
            start('gloo', **kwargs)
        atexit.register(_leave_group)

    start_on_this_device.bharnet_mm = True
    return start_on_this_device


def start_gloo_without_gpu() -> None:
    """Let every launcher start on a machine without an accelerator.

    MMEngine selects a CUDA device and the configs' NCCL on every machine. With this fix the
    processes communicate through gloo on a CPU and close it at their end. Otherwise the threads of
    gloo, which still wait for the interpreter, abort about one of ten finished runs. Can be removed
    when MMEngine chooses the backend by device and torch closes its groups itself
    (pytorch/pytorch#190489).
    """
    from mmengine.dist import utils

    for name in ('_init_dist_pytorch', '_init_dist_slurm', '_init_dist_mpi'):
        start = getattr(utils, name)
        if not hasattr(start, 'bharnet_mm'):
            setattr(utils, name, _with_gloo(start))


def wrap_cpu_models_for_ddp() -> None:
    """Let ``MMDistributedDataParallel`` wrap a model on the CPU.

    The runner always passes ``device_ids=[LOCAL_RANK]``, which torch refuses for CPU parameters.
    Can be removed when MMEngine passes device ids for GPUs only.
    """
    from mmengine.model.wrappers.distributed import MMDistributedDataParallel

    original = MMDistributedDataParallel.__init__
    if hasattr(original, 'bharnet_mm'):
        return

    @wraps(original)
    def __init__(self: Any, module: Any, *args: Any, **kwargs: Any) -> None:
        if all(parameter.device.type == 'cpu' for parameter in module.parameters()):
            kwargs['device_ids'] = None
        original(self, module, *args, **kwargs)

    __init__.bharnet_mm = True
    MMDistributedDataParallel.__init__ = __init__


def survive_broken_torchvision() -> None:
    """Let runs start with a torchvision that does not fit the installed torch.

    The runner only needs its version for the log. Can be removed when MMEngine's ``collect_env``
    catches more than ``ModuleNotFoundError``.
    """
    import torch

    runner = sys.modules['mmengine.runner.runner']
    original = runner.collect_env
    if hasattr(original, 'bharnet_mm'):
        return

    @wraps(original)
    def collect_env() -> dict:
        try:
            return original()
        except (ImportError, RuntimeError, AttributeError, OSError) as error:
            return {'PyTorch': torch.__version__, 'Environment not collected': repr(error)}

    collect_env.bharnet_mm = True
    runner.collect_env = collect_env


def define_missing_vision_operators() -> None:
    """Let torchvision, and with it timm, be imported with a torch without CUDA.

    PyPI's torchvision is built for CUDA. Beside a CPU build of torch its library cannot be loaded,
    and it then describes two operators that were never defined. They are defined here without
    an implementation; the networks of timm do not call them. Can go when torchvision asks first.
    """
    import torch

    if sys.modules['torchvision.extension']._has_ops():
        return
    for name in ('nms', 'qnms'):
        if not hasattr(torch.ops.torchvision, name):
            schema = '(Tensor dets, Tensor scores, float iou_threshold) -> Tensor'
            torch.library.define(f'torchvision::{name}', schema)


# ---- NumPy 2
class _NumpyWithOldNames(ModuleType):
    """NumPy plus names that NumPy 2 removed, for single upstream modules that still use them."""

    Inf = np.inf
    NAN = np.nan

    def __getattr__(self, name: str) -> Any:
        if name == 'trapz' and not hasattr(np, 'trapz'):
            return np.trapezoid
        if name == 'in1d' and not hasattr(np, 'in1d'):
            return np.isin
        return getattr(np, name)


_OLD_NUMPY_NAMES = {
    'mmaction.datasets.transforms.pose_transforms': 'Inf',
    'mmaction.utils.misc': 'Inf',
    'mmaction.evaluation.functional.accuracy': 'trapz',
    'mmaction.evaluation.functional.ava_evaluation.metrics': 'NAN',
    'mmaction.evaluation.metrics.multimodal_metric': 'in1d',
}


def restore_numpy_names() -> None:
    """Give the few MMAction2 modules that use removed NumPy names a ``np`` that has them.

    NumPy itself is not touched. Can be removed when MMAction2 supports NumPy 2.
    """
    for module_name, name in _OLD_NUMPY_NAMES.items():
        if not hasattr(np, name) and module_name in sys.modules:
            sys.modules[module_name].np = _NumpyWithOldNames('numpy')


def _adjust_hue(img: np.ndarray, factor: float) -> np.ndarray:
    """Shift the hue of an RGB image (H, W, 3) by ``factor`` in [-0.5, 0.5]; float32, 0 to 255."""
    import cv2

    hsv = cv2.cvtColor(np.clip(img, 0, 255).astype(np.uint8), cv2.COLOR_RGB2HSV)
    hue = hsv[..., 0].astype(np.int16) + int(factor * 255)
    hsv[..., 0] = (hue % 180).astype(np.uint8)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB).astype(np.float32)


def fix_color_jitter() -> None:
    """Compute ``ColorJitter``'s hue shift without overflow.

    It adds a signed number to a uint8 array. NumPy 2 raises an error if the number is negative,
    which is the case in half of all calls. Can be removed when MMAction2 supports NumPy 2.
    """
    if np.lib.NumpyVersion(np.__version__) >= '2.0.0':
        from mmaction.datasets.transforms.processing import ColorJitter

        ColorJitter.adjust_hue = staticmethod(_adjust_hue)


def accept_bfloat16_scores() -> None:
    """Let stock heads report their accuracy under bfloat16 autocast.

    They turn the class scores into a NumPy array, and NumPy has no bfloat16. Can be removed when
    MMAction2 converts them first.
    """
    import torch
    from mmaction.models.heads.base import BaseHead

    original = BaseHead.loss_by_feat
    if hasattr(original, 'bharnet_mm'):
        return

    @wraps(original)
    def loss_by_feat(self: Any, cls_scores: Any, data_samples: list) -> dict:
        if cls_scores.dtype == torch.bfloat16:
            cls_scores = cls_scores.float()
        return original(self, cls_scores, data_samples)

    loss_by_feat.bharnet_mm = True
    BaseHead.loss_by_feat = loss_by_feat


#: Fix → the module after whose import it is applied.
_DUE = {
    **dict.fromkeys(_ASKING_PKG_RESOURCES, replace_pkg_resources),
    **dict.fromkeys(_OLD_NUMPY_NAMES, restore_numpy_names),
    'mmaction.utils.dependency': skip_broken_multimodal,
    'mmengine.logging.history_buffer': allow_message_hub,
    'mmengine.dist.utils': start_gloo_without_gpu,
    'mmengine.model.wrappers.distributed': wrap_cpu_models_for_ddp,
    'mmengine.runner.runner': survive_broken_torchvision,
    'torchvision.extension': define_missing_vision_operators,
    'mmaction.datasets.transforms.processing': fix_color_jitter,
    'mmaction.models.heads.base': accept_bfloat16_scores,
}


def apply() -> None:
    """Apply all fixes, each once its module is imported. Calling it again changes nothing."""
    provide_missing_drn()
    # mmcv-lite, which is required, advises to install mmcv for an operator that nothing here uses.
    warnings.filterwarnings('ignore', 'Fail to import ``MultiScaleDeformableAttention``')
    for module, mend in _DUE.items():
        after_import(module, mend)
