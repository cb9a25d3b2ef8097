"""Trains a model: ``python tools/train.py CONFIG``."""

from bharnet_mm.cli import run_module

if __name__ == '__main__':
    run_module('train')
