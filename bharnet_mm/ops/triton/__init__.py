"""Triton kernels of the operators, for CUDA. Importing this package needs Triton.

``OPERATORS`` has, for each operator, the module and the functions that replace it on a GPU, with
the same arguments. :mod:`..cuda` registers them. ``TRITON_INTERPRET=1`` runs them on a CPU, for
tests.
"""
