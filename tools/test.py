"""Tests a checkpoint: ``python tools/test.py CONFIG CHECKPOINT``."""

from bharnet_mm.apis.test import main

if __name__ == '__main__':
    main()
