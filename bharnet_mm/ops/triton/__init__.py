"""Triton kernels of the operators, for CUDA. Importing this package needs Triton.

``OPERATORS`` names, for each operator, the module and the functions that take its place on a GPU;
they have the arguments of the operator. :mod:`..cuda` registers them. ``TRITON_INTERPRET=1`` runs
them on a CPU, for tests.
"""
