"""Operators that cost time: one definition each, with kernels for the devices.

- ``pointwise``: grouped 1x1 convolution at every stride-th frame
- ``graph_conv``: graph convolution with a learned adjacency
- ``refined_graph_conv``: channel-wise topology refinement graph convolution
- ``norm_act``: batch norm, sum with a shortcut, LeakyReLU
- ``temporal_branches``: batch norm and LeakyReLU, then DeGCN's four temporal branches
- ``axis_tokens``: averages along frames, joints and instances, weighted by the mask
- ``inference_block``: a whole block with its running statistics

Each is a function in the module of its name (``graph_conv`` in ``graph``, ``refined_graph_conv`` in
``refined_graph``, ``temporal_branches`` in ``temporal``, ``axis_tokens`` in ``pooling``);
:mod:`.operator` describes the parts of an operator.
"""

from . import cuda
from .operator import is_plain, plain_form

cuda.register()

__all__ = ['is_plain', 'plain_form']
