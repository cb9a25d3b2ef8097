"""Finds bodies and hands in videos and writes a clip store: ``python tools/data/extract_hands.py
VIDEOS OUT``.
"""

from bharnet_mm.cli import run_module

if __name__ == '__main__':
    run_module('extract')
