"""Experiments on several models, runs or score files, and benchmarks.

Each module has one command (``main(argv)``) and its functions. The scripts in ``tools/analysis``
only call it.
"""
