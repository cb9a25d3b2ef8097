"""Trains a model: ``python tools/train.py CONFIG``."""

from bharnet_mm.apis.train import main

if __name__ == '__main__':
    main()
