"""Experiments on several models, runs or score files, and benchmarks.

Each module holds one command (``main(argv)``) and the functions it is made of; the scripts in
``tools/analysis`` only call it.
"""
