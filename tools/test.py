"""Tests a checkpoint: ``python tools/test.py CONFIG CHECKPOINT``."""

from bharnet_mm.cli import run_module

if __name__ == '__main__':
    run_module('test')
