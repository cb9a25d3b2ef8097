"""Triton kernels run in the interpreter here, on the CPU. The switch has to be set before Triton is
imported.
"""

import os

os.environ.setdefault('TRITON_INTERPRET', '1')
