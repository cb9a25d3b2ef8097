"""Fuses score files by clip id, with intervals and paired tests."""

from bharnet_mm.experiments.fuse import main

if __name__ == '__main__':
    main()
